"""What is due: a pure function of the time, the schedules and what the ledger knows of past periods."""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from zoneinfo import ZoneInfo

Schedule = time | timedelta | None  # once a local day at that time, at that distance, or never

CATCH_UP = ("latest", "all", "none")
ONCE_FOR_ALL = ("prune", "report")  # jobs whose last day makes good those before it as well
ON_TIME = timedelta(hours=1)  # without catch-up, a period whose hour passed longer ago than this is let go
MOST_MISSED = 92  # days back that "all" makes good: what lay longer ago is for `backfill`
TICK = timedelta(minutes=1)  # the clock asks no more often
SLACK = timedelta(seconds=30)  # half a tick: a run takes a moment, and the tick that comes just too early is the one
MOST_ATTEMPTS = 8  # then a period is dead: it needs a person
FIRST_PAUSE, LONGEST_PAUSE = timedelta(minutes=1), timedelta(hours=1)  # between attempts, doubling


@dataclass(frozen=True, slots=True)
class Due:
    """A job to run now, as of an instant (aware, in the worker's time zone)."""

    job: str
    as_of: datetime
    by_interval: bool  # due again within the same period; a daily job is done once
    missed: bool = False  # a day that is made good later


@dataclass(frozen=True, slots=True)
class Past:
    """
    What the ledger knows of a period; instants are aware or None.

    status : done, failed, released or running.
    ended_at : when it ended; of one that is running, until when its lease holds.
    held : whether a process that is alive works on it.
    """

    status: str
    as_of: datetime | None
    ended_at: datetime | None
    attempts: int = 1
    held: bool = False

    @property
    def broken(self) -> bool:
        """Whether the last attempt came to nothing: it failed, or its process fell silent."""
        return self.status == "failed" or (self.status == "running" and not self.held)

    @property
    def dead(self) -> bool:
        """Whether it broke so often that no more attempts are made."""
        return self.broken and self.attempts >= MOST_ATTEMPTS

    def is_done(self, wanted: datetime) -> bool:
        """Whether the period's work is done as of that instant."""
        return self.status == "done" and self.as_of is not None and covers(self.as_of, wanted)


def covers(done_as_of: datetime, wanted: datetime) -> bool:
    """
    Whether a run that is done makes the wanted one superfluous (same job, same period).

    A day's last word is the run as of its end, local midnight: an earlier run of the same day does not stand for it.
    During the day, one run is enough. `wanted` is in the worker's time zone, where clocks may jump over midnight: then
    the day before ends at 01:00.
    """
    before = (wanted.astimezone(UTC) - timedelta(microseconds=1)).astimezone(wanted.tzinfo)
    return done_as_of >= wanted or before.date() == wanted.date()


def local_day(as_of: datetime) -> str:
    """Give the period: the local day of the last instant before as_of, in as_of's own time zone."""
    before = as_of.astimezone(UTC) - timedelta(microseconds=1)  # where clocks jump over midnight, the day before
    return before.astimezone(as_of.tzinfo).date().isoformat()


def parse_schedule(text: str) -> Schedule:
    """
    Read a schedule: "03:10", once a local day at that time, "every 5m", at that distance, or "off", never.

    Raises ValueError for anything else.
    """
    words = text.strip().lower()
    if words == "off":
        return None
    if words.startswith("every ") and words.endswith("m") and words[6:-1].isdecimal() and 0 < int(words[6:-1]) <= 1440:
        return timedelta(minutes=int(words[6:-1]))
    try:
        found = time.fromisoformat(words)
    except ValueError as exc:
        raise ValueError(f"is {text!r}, not a time of day such as 03:10, `every 5m`, or off") from exc
    if found.tzinfo is not None:
        raise ValueError(f"is {text!r}: a time of day is that of WORKER_TIMEZONE and has no offset of its own")
    return found


def next_attempt(job: str, period_key: str, past: Past | None) -> datetime | None:
    """
    Say from when on a period that is not done may be tried again; None: at once.

    After a failure the pause doubles with each attempt, and differs by up to a quarter from job to job and day to day,
    so that what failed together does not come back together.
    """
    if past is None or not past.broken or past.ended_at is None:
        return None
    pause = min(FIRST_PAUSE * 2 ** min(past.attempts - 1, 10), LONGEST_PAUSE)
    spread = hashlib.sha256(f"{job}|{period_key}|{past.attempts}".encode()).digest()[0] / 255 / 4
    again: datetime = past.ended_at + pause * (1 + spread)
    return again


