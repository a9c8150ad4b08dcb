"""Python's collector of cycles, for a process that makes many objects, hardly a cycle among them, and ends soon."""

import gc
import sys
from collections.abc import Callable
from typing import NoReturn

OBJECTS = 200_000  # made and not yet gone, between two collections; what a run imports makes half as many


def collect_seldom() -> None:
    """Look for cycles a fraction as often: a tenth of a second of a short run went by, and nothing was found."""
    gc.set_threshold(OBJECTS, *gc.get_threshold()[1:])


def be_process_of(main: Callable[[], int]) -> NoReturn:
    """End the process with main's exit code; what is there then goes with it, and is not gone through for cycles."""
    collect_seldom()
    try:
        sys.exit(main())
    finally:
        gc.freeze()
