"""The world around the real code: Stripe, SQS, DynamoDB, workers, and time.

At each moment the world offers *moves*: Stripe changes a customer or delivers a webhook, a worker
receives a batch or performs one I/O operation, or time passes because nothing else can happen.
While their budgets last, it also offers *faults*: a crash, a duplicate, a stale read, a refused
call, a lost response. The explorer picks one; the world performs it and checks the invariants.

All state is immutable values, so a moment can be saved, compared and restored.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple

from billing.errors import (
    Conflict,
    CustomerNotFound,
    QueueUnavailable,
    StoreUnavailable,
    StripeUnavailable,
)
from billing.keys import OWN_ACCOUNT, CustomerKey
from billing.model import CustomerRow, Link
from tests.simulation.actors import Op, Position, Program, Raised, live
from tests.simulation.design import Design
from tests.simulation.dynamodb_model import StoreModel
from tests.simulation.invariants import INVARIANTS, Invariant, Violated
from tests.simulation.sqs_model import BATCH_SIZE, QueueModel, Received
from tests.simulation.stripe_model import EPOCH, POLICY, Script, Seen, State, StripeModel, signed

#: template.yaml's Timeout of the worker, in seconds.
WORKER_TIMEOUT_SECONDS = 85

#: Seconds until Stripe retries a webhook. Later retries come later, and test nothing more.
WEBHOOK_RETRY_SECONDS = 60

#: How long one `wait` fault takes: more than the delay of any queue.
WAIT_SECONDS = 5.0

#: How late one `hold` fault makes Stripe's first delivery: more than the worker's margin.
HOLD_SECONDS = 70.0

Move = tuple[Any, ...]


class Budgets(NamedTuple):
    """How many faults of each kind are left."""

    crashes: int = 0
    duplicates: int = 0
    lags: int = 0
    failures: int = 0
    waits: int = 0
    holds: int = 0
    copies: int = 0


class Fetch(NamedTuple):
    """What a sync has read from Stripe so far, and which messages were received when it began."""

    customer: CustomerKey
    received: frozenset[str]
    profile: Seen
    entitlements: Seen | None


class Actor(NamedTuple):
    """A running function, or one strand of it. `reads` lists the customer of each fetch."""

    name: str
    position: Position
    event: str | None = None
    received: tuple[Received, ...] = ()
    deadline: float = 0.0
    wakes: float = 0.0
    fetch: Fetch | None = None
    reads: tuple[str, ...] = ()
    parent: str | None = None
    strands: int = 0


@dataclass(frozen=True, slots=True)
class Secrets:
    """A rotation of the signing secret, `roll` seconds after the start.

    Stripe signs with both secrets for `overlap` seconds. Secrets Manager returns both from `stored`
    seconds after the rotation. A function caches the secrets as long as adapters/secrets.py does;
    refreshed secrets are at most as old as its pause between two forced reads.
    """

    roll: float = float("inf")
    stored: float = 30.0
    overlap: float = 120.0

    def signing(self, elapsed: float) -> tuple[str, ...]:
        if elapsed < self.roll:
            return ("whsec_old",)
        return ("whsec_old", "whsec_new") if elapsed < self.roll + self.overlap else ("whsec_new",)

    def verifying(self, elapsed: float) -> tuple[str, ...]:
        if elapsed < self.roll + self.stored:
            return ("whsec_old",)
        return ("whsec_new", "whsec_old")


@dataclass(frozen=True, slots=True, kw_only=True)
class Setup:
    """What a world starts with. `chance(low, high)` draws a number; by default it returns `low`."""

    script: Script
    design: Design
    workers: int = 2
    budgets: Budgets = field(default_factory=Budgets)
    start: Callable[[Hashable, Program], Position] = live
    chance: Callable[[float, float], float] = lambda low, high: low
    clock_skews: tuple[float, ...] = ()
    secrets: Secrets = field(default_factory=Secrets)
    webhook_delay: float = 0.0
    #: Whether functions stop at each I/O point, or run from trigger to response without a stop. A
    #: worker that does not stop receives each message as soon as it is visible.
    ingest_stops: bool = False
    worker_stops: bool = True
    #: Whether a webhook arrives with its change. A late message then stands for a late webhook.
    delivers_at_once: bool = False
    #: Stripe refuses every request between these seconds.
    outage: tuple[float, float] = (0.0, 0.0)
    invariants: tuple[Invariant, ...] = INVARIANTS


class World:
    """One history, up to the present moment."""

    def __init__(self, setup: Setup) -> None:
        self.setup = setup
        self.start = self.now = float(EPOCH)
        self.stripe = StripeModel(setup.script)
        self.queue = QueueModel()
        self.store = StoreModel()
        self.actors: dict[str, Actor] = {}
        self.budgets = setup.budgets
        #: Events whose webhook is not yet answered 200, with the time of their next delivery.
        self.pending: dict[str, float] = {}
        #: Events whose webhook was answered 200, and events acknowledged on the queue.
        self.answered: frozenset[str] = frozenset()
        self.acknowledged: frozenset[str] = frozenset()
        #: Events delivered again after the 200: each at most once.
        self.repeated: frozenset[str] = frozenset()
        #: Receipts that a commit covers: its fetch began after they were received.
        self.covered: frozenset[str] = frozenset()
        #: What the fetch behind each row saw.
        self.seen: dict[CustomerKey, tuple[Seen, Seen | None]] = {}
        self.story: list[str] | None = None
        #: Fetches on behalf of an event.
        self.fetches_for_events = 0
        self._marks: dict[int, tuple[CustomerRow, int]] = {}
        self._remembers = setup.start is not live
        self._workers = [f"worker {number}" for number in range(1, setup.workers + 1)]
        self._checks = {
            hook: [
                getattr(invariant, hook)
                for invariant in setup.invariants
                if getattr(type(invariant), hook) is not getattr(Invariant, hook)
            ]
            for hook in ("commit", "acknowledge", "answer", "read", "quiet")
        }

    # What may happen next.

    def moves(self) -> list[Move]:
        """What may happen without a fault; empty when the world is quiet."""
        now, found = self.now, list[Move]()
        due = self.stripe.next_due(self.start)
        if due is not None and due <= now:
            found.append(("change",))
        if self.pending:
            found += [("deliver", event) for event in self._deliverable()]
        idle = self._idle_worker()
        if not self.setup.worker_stops and (visible := self.queue.visible(now)):
            return [("take", idle, (message,)) for message in visible]
        if idle is not None and (visible := self.queue.visible(now)):
            # Messages that differ only by id have the same effect, so only the first is offered.
            alike = {self.queue.messages[name][1:]: name for name in reversed(visible)}
            found += [("take", idle, (name,)) for name in reversed(alike.values())]
            if len(visible) > 1:
                found.append(("take", idle, tuple(visible[:BATCH_SIZE])))
        found += [
            ("step", name, "")
            for name, actor in self.actors.items()
            if not actor.strands and actor.wakes <= now
        ]
        if not found and (next_due := self._next_due(due)) is not None:
            found.append(("time", next_due))
        return found

    def faults(self) -> list[Move]:
        """The faults that may happen now, while the budgets last."""
        budgets, found = self.budgets, list[Move]()
        if not self.setup.worker_stops and self.queue.visible(self.now):
            return found
        if budgets.crashes:
            found += [("crash", n) for n, actor in self.actors.items() if actor.parent is None]
        if budgets.duplicates:
            found += [
                ("again", event)
                for event in sorted(self.answered - self.repeated)
                if f"webhook {event}" not in self.actors and self._may_come_again(event)
            ]
        if budgets.copies:
            found += [
                ("copy", message.id)
                for message in self.queue.messages.values()
                if message.receives and message.visible_at > self.now
            ]
        if budgets.lags or budgets.failures:
            for name, actor in self.actors.items():
                op = actor.position.op
                if op is not None and not actor.strands and actor.wakes <= self.now:
                    found += [("step", name, variant) for variant in self._variants(op)]
        if budgets.waits and self.actors:
            found.append(("wait",))
        if budgets.holds:
            found += [("hold", event) for event in self._deliverable()]
        return found

    def _variants(self, op: Op) -> list[str | int]:
        if op.service == "stripe":
            lags = self.stripe.lags(op.args, self.now) if self.budgets.lags else 0
            failure: list[str | int] = ["refused"] if self.budgets.failures else []
            return failure + list(range(1, lags + 1))
        if op.service in ("store", "queue") and self.budgets.failures:
            reads = op.method in ("load", "load_link")
            return ["refused"] if reads else ["refused", "lost"]
        return []

    def _may_come_again(self, event: str) -> bool:
        """Whether a second delivery now tests anything more. Where webhooks arrive with their
        change, only an early one does: its message may stay on the queue for just as long."""
        first = self.queue.messages.get(f"{event}#0")
        return not self.setup.delivers_at_once or (first is not None and not first.receives)

    def _commutes(self, op: Op) -> bool:
        """Whether this operation may run at once, because running it later makes no difference: a
        confirm is invisible for a while, and so is a message in flight. A fault in between would
        make a difference."""
        late = op.method == "finish" or (op.method == "send" and op.args[0].is_confirm)
        budgets = self.budgets
        return late and not (budgets.crashes or budgets.failures or budgets.waits or budgets.copies)

    def _deliverable(self) -> list[str]:
        under_way = {actor.event for actor in self.actors.values()}
        return [e for e, at in self.pending.items() if at <= self.now and e not in under_way]

    def _idle_worker(self) -> str | None:
        return next((name for name in self._workers if name not in self.actors), None)

    def _next_due(self, change: float | None) -> float | None:
        times = [] if change is None else [change]
        times += self.pending.values()
        times += [message.visible_at for message in self.queue.messages.values()]
        times += [actor.wakes for actor in self.actors.values()]
        return min((time for time in times if time > self.now), default=None)

    # Performing moves.

    def take(self, move: Move) -> None:
        """Make one move. Raises Violated."""
        match move:
            case ("step", name, variant):
                self._step(name, variant)
            case ("take", worker, ids):
                self._receive(worker, ids)
            case ("deliver", event):
                self._deliver(event)
            case ("change",):
                self._change()
            case ("time", until):
                self._log(f"nothing else can happen; {until - self.now:g} s pass")
                self.now = until
            case ("crash", name):
                self._spend(crashes=1)
                self._crash(name)
            case ("again", event):
                self._spend(duplicates=1)
                self.repeated |= {event}
                self._deliver(event)
            case ("hold", event):
                self._spend(holds=1)
                self._log(f"Stripe's delivery of {event} is {HOLD_SECONDS:g} s late")
                self.pending = {**self.pending, event: self.now + HOLD_SECONDS}
            case ("copy", message):
                self._spend(copies=1)
                self._log(f"SQS delivers {message} again")
                self.queue.duplicate(message)
            case ("wait",):
                self._spend(waits=1)
                self.now += WAIT_SECONDS
                self._log(f"{WAIT_SECONDS:g} s pass")

    def check_quiet(self) -> None:
        """Check the invariants at the end of the history. Raises Violated."""
        for check in self._checks["quiet"]:
            check(self)

    def _spend(self, **amounts: int) -> None:
        self.budgets = self.budgets._replace(
            **{kind: getattr(self.budgets, kind) - amount for kind, amount in amounts.items()}
        )

    def _change(self) -> None:
        index = len(self.stripe.happened)
        change = self.setup.script.changes[index]
        self.stripe.happened = (*self.stripe.happened, self.now)
        self._log(f"Stripe: change {index} of {change.state.id} ({', '.join(change.events)})")
        self.pending = self.pending | {
            event: self.now + self.setup.chance(0, self.setup.webhook_delay)
            for event in self.setup.script.events_of(index)
        }
        if self.setup.delivers_at_once:
            for event in self.setup.script.events_of(index):
                self._deliver(event)

    def _deliver(self, event: str) -> None:
        self._log(f"Stripe delivers {event}")
        body = self.stripe.body(self.setup.script.events[event])
        secrets = self.setup.secrets.signing(self.now - self.start)
        header = signed(body, secrets, int(self.now))
        ingest_webhook = self.setup.design.ingest_webhook
        name = f"webhook {event}"
        position = self.setup.start((body, header), lambda: ingest_webhook(body, header))
        self._settle(Actor(name, position, event=event))
        if not self.setup.ingest_stops:
            self._run_to_end(name)

    def _receive(self, worker: str, ids: tuple[str, ...]) -> None:
        received, messages = self.queue.receive(ids, self.now)
        self._log(f"{worker} receives {', '.join(ids)}")
        work = self.setup.design.work
        position = self.setup.start(tuple(messages), lambda: work(messages))
        self._settle(
            Actor(worker, position, received=received, deadline=self.now + WORKER_TIMEOUT_SECONDS)
        )
        if not self.setup.worker_stops:
            self._run_to_end(worker)

    def _run_to_end(self, name: str) -> None:
        while name in self.actors:
            self._step(name, "")

    def _crash(self, name: str) -> None:
        self._log(f"{name} crashes")
        for other in [n for n in self.actors if n == name or n.startswith(f"{name}/")]:
            self.actors[other].position.kill()
        gone = {received.receipt for received in self.actors[name].received}
        self.covered -= gone
        self.actors = {
            other: actor
            for other, actor in self.actors.items()
            if other != name and not other.startswith(f"{name}/")
        }

    def _step(self, name: str, variant: str | int) -> None:
        actor = self.actors[name]
        if actor.deadline and self.now >= actor.deadline:
            self._crash(name.split("/", maxsplit=1)[0])
            return
        op = actor.position.op
        assert op is not None
        if op.service == "edge" and op.method != "delete":
            self._end(actor, op)
            return
        outcome = self._perform(actor, op, variant)
        if self.story is not None:
            self._log_step(name, op, variant, outcome)
        actor = self.actors[name]
        position = actor.position.next(outcome, self._mark(outcome))
        self._settle(actor._replace(position=position))

    def _settle(self, actor: Actor) -> None:
        """Run the actor to its next I/O point, or to its end."""
        position = actor.position
        while (op := position.op) is not None and op.service == "here":
            if op.method == "parallel":
                self._fork(actor._replace(position=position), op.args[0])
                return
            if op.method == "pause" and actor.wakes <= self.now and not self._remembers:
                actor = actor._replace(wakes=self.now + self.setup.chance(0.05, op.args[0]))
                break
            outcome = self._here(actor, op)
            position = position.next(outcome, outcome)
        if op is None:
            self._strand_ended(actor)
            return
        self.actors = {**self.actors, actor.name: actor._replace(position=position)}
        if self._remembers and self._commutes(op):
            self._step(actor.name, "")

    def _here(self, actor: Actor, op: Op) -> object:
        """The outcome of an operation without I/O: the worker's own clock, random numbers."""
        match op.method:
            case "clock":
                skews = self.setup.clock_skews
                number = int(actor.name.split("/")[0].split()[1]) if actor.received else 0
                return self.now + (skews[number] if skews else 0.0)
            case "jitter":
                return self.setup.chance(0, 1)
            case "remaining_ms":
                return int(max(0.0, actor.deadline - self.now) * 1000)
            case _:
                return None

    def _fork(self, parent: Actor, tasks: tuple[Program, ...]) -> None:
        self.actors = {**self.actors, parent.name: parent._replace(strands=len(tasks))}
        for number, task in enumerate(tasks):
            position = self.setup.start((parent.name, number), task)
            self._settle(
                parent._replace(
                    name=f"{parent.name}/{number}", parent=parent.name, position=position
                )
            )

    def _strand_ended(self, strand: Actor) -> None:
        self.actors = {name: a for name, a in self.actors.items() if name != strand.name}
        assert strand.parent is not None, "a function ends with its response"
        parent = self.actors[strand.parent]
        parent = parent._replace(strands=parent.strands - 1)
        self.actors = {**self.actors, parent.name: parent}
        if not parent.strands:
            self._settle(parent._replace(position=parent.position.next(None, None)))

    # Operations.

    def _perform(self, actor: Actor, op: Op, variant: str | int) -> Any:
        if variant in ("refused", "lost"):
            self._spend(failures=1)
        elif variant:
            self._spend(lags=1)
        match op.service:
            case "stripe":
                return self._read(actor, op, variant)
            case "store":
                return self._store(actor, op, variant)
            case "queue":
                return self._queue(op, variant)
            case "secrets":
                age = self.setup.chance(0, 300 if op.method == "current" else 60)
                return self.setup.secrets.verifying(self.now - self.start - age)
            case "edge":
                self._delete(actor.received, op.args[0])
                return None
            case "here":
                return None
        raise LookupError(op)

    def _read(self, actor: Actor, op: Op, variant: str | int) -> Any:
        begin, end = self.setup.outage
        if variant == "refused" or begin <= self.now - self.start < end:
            return Raised(StripeUnavailable, "rate_limit")
        name, after = op.args
        if op.method == "payload":
            return self._payload(actor, name)
        if op.method == "retrieve_customer":
            actor = actor._replace(reads=(*actor.reads, name))
            if any(t.request.key.id == name and not t.request.is_confirm for t in actor.received):
                self.fetches_for_events += 1
            self.actors = {**self.actors, actor.name: actor}
        for check in self._checks["read"]:
            check(self, actor)
        try:
            response, seen = self.stripe.read(op.method, name, after, self.now, int(variant or 0))
        except CustomerNotFound:
            return Raised(CustomerNotFound, name)
        if op.method == "retrieve_customer":
            key = key_of(name)
            received = frozenset(
                received.receipt
                for other in self.actors.values()
                for received in other.received
                if received.request.key.id == name
            )
            fetch = Fetch(key, received, seen, None)
            self.actors = {**self.actors, actor.name: actor._replace(fetch=fetch)}
        elif op.method == "list_active_entitlements" and after is None and actor.fetch is not None:
            fetch = actor.fetch._replace(entitlements=seen)
            self.actors = {**self.actors, actor.name: actor._replace(fetch=fetch)}
        return response

    def _payload(self, actor: Actor, name: str) -> State:
        """The state in an event's payload. Only a mutant reads it."""
        event = self.setup.script.events[name]
        received = frozenset(received.receipt for received in actor.received)
        seen = Seen(event.change, event.change)
        fetch = Fetch(key_of(event.customer), received, seen, seen)
        self.actors = {**self.actors, actor.name: actor._replace(fetch=fetch)}
        return self.setup.script.changes[event.change].state

    def _store(self, actor: Actor, op: Op, variant: str | int) -> Any:
        if variant == "refused":
            return Raised(StoreUnavailable, "ThrottlingException")
        match op.method:
            case "load":
                return self.store.load(op.args[0])
            case "load_link":
                return self.store.load_link(op.args[0])
        try:
            written = self._write(op)
        except Conflict as error:
            return Raised(Conflict, str(error))
        for before, row in written:
            for check in self._checks["commit"]:
                check(self, actor, before, row)
        fetch = actor.fetch
        if fetch is not None and fetch.customer in [row.key for _, row in written]:
            self.covered |= fetch.received
            self.seen = {**self.seen, fetch.customer: (fetch.profile, fetch.entitlements)}
        return Raised(StoreUnavailable, "timeout") if variant == "lost" else None

    def _write(self, op: Op) -> list[tuple[CustomerRow, CustomerRow]]:
        """Write; return each customer's row as it was and as it is. Raises Conflict."""
        row: CustomerRow | Link = op.args[0]
        if isinstance(row, Link):
            self.store.commit(row)
            return []
        before = self.store.load(row.key)
        match op.method:
            case "commit":
                self.store.commit(row)
            case "commit_and_link":
                _, link, released = op.args
                former = self.store.load(released.key) if released else None
                self.store.commit_and_link(row, link, released=released)
                if former is not None:
                    return [(before, row), (former, released)]
            case "put":
                row = self.store.put(row, op.args[1], newer=op.args[2])
            case "put_unbumped":
                self.store.commit(row)
                row = replace(row, revision=before.revision)
        return [(before, row)]

    def _queue(self, op: Op, variant: str | int) -> Any:
        if variant == "refused":
            return Raised(QueueUnavailable, "ServiceUnavailable")
        match op.method:
            case "send":
                self.queue.send(op.args[0], self.now, op.args[1])
            case "hide":
                self.queue.hide(op.args[0], self.now, op.args[1])
            case "dead_letter":
                self.queue.dead_letter(*op.args)
        return Raised(QueueUnavailable, "timeout") if variant == "lost" else None

    def _end(self, actor: Actor, op: Op) -> None:
        """The function's response: a status for Stripe, or the messages that SQS keeps."""
        if actor.event is not None:
            self._answer(actor.event, op.args[0])
        else:
            self._finish(actor, op.args[0])
        self.actors = {name: a for name, a in self.actors.items() if name != actor.name}

    def _answer(self, event: str, status: int) -> None:
        self._log(f"webhook {event}: response {status}")
        if status == 200:
            for check in self._checks["answer"]:
                check(self, event)
            self.answered |= {event}
            self.pending = {e: at for e, at in self.pending.items() if e != event}
        elif event in self.pending:
            self.pending = {**self.pending, event: self.now + WEBHOOK_RETRY_SECONDS}

    def _finish(self, actor: Actor, deferred: tuple[str, ...]) -> None:
        done = [received for received in actor.received if received.id not in deferred]
        self._log(f"{actor.name} ends: {', '.join(t.id for t in done) or 'nothing'} acknowledged")
        self._delete(actor.received, tuple(received.id for received in done))
        self.covered -= {received.receipt for received in actor.received}

    def _delete(self, messages: tuple[Received, ...], ids: tuple[str, ...]) -> None:
        for received in messages:
            if received.id in ids:
                for check in self._checks["acknowledge"]:
                    check(self, received)
                self.queue.delete(received.id)
                if not self.queue.has_copy_of(received.request):
                    self.acknowledged |= {received.request.cause.id}

    # Moments as values.

    def snapshot(self) -> tuple[Any, ...]:
        """Everything `restore` needs to return to this moment. Positions must be `Remembered`."""
        return (
            self.now,
            self.stripe.snapshot(),
            self.queue.snapshot(),
            self.store.snapshot(),
            self.actors,
            self.budgets,
            self.pending,
            self.answered,
            self.acknowledged,
            self.repeated,
            self.covered,
            self.seen,
            self.fetches_for_events,
        )

    def restore(self, moment: tuple[Any, ...]) -> None:
        (
            self.now,
            happened,
            queue,
            store,
            self.actors,
            self.budgets,
            self.pending,
            self.answered,
            self.acknowledged,
            self.repeated,
            self.covered,
            self.seen,
            self.fetches_for_events,
        ) = moment
        self.stripe.restore(happened)
        self.queue.restore(queue)
        self.store.restore(store)

    def fingerprint(self) -> int:
        """A hash that identifies this moment: the world's state and the actors' positions.

        The workers' names are left out: workers are interchangeable.
        """
        return hash(
            (
                self.now,
                self.stripe.happened,
                frozenset(self.queue.messages.values()),
                len(self.queue.dead),
                frozenset([self._mark(row) for row in self.store.rows.values()]),
                frozenset(self.store.links.items()),
                frozenset(self.seen.items()),
                frozenset(
                    [
                        (id(a.position), a.received, a.fetch, a.deadline)
                        for a in self.actors.values()
                    ]
                ),
                self.budgets,
                frozenset(self.pending.items()),
                self.answered,
                self.acknowledged,
                self.repeated,
                self.covered,
            )
        )

    def _mark(self, outcome: object) -> Hashable:
        """A value that identifies an outcome among all outcomes of the same operation."""
        if not self._remembers:
            return None
        if isinstance(outcome, CustomerRow):
            if not outcome.revision:
                return None
            known = self._marks.get(id(outcome))
            if known is None:
                known = self._marks[id(outcome)] = (
                    outcome,
                    # `transitions` explains access to people. No step depends on it.
                    hash(repr(replace(outcome, transitions=()))),
                )
            return known[1]
        if isinstance(outcome, dict):
            return id(outcome)  # the model returns the same object for the same page
        if type(outcome) is tuple and outcome and isinstance(outcome[0], dict):
            return (id(outcome[0]), outcome[1])
        return outcome

    # The story.

    def _log(self, text: str) -> None:
        if self.story is not None:
            self.story.append(f"{self.now - self.start:9.2f} s  {text}")

    def _log_step(self, name: str, op: Op, variant: str | int, outcome: Any) -> None:
        detail = ""
        match op.method:
            case "load" if isinstance(outcome, CustomerRow):
                detail = f"revision {outcome.revision}"
            case "retrieve_customer" | "list_active_entitlements":
                actor = self.actors[name]
                fetch = actor.fetch
                if fetch is not None and type(outcome) is not Raised:
                    seen = fetch.profile if op.method == "retrieve_customer" else fetch.entitlements
                    lag = f", {variant} behind" if variant else ""
                    detail = f"as of change {seen.version}{lag}" if seen else ""
            case "commit" if isinstance(op.args[0], Link):
                detail = f"remembers {', '.join(key.id for key in op.args[0].claimants)}"
            case "commit" | "commit_and_link" | "put":
                row: CustomerRow = op.args[0]
                access = row.access(POLICY, self.now)
                gives = sorted([*access.features, *access.products]) or "nothing"
                state = "deleted" if row.deleted else f"gives {gives}"
                at = row.as_of - EPOCH
                detail = f"{row.key.id} revision {row.revision} as of {at} s, {state}"
            case "send":
                detail = f"{op.args[0].cause.id}"
            case "hide":
                detail = f"{op.args[0].id} for {op.args[1]} s"
        ending = f": {outcome.error.__name__}" if type(outcome) is Raised else ""
        self._log(f"{name}: {op.service}.{op.method} {detail}{ending}")


def key_of(customer: str) -> CustomerKey:
    return CustomerKey(OWN_ACCOUNT, "test", customer)


__all__ = ["Budgets", "Move", "Secrets", "Setup", "Violated", "World", "key_of"]
