"""
Is what the worker says true on this database? Past claims beside what came of them; and split-half replication.

A review decides, on the spot, the claims on record whose time has come, as the job accuracy_review does.

Replication asks whether half of the leads foretells the other half, and needs no record.

The leads of every client are split in two by a hash of their ids. What a job learns and infers from the first half
alone gives the probability that the second half shows the same; then the second half is looked at. Nothing has to be
waited for, and nothing is written. It tests error bars, not drift, and not the claims themselves: those speak of true
rates, which nobody ever sees. A burst of leads lies in both halves, so bursts are no test here either.
"""

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np

from worker.calendar import local_day
from worker.database.catalogue import Catalogue
from worker.database.inspection import require_ready
from worker.database.pool import Database
from worker.jobs import accuracy_review, load_job
from worker.jobs.finding import HalfChecks, Json
from worker.jobs.trends import periods_to_learn_from
from worker.leads import UNDATED, Leads, from_microseconds
from worker.reading import ensure_clients_known, read_leads, read_since
from worker.registry import read_claims_with_models
from worker.review.report import Review, review_of
from worker.review.resolved import Resolved
from worker.review.resolvers import resolve_claims
from worker.review.verdict import FEWEST_CHECKS, judge
from worker.statistics import BoolArray, FloatArray, IntArray
from worker.statistics.calibration import Reliability, reliability

JOBS = ("engagement_score", "urgency_trend", "tone_distribution", "pattern_detection")
STEP_DAYS = 60  # two windows: periods that far apart share no lead
PERIODS = 6  # at most, unless asked otherwise
ENOUGH_CHECKS = 800  # to see five points of over-confidence nine times in ten

WHAT = (
    "Half of each client's leads foretells the other half, {periods}.\n"
    "Of the checks said at 0.8, eight in ten should agree. This tests error bars, not\n"
    "drift; the claims themselves speak of true rates, which nobody can see."
)


@dataclass(frozen=True, slots=True)
class JobReplication:
    """How often one job's second halves agreed, beside how often they should have."""

    job: str
    clients: int  # with at least one decided check
    periods: tuple[str, ...]  # with at least one decided check, newest first
    reliability: Reliability

    @property
    def verdict(self) -> str:
        """Say in a word what the checks tell: too few, fits, too sure, too modest."""
        return judge(self.reliability)

    def as_json(self) -> dict[str, Json]:
        """Give the job's part of `--json`."""
        return {
            "job": self.job,
            "verdict": self.verdict.replace(" ", "_"),
            "clients": self.clients,
            "periods": list(self.periods),
            **self.reliability.as_json(),
        }

    def __str__(self) -> str:
        """Write the job's table, at most 80 columns wide."""
        r = self.reliability
        said = f"{self.job}: {r.n} checks of {self.clients} clients in {len(self.periods)} periods: {self.verdict}"
        if r.n < FEWEST_CHECKS:
            return f"{said} to judge\n{r}\nFewer than {FEWEST_CHECKS} checks say next to nothing."
        few = f"\nFewer than {ENOUGH_CHECKS} checks: five points too sure may well stay unseen."
        return f"{said}\n{r}" + (few if r.n < ENOUGH_CHECKS else "")


@dataclass(frozen=True, slots=True)
class Replication:
    """The replication of all jobs on one database."""

    as_of: datetime
    periods: tuple[str, ...]  # newest first
    leads: int
    jobs: tuple[JobReplication, ...]

    def as_json(self) -> dict[str, Json]:
        """Give the document that `accuracy --replicate --json` prints; keys are only ever added."""
        return {
            "kind": "replication",
            "as_of": self.as_of.isoformat(),
            "periods": list(self.periods),
            "step_days": STEP_DAYS,
            "leads": self.leads,
            "jobs": [job.as_json() for job in self.jobs],
        }

    def __str__(self) -> str:
        """Write everything for a terminal of 80 columns."""
        if not self.periods:
            return "No lead arrived before that instant: nothing can be checked."
        n = len(self.periods)
        periods = f"{n} period{'s' * (n > 1)} to {self.periods[0]}"
        return "\n\n".join([WHAT.format(periods=periods), *map(str, self.jobs)])


def review(database: Database, as_of: datetime, *, clients: frozenset[str] = frozenset()) -> Review:
    """
    Put the claims made before as_of beside what became of them by then; reads only.

    `clients`: only their claims are shown, one by one (empty: those of all pooled clients together).
    Raises DatabaseShapeError when the database is not as needed, ConfigurationError for a client that there is not.
    """
    leads, past = resolve_past(database, require_ready(database), as_of, clients)
    return review_of(past, accuracy_review.fit(leads, as_of, past=past), tuple(sorted(clients)))


def resolve_past(
    database: Database, catalogue: Catalogue, as_of: datetime, clients: frozenset[str] = frozenset()
) -> tuple[Leads, Resolved]:
    """
    Decide all clients' claims that were made before as_of; gives the leads that decided them, too.

    `clients` only have to be there: ConfigurationError for one that is not.
    """
    leads = _read_all_leads(database, catalogue, clients)
    claims, models = read_claims_with_models(database, as_of)
    return leads, resolve_claims(leads, claims, models, as_of)


