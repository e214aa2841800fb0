"""The world around the real code: Stripe, SQS, DynamoDB, functions, people, and time.

At each moment the world offers *moves*: Stripe changes a customer or delivers a webhook, a function
starts or performs one I/O operation, or time passes because nothing else can happen. While their
budgets last, it also offers *faults*: a crash, a duplicate, a stale read, a refused call, a lost
response, a wrong Date, a deploy. The explorer picks one; the world performs it and checks the
invariants.

All state is immutable values, so a moment can be saved, compared and restored.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable
from dataclasses import replace
from typing import Any, NamedTuple

from billing.keys import Key
from billing.model import CustomerRow, DocumentRow
from tests.simulation import performing, story
from tests.simulation.actors import Op, Position, Program, live
from tests.simulation.design import Design
from tests.simulation.dynamodb_model import StoreModel
from tests.simulation.invariant import Invariant, Violated
from tests.simulation.invariants import INVARIANTS
from tests.simulation.setups import HOLD_SECONDS, WEBHOOK_RETRY_SECONDS, Setup
from tests.simulation.sqs_model import BATCH_SIZE, QueueModel, Received
from tests.simulation.stripe_account import Past, Seen, StripeModel, signed
from tests.simulation.stripe_model import EPOCH

#: template.yaml's Timeout of the worker, in seconds.
WORKER_TIMEOUT_SECONDS = 85

#: Hashes of values that a world keeps, at most.
MAX_DIGESTS = 1 << 18

Move = tuple[Any, ...]


class Fetch(NamedTuple):
    """What a sync has read from Stripe so far, and which messages were received when it began."""

    key: Key
    received: frozenset[str]
    profile: Seen
    entitlements: Seen | None


class Actor(NamedTuple):
    """A running function, or one strand of it. `reads` lists the name of each fetch."""

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


class World:
    """One history, up to the present moment."""

    def __init__(self, setup: Setup) -> None:
        self.setup = setup
        self.start = self.now = float(EPOCH)
        self.stripe = StripeModel(setup.script, max_lag=setup.max_lag, skew=setup.skew)
        self.queue = QueueModel()
        self.store = StoreModel(setup.max_subscriptions)
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
        self.seen: dict[Key, tuple[Seen, Seen | None]] = {}
        #: Fetches on behalf of anything but a confirm.
        self.fetches_for_events = 0
        #: Deploys so far, and readers and buyers who have come.
        self.deployed = 0
        self.people = 0
        #: Sessions that their buyers have, by the subject of each.
        self.checkouts: tuple[tuple[str, str], ...] = ()
        self.story: list[str] | None = None
        self._checked: dict[Hashable, Any] = {}
        self._digests: dict[int, tuple[Any, int]] = {}
        self._marks: dict[int, tuple[Any, int]] = {}
        self.remembers = setup.start is not live
        self._workers = [f"worker {number}" for number in range(1, setup.workers + 1)]
        self.checks = {
            hook: [
                getattr(invariant, hook)
                for invariant in INVARIANTS
                if getattr(type(invariant), hook) is not getattr(Invariant, hook)
            ]
            for hook in performing.HOOKS
        }

    @property
    def design(self) -> Design:
        """What is deployed now."""
        return self.setup.designs[self.deployed]

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
        if budgets.lags or budgets.failures or budgets.dates:
            for name, actor in self.actors.items():
                op = actor.position.op
                if op is not None and not actor.strands and actor.wakes <= self.now:
                    found += [("step", name, v) for v in performing.variants(self, op)]
        if budgets.waits and self.actors:
            found += [("wait", seconds) for seconds in self.setup.waits]
        if budgets.holds:
            found += [("hold", event) for event in self._deliverable()]
        return found + self._visits()

    def _visits(self) -> list[Move]:
        """What people do: read, deploy, buy, pay and come back."""
        budgets, found = self.budgets, list[Move]()
        if budgets.deploys and self.deployed + 1 < len(self.setup.designs):
            found.append(("deploy",))
        if self.setup.subjects:
            subject = self.setup.subjects[self.people % len(self.setup.subjects)]
            if budgets.readers:
                found.append(("ask", subject))
            if budgets.purchases:
                found.append(("buy", subject))
        for subject, session in self.checkouts:
            if self.stripe.is_payable(session):
                found.append(("pay", subject, session))
        return found

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
                index = self.stripe.advance(self.now)
                self.announce(index)
            case ("time", until):
                self.log(f"nothing else can happen; {until - self.now:g} s pass")
                self.now = until
            case ("crash", name):
                self.spend(crashes=1)
                self._crash(name)
            case ("again", event):
                self.spend(duplicates=1)
                self.repeated |= {event}
                self._deliver(event)
            case ("hold", event):
                self.spend(holds=1)
                self.log(f"Stripe's delivery of {event} is {HOLD_SECONDS:g} s late")
                self.pending = {**self.pending, event: self.now + HOLD_SECONDS}
            case ("copy", message):
                self.spend(copies=1)
                self.log(f"SQS delivers {message} again")
                self.queue.duplicate(message)
            case ("wait", seconds):
                self.spend(waits=1)
                self.now += seconds
                self.log(f"{seconds:g} s pass")
            case ("deploy",):
                self.spend(deploys=1)
                self.deployed += 1
                self.log("the next release is deployed")
            case _:
                self._visit(*move)

    def check_quiet(self) -> None:
        """Check the invariants at the end of the history. Raises Violated."""
        for check in self.checks["quiet"]:
            check(self)

    def spend(self, **amounts: int) -> None:
        self.budgets = self.budgets._replace(
            **{kind: getattr(self.budgets, kind) - amount for kind, amount in amounts.items()}
        )

    def announce(self, index: int) -> None:
        """A change has happened at Stripe: its webhooks are due."""
        events = self.stripe.events_of(index)
        _, change = self.stripe.past.log[index]
        self.log(f"Stripe: change {index} of {change.state.id} ({', '.join(change.events)})")
        self.pending = self.pending | {
            event: self.now + self.setup.chance(0, self.setup.webhook_delay) for event in events
        }
        if self.setup.delivers_at_once:
            for event in events:
                self._deliver(event)

    def _deliver(self, event: str) -> None:
        self.log(f"Stripe delivers {event}")
        body = self.stripe.body(self.stripe.past.events[event])
        secrets = self.setup.secrets.signing(self.now - self.start)
        header = signed(body, secrets, int(self.now))
        ingest_webhook = self.design.ingest_webhook
        name = f"webhook {event}"
        self._begin(name, (body, header), lambda: ingest_webhook(body, header), event=event)
        if not self.setup.ingest_stops:
            self._run_to_end(name)

    def _receive(self, worker: str, ids: tuple[str, ...]) -> None:
        received, messages = self.queue.receive(ids, self.now)
        self.log(f"{worker} receives {', '.join(ids)}")
        work = self.design.work
        deadline = self.now + WORKER_TIMEOUT_SECONDS
        program = tuple(messages)
        self._begin(worker, program, lambda: work(messages), received=received, deadline=deadline)
        if not self.setup.worker_stops:
            self._run_to_end(worker)

    def _visit(self, what: str, subject: str, session: str = "") -> None:
        self.people += 1
        design = self.design
        if what == "pay":
            self.log(f"{subject} pays {session}")
            for check in self.checks["pay"]:
                check(self, subject, session)
            if self.stripe.pay_session(session, self.now):
                self.announce(len(self.stripe.past.log) - 1)
            self._begin(
                f"return {self.people}",
                ("return", subject, session),
                lambda: design.retrieve(subject, session),
            )
        elif what == "ask":
            self.spend(readers=1)
            self.log(f"{subject} asks")
            self._begin(f"ask {self.people}", ("ask", subject), lambda: design.ask(subject))
        else:
            self.spend(purchases=1)
            self.log(f"{subject} buys")
            self._begin(f"buy {self.people}", ("buy", subject), lambda: design.buy(subject))

    def _begin(self, name: str, program: Hashable, run: Program, **fields: Any) -> None:
        position = self.setup.start((self.deployed, program), run)
        self._settle(Actor(name, position, **fields))

    def _run_to_end(self, name: str) -> None:
        while name in self.actors:
            self._step(name, "")

    def _crash(self, name: str) -> None:
        self.log(f"{name} crashes")
        for other in [n for n in self.actors if n == name or n.startswith(f"{name}/")]:
            self.actors[other].position.kill()
        gone = {received.receipt for received in self.actors[name].received}
        self.covered -= gone
        self.actors = {
            other: actor
            for other, actor in self.actors.items()
            if other != name and not other.startswith(f"{name}/")
        }

    def _step(self, name: str, variant: performing.Variant) -> None:
        actor = self.actors[name]
        if actor.deadline and self.now >= actor.deadline:
            self._crash(name.split("/", maxsplit=1)[0])
            return
        op = actor.position.op
        assert op is not None
        if op.method in ("answer", "finish"):
            self._end(actor, op)
            return
        outcome = performing.perform(self, actor, op, variant)
        if self.story is not None:
            self.log(story.told(self, name, op, variant, outcome))
        actor = self.actors[name]
        position = actor.position.next(outcome, self.mark(outcome))
        self._settle(actor._replace(position=position))

    def _settle(self, actor: Actor) -> None:
        """Run the actor to its next I/O point, or to its end."""
        position = actor.position
        while (op := position.op) is not None and op.service == "here":
            if op.method == "parallel":
                self._fork(actor._replace(position=position), op.args[0])
                return
            if op.method == "pause" and actor.wakes <= self.now and not self.remembers:
                actor = actor._replace(wakes=self.now + self.setup.chance(0.05, op.args[0]))
                break
            outcome = self._here(actor, op)
            position = position.next(outcome, outcome)
        if op is None:
            self._ended(actor)
            return
        self.actors = {**self.actors, actor.name: actor._replace(position=position)}
        if self.remembers and self._commutes(op):
            self._step(actor.name, "")

    def _here(self, actor: Actor, op: Op) -> object:
        """The outcome of an operation without I/O: the function's own clock, random numbers."""
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

    def _ended(self, actor: Actor) -> None:
        """A strand or a program without a response has ended."""
        self.actors = {name: a for name, a in self.actors.items() if name != actor.name}
        if actor.parent is None:
            return
        parent = self.actors[actor.parent]
        parent = parent._replace(strands=parent.strands - 1)
        self.actors = {**self.actors, parent.name: parent}
        if not parent.strands:
            self._settle(parent._replace(position=parent.position.next(None, None)))

    def _end(self, actor: Actor, op: Op) -> None:
        """The function's response: a status for Stripe, or the messages that SQS keeps."""
        if actor.event is not None:
            self._answer(actor.event, op.args[0])
        else:
            self._finish(actor, op.args[0])
        self.actors = {name: a for name, a in self.actors.items() if name != actor.name}

    def _answer(self, event: str, status: int) -> None:
        self.log(f"webhook {event}: response {status}")
        if status == 200:
            for check in self.checks["answer"]:
                check(self, event)
            self.answered |= {event}
            self.pending = {e: at for e, at in self.pending.items() if e != event}
        elif event in self.pending:
            self.pending = {**self.pending, event: self.now + WEBHOOK_RETRY_SECONDS}

    def _finish(self, actor: Actor, deferred: tuple[str, ...]) -> None:
        done = [received for received in actor.received if received.id not in deferred]
        self.log(f"{actor.name} ends: {', '.join(t.id for t in done) or 'nothing'} acknowledged")
        self.delete(actor.received, tuple(received.id for received in done))
        self.covered -= {received.receipt for received in actor.received}

    def delete(self, messages: tuple[Received, ...], ids: tuple[str, ...]) -> None:
        """Delete these messages, which were received, from the queue."""
        for received in messages:
            if received.id in ids:
                for check in self.checks["acknowledge"]:
                    check(self, received)
                self.queue.delete(received.id)
                if not self.queue.has_copy_of(received.request):
                    self.acknowledged |= {received.request.cause.id}

    # Moments as values.

    def snapshot(self) -> tuple[Any, ...]:
        """Everything `restore` needs to return to this moment. Positions must be `Remembered`."""
        return (
            self.now,
            self.stripe.past,
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
            self.deployed,
            self.people,
            self.checkouts,
        )

    def restore(self, moment: tuple[Any, ...]) -> None:
        (
            self.now,
            self.stripe.past,
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
            self.deployed,
            self.people,
            self.checkouts,
        ) = moment
        self.queue.restore(queue)
        self.store.restore(store)

    def fingerprint(self) -> int:
        """A hash that identifies this moment: the world's state and the actors' positions.

        The workers' names are left out: workers are interchangeable.
        """
        store, digest = self.store, self._digest
        return hash(
            (
                self.now,
                digest(self.stripe.past, _content),
                digest(self.queue.messages, lambda messages: frozenset(messages.values())),
                len(self.queue.dead),
                digest(store.rows, self._marks_of),
                digest(store.documents, self._marks_of),
                digest(store.links, lambda links: frozenset(links.items())),
                digest(store.former, self._marks_of) if self.setup.budgets.readers else None,
                digest(self.seen, lambda seen: frozenset(seen.items())),
                frozenset(
                    [
                        (id(a.position), a.received, a.fetch, a.deadline)
                        for a in self.actors.values()
                    ]
                ),
                self.budgets,
                digest(self.pending, lambda pending: frozenset(pending.items())),
                self.answered,
                self.acknowledged,
                self.repeated,
                self.covered,
                self.deployed,
                self.checkouts,
            )
        )

    def _digest(self, value: Any, content: Callable[[Any], Hashable]) -> int:
        """The hash of the content of an immutable value, kept as long as the value."""
        known = self._digests.get(id(value))
        if known is None:
            if len(self._digests) > MAX_DIGESTS:
                self._digests.clear()
            known = self._digests[id(value)] = (value, hash(content(value)))
        return known[1]

    def knows(self, *checked: Any) -> bool:
        """Whether this was checked after the same changes at Stripe before: with the same row."""
        if not self.remembers:
            return False
        key = (*map(id, checked), self._digest(self.stripe.past, _content))
        known = key in self._checked
        self._checked[key] = checked
        return known

    def _marks_of(self, rows: Any) -> Hashable:
        return frozenset([self.mark(row) for row in rows.values()])

    def mark(self, outcome: object) -> Hashable:
        """A value that identifies an outcome among all outcomes of the same operation."""
        if not self.remembers:
            return None
        if isinstance(outcome, CustomerRow | DocumentRow):
            if not outcome.revision:
                return None
            known = self._marks.get(id(outcome))
            if known is None:
                known = self._marks[id(outcome)] = (
                    outcome,
                    # `transitions` explains access to people. No step depends on it.
                    hash(
                        repr(
                            replace(outcome, transitions=())
                            if isinstance(outcome, CustomerRow)
                            else outcome
                        )
                    ),
                )
            return known[1]
        if isinstance(outcome, dict):
            return id(outcome)  # the model returns the same object for the same page
        if isinstance(outcome, list):
            return repr(outcome)
        if type(outcome) is tuple and outcome and isinstance(outcome[0], dict | list):
            return (id(outcome[0]), outcome[1])
        return outcome

    # The story.

    def log(self, text: str) -> None:
        if self.story is not None:
            self.story.append(f"{self.now - self.start:9.2f} s  {text}")


def _content(past: Past) -> Hashable:
    return past.log, past.sessions


__all__ = ["Actor", "Fetch", "Move", "Violated", "World"]
