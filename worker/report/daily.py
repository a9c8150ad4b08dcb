"""The daemon's report: once a day, when the day's analyses are done, a page for every client and one over all."""

from dataclasses import dataclass
from datetime import datetime, timedelta

from worker.calendar import end_of_day, local_day
from worker.chore import run_chore
from worker.database.pool import Database
from worker.errors import ConfigurationError
from worker.jobs.finding import Json
from worker.ledger import Lease
from worker.report.writing import Order, write_reports
from worker.settings import Settings
from worker.timetable import REPORT


@dataclass(slots=True)
class DailyReport:
    """How it went: status is done, skipped, held, failed or interrupted."""

    period_key: str
    pages: int = 0
    status: str = "done"
    seconds: float = 0.0
    error: str | None = None

    def as_json(self) -> dict[str, Json]:
        """Give the facts that are logged."""
        return {
            "job": REPORT,
            "period_key": self.period_key,
            "status": self.status,
            "pages": self.pages,
            "seconds": self.seconds,
            "error": self.error,
        }

    def __str__(self) -> str:
        """Say it in a line, as the jobs do."""
        start = f"{REPORT:<22} {self.period_key}  "
        if self.status == "skipped":
            return f"{start}already done"
        if self.status != "done":
            return f"{start}{self.status}: {self.error or 'by a signal'}"
        return f"{start}done: {self.pages} pages of clients in {self.seconds:.2f} s"


def run_daily_report(database: Database, settings: Settings, now: datetime, *, if_due: bool = False) -> DailyReport:
    """
    Write all reports into WORKER_REPORT_DIR, claimed in the ledger for the local day before that of now.

    The pages are those of now, as the command `report` writes them, so a day that was missed needs none of its own.
    ConfigurationError where there is no such folder set; where it fails half-way, the status says so.
    """
    folder = settings.report_dir
    if folder is None:
        raise ConfigurationError(["WORKER_REPORT_DIR is not set: there is no folder to write reports to"])
    today = now.astimezone(settings.timezone).date()
    as_of = end_of_day(today - timedelta(days=1), settings.timezone)
    told = DailyReport(local_day(as_of))

    def work(_lease: Lease | None) -> dict[str, Json]:
        written = write_reports(database, settings, Order(folder), now)
        told.pages = len(written.pages)
        return {"pages": told.pages}

    run_chore(database, REPORT, as_of, told, work, lease_seconds=settings.lease_seconds, if_due=if_due)
    return told