def replicate(
    database: Database,
    as_of: datetime,
    *,
    clients: frozenset[str] = frozenset(),
    periods: int = PERIODS,
    progress: Callable[[str, int, int], None] = lambda _what, _done, _all: None,
) -> Replication:
    """
    Read the leads once, and let each job's first halves foretell its second halves.

    `clients`: only their checks are counted (empty: those of all pooled clients); what is learned is learned from all.
    Raises DatabaseShapeError when the database is not as needed, ConfigurationError for a client that there is not.
    """
    leads = _read_all_leads(database, require_ready(database), clients)
    counted = np.array([i in clients for i in leads.clients.ids], dtype=np.bool_) if clients else leads.clients.pooled
    return replicate_leads(leads, as_of, counted, _load_jobs(), periods=periods, progress=progress)


def _read_all_leads(database: Database, catalogue: Catalogue, clients: frozenset[str]) -> Leads:
    """Read every lead, and make sure that the clients asked for are there."""
    leads, _ = database.retrying(lambda conn: read_leads(conn, catalogue, None), read_only=True)
    ensure_clients_known(leads.clients, clients)
    return leads


def _load_jobs() -> dict[str, Any]:
    return {name: load_job(name) for name in JOBS}


def replicate_leads(
    leads: Leads,
    as_of: datetime,
    counted: BoolArray,
    jobs: Mapping[str, Any],
    *,
    periods: int = PERIODS,
    progress: Callable[[str, int, int], None] = lambda _what, _done, _all: None,
) -> Replication:
    """
    Replicate on leads at hand.

    Parameters
    ----------
    counted : shape (clients,), whose checks are counted.
    jobs : by name, modules with LOOK_BACK_DAYS, fit and half_checks.
    """
    instants = period_ends(leads, as_of, periods)
    found = []
    for number, (name, job) in enumerate(jobs.items()):
        checks = []
        for done, instant in enumerate(instants):
            checks.append(_check(job, leads, instant))
            progress("replicate", number * len(instants) + done + 1, len(jobs) * len(instants))
        found.append(_collect(name, checks, instants, counted))
    return Replication(as_of, tuple(local_day(instant) for instant in instants), len(leads), tuple(found))


def period_ends(leads: Leads, as_of: datetime, periods: int) -> list[datetime]:
    """List as_of and the instants STEP_DAYS apart before it, as far back as leads arrived, at most `periods`."""
    arrivals = leads.arrival[leads.arrival != UNDATED]
    if not len(arrivals):
        return []
    first = from_microseconds(int(arrivals.min()))
    # days of 24 hours, as windows have them; local ones would let two periods share an hour when clocks are changed
    step = timedelta(days=STEP_DAYS)
    far_enough = max(0, -((first - as_of.astimezone(UTC)) // step))
    ends = [as_of.astimezone(UTC) - number * step for number in range(min(periods, far_enough))]
    return [end.astimezone(as_of.tzinfo) for end in ends if end > first]


def _check(job: Any, leads: Leads, as_of: datetime) -> HalfChecks:
    seen = leads.in_contact_since(read_since(as_of, job.LOOK_BACK_DAYS))
    # of half the leads fewer clients are active: as many past periods are learned from as of all
    past = {"past_periods": periods_to_learn_from(seen, as_of)} if getattr(job, "LEARNS_FROM_PERIODS", False) else {}
    model = job.fit(seen.only(~seen.half()).of_clients(seen.clients.pooled), as_of, **past)
    checks: HalfChecks = job.half_checks(seen, model, as_of, _generator(job, as_of))
    return checks


def _collect(
    name: str, checks: Sequence[HalfChecks], instants: Sequence[datetime], counted: BoolArray
) -> JobReplication:
    client: IntArray = np.concatenate([np.zeros(0, dtype=np.int64), *(check.client for check in checks)])
    p: FloatArray = np.concatenate([np.zeros(0), *(check.p for check in checks)])
    agreed: BoolArray = np.concatenate([np.zeros(0, dtype=np.bool_), *(check.agreed for check in checks)])
    period = np.repeat(np.arange(len(checks)), [len(check.p) for check in checks])
    ours = counted[client]
    decided = ours & np.isfinite(p)
    return JobReplication(
        name,
        len(np.unique(client[decided])),
        tuple(local_day(instants[number]) for number in np.unique(period[decided]).tolist()),
        reliability(p[ours], agreed[ours], cluster=client[ours]),
    )


def _generator(job: Any, as_of: datetime) -> np.random.Generator:
    """Seed by job and instant alone: the same data give the same table."""
    digest = hashlib.sha256(f"replicate|{job.NAME}|{as_of.astimezone(UTC).isoformat()}".encode()).digest()
    return np.random.default_rng(int.from_bytes(digest[:8], "big"))
