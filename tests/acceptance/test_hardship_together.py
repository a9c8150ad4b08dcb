"""Eight processes that start the same period's work at the same moment."""

import time
from collections import Counter
from contextlib import ExitStack

import psycopg
import pytest
from hardship import DAY, left_in, many_jobs, prepare_trial, rounds, started, statuses

pytestmark = pytest.mark.parametrize("server", ["embedded"], indirect=True)  # nothing here depends on the version
ALL = (*many_jobs(), "--as-of", DAY, "--json")
TOGETHER = 8
WAITING = """
SELECT count(*) FROM pg_locks WHERE relation = 'worker.runs'::regclass AND NOT granted
    AND database = (SELECT oid FROM pg_database WHERE datname = current_database())
"""


@pytest.fixture(scope="module")
def trial(server):
    return prepare_trial(server, ALL, n_clients=8, n_leads=12)


def run_together(url, *options):
    """Let them all come to the ledger's door, open it, and wait for their ends."""
    with ExitStack() as stack:
        door = stack.enter_context(psycopg.connect(url))
        door.execute("LOCK TABLE worker.runs IN ACCESS EXCLUSIVE MODE")
        # the lock's timeout must outlast the slowest start
        workers = [
            stack.enter_context(started(url, *ALL, *options, WORKER_LOCK_TIMEOUT_SECONDS="60")) for _ in range(TOGETHER)
        ]
        deadline = time.monotonic() + 50
        while door.execute(WAITING).fetchone() != (TOGETHER,):
            assert time.monotonic() < deadline, [worker.outcome(0.1) for worker in workers]
            time.sleep(0.02)
        door.commit()
        return [worker.outcome() for worker in workers]


def test_when_due_one_does_the_work_and_the_others_say_so(trial):
    for _ in range(rounds(1)):
        with trial.fresh() as url:
            outcomes = run_together(url, "--if-due")
            assert [outcome.code for outcome in outcomes] == [0] * TOGETHER, outcomes
            n_jobs = len(statuses(outcomes[0]))
            found = Counter(status for outcome in outcomes for status in statuses(outcome))
            assert found["done"] == n_jobs
            assert found["held"] + found["skipped"] == n_jobs * (TOGETHER - 1)
            left_in(url).ensure_like(trial.undisturbed)


def test_otherwise_one_after_the_other_finds_the_same_rows(trial):
    for _ in range(rounds(1)):
        with trial.fresh() as url:
            outcomes = run_together(url, "--wait", 100)
            assert [outcome.code for outcome in outcomes] == [0] * TOGETHER, outcomes
            assert {status for outcome in outcomes for status in statuses(outcome)} == {"done"}
            left_in(url).ensure_like(trial.undisturbed)
