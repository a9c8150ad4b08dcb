"""
The analyses, one module each, found here by name; importing this package imports none of them.

A job is a module with these names; adding one touches the list in worker/timetable.py and nothing else:

NAME, EVENT_TYPE, TITLE    its name on the command line, the event type of its snapshots, a line for --help
LOOK_BACK_DAYS             how old the last contact of the leads may be that it reads; None: all
READS                      optional: which of worker/reading.py's DETAILS it looks at; the others need not be read
ANALYSES_DAYS              optional: as LOOK_BACK_DAYS, for analyse, where fit looks back further
fit(leads, as_of)          what is learned from all pooled clients together: a small, plain JSON object
analyse(leads, model, as_of, rng)   the findings, for the clients in `leads`; each client's depend on its own leads,
                           the model and rng alone. Called again for the global snapshot, with all pooled leads as
                           those of one client, or with what measure added up.
measure(leads, model, as_of, rng)   optional: what analyse needs to know of each client's own leads, which it takes as
                           well; the global snapshot is told of the sum (worker/jobs/measures.py)
reconcile(findings, past, as_of)    optional: fits the findings to the rows of PAST_EVENT_TYPES already written
LEARNS_FROM_SAMPLE         optional: fit is given a sample of so many clients where there are more (worker/sample.py);
                           the model then holds its limit as "learned_up_to"
LEARNS_FROM_LEADS          optional: of fewer clients, where those have so many leads together
ONE_READING                optional: where true, shards are cut out of one reading of all leads, however many they are
INCREMENTAL                optional: where true, a run reads only the clients whose rows changed since the last one:
                           what is said of a client must not depend on others but through the model, nor on as_of but
                           through the dates of its rows
LEARNS_FROM_PERIODS        optional: where true, fit takes past_periods, how many periods before this one it learns
                           from (None: as the leads suggest), and LOOK_BACK_DAYS is for the most there may be
                           (worker/sample.py)
LEARNS_FROM_PAST           optional: where true, fit takes past, those rows, and last_period, the last one before this
                           that was run (None: the first run)
REVIEWS_CLAIMS             optional: where true, the job decides the claims on record (see ReviewsClaims)
LEARNS_FROM_REVIEW         optional: where true, the model holds what accuracy_review last learned, as "recalibration"
evaluate(leads, model, as_of)       optional: held-out scores, by which a fit contends with the model in force
"""

from collections.abc import Collection, Iterable, Mapping, Sequence
from datetime import datetime
from importlib import import_module
from typing import Any, Protocol, cast

import numpy as np

from worker.jobs.finding import Finding, Json
from worker.jobs.measures import Measures
from worker.leads import Leads
from worker.timetable import JOB_NAMES


class Job(Protocol):
    """The shape of a job's module."""

    NAME: str
    EVENT_TYPE: str
    TITLE: str
    LOOK_BACK_DAYS: int | None

    def fit(self, leads: Leads, as_of: datetime) -> Mapping[str, Json]:
        """Learn from all pooled clients together."""
        ...

    def analyse(
        self, leads: Leads, model: Mapping[str, Json], as_of: datetime, rng: np.random.Generator
    ) -> list[Finding]:
        """Say what can be said of every client in leads."""
        ...


class Measuring(Protocol):
    """The shape of a job whose analysis rests on sums over leads, which make the global snapshot as well."""

    def measure(self, leads: Leads, model: Mapping[str, Json], as_of: datetime, rng: np.random.Generator) -> Measures:
        """Add up what is to be known of every client in leads."""
        ...

    def analyse(
        self, leads: Measures, model: Mapping[str, Json], as_of: datetime, rng: np.random.Generator
    ) -> list[Finding]:
        """Say what can be said of every client, or of all as one."""
        ...


class RecordsEvents(Protocol):
    """The shape of the job that records conversions and reversions, which stay once they are written."""

    def repeated(
        self, findings: Sequence[Finding], known: Collection[tuple[str | None, str, str | None]], leads: Leads
    ) -> set[str]:
        """Find, by their claim_keys, the conversions that events on record (client, type, claim_key) tell already."""
        ...


class ReviewsClaims(Protocol):
    """The shape of a job that decides the claims on record (REVIEWS_CLAIMS)."""

    def resolve(
        self, leads: Leads, claims: Sequence[Any], models: Mapping[str, Mapping[str, Json]], as_of: datetime
    ) -> Any:
        """Decide the claims, of all clients, by the leads as of as_of; models are those that made them, by version."""
        ...

    def fit(self, leads: Leads, as_of: datetime, *, past: Any) -> Mapping[str, Json]:
        """Learn from what became of them."""
        ...

    def analyse(
        self, leads: Leads, model: Mapping[str, Json], as_of: datetime, rng: np.random.Generator, *, past: Any
    ) -> list[Finding]:
        """Say of every client in leads, or of all pooled ones as one, what became of its claims."""
        ...


def load_job(name: str) -> Job:
    """Import the module of one job; KeyError for a name that is none."""
    if name not in JOB_NAMES:
        raise KeyError(name)
    return cast("Job", import_module(f"worker.jobs.{name}"))


def longest(look_backs: Iterable[int | None]) -> int | None:
    """Tell the longest of look-backs in days; None: all is read."""
    days = list(look_backs)
    return None if None in days else max((n for n in days if n is not None), default=0)


def details_read(names: Iterable[str]) -> set[str] | None:
    """Tell which details of leads these jobs look at together; None: all of them."""
    reads = [getattr(load_job(name), "READS", None) for name in names]
    return None if None in reads else {detail for some in reads if some is not None for detail in some}
