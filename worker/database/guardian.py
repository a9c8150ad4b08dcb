"""Stops the embedded server when the last process that uses it has gone, however it went.

Run as a script by the process that starts the server, and kept free of everything but the standard library. It waits
for a lock that every user of the server shares; the operating system gives that lock back even when a process is
killed, so nobody has to say goodbye.
"""

import contextlib
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

if sys.platform == "win32":
    import ctypes
    import msvcrt
    from ctypes import wintypes

    class _Overlapped(ctypes.Structure):
        _fields_ = [
            ("Internal", ctypes.c_void_p),
            ("InternalHigh", ctypes.c_void_p),
            ("Offset", wintypes.DWORD),
            ("OffsetHigh", wintypes.DWORD),
            ("hEvent", wintypes.HANDLE),
        ]

    def lock(descriptor: int, *, shared: bool, wait: bool) -> bool:
        """Take the file's lock; False when it would have to wait and must not."""
        flags = (0 if shared else 2) | (0 if wait else 1)  # LOCKFILE_EXCLUSIVE_LOCK, LOCKFILE_FAIL_IMMEDIATELY
        handle = msvcrt.get_osfhandle(descriptor)
        ok = ctypes.windll.kernel32.LockFileEx(handle, flags, 0, 1, 0, ctypes.byref(_Overlapped()))
        if not ok and wait:
            raise ctypes.WinError()
        return bool(ok)

    def unlock(descriptor: int) -> None:
        """Give the file's lock back."""
        handle = msvcrt.get_osfhandle(descriptor)
        ctypes.windll.kernel32.UnlockFileEx(handle, 0, 1, 0, ctypes.byref(_Overlapped()))

else:
    import fcntl

    def lock(descriptor: int, *, shared: bool, wait: bool) -> bool:
        """Take the file's lock; False when it would have to wait and must not."""
        try:
            fcntl.flock(descriptor, (fcntl.LOCK_SH if shared else fcntl.LOCK_EX) | (0 if wait else fcntl.LOCK_NB))
        except BlockingIOError:
            return False
        return True

    def unlock(descriptor: int) -> None:
        """Give the file's lock back."""
        fcntl.flock(descriptor, fcntl.LOCK_UN)


@contextlib.contextmanager
def opened(path: Path) -> Iterator[int]:
    """Open a lock file, creating it; closing it gives its lock back."""
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | getattr(os, "O_CLOEXEC", 0), 0o600)
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def run_postgres_tool(command: list[str], user: int | None, group: int | None, log: Path) -> int:
    """Run one of PostgreSQL's programs as the server's user, its words added to the log; return its exit code."""
    # The caller's PG... variables speak of other servers. The server must not hold our pipes open either, so files.
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PG")}
    identity: dict[str, Any] = {} if user is None else {"user": user, "group": group, "extra_groups": []}
    with log.open("ab") as output:
        return subprocess.run(  # noqa: S603 - a program of our own choice, no shell
            command,
            check=False,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            cwd=log.parent,
            env=environment | {"LC_ALL": "C"},
            **identity,
        ).returncode


def stop_server(folder: Path, pg_ctl: str, user: int | None, group: int | None) -> None:
    """Stop the server of this data folder if it runs; sessions that are still open are ended."""
    data = folder / "data"
    if (data / "postmaster.pid").exists():
        command = [pg_ctl, "-D", str(data), "-m", "fast", "-w", "-t", "120", "stop"]
        run_postgres_tool(command, user, group, folder / "embedded.log")


def main(arguments: list[str]) -> None:
    """Wait until nobody uses the server of a data folder, stop it, and end."""
    if sys.platform != "win32" and os.fork():
        os._exit(0)  # into the background: whoever called us need not wait for our end
    folder, pg_ctl = Path(arguments[0]), arguments[1]
    user, group = (int(arguments[2]), int(arguments[3])) if len(arguments) > 3 else (None, None)
    with opened(folder / "guardian.lock") as guardian, opened(folder / "users.lock") as users:
        if not lock(guardian, shared=False, wait=False):
            return  # there is one already
        os.write(1, b"watching\n")
        nowhere = os.open(os.devnull, os.O_RDWR)
        os.dup2(nowhere, 1)  # the caller reads until nobody holds its pipe any more
        lock(users, shared=False, wait=True)
        stop_server(folder, pg_ctl, user, group)
        # Leave the post before the users' lock goes, so that the next user finds the post empty and fills it.
        unlock(guardian)


if __name__ == "__main__":
    main(sys.argv[1:])
