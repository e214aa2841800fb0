"""The build of the layer: its packages, its bytecode, and its configuration file."""

from __future__ import annotations

import importlib.util
import marshal
import os
import re
import subprocess
import sys
from pathlib import Path
from types import CodeType
from typing import Any

import pytest
import yaml

from requirements import build_layer, prepare_layer

ROOT = Path(__file__).parents[2]
LAYER = ROOT / "layers" / "billing"
RUNNING = f"{sys.version_info.major}.{sys.version_info.minor}"
VALID = "[default.features.invoice_history]\nenabled = true\n"


def write_files(folder: Path, files: dict[str, str]) -> Path:
    for name, text in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return folder


# ---------------------------------------------------------------------- what is installed


def test_a_lock_that_installs_nothing_for_lambda_fails_the_build(tmp_path: Path) -> None:
    lock = (LAYER / "requirements.txt").read_text()
    excluded = re.sub(r"(?m)^(\S+==\S+) ;.* \\$", r"\1 ; python_full_version < '3.5' \\", lock)
    assert excluded.count("< '3.5'") == lock.count("==")
    source = write_files(tmp_path, {"requirements.txt": excluded, "portcullis.toml": VALID})
    write_files(source, {"billing/__init__.py": "import stripe\nfrom boto3.session import Session"})

    with pytest.raises(SystemExit, match=r"lacks boto3.session, stripe, which its functions im"):
        build_layer.build(source, tmp_path / "built", python=None)


