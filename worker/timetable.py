"""Which job the daemon runs when: as set by WORKER_SCHEDULE_<JOB>, or else as the job itself says."""

from collections.abc import Mapping
from datetime import datetime, time, timedelta
from typing import Any

from psycopg import Connection

from worker.calendar import MOST_MISSED, Past, Schedule, parse_schedule
from worker.jobs import JOB_NAMES, load_job
from worker.ledger import read_periods
from worker.settings import Settings

PRUNE = "prune"  # no analysis, but a day's work like the others; after them, since it is the one that removes
PRUNE_AT = time(4, 30)


def schedules_of(settings: Settings) -> dict[str, Schedule]:
    """Give every job's schedule, in the order in which they depend on each other."""
    own = {name: parse_schedule(load_job(name).SCHEDULE) for name in JOB_NAMES}
    return {**own, PRUNE: PRUNE_AT, **dict(settings.schedules)}


def read_recent(conn: Connection[Any], now: datetime) -> Mapping[tuple[str, str], Past]:
    """Read what the ledger knows of all periods that may still be due."""
    return read_periods(conn, (now - timedelta(days=MOST_MISSED + 2)).date().isoformat(), now)
