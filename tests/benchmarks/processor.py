"""
CPU seconds that the server spent, from /proc: on a machine that others use too, they tell more than wall seconds.

Of the whole server, so nothing else may be asked of it meanwhile. None where the server is not on this Linux machine.
"""

import os
from pathlib import Path

TICKS_PER_SECOND = os.sysconf("SC_CLK_TCK") if hasattr(os, "sysconf") else 100
PPID, CUTIME = 1, 13  # of /proc/PID/stat, after the name


def _stat(pid):
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()


def server_seconds(conn):
    """Give CPU seconds of all the server's processes so far, those that ended included."""
    try:
        backend = conn.info.backend_pid
        if b"postgres" not in Path(f"/proc/{backend}/cmdline").read_bytes():
            return None
        postmaster = _stat(backend)[PPID]
        ended = sum(int(ticks) for ticks in _stat(postmaster)[CUTIME : CUTIME + 2]) / TICKS_PER_SECOND
        return ended + sum(_running(place, postmaster) for place in Path("/proc").glob("[0-9]*"))
    except OSError:
        return None


def _running(place, postmaster):
    """CPU seconds of a process, if it is one of the server's, by the scheduler's own nanoseconds."""
    try:
        if _stat(place.name)[PPID] != postmaster:
            return 0.0
        return int((place / "schedstat").read_text().split()[0]) / 1e9
    except OSError:
        return 0.0  # it has just ended


def spent(conn, work):
    """Give what work() returns and the server's CPU seconds meanwhile."""
    before = server_seconds(conn)
    result = work()
    after = server_seconds(conn)
    return result, None if None in (before, after) else after - before
