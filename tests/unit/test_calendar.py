"""What is due: every local day once, whatever ticks are lost, clocks are changed, or attempts fail."""

from datetime import UTC, date, datetime, time, timedelta
from functools import cache
from zoneinfo import ZoneInfo, available_timezones

import numpy as np
import pytest
from freezegun import freeze_time

from worker.calendar import (
    LONGEST_PAUSE,
    MOST_ATTEMPTS,
    MOST_MISSED,
    Past,
    covers,
    end_of_day,
    find_due,
    local_day,
    next_attempt,
    parse_schedule,
)

TORONTO, UTC_ZONE = ZoneInfo("America/Toronto"), ZoneInfo("UTC")
DAILY = {"engagement_score": time(3)}
EVENTS = {"conversion_events": timedelta(minutes=5)}
NOON = datetime(2026, 3, 10, 12, tzinfo=UTC)
MIDNIGHT = datetime(2026, 3, 10, tzinfo=UTC)


def done(as_of, finished_at=None):
    return Past("done", as_of, finished_at or as_of)


def periods(due):
    return [local_day(item.as_of) for item in due]


def test_daily_job_speaks_of_yesterday_from_its_hour_on():
    before = datetime(2026, 3, 10, 2, 59, tzinfo=TORONTO)
    assert find_due(before, TORONTO, DAILY, {}) == []
    (due,) = find_due(before + timedelta(minutes=1), TORONTO, DAILY, {})
    assert (due.as_of, local_day(due.as_of), due.missed) == (datetime(2026, 3, 10, tzinfo=TORONTO), "2026-03-09", False)


def test_what_is_done_is_not_due():
    assert find_due(NOON, UTC_ZONE, DAILY, {("engagement_score", "2026-03-09"): done(MIDNIGHT)}) == []


def test_a_run_at_noon_does_not_stand_for_the_whole_day():
    noon = NOON - timedelta(days=1)
    assert len(find_due(NOON, UTC_ZONE, DAILY, {("engagement_score", "2026-03-09"): done(noon)})) == 1


@pytest.mark.parametrize(
    ("name", "day"),
    [
        ("Africa/Cairo", date(2026, 4, 23)),
        ("Asia/Beirut", date(2026, 3, 28)),
        ("America/Havana", date(2026, 3, 7)),
        ("America/Santiago", date(2026, 9, 5)),
        ("UTC", date(2026, 3, 7)),
    ],
)
def test_a_midnight_that_clocks_jump_over_still_ends_its_day(name, day):
    """A process that is sent the instant gets it as 01:00, the first time that the clocks show."""
    zone = ZoneInfo(name)
    sent = datetime.fromisoformat(end_of_day(day, zone).isoformat()).astimezone(zone)
    assert local_day(sent) == local_day(end_of_day(day, zone)) == day.isoformat()
    assert not covers(datetime.combine(day, time(12), zone).astimezone(UTC), sent)
    assert covers(sent.astimezone(UTC), sent)


def test_job_by_interval_is_due_when_its_last_run_is_long_enough_ago():
    assert [due.as_of for due in find_due(NOON, UTC_ZONE, EVENTS, {})] == [NOON]
    key = ("conversion_events", "2026-03-10")
    recent = {key: done(NOON, NOON - timedelta(minutes=4, seconds=29))}
    assert find_due(NOON, UTC_ZONE, EVENTS, recent) == []
    # a tick later it would be every six minutes, since a run takes a moment
    assert len(find_due(NOON, UTC_ZONE, EVENTS, {key: done(NOON, NOON - timedelta(minutes=4, seconds=58))})) == 1


def test_a_job_that_is_off_is_never_due():
    assert find_due(NOON, UTC_ZONE, {"engagement_score": None}, {}, "all") == []


def after_outage(days, catch_up, now=NOON):
    """What is due when the last day done was `days` before yesterday."""
    last = MIDNIGHT - timedelta(days=days)
    return find_due(now, UTC_ZONE, DAILY, {("engagement_score", local_day(last)): done(last)}, catch_up)


def test_the_latest_day_alone_is_made_good_unless_told_otherwise():
    assert periods(after_outage(4, "latest")) == ["2026-03-09"]


def test_all_makes_every_missed_day_good_as_of_its_own_end():
    due = after_outage(4, "all")
    assert periods(due) == ["2026-03-06", "2026-03-07", "2026-03-08", "2026-03-09"]
    assert [item.missed for item in due] == [True, True, True, False]
    assert [item.as_of for item in due] == [MIDNIGHT - timedelta(days=ago) for ago in (3, 2, 1, 0)]


def test_all_goes_back_so_far_and_no_farther():
    due = after_outage(400, "all")
    assert len(due) == MOST_MISSED
    assert periods(due)[-1] == "2026-03-09"


def test_all_makes_one_day_good_of_a_job_that_makes_good_all_before_it():
    last = MIDNIGHT - timedelta(days=40)
    due = find_due(NOON, UTC_ZONE, {"prune": time(4, 30)}, {("prune", local_day(last)): done(last)}, "all")
    assert periods(due) == ["2026-03-09"]


