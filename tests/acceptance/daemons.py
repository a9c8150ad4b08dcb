"""A daemon in a process of its own, and the server's processes that work for it, or for a run."""

import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import psycopg
from hardship import ensure_no_traceback
from support import PROJECT, clean_environment

SCHEDULED = ("engagement_score", "urgency_trend", "tone_distribution", "pattern_detection")
OURS = (
    "SELECT pid FROM pg_stat_activity WHERE datname = current_database() AND application_name = 'growth-brain-worker'"
)
BLOCKED = f"{OURS} AND wait_event_type = 'Lock'"
WAIT_SECONDS = 60


def wait_for_backend(conn: psycopg.Connection[Any], statement: str) -> int:
    """Give the server's process that the statement finds, as soon as it finds one."""
    deadline = time.monotonic() + WAIT_SECONDS
    while (found := conn.execute(statement).fetchone()) is None:
        assert time.monotonic() < deadline, "no connection of ours came there"
        time.sleep(0.01)
    pid: int = found[0]
    return pid


class Daemon:
    """`python -m worker`, whose daily jobs are due from midnight on: at once."""

    def __init__(self, url: str, **environment: str) -> None:
        due = {f"WORKER_SCHEDULE_{name.upper()}": "00:00" for name in SCHEDULED}
        due["WORKER_SCHEDULE_CONVERSION_PREDICTION"] = "off"  # seconds of arithmetic
        self.process = subprocess.Popen(
            [sys.executable, "-m", "worker"],
            cwd=PROJECT,
            env=clean_environment(url, **due, **environment),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def told_to_stop(self, number: int = signal.SIGTERM) -> tuple[float, str]:
        """Send it a signal and wait for its end; how many seconds that took, and all that it logged."""
        self.process.send_signal(number)
        asked = time.monotonic()
        _, err = self.process.communicate(timeout=60)
        took = time.monotonic() - asked
        ensure_no_traceback(err)
        return took, err


@contextmanager
def running_daemon(url: str, **environment: str) -> Iterator[Daemon]:
    """Run a daemon while the block runs; if it still runs at the end, it is killed."""
    daemon = Daemon(url, **environment)
    try:
        yield daemon
    finally:
        daemon.process.kill()
        daemon.process.communicate()
