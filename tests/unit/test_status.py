"""How jobs stand, told from the time, the schedules and the ledger: late, dead, waiting, and what comes next."""

import json
from datetime import UTC, date, datetime, time, timedelta
from zoneinfo import ZoneInfo

import pytest

from worker.calendar import MOST_ATTEMPTS, MOST_MISSED, Past, find_due, next_attempt
from worker.lateness import LedgerRow, first_instant
from worker.status import FELL_SILENT, find_status, words_of
from worker.status_table import as_json, print_statuses

TORONTO, UTC_ZONE, PARIS = ZoneInfo("America/Toronto"), ZoneInfo("UTC"), ZoneInfo("Europe/Paris")
SCORE, EVENTS = "engagement_score", "conversion_events"
DAILY = {SCORE: time(3)}
BY_INTERVAL = {EVENTS: timedelta(minutes=5)}
NOON = datetime(2026, 3, 10, 12, tzinfo=UTC)
MIDNIGHT = datetime(2026, 3, 10, tzinfo=UTC)
MINUTE, HOUR, DAY = timedelta(minutes=1), timedelta(hours=1), timedelta(days=1)


def row(job=SCORE, period="2026-03-09", status="done", as_of=MIDNIGHT, ended_at=None, attempts=1, **columns):
    ended = ended_at or MIDNIGHT + 3 * HOUR
    columns.setdefault("succeeded_at", ended if status == "done" else None)
    held = columns.pop("held", False)
    return LedgerRow(job, period, Past(status, as_of, ended, attempts, held=held), started_at=ended, **columns)


def at(now, *rows, schedules=None, zone=UTC_ZONE, **options):
    (found,) = find_status(now, zone, schedules or DAILY, rows, **options)
    return found


def events(now, *rows, **options):
    return at(now, *rows, schedules=BY_INTERVAL, **options)


def events_row(ended_at, **columns):
    return row(EVENTS, ended_at.date().isoformat(), **{"as_of": ended_at, "ended_at": ended_at, **columns})


def test_a_day_that_is_done_is_done():
    found = at(NOON, row())
    assert (found.state, found.due, found.late_periods, found.needs_a_person) == ("done", False, (), False)
    assert (found.last_period, found.last_success) == ("2026-03-09", MIDNIGHT + 3 * HOUR)
    assert found.next_run == MIDNIGHT + DAY + 3 * HOUR


def test_a_day_is_due_at_its_time_and_late_an_hour_after_it():
    before = row(period="2026-03-08", as_of=MIDNIGHT - DAY, ended_at=MIDNIGHT - 21 * HOUR)
    early, due, last, late = (
        at(MIDNIGHT + 3 * HOUR + wait, before) for wait in (-MINUTE, timedelta(), HOUR, HOUR + MINUTE)
    )
    assert [found.state for found in (early, due, last, late)] == ["done", "due", "due", "late"]
    assert (late.late_periods, late.late_since) == (("2026-03-09",), MIDNIGHT + 4 * HOUR)
    assert late.due
    assert late.next_run == MIDNIGHT + 4 * HOUR + MINUTE


def test_a_day_that_was_missed_stays_late_when_the_next_one_begins():
    after_midnight = MIDNIGHT + DAY + HOUR
    missed = at(after_midnight, row(period="2026-03-08", as_of=MIDNIGHT - DAY))
    assert (missed.state, missed.late_periods, missed.due) == ("late", ("2026-03-09",), False)
    assert missed.next_run == MIDNIGHT + DAY + 3 * HOUR


def test_a_missed_day_stays_late_until_the_next_one_is_done_or_late_itself():
    before = row(period="2026-03-07", as_of=MIDNIGHT - 2 * DAY)
    dead = row(period="2026-03-08", status="failed", ended_at=MIDNIGHT - 9 * HOUR, attempts=MOST_ATTEMPTS)
    in_its_hour, done_by = MIDNIGHT + 3 * HOUR + MINUTE, MIDNIGHT + 3 * HOUR
    for missed, state in ((), "late"), ((dead,), "dead"):
        found = at(in_its_hour, before, *missed)
        assert (found.late_periods, found.due, found.state) == (("2026-03-08",), True, state)
        assert at(in_its_hour, before, *missed, row(ended_at=done_by)).state == "done"
        assert at(NOON, before, *missed).late_periods == ("2026-03-09",)


