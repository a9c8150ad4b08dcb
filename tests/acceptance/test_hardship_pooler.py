"""Behind PgBouncer in transaction mode, as a member of growth_worker: all, when due, at once, killed, stopped."""

import json
import signal
import time
from contextlib import ExitStack

import psycopg
import pytest
from conftest import LOGIN_ROLE, as_role
from hardship import DAY, left_in, many_jobs, prepare_trial, run_to_the_end, started, statuses
from pooler import PGBOUNCER, pooled

pytestmark = [
    pytest.mark.parametrize("server", ["embedded"], indirect=True),  # nothing here depends on the version
    pytest.mark.skipif(not PGBOUNCER.exists(), reason=f"no PgBouncer: {PGBOUNCER} (Debian: apt install pgbouncer)"),
]
ALL = (*many_jobs(), "--as-of", DAY, "--shards", 3, "--json")
BLOCKED = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"


@pytest.fixture(scope="module")
def trial(server):
    return prepare_trial(server, ALL, n_clients=8, n_leads=12)


@pytest.fixture(scope="module")
def pooler(server):
    # fewer places than two workers may want: transactions of one change connections between them
    with pooled(server.conninfo, pool_size=3) as running:
        yield running


@pytest.fixture
def doors(trial, pooler):
    """A fresh database: its own address, and the one that the worker has."""
    with trial.fresh() as url:
        yield url, pooler.through(as_role(url, LOGIN_ROLE))


def wait_until_blocked(url):
    with psycopg.connect(url, autocommit=True) as conn:
        deadline = time.monotonic() + 30
        while conn.execute(BLOCKED).fetchone() == (0,):
            assert time.monotonic() < deadline
            time.sleep(0.02)


def backend_of(conn):
    return conn.execute("SELECT pg_backend_pid()").fetchone()


def test_the_door_is_a_pooler(doors):
    """Otherwise the tests below would prove nothing: two transactions of one session are of two of the server's."""
    with (
        psycopg.connect(doors[1], prepare_threshold=None) as one,
        psycopg.connect(doors[1], prepare_threshold=None) as other,
    ):
        before = backend_of(one)
        one.commit()
        assert backend_of(other) == before  # the place that the first one left, and keeps
        assert backend_of(one) != before


def test_everything_and_again(doors, trial):
    url, through = doors
    assert run_to_the_end(through, "check").code == 0
    first = run_to_the_end(through, *ALL)
    assert first.code == 0, first
    left_in(url).ensure_like(trial.undisturbed)
    again = run_to_the_end(through, *ALL)
    assert [job["inserted"] + job["updated"] + job["deleted"] for job in json.loads(again.out)["jobs"]] == [0] * len(
        statuses(first)
    )
    due = run_to_the_end(through, *ALL, "--if-due")
    assert set(statuses(due)) == {"skipped"}
    for command in (("status", "--json"), ("models", "--json"), ("accuracy", "--as-of", DAY, "--json")):
        outcome = run_to_the_end(through, *command)
        assert outcome.code in (0, 1), outcome
        json.loads(outcome.out)


def test_two_at_once(doors, trial):
    url, through = doors
    with ExitStack() as stack:
        workers = [stack.enter_context(started(through, *ALL)) for _ in range(2)]
        outcomes = [worker.outcome() for worker in workers]
    assert [outcome.code for outcome in outcomes] == [0, 0], outcomes
    left_in(url).ensure_like(trial.undisturbed)


def test_killed_and_done_by_the_next(doors, trial):
    url, through = doors
    with psycopg.connect(url) as blocker, started(through, *ALL, WORKER_LEASE_SECONDS="1") as worker:
        blocker.execute("LOCK TABLE growth_brain IN SHARE MODE")
        wait_until_blocked(url)
        worker.signal(signal.SIGKILL)
        worker.outcome()
    time.sleep(1.1)
    outcome = run_to_the_end(through, *ALL, "--if-due", "--wait", 0)
    assert outcome.code == 0, outcome
    assert set(statuses(outcome)) == {"done"}
    left_in(url).ensure_like(trial.undisturbed)


def test_a_stop_cancels_through_the_pooler(doors, trial):
    """The statement that waits for a lock is called off on the server, and the run given back."""
    url, through = doors
    with psycopg.connect(url) as blocker, started(through, *ALL) as worker:
        blocker.execute("LOCK TABLE growth_brain IN SHARE MODE")
        wait_until_blocked(url)
        worker.signal(signal.SIGTERM)
        asked = time.monotonic()
        outcome = worker.outcome()
        assert outcome.code == 128 + signal.SIGTERM, outcome
        assert time.monotonic() - asked < 5
        assert blocker.execute(BLOCKED).fetchone() == (0,)
    outcome = run_to_the_end(through, *ALL, "--if-due", "--wait", 0)
    assert outcome.code == 0, outcome
    assert "held" not in statuses(outcome)
    left_in(url).ensure_like(trial.undisturbed)
