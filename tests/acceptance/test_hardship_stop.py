"""SIGTERM at random moments: a run ends within the grace, and the next one has nothing to wait for."""

import os
import signal
import time
from contextlib import contextmanager

import pytest
from daemons import BLOCKED, wait_for_backend
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

pytestmark = pytest.mark.parametrize("server", ["embedded"], indirect=True)  # nothing here depends on the version
ALL = (*many_jobs(), "--as-of", DAY, "--shards", 3, "--json")
GRACE_SECONDS = 10


@pytest.fixture(scope="module")
def trial(server):
    return prepare_trial(server, ALL, n_clients=8, n_leads=12)


def go_on(url, *options):
    """What the next run finds: it may have to do the rest, and nothing is held."""
    outcome = run_to_the_end(url, *ALL, "--if-due", "--wait", 0, *options)
    assert outcome.code == 0, outcome
    assert set(statuses(outcome)) <= {"done", "skipped"}, outcome.out


def test_a_run_stopped_at_any_moment_is_given_back(trial):
    moments = chance("stop")
    for _ in range(rounds(2)):
        with trial.fresh() as url:
            with started(url, *ALL, WORKER_GRACE_SECONDS=str(GRACE_SECONDS)) as worker:
                time.sleep(moments.uniform(0, trial.seconds))
                worker.signal(signal.SIGTERM)
                asked = time.monotonic()
                outcome = worker.outcome()
                took = time.monotonic() - asked
            # -SIGTERM: before it could set a handler
            assert outcome.code in (0, 128 + signal.SIGTERM, -signal.SIGTERM), outcome
            assert took < GRACE_SECONDS
            ensure_no_traceback(outcome.err)
            go_on(url)
            left_in(url).ensure_like(trial.undisturbed)


@contextmanager
def run_with_a_frozen_backend(trial, connect, grace_seconds):
    """A run that waits for a lock, on a connection whose other end is stopped there: nothing can cancel it."""
    with trial.fresh() as url:
        watcher, blocker = connect(url), connect(url)
        with blocker.transaction():
            blocker.execute("LOCK TABLE growth_brain IN SHARE MODE")
            with started(url, *ALL, WORKER_GRACE_SECONDS=str(grace_seconds), WORKER_LEASE_SECONDS="1") as worker:
                backend = wait_for_backend(watcher, BLOCKED)
                os.kill(backend, signal.SIGSTOP)
                try:
                    yield worker
                finally:
                    os.kill(backend, signal.SIGCONT)
        # what the stopped backend held goes with its connection, and the lease runs out
        time.sleep(1.1)
        go_on(url)
        left_in(url).ensure_like(trial.undisturbed)


def test_a_server_that_does_not_answer_delays_the_end_by_the_grace_at_most(trial, connect):
    with run_with_a_frozen_backend(trial, connect, 8) as worker:
        worker.signal(signal.SIGTERM)
        asked = time.monotonic()
        outcome = worker.outcome(30)
        assert outcome.code == 128 + signal.SIGTERM, outcome
        assert time.monotonic() - asked < 8


def test_a_second_signal_ends_it_at_once(trial, connect):
    with run_with_a_frozen_backend(trial, connect, 60) as worker:
        worker.signal(signal.SIGTERM)
        time.sleep(0.5)
        assert worker.process.is_alive()  # it waits for the server, as it may for a minute
        worker.signal(signal.SIGTERM)
        asked = time.monotonic()
        outcome = worker.outcome(30)
        assert outcome.code == 128 + signal.SIGTERM, outcome
        assert time.monotonic() - asked < 8
