"""The daemon: a clock that asks once a minute what is due, and runs it until a signal says stop."""

import signal
import threading
from datetime import UTC, datetime, timedelta
from types import FrameType

import psycopg
from apscheduler.schedulers.background import BackgroundScheduler
from apscheduler.triggers.interval import IntervalTrigger

from worker.calendar import Due, find_due
from worker.database.pool import Database, open_pool
from worker.errors import DatabaseUnavailableError, WorkerError
from worker.jobs import JOB_NAMES
from worker.ledger import read_done
from worker.logs import get_logger
from worker.runner import Outlets, Request, run_jobs
from worker.settings import Settings

TICK_SECONDS = 60


def run_daemon(settings: Settings) -> int:
    """Run what is due until SIGTERM or SIGINT; returns the exit code."""
    stop = threading.Event()

    def ask_to_stop(number: int, _frame: FrameType | None) -> None:
        get_logger().info("daemon.stopping", signal=signal.Signals(number).name)
        stop.set()

    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, ask_to_stop)
    with open_pool(settings) as database:
        # APScheduler is only the clock, in UTC, where every day has 24 hours: what is due is computed at each tick
        # from the calendar and the ledger, so a tick that comes late, or never, changes nothing.
        scheduler = BackgroundScheduler(timezone=UTC)
        scheduler.add_job(
            lambda: tick(database, settings, datetime.now(tz=UTC), stop),
            IntervalTrigger(seconds=TICK_SECONDS, timezone=UTC),
            next_run_time=datetime.now(tz=UTC),
            misfire_grace_time=None,
            coalesce=True,
            max_instances=1,
        )
        scheduler.start()
        get_logger().info("daemon.started", timezone=str(settings.timezone))
        try:
            stop.wait()
        finally:
            scheduler.shutdown(wait=True)
    get_logger().info("daemon.stopped")
    return 0


def tick(database: Database, settings: Settings, now: datetime, stop: threading.Event) -> list[Due]:
    """Run everything that is due at now, job by job; gives what was due."""
    try:
        since = (now - timedelta(days=3)).date().isoformat()
        done = database.retrying(lambda conn: read_done(conn, since), read_only=True)
        due = find_due(now, settings.timezone, JOB_NAMES, done)
        for item in due:
            if stop.is_set():
                break
            request = Request(jobs=(item.job,), as_of=item.as_of, if_due=not item.by_interval, wait_seconds=0)
            run_jobs(database, settings, request, Outlets())
    except (WorkerError, psycopg.Error) as exc:
        # The next tick tries again; what was due stays due.
        event = "daemon.database_away" if isinstance(exc, DatabaseUnavailableError) else "daemon.tick_failed"
        get_logger().error(event, error=type(exc).__name__, reason=str(exc))
        return []
    return due
