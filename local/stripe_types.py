"""Write `local/stripe_simulator/fields.json`: Stripe's fields, and which of them can be null.

`python -m local.stripe_types` takes them from the type declarations of stripe-node, which tell a
field that is null from one that is absent. stripe-python declares both as Optional. Only names and
nullability are taken. It needs npm and a connection to its registry.
"""

from __future__ import annotations

import json
import re
import subprocess
import tarfile
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from billing.settings import STRIPE_API_VERSION

#: The release of stripe-node whose types are those of STRIPE_API_VERSION.
PACKAGE = "stripe@23.1.0"
TABLE = Path(__file__).parent / "stripe_simulator" / "fields.json"

#: The objects that the simulator returns, by Stripe's `object`.
OBJECTS = (
    "account",
    "bank_account",
    "billing_portal.configuration",
    "billing_portal.session",
    "card",
    "checkout.session",
    "coupon",
    "customer",
    "discount",
    "entitlements.active_entitlement",
    "entitlements.active_entitlement_summary",
    "entitlements.feature",
    "event",
    "invoice",
    "invoice_payment",
    "item",
    "line_item",
    "payment_method",
    "plan",
    "price",
    "product",
    "product_feature",
    "promotion_code",
    "source",
    "subscription",
    "subscription_item",
    "tax_id",
    "test_helpers.test_clock",
    "webhook_endpoint",
)

#: What they contain where a field can be absent or null. Everything else in them is followed.
RENDERED = (
    "Address",
    "Event.Data.PreviousAttributes",
    "Event.Request",
    "billing_portal.configuration.Features.SubscriptionUpdate.Product",
    "billing_portal.session.Flow",
    "billing_portal.session.Flow.AfterCompletion.HostedConfirmation",
    "billing_portal.session.Flow.AfterCompletion.Redirect",
    "billing_portal.session.Flow.SubscriptionCancel",
    "billing_portal.session.Flow.SubscriptionCancel.Retention",
    "billing_portal.session.Flow.SubscriptionCancel.Retention.CouponOffer",
    "billing_portal.session.Flow.SubscriptionPause",
    "billing_portal.session.Flow.SubscriptionUpdate",
    "billing_portal.session.Flow.SubscriptionUpdateConfirm",
    "billing_portal.session.Flow.SubscriptionUpdateConfirm.Discount",
    "checkout.session.AdaptivePricing",
    "checkout.session.CustomerDetails",
    "checkout.session.PhoneNumberCollection",
    "checkout.session.TotalDetails",
    "invoice.ConfirmationSecret",
    "invoice.CustomerTaxId",
    "invoice.Parent",
    "invoice.Parent.SubscriptionDetails",
    "line_item.Parent",
    "line_item.Parent.SubscriptionItemDetails",
    "line_item.Parent.SubscriptionItemDetails.ProrationDetails",
    "line_item.Parent.SubscriptionItemDetails.ProrationDetails.CreditedItems",
    "line_item.Pricing",
    "line_item.Pricing.PriceDetails",
    "payment_method.BacsDebit",
    "payment_method.Card",
    "payment_method.Card.Checks",
    "payment_method.Card.Networks",
    "payment_method.Card.ThreeDSecureUsage",
    "payment_method.SepaDebit",
    "payment_method.SepaDebit.GeneratedFrom",
    "payment_method.UsBankAccount",
    "payment_method.UsBankAccount.Networks",
    "payment_method.UsBankAccount.StatusDetails",
    "price.Recurring",
    "source.AchCreditTransfer",
    "source.AchDebit",
    "source.Owner",
    "source.SepaDebit",
    "subscription.BillingMode.Flexible",
    "subscription.CancellationDetails",
    "subscription.PauseCollection",
    "subscription.PaymentSettings",
    "subscription.StatusDetails",
    "subscription.TrialSettings",
    "tax_id.Owner",
    "tax_id.Verification",
    "test_helpers.test_clock.StatusDetails.Advancing",
)

_COMMENT = re.compile(r"/\*.*?\*/", re.DOTALL)
_IMPORT = re.compile(r"import (?:\{ (.*?) \}|\* as (\w+)) from '(.*?)\.js';")
_OPENS = re.compile(r"(?:export )?(?:declare )?(interface|namespace|class) (\w+).*\{")
_ALIAS = re.compile(r"(?:export )?type (\w+) = (.*);")
_FIELD = re.compile(r"(\w+)(\??): (.*?);?")
_NAME = re.compile(r"[A-Z]\w*(?:\.\w+)*")
_LITERAL = re.compile(r"'([\w.]+)'")


@dataclass
class Module:
    """One file of declarations. Names in namespaces are joined with dots."""

    path: Path
    imports: dict[str, Path] = field(default_factory=dict)
    folders: dict[str, Path] = field(default_factory=dict)
    interfaces: dict[str, dict[str, tuple[str, str]]] = field(default_factory=dict)
    aliases: dict[str, str] = field(default_factory=dict)


