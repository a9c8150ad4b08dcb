"""Snapshots of past days, each from what was known then: the jobs run as of one day's end after the other."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime

from worker.database.inspection import require_ready
from worker.database.pool import Database
from worker.executors import Hands
from worker.jobs import load_job, longest
from worker.jobs.finding import Json
from worker.reading import read_leads, read_since
from worker.readings import History, reads_by_shard
from worker.request import Request
from worker.runner import Outlets, run_jobs
from worker.settings import LOCAL, Settings
from worker.summary import JobSummary

PERIODS_SHOWN = 5
LEASE_MARGIN_SECONDS = 5  # as of --wait


@dataclass(slots=True)
class JobTally:
    """How one job's days went; `failed` and `held` name their periods."""

    job: str
    done: int = 0
    skipped: int = 0  # done already
    failed: list[str] = field(default_factory=list)
    held: list[str] = field(default_factory=list)
    snapshots: int = 0
    inserted: int = 0
    updated: int = 0
    deleted: int = 0

    def count(self, summary: JobSummary) -> None:
        """Add one day."""
        if summary.status == "done":
            self.done += 1
        elif summary.status == "skipped":
            self.skipped += 1
        elif summary.status == "held":
            self.held.append(summary.period_key)
        elif summary.status != "interrupted":
            self.failed.append(summary.period_key)
        for name in ("snapshots", "inserted", "updated", "deleted"):
            setattr(self, name, getattr(self, name) + getattr(summary, name))

    def as_json(self) -> dict[str, Json]:
        """Give the job's part of `backfill --json`; keys are only ever added."""
        return {name: getattr(self, name) for name in self.__slots__}

    def __str__(self) -> str:
        """Write a line."""
        days = f"{self.done} day{'s' * (self.done != 1)}"
        line = (
            f"{self.job:<22} {days} written, {self.skipped} already done:"
            f" {self.snapshots} snapshots ({self.inserted} new, {self.updated} changed)"
        )
        for what, periods in (("failed", self.failed), ("held by another process", self.held)):
            if periods:
                more = f" and {len(periods) - PERIODS_SHOWN} more" if len(periods) > PERIODS_SHOWN else ""
                line += f"; {what}: {', '.join(periods[:PERIODS_SHOWN])}{more}"
        return line


def run_backfill(
    database: Database,
    settings: Settings,
    jobs: Sequence[str],
    instants: Sequence[datetime],
    *,
    executor: str = LOCAL,
    progress: Callable[[str, int, int], None],
    tallies: list[JobTally],
) -> None:
    """
    Run the jobs as of each instant, oldest first; periods that are done are passed over, so that it can be resumed.

    The leads are read once, unless shards read their own: what a day's analysis sees of them is cut at its own as_of.
    `tallies` is filled as it goes,
    for whoever tells what was done when a signal ends it.

    A day rests on what the days before it left: models, patterns, claims. So a run that another process holds is waited
    for, until the lease of a dead one is over and some seconds more; if it is held even then, this is the last day.
    """
    catalogue = require_ready(database)
    tallies.extend(JobTally(job) for job in jobs)
    by_job = {tally.job: tally for tally in tallies}
    history = None
    if not reads_by_shard(database, catalogue, executor):
        since = read_since(instants[0], longest(load_job(name).LOOK_BACK_DAYS for name in jobs))
        leads, report = database.retrying(lambda conn: read_leads(conn, catalogue, since), read_only=True)
        history = History(leads, report.passed_over())
    patience = settings.lease_seconds + LEASE_MARGIN_SECONDS
    outlets = Outlets(summary=lambda summary: by_job[summary.job].count(summary))
    with Hands(executor) as hands:
        for done, as_of in enumerate(instants):
            request = Request(tuple(jobs), as_of, if_due=True, wait_seconds=patience, executor=executor, backfill=True)
            summaries = run_jobs(database, settings, request, outlets, history, hands=hands)
            progress("backfill", done + 1, len(instants))
            if any(summary.status == "held" for summary in summaries):
                break
