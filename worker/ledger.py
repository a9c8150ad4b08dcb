"""The ledger of runs: who works on which job and period, until when, under which token, and how it ended."""

import os
import socket
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, datetime, time
from typing import Any

from psycopg import Connection

from worker.calendar import Done, covers
from worker.database.queries import query
from worker.errors import LeaseLostError
from worker.growth_brain import plain_json
from worker.jobs.finding import Json
from worker.jobs.windows import local_day


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
        return self.status == "done" and self.as_of is not None and covers(self.as_of, as_of)

    @property
    def held(self) -> bool:
        """Whether a live lease protects it."""
        return self.status == "running" and self.lease_seconds > 0


def holder_name() -> str:
    """Name this process for whoever looks at the ledger."""
    return f"{socket.gethostname()}:{os.getpid()}"


def claim_run(conn: Connection[Any], job: str, period_key: str, as_of: datetime, lease_seconds: int) -> Lease | None:
    """Take the run if nobody holds it; None where another process does."""
    row = conn.execute(
        query("claim_run"),
        {
            "job": job,
            "period_key": period_key,
            "holder": holder_name(),
            "as_of": as_of,
            "lease_seconds": lease_seconds,
        },
    ).fetchone()
    return None if row is None else Lease(job, period_key, row[0])


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
    conn: Connection[Any], lease: Lease, status: str, counts: Mapping[str, Json], error: str | None = None
) -> None:
    """End our run as done, failed or released; LeaseLostError where it is no longer ours."""
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


def read_done(conn: Connection[Any], since: str) -> dict[tuple[str, str], Done]:
    """Read which periods from `since` (a day, as text) on are done: (job, period_key) -> when, and as of when."""
    rows = conn.execute(query("read_done"), {"since": since}).fetchall()
    return {(job, period): Done(finished_at, as_of) for job, period, finished_at, as_of in rows}
