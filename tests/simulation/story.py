"""One step of a history, as a line that a person reads."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from billing.model import CustomerRow, DocumentRow, Link
from tests.simulation.actors import Op, Raised
from tests.simulation.stripe_model import EPOCH, POLICY

if TYPE_CHECKING:
    from tests.simulation.performing import Variant
    from tests.simulation.world import World


def told(world: World, name: str, op: Op, variant: Variant, outcome: Any) -> str:
    """What `name` has done, with which outcome."""
    ending = f": {outcome.error.__name__}" if type(outcome) is Raised else ""
    fault = f" ({variant})" if variant else ""
    return f"{name}: {op.service}.{op.method} {_detail(world, name, op, outcome)}{fault}{ending}"


def _detail(world: World, name: str, op: Op, outcome: Any) -> str:
    match op.method:
        case "load" | "load_document" | "read" if isinstance(outcome, CustomerRow | DocumentRow):
            return f"{outcome.key.id} revision {outcome.revision}"
        case "retrieve_customer" | "list_active_entitlements" | "retrieve_document":
            fetch = world.actors[name].fetch
            if fetch is None or type(outcome) is Raised:
                return str(op.args[0])
            seen = fetch.entitlements if op.method.startswith("list") else fetch.profile
            return f"{op.args[0]} as of change {seen.version}" if seen else ""
        case "commit" | "commit_and_link" | "put":
            return _written(world, op.args[0])
        case "send":
            return f"{op.args[0].cause.id} for {op.args[0].key.id}, in {op.args[1]} s"
        case "hide":
            return f"{op.args[0].id} for {op.args[1]} s"
        case "respond":
            row = op.args[1]
            return f"{op.args[0]}: {row.key.id if row else 'no customer'}"
        case _:
            return " ".join(str(each) for each in op.args if isinstance(each, str))


def _written(world: World, row: CustomerRow | DocumentRow | Link) -> str:
    if isinstance(row, Link):
        return f"remembers {', '.join(key.id for key in row.claimants)}"
    at = f"{row.key.id} revision {row.revision} as of {row.as_of - EPOCH} s"
    if isinstance(row, DocumentRow):
        return at
    access = row.access(POLICY, world.now)
    gives = sorted([*access.features, *access.products]) or "nothing"
    state = "deleted" if row.deleted else f"{row.subject} has {gives}"
    return f"{at}, {state}"