def parse(path: Path) -> Module:
    """Return the declarations of a file. Each member stands on a line of its own."""
    module = Module(path)
    scope: list[tuple[str, str]] = []
    for line in _COMMENT.sub("", path.read_text()).splitlines():
        text = line.strip()
        if found := _IMPORT.fullmatch(text):
            target = (path.parent / found[3]).resolve()
            if found[2]:
                module.folders[found[2]] = target.parent
            else:
                module.imports |= dict.fromkeys(found[1].split(", "), target)
        elif found := _OPENS.fullmatch(text):
            scope.append((found[1], found[2]))
            if found[1] == "interface":
                module.interfaces[".".join(name for _, name in scope)] = {}
        elif found := _ALIAS.fullmatch(text):
            module.aliases[".".join([*(name for _, name in scope), found[1]])] = found[2]
        elif scope and scope[-1][0] == "interface" and (found := _FIELD.fullmatch(text)):
            module.interfaces[".".join(name for _, name in scope)][found[1]] = (found[2], found[3])
            if text.endswith("{"):
                scope.append(("field", found[1]))
        elif text.endswith("{"):
            scope.append(("", ""))
        elif text.startswith("}"):
            kind, name = scope.pop()
            if kind == "field" and "null" in text:
                fields = module.interfaces[".".join(name for _, name in scope)]
                fields[name] = fields[name][0], "{} | null"
    return module


class Declarations:
    """Every module of the package, with the interfaces found by name."""

    def __init__(self, folder: Path) -> None:
        self.modules = {
            path.with_name(path.name.removesuffix(".d.ts")).resolve(): parse(path)
            for path in [folder / "shared.d.ts", *folder.glob("resources/**/*.d.ts")]
            if "V2" not in path.parts
        }
        self.roots: dict[str, tuple[Module, str]] = {}
        for module in self.modules.values():
            for name, fields in module.interfaces.items():
                literal = _LITERAL.fullmatch(fields.get("object", ("", ""))[1])
                if literal and "." not in name:
                    deleted = fields.get("deleted", ("", ""))[1] == "true"
                    self.roots["deleted " * deleted + literal[1]] = module, name
        self.names = {(m.path, name): key for key, (m, name) in self.roots.items()}

    def resolve(self, module: Module, scope: str, name: str) -> list[tuple[Module, str]]:
        """Return the interfaces that `name` stands for inside `scope`."""
        parts = scope.split(".")
        for length in range(len(parts), -1, -1):
            full = ".".join([*parts[:length], name])
            if full in module.interfaces:
                return [(module, full)]
            if full in module.aliases:
                return self.mentioned(module, ".".join(parts[:length]), module.aliases[full])
        first, _, rest = name.partition(".")
        if first in module.imports and module.imports[first] in self.modules:
            return self.resolve(self.modules[module.imports[first]], "", name)
        if first in module.folders:
            for path, other in self.modules.items():
                if path.parent == module.folders[first] and rest in other.interfaces:
                    return [(other, rest)]
        return []

    def mentioned(self, module: Module, scope: str, annotation: str) -> list[tuple[Module, str]]:
        """Return the interfaces that an annotation mentions."""
        return [
            found
            for name in _NAME.findall(annotation)
            for found in self.resolve(module, scope, name)
        ]

    def key(self, module: Module, name: str) -> str:
        """Return the name of an interface in the table: that of its object, then its own."""
        first, dot, rest = name.partition(".")
        return self.names.get((module.path, first), first) + dot + rest


def table(folder: Path) -> dict[str, dict[str, str]]:
    """Return the fields of each object, and of what it contains, by name.

    A field is `required`, `nullable` (required, but it can be null), `optional` (it can be absent)
    or `optional, nullable`, with the objects that it can hold after a colon.
    """
    declared = Declarations(folder)
    todo = [declared.roots[each] for each in OBJECTS]
    todo += [
        declared.roots[name] for each in OBJECTS if (name := f"deleted {each}") in declared.roots
    ]
    wanted: dict[str, tuple[Module, str]] = {}
    while todo:
        module, name = todo.pop()
        key = declared.key(module, name)
        if key in wanted:
            continue
        wanted[key] = module, name
        for optional, annotation in module.interfaces[name].values():
            # An object in the place of its id is expanded, so it is one of OBJECTS.
            if "string" in annotation:
                continue
            for found in declared.mentioned(module, name, annotation):
                key = declared.key(*found)
                if key in RENDERED or not (optional or "null" in annotation):
                    todo.append(found)
    return {
        key: dict(_fields(declared, module, name, wanted))
        for key, (module, name) in sorted(wanted.items())
    }


def _fields(
    declared: Declarations, module: Module, name: str, wanted: dict[str, tuple[Module, str]]
) -> Iterator[tuple[str, str]]:
    for field_name, (optional, annotation) in module.interfaces[name].items():
        if annotation == "void":  # `deleted` of an object that is not deleted
            continue
        kind = "optional" if optional else "required"
        if "null" in annotation:
            kind = "optional, nullable" if optional else "nullable"
        held = {declared.key(*found) for found in declared.mentioned(module, name, annotation)}
        shown = ", ".join(sorted(held & wanted.keys()))
        yield field_name, f"{kind}: {shown}" if shown else kind


def main() -> None:
    """Fetch the package, and write the table."""
    with tempfile.TemporaryDirectory() as folder:
        packed = subprocess.run(
            ["npm", "pack", "--silent", PACKAGE],
            cwd=folder,
            check=True,
            capture_output=True,
            text=True,
        )
        with tarfile.open(Path(folder, packed.stdout.strip())) as archive:
            archive.extractall(folder, filter="data")
        types = Path(folder, "package", "esm")
        version = (types / "apiVersion.d.ts").read_text()
        if f'"{STRIPE_API_VERSION}"' not in version:
            raise SystemExit(f"{PACKAGE} is not of Stripe's API {STRIPE_API_VERSION}: {version}")
        written = {
            "written by": "python -m local.stripe_types",
            "from": f"the types of {PACKAGE} on npm",
            "api_version": STRIPE_API_VERSION,
            "objects": table(types),
        }
    TABLE.write_text(json.dumps(written, indent=2) + "\n")


if __name__ == "__main__":
    main()
