"""The ledger of runs: who works on which job and period, until when, under which token, and how it ended."""

import itertools
import os
import secrets
import socket
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta
from typing import Any

import psycopg
from psycopg import Connection

from worker.calendar import MOST_MISSED, Past, local_day
from worker.database.pool import Database
from worker.database.queries import query
from worker.errors import LeaseLostError
from worker.plain_json import plain_json

_PROCESS = secrets.token_hex(4)  # in a container host and number are those of the process before it


@dataclass(frozen=True, slots=True)
class Lease:
    """Our right to write one run; with an older token than the row's nothing may be committed."""

    job: str
    period_key: str
    token: int


@dataclass(frozen=True, slots=True)
class RunState:
    """How a run stands: status, whose it is, and for how many seconds its lease still holds."""

    status: str
    holder: str | None
    as_of: datetime | None
    lease_seconds: float

    def is_done(self, as_of: datetime) -> bool:
        """Whether the period's work is done as of that instant."""
        return Past(self.status, self.as_of, ended_at=None).is_done(as_of)

    @property
    def held(self) -> bool:
        """Whether a live lease protects it."""
        return self.status == "running" and self.lease_seconds > 0


def holder_name() -> str:
    """Name this process for whoever looks at the ledger, and apart from every other one there was."""
    return f"{socket.gethostname()}:{os.getpid()}:{_PROCESS}"


def claim_run(
    conn: Connection[Any], job: str, period_key: str, as_of: datetime, lease_seconds: int, *, again: bool = False
) -> Lease | None:
    """
    Take the run if nobody holds it; None where another process does.

    again : take it also from this very process: the connection was lost while its claim was being committed.
    """
    row = conn.execute(
        query("claim_run"),
        {
            "job": job,
            "period_key": period_key,
            "holder": holder_name(),
            "as_of": as_of,
            "lease_seconds": lease_seconds,
            "again": again,
        },
    ).fetchone()
    return None if row is None else Lease(job, period_key, row[0])


def try_claim(database: Database, job: str, period_key: str, as_of: datetime) -> Lease | None:
    """Take the run, tried again where the connection breaks; None where another process holds it or writes under it."""
    tries = itertools.count()

    def claim(conn: Connection[Any]) -> Lease | None:
        again = next(tries) > 0  # the connection may have been lost after the COMMIT
        return claim_run(conn, job, period_key, as_of, database.settings.lease_seconds, again=again)

    try:
        return database.retrying(claim, read_only=False)
    except psycopg.errors.LockNotAvailable:  # another process is writing under this run's lease at this moment
        return None


def read_run(conn: Connection[Any], job: str, period_key: str) -> RunState | None:
    """Look at a run without touching it."""
    row = conn.execute(query("read_run"), {"job": job, "period_key": period_key}).fetchone()
    return None if row is None else RunState(row[0], row[1], row[2], row[3] or 0.0)


def renew_lease(conn: Connection[Any], lease: Lease, lease_seconds: int) -> None:
    """Keep our run, and lock its row for this transaction; LeaseLostError where another process took it over."""
    found = conn.execute(
        query("renew_lease"),
        {
            "job": lease.job,
            "period_key": lease.period_key,
            "token": lease.token,
            "lease_seconds": lease_seconds,
        },
    ).fetchone()
    if found is None:
        raise LeaseLostError(f"another process took over {lease.job} {lease.period_key}; nothing more was written")


def finish_run(
    conn: Connection[Any], lease: Lease, status: str, counts: Mapping[str, Any], error: str | None = None
) -> None:
    """End our run as done or failed; LeaseLostError where it is no longer ours. Twice is as good as once."""
    found = conn.execute(
        query("finish_run"),
        {
            "job": lease.job,
            "period_key": lease.period_key,
            "token": lease.token,
            "status": status,
            "counts": plain_json(dict(counts)),
            "error": error,
        },
    ).fetchone()
    if found is None:
        raise LeaseLostError(f"another process took over {lease.job} {lease.period_key}")


def release_run(conn: Connection[Any], job: str, period_key: str) -> bool:
    """Give back what this process holds of a run, as if it had not been tried; whether there was anything to give."""
    parameters = {"job": job, "period_key": period_key, "holder": holder_name()}
    return conn.execute(query("release_run"), parameters).rowcount > 0


def note_shard(conn: Connection[Any], lease: Lease, shard: int, counts: Mapping[str, int]) -> None:
    """Note, in the transaction that writes it, that a share of our run is done, and what that did to the table."""
    parameters = {"job": lease.job, "period_key": lease.period_key, "shard": shard, "token": lease.token}
    conn.execute(query("note_shard"), {**parameters, "counts": plain_json(dict(counts))})


def read_shard(conn: Connection[Any], lease: Lease, shard: int) -> dict[str, int] | None:
    """Ask what writing a share of our run did, as it was noted; None: it is not done under this token."""
    parameters = {"job": lease.job, "period_key": lease.period_key, "shard": shard, "token": lease.token}
    row = conn.execute(query("read_shard"), parameters).fetchone()
    return None if row is None else dict(row[0])


def read_last_period(conn: Connection[Any], job: str, as_of: datetime) -> str | None:
    """
    Find the last period before that of as_of that a job was run for; None: the first run.

    Run for is a period that the ledger has as done or failed, or one as of which a model was stored: runs for some
    clients only, and runs that were released half-way, told their patterns too.
    """
    period_key = local_day(as_of)
    begins = datetime.combine(date.fromisoformat(period_key), time.min, tzinfo=as_of.tzinfo)
    parameters = {"job": job, "period_key": period_key, "begins": begins}
    row = conn.execute(query("read_last_period"), parameters).fetchone()
    of_ledger, of_model = (None, None) if row is None else row
    of_model = None if of_model is None else local_day(of_model.astimezone(as_of.tzinfo))
    return max((period for period in (of_ledger, of_model) if period is not None), default=None)


def read_periods(conn: Connection[Any], since: str, now: datetime) -> dict[tuple[str, str], Past]:
    """
    Read how the periods from `since` (a day, as text) on stand, and each job's last one before.

    Returns (job, period_key) -> what is known of it; when it ended is told by the clock that says `now`, which may
    differ from the server's.
    """
    rows = conn.execute(query("read_periods"), {"since": since}).fetchall()
    return {
        (job, period): Past(status, as_of, None if ended is None else now - ended, attempts, held=held)
        for job, period, status, as_of, ended, attempts, held in rows
    }


def read_recent(conn: Connection[Any], now: datetime) -> dict[tuple[str, str], Past]:
    """Read what is known of all periods that may still be due at now."""
    return read_periods(conn, (now - timedelta(days=MOST_MISSED + 2)).date().isoformat(), now)