def test_all_makes_nothing_good_before_the_first_run():
    assert periods(find_due(NOON, UTC_ZONE, DAILY, {}, "all")) == ["2026-03-09"]


def test_all_closes_a_hole_between_days_that_are_done():
    ledger = {
        ("engagement_score", local_day(end)): done(end) for end in (MIDNIGHT, MIDNIGHT - timedelta(days=3))
    }  # fmt: skip
    assert periods(find_due(NOON, UTC_ZONE, DAILY, ledger, "all")) == ["2026-03-07", "2026-03-08"]


def test_none_lets_a_day_go_whose_hour_is_long_past():
    assert after_outage(4, "none") == []
    assert periods(after_outage(4, "none", MIDNIGHT + timedelta(hours=3, minutes=59))) == ["2026-03-09"]
    assert after_outage(4, "none", MIDNIGHT + timedelta(hours=4)) == []


def test_after_a_failure_the_pause_doubles_and_differs_from_job_to_job():
    pauses = [
        next_attempt("urgency_trend", "2026-03-09", Past("failed", MIDNIGHT, NOON, n)) - NOON for n in range(1, 12)
    ]
    assert all(timedelta(minutes=1) <= pause <= LONGEST_PAUSE * 1.25 for pause in pauses)
    for number, pause in enumerate(pauses[:6]):
        assert 1 <= pause / timedelta(minutes=2**number) <= 1.25
    others = {
        next_attempt(job, "2026-03-09", Past("failed", MIDNIGHT, NOON, 1)) for job in ("a", "b", "c", "d", "e", "f")
    }
    assert len(others) > 3


def test_a_failed_day_waits_and_is_tried_again_until_it_is_dead():
    key = ("engagement_score", "2026-03-09")
    just_now = Past("failed", MIDNIGHT, NOON - timedelta(seconds=59), 1)
    assert find_due(NOON, UTC_ZONE, DAILY, {key: just_now}) == []
    assert len(find_due(NOON, UTC_ZONE, DAILY, {key: Past("failed", MIDNIGHT, NOON - timedelta(hours=2), 1)})) == 1
    dead = Past("failed", MIDNIGHT, NOON - timedelta(days=2), MOST_ATTEMPTS)
    assert dead.dead
    assert find_due(NOON, UTC_ZONE, DAILY, {key: dead}) == []


def test_what_was_given_back_is_due_at_once():
    ledger = {("engagement_score", "2026-03-09"): Past("released", MIDNIGHT, NOON, 3)}
    assert len(find_due(NOON, UTC_ZONE, DAILY, ledger)) == 1


@pytest.mark.parametrize(("schedules", "period"), [(DAILY, "2026-03-09"), (EVENTS, "2026-03-10")])
def test_what_a_live_process_works_on_is_not_due(schedules, period):
    (job,) = schedules
    held = Past("running", MIDNIGHT, NOON + timedelta(seconds=40), 3, held=True)
    assert find_due(NOON, UTC_ZONE, schedules, {(job, period): held}) == []


def test_a_process_that_fell_silent_counts_as_a_failed_attempt():
    def due(ago, attempts):
        silent = Past("running", MIDNIGHT, NOON - ago, attempts)
        return len(find_due(NOON, UTC_ZONE, DAILY, {("engagement_score", "2026-03-09"): silent}))

    assert (due(timedelta(seconds=59), 1), due(timedelta(seconds=75), 1), due(timedelta(minutes=3), 3)) == (0, 1, 0)
    assert due(timedelta(days=1), MOST_ATTEMPTS) == 0


def test_a_job_by_interval_that_failed_comes_again_at_its_interval_and_never_dies():
    def due(ago):
        failed = Past("failed", NOON, NOON - ago, 50)
        return len(find_due(NOON, UTC_ZONE, EVENTS, {("conversion_events", "2026-03-10"): failed}))

    assert (due(timedelta(minutes=4)), due(timedelta(minutes=5))) == (0, 1)


def test_a_run_by_interval_that_was_called_off_is_due_at_once():
    released = Past("released", NOON, NOON - timedelta(seconds=1), 0)
    assert len(find_due(NOON, UTC_ZONE, EVENTS, {("conversion_events", "2026-03-10"): released})) == 1


def test_missed_days_come_day_by_day_with_all_their_jobs():
    schedules = {"conversion_events": timedelta(minutes=5), "urgency_trend": time(3), "accuracy_review": time(4)}
    done_until = MIDNIGHT - timedelta(days=2)
    ledger = {(job, local_day(done_until)): done(done_until) for job in ("urgency_trend", "accuracy_review")}
    found = [(due.job, local_day(due.as_of)) for due in find_due(NOON, UTC_ZONE, schedules, ledger, "all")]
    assert found == [
        ("conversion_events", "2026-03-10"),
        *((job, f"2026-03-0{day}") for day in (8, 9) for job in ("urgency_trend", "accuracy_review")),
    ]


