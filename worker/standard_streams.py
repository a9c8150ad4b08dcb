"""Sees to it that telling does not end the doing: a log that nobody reads, or whose disk is full, is no failure."""

import errno
import io
import os
import sys
from typing import Any


class _Lossy(io.FileIO):
    """An open descriptor that takes everything; what it cannot write is lost."""

    def write(self, data: Any, /) -> int:
        """Write all of it, or as much as there is room for."""
        left = memoryview(data).cast("B")
        size = len(left)
        try:
            while left and (written := super().write(left)):
                left = left[written:]
        except OSError:  # the disk is full, or who read it has gone
            pass
        return size


def ensure_standard_streams() -> None:
    """
    Give this process a stderr that never fails, and something harmless in place of the streams it was started without.

    Without that, a socket to the database may come to be descriptor 2, which the interpreter and libraries write to.
    Streams that were put in place of the process's own, as tests do, are left alone.
    """
    for number, name in enumerate(("stdin", "stdout", "stderr")):
        if getattr(sys, name) is None and _is_closed(number):
            nowhere = os.open(os.devnull, os.O_RDWR)  # the lowest that is free, as a rule this very number
            if nowhere != number:
                os.dup2(nowhere, number)
                os.close(nowhere)
            stream = open(number, "r" if number == 0 else "w", encoding="utf-8", closefd=False)  # noqa: SIM115
            setattr(sys, name, stream)
    if sys.stderr is sys.__stderr__ and sys.stderr is not None:
        encoding = sys.stderr.encoding
        lossy = _Lossy(sys.stderr.fileno(), "w", closefd=False)
        sys.stderr = io.TextIOWrapper(lossy, encoding=encoding, errors="backslashreplace", line_buffering=True)


def _is_closed(descriptor: int) -> bool:
    try:
        os.fstat(descriptor)
    except OSError as exc:
        return exc.errno == errno.EBADF
    return False
