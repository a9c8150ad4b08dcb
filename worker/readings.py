"""
The leads that a command reads for all clients together: once for all its jobs, or, where shards read their own, only
what fits and the global snapshots need.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, LiteralString

from psycopg import Connection

from worker.database.catalogue import Catalogue
from worker.database.pool import Database
from worker.database.queries import query
from worker.garbage import give_back
from worker.jobs import Job, details_read, load_job, longest
from worker.leads import WINDOW_DAYS, Clients, Leads, Windows, from_microseconds
from worker.logs import get_logger
from worker.reading import ReadingReport, ensure_clients_known, read_clients, read_leads, read_since
from worker.request import Request
from worker.sample import learned_from, limit_of_enough, of_sample, past_periods, sample_limit
from worker.settings import LOCAL, Settings
from worker.watermark import Horizon, read_horizon

CLIENTS_IN_MEMORY = 20_000  # of more, shards read their own leads instead of being cut out of one reading


@dataclass(frozen=True, slots=True)
class History:
    """Leads that were read before, far enough back for any as_of at hand, and what was passed over, by reason."""

    leads: Leads
    passed_over: dict[str, int]


def rests_on(settings: Settings, request: Request) -> tuple[object, ...]:
    """List what, beside rows and code, decides what is written: a run that goes on from another must share it."""
    return settings.store_lead_names, settings.language, request.as_of.tzinfo


def reads_by_shard(database: Database, catalogue: Catalogue, executor: str) -> bool:
    """
    Whether shards read their own leads: where they are worked on elsewhere, or are too many for one reading.

    Never where no key keeps an id from being that of two clients' leads: whose its actions are is only seen in the
    whole.
    """
    if executor == LOCAL and database.retrying(_count_clients, read_only=True) <= CLIENTS_IN_MEMORY:
        return False
    if not catalogue.is_unique("lead_memory", "id"):
        get_logger().warning("shards.of_one_reading", reason="lead_memory has no unique key on id")
        return False
    return True


def _count_clients(conn: Connection[Any]) -> int:
    return _count(conn, "count_clients", {})


def _count(conn: Connection[Any], name: LiteralString, parameters: Mapping[str, Any]) -> int:
    row = conn.execute(query(name), parameters).fetchone()
    assert row is not None  # noqa: S101 - an aggregate always has a row
    return int(row[0])


class _Kept:
    """One reading, kept for whoever needs no more than it holds, and the pieces cut out of it."""

    def __init__(self) -> None:
        self._days: int | None = 0
        self._leads: Leads | None = None
        self._parts: dict[int | None, Leads] = {}

    def keep(self, leads: Leads, days: int | None) -> None:
        self._leads, self._days, self._parts = leads, days, {}

    def drop(self) -> None:
        self._leads, self._parts = None, {}

    def covers(self, days: int | None) -> bool:
        return self._leads is not None and (self._days is None or (days is not None and days <= self._days))

    def part(self, days: int | None, request: Request) -> Leads:
        assert self._leads is not None  # noqa: S101 - it covers them
        if days not in self._parts:
            self._parts[days] = self._leads.in_contact_since(read_since(request.as_of, days))
        return self._parts[days]


class Readings:
    """
    What was read for all clients together.

    by_shard : shards read their own leads, so that nothing is read here that no job asks for; otherwise the first job
        that needs leads has them read for all, with the longest look-back.
    """

    def __init__(
        self, database: Database, catalogue: Catalogue, request: Request, history: History | None, *, by_shard: bool
    ) -> None:
        self._database, self._catalogue, self._request = database, catalogue, request
        self._rests_on = rests_on(database.settings, request)
        self._details = details_read(request.jobs)
        self._leaves_mark = any(getattr(load_job(name), "INCREMENTAL", False) for name in request.jobs)
        self._whole, self._sample = _Kept(), _Kept()
        self._known: Clients | None = None
        self._past_periods: int | None = None
        self._sampled_up_to = -1  # the limit of the sample that is kept
        self.by_shard = by_shard
        self.passed_over: dict[str, int] = {}
        self.horizon: Horizon | None = None  # what the last reading of all may have missed; None: unknown
        if history is not None:
            self._whole.keep(history.leads, None)  # far enough back for whatever is asked
            self.passed_over = history.passed_over

    def leads(self, days: int | None) -> Leads:
        """Give all clients' leads with a look-back of `days`."""
        if not self._whole.covers(days):
            self._make_room(self._sample)
            far = days if self.by_shard else longest(self.look_back(load_job(name)) for name in self._request.jobs)

            def read(conn: Connection[Any]) -> tuple[Leads, ReadingReport]:
                if self._leaves_mark:
                    self.horizon = read_horizon(conn, self._catalogue, *self._rests_on)
                since = read_since(self._request.as_of, far)
                return read_leads(conn, self._catalogue, since, None, self._details, beside=self._database.read_beside)

            leads, report = self._database.retrying(read, read_only=True)
            give_back(report.leads)
            self._whole.keep(leads, far)
            self._known, self.passed_over = leads.clients, report.passed_over()
            ensure_clients_known(leads.clients, self._request.clients)
            get_logger().info("leads.read", leads=report.leads, **self.passed_over)
        return self._whole.part(days, self._request)

    def past_periods(self) -> int:
        """
        Tell how many past periods the trends learn from: more the fewer clients they can learn from are active.

        Active is who has leads whose last contact lies in both windows, test clients included: a rough count, which
        contacts after as_of may change a little. It decides how much is learned from, never what.
        """
        if self._past_periods is None:
            w = Windows.before(self._request.as_of)
            ends = {"start": w.start, "middle": w.middle, "end": w.end}
            instants = {name: from_microseconds(end) for name, end in ends.items()}
            clients, active = self._database.retrying(
                lambda conn: (_count_clients(conn), _count(conn, "count_active_clients", instants)),
                read_only=True,
            )
            self._past_periods = past_periods(of_sample(active, clients))
        return self._past_periods

    def look_back(self, job: Job) -> int | None:
        """Tell how old the last contact of the leads may be that a job reads; None: all are read."""
        if getattr(job, "LEARNS_FROM_PERIODS", False):
            return (2 + self.past_periods()) * WINDOW_DAYS
        return job.LOOK_BACK_DAYS

    def covers(self, job: Job) -> bool:
        """Whether what a job reads has been read, for all clients."""
        return self._whole.covers(self.look_back(job))

    def make_room(self) -> None:
        """Where clients are very many, keep no reading of all of them beside those of the shards."""
        self._make_room(self._whole)

    def _make_room(self, other: _Kept) -> None:
        """Where clients are very many, read again rather than keep two readings side by side."""
        if self.by_shard and len(self.clients()) > CLIENTS_IN_MEMORY:
            other.drop()

    def clients(self) -> Clients:
        """Give all clients."""
        if self._known is None:
            if not self.by_shard:
                return self.leads(0).clients
            found = self._database.retrying(lambda conn: read_clients(conn, self._catalogue), read_only=True)
            ensure_clients_known(found.clients, self._request.clients)
            self._known, self.passed_over = found.clients, {"unusable_clients": found.unusable}
        return self._known

    def to_learn_from(self, job: Job) -> tuple[Leads, int | None]:
        """
        Give the leads that a job learns from: the pooled clients', or those of a sample where they are very many.

        The second value is the hash up to which clients are in the sample; None: all pooled ones are.
        """
        days = self.look_back(job)
        most = getattr(job, "LEARNS_FROM_SAMPLE", None)
        limit = None if most is None else sample_limit(self.clients(), most)
        if limit is None or not self.by_shard or self._whole.covers(days):
            leads = self.leads(days)
        else:
            leads = self._of_sample(days, limit)
        enough = getattr(job, "LEARNS_FROM_LEADS", None)
        if enough is not None:
            limit = limit_of_enough(leads, limit, enough)
        return leads.of_clients(learned_from(leads.clients, limit)), limit

    def _of_sample(self, days: int | None, limit: int) -> Leads:
        """Give the leads of the pooled clients whose hashes are not above the limit, and perhaps those of others."""
        if not self._sample.covers(days) or limit > self._sampled_up_to:
            self._make_room(self._whole)
            ids = _ids(self.clients(), lambda clients: learned_from(clients, limit))
            since = read_since(self._request.as_of, days)
            beside = self._database.read_beside
            leads, _ = self._database.retrying(
                lambda conn: read_leads(conn, self._catalogue, since, ids, self._details, beside=beside), read_only=True
            )
            self._sample.keep(leads, days)
            self._sampled_up_to = limit
        return self._sample.part(days, self._request)


def _ids(clients: Clients, mark: Callable[[Clients], Any]) -> list[str]:
    return [i for i, marked in zip(clients.ids, mark(clients).tolist(), strict=True) if marked and i is not None]