def test_a_lock_that_lacks_a_dependency_of_its_packages_fails_the_build(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    lock = (LAYER / "requirements.txt").read_text()
    excluded = re.sub(r"(?m)^(requests==\S+) ;.* \\$", r"\1 ; python_full_version < '3.5' \\", lock)
    assert excluded != lock
    with pytest.raises(SystemExit, match="packages could not be installed"):
        build_layer.install(write_files(tmp_path, {"lock": excluded}) / "lock", tmp_path / "target")
    assert "requests" in capfd.readouterr().err


def test_type_checking_imports_and_imports_of_the_package_itself_are_ignored(
    tmp_path: Path,
) -> None:
    text = """
from __future__ import annotations
import os.path
from typing import TYPE_CHECKING
from package import other
from outside.module import name
if TYPE_CHECKING:
    import only_types
def late():
    import late.loaded
"""
    package = write_files(tmp_path / "package", {"room/module.py": text})
    assert set(build_layer.imports(package)) == {"outside.module", "late.loaded"}


def test_the_build_targets_the_python_version_of_the_template() -> None:
    template = (ROOT / "template.yaml").read_text()
    assert set(re.findall(r"\bpython3\.\d+\b", template)) == {f"python{build_layer.TARGET_VERSION}"}


def test_the_layer_keeps_every_aws_service_that_the_package_calls() -> None:
    source = "\n".join(path.read_text() for path in (LAYER / "billing").rglob("*.py"))
    called = set(re.findall(r"""(?:\b_aws|\bclient)\(\s*["']([a-z0-9-]+)["']""", source))
    assert called == build_layer.KEPT_SUBFOLDERS["botocore/data"]


def test_the_layer_leaves_out_files_that_no_function_loads(tmp_path: Path) -> None:
    kept = {
        "boto3/session.py",
        "botocore/data/endpoints.json",
        "botocore/data/sqs/2012-11-05/service-2.json.gz",
        "stripe/_subscription.py",
        "stripe-1.dist-info/METADATA",
    }
    dropped = {
        "bin/jp.py",
        "boto3/data/ec2/resources-1.json",
        "botocore/data/ec2/2016-11-15/service-2.json.gz",
        "certifi/tests/test_where.py",
        "stripe/params/_charge_create_params.py",
        "stripe-1.dist-info/RECORD",
    }
    target = write_files(tmp_path, dict.fromkeys(kept | dropped, ""))
    build_layer.leave_out(target)
    assert {
        path.relative_to(target).as_posix() for path in target.rglob("*") if path.is_file()
    } == kept


# ---------------------------------------------------------------------- what is compiled


def compile_module(folder: Path) -> bytes:
    module = write_files(folder / "python", {"room/module.py": 'NAMES = {"a", "b", "c"}\n'})
    build_layer.compile_folder(module, Path(sys.executable))
    source = module / "room" / "module.py"
    assert source.exists(), "tracebacks need the source"
    return Path(importlib.util.cache_from_source(str(source))).read_bytes()


def test_bytecode_does_not_depend_on_timestamps_and_has_lambdas_paths(tmp_path: Path) -> None:
    bytecode = compile_module(tmp_path)
    assert bytecode[:4] == importlib.util.MAGIC_NUMBER
    assert bytecode[4:8] == b"\x01\0\0\0", "the bytecode must be hash-based and unchecked"
    code = marshal.loads(bytecode[16:])
    assert isinstance(code, CodeType)
    assert code.co_filename == "/opt/python/room/module.py"


def test_the_same_source_gives_the_same_bytecode(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PYTHONHASHSEED", "1")
    first = compile_module(tmp_path / "first")
    monkeypatch.setenv("PYTHONHASHSEED", "2")
    assert compile_module(tmp_path / "second") == first


def test_source_that_cannot_be_compiled_fails_the_build(tmp_path: Path) -> None:
    target = write_files(tmp_path / "python", {"module.py": "print 'two'\n"})
    with pytest.raises(SystemExit, match="could not compile"):
        build_layer.compile_folder(target, Path(sys.executable))


def find_interpreter(version: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["/bin/sh", ROOT / "requirements" / "python.sh", version],
        env={"PATH": "/nowhere"} | environment,
        capture_output=True,
        text=True,
        check=False,
    )


def install_interpreter(folder: Path) -> None:
    folder.mkdir(parents=True)
    python = folder / "python"
    python.write_text(f'#!/bin/sh\nexec "{sys.executable}" "$@"\n')
    python.chmod(0o755)


@pytest.mark.parametrize(
    ("variable", "folder"),
    [
        ("PYENV_ROOT", f"versions/{RUNNING}.1/bin"),
        ("HOME", f".pyenv/versions/{RUNNING}.1/bin"),
        ("UV_PYTHON_INSTALL_DIR", f"cpython-{RUNNING}.1-linux/bin"),
        ("HOME", f".local/share/uv/python/cpython-{RUNNING}.1-linux/bin"),
    ],
)
def test_an_interpreter_is_found_in_the_folders_of_pyenv_and_uv(
    tmp_path: Path, variable: str, folder: str
) -> None:
    install_interpreter(tmp_path / folder)
    result = find_interpreter(RUNNING, **{variable: str(tmp_path)})
    assert result.stdout.strip() == sys.executable


def test_an_interpreter_that_does_not_run_or_has_another_version_is_ignored(tmp_path: Path) -> None:
    install_interpreter(tmp_path / "versions" / "3.999.1" / "bin")
    write_files(tmp_path / "versions", {"3.999.2/bin/python": "#!/bin/sh\nexit 127\n"})
    result = find_interpreter("3.999", PYENV_ROOT=str(tmp_path))
    assert (result.returncode, result.stdout, result.stderr) == (1, "", "")


def test_the_variable_python_sets_the_interpreter_without_a_fallback(tmp_path: Path) -> None:
    assert find_interpreter("", PYTHON=sys.executable).stdout.strip() == sys.executable
    result = find_interpreter("", PYTHON=str(tmp_path / "python"), PATH=os.environ["PATH"])
    assert (result.returncode, result.stdout) == (1, "")
    assert f"PYTHON={tmp_path}/python is none" in result.stderr


def test_without_lambdas_python_the_build_continues_with_a_warning(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    prepared: list[dict[str, Any]] = []
    monkeypatch.setattr(sys, "argv", ["prepare_layer", "dev"])
    monkeypatch.setattr(prepare_layer, "find_python", lambda: None)
    monkeypatch.setattr(prepare_layer, "prepare", lambda **options: prepared.append(options))
    prepare_layer.main()
    assert prepared == [{"stage": "dev", "team_file": None, "python": None}]
    assert capsys.readouterr().err == (
        "No Python 3.13 found: the layer ships without bytecode, so cold starts take about twice "
        "as long.\n"
    )


# ---------------------------------------------------------------------- which configuration ships


@pytest.fixture
def layer(tmp_path: Path) -> Path:
    return write_files(tmp_path / "layer", {"portcullis.toml": VALID})


def prepare(layer: Path, team_file: Path | None = None, **options: Any) -> None:
    options = {"stage": "dev", "python": None} | options
    prepare_layer.prepare(team_file=team_file, layer=layer, **options)


def test_a_teams_file_ships_until_a_build_without_one(layer: Path, tmp_path: Path) -> None:
    team_file = write_files(tmp_path, {"team.toml": VALID + "# team\n"}) / "team.toml"
    prepare(layer, team_file)
    assert (layer / ".build" / "portcullis.toml").read_text() == team_file.read_text()
    prepare(layer)
    assert not (layer / ".build" / "portcullis.toml").exists()


def test_a_teams_file_that_does_not_exist_is_refused(layer: Path, tmp_path: Path) -> None:
    with pytest.raises(SystemExit, match=r"team\.toml' is no file"):
        prepare(layer, tmp_path / "team.toml")


def test_an_invalid_file_is_refused_with_its_line_and_nothing_is_prepared(
    layer: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    prepare(layer)
    team_file = write_files(tmp_path, {"team.toml": VALID + "color = 1\n"}) / "team.toml"
    with pytest.raises(SystemExit, match=r"team\.toml is not valid for stage dev in test mode"):
        prepare(layer, team_file)
    assert "team.toml, line 3" in capsys.readouterr().err
    assert not (layer / ".build").exists(), "the next build must not use the older file"


def test_a_file_is_checked_in_the_stages_own_mode_or_in_both_modes(
    layer: Path, tmp_path: Path
) -> None:
    live = VALID + "[default.mode.live.features.subscription_update]\nenabled = true\n"
    team_file = write_files(tmp_path, {"team.toml": live}) / "team.toml"
    samconfig = tmp_path / "samconfig.toml"
    samconfig.write_text(
        '[dev.deploy.parameters]\nparameter_overrides = ["Stage=dev", "StripeMode=test"]\n'
        '[prod.deploy.parameters]\nparameter_overrides = "Stage=prod StripeMode=\\"live\\""\n'
    )
    prepare(layer, team_file, stage="dev", samconfig=samconfig)
    for stage in ("prod", "staging"):
        with pytest.raises(SystemExit, match=f"stage {stage} in live mode"):
            prepare(layer, team_file, stage=stage, samconfig=samconfig)


def test_every_other_input_of_the_build_is_recorded_where_sam_detects_changes(
    layer: Path,
) -> None:
    recorded = layer / ".build" / "inputs.json"
    prepare(layer)
    without = recorded.read_bytes()
    prepare(layer, python=Path("/somewhere/python"))
    assert recorded.read_bytes() != without
    prepare(layer)
    assert recorded.read_bytes() == without


def test_sam_build_alone_is_refused_with_the_command_to_use() -> None:
    clean = {key: value for key, value in os.environ.items() if key != "PORTCULLIS_ROOT"}
    done = subprocess.run(
        ["make", "build-BillingLayer"],
        cwd=LAYER,
        env=clean | {"ARTIFACTS_DIR": "/nowhere"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode
    assert "Portcullis: build with 'make build'" in done.stderr


# ---------------------------------------------------------------------- continuous integration


@pytest.mark.parametrize(
    "path", sorted((ROOT / ".github").rglob("*.yml")), ids=lambda path: path.name
)
def test_a_workflow_parses_and_pins_each_action_by_its_commit(path: Path) -> None:
    text = path.read_text()
    jobs = yaml.safe_load(text)["jobs"]
    used = [step["uses"] for job in jobs.values() for step in job["steps"] if "uses" in step]
    assert used
    assert len(re.findall(r"uses: [\w-]+/[\w-]+@[0-9a-f]{40} # v\d+\.\d+\.\d+\n", text)) == len(
        used
    )
