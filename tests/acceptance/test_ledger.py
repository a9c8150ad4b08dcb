"""The ledger: claims, ends and shares of a run, each as good twice as once, and none under an old token."""

from contextlib import contextmanager
from datetime import UTC, datetime, timedelta

import psycopg
import pytest
from conftest import settings_for
from structlog.testing import capture_logs
from support import add_client, add_simple_leads, snapshots

import worker.chore
import worker.prune
import worker.runner
from worker.database.pool import Database, open_pool
from worker.errand import Errand, do_errand
from worker.errors import LeaseLostError
from worker.ledger import claim_run, finish_run, note_shard, read_periods, read_shard, release_run, renew_lease
from worker.request import Request
from worker.runner import Outlets, run_jobs
from worker.stopping import Interrupted

JOB, DAY = "urgency_trend", "2025-03-30"
AS_OF = datetime(2025, 3, 31, tzinfo=UTC)


@pytest.fixture
def conn(database_url, connect):
    return connect(database_url)


def claim(conn, **options):
    return claim_run(conn, JOB, DAY, AS_OF, 60, **options)


def run_row(conn):
    return conn.execute("SELECT status, attempts FROM worker.runs WHERE shard = -1").fetchone()


def test_a_run_is_claimed_once(conn):
    first = claim(conn)
    assert claim(conn) is None
    assert run_row(conn) == ("running", 1)
    renew_lease(conn, first, 60)


def test_a_claim_whose_answer_was_lost_is_made_again_by_the_same_process_only(conn):
    first = claim(conn)
    again = claim(conn, again=True)
    assert again.token == first.token + 1
    assert run_row(conn) == ("running", 1)
    conn.execute("UPDATE worker.runs SET holder = 'another:1:beef'")
    assert claim(conn, again=True) is None


def test_to_end_a_run_twice_is_to_end_it_once_and_an_end_is_not_rewritten(conn):
    lease = claim(conn)
    finish_run(conn, lease, "done", {"clients": 3})
    finish_run(conn, lease, "done", {"clients": 3})
    with pytest.raises(LeaseLostError):
        finish_run(conn, lease, "failed", {})
    assert not release_run(conn, JOB, DAY)
    assert run_row(conn) == ("done", 1)


def test_a_run_that_was_called_off_is_free_and_counts_as_no_attempt(conn):
    claim(conn)
    assert release_run(conn, JOB, DAY)
    assert run_row(conn) == ("released", 0)
    assert claim(conn) is not None
    assert run_row(conn) == ("running", 1)


def test_failed_attempts_are_counted_until_one_is_done(conn):
    for number in (1, 2, 3):
        finish_run(conn, claim(conn), "failed", {}, "why")
        assert run_row(conn) == ("failed", number)
    finish_run(conn, claim(conn), "done", {})
    assert run_row(conn) == ("done", 4)
    claim(conn)
    assert run_row(conn) == ("running", 1)


def test_the_last_success_is_known_while_the_next_attempt_runs(conn):
    def succeeded():
        return conn.execute("SELECT succeeded_at IS NOT NULL FROM worker.runs WHERE shard = -1").fetchone()[0]

    finish_run(conn, claim(conn), "failed", {})
    assert not succeeded()
    finish_run(conn, claim(conn), "done", {})
    claim(conn)
    assert succeeded()


@pytest.mark.parametrize("hours", [-1, 0, 1])
def test_when_a_run_ended_is_told_by_the_clock_that_asks(conn, hours):
    """Machines differ; by the server's clock a job every five minutes would rest for an hour."""
    finish_run(conn, claim(conn), "done", {})
    ours = datetime.now(UTC) + timedelta(hours=hours)
    past = read_periods(conn, DAY, ours)[JOB, DAY]
    assert (past.status, past.as_of, past.attempts, past.held) == ("done", AS_OF, 1, False)
    assert timedelta(0) <= ours - past.ended_at < timedelta(seconds=30)


def test_shares_are_known_under_their_token_and_swept_at_the_end(conn):
    lease = claim(conn)
    written = {"inserted": 3, "updated": 2, "deleted": 1}
    note_shard(conn, lease, 0, written)
    assert read_shard(conn, lease, 0) == written
    assert read_shard(conn, lease, 1) is None
    conn.execute("UPDATE worker.runs SET lease_until = now() - interval '1 second' WHERE shard = -1")
    later = claim(conn)
    assert read_shard(conn, later, 0) is None
    finish_run(conn, later, "done", {})
    assert conn.execute("SELECT count(*) FROM worker.runs").fetchone() == (1,)


def test_a_connection_lost_after_the_commit_changes_nothing_of_what_is_told(database_url, conn, monkeypatch):
    """Every write transaction is committed, and then answered by a broken connection, once."""
    client = add_client(conn, 1)
    add_simple_leads(conn, client, 1, 60, AS_OF)
    real, lost = Database.write, []

    @contextmanager
    def losing(self):
        with real(self) as writing:
            yield writing
        lost.append(len(lost))
        if len(lost) % 2:
            raise psycopg.OperationalError("consuming input failed: server closed the connection unexpectedly")

    monkeypatch.setattr(Database, "write", losing)
    with open_pool(settings_for(database_url)) as database:
        request = Request((JOB,), AS_OF, wait_seconds=0)
        (summary,) = run_jobs(database, database.settings, request, Outlets())
    assert len(lost) >= 8  # the claim, the model, two shares and the end, each twice
    assert (summary.status, summary.inserted, summary.unchanged) == ("done", 2, 0)
    assert run_row(conn) == ("done", 1)
    assert len(snapshots(conn)) == 2


@pytest.mark.parametrize("job", [JOB, "prune"])
def test_a_signal_while_a_failure_is_noted_gives_the_run_back(database_url, conn, monkeypatch, job):
    """Else whoever comes next would wait until the lease runs out."""

    def fail(*_):
        raise RuntimeError("planted")

    def signal_comes(*_):
        raise Interrupted(15)

    monkeypatch.setattr(worker.runner._Work, "do", fail)
    monkeypatch.setattr(worker.prune._Pruning, "do", fail)
    for module in (worker.runner, worker.chore):
        monkeypatch.setattr(module, "finish_run", signal_comes)
    with open_pool(settings_for(database_url)) as database, pytest.raises(Interrupted):
        do_errand(database, database.settings, Errand((job,), AS_OF, if_due=False), lambda _: None)
    assert conn.execute("SELECT job, status, attempts FROM worker.runs").fetchall() == [(job, "released", 0)]


@pytest.mark.parametrize(("ahead", "told"), [(timedelta(0), []), (timedelta(days=1), ["clock.ahead"])])
def test_a_clock_that_runs_ahead_of_the_databases_is_told(database_url, ahead, told):
    with open_pool(settings_for(database_url)) as database, capture_logs() as events:
        run_jobs(database, database.settings, Request((JOB,), datetime.now(UTC) + ahead), Outlets())
    assert [event["event"] for event in events if event["log_level"] == "warning"] == told
