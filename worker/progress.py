"""A progress bar on long work, with its rate and the time left; at a terminal only."""

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.progress import Task

SHOW_AFTER_SECONDS = 1.0  # short runs need no bar
RATE_OVER_SECONDS = 120.0  # steps may take half a minute each, of which a shorter memory would know none


@contextmanager
def progress_bar(unit: str = "shares") -> Iterator[Callable[[str, int, int], None]]:
    """
    Yield a function (what, done, all) that draws on stderr; it does nothing where that is no terminal.

    unit : of what done and all are the numbers, in the plural, for the rate.
    """
    if not sys.stderr.isatty():
        yield lambda _what, _done, _all: None
        return
    from rich import progress  # noqa: PLC0415 - only where it is seen
    from rich.console import Console  # noqa: PLC0415

    from worker.terminal import wants_colour  # noqa: PLC0415

    started = time.monotonic()
    bar = progress.Progress(
        progress.TextColumn("{task.description}"),
        progress.BarColumn(bar_width=20),
        progress.MofNCompleteColumn(),
        progress.TextColumn("{task.fields[rate]}"),
        progress.TimeRemainingColumn(compact=True),
        console=Console(stderr=True, no_color=not wants_colour(sys.stderr)),
        transient=True,
        speed_estimate_period=RATE_OVER_SECONDS,
    )
    tasks: dict[str, progress.TaskID] = {}
    running = False

    def show(what: str, done: int, everything: int) -> None:
        nonlocal running
        if not running:
            if time.monotonic() - started < SHOW_AFTER_SECONDS:
                return
            bar.start()
            running = True
        if what not in tasks:
            tasks[what] = bar.add_task(what, total=everything, rate="")
        bar.update(tasks[what], completed=done, total=everything)
        task = next(task for task in bar.tasks if task.id == tasks[what])
        bar.update(tasks[what], rate=describe_rate(task, unit))

    try:
        yield show
    finally:
        if running:
            bar.stop()


def describe_rate(task: "Task", unit: str) -> str:
    """Say how fast it goes: so many a second, or a minute where that is less than one."""
    speed = task.finished_speed or task.speed
    if not speed:
        return ""
    return f"{speed:.1f} {unit}/s" if speed >= 1 else f"{60 * speed:.1f} {unit}/min"
