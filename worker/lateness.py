"""Which periods should be done and are not, and since when that is late: a pure function of time and ledger."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from zoneinfo import ZoneInfo

from worker.calendar import MOST_MISSED, ON_TIME, Past, Schedule, end_of_day, first_instant

DAY = timedelta(days=1)
MISSED_INTERVALS = 3  # a job by interval whose last success is so many of them old is late ...
LEAST_SILENCE = timedelta(minutes=30)  # ... but not before that


@dataclass(frozen=True, slots=True)
class LedgerRow:
    """One period of a job as the ledger has it; succeeded_at is when an attempt last did all of its work."""

    job: str
    period_key: str
    past: Past
    started_at: datetime | None = None
    holder: str | None = None
    error: str | None = None
    failed_clients: tuple[str, ...] = ()
    succeeded_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class Lookout:
    """
    The time of the look, and what does not differ from job to job.

    Instants are compared in UTC: of two in one zone Python compares what the clocks show, which repeats in autumn.
    """

    now: datetime
    zone: ZoneInfo
    catch_up: str
    installed_at: datetime | None

    @property
    def here(self) -> datetime:
        """Give the time that the clocks of the zone show."""
        return self.now.astimezone(self.zone)

    def local(self, instant: datetime | None) -> datetime | None:
        """Give an instant as the clocks of the zone show it."""
        return None if instant is None else instant.astimezone(self.zone)

    def period(self, schedule: Schedule) -> str | None:
        """Name the newest period whose time has come."""
        if schedule is None:
            return None
        today = self.here.date()
        if isinstance(schedule, timedelta):
            return today.isoformat()
        return (today - (DAY if self.here.time() >= schedule else 2 * DAY)).isoformat()

    def missing(
        self, schedule: Schedule, rows: Mapping[str, LedgerRow], success: LedgerRow | None
    ) -> tuple[list[str], dict[str, datetime]]:
        """Give the periods that should be done and are not, oldest first, and those that are late, with since when."""
        period = self.period(schedule)
        if schedule is None or period is None:
            return [], {}
        if isinstance(schedule, timedelta):
            newest = max(rows, default=period)
            missing = [newest] if newest in rows and rows[newest].past.broken else []
            since = self._silent_since(min(rows, default=period), success) + max(
                MISSED_INTERVALS * schedule, LEAST_SILENCE
            )
            return missing, {period: since} if self.now > since else {}
        wanted = self._wanted(date.fromisoformat(period), schedule, rows)
        days = [day for day in wanted if not self._is_done(day, rows)]
        limits = {day.isoformat(): self._not_before(first_instant(day + DAY, schedule, self.zone)) for day in days}
        late = {period: limit + ON_TIME for period, limit in limits.items() if self.now > limit + ON_TIME}
        return list(limits), late

    def _silent_since(self, oldest: str, success: LedgerRow | None) -> datetime:
        """Tell since when a job by interval owes a success: its last one, or else since it could first run."""
        if success is not None and success.succeeded_at is not None:
            return success.succeeded_at.astimezone(UTC)
        return self._not_before(end_of_day(date.fromisoformat(oldest) - DAY, self.zone))

    def _not_before(self, instant: datetime) -> datetime:
        return max(at.astimezone(UTC) for at in (instant, self.installed_at) if at is not None)

    def _wanted(self, last: date, schedule: time, rows: Mapping[str, LedgerRow]) -> list[date]:
        """List the days that should be done by now, oldest first: those that the calendar gave out until now."""
        if self.catch_up == "all" and rows:
            first = max(date.fromisoformat(min(rows)), last - (MOST_MISSED - 1) * DAY)
            return [first + number * DAY for number in range((last - first).days + 1)]
        # A day that was missed counts until the next one is done or late itself: nobody is told meanwhile that all is
        # well again. What lies before the first that the ledger knows was not missed.
        in_time = self.now <= first_instant(last + DAY, schedule, self.zone) + ON_TIME
        known = min(rows, default="") <= (last - DAY).isoformat()
        days = [last - DAY, last] if in_time and known and not self._is_done(last, rows) else [last]
        # The calendar gives a day out until the end of the next one.
        return [day for day in days if self._not_before(end := end_of_day(day + DAY, self.zone)) <= end]

    def _is_done(self, day: date, rows: Mapping[str, LedgerRow]) -> bool:
        row = rows.get(day.isoformat())
        return row is not None and row.past.is_done(end_of_day(day, self.zone))
