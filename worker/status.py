"""How each job stands: a pure function of the time, the schedules and the ledger, for status, health and metrics."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, time, timedelta
from typing import Any
from zoneinfo import ZoneInfo

from worker.calendar import Past, Schedule, catch_up_of, end_of_day, find_due, first_instant, next_attempt
from worker.lateness import DAY, LedgerRow, Lookout

FELL_SILENT = "its process fell silent"  # killed, or cut off from the database: it could not write why


@dataclass(frozen=True, slots=True)
class Failure:
    """The newest period whose last attempt came to nothing, and why; clients by id."""

    period_key: str
    attempts: int
    reason: str
    failed_clients: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class JobStatus:
    """
    How one job stands; instants are in the worker's time zone.

    state : running, off, never ran, dead, late, due, waiting (for its next attempt) or done: the first that holds.
    period_key : the newest period that should be done by now, or is being done; None where there is none yet.
    next_run : when the calendar runs it next; now, where it is due; None where that is not known, or never.
    late_since : since when it counts as late, which is an hour (ON_TIME) after it was to run.
    """

    job: str
    schedule: str
    state: str
    period_key: str | None
    due: bool
    attempts: int
    running_since: datetime | None
    holder: str | None
    late_periods: tuple[str, ...]
    late_since: datetime | None
    dead_periods: tuple[str, ...]
    last_period: str | None
    last_success: datetime | None
    next_run: datetime | None
    failure: Failure | None

    @property
    def needs_a_person(self) -> bool:
        """Whether somebody should look: it is late, or no more attempts are made."""
        return bool(self.late_periods or self.dead_periods)

    def as_json(self) -> dict[str, Any]:
        """Give the job's part of `status --json`; keys are only ever added."""
        failure = self.failure
        return {
            "job": self.job,
            "schedule": self.schedule,
            "state": self.state.replace(" ", "_"),
            "period": self.period_key,
            "due": self.due,
            "attempts": self.attempts,
            "running_since": _iso(self.running_since),
            "holder": self.holder,
            "late": bool(self.late_periods),
            "late_since": _iso(self.late_since),
            "late_periods": list(self.late_periods),
            "dead": bool(self.dead_periods),
            "dead_periods": list(self.dead_periods),
            "last_success": _iso(self.last_success),
            "last_success_period": self.last_period,
            "next": _iso(self.next_run),
            "failure": failure and {
                "period": failure.period_key,
                "attempts": failure.attempts,
                "reason": failure.reason,
                "failed_clients": list(failure.failed_clients),
            },
        }  # fmt: skip


def find_status(
    now: datetime,
    zone: ZoneInfo,
    schedules: Mapping[str, Schedule],
    rows: Sequence[LedgerRow],
    *,
    catch_up: str = "latest",
    installed_at: datetime | None = None,
) -> list[JobStatus]:
    """
    Tell how each job of the schedules stands.

    A daily job is late from an hour (ON_TIME) after its time of day until that day's period is done, whatever the
    reason: nobody ran it, it fails, it is dead, it takes long. A day that was missed for good stays late until the next
    one is done, or late itself. A job by interval is late when its last success is MISSED_INTERVALS of them ago,
    LEAST_SILENCE at the least. A job that is off is never late. One that never ran is late as if it had worked before,
    but counted from installed_at: before that nothing could run it, and a day that could only be made good before that
    is not missed.

    Parameters
    ----------
    now : aware.
    rows : what the ledger knows of the last MOST_MISSED days at least, each job's last period before them, and its last
        success.
    catch_up : as in find_due; under "all" every day that is still to be made good counts.
    installed_at : when the database was made ready for the worker; None: long ago.
    """
    return [
        _status(
            Lookout(now.astimezone(UTC), zone, catch_up_of(job, catch_up), installed_at),
            job,
            schedule,
            [row for row in rows if row.job == job],
        )
        for job, schedule in schedules.items()
    ]


