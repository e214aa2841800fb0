"""What may happen next in a world: its moves, and while their budgets last, its faults."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tests.simulation.performing import variants
from tests.simulation.sqs_model import BATCH_SIZE

if TYPE_CHECKING:
    from tests.simulation.world import World

Move = tuple[Any, ...]


def moves_of(world: World) -> list[Move]:
    """What may happen without a fault; empty when the world is quiet."""
    now, found = world.now, list[Move]()
    due = world.stripe.next_due(world.start)
    if due is not None and due <= now:
        found.append(("change",))
    if world.pending:
        found += [("deliver", event) for event in _deliverable(world)]
    idle = _idle_worker(world)
    if not world.setup.worker_stops and (visible := world.queue.visible(now)):
        return [("take", idle, (message,)) for message in visible]
    if idle is not None and (visible := world.queue.visible(now)):
        # Messages that differ only by id have the same effect, so only the first is offered.
        alike = {world.queue.messages[name][1:]: name for name in reversed(visible)}
        found += [("take", idle, (name,)) for name in reversed(alike.values())]
        if len(visible) > 1:
            found.append(("take", idle, tuple(visible[:BATCH_SIZE])))
    found += [
        ("step", name, "")
        for name, actor in world.actors.items()
        if not actor.strands and actor.wakes <= now
    ]
    if not found and (next_due := _next_due(world, due)) is not None:
        found.append(("time", next_due))
    return found


def faults_of(world: World) -> list[Move]:
    """The faults that may happen now, while the budgets last."""
    budgets, found = world.budgets, list[Move]()
    if not world.setup.worker_stops and world.queue.visible(world.now):
        return found
    if budgets.crashes:
        found += [("crash", n) for n, actor in world.actors.items() if actor.parent is None]
    if budgets.duplicates:
        found += [
            ("again", event)
            for event in sorted(world.answered - world.repeated)
            if f"webhook {event}" not in world.actors and _may_come_again(world, event)
        ]
    if budgets.copies:
        found += [
            ("copy", message.id)
            for message in world.queue.messages.values()
            if message.receives and message.visible_at > world.now
        ]
    if budgets.lags or budgets.failures or budgets.dates:
        for name, actor in world.actors.items():
            op = actor.position.op
            if op is not None and not actor.strands and actor.wakes <= world.now:
                found += [("step", name, v) for v in variants(world, op)]
    if budgets.waits and world.actors:
        found += [("wait", seconds) for seconds in world.setup.waits]
    if budgets.holds:
        found += [("hold", event) for event in _deliverable(world)]
    return found + _visits(world)


def _visits(world: World) -> list[Move]:
    """What people do: read, deploy, buy, pay and come back."""
    budgets, found = world.budgets, list[Move]()
    if budgets.deploys and world.deployed + 1 < len(world.setup.designs):
        found.append(("deploy",))
    if world.setup.subjects:
        subject = world.setup.subjects[world.people % len(world.setup.subjects)]
        if budgets.readers:
            found.append(("ask", subject))
        if budgets.purchases:
            found.append(("buy", subject))
    for subject, session in world.checkouts:
        if world.stripe.is_payable(session):
            found.append(("pay", subject, session))
    return found


def _may_come_again(world: World, event: str) -> bool:
    """Whether a second delivery now tests anything more. Where webhooks arrive with their
    change, only an early one does: its message may stay on the queue for just as long."""
    first = world.queue.messages.get(f"{event}#0")
    return not world.setup.delivers_at_once or (first is not None and not first.receives)


def _deliverable(world: World) -> list[str]:
    under_way = {actor.event for actor in world.actors.values()}
    return [e for e, at in world.pending.items() if at <= world.now and e not in under_way]


def _idle_worker(world: World) -> str | None:
    return next((name for name in world.workers if name not in world.actors), None)


def _next_due(world: World, change: float | None) -> float | None:
    times = [] if change is None else [change]
    times += world.pending.values()
    times += [message.visible_at for message in world.queue.messages.values()]
    times += [actor.wakes for actor in world.actors.values()]
    return min((time for time in times if time > world.now), default=None)
