"""Python's collector of cycles, for a process that makes many objects, hardly a cycle among them, and ends soon."""

import gc

OBJECTS = 200_000  # made and not yet gone, between two collections; what a run imports makes half as many


def collect_seldom() -> None:
    """Look for cycles a fraction as often: a tenth of a second of a short run went by, and nothing was found."""
    gc.set_threshold(OBJECTS, *gc.get_threshold()[1:])


def leave_the_rest() -> None:
    """Before the process ends: what is still there goes with it, and need not be gone through for cycles first."""
    gc.freeze()
