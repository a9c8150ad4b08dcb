"""The daemon's tick on a real ledger: what is due is run once, in order, whoever else works on the same database."""

import itertools
import os
import subprocess
import sys
import threading
from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo

import numpy as np
import pytest
from conftest import settings_for
from freezegun import freeze_time
from support import PROJECT, add_client, add_simple_leads, clean_environment, run_worker, snapshots

import worker.daemon
import worker.errand
import worker.runner
from worker.calendar import MOST_MISSED, find_due, local_day
from worker.daemon import Shift, tick
from worker.database.pool import open_pool
from worker.endpoint import Pulse
from worker.errand import Errand, do_errand, send_out
from worker.errors import DatabaseShapeError, DatabaseUnavailableError, WorkerError
from worker.ledger import claim_run, finish_run, read_recent
from worker.metrics import Metrics
from worker.readiness import read_statuses
from worker.stopping import Interrupted
from worker.summary import JobSummary
from worker.timetable import JOB_NAMES, timetable

NOON = datetime(2025, 3, 31, 12, tzinfo=UTC)
ANALYSES = [name for name in JOB_NAMES if name != "conversion_events"]
ROUNDS = int(os.environ.get("HARDSHIP_ROUNDS", "0"))


@pytest.fixture
def shift_for(database_url):
    """A function from settings to what a tick works with; the database is closed when the test ends."""
    opened = []

    def make(**environment):
        settings = settings_for(database_url, **environment)
        context = open_pool(settings)
        database = context.__enter__()
        opened.append(context)

        def do(errand, tell, _on_retry):
            do_errand(database, settings, errand, tell)

        return Shift(database, settings, Pulse(), Metrics(timetable(settings.schedules)), do)

    yield make
    for context in opened:
        context.__exit__(None, None, None)


def periods(due):
    return [(item.job, local_day(item.as_of)) for item in due]


def ledger(conn):
    return dict(conn.execute("SELECT job, status FROM worker.runs WHERE shard = -1").fetchall())


def test_first_tick_does_yesterday_and_the_next_one_nothing(shift_for, database_url, connect):
    conn = connect(database_url)
    add_simple_leads(conn, add_client(conn, 1), 1, 60, NOON)
    shift = shift_for()
    ran = tick(shift, lambda: NOON)
    assert periods(ran) == [
        ("conversion_events", "2025-03-31"), *((job, "2025-03-30") for job in ANALYSES), ("prune", "2025-03-30"),
    ]  # fmt: skip
    assert set(ledger(conn).values()) == {"done"}
    assert {row["learning_snapshot"]["period_key"] for row in snapshots(conn)} == {"2025-03-30"}
    # the ledger speaks of the server's clock, on which conversion_events has just ended
    assert tick(shift, lambda: NOON + timedelta(minutes=1)) == []


def test_a_period_that_a_one_off_has_done_is_done(shift_for, database_url, connect):
    add_client(connect(database_url), 1)
    assert run_worker(database_url, "all", "--as-of", "2025-03-30").code == 0
    assert periods(tick(shift_for(WORKER_SCHEDULE_CONVERSION_EVENTS="off"), lambda: NOON)) == [("prune", "2025-03-30")]


def test_while_another_process_works_on_a_day_the_jobs_after_it_wait(shift_for, database_url, connect):
    conn = connect(database_url)
    shift = shift_for(WORKER_SCHEDULE_CONVERSION_EVENTS="off")
    real, claims = worker.runner.run_jobs, []

    def another_is_quicker(*arguments):
        if not claims:
            with conn.transaction():
                claims.append(claim_run(conn, "urgency_trend", "2025-03-30", NOON.replace(hour=0), 60))
        return real(*arguments)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(worker.runner, "run_jobs", another_is_quicker)
        tick(shift, lambda: NOON)
    assert ledger(conn) == {"engagement_score": "done", "urgency_trend": "running"}
    with conn.transaction():
        finish_run(conn, claims[0], "done", {})
    assert [job for job, _ in periods(tick(shift, lambda: NOON))] == [*ANALYSES[2:], "prune"]


