"""The world around the real code: Stripe, SQS, DynamoDB, functions, people, and time.

At each moment the world offers *moves*: Stripe changes a customer or delivers a webhook, a function
starts or performs one I/O operation, or time passes because nothing else can happen. While their
budgets last, it also offers *faults*: a crash, a duplicate, a stale read, a refused call, a lost
response, a wrong Date, a deploy. The explorer picks one; the world performs it and checks the
invariants.

All state is immutable values, so a moment can be saved, compared and restored.
"""

from __future__ import annotations

from collections.abc import Hashable
from typing import Any, NamedTuple

from billing.keys import Key
from tests.simulation import performing, story
from tests.simulation.actors import Op, Position, Program, live
from tests.simulation.choices import Move
from tests.simulation.design import Design
from tests.simulation.dynamodb_model import StoreModel
from tests.simulation.invariant import Invariant, Violated
from tests.simulation.invariants import INVARIANTS
from tests.simulation.moments import Moments
from tests.simulation.setups import HOLD_SECONDS, WEBHOOK_RETRY_SECONDS, Setup
from tests.simulation.sqs_model import QueueModel, Received
from tests.simulation.stripe_account import Seen, StripeModel, signed
from tests.simulation.stripe_model import EPOCH

#: template.yaml's Timeout of the worker, in seconds.
WORKER_TIMEOUT_SECONDS = 85


class Fetch(NamedTuple):
    """What a sync has read from Stripe so far, and which messages were received when it began."""

    key: Key
    received: frozenset[str]
    profile: Seen
    entitlements: Seen | None


class Actor(NamedTuple):
    """A running function, or one strand of it. `reads` lists the name of each fetch, `receipts`
    those of `received`."""

    name: str
    position: Position
    event: str | None = None
    received: tuple[Received, ...] = ()
    receipts: frozenset[str] = frozenset()
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
        self.moments = Moments(self)
        self.remembers = setup.start is not live
        self.workers = [f"worker {number}" for number in range(1, setup.workers + 1)]
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
        if self.story is not None:
            self.log(f"{worker} receives {', '.join(ids)}")
        work = self.design.work
        deadline = self.now + WORKER_TIMEOUT_SECONDS
        program = tuple(messages)
        self._begin(
            worker,
            program,
            lambda: work(messages),
            received=received,
            receipts=frozenset([each.receipt for each in received]),
            deadline=deadline,
        )
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
        self._settle(Actor(name, position, **fields), position)

    def _run_to_end(self, name: str) -> None:
        while name in self.actors:
            self._step(name, "")

    def _crash(self, name: str) -> None:
        self.log(f"{name} crashes")
        for other in [n for n in self.actors if n == name or n.startswith(f"{name}/")]:
            self.actors[other].position.kill()
        self.covered -= self.actors[name].receipts
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
        position = actor.position.next(outcome, self.moments.mark(outcome))
        self._settle(actor, position)

    def _settle(self, actor: Actor, position: Position) -> None:
        """Run the actor, which is at `position`, to its next I/O point or to its end."""
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
            strand = parent._replace(name=f"{parent.name}/{number}", parent=parent.name)
            self._settle(strand, position)

    def _ended(self, actor: Actor) -> None:
        """A strand or a program without a response has ended."""
        self.actors = {name: a for name, a in self.actors.items() if name != actor.name}
        if actor.parent is None:
            return
        parent = self.actors[actor.parent]
        parent = parent._replace(strands=parent.strands - 1)
        self.actors = {**self.actors, parent.name: parent}
        if not parent.strands:
            self._settle(parent, parent.position.next(None, None))

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
        if self.story is not None:
            names = ", ".join(each.id for each in done) or "nothing"
            self.log(f"{actor.name} ends: {names} acknowledged")
        self.delete(actor.received, tuple(received.id for received in done))
        self.covered -= actor.receipts

    def delete(self, messages: tuple[Received, ...], ids: tuple[str, ...]) -> None:
        """Delete these messages, which were received, from the queue."""
        for received in messages:
            if received.id in ids:
                for check in self.checks["acknowledge"]:
                    check(self, received)
                self.queue.delete(received.id)
                if not self.queue.has_copy_of(received.request):
                    self.acknowledged |= {received.request.cause.id}

    def _commutes(self, op: Op) -> bool:
        """Whether this operation may run at once, because running it later makes no difference: a
        confirm is invisible for a while, and so is a message in flight. A fault in between would
        make a difference."""
        late = op.method == "finish" or (op.method == "send" and op.args[0].is_confirm)
        budgets = self.budgets
        return late and not (budgets.crashes or budgets.failures or budgets.waits or budgets.copies)

    # The story.

    def log(self, text: str) -> None:
        if self.story is not None:
            self.story.append(f"{self.now - self.start:9.2f} s  {text}")


__all__ = ["Actor", "Fetch", "Move", "Violated", "World"]
