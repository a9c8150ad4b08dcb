"""A daemon that is told to stop, or is killed, in the midst of its work: the next one does the rest."""

import os
import signal
import time
from datetime import UTC, datetime, timedelta

import psycopg
import pytest
from daemons import BLOCKED, OURS, SCHEDULED, running_daemon, wait_for_backend
from hardship import add_world, chance, rounds, run_to_the_end, statuses

pytestmark = pytest.mark.parametrize("server", ["embedded"], indirect=True)  # nothing here depends on the version
GRACE_SECONDS = 10
N_CLIENTS = 8
WRITTEN = """
SELECT count(*), count(DISTINCT client_id) + 1 FROM growth_brain
WHERE event_type = 'engagement_score' AND learning_snapshot ->> 'period_key' = %s
"""


@pytest.fixture
def url(server):
    """A database with leads up to now, since a daemon looks at the clock."""
    made = server.create_database(server.template)
    with psycopg.connect(made, autocommit=True) as conn:
        add_world(conn, N_CLIENTS, 12, datetime.now(tz=UTC))
    yield made
    server.drop_database(made)


def ensure_the_next_finishes(url, conn):
    """A run by hand finds no period held, does what is missing, and there is one row of each."""
    yesterday = (datetime.now(tz=UTC) - timedelta(days=1)).date().isoformat()
    outcome = run_to_the_end(url, *SCHEDULED, "--as-of", yesterday, "--if-due", "--wait", 0, "--json")
    assert outcome.code == 0, outcome
    assert set(statuses(outcome)) <= {"done", "skipped"}
    assert conn.execute(WRITTEN, [yesterday]).fetchone() == (N_CLIENTS + 1, N_CLIENTS + 1)  # and all together


def running(conn):
    return conn.execute("SELECT count(*) FROM worker.runs WHERE status = 'running' AND lease_until > now()").fetchone()


def test_stopped_at_any_moment_it_leaves_the_rest_to_the_next(url, connect):
    moments, conn = chance("daemon"), connect(url)
    for _ in range(rounds(1)):
        conn.execute("TRUNCATE growth_brain, worker.runs, worker.models, worker.adoptions, worker.watermarks")
        with running_daemon(url, WORKER_GRACE_SECONDS=str(GRACE_SECONDS)) as daemon:
            wait_for_backend(conn, OURS)
            time.sleep(moments.uniform(0, 3))
            took, err = daemon.told_to_stop()
            assert daemon.process.returncode == 0, err
            assert took < GRACE_SECONDS
        assert running(conn) == (0,)
        ensure_the_next_finishes(url, conn)


def test_told_to_stop_it_does_not_wait_for_a_lock(url, connect):
    conn, blocker = connect(url), connect(url)
    with blocker.transaction(), running_daemon(url) as daemon:
        blocker.execute("LOCK TABLE growth_brain IN SHARE MODE")
        wait_for_backend(conn, BLOCKED)
        took, err = daemon.told_to_stop()
        assert daemon.process.returncode == 0, err
        assert took < 8  # it would wait 10 s for it
        unfinished = conn.execute("SELECT DISTINCT status FROM worker.runs WHERE status <> 'done'").fetchall()
        assert unfinished == [("released",)]
    ensure_the_next_finishes(url, conn)


@pytest.mark.parametrize(("signals", "grace_seconds", "most_seconds"), [(1, 8, 8), (2, 60, 8)])
def test_a_server_that_does_not_answer_does_not_keep_it(url, connect, signals, grace_seconds, most_seconds):
    """The grace at most; after a second signal not even that. What worked for it goes with it."""
    conn, blocker = connect(url), connect(url)
    limits = {"WORKER_GRACE_SECONDS": str(grace_seconds), "WORKER_LEASE_SECONDS": "1"}
    with blocker.transaction(), running_daemon(url, **limits) as daemon:
        blocker.execute("LOCK TABLE growth_brain IN SHARE MODE")
        backend = wait_for_backend(conn, BLOCKED)
        os.kill(backend, signal.SIGSTOP)
        try:
            if signals == 2:
                daemon.process.send_signal(signal.SIGTERM)
                time.sleep(0.5)
                assert daemon.process.poll() is None  # it waits for the server, as it may for a minute
            took, err = daemon.told_to_stop()
        finally:
            os.kill(backend, signal.SIGCONT)
        assert daemon.process.returncode == 0, err
        assert took < most_seconds
    time.sleep(1.1)  # the lease
    ensure_the_next_finishes(url, conn)


def test_killed_it_takes_its_work_with_it(url, connect):
    """Nothing goes on under the lease of a daemon that is gone; when it has run out, the next one does the work."""
    conn, blocker = connect(url), connect(url)
    with blocker.transaction(), running_daemon(url, WORKER_LEASE_SECONDS="1") as daemon:
        blocker.execute("LOCK TABLE growth_brain IN SHARE MODE")
        wait_for_backend(conn, BLOCKED)
        daemon.told_to_stop(signal.SIGKILL)
        time.sleep(1.5)
        assert running(conn) == (0,)  # nobody renews it
    ensure_the_next_finishes(url, conn)
