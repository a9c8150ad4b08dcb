"""
Some shards as a task for whichever process comes to it: it opens its own connection, from its own environment, and
reads its own clients' leads.

A task is plain values: which clients, what was learned from all of them, and the lease under which to write. No address
and no password travels with it; a process that works on tasks has DATABASE_URL itself. What went wrong comes back as a
value too, in words without what an error may quote, since executors log and pass on whatever is raised.
"""

import contextlib
import os
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from psycopg import Connection

from worker.database.catalogue import Catalogue
from worker.database.inspection import require_ready
from worker.database.pool import Database, open_pool
from worker.database.queries import query
from worker.errors import (
    ConfigurationError,
    DatabaseShapeError,
    DatabaseUnavailableError,
    LeaseLostError,
    WorkerError,
)
from worker.garbage import give_back
from worker.growth_brain import read_past
from worker.jobs import load_job
from worker.leads import Leads
from worker.logs import describe_error
from worker.reading import KnownClients, ReadingReport, read_clients, read_leads, read_since
from worker.registry import code_version
from worker.settings import Settings
from worker.shards import Assignment, Outcome, Workplace

COUNTED_BY_SHARD = ("repeated", "undated", "test_leads")  # of a reading's report, what it tells of its own clients


@dataclass(frozen=True, slots=True)
class Command:
    """What tells the tasks of one command from those of others, and by what code and in which database they are due."""

    number: str  # drawn at random
    code: str
    database: str

    @classmethod
    def here(cls, database: Database, number: str) -> "Command":
        """Describe a command of this process."""
        return cls(number, code_version(), database.retrying(_read_identity, read_only=True))


@dataclass(frozen=True, slots=True)
class Share:
    """A shard's clients; `number` as in Workplace.work_off."""

    clients: tuple[str, ...]
    number: int


@dataclass(frozen=True, slots=True, repr=False)
class ShardTask:
    """Shards of a run whose leads are read together."""

    command: Command
    assignment: Assignment
    shares: tuple[Share, ...]

    @property
    def clients(self) -> frozenset[str]:
        """Give the clients of all its shards."""
        return frozenset(client_id for share in self.shares for client_id in share.clients)

    def __repr__(self) -> str:
        """Say little: executors log what they were given."""
        return f"ShardTask({self.assignment.job}, {self.shares[0].number}, {len(self.clients)} clients)"


@dataclass(frozen=True, slots=True)
class Done:
    """How a task ended: what was done until then, and what kept it from the rest, as a kind and its problems."""

    outcome: Outcome = field(default_factory=Outcome)
    error: tuple[str, tuple[str, ...]] | None = None

    def ensure_well(self) -> None:
        """Raise, as one of our own errors, what kept the task from its work."""
        if self.error is None:
            return
        name, problems = self.error
        for listing in (ConfigurationError, DatabaseShapeError):
            if name == listing.__name__:
                raise listing(list(problems))
        for telling in (DatabaseUnavailableError, LeaseLostError):
            if name == telling.__name__:
                raise telling(*problems)
        raise WorkerError(*problems)


def run_shard(task: ShardTask) -> Done:
    """Read the clients of some shards, analyse and write shard by shard; whatever goes wrong is in the result."""
    outcome = Outcome()
    try:
        _work_off(_bench.place(task.command), task, outcome)
    except (ConfigurationError, DatabaseShapeError) as exc:
        return Done(outcome, (type(exc).__name__, tuple(exc.problems)))
    except WorkerError as exc:
        return Done(outcome, (type(exc).__name__, (str(exc),)))
    except Exception as exc:  # noqa: BLE001 - the last place that can keep what an error quotes out of foreign logs
        return Done(outcome, (type(exc).__name__, (describe_error(exc),)))
    return Done(outcome)


def _work_off(place: "_Place", task: ShardTask, outcome: Outcome) -> None:
    database, catalogue = place.database, place.catalogue
    given, job = task.assignment, load_job(task.assignment.job)
    since = read_since(given.as_of, getattr(job, "ANALYSES_DAYS", job.LOOK_BACK_DAYS))
    types = getattr(job, "PAST_EVENT_TYPES", ())
    id_type = catalogue.type_of("growth_brain", "client_id") or "uuid"

    def read(conn: Connection[Any]) -> tuple[Leads, ReadingReport, list[dict[str, Any]]]:
        wanted = getattr(job, "READS", None)
        leads, report = read_leads(conn, catalogue, since, task.clients, wanted, known=place.known)
        return leads, report, read_past(conn, types, given.as_of, leads, id_type=id_type) if types else []

    leads, report, past = database.retrying(read, read_only=True)
    outcome.passed_over |= {name: report.passed_over()[name] for name in COUNTED_BY_SHARD}
    workplace = Workplace(database, catalogue, given, past)
    for share in task.shares:
        mine = frozenset(share.clients)
        part = leads.of_clients(np.array([i in mine for i in leads.clients.ids], dtype=np.bool_))
        workplace.work_off(part, share.number, outcome)
        give_back(len(leads))


def _read_identity(conn: Connection[Any]) -> str:
    row = conn.execute(query("read_identity")).fetchone()
    assert row is not None  # noqa: S101 - a SELECT without a table has a row
    return str(row[0])


@dataclass(frozen=True, slots=True)
class _Place:
    """What the tasks of one command find in a process."""

    command: Command
    database: Database
    catalogue: Catalogue
    known: KnownClients


class _Bench:
    """The database of this process, opened by its first task and kept; what it has, looked at once a command."""

    def __init__(self) -> None:
        self._lock = threading.Lock()  # a Dask worker may have several threads
        self._stack = contextlib.ExitStack()
        self._database: Database | None = None
        self._place: _Place | None = None

    def place(self, command: Command) -> _Place:
        """Give what the task needs; ConfigurationError where the database, or our code, is not the command's."""
        with self._lock:
            if self._database is None:
                self._database = self._stack.enter_context(open_pool(Settings.from_environment(os.environ)))
            if self._place is None or self._place.command != command:
                self._place = self._inspect(self._database, command)
            return self._place

    def _inspect(self, database: Database, command: Command) -> _Place:
        if code_version() != command.code:
            raise ConfigurationError(["a process that works on shards has another version of this program"])
        catalogue = require_ready(database)
        if database.retrying(_read_identity, read_only=True) != command.database:
            raise ConfigurationError(["DATABASE_URL of a process that works on shards names another database"])
        known = database.retrying(lambda conn: read_clients(conn, catalogue), read_only=True)
        return _Place(command, database, catalogue, known)

    @contextlib.contextmanager
    def with_place(self, command: Command, database: Database, catalogue: Catalogue) -> Iterator[None]:
        """Let the tasks of this command that run in this very process use what it has opened."""
        before = self._database, self._place
        known = database.retrying(lambda conn: read_clients(conn, catalogue), read_only=True)
        self._database, self._place = database, _Place(command, database, catalogue, known)
        try:
            yield
        finally:
            self._database, self._place = before

    def close(self) -> None:
        """Close the connections that tasks opened."""
        with self._lock:
            self._database, self._place = None, None
            self._stack.close()


_bench = _Bench()
with_place, close = _bench.with_place, _bench.close