@cache
def clock_changes():
    """Every zone's local days around the changes of its clock, 2024 to 2026; zones that keep the same time once."""
    seen, found = set(), []
    for name in sorted(available_timezones()):
        zone = ZoneInfo(name)
        hours = [datetime(2024, 1, 1, tzinfo=UTC) + timedelta(hours=6 * n) for n in range(4 * 1096)]
        offsets = [instant.astimezone(zone).utcoffset() for instant in hours]
        changes = tuple(
            hours[i] for i in range(1, len(hours)) if offsets[i] != offsets[i - 1]
        )  # fmt: skip
        signature = (tuple(offsets[i] for i in range(0, len(offsets), 4)), changes)
        if signature not in seen:
            seen.add(signature)
            found.append((name, changes))
    return found


@pytest.mark.parametrize("hour", [time(0), time(2, 30), time(3, 10)])
def test_each_local_day_is_run_exactly_once_through_every_zones_clock_changes(hour):
    """Ticks an hour apart, three days to both sides of each change."""
    assert len(clock_changes()) > 60
    for name, changes in clock_changes():
        zone = ZoneInfo(name)
        for change in changes or (datetime(2025, 6, 1, tzinfo=UTC),):
            assert_each_day_once(zone, change - timedelta(days=3), change + timedelta(days=3), hour)


def assert_each_day_once(zone, now, end, hour):
    ledger, found = {}, []
    while now < end:
        for due in find_due(now, zone, {"job": hour}, ledger):
            period = local_day(due.as_of)
            assert due.as_of.astimezone(UTC) <= now
            ledger["job", period] = done(due.as_of, now)
            found.append(period)
        now += timedelta(hours=1)
    days = [datetime.fromisoformat(period).date() for period in found]
    assert days == [days[0] + timedelta(days=n) for n in range(len(days))]
    assert len(days) >= 6


@pytest.mark.parametrize("catch_up", ["latest", "all"])
@pytest.mark.parametrize(
    "name",
    [
        "Australia/Lord_Howe",
        "Africa/Cairo",
        *(pytest.param(name, marks=pytest.mark.slow) for name in ("America/New_York", "Europe/Paris", "UTC")),
        pytest.param("Asia/Kathmandu", marks=pytest.mark.slow),
    ],
)
def test_two_years_of_ticks_with_outages(name, catch_up):
    """A frozen clock moves on by minutes or, now and then, days: nothing is doubled, and what is promised is there."""
    zone, rng = ZoneInfo(name), np.random.default_rng(1)
    first = datetime(2024, 1, 1, 12, tzinfo=UTC)
    ledger, found, up = {}, [], set()
    with freeze_time(first) as clock:
        while (now := datetime.now(tz=UTC)) < first + timedelta(days=731):
            if now.astimezone(zone).hour >= 3:
                up.add(now.astimezone(zone).date() - timedelta(days=1))
            for due in find_due(now, zone, {"job": time(3)}, ledger, catch_up):
                period = local_day(due.as_of)
                ledger["job", period] = done(due.as_of, now)
                found.append(datetime.fromisoformat(period).date())
            clock.tick(timedelta(days=float(rng.exponential(3))) if rng.random() < 0.05 else timedelta(minutes=200))
    assert len(found) == len(set(found))
    every = {min(found) + timedelta(days=n) for n in range((max(found) - min(found)).days + 1)}
    assert set(found) == (every if catch_up == "all" else up)


@pytest.mark.parametrize("text", ["", "every 0m", "every 5", "every 1441m", "25:00", "noon", "03:10+02:00"])
def test_schedule_that_is_none_is_refused(text):
    with pytest.raises(ValueError, match="is "):
        parse_schedule(text)


def test_schedules_are_read():
    assert parse_schedule("03:10") == time(3, 10)
    assert parse_schedule("Every 90m") == timedelta(minutes=90)
    assert parse_schedule(" OFF ") is None


@pytest.mark.parametrize(
    ("name", "at"),
    [
        ("America/Toronto", time(2)),
        ("Europe/Paris", time(2)),
        ("Africa/Cairo", time(0)),
        ("America/Havana", time(0)),
        ("Asia/Beirut", time(0)),
        ("Antarctica/Troll", time(1, 30)),
        ("Australia/Lord_Howe", time(2)),
        ("UTC", time(2)),
    ],
)
def test_none_loses_no_day_to_clocks_that_are_changed(name, at):
    """A time of day that the clocks jump over comes when they have jumped."""
    zone, ledger, found = ZoneInfo(name), {}, []
    now = datetime(2026, 1, 1, 12, tzinfo=UTC)
    while now < datetime(2027, 1, 1, 12, tzinfo=UTC):
        for due in find_due(now, zone, {"job": at}, ledger, "none"):
            period = local_day(due.as_of)
            ledger["job", period] = done(due.as_of, now)
            found.append(datetime.fromisoformat(period).date())
        now += timedelta(minutes=10)
    assert found == [min(found) + timedelta(days=n) for n in range(365)]
