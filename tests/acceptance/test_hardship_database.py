"""The database goes away, is slow, or is lost at the worst moment: each run ends done, or says why it did not."""

import time

import pytest
from crashing_server import crashing_server
from hardship import (
    DAY,
    chance,
    ensure_no_traceback,
    left_in,
    many_jobs,
    prepare_trial,
    rounds,
    run_to_the_end,
    started,
    statuses,
)
from proxy import proxied

ALL = (*many_jobs(), "--as-of", DAY, "--shards", 3, "--json")
WAIT_SECONDS = "20"


@pytest.fixture(scope="module")
def server():
    with crashing_server() as running:
        yield running


@pytest.fixture(scope="module")
def trial(server):
    return prepare_trial(server, ALL, n_clients=8, n_leads=12)


def ensure_done_or_told(outcome):
    """It is done, and counts each row once; or its end says why, in a sentence and without a traceback."""
    ensure_no_traceback(outcome.out)
    if outcome.code == 0:
        assert set(statuses(outcome)) == {"done"}
        return
    assert outcome.code == 1, outcome
    assert any(word in outcome.err + outcome.out for word in ("was lost", "did not answer", "took over")), outcome


def ensure_rerun_completes(trial, url):
    """Whatever there is now, another run makes it what it had to be."""
    again = run_to_the_end(url, *ALL)
    assert again.code == 0, again.err
    left_in(url).ensure_like(trial.undisturbed)


def inserted(outcome):
    return sum(job["inserted"] for job in outcome.json["jobs"])


def test_a_server_that_crashes_and_comes_back(trial, server):
    moments, n_done = chance("crash"), 0
    for _ in range(rounds(2)):
        with trial.fresh() as url:
            with started(url, *ALL, WORKER_DATABASE_WAIT_SECONDS=WAIT_SECONDS) as worker:
                time.sleep(moments.uniform(0, trial.seconds))
                server.crash()
                time.sleep(moments.uniform(0, 1))
                server.start()
                outcome = worker.outcome()
            ensure_done_or_told(outcome)
            if outcome.code == 0:
                n_done += 1
                left_in(url).ensure_like(trial.undisturbed)
            ensure_rerun_completes(trial, url)
    assert n_done > 0, "no run survived the server's return"


def test_a_server_that_stays_away(trial, server):
    with trial.fresh() as url, started(url, *ALL, WORKER_DATABASE_WAIT_SECONDS="1", WORKER_LEASE_SECONDS="1") as worker:
        time.sleep(trial.seconds / 3)
        server.crash()
        try:
            outcome = worker.outcome(30)
        finally:
            server.start()
        assert outcome.code == 1
        ensure_done_or_told(outcome)
        ensure_rerun_completes(trial, url)


@pytest.fixture(scope="module")
def n_commits(trial):
    """How often an undisturbed run commits; reading transactions end so, too."""
    with trial.fresh() as url, proxied(url) as proxy:
        assert run_to_the_end(proxy.url, *ALL).code == 0
        return proxy.commits


def some_commits(name, n_commits, few):
    """Draw some of them by number, none twice before each had its turn."""
    moments, drawn = chance(name), []
    while len(drawn) < rounds(few):
        drawn += moments.sample(range(1, n_commits + 1), n_commits)
    return drawn[: rounds(few)]


@pytest.mark.parametrize("moment", ["before", "after"])
def test_a_connection_cut_at_commit(trial, n_commits, moment):
    """Nobody tells the run whether that transaction was committed; its counts are right all the same."""
    for number in some_commits(f"cut {moment}", n_commits, 2):
        with trial.fresh() as url, proxied(url) as proxy:
            getattr(proxy, f"cut_{moment}_commit")(number)
            outcome = run_to_the_end(proxy.url, *ALL, WORKER_DATABASE_WAIT_SECONDS=WAIT_SECONDS)
            assert proxy.done.is_set(), f"the run committed only {proxy.commits} times"
            assert (outcome.code, set(statuses(outcome))) == (0, {"done"}), (number, outcome)
            left_in(url).ensure_like(trial.undisturbed)
            assert inserted(outcome) == trial.inserted, (number, outcome)


def test_a_slow_line(trial):
    with trial.fresh() as url, proxied(url) as proxy:
        proxy.delay_seconds = 0.005
        outcome = run_to_the_end(proxy.url, *ALL)
        assert outcome.code == 0, outcome.err
        left_in(url).ensure_like(trial.undisturbed)


def test_a_line_that_is_silent_for_a_while(trial, n_commits):
    """The answers come late; meanwhile the lease runs out, and the run goes on or says that it lost it."""
    for number in some_commits("hole", n_commits, 1):
        with trial.fresh() as url, proxied(url) as proxy:
            proxy.hole_at_commit(number, 2.0)
            outcome = run_to_the_end(
                proxy.url, *ALL, WORKER_DATABASE_WAIT_SECONDS=WAIT_SECONDS, WORKER_LEASE_SECONDS="1"
            )
            assert proxy.done.is_set()
            ensure_done_or_told(outcome)
            if outcome.code == 0:
                left_in(url).ensure_like(trial.undisturbed)
            ensure_rerun_completes(trial, url)


@pytest.mark.slow
def test_a_line_that_goes_dead(trial, n_commits):
    """Nothing is ever answered again: the run ends by itself in a bounded time, and says that the database is gone."""
    with trial.fresh() as url, proxied(url) as proxy:
        proxy.hole_at_commit(n_commits // 2, 600)
        limits = {"WORKER_STATEMENT_TIMEOUT_SECONDS": "2", "WORKER_LOCK_TIMEOUT_SECONDS": "2"}
        outcome = run_to_the_end(proxy.url, *ALL, WORKER_DATABASE_WAIT_SECONDS="2", WORKER_LEASE_SECONDS="1", **limits)
        assert outcome.code == 1, outcome
        ensure_done_or_told(outcome)
        proxy.close()
        ensure_rerun_completes(trial, url)