def test_without_catch_up_a_day_let_go_is_late_and_not_due():
    found = at(NOON, row(period="2026-03-08", as_of=MIDNIGHT - DAY), catch_up="none")
    assert (found.late_periods, found.due, found.next_run) == (("2026-03-09",), False, MIDNIGHT + DAY + 3 * HOUR)


def test_a_run_at_noon_does_not_make_the_day_done():
    noon = row(as_of=NOON - DAY, ended_at=NOON - DAY)
    assert at(NOON, noon).late_periods == ("2026-03-09",)


def test_a_failed_day_waits_for_its_next_attempt_and_says_why():
    client = "550e8400-e29b-41d4-a716-446655440000"
    failed = row(
        status="failed", ended_at=MIDNIGHT + 3 * HOUR, attempts=3, error="1 client(s) failed", failed_clients=(client,)
    )
    found = at(MIDNIGHT + 3 * HOUR + MINUTE, failed)
    assert (found.state, found.due, found.attempts) == ("waiting", False, 3)
    assert found.next_run == next_attempt(SCORE, "2026-03-09", failed.past)
    assert (found.failure.reason, found.failure.failed_clients) == ("1 client(s) failed", (client,))
    assert at(NOON, failed).state == "late"


def test_a_dead_day_is_late_and_next_is_tomorrow():
    found = at(NOON, row(status="failed", ended_at=NOON - HOUR, attempts=MOST_ATTEMPTS))
    assert (found.state, found.dead_periods, found.late_periods) == ("dead", ("2026-03-09",), ("2026-03-09",))
    assert found.next_run == MIDNIGHT + DAY + 3 * HOUR


def test_a_process_that_fell_silent_is_a_failure_without_words():
    found = at(MIDNIGHT + 3 * HOUR + MINUTE, row(status="running", ended_at=MIDNIGHT + 3 * HOUR))
    assert (found.state, found.failure.reason, found.running_since) == ("waiting", FELL_SILENT, None)


def test_a_run_under_a_live_lease_is_running_and_can_be_late():
    held = row(status="running", ended_at=NOON, held=True, holder="host:7")
    found = at(NOON, held)
    assert (found.state, found.holder, found.failure) == ("running", "host:7", None)
    assert found.running_since == held.started_at
    assert found.late_periods == ("2026-03-09",)
    assert found.next_run == MIDNIGHT + DAY + 3 * HOUR


def test_off_is_never_late():
    found = at(NOON, schedules={SCORE: None})
    assert (found.state, found.next_run, found.needs_a_person) == ("off", None, False)


@pytest.mark.parametrize(
    ("installed", "now", "late"),
    [
        (None, NOON, True),
        (NOON, NOON + HOUR, False),  # an hour to run it from the installation on
        (NOON, NOON + HOUR + MINUTE, True),
        (MIDNIGHT + HOUR, MIDNIGHT + 2 * HOUR + MINUTE, False),  # the day before yesterday is no longer to be had
        (MIDNIGHT + HOUR, MIDNIGHT + 4 * HOUR, False),
        (MIDNIGHT + HOUR, MIDNIGHT + 4 * HOUR + MINUTE, True),
    ],
)
def test_what_never_ran_is_late_once_it_could_have_run(installed, now, late):
    found = at(now, installed_at=installed)
    assert (found.state, found.last_success, bool(found.late_periods)) == ("never ran", None, late)


def test_catch_up_all_counts_every_day_that_is_to_be_made_good():
    rows = (row(period="2026-03-05", as_of=MIDNIGHT - 4 * DAY), row(period="2026-03-07", as_of=MIDNIGHT - 2 * DAY))
    found = at(NOON, *rows, catch_up="all")
    assert found.late_periods == ("2026-03-06", "2026-03-08", "2026-03-09")
    assert found.late_since == MIDNIGHT - 3 * DAY + 4 * HOUR
    assert found.last_period == "2026-03-07"
    assert at(NOON, *rows).late_periods == ("2026-03-09",)


def test_after_a_longer_outage_all_days_that_are_still_to_be_made_good_are_late():
    found = at(NOON, row(period="2025-01-05", as_of=MIDNIGHT - 428 * DAY), catch_up="all")
    assert (found.state, len(found.late_periods), found.last_period) == ("late", MOST_MISSED, "2025-01-05")
    assert (found.late_periods[0], found.late_periods[-1]) == ("2025-12-08", "2026-03-09")


