"""A day's work that is no analysis, as prune and report are: claimed in the ledger, done under its lease, and ended."""

import time
from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any, Protocol

from worker.database.pool import Database
from worker.errors import WorkerError
from worker.heartbeat import heartbeat
from worker.ledger import Lease, finish_run, read_run, release_run, try_claim
from worker.logs import describe_error, get_logger


class Outcome(Protocol):
    """How it went: status is done, skipped, held, failed or interrupted; period_key is the day whose work it is."""

    period_key: str
    status: str
    seconds: float
    error: str | None

    def as_json(self) -> Mapping[str, Any]:
        """Give the facts that are logged."""
        ...


Work = Callable[[Lease | None], Mapping[str, Any]]  # does it under the lease, and gives the counts to keep


def run_chore(
    database: Database,
    job: str,
    as_of: datetime,
    outcome: Outcome,
    work: Work,
    *,
    lease_seconds: int,
    claim: bool = True,
    if_due: bool = False,
) -> None:
    """
    Claim the day's run, have it done and finish it; a failure is told in the outcome, and the run ended with it.

    claim : False for a dry run, which leaves the ledger alone and works without a lease. if_due : nothing is done where
    that day is done already.
    """
    started = time.monotonic()
    try:
        _attempt(database, job, as_of, outcome, work, lease_seconds=lease_seconds, claim=claim, if_due=if_due)
    except BaseException:  # a signal, perhaps while a failure was being noted
        outcome.status = "interrupted"
        if claim:
            _end(database, None, job, outcome)
        raise
    finally:
        outcome.seconds = round(time.monotonic() - started, 3)
        facts = {key: value for key, value in outcome.as_json().items() if key != "period_key"}
        get_logger().info("run.finished", period=outcome.period_key, **facts)


def _attempt(
    database: Database,
    job: str,
    as_of: datetime,
    outcome: Outcome,
    work: Work,
    *,
    lease_seconds: int,
    claim: bool,
    if_due: bool,
) -> None:
    lease: Lease | None = None
    try:
        if claim:
            lease = _claim(database, job, as_of, outcome, if_due=if_due)
            if lease is None:
                return
        with heartbeat(database, lease, lease_seconds):
            counts = work(lease)
        if lease is not None:
            held = lease
            database.retrying(lambda conn: finish_run(conn, held, "done", counts), read_only=False)
    except Exception as exc:  # noqa: BLE001 - told in the outcome, as a job's failure is in its summary
        outcome.status, outcome.error = "failed", str(exc) if isinstance(exc, WorkerError) else describe_error(exc)
        _end(database, lease, job, outcome)


def _claim(database: Database, job: str, as_of: datetime, outcome: Outcome, *, if_due: bool) -> Lease | None:
    """Take the run; None where it is not ours, and the outcome says why."""
    period_key = outcome.period_key
    state = database.retrying(lambda conn: read_run(conn, job, period_key), read_only=True)
    if if_due and state is not None and state.is_done(as_of):
        outcome.status = "skipped"
        return None
    lease = try_claim(database, job, period_key, as_of) if state is None or not state.held else None
    if lease is None:
        holder = state.holder if state is not None and state.held else "another process"
        outcome.status, outcome.error = "held", f"held by {holder}"
    return lease


def _end(database: Database, lease: Lease | None, job: str, outcome: Outcome) -> None:
    """End a run that failed, or give one back that a signal ended, so that nobody waits for the lease; best effort."""
    try:
        with database.write() as conn:
            if outcome.status == "interrupted":  # perhaps while it was being claimed
                release_run(conn, job, outcome.period_key)
            elif lease is not None:
                finish_run(conn, lease, "failed", {}, outcome.error)
    except Exception:  # noqa: BLE001 - the lease runs out by itself, and the first error is the one to report
        get_logger().warning("run.not_released", job=job, period=outcome.period_key)
