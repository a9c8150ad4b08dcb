"""`status` and `health` on a real ledger: what they say, their exit codes, and how little `health` needs."""

import subprocess
import sys
import time
from datetime import UTC, datetime, timedelta

import pytest
from conftest import settings_for
from support import PROJECT, add_client, clean_environment, finished, insert, run_worker, start_worker

from worker.calendar import MOST_ATTEMPTS
from worker.database.pool import open_pool
from worker.ledger import claim_run, finish_run
from worker.readiness import read_reliability, read_statuses

CLIENT = "550e8400-e29b-41d4-a716-446655440000"
HOUR, DAY = timedelta(hours=1), timedelta(days=1)
DAILY_JOBS = (
    "engagement_score", "urgency_trend", "tone_distribution", "pattern_detection", "conversion_prediction",
    "accuracy_review", "prune",
)  # fmt: skip


@pytest.fixture
def conn(database_url, connect):
    return connect(database_url)


def long_installed(conn):
    conn.execute("UPDATE worker.migrations SET applied_at = now() - interval '90 days'")


def run_row(conn, job, period, status="done", **columns):
    """Put a row into the ledger as a run would leave it."""
    end = datetime.combine(period + DAY, datetime.min.time(), tzinfo=UTC)
    values = {"as_of": end, "started_at": end, "finished_at": end, "attempts": 1, **columns}
    insert(conn, "runs", job=job, period_key=period.isoformat(), shard=-1, status=status, **values)


def all_well(conn):
    """A ledger in which yesterday, and what should be done today, is done."""
    conn.execute("SET search_path = worker, public")
    now = datetime.now(UTC)
    for job in DAILY_JOBS:
        for days in (1, 2):
            run_row(conn, job, now.date() - days * DAY)
    run_row(conn, "conversion_events", now.date(), as_of=now, finished_at=now)


def jobs_of(outcome):
    return {job["job"]: job for job in outcome.json["jobs"]}


def test_a_new_database_has_nothing_late(worker_url):
    outcome = run_worker(worker_url, "status", "--json")
    assert (outcome.code, outcome.json["status"]) == (0, "ok")
    assert {job["state"] for job in outcome.json["jobs"]} == {"never_ran"}
    assert list(jobs_of(outcome)) == ["conversion_events", *DAILY_JOBS]
    assert run_worker(worker_url, "health").code == 0


def test_what_nobody_ran_on_an_old_database_is_late(worker_url, conn):
    long_installed(conn)
    outcome = run_worker(worker_url, "status")
    assert outcome.code == 1
    assert "engagement_score" in outcome.out
    assert "Nobody runs it: is the daemon (python -m worker), or cron, running" in outcome.out
    health = run_worker(worker_url, "health")
    assert health.code == 1
    assert health.out.startswith("not ready: late are ")
    assert len(health.out.splitlines()) == 1


def test_a_real_run_is_the_last_success_and_stays_it_while_the_next_attempt_fails(worker_url, conn):
    add_client(conn, 1)
    began = datetime.now(UTC)
    assert run_worker(worker_url, "conversion_events").code == 0
    with open_pool(settings_for(worker_url)) as database:

        def events():
            statuses = database.retrying(
                lambda c: read_statuses(c, database.settings, datetime.now(UTC)), read_only=True
            )
            return next(status for status in statuses if status.job == "conversion_events")

        done = events()
        assert began - timedelta(seconds=2) < done.last_success < datetime.now(UTC) + timedelta(seconds=2)
        assert (done.state, done.attempts) == ("done", 1)
        with database.write() as c:
            lease = claim_run(c, "conversion_events", done.period_key, datetime.now(UTC), 60)
        running = events()
        assert (running.state, running.last_success) == ("running", done.last_success)
        assert running.holder
        with database.write() as c:
            finish_run(c, lease, "failed", {"failed_clients": [CLIENT]}, "1 client(s) failed")
        failed = events()
        assert (failed.state, failed.last_success) == ("waiting", done.last_success)
        assert failed.failure.failed_clients == (CLIENT,)


def test_a_dead_job_is_told_with_its_reason_its_clients_and_what_to_do(worker_url, conn):
    long_installed(conn)  # after midnight the newest day may have ended before this database was made
    all_well(conn)
    assert run_worker(worker_url, "status").code == 0
    assert run_worker(worker_url, "health").out == "ready: the database answers and nothing is late\n"
    now = datetime.now(UTC)
    for days in (1, 2):  # before 03:00 the newest day is the one before yesterday
        conn.execute(
            "UPDATE worker.runs SET status = 'failed', attempts = %s, error = %s, counts = %s, finished_at = %s"
            " WHERE job = 'urgency_trend' AND period_key = %s",
            [MOST_ATTEMPTS, "1 client(s) failed", f'{{"failed_clients": ["{CLIENT}"]}}', now,
             (now.date() - days * DAY).isoformat()],
        )  # fmt: skip
    outcome = run_worker(worker_url, "status")
    assert outcome.code == 1
    assert f"failed after {MOST_ATTEMPTS} attempts: 1 client(s) failed\n  client {CLIENT}\n" in outcome.out
    assert "Mend the cause, then run: python -m worker.run urgency_trend --as-of" in outcome.out
    as_json = run_worker(worker_url, "status", "--json")
    assert as_json.code == 1
    assert [job for job, found in jobs_of(as_json).items() if found["dead"]] == ["urgency_trend"]
    assert jobs_of(as_json)["urgency_trend"]["failure"]["failed_clients"] == [CLIENT]