def find_due(
    now: datetime,
    zone: ZoneInfo,
    schedules: Mapping[str, Schedule],
    ledger: Mapping[tuple[str, str], Past],
    catch_up: str = "latest",
) -> list[Due]:
    """
    List the jobs to run now: those by interval, then the days from the oldest on, each in the order of the schedules.

    A daily job looks back from the last local midnight, which makes its period yesterday, and is due from its time of
    day on until that period is done: also after an outage, and never twice. A job by interval is due when the end of
    its last run of the day is that long ago, less SLACK, however it ended. What another process works on is not due.

    Parameters
    ----------
    now : aware.
    ledger : (job, period_key) -> what is known of it, for the last MOST_MISSED days at least, and each job's last
        period before them.
    catch_up : "latest": of the days that were missed, the last; "all": each, as of its own end, from the oldest that
        the ledger knows of this job on, MOST_MISSED at most; "none": not even the last, once its hour is ON_TIME past.
    """
    here = now.astimezone(zone)
    by_interval, daily = [], []
    for job, schedule in schedules.items():
        if isinstance(schedule, timedelta):
            past = ledger.get((job, here.date().isoformat()))
            if past is None or not (past.held or _is_recent(past, now, schedule)):
                by_interval.append(Due(job, here, by_interval=True))
        elif schedule is not None:
            for day in _days(job, here, zone, schedule, ledger, catch_up=catch_up_of(job, catch_up)):
                midnight = end_of_day(day, zone)
                past = ledger.get((job, day.isoformat()))
                if (past is None or not past.is_done(midnight)) and _may_try(job, day.isoformat(), past, now):
                    daily.append(Due(job, midnight, by_interval=False, missed=midnight.date() < here.date()))
    return by_interval + sorted(daily, key=lambda due: due.as_of.date())


def catch_up_of(job: str, catch_up: str) -> str:
    """Say which of the days that were missed are made good for one job."""
    return "latest" if catch_up == "all" and job in ONCE_FOR_ALL else catch_up


def _is_recent(past: Past, now: datetime, schedule: timedelta) -> bool:
    if past.ended_at is None or past.status == "released":  # a run that was called off has not been made
        return False
    return now - past.ended_at < schedule - SLACK


def end_of_day(day: date, zone: ZoneInfo) -> datetime:
    """Give the local midnight that ends a day, from which its analyses look back."""
    return datetime.combine(day + timedelta(days=1), time(), tzinfo=zone)


def _may_try(job: str, period_key: str, past: Past | None, now: datetime) -> bool:
    if past is not None and (past.dead or past.held):
        return False
    again = next_attempt(job, period_key, past)
    return again is None or now >= again


def _days(
    job: str, here: datetime, zone: ZoneInfo, schedule: time, ledger: Mapping[tuple[str, str], Past], *, catch_up: str
) -> list[date]:
    """Give the days whose work may be due now, oldest first."""
    yesterday = here.date() - timedelta(days=1)
    reached = here.time() >= schedule
    if catch_up == "all":
        last = yesterday if reached else yesterday - timedelta(days=1)
        known = [period for name, period in ledger if name == job]
        if known:
            first = max(date.fromisoformat(min(known)), last - timedelta(days=MOST_MISSED - 1))
            return [first + timedelta(days=number) for number in range((last - first).days + 1)]
    if catch_up == "none":
        began = first_instant(here.date(), schedule, zone)
        reached = reached and here.astimezone(UTC) - began < ON_TIME
    return [yesterday] if reached else []


def first_instant(day: date, wall: time, zone: ZoneInfo) -> datetime:
    """Find when the clocks of a local day first show that time or, where they jump over it, a later one; in UTC."""
    wanted = datetime.combine(day, wall)
    instant = min(wanted.replace(tzinfo=zone, fold=fold).astimezone(UTC) for fold in (0, 1))
    while instant.astimezone(zone).replace(tzinfo=None) < wanted:
        instant += TICK
    return instant
