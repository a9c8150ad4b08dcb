"""The command line: `python -m worker.run JOB... | all`, and the commands around it."""

import signal
import sys
from collections.abc import Sequence
from typing import NoReturn

from worker.garbage import be_process_of
from worker.standard_streams import ensure_standard_streams

HELP = (["--help"], ["-h"], ["help"])


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line and give its exit code; errors become a sentence on stderr."""
    ensure_standard_streams()
    words = list(sys.argv[1:] if argv is None else argv)
    try:
        return _show_help() if words in HELP else _run(words)
    except KeyboardInterrupt as exc:  # at the very beginning: nothing has been done yet
        return 128 + getattr(exc, "number", signal.SIGINT)


def _show_help() -> int:
    from worker.commands.overview import show_overview  # noqa: PLC0415 - without click, which takes the most time

    show_overview()
    return 0


def _run(words: list[str]) -> int:
    from worker.stopping import stop_on_signals  # noqa: PLC0415 - as above

    with stop_on_signals(lambda number: 128 + number) as stop:
        from worker.commands.group import run_command  # noqa: PLC0415 - a signal in the midst of it is one already

        return run_command([*words[1:], "--help"] if words[0:1] == ["help"] else words, stop)


def command() -> NoReturn:
    """Be the process of one command, and end with its exit code."""
    be_process_of(main)


if __name__ == "__main__":
    command()
