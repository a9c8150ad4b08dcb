"""What is due: once a local day, never skipped, never doubled, whatever ticks are lost."""

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest

from worker.calendar import Done, find_due, parse_schedule
from worker.jobs.windows import local_day

TORONTO = ZoneInfo("America/Toronto")


def test_daily_job_speaks_of_yesterday_from_its_hour_on():
    before = datetime(2026, 3, 10, 2, 59, tzinfo=TORONTO)
    assert find_due(before, TORONTO, ["engagement_score"], {}) == []
    (due,) = find_due(before + timedelta(minutes=1), TORONTO, ["engagement_score"], {})
    assert (due.as_of, local_day(due.as_of)) == (datetime(2026, 3, 10, tzinfo=TORONTO), "2026-03-09")


def test_what_is_done_is_not_due():
    now = datetime(2026, 3, 10, 12, tzinfo=UTC)
    done = {("engagement_score", "2026-03-09"): Done(now, datetime(2026, 3, 10, tzinfo=UTC))}
    assert find_due(now, ZoneInfo("UTC"), ["engagement_score"], done) == []


def test_a_run_at_noon_does_not_stand_for_the_whole_day():
    now = datetime(2026, 3, 10, 12, tzinfo=UTC)
    noon = datetime(2026, 3, 9, 12, tzinfo=UTC)
    done = {("engagement_score", "2026-03-09"): Done(noon, noon)}
    assert len(find_due(now, ZoneInfo("UTC"), ["engagement_score"], done)) == 1


def test_job_by_interval_is_due_when_its_last_run_is_long_enough_ago():
    now = datetime(2026, 3, 10, 12, tzinfo=UTC)
    zone = ZoneInfo("UTC")
    assert [due.as_of for due in find_due(now, zone, ["conversion_events"], {})] == [now]
    recent = {("conversion_events", "2026-03-10"): Done(now - timedelta(minutes=4, seconds=59), now)}
    assert find_due(now, zone, ["conversion_events"], recent) == []
    old = {("conversion_events", "2026-03-10"): Done(now - timedelta(minutes=5), now)}
    assert len(find_due(now, zone, ["conversion_events"], old)) == 1


@pytest.mark.parametrize("name", ["America/New_York", "Europe/Paris", "Australia/Lord_Howe", "Africa/Cairo", "UTC"])
def test_every_local_day_is_run_exactly_once_through_clock_changes(name):
    """Three years of ticks, twenty minutes apart, each day's work recorded as done when it is due."""
    zone = ZoneInfo(name)
    now = datetime(2024, 1, 1, tzinfo=zone).astimezone(UTC)
    end = datetime(2027, 1, 1, tzinfo=zone).astimezone(UTC)
    done: dict[tuple[str, str], Done] = {}
    periods = []
    while now < end:
        for due in find_due(now, zone, ["urgency_trend"], done):
            period = local_day(due.as_of)
            done = {(due.job, period): Done(now, due.as_of)}
            periods.append(period)
        now += timedelta(minutes=20)
    first = datetime(2023, 12, 31, tzinfo=UTC).date()
    assert periods == [(first + timedelta(days=i)).isoformat() for i in range(3 * 365 + 1)]


@pytest.mark.parametrize("text", ["", "every 0m", "every 5", "25:00", "noon"])
def test_schedule_that_is_none_is_refused(text):
    with pytest.raises(ValueError, match=r".*"):
        parse_schedule(text)
