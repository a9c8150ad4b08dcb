"""A log that cannot be written (its disk is full, its reader has gone, it was never there) costs no run."""

import os
import subprocess
import sys

import pytest
from support import PROJECT, add_client, clean_environment

from worker.timetable import JOB_NAMES, PRUNE

OTHERS = [name for name in (*JOB_NAMES, PRUNE) if name != "urgency_trend"]
LEDGER = "SELECT status, attempts FROM worker.runs WHERE job = 'urgency_trend'"


def _with_dead_pipe():
    reader, writer = os.pipe()
    os.close(reader)
    os.dup2(writer, 2)


# what a shell makes of `2>/dev/full`, of a pipe whose reader has gone, and of `<&- >&- 2>&-`
LOST = {
    "disk full": lambda: os.dup2(os.open("/dev/full", os.O_WRONLY), 2),
    "no reader": _with_dead_pipe,
    "closed": lambda: os.closerange(0, 3),
}


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="this system has no /dev/full")  # noqa: PTH110
@pytest.mark.parametrize("how", LOST)
def test_run_is_done_although_nothing_can_be_logged(worker_url, database_url, connect, how):
    conn = connect(database_url)
    add_client(conn, 1)
    ended = subprocess.run(
        [sys.executable, "-m", "worker.run", "urgency_trend", "--as-of", "2025-03-30"],
        check=False,
        cwd=PROJECT,
        env=clean_environment(worker_url),
        preexec_fn=LOST[how],
    )
    assert (ended.returncode, conn.execute(LEDGER).fetchall()) == (0, [("done", 1)])


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="this system has no /dev/full")  # noqa: PTH110
@pytest.mark.parametrize("server", ["embedded"], indirect=True)
@pytest.mark.parametrize("how", ["disk full", "closed"])
def test_daemon_works_on_although_nothing_can_be_logged(worker_url, database_url, connect, how):
    conn = connect(database_url)
    add_client(conn, 1)
    schedules = {f"WORKER_SCHEDULE_{job.upper()}": "off" for job in OTHERS}
    with subprocess.Popen(
        [sys.executable, "-m", "worker"],
        cwd=PROJECT,
        env=clean_environment(worker_url, WORKER_SCHEDULE_URGENCY_TREND="every 1m", **schedules),
        preexec_fn=LOST[how],  # noqa: PLW1509 - as above
    ) as process:
        while process.poll() is None and ("done", 1) not in conn.execute(LEDGER).fetchall():
            conn.execute("SELECT pg_sleep(0.1)")
        process.terminate()
        assert process.wait(timeout=20) == 0
    assert conn.execute(LEDGER).fetchall() == [("done", 1)]


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="this system has no /dev/full")  # noqa: PTH110
@pytest.mark.parametrize("how", LOST)
def test_exit_code_tells_what_cannot_be_written(how):
    ended = subprocess.run(
        [sys.executable, "-m", "worker.run", "no_such_job"],
        check=False,
        cwd=PROJECT,
        env=clean_environment(None),
        preexec_fn=LOST[how],
    )
    assert ended.returncode == 2
