"""Known wrong designs, which break one step at a time. `make mutants` judges them all.

The invariant that a mutant breaks must catch it. A mutant that survives, or that another invariant
catches, fails the run, because it shows a gap in the simulation.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any
from unittest.mock import patch

import billing.sync
from billing.batch import Batch
from billing.link import Issuers
from billing.sync import (
    Row,
    Sync,
)
from tests.simulation import cases
from tests.simulation.access_invariants import CommitGivesWhatStripeSays, QuietStoreEqualsStripe
from tests.simulation.design import ISSUER, Design, Make, design, real_sync
from tests.simulation.editing import Edit, edited
from tests.simulation.exhaustive import explore
from tests.simulation.invariant import Invariant
from tests.simulation.invariants import (
    AcknowledgedMeansCovered,
    AnsweredMeansKept,
    NeverBackwards,
    NobodyElsesAccess,
    NobodyPaysTwice,
    OneCustomerOneSubject,
    Progress,
    RevisionCountsCommits,
    TombstoneStays,
    WhatIsBoughtShows,
)
from tests.simulation.wrong_designs import (
    AcknowledgesOnConflict,
    AnswersFirst,
    AppliesThePayload,
    Blind,
    ClaimsTheEventFirst,
    ConfirmsAfterwards,
    ConfirmsForItselfOnly,
    ConfirmsTooEarly,
    DeletesFirst,
    FetchesFirst,
    FirstPageOnly,
    ForgetsTombstones,
    GivesUpAfterTwo404s,
    GuardedByLess,
    GuardedByLessOrEqual,
    LinksBlindly,
    NeverConfirms,
    NotFoundMeansDeleted,
    ReleasesNobody,
    Requests,
    StampsAfterwards,
    SwallowsFailures,
    Unbumped,
    WakesAfterCommits,
    WakesNobody,
    covered_at_once,
    covered_beside_an_orphan,
    covered_if_recorded,
    covered_to_the_second,
)


@dataclass(frozen=True, slots=True)
class Mutant:
    """A wrong design, the invariant that it breaks, and the small world where that shows. Most are
    the real design with an edit of its source."""

    name: str
    make: Make
    breaks: type[Invariant]
    where: str
    covered: Callable[[Row, Requests], bool] = billing.sync.covered
    edits: tuple[Edit, ...] = ()


def _sync(kind: type[Sync] = Sync, **parts: Any) -> Make:
    def make(*, issuers: Issuers = (ISSUER,)) -> Design:
        sync = real_sync(kind, issuers=issuers, **parts)
        return design(sync=sync, issuers=issuers, strands=False)

    return make


def _batch(kind: type[Batch]) -> Make:
    def make(*, issuers: Issuers = (ISSUER,)) -> Design:
        return design(batch=kind, issuers=issuers, strands=False)

    return make


def _other(kind: type[Design]) -> Make:
    def make(*, issuers: Issuers = (ISSUER,)) -> Design:
        real = cases.real(issuers=issuers)
        return kind(real.ingest, real.batch, real.checkout, real.issuers)

    return make


def _edit(
    name: str, module: str, old: str, new: str, breaks: type[Invariant], where: str
) -> Mutant:
    return Mutant(name, cases.real, breaks, where, edits=(Edit(module, old, new),))


TWO, LAGS = "two workers", "two reads lag"
LATE_CONFIRM = "a read lags past a pending confirm"
CRASH = "a late webhook, a crash, a lagging read"
MARGIN_CASE = "a late webhook, reads at the margin"
WAITS = "time passes"
HOLDER_DELETED = "the empty holder is deleted"
CLAIM_GIVEN_UP = "the holder gives its claim up, and a crash"
DATE_JUMPS, DATE_AND_LAGS = "a Date jumps", "a Date jumps while reads lag"
READER = "a reader comes during a takeover"

MUTANTS = (
    Mutant(
        "timestamp guard <",
        _sync(AcknowledgesOnConflict, store=GuardedByLess()),
        AcknowledgedMeansCovered,
        TWO,
    ),
    Mutant(
        "timestamp guard <=",
        _sync(AcknowledgesOnConflict, store=GuardedByLessOrEqual()),
        NeverBackwards,
        TWO,
    ),
    Mutant("blind fetch-latest", _sync(store=Blind()), NeverBackwards, TWO),
    Mutant("fetch before reading the revision", _sync(FetchesFirst), NeverBackwards, TWO),
    Mutant(
        "stamp after fetch",
        _sync(StampsAfterwards, store=GuardedByLess()),
        NeverBackwards,
        WAITS,
    ),
    Mutant(
        "acknowledge on conflict",
        _sync(AcknowledgesOnConflict),
        AcknowledgedMeansCovered,
        TWO,
    ),
    Mutant(
        "claim the event id first",
        _sync(ClaimsTheEventFirst),
        AcknowledgedMeansCovered,
        "a crash",
    ),
    Mutant(
        "commit without bumping the revision",
        _sync(store=Unbumped()),
        RevisionCountsCommits,
        TWO,
    ),
    Mutant("acknowledge before write", _other(DeletesFirst), AcknowledgedMeansCovered, TWO),
    Mutant("200 before SendMessage", _other(AnswersFirst), AnsweredMeansKept, TWO),
    Mutant(
        "swallow a partial failure",
        _batch(SwallowsFailures),
        AcknowledgedMeansCovered,
        "two calls fail",
    ),
    Mutant(
        "acknowledge a second 404",
        _batch(GivesUpAfterTwo404s),
        AcknowledgedMeansCovered,
        LAGS,
    ),
    Mutant("first page only", _sync(stripe=FirstPageOnly()), CommitGivesWhatStripeSays, "upgrade"),
    Mutant("snapshot from the payload", _sync(AppliesThePayload), NeverBackwards, TWO),
    Mutant("no confirm under stale reads", _sync(NeverConfirms), QuietStoreEqualsStripe, LAGS),
    Mutant(
        "tombstone raised",
        _sync(store=ForgetsTombstones()),
        TombstoneStays,
        "the customer is deleted",
    ),
    Mutant(
        "confirm sent after the commit",
        _sync(ConfirmsAfterwards),
        QuietStoreEqualsStripe,
        CRASH,
    ),
    Mutant(
        "a pending confirm, due too early, serves",
        _sync(ConfirmsTooEarly),
        QuietStoreEqualsStripe,
        LATE_CONFIRM,
    ),
    Mutant(
        "a confirm is outgrown as its sender is",
        _sync(ConfirmsForItselfOnly),
        QuietStoreEqualsStripe,
        LATE_CONFIRM,
    ),
    Mutant(
        "every confirm is an orphan",
        _sync(),
        QuietStoreEqualsStripe,
        LAGS,
        covered_if_recorded,
    ),
    Mutant(
        "an orphan covers its whole batch",
        _sync(),
        AcknowledgedMeansCovered,
        "an orphan comes with an event",
        covered_beside_an_orphan,
    ),
    Mutant("no margin", _sync(), AcknowledgedMeansCovered, LAGS, covered_at_once),
    Mutant(
        "margin between floors",
        _sync(),
        AcknowledgedMeansCovered,
        MARGIN_CASE,
        covered_to_the_second,
    ),
    Mutant(
        "link without its condition",
        _sync(store=LinksBlindly()),
        OneCustomerOneSubject,
        "two customers claim one subject",
    ),
    Mutant(
        "a claimant is not woken",
        _sync(replica=WakesNobody),
        OneCustomerOneSubject,
        HOLDER_DELETED,
    ),
    Mutant(
        "woken only after a commit",
        _sync(replica=WakesAfterCommits),
        OneCustomerOneSubject,
        HOLDER_DELETED,
    ),
    Mutant(
        "the holder before keeps the subject too",
        _sync(store=ReleasesNobody()),
        OneCustomerOneSubject,
        CLAIM_GIVEN_UP,
    ),
    Mutant("404 means deleted", _sync(stripe=NotFoundMeansDeleted()), QuietStoreEqualsStripe, LAGS),
    # The clocks.
    _edit(
        "dated by Stripe's clock alone",
        "sync",
        "sorted((began, fetched.date))",
        "(fetched.date, fetched.date)",
        AcknowledgedMeansCovered,
        DATE_JUMPS,
    ),
    _edit(
        "dated by our clock alone",
        "sync",
        "sorted((began, fetched.date))",
        "(began, began)",
        AcknowledgedMeansCovered,
        "our clocks are wrong",
    ),
    _edit(
        "a pending confirm is judged by Stripe's clock alone",
        "sync",
        "sorted((began, fetched.date))",
        "(min(began, fetched.date), fetched.date)",
        QuietStoreEqualsStripe,
        DATE_AND_LAGS,
    ),
    _edit(
        "a pending confirm is judged by our clock alone",
        "sync",
        "sorted((began, fetched.date))",
        "(min(began, fetched.date), began)",
        QuietStoreEqualsStripe,
        "one of our clocks is behind while reads lag",
    ),
    _edit(
        "a confirm is due by the later clock",
        "sync",
        "due = as_of + CONFIRM_DELAY_SECONDS",
        "due = latest + CONFIRM_DELAY_SECONDS",
        QuietStoreEqualsStripe,
        DATE_AND_LAGS,
    ),
    _edit(
        "no confirm where Stripe's Date went back",
        "sync",
        "if row.confirm_at > latest + MARGIN_SECONDS:",
        "if row.as_of > as_of or row.confirm_at > latest + MARGIN_SECONDS:",
        QuietStoreEqualsStripe,
        DATE_AND_LAGS,
    ),
    _edit(
        "a confirm is covered by a newer row",
        "sync",
        "row.confirm_at != request.up_to + MARGIN_SECONDS\n        if",
        "row.confirm_at != request.up_to + MARGIN_SECONDS"
        " or request.up_to < row.as_of - MARGIN_SECONDS\n        if",
        QuietStoreEqualsStripe,
        "a Date jumps before a claim",
    ),
    _edit(
        "dated when the fetch ends",
        "sync",
        "as_of, latest = sorted((began, fetched.date))",
        "as_of = latest = int(self.clock())",
        AcknowledgedMeansCovered,
        "a fetch is slow",
    ),
    _edit(
        "an event beside a confirm begets no confirm",
        "sync",
        "if requests and all(request.is_follow_up",
        "if requests and any(request.is_follow_up",
        QuietStoreEqualsStripe,
        "a confirm comes with an event",
    ),
    _edit(
        "a document is covered by any fetch",
        "sync",
        "    return all(\n",
        "    return (row.key.kind != 'CUS' and row.as_of > 0) or all(\n",
        AcknowledgedMeansCovered,
        "a configuration changes",
    ),
    # The claims.
    _edit(
        "a changed claim is not written",
        "link",
        "                store.commit(row)\n                return row\n            # Whoever",
        "                return row\n            # Whoever",
        AcknowledgedMeansCovered,
        CLAIM_GIVEN_UP,
    ),
    _edit(
        "a holder moves before its row says so",
        "link",
        "if not yields(over, issuers):",
        "if False:",
        OneCustomerOneSubject,
        "the holder gives its claim up",
    ),
    _edit(
        "a holder that moves wakes nobody",
        "link",
        "_request(_waiting(over, issuers, store), over, queue)",
        "pass",
        OneCustomerOneSubject,
        CLAIM_GIVEN_UP,
    ),
    _edit(
        "a refused claimant does not look again",
        "link",
        "if not found.refuses(row.key) or",
        "if (row.subject is not None and not found.refuses(row.key)) or",
        OneCustomerOneSubject,
        "a claim and a deletion show late",
    ),
    _edit(
        "a holder whose wanted subject is taken meanwhile is not remembered",
        "link",
        " or row.key not in found.claimants:",
        ":",
        OneCustomerOneSubject,
        "a wanted subject is taken and freed",
    ),
    _edit(
        "a takeover forgets the others that wait",
        "link",
        "claimants=tuple(key for key in found.claimants if key != row.key)",
        "claimants=()",
        OneCustomerOneSubject,
        "a second holder is deleted",
    ),
    _edit(
        "only the latest issuer counts",
        "link",
        "    for issuer in issuers:\n        link = store.load_link",
        "    for issuer in issuers[:1]:\n        link = store.load_link",
        OneCustomerOneSubject,
        "the issuer changes",
    ),
    # The reader.
    _edit(
        "a reader believes the link",
        "customers",
        "            if row.subject != subject:\n                continue\n",
        "",
        NobodyElsesAccess,
        READER,
    ),
    _edit(
        "a reader believes a link that it remembers",
        "customers",
        "if row.subject == subject and not row.deleted:",
        "if not row.deleted:",
        NobodyElsesAccess,
        "a reader comes while a claim is given up",
    ),
    _edit(
        "a tombstone has access",
        "customers",
        "            if row.deleted:\n                return None\n",
        "",
        NobodyElsesAccess,
        READER,
    ),
    # What never succeeds.
    _edit(
        "a row that does not fit is tried for ever",
        "batch",
        'self._dead_letter(message, f"StoreRefused {error.reason}", deferred)',
        "self._defer(message, 900, deferred)",
        Progress,
        "a row never fits again",
    ),
    _edit(
        "throttles are swallowed",
        "batch",
        'self.report("SyncDeferred", key=key.pk, reason=type(error).__name__)',
        "return",
        AcknowledgedMeansCovered,
        "reads of one customer are throttled for good",
    ),
    # Checkout.
    _edit(
        "earlier sessions stay open",
        "checkout.earlier",
        "if product not in products_of(session):\n            continue",
        "if True:\n            continue",
        NobodyPaysTwice,
        "two tabs buy",
    ),
    _edit(
        "what is paid is sold again",
        "checkout.sessions",
        "                self._refuse_what_is_paid(row, product, earlier)\n",
        "",
        NobodyPaysTwice,
        "two tabs buy",
    ),
    _edit(
        "the way back waits for the webhook",
        "checkout.sessions",
        "                row = self.buyers.synced(customer)\n",
        "                row = self.buyers.row(customer)\n",
        WhatIsBoughtShows,
        "a buyer comes back before the webhook",
    ),
)

#: A mutant survives if no invariant catches it within this many moments.
MAX_STATES = 400_000


@dataclass(frozen=True, slots=True)
class Verdict:
    """Which invariant caught the mutant (None if it survived), after how many histories."""

    mutant: Mutant
    killed_by: str | None
    histories: int

    @property
    def good(self) -> bool:
        return self.killed_by == self.mutant.breaks.__name__

    def __str__(self) -> str:
        if self.killed_by is None:
            return f"{self.mutant.name}: SURVIVED {self.histories} histories"
        wrong = "" if self.good else f", NOT by {self.mutant.breaks.__name__}"
        by = f"{self.killed_by}{wrong}"
        return f"{self.mutant.name}: killed by {by} after {self.histories} histories"


def judge(mutant: Mutant) -> Verdict:
    """Explore the mutant's small world until an invariant catches it, or up to MAX_STATES."""
    with patch.object(billing.sync, "covered", mutant.covered), edited(*mutant.edits):
        setup = cases.case(mutant.where, mutant.make)
        found = explore(setup, limit=MAX_STATES)
    killed_by = found.violation.invariant if found.violation else None
    return Verdict(mutant, killed_by, found.histories)