def test_between_ticks_no_connection_is_held(shift_for, database_url, connect):
    shift = shift_for()
    tick(shift, lambda: NOON)
    held = "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'growth-brain-worker'"
    conn = connect(database_url)
    assert conn.execute(held).fetchone()[0] > 0
    shift.database.rest()
    conn.execute("SELECT pg_sleep(0.2)")  # the server's processes need a moment to go
    assert conn.execute(held).fetchone()[0] == 0
    assert tick(shift, lambda: NOON + timedelta(days=1))  # and it works on


@pytest.mark.parametrize("server", ["embedded"], indirect=True)
@pytest.mark.parametrize(
    ("name", "catch_up"),
    [
        ("America/New_York", "latest"),
        ("Europe/Paris", "all"),
        ("Australia/Lord_Howe", "none"),
        ("Africa/Cairo", "all"),
        ("UTC", "latest"),
        ("Asia/Kathmandu", "all"),
    ],
)
def test_frozen_clock_and_random_outages(shift_for, name, catch_up, monkeypatch):
    """Ticks against the ledger, the jobs' work left out: each local day once, and what was promised is there."""
    zone, rng = ZoneInfo(name), np.random.default_rng(7)
    off = {f"WORKER_SCHEDULE_{job.upper()}": "off" for job in (*JOB_NAMES, "prune") if job != "urgency_trend"}
    shift = shift_for(WORKER_TIMEZONE=name, WORKER_CATCH_UP=catch_up, **off)
    found, up, at_hour = [], set(), set()

    def run_jobs(database, _settings, request, outlets):
        with database.write() as conn:
            (job,), period = request.jobs, local_day(request.as_of)
            lease = claim_run(conn, job, period, request.as_of, 60)
            finish_run(conn, lease, "done", {})
        found.append(date.fromisoformat(period))
        outlets.summary(JobSummary(job, period))

    monkeypatch.setattr(worker.runner, "run_jobs", run_jobs)
    days = 731 if ROUNDS else 60
    first = datetime(2024, 1, 1, 12, tzinfo=UTC) if ROUNDS else datetime(2025, 10, 20, 12, tzinfo=UTC)
    with freeze_time(first, ignore=["threading", "psycopg_pool", "psycopg"]) as clock:
        while (now := datetime.now(tz=UTC)) < first + timedelta(days=days):
            here = now.astimezone(zone)
            if here.hour >= 4 or (here.hour == 3 and here.minute >= 10):
                up.add(here.date() - timedelta(days=1))
            if (here.hour == 3 and here.minute >= 10) or (here.hour == 4 and here.minute < 10):
                at_hour.add(here.date() - timedelta(days=1))
            tick(shift, lambda now=now: now)
            outage = rng.random() < 0.05
            clock.tick(timedelta(days=float(rng.exponential(3))) if outage else timedelta(minutes=47))
    assert len(found) == len(set(found))
    every = {min(found) + timedelta(days=n) for n in range((max(found) - min(found)).days + 1)}
    assert set(found) == {"latest": up, "all": every, "none": at_hour}[catch_up]


def test_after_an_outage_longer_than_is_made_good_all_makes_good_what_it_promises(database_url, connect):
    last = NOON.replace(hour=0) - timedelta(days=200)
    settings = settings_for(database_url, WORKER_CATCH_UP="all")
    with connect(database_url).transaction() as transaction:
        conn = transaction.connection
        conn.execute("UPDATE worker.migrations SET applied_at = %s", (last,))
        finish_run(conn, claim_run(conn, "urgency_trend", local_day(last), last, 60), "done", {})
    with open_pool(settings) as database:
        known = database.retrying(lambda conn: read_recent(conn, NOON), read_only=True)
        (status,) = [
            found
            for found in database.retrying(lambda conn: read_statuses(conn, settings, NOON), read_only=True)
            if found.job == "urgency_trend"
        ]
    due = find_due(NOON, settings.timezone, timetable(settings.schedules), known, settings.catch_up)
    days = [local_day(item.as_of) for item in due if item.job == "urgency_trend"]
    assert (len(days), days[-1]) == (MOST_MISSED, "2025-03-30")
    assert list(status.late_periods) == days


