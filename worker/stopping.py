"""Stopping when a signal says so: what runs is called off and given back within the grace; a second one ends at once.

The first SIGTERM or SIGINT becomes an exception in the main thread, where all work is done. A watchdog in a thread of
its own sees to it that the process ends in time even where that does not help: a server that does not answer, a loop in
compiled code. It is woken by the interpreter's signal pipe, which needs no main thread either.
"""

import contextlib
import os
import select
import signal
import socket
import threading
import time
from collections.abc import Callable, Iterator
from types import FrameType

SIGNALS = (signal.SIGINT, signal.SIGTERM)
DEFAULT_GRACE_SECONDS = 20.0
MARGIN = 0.9  # of the grace: what is left is for the process to go


class Interrupted(KeyboardInterrupt):
    """
    A signal asked us to stop; not an Exception, so that no handler for errors swallows it.

    A KeyboardInterrupt, because then psycopg cancels the statement that the server is at: one that waits for a lock
    would otherwise go on holding our run's row in the ledger, and the run could not be given back.
    """

    def __init__(self, number: int) -> None:
        self.number = number
        super().__init__(number)


class Stop:
    """How a stop goes; grace_seconds, and what is kept, may be set once they are known."""

    def __init__(self, exit_code: Callable[[int], int], *, once: bool) -> None:
        self.exit_code = exit_code
        self.once = once
        self.grace_seconds = DEFAULT_GRACE_SECONDS
        self.kept = "what was written is kept"
        self.number: int | None = None  # of the signal that came
        self.over = False  # the block has ended: there is nothing left to call off

    def on_signal(self, number: int, _frame: FrameType | None) -> None:
        """Call off what the main thread does, once; afterwards it is giving things back."""
        if self.number is None and not self.over:
            self.number = number
            raise Interrupted(number)

    def watch(self, pipe: socket.socket) -> None:
        """Wait for a signal, then for the grace to be over or a second signal, and end the process."""
        first = _next_signal(pipe, None)
        if not first:
            return
        until = time.monotonic() + self.grace_seconds * MARGIN
        second = _next_signal(pipe, self.grace_seconds * MARGIN)
        while second and self.once:
            second = _next_signal(pipe, max(0.0, until - time.monotonic()))
        if second == 0:  # the block ended in time
            return
        reason = "the grace is over" if second is None else "a second signal"
        with contextlib.suppress(OSError):
            os.write(2, f"Stopped at once: {reason}; {self.kept}.\n".encode())
        os._exit(self.exit_code(first))


_current: Stop | None = None  # a process has one set of signal handlers


def ensure_not_stopping() -> None:
    """Raise Interrupted once more where a stop was asked for: the first may have been lost in a finalizer."""
    if _current is not None and _current.number is not None:
        raise Interrupted(_current.number)


def _next_signal(pipe: socket.socket, timeout_seconds: float | None) -> int | None:
    """Read the number of the next signal of ours; 0: the pipe was closed; None: the time is over."""
    deadline = None if timeout_seconds is None else time.monotonic() + timeout_seconds
    while True:
        left = None if deadline is None else max(0.0, deadline - time.monotonic())
        if not select.select([pipe], [], [], left)[0]:
            return None
        got = pipe.recv(1)
        if not got:
            return 0
        if got[0] in SIGNALS:
            return got[0]


@contextlib.contextmanager
def stop_on_signals(exit_code: Callable[[int], int], *, once: bool = False) -> Iterator[Stop]:
    """
    Turn the first SIGTERM or SIGINT within the block into Interrupted; only in the main thread.

    It may also come while the block is entered: whoever decides on the exit code catches it around this.

    exit_code : from the signal's number, what the process ends with where it has to be ended from outside.
    once : a second signal means no more than the first: it may come from both the daemon and its supervisor.
    """
    global _current  # noqa: PLW0603 - as the handlers are
    _current = stop = Stop(exit_code, once=once)
    ours, theirs = socket.socketpair()
    theirs.setblocking(False)
    descriptor = signal.set_wakeup_fd(theirs.fileno(), warn_on_full_buffer=False)
    thread = threading.Thread(target=stop.watch, args=(ours,), name="stop", daemon=True)
    thread.start()
    before = {number: signal.getsignal(number) for number in SIGNALS}
    try:
        for number in SIGNALS:  # last: from here on a signal can come
            signal.signal(number, stop.on_signal)
        yield stop
    finally:
        stop.over, _current = True, None
        signal.set_wakeup_fd(descriptor)
        for number, handler in before.items():
            signal.signal(number, handler)
        theirs.close()
        thread.join(timeout=1)
        ours.close()
