"""Runs killed at random moments, one after the other on the same database, and then run to the end."""

import signal
import time

import pytest
from hardship import DAY, chance, left_in, prepare_trial, rounds, run_to_the_end, started, statuses

pytestmark = pytest.mark.parametrize("server", ["embedded"], indirect=True)  # nothing here depends on the version
ALL = ("all", "--as-of", DAY, "--shards", 6)
KILLS_A_DATABASE = 10
LEASE_SECONDS = 1


@pytest.fixture(scope="module")
def trial(server):
    return prepare_trial(server, ALL)


def kill_some(url, trial, moments, n):
    """Start n runs one after the other and kill each at a moment of its own; how many of them were still at it."""
    killed = 0
    for _ in range(n):
        # The first second may pass with waiting for the lease of the one before.
        with started(url, *ALL, WORKER_LEASE_SECONDS=str(LEASE_SECONDS)) as worker:
            time.sleep(moments.uniform(0, trial.seconds + LEASE_SECONDS))
            worker.signal(signal.SIGKILL)
            code = worker.outcome().code
        assert code in (0, -signal.SIGKILL)
        killed += code != 0
    return killed


def test_what_killed_runs_began_is_done_once(trial):
    wanted, moments, killed = rounds(3), chance("kill"), 0
    for first in range(0, wanted, KILLS_A_DATABASE):
        with trial.fresh() as url:
            killed += kill_some(url, trial, moments, min(KILLS_A_DATABASE, wanted - first))
            time.sleep(LEASE_SECONDS + 0.1)
            outcome = run_to_the_end(url, *ALL, "--if-due", "--wait", 0, "--json")
            assert outcome.code == 0, outcome.err
            assert set(statuses(outcome)) <= {"done", "skipped"}
            left_in(url).ensure_like(trial.undisturbed)
    assert killed >= wanted / 4, "hardly a run was killed before its end"
