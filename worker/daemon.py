"""The daemon: a clock asks once a minute what is due, and the main thread runs it until a signal says stop."""

import contextlib
import signal
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import psycopg
from apscheduler.schedulers.background import BackgroundScheduler
from apscheduler.triggers.interval import IntervalTrigger

from worker import __version__
from worker.calendar import Due, Past, find_due, local_day
from worker.database.inspection import require_ready
from worker.database.pool import Connection, Database, open_pool
from worker.endpoint import SILENCE_SECONDS, Pulse, start_endpoint
from worker.errand import Errand, Tell, send_out
from worker.errors import DatabaseUnavailableError, WorkerError
from worker.ledger import read_recent
from worker.logs import describe_error, get_logger
from worker.metrics import Metrics
from worker.readiness import Reliability, read_reliability, read_statuses
from worker.report.extra import ensure_extra
from worker.settings import Settings
from worker.status import JobStatus
from worker.stopping import Interrupted
from worker.summary import JobSummary
from worker.timetable import CHORES, timetable

TICK_SECONDS = 60
OVERDUE_SECONDS = 75  # then we look without a ring: when the system's clock is set back, the scheduler waits for hours
AWAY_SECONDS = 300  # without a database; then the process ends, so that whoever restarts it sees that too


def run_daemon(settings: Settings) -> int:
    """
    Run what is due until SIGTERM or SIGINT; returns the exit code.

    Raises ConfigurationError when WORKER_HTTP cannot be listened on, or WORKER_REPORT_DIR is set and the extra `report`
    is missing; DatabaseUnavailableError and DatabaseShapeError when the database is not there, or not as needed, at
    start.
    """
    if settings.report_dir is not None:
        ensure_extra()
    try:
        with open_pool(settings) as database:
            require_ready(database)
            # a tick may wait so long for the database before it has anything to do
            pulse = Pulse(SILENCE_SECONDS + settings.database_wait_seconds)
            metrics = Metrics(timetable(settings.schedules))
            database.on_retry = metrics.retry
            with start_endpoint(settings, database, pulse, metrics), _clock() as rung:
                get_logger().info("daemon.started", timezone=str(settings.timezone), release=__version__)
                return _serve(Shift(database, settings, pulse, metrics), rung)
    except Interrupted as exc:
        get_logger().info("daemon.stopped", signal=signal.Signals(exc.number).name)
        return 0


@contextlib.contextmanager
def _clock() -> Iterator[threading.Event]:
    """
    Ring once a minute, the first time at once.

    APScheduler is only the clock, in UTC, where every day has 24 hours: what is due is computed at each tick from the
    calendar and the ledger, so a tick that comes late, or never, changes nothing.
    """
    rung = threading.Event()
    scheduler = BackgroundScheduler(timezone=UTC)
    scheduler.add_job(
        rung.set,
        IntervalTrigger(seconds=TICK_SECONDS, timezone=UTC),
        next_run_time=datetime.now(tz=UTC),
        misfire_grace_time=None,
        coalesce=True,
        max_instances=1,
    )
    scheduler.start()
    try:
        yield rung
    finally:
        scheduler.shutdown(wait=False)


@dataclass(frozen=True, slots=True)
class Shift:
    """What a tick works with, and whom it tells."""

    database: Database
    settings: Settings
    pulse: Pulse
    metrics: Metrics
    do: Callable[[Errand, Tell, Callable[[], None]], None] = send_out


def _serve(shift: Shift, rung: threading.Event) -> int:
    """Answer the clock in this, the main thread: here a signal calls off whatever runs."""
    away_since: float | None = None
    while True:
        rung.wait(OVERDUE_SECONDS)
        rung.clear()
        began = time.monotonic()
        try:
            tick(shift, lambda: datetime.now(tz=UTC))
            away_since = None
        except DatabaseUnavailableError as exc:
            if away_since is None:  # it was there until then, however long ago the tick began
                away_since = max(began, time.monotonic() - shift.settings.database_wait_seconds)
            away = time.monotonic() - away_since
            get_logger().error("daemon.database_away", reason=str(exc), seconds=round(away))
            if away > AWAY_SECONDS:
                return 1
        except (WorkerError, psycopg.Error) as exc:
            # The next tick tries again; what was due stays due.
            away_since = None
            get_logger().error("daemon.tick_failed", reason=describe_error(exc))
        finally:
            shift.database.rest()


def tick(shift: Shift, clock: Callable[[], datetime]) -> list[Due]:
    """
    Run what is due, and what falls due meanwhile, each at most once; gives what was run.

    Once the clock has rung again, the rest is left to the next tick: behind many days to make good, what is due every
    few minutes must not wait for the last of them.
    """
    shift.pulse.beat()
    try:
        ran = _run_due(shift, clock)
    except DatabaseUnavailableError:
        raise
    except (WorkerError, psycopg.Error):
        with contextlib.suppress(WorkerError, psycopg.Error):  # the first error is the one to report
            _look_back(shift, clock())
        raise
    _look_back(shift, clock())
    return ran


def _run_due(shift: Shift, clock: Callable[[], datetime]) -> list[Due]:
    settings, began = shift.settings, clock()
    ran: list[Due] = []
    while True:
        now = clock()
        known = _known(shift.database, now)
        tried = {(item.job, local_day(item.as_of)) for item in ran}
        due = [
            item
            for item in find_due(now, settings.timezone, timetable(settings.schedules), known, settings.catch_up)
            if (item.job, local_day(item.as_of)) not in tried
        ]
        if not due or (ran and now - began >= timedelta(seconds=TICK_SECONDS)):
            return ran
        group = _together(due)
        ran += group
        with shift.pulse.working():
            statuses = _run(shift, group)
        if "held" in statuses:  # what comes after rests on it: whoever works on it goes on
            return ran


def _known(database: Database, now: datetime) -> Mapping[tuple[str, str], Past]:
    return database.retrying(lambda conn: read_recent(conn, now), read_only=True)


def _together(due: list[Due]) -> list[Due]:
    """Take the first job that is due, and those that go with it: the same day's, on one reading of the leads."""
    first = due[0]
    if first.by_interval or first.job in CHORES:
        return [first]
    return [item for item in due if not item.by_interval and item.as_of == first.as_of and item.job not in CHORES]


def _run(shift: Shift, group: list[Due]) -> set[str]:
    """Have one group run, and give how its jobs ended."""
    first = group[0]
    errand = Errand(tuple(item.job for item in group), first.as_of, not first.by_interval, first.missed)
    statuses: set[str] = set()

    def tell(summary: JobSummary) -> None:
        statuses.add(summary.status)
        shift.metrics.observe(summary)

    shift.do(errand, tell, shift.metrics.retry)
    return statuses


def _look_back(shift: Shift, now: datetime) -> None:
    """Bring the metrics up to what the ledger says, also of what others ran."""

    def read(conn: Connection) -> tuple[list[JobStatus], list[Reliability]]:
        return read_statuses(conn, shift.settings, now), read_reliability(conn)

    statuses, reliability = shift.database.retrying(read, read_only=True)
    shift.metrics.refresh(statuses, reliability)