def test_behind_long_work_what_is_frequent_has_its_turn(shift_for):
    """Each look at the clock finds two minutes gone."""
    shift, looks = shift_for(), itertools.count()

    def clock():
        return NOON + next(looks) * timedelta(minutes=2)

    turns = [[job for job, _ in periods(tick(shift, clock))] for _ in range(4)]
    assert turns == [["conversion_events"], ANALYSES, ["prune"], []]


def test_what_is_late_is_counted_also_where_every_tick_fails(shift_for, monkeypatch):
    """Else a figure of better days would stay."""
    shift = shift_for()

    def fail(*_):
        raise DatabaseShapeError(["a column went away"])

    monkeypatch.setattr(worker.daemon, "_run", fail)
    with pytest.raises(DatabaseShapeError):
        tick(shift, lambda: datetime.now(tz=UTC) + timedelta(days=3))
    late = shift.metrics.registry.get_sample_value("growth_worker_late_periods", {"job": "urgency_trend"})
    assert late
    assert late > 0


class Rung:
    """A clock that has always just rung."""

    def wait(self, _seconds):
        return True

    def clear(self):
        pass


@pytest.fixture
def idle_shift():
    class Resting:
        def rest(self):
            pass

    return Shift(Resting(), settings_for("postgresql://nobody@nowhere/none"), Pulse(), Metrics([]))


def test_a_database_that_stays_away_ends_the_daemon_with_1(idle_shift, monkeypatch):
    ticks = []

    def tick_without_a_database(_shift, _clock):
        ticks.append(1)
        raise DatabaseUnavailableError("away")

    monkeypatch.setattr(worker.daemon, "tick", tick_without_a_database)
    monkeypatch.setattr(worker.daemon, "AWAY_SECONDS", 0.05)
    assert worker.daemon._serve(idle_shift, Rung()) == 1
    assert len(ticks) > 1


def test_a_database_that_goes_after_long_work_has_its_five_minutes(idle_shift, monkeypatch):
    now, ticks = [1000.0], []

    def tick(_shift, _clock):
        ticks.append(now[0])
        now[0] += 7200 if len(ticks) == 1 else 60
        raise DatabaseUnavailableError("away")

    monkeypatch.setattr(worker.daemon.time, "monotonic", lambda: now[0])
    monkeypatch.setattr(worker.daemon, "tick", tick)
    assert worker.daemon._serve(idle_shift, Rung()) == 1
    assert now[0] - ticks[1] >= 240


def test_what_fails_in_a_tick_is_tried_again_at_the_next(idle_shift, monkeypatch):
    ticks = []

    def tick_that_fails(_shift, _clock):
        ticks.append(1)
        if len(ticks) < 3:
            raise DatabaseShapeError(["a column went away"])
        raise Interrupted(15)

    monkeypatch.setattr(worker.daemon, "tick", tick_that_fails)
    with pytest.raises(Interrupted):
        worker.daemon._serve(idle_shift, Rung())
    assert len(ticks) == 3


def test_a_system_clock_that_was_set_back_stops_no_ticks(idle_shift, monkeypatch):
    """The scheduler then waits until its next hour comes again: no ring for as long as the clock went back."""
    ticks, stuck, too_late = [], threading.Event(), threading.Event()

    def tick(_shift, _clock):
        ticks.append(1)
        if too_late.is_set() or len(ticks) == 3:
            raise Interrupted(15)

    monkeypatch.setattr(worker.daemon, "tick", tick)
    monkeypatch.setattr(worker.daemon, "OVERDUE_SECONDS", 0.05, raising=False)
    end = threading.Timer(5, lambda: (too_late.set(), stuck.set()))
    end.start()
    with pytest.raises(Interrupted):
        worker.daemon._serve(idle_shift, stuck)
    end.cancel()
    assert not too_late.is_set()