def words_of(schedule: Schedule) -> str:
    """Write a schedule as the settings do: 03:10, every 5m, off."""
    if schedule is None:
        return "off"
    if isinstance(schedule, timedelta):
        return f"every {int(schedule.total_seconds() // 60)}m"
    return schedule.isoformat("minutes" if schedule.replace(second=0, microsecond=0) == schedule else "auto")


def _status(look: Lookout, job: str, schedule: Schedule, rows: Sequence[LedgerRow]) -> JobStatus:
    recent = {row.period_key: row for row in rows}
    ledger = {(job, period): row.past for period, row in recent.items()}
    due = bool(find_due(look.now, look.zone, {job: schedule}, ledger, look.catch_up))
    success = max((row for row in rows if row.succeeded_at), key=lambda row: row.period_key, default=None)
    missing, late = look.missing(schedule, recent, success)
    running = max((row for row in rows if row.past.held), key=lambda row: row.period_key, default=None)
    broken = [recent[p] for p in missing if p in recent and recent[p].past.broken]
    # A job by interval is tried again however often it broke.
    dead = tuple(row.period_key for row in broken if row.past.dead and isinstance(schedule, time))
    period = running.period_key if running else look.period(schedule)
    return JobStatus(
        job=job,
        schedule=words_of(schedule),
        state=_state(schedule, rows, running=running, dead=dead, late=late, due=due, broken=broken),
        period_key=period,
        due=due,
        attempts=recent[period].past.attempts if period in recent else 0,
        running_since=look.local(None if running is None else running.started_at),
        holder=None if running is None else running.holder,
        late_periods=tuple(late),
        late_since=look.local(min(late.values(), default=None)),
        dead_periods=dead,
        last_period=None if success is None else success.period_key,
        last_success=look.local(None if success is None else success.succeeded_at),
        next_run=look.here if due else look.local(_next_run(look, job, schedule, ledger)),
        failure=_failure(broken),
    )


def _next_run(look: Lookout, job: str, schedule: Schedule, ledger: Mapping[tuple[str, str], Past]) -> datetime | None:
    """Find the first of the instants at which something changes for this job at which the calendar runs it."""
    if schedule is None:
        return None
    instants: list[datetime | None]
    if isinstance(schedule, timedelta):
        past = ledger.get((job, look.here.date().isoformat()))
        if past is None or past.held:
            return None  # it counts from the end of the run
        instants = [past.ended_at and past.ended_at + schedule, end_of_day(look.here.date(), look.zone)]
    else:
        instants = [first_instant(look.here.date() + n * DAY, schedule, look.zone) for n in (0, 1)]
        instants += [next_attempt(job, period, past) for (_, period), past in ledger.items()]
    ahead = sorted(instant.astimezone(UTC) for instant in instants if instant is not None)
    ahead = [instant for instant in ahead if instant > look.now]
    return next((at for at in ahead if find_due(at, look.zone, {job: schedule}, ledger, look.catch_up)), None)


def _state(
    schedule: Schedule,
    rows: Sequence[LedgerRow],
    *,
    running: LedgerRow | None,
    dead: Iterable[str],
    late: Mapping[str, datetime],
    due: bool,
    broken: Sequence[LedgerRow],
) -> str:
    found = {
        "running": running is not None,
        "off": schedule is None,
        "never ran": not rows,
        "dead": any(dead),
        "late": bool(late),
        "due": due,
        "waiting": bool(broken),
    }
    return next((state for state, holds in found.items() if holds), "done")


def _failure(broken: Sequence[LedgerRow]) -> Failure | None:
    if not broken:
        return None
    row = broken[-1]
    reason = row.error or (FELL_SILENT if row.past.status == "running" else "no reason on record")
    return Failure(row.period_key, row.past.attempts, reason, row.failed_clients)


def _iso(instant: datetime | None) -> str | None:
    return None if instant is None else instant.isoformat(timespec="seconds")