def test_old_successes_are_still_told(worker_url, conn):
    conn.execute("SET search_path = worker, public")
    long_ago = datetime.now(UTC).date() - 400 * DAY
    run_row(conn, "engagement_score", long_ago)
    outcome = run_worker(worker_url, "status", "--json")
    assert jobs_of(outcome)["engagement_score"]["last_success_period"] == long_ago.isoformat()
    assert (long_ago + DAY).isoformat() in run_worker(worker_url, "status").out


def test_times_are_those_of_the_workers_zone(worker_url, conn):
    all_well(conn)
    outcome = run_worker(worker_url, "status", "--json", WORKER_TIMEZONE="Asia/Kolkata", WORKER_SCHEDULE_PRUNE="off")
    assert outcome.json["now"].endswith("+05:30")
    assert (
        jobs_of(outcome)["engagement_score"]["next"].endswith("T03:00:00+05:30")
        or (jobs_of(outcome)["engagement_score"]["due"])
    )
    assert jobs_of(outcome)["prune"]["state"] == "off"


def test_reliability_is_that_of_the_newest_review_of_all_clients(worker_url, conn):
    def review(day, client_id, said):
        jobs = {
            "pattern_detected": {"resolved": 10, "mean_said": said, "mean_right": 0.6},
            "conversion": {"resolved": 1, "mean_said": 1.0, "mean_right": 1.0},
            "reversion": {"resolved": 3, "mean_said": 0.6, "mean_right": 0.2},
            "urgency_trend": {"resolved": 0, "mean_said": None, "mean_right": None},
        }
        content = {"period_key": f"2025-03-{day}", "claim_key": "all", "jobs": jobs}
        insert(conn, "growth_brain", client_id=client_id, event_type="accuracy_review", learning_snapshot=content,
               confidence=0.5, created_at=datetime(2025, 3, day, tzinfo=UTC))  # fmt: skip

    review(10, None, 0.9)
    review(12, None, 0.8)
    review(13, add_client(conn, 1), 0.1)
    with open_pool(settings_for(worker_url)) as database:
        found = {item.job: item for item in database.retrying(read_reliability, read_only=True)}
    assert list(found) == ["conversion_events", "pattern_detection"]
    assert (found["pattern_detection"].said, found["pattern_detection"].right) == (0.8, 0.6)
    events = found["conversion_events"]
    assert (events.decided, round(events.said, 9), round(events.right, 9)) == (4, 0.7, 0.4)


def test_status_of_an_empty_database_says_what_is_missing(empty_database_url):
    outcome = run_worker(empty_database_url, "status")
    assert outcome.code == 3
    assert "migrate" in outcome.err


@pytest.mark.parametrize("arguments", [(), ("--ready",)])
def test_health_without_a_database_or_an_endpoint_is_a_line_and_exit_1(arguments):
    url = "postgresql://nobody:hunter2@127.0.0.1:1/none"
    began = time.monotonic()
    outcome = run_worker(url, "health", *arguments)
    assert outcome.code == 1
    assert len(outcome.err.splitlines()) == 1
    assert "hunter2" not in outcome.out + outcome.err
    assert time.monotonic() - began < 10
    closed = run_worker(None, "health", *arguments, WORKER_HTTP="127.0.0.1:1")
    assert (closed.code, closed.err) == (1, "")
    assert closed.out.startswith("no answer from 127.0.0.1, port 1: ")


def test_a_wrong_address_is_a_wrong_setting():
    assert run_worker(None, "health", WORKER_HTTP="nonsense").code == 2


def test_health_at_an_endpoint_loads_nothing_heavy():
    """It runs twice a minute beside a daemon that is to need next to nothing."""
    program = (
        "import sys; from worker.run import main; code = main(['health']);"
        "heavy = {'numpy', 'psycopg', 'structlog', 'prometheus_client', 'rich', 'scipy'} & set(sys.modules);"
        "print(code, sorted(heavy))"
    )
    environment = clean_environment(None, WORKER_HTTP="127.0.0.1:1", WORKER_SCHEDULE_PRUNE="off")
    found = subprocess.run(
        [sys.executable, "-c", program], cwd=PROJECT, env=environment, capture_output=True, text=True, check=True
    )
    assert found.stdout.splitlines()[-1] == "1 []"


@pytest.mark.parametrize("server", ["embedded"], indirect=True)
def test_status_is_a_command_of_its_own_process(worker_url):
    outcome = finished(start_worker(worker_url, "status"))
    assert (outcome.code, outcome.err) == (0, "")
    assert max(map(len, outcome.out.splitlines())) <= 80


def test_clocks_that_differ_are_told(worker_url, monkeypatch):
    assert "clock" not in run_worker(worker_url, "status").out
    monkeypatch.setattr("worker.database.shortcomings.LARGEST_CLOCK_SKEW_SECONDS", -1.0)
    assert "This machine's clock and the database's differ by " in run_worker(worker_url, "status").out
