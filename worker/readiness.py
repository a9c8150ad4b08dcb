"""Is the worker ready: does the database answer, and is nothing late? Asked without waiting long, or holding on."""

import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

from psycopg import Connection
from psycopg.rows import dict_row

from worker.calendar import MOST_MISSED, Past
from worker.database.pool import Database
from worker.database.queries import query
from worker.lateness import LedgerRow
from worker.logs import get_logger
from worker.settings import Settings
from worker.status import JobStatus, find_status
from worker.timetable import timetable

LIMIT_SECONDS = 4.0  # a probe's own patience is rarely more than 5
STATEMENT_LIMIT = "3s"
FRESH_SECONDS = 1.0  # many who ask at once share one look
JOB_OF_TYPE = {  # the event types that are not named after their job
    "pattern_detected": "pattern_detection",
    "conversion": "conversion_events",
    "reversion": "conversion_events",
}


@dataclass(frozen=True, slots=True)
class Reliability:
    """Of one job's decided claims, all clients: how many, and the means of what was said and of what was right."""

    job: str
    decided: int
    said: float
    right: float


def read_statuses(conn: Connection[Any], settings: Settings, now: datetime) -> list[JobStatus]:
    """Read the ledger and tell how every job of the timetable stands at `now`."""
    since = (now - timedelta(days=MOST_MISSED + 3)).date().isoformat()
    with conn.cursor(row_factory=dict_row) as cursor:
        rows = [_ledger_row(row) for row in cursor.execute(query("read_status"), {"since": since})]
    installed = conn.execute(query("read_installed_at")).fetchone()
    return find_status(
        now,
        settings.timezone,
        timetable(settings.schedules),
        rows,
        catch_up=settings.catch_up,
        installed_at=installed[0] if installed else None,
    )


def _ledger_row(row: Mapping[str, Any]) -> LedgerRow:
    failed = row["failed_clients"]
    return LedgerRow(
        row["job"],
        row["period_key"],
        Past(row["status"], row["as_of"], row["ended_at"], row["attempts"], held=row["held"]),
        row["started_at"],
        row["holder"],
        row["error"],
        tuple(map(str, failed)) if isinstance(failed, list) else (),
        row["succeeded_at"],
    )


def read_reliability(conn: Connection[Any]) -> list[Reliability]:
    """Read what the newest review of all clients says of each job; empty before the first."""
    sums: dict[str, tuple[int, float, float]] = {}
    for event_type, n, said, right in conn.execute(query("read_reliability")):
        job = JOB_OF_TYPE.get(event_type, event_type)
        before = sums.get(job, (0, 0.0, 0.0))
        sums[job] = before[0] + n, before[1] + n * said, before[2] + n * right
    return [Reliability(job, n, said / n, right / n) for job, (n, said, right) in sums.items()]


@dataclass(frozen=True, slots=True)
class Verdict:
    """The answer: whether the database answered, and the late periods of each job that has any."""

    database: bool
    late: Mapping[str, tuple[str, ...]] = field(default_factory=dict)

    @property
    def ready(self) -> bool:
        """Whether all is well."""
        return self.database and not self.late

    def as_json(self) -> dict[str, Any]:
        """Give what /readyz answers; keys are only ever added."""
        late = [{"job": job, "periods": list(periods)} for job, periods in self.late.items()]
        return {"ready": self.ready, "database": self.database, "late": late}

    def __str__(self) -> str:
        """Say it in a line."""
        if self.ready:
            return "ready: the database answers and nothing is late"
        if not self.database:
            return "not ready: the database does not answer"
        late = ", ".join(f"{job} {periods[-1]}" for job, periods in self.late.items())
        return f"not ready: late {'is' if len(self.late) == 1 else 'are'} {late}"


class Readiness:
    """
    Answers whether the worker is ready, within LIMIT_SECONDS whatever the network does.

    Each look has a connection of its own, closed at once, on a thread of its own: a connection that hangs keeps that
    thread waiting, and nobody else, until its patience ends. There is one look at a time.
    """

    def __init__(self, database: Database, settings: Settings) -> None:
        self._database, self._settings = database, settings
        self._lock = threading.Lock()
        self._look: _Look | None = None

    def __call__(self) -> Verdict:
        """Look, or join the look that is being made."""
        with self._lock:
            if self._look is None or self._look.is_stale():
                self._look = _Look(self._database, self._settings)
            look = self._look
        return look.verdict()


class _Look:
    def __init__(self, database: Database, settings: Settings) -> None:
        self._database, self._settings = database, settings
        self._began = time.monotonic()
        self._done = threading.Event()
        self._verdict = Verdict(database=False)
        threading.Thread(target=self._run, name="readiness", daemon=True).start()

    def is_stale(self) -> bool:
        return self._done.is_set() and time.monotonic() - self._began > FRESH_SECONDS

    def verdict(self) -> Verdict:
        done = self._done.wait(max(0.0, self._began + LIMIT_SECONDS - time.monotonic()))
        return self._verdict if done else Verdict(database=False)

    def _run(self) -> None:
        try:
            with self._database.autocommit(LIMIT_SECONDS) as conn, conn.transaction():
                conn.execute(query("set_probe_limits"), {"limit": STATEMENT_LIMIT})
                statuses = read_statuses(conn, self._settings, datetime.now(tz=UTC))
            late = {status.job: status.late_periods for status in statuses if status.late_periods}
            self._verdict = Verdict(database=True, late=late)
        except Exception as exc:  # noqa: BLE001 - whatever it is, the answer is no
            get_logger().warning("readiness.no_answer", error=type(exc).__name__)
        finally:
            self._done.set()
