"""The documents agree with the repository."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest

from billing.access import STANDINGS, Standing
from billing.contract import ROUTES
from docs import write_contract
from tests.unit.test_template import TEMPLATE

ROOT = Path(__file__).parents[2]
PACKAGE = ROOT / "layers" / "billing" / "billing"
DOCUMENTS = [
    path
    for path in (*ROOT.glob("*.md"), *ROOT.glob("docs/*.md"))
    # The changelog keeps old names.
    if path.name != "CHANGELOG.md"
]
BY_NAME = pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)

README = (ROOT / "README.md").read_text()
CONTRIBUTING = (ROOT / "CONTRIBUTING.md").read_text()

#: Names in CamelCase that do not come from this repository.
FOREIGN = {"DeletionPolicy", "FilterLogEvents", "Host", "Origin", "PrivateLink", "ServiceTimeout"}
FOREIGN |= {"AuthorizationScopes", "Content", "Date", "ContentUri", "Retain", "Globals"}


@pytest.mark.parametrize(
    ("path", "content"),
    list(write_contract.files()),
    ids=[str(path.relative_to(ROOT)) for path, _ in write_contract.files()],
)
def test_what_follows_from_the_contract_is_up_to_date(path: Path, content: str) -> None:
    assert path.read_text() == content, "run: make contract"


@BY_NAME
def test_every_make_target_in_a_document_exists(document: Path) -> None:
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    # A target is named in inline code, or at the start of a line of a code block.
    named = set(re.findall(r"(?:`|^)make ([a-z-]+)", document.read_text(), re.MULTILINE))
    assert named <= targets


@BY_NAME
def test_every_route_in_a_document_exists(document: Path) -> None:
    named = set(re.findall(r"`((?:GET|POST|PUT|DELETE) /[^`\s]*)", document.read_text()))
    routes = {each for each in named if not each.partition(" ")[2].startswith("/v1/")}
    assert routes <= {route.key for route in ROUTES}


@BY_NAME
def test_every_name_of_the_template_in_a_document_exists(document: Path) -> None:
    code = "\n".join(path.read_text() for path in (ROOT / "tests").rglob("*.py"))
    code += "\n".join(path.read_text() for path in PACKAGE.rglob("*.py"))
    known = {*TEMPLATE["Parameters"], *TEMPLATE["Outputs"], *TEMPLATE["Resources"], *FOREIGN}
    for name in re.findall(r"`([A-Z][a-z]+[A-Za-z]*)(?:=[^`]*)?`", document.read_text()):
        assert name in known or re.search(rf"(\bclass {name}\b|\"{name}\")", code), name


@BY_NAME
def test_every_relative_link_in_a_document_leads_to_a_file(document: Path) -> None:
    for target in re.findall(r"\]\(([^)#]+)\)", document.read_text()):
        if not target.startswith(("https://", "http://")):
            assert (document.parent / target).exists(), target


def test_the_readme_explains_every_status() -> None:
    table = README.partition("## Who may use what")[2].partition("\n## ")[0]
    explained = {
        status: gives_access
        for statuses, gives_access in re.findall(r"^\| (`.*?`) \| (yes|no) \|", table, re.MULTILINE)
        for status in re.findall(r"`([a-z_]+)`", statuses)
    }
    gives = {Standing.PAID: "yes", Standing.GRACE: "yes"}
    assert explained == {status: gives.get(STANDINGS[status], "no") for status in STANDINGS}


def test_the_readme_describes_every_folder() -> None:
    described = set(re.findall(r"^\| `([\w/]+)/` \|", README, re.MULTILINE))
    top = {path.parent.relative_to(ROOT).parts[0] for path in ROOT.glob("*/*") if path.is_file()}
    top |= {"functions", "layers", "tests"}
    rooms = {f"layers/billing/billing/{path.parent.name}" for path in PACKAGE.glob("*/__init__.py")}
    folders = {name for name in top if not name.startswith(".") and name != "layers"}
    assert folders | rooms <= described


def test_each_folder_is_described_without_the_word_and() -> None:
    rows = re.findall(r"^\| `[\w/]+/` \| (.*) \|", README, re.MULTILINE)
    docstrings = [path.read_text() for path in PACKAGE.glob("*/__init__.py")]
    assert not [each for each in (*rows, *docstrings) if " and " in each]


def test_every_test_that_contributing_names_exists() -> None:
    code = "\n".join(path.read_text() for path in (ROOT / "tests").rglob("*.py"))
    for name in re.findall(r"`(test_\w+)`", CONTRIBUTING):
        assert f"def {name}(" in code, name


@pytest.mark.parametrize(
    "recipe", re.findall(r"## ((?:An? )[^\n]+)\n(.*?)(?=\n## )", CONTRIBUTING, re.DOTALL)
)
def test_a_recipe_touches_at_most_four_files(recipe: tuple[str, str]) -> None:
    steps = re.findall(r"^\d\. (.*?)(?=^\d\. |^\n|\Z)", recipe[1], re.MULTILINE | re.DOTALL)
    files = {path for step in steps for path in re.findall(r"`([\w<>/.]+\.\w+)`", step)}
    generated = {"docs/openapi.json"}
    assert 0 < len(files - generated) <= 4, recipe[0]


BUTTON = ROOT / "docs" / "billing-button.js"


def test_the_readmes_button_is_the_one_that_is_tested() -> None:
    assert BUTTON.read_text() in README


@pytest.mark.skipif(shutil.which("node") is None, reason="needs Node.js, which is not installed")
@pytest.mark.parametrize(
    ("status", "body", "outcome"),
    [
        (201, '{"url": "https://billing/x"}', "went to https://billing/x"),
        (404, '{"detail": "No Stripe customer exists"}', "showed No Stripe customer exists"),
        (401, '{"message": "Unauthorized"}', "showed Unauthorized"),
        (0, "", "showed Failed to fetch"),
    ],
)
def test_the_billing_button_opens_the_portal_or_shows_the_error(
    status: int, body: str, outcome: str
) -> None:
    page = f"""
        let click;
        const element = {{ disabled: false, addEventListener: (_, handler) => (click = handler) }};
        const log = [];
        Object.assign(globalThis, {{
          API_URL: "https://api", accessToken: async () => "token",
          document: {{ getElementById: () => element }},
          location: {{ href: "https://app/account", assign: (url) => log.push("went to " + url) }},
          alert: (text) => log.push("showed " + text),
          fetch: async (url, how) => {{
            if (url !== "https://api/portal-sessions" || how.method !== "POST") throw url;
            if (how.headers.authorization !== "Bearer token") throw how.headers;
            if (JSON.parse(how.body).return_url !== "https://app/account") throw how.body;
            if ({status} === 0) throw new TypeError("Failed to fetch");
            return new Response({body!r}, {{ status: {status} }});
          }},
        }});
        {BUTTON.read_text()}
        await click();
        console.log(log.join(), element.disabled);
    """
    done = subprocess.run(
        ["node", "--input-type=module", "--eval", page], capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == f"{outcome} false"
