"""What is asked for, and whether it is ours to do: numpy-free, so that a run that has nothing to do ends at once."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import psycopg
from psycopg import Connection

from worker.calendar import local_day
from worker.database.inspection import require_ready
from worker.database.pool import Database
from worker.errors import WorkerError
from worker.ledger import RunState, read_run
from worker.logs import get_logger
from worker.summary import JobSummary


@dataclass(frozen=True, slots=True)
class Request:
    """What the person asked for; as_of is aware and in WORKER_TIMEZONE."""

    jobs: tuple[str, ...]
    as_of: datetime
    clients: frozenset[str] = frozenset()  # empty: all of them and the global snapshot
    dry_run: bool = False
    if_due: bool = False
    wait_seconds: float = 65.0
    shards: int | None = None
    executor: str = "local"  # as WORKER_EXECUTOR
    backfill: bool = False  # a past day made later: the ledger says so, and who holds it is waited for

    @property
    def whole(self) -> bool:
        """Whether this run does the period's work; a partial or dry one leaves it to do."""
        return not self.clients and not self.dry_run


def is_left(state: RunState | None, request: Request, summary: JobSummary) -> bool:
    """Whether, with if_due, a run is done or in another process's hands; the summary then says which."""
    if not request.if_due or state is None:
        return False
    if state.is_done(request.as_of):
        summary.status = "skipped"
        return True
    if state.held and not request.backfill:
        summary.status, summary.error = "held", f"held by {state.holder}"
        return True
    return False


def left_after(name: str, ahead: str, request: Request) -> JobSummary:
    """Give the summary of a job that rests on one which another process works on."""
    return JobSummary(name, local_day(request.as_of), "held", error=f"after {ahead}, which another process works on")


def log_summary(summary: JobSummary) -> None:
    """Write the one event that tells of a run, however it ended."""
    facts = {key: value for key, value in summary.as_json().items() if key not in ("job", "period_key")}
    get_logger().info("run.finished", job=summary.job, period=summary.period_key, **facts)


def tell_nothing_to_do(database: Database, request: Request, tell: Callable[[JobSummary], None]) -> bool:
    """
    Look whether every job that is asked for may be left, and if so tell that as the run would; False: run them.

    Raises DatabaseShapeError when the database is not as needed. A ledger that cannot be read leaves it all to the run,
    which meets the same trouble and reports it.
    """
    if not (request.if_due and request.whole):
        return False
    require_ready(database)
    began = time.monotonic()
    try:
        with database.read() as conn:
            looked_at = _look(conn, request)
    except (psycopg.Error, WorkerError):
        return False
    if looked_at is None:
        return False
    for summary in looked_at:
        summary.seconds = round(time.monotonic() - began, 3)
        log_summary(summary)
        tell(summary)
    for name in request.jobs[len(looked_at) :]:
        tell(left_after(name, looked_at[-1].job, request))
    return True


def _look(conn: Connection[Any], request: Request) -> list[JobSummary] | None:
    """Look at the runs up to the first that another process holds; None where one of them is ours to do."""
    found: list[JobSummary] = []
    for name in request.jobs:
        summary = JobSummary(name, local_day(request.as_of))
        if not is_left(read_run(conn, name, summary.period_key), request, summary):
            return None
        found.append(summary)
        if summary.status == "held":
            break
    return found
