"""A progress bar on long work, at a terminal only."""

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

SHOW_AFTER_SECONDS = 1.0  # short runs need no bar


@contextmanager
def progress_bar() -> Iterator[Callable[[str, int, int], None]]:
    """Yield a function (what, done, all) that draws on stderr; it does nothing where that is no terminal."""
    if not sys.stderr.isatty():
        yield lambda _what, _done, _all: None
        return
    from rich.console import Console  # noqa: PLC0415 - only where it is seen
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn  # noqa: PLC0415

    started = time.monotonic()
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    bar = Progress(*columns, console=Console(stderr=True), transient=True)
    tasks: dict[str, int] = {}
    running = False

    def show(what: str, done: int, everything: int) -> None:
        nonlocal running
        if not running:
            if time.monotonic() - started < SHOW_AFTER_SECONDS:
                return
            bar.start()
            running = True
        if what not in tasks:
            tasks[what] = bar.add_task(what, total=everything)
        bar.update(tasks[what], completed=done, total=everything)  # type: ignore[arg-type]

    try:
        yield show
    finally:
        if running:
            bar.stop()
