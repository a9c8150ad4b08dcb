"""What a terminal is shown and a file or a pipe is not: colours, unless the environment says otherwise, and width."""

import os
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, TextIO

if TYPE_CHECKING:
    from rich.console import Console

WIDTH = 80  # columns that every screen fits


def colour_by_environment(environ: Mapping[str, str]) -> bool | None:
    """
    Read NO_COLOR, FORCE_COLOR, CLICOLOR_FORCE, CLICOLOR and TERM, in this order; None: they leave it to the stream.

    NO_COLOR counts when it is not empty, whatever it holds (no-color.org); FORCE_COLOR and CLICOLOR_FORCE unless 0.
    """
    if environ.get("NO_COLOR"):
        return False
    if any(environ.get(name, "0") not in ("", "0") for name in ("FORCE_COLOR", "CLICOLOR_FORCE")):
        return True
    if environ.get("CLICOLOR") == "0" or environ.get("TERM") == "dumb":
        return False
    return None


def wants_colour(stream: TextIO) -> bool:
    """Whether what is written to this stream may hold colours and weights."""
    chosen = colour_by_environment(os.environ)
    return stream.isatty() if chosen is None else chosen


def screen(**how: Any) -> "Console":
    """Give a rich console on stdout for tables of at most WIDTH columns; without colours its text is plain."""
    import sys  # noqa: PLC0415 - the streams of this moment, which tests replace

    from rich.console import Console  # noqa: PLC0415 - only where tables are shown

    coloured = wants_colour(sys.stdout)
    console = Console(
        highlight=False, color_system="auto" if coloured else None, force_terminal=coloured or None, **how
    )
    if not sys.stdout.isatty() or console.width > WIDTH:
        console.width = WIDTH
    return console


def fit(text: str, *, indent: str, first: str | None = None) -> str:
    """Wrap a line for a terminal, what follows its first piece indented; elsewhere a line stays one, to be searched."""
    import sys  # noqa: PLC0415 - as above
    import textwrap  # noqa: PLC0415 - only where something is shown

    start = indent if first is None else first
    if not sys.stdout.isatty():
        return f"{start}{text}"
    return textwrap.fill(text, WIDTH, initial_indent=start, subsequent_indent=indent, break_on_hyphens=False)
