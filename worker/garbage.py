"""Python's collector of cycles, and the allocator below it, for a process that makes much, and ends soon."""

import contextlib
import gc
import sys
from collections.abc import Callable
from typing import NoReturn

MANY_LEADS = 200_000  # of more, what is done with them takes noticeably more memory than they keep
OBJECTS = 200_000  # made and not yet gone, between two collections; what a run imports makes half as many


def collect_seldom() -> None:
    """Look for cycles a fraction as often: a tenth of a second of a short run went by, and nothing was found."""
    gc.set_threshold(OBJECTS, *gc.get_threshold()[1:])


def give_back(n_leads: int) -> None:
    """
    Give free memory back to the system after something was done with so many leads; after few, nothing is done.

    Where the C library can (malloc_trim of glibc). It keeps what was freed between arrays that stay: of two million
    leads that were read, a third of a gigabyte.
    """
    if n_leads <= MANY_LEADS:
        return
    import ctypes  # noqa: PLC0415 - only where very much was read

    with contextlib.suppress(AttributeError, OSError, TypeError):
        ctypes.CDLL(None).malloc_trim(0)


def be_process_of(main: Callable[[], int]) -> NoReturn:
    """End the process with main's exit code; what is there then goes with it, and is not gone through for cycles."""
    collect_seldom()
    try:
        sys.exit(main())
    finally:
        gc.freeze()