def test_of_pruning_only_the_last_day_is_late_also_where_all_days_are_made_good():
    before = row("prune", period="2026-03-01", as_of=MIDNIGHT - 8 * DAY)
    found = at(NOON, before, schedules={"prune": time(4, 30)}, catch_up="all")
    assert (found.late_periods, found.due) == (("2026-03-09",), True)


def test_last_success_is_that_of_the_newest_day_not_the_newest_run():
    made_good = row(period="2026-03-01", as_of=MIDNIGHT - 8 * DAY, ended_at=NOON - HOUR)
    assert at(NOON, made_good, row()).last_period == "2026-03-09"


def test_a_job_by_interval_is_late_after_half_an_hour_without_success():
    done = events_row(NOON)
    fine, late = events(NOON + 30 * MINUTE, done), events(NOON + 30 * MINUTE + MINUTE, done)
    assert (fine.late_periods, late.late_periods) == ((), ("2026-03-10",))
    assert late.late_since == NOON + 30 * MINUTE
    assert events(NOON + MINUTE, done).next_run == NOON + 5 * MINUTE


def test_long_intervals_have_three_of_them():
    hourly = {EVENTS: HOUR}
    done = events_row(NOON)
    assert at(NOON + 3 * HOUR, done, schedules=hourly).late_periods == ()
    assert at(NOON + 3 * HOUR + MINUTE, done, schedules=hourly).late_periods == ("2026-03-10",)


def test_a_job_by_interval_that_fails_keeps_its_last_success_and_is_never_dead():
    failed = events_row(NOON, status="failed", attempts=50, succeeded_at=NOON - 20 * MINUTE, error="boom")
    found = events(NOON + MINUTE, failed)
    assert (found.state, found.late_periods, found.dead_periods) == ("waiting", (), ())
    assert (found.last_success, found.failure.reason) == (NOON - 20 * MINUTE, "boom")
    assert events(NOON + 11 * MINUTE, failed).state == "late"


def test_a_job_by_interval_that_never_worked_becomes_late_however_often_it_is_tried():
    failed = events_row(NOON, status="failed", attempts=9)
    assert events(NOON, failed, installed_at=NOON - 30 * MINUTE).late_periods == ()
    assert events(NOON + MINUTE, failed, installed_at=NOON - 30 * MINUTE).late_periods == ("2026-03-10",)


def test_a_job_by_interval_runs_next_when_its_day_begins_or_the_interval_is_over():
    hourly = {EVENTS: HOUR}
    assert at(NOON, events_row(NOON - MINUTE), schedules=hourly).next_run == NOON + HOUR - MINUTE
    evening = MIDNIGHT - 20 * MINUTE
    assert at(evening, events_row(evening - MINUTE), schedules=hourly).next_run == MIDNIGHT


def test_just_after_midnight_the_last_success_is_yesterdays():
    found = events(MIDNIGHT + MINUTE, events_row(MIDNIGHT - 2 * MINUTE))
    assert (found.state, found.late_periods, found.last_period) == ("due", (), "2026-03-09")


@pytest.mark.parametrize("zone", [TORONTO, PARIS, ZoneInfo("Australia/Lord_Howe"), UTC_ZONE], ids=str)
@pytest.mark.parametrize("wall", [time(0), time(1, 30), time(2, 10), time(2, 30), time(3)], ids=str)
def test_next_is_the_first_minute_at_which_the_calendar_runs_it(zone, wall):
    """Also over the hours that clocks skip or repeat."""
    for change in (date(2026, 3, 8), date(2026, 3, 29), date(2026, 4, 5), date(2026, 10, 4), date(2026, 11, 1)):
        period = change - DAY - DAY
        done = row(period=period.isoformat(), as_of=datetime.combine(change - DAY, time(), tzinfo=zone))
        now = datetime.combine(change - DAY, time(12), tzinfo=zone).astimezone(UTC)
        found = at(now, done, schedules={SCORE: wall}, zone=zone)
        ledger = {(SCORE, done.period_key): done.past}
        minutes = (now + number * MINUTE for number in range(26 * 60))
        first = next(minute for minute in minutes if find_due(minute, zone, {SCORE: wall}, ledger))
        assert found.next_run.astimezone(UTC) == first, change