def test_the_clock_rings_at_once_and_then_each_minute(monkeypatch):
    monkeypatch.setattr(worker.daemon, "TICK_SECONDS", 0.2)
    with worker.daemon._clock() as rung:
        for _ in range(3):
            assert rung.wait(5)
            rung.clear()


def test_the_daemon_itself_stays_small():
    """numpy and all that comes with it are for the processes that do its errands."""
    code = "import sys, worker.daemon; sys.exit('numpy' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], cwd=PROJECT, check=False).returncode == 0


def errand(*jobs):
    return Errand(jobs, NOON.replace(hour=0), if_due=True)


def test_an_errand_is_done_by_a_process_of_its_own_that_tells_how_its_jobs_ended(database_url, connect, monkeypatch):
    conn = connect(database_url)
    add_simple_leads(conn, add_client(conn, 1), 1, 60, NOON)
    for name, value in clean_environment(database_url).items():
        monkeypatch.setenv(name, value)
    told = []
    send_out(errand("urgency_trend", "tone_distribution"), told.append, lambda: None)
    assert [(summary.job, summary.status, summary.inserted) for summary in told] == [
        ("urgency_trend", "done", 2), ("tone_distribution", "done", 2),
    ]  # fmt: skip
    told.clear()
    send_out(errand("urgency_trend"), told.append, lambda: None)
    assert told[0].status == "skipped"


def test_what_keeps_an_errand_from_its_work_is_told_by_its_kind(empty_database_url, monkeypatch):
    for name, value in clean_environment(empty_database_url).items():
        monkeypatch.setenv(name, value)
    with pytest.raises(DatabaseShapeError, match="none of the tables"):
        send_out(errand("urgency_trend"), lambda _: None, lambda: None)
    monkeypatch.setenv("DATABASE_URL", "host=127.0.0.1 port=1 dbname=none")
    monkeypatch.setenv("WORKER_DATABASE_WAIT_SECONDS", "0")
    with pytest.raises(DatabaseUnavailableError, match="did not answer"):
        send_out(errand("urgency_trend"), lambda _: None, lambda: None)


def test_an_errand_whose_process_is_killed_is_no_end_of_the_daemon(monkeypatch):
    monkeypatch.setattr(worker.errand.sys, "executable", "/bin/false")
    with pytest.raises(WorkerError, match="exit code 1"):
        send_out(errand("urgency_trend"), lambda _: None, lambda: None)


def pretend(monkeypatch, tmp_path, script):
    """Let this be what does errands."""
    program = tmp_path / "python"
    program.write_text(f"#!{sys.executable}\nimport os, signal, sys, time\n{script}\n")
    program.chmod(0o755)
    monkeypatch.setattr(worker.errand.sys, "executable", str(program))


def test_an_errand_that_is_killed_while_it_speaks_or_cannot_start_is_no_end_of_the_daemon(monkeypatch, tmp_path):
    pretend(monkeypatch, tmp_path, """os.write(1, b'{"job": "urgency'); os.kill(os.getpid(), signal.SIGKILL)""")
    with pytest.raises(WorkerError, match="ended by SIGKILL"):
        send_out(errand("urgency_trend"), lambda _: None, lambda: None)
    monkeypatch.setattr(worker.errand.sys, "executable", str(tmp_path / "gone"))
    with pytest.raises(WorkerError, match="no process could be started to run urgency_trend"):
        send_out(errand("urgency_trend"), lambda _: None, lambda: None)


def test_an_errand_that_fails_while_it_is_called_off_does_not_keep_the_daemon_from_stopping(monkeypatch, tmp_path):
    """As where the database is stopped at the same time."""
    script = """
def fail(*_):
    print('{"error": "DatabaseUnavailableError", "problems": ["away"]}', flush=True)
    sys.exit(0)

signal.signal(signal.SIGTERM, fail)
print('{"retry": 1}', flush=True)
time.sleep(20)
"""
    pretend(monkeypatch, tmp_path, script)

    def stop():
        raise Interrupted(15)

    with pytest.raises(Interrupted):
        send_out(errand("urgency_trend"), lambda _: None, stop)
