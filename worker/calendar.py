"""What is due: a pure function of the time, the schedules and the runs that are done."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, time, timedelta
from zoneinfo import ZoneInfo

from worker.jobs import load_job


@dataclass(frozen=True, slots=True)
class Due:
    """A job to run now, as of an instant (aware, in the worker's time zone)."""

    job: str
    as_of: datetime
    by_interval: bool  # due again within the same period; a daily job is done once


@dataclass(frozen=True, slots=True)
class Done:
    """A period that is done: when that was, and from which instant the work looked back."""

    finished_at: datetime
    as_of: datetime


def covers(done_as_of: datetime, wanted: datetime) -> bool:
    """
    Whether a run that is done makes the wanted one superfluous (same job, same period).

    A day's last word is the run as of its end, local midnight: an earlier run of the same day does not stand for it.
    During the day, one run is enough. `wanted` is in the worker's time zone.
    """
    return done_as_of >= wanted or wanted.time() != time()


def parse_schedule(text: str) -> time | timedelta:
    """
    Read a schedule: "03:10", once a local day at that time, or "every 5m", at that distance.

    Raises ValueError for anything else.
    """
    if text.startswith("every ") and text.endswith("m") and text[6:-1].isdecimal() and int(text[6:-1]) > 0:
        return timedelta(minutes=int(text[6:-1]))
    return time.fromisoformat(text)


def find_due(now: datetime, zone: ZoneInfo, jobs: Iterable[str], done: Mapping[tuple[str, str], Done]) -> list[Due]:
    """
    List the jobs that should run now, in the order given.

    A daily job looks back from the last local midnight, which makes its period yesterday, and is due from its time of
    day on until that period is done: also after an outage, and never twice. A job by interval is due as soon as its
    last run of the day is that long ago.

    Parameters
    ----------
    now : aware.
    done : (job, period_key) -> the run that did it, for the periods that are done.
    """
    here = now.astimezone(zone)
    midnight = here.replace(hour=0, minute=0, second=0, microsecond=0, fold=0)
    result = []
    for job in jobs:
        schedule = parse_schedule(load_job(job).SCHEDULE)
        if isinstance(schedule, timedelta):
            last = done.get((job, here.date().isoformat()))
            if last is None or now - last.finished_at >= schedule:
                result.append(Due(job, here, by_interval=True))
        else:
            period = (midnight.date() - timedelta(days=1)).isoformat()
            last = done.get((job, period))
            if here.time() >= schedule and (last is None or not covers(last.as_of, midnight)):
                result.append(Due(job, midnight, by_interval=False))
    return result