def test_a_time_of_day_that_clocks_jump_over_is_when_they_have_jumped():
    assert first_instant(date(2026, 3, 8), time(2, 30), TORONTO) == datetime(2026, 3, 8, 7, tzinfo=UTC)
    assert first_instant(date(2026, 11, 1), time(1, 30), TORONTO) == datetime(2026, 11, 1, 5, 30, tzinfo=UTC)


def test_schedules_are_told_as_they_are_set():
    assert [words_of(s) for s in (time(3, 10), time(3, 10, 30), timedelta(minutes=5), None)] == [
        "03:10", "03:10:30", "every 5m", "off"
    ]  # fmt: skip


EVERYTHING = {
    SCORE: time(3), EVENTS: timedelta(minutes=1440), "urgency_trend": None, "tone_distribution": time(3),
    "pattern_detection": time(3, 10), "conversion_prediction": time(23, 59), "accuracy_review": time(4),
}  # fmt: skip


def every_state():
    """A job in each state, in Toronto on a summer day."""
    now = datetime(2026, 7, 10, 12, tzinfo=TORONTO)
    midnight = now.replace(hour=0)
    common = {"period": "2026-07-09", "as_of": midnight}
    clients = tuple(f"550e8400-e29b-41d4-a716-44665544{n:04d}" for n in range(7))
    rows = [
        row(SCORE, **common, ended_at=midnight + 3 * HOUR),
        row(EVENTS, "2026-07-10", as_of=now, ended_at=now + MINUTE, status="running", held=True, holder="host:1:ab"),
        row("tone_distribution", **common, status="failed", attempts=8, error="ValueError", ended_at=now - HOUR),
        row("pattern_detection", **common, status="failed", attempts=2, error="7 client(s) failed",
            failed_clients=clients, ended_at=now - MINUTE),
        row("conversion_prediction", "2026-07-08", as_of=midnight - DAY, ended_at=now - 3 * HOUR),
    ]  # fmt: skip
    return find_status(now, TORONTO, EVERYTHING, rows), now


def test_the_table_fits_80_columns_and_says_why_and_what_to_do(capsys):
    statuses, now = every_state()
    assert [status.state for status in statuses] == ["done", "running", "off", "dead", "late", "done", "never ran"]
    print_statuses(statuses, now)
    table, _, lines = capsys.readouterr().out.partition("accuracy_review ")
    assert max(map(len, table.splitlines())) <= 80
    assert "engagement_score      03:00" in table
    assert "07-10 03:00 " in table  # the title says of which zone
    assert "…" not in table
    assert "America/Toronto" in table
    assert "tone_distribution 2026-07-09: failed after 8 attempts: ValueError" in lines
    assert "Mend the cause, then run: python -m worker.run tone_distribution --as-of 2026-07-09" in lines
    assert "  client 550e8400-e29b-41d4-a716-446655440004\n  and 2 more" in lines
    assert "is the daemon (python -m worker), or cron, running" in lines


def test_the_json_is_plain_and_in_the_workers_zone():
    statuses, now = every_state()
    document = json.loads(json.dumps(as_json(statuses, now)))
    assert document["status"] == "late"
    assert document["now"] == "2026-07-10T12:00:00-04:00"
    jobs = {job["job"]: job for job in document["jobs"]}
    assert list(jobs) == list(EVERYTHING)
    assert jobs[SCORE]["last_success"] == "2026-07-10T03:00:00-04:00"
    assert jobs["tone_distribution"]["dead_periods"] == ["2026-07-09"]
    assert len(jobs["pattern_detection"]["failure"]["failed_clients"]) == 7
    assert jobs["accuracy_review"]["state"] == "never_ran"


def test_a_reason_is_redacted_whatever_stands_in_the_ledger(capsys):
    secret = "could not connect to postgresql://worker:hunter2@db/app for jane@example.com"
    statuses = [at(NOON, row(status="failed", error=secret))]
    print_statuses(statuses, NOON)
    told = capsys.readouterr().out + json.dumps(as_json(statuses, NOON))
    assert "could not connect" in told
    assert "hunter2" not in told
    assert "jane" not in told
