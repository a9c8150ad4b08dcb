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


def parse_schedule(text: str) -> time | timedelta:
    """
    Read a schedule: "03:10", once a local day at that time, or "every 5m", at that distance.

    Raises ValueError for anything else.
    """
    if text.startswith("every ") and text.endswith("m") and text[6:-1].isdecimal() and int(text[6:-1]) > 0:
        return timedelta(minutes=int(text[6:-1]))
    return time.fromisoformat(text)


def find_due(now: datetime, zone: ZoneInfo, jobs: Iterable[str], done: Mapping[tuple[str, str], datetime]) -> list[Due]:
    """
    List the jobs that should run now, in the order given.

    A daily job looks back from the last local midnight, which makes its period yesterday, and is due from its time of
    day on until that period is done: also after an outage, and never twice. A job by interval is due as soon as its
    last run of the day is that long ago.

    Parameters
    ----------
    now : aware.
    done : (job, period_key) -> when it was finished, for the periods that are done.
    """
    here = now.astimezone(zone)
    midnight = here.replace(hour=0, minute=0, second=0, microsecond=0, fold=0)
    result = []
    for job in jobs:
        schedule = parse_schedule(load_job(job).SCHEDULE)
        if isinstance(schedule, timedelta):
            last = done.get((job, here.date().isoformat()))
            if last is None or now - last >= schedule:
                result.append(Due(job, here))
        else:
            period = (midnight.date() - timedelta(days=1)).isoformat()
            if here.time() >= schedule and (job, period) not in done:
                result.append(Due(job, midnight))
    return result
