"""What `--help` shows, made from the table of commands alone: it is asked for often, and imports next to nothing."""

import os
import sys
import textwrap
from collections.abc import Sequence

from worker.commands import COMMANDS, JOBS
from worker.terminal import WIDTH, wants_colour

SCRIPT = "growth-brain-worker"  # what the installed package can be called by; the one that shells can complete
MODULE = "python -m worker.run"
COLUMN, EXAMPLES_COLUMN = 25, 57  # where the second column begins
JOBS_TITLE = "Jobs (name one or several; `all --help` shows their options)"
PURPOSE = "Lead analytics whose confidence values are true: reads lead_memory, writes growth_brain."
EXAMPLES = (
    ("demo", "see it work"),
    ("check", "is the database fine?"),
    ("all", "every analysis, now"),
    ("urgency_trend --as-of 2026-03-31", "one, as of a past day"),
    ("all --if-due --as-of yesterday", "as cron asks each hour"),
    ("all --dry-run --client ID", "look, write nothing"),
    ("backfill all --from 2026-01-01", "make up past days"),
)
ENVIRONMENT = (
    ("DATABASE_URL", "postgresql://user:password@host:5432/database, or `embedded`: a server of its own"),
    ("WORKER_...", "the settings (README), and every option as WORKER_ and its name: --as-of is WORKER_AS_OF"),
    ("NO_COLOR=1", "no colours, at a terminal too; FORCE_COLOR=1: colours also into a pipe"),
)
EXIT_CODES = (
    ("0", "done, or nothing to do"),
    ("1", "something failed, or needs a person; what is done is kept"),
    ("2", "the words, an option or a setting is wrong; nothing was done"),
    ("3", "the database is not as needed; `check` says what to do"),
    ("130, 143", "interrupted by Ctrl-C or SIGTERM (128 and the signal); it says what is kept"),
)
OPTIONS = (
    ("-h, --help", "this page; after a command or a job, its own"),
    ("--version", "the version"),
)


def program() -> str:
    """Say how this process was called, as one would type it."""
    return SCRIPT if os.path.basename(sys.argv[0]) == SCRIPT else MODULE  # noqa: PTH119 - pathlib takes its time


def overview(*, coloured: bool) -> str:
    """Write the page, in 80 columns."""
    name = program()
    sections: dict[str, list[tuple[str, str]]] = {JOBS_TITLE: list(JOBS.items())}
    for command, entry in COMMANDS.items():
        if entry.section:
            sections.setdefault(entry.section, []).append((command, entry.line))
    sections["Options"] = list(OPTIONS)
    parts = [f"Usage: {name} JOB... | all | COMMAND [OPTIONS]", textwrap.fill(PURPOSE, WIDTH)]
    parts += [_section(title, rows, coloured=coloured) for title, rows in sections.items()]
    examples = [(f"{name} {words}", why) for words, why in EXAMPLES]
    parts.append(_section("Examples", examples, coloured=coloured, column=EXAMPLES_COLUMN))
    parts.append(_section("Environment", ENVIRONMENT, coloured=coloured))
    parts.append(_section("Exit codes", EXIT_CODES, coloured=coloured))
    return "\n\n".join(parts)


def _section(title: str, rows: Sequence[tuple[str, str]], *, coloured: bool, column: int = COLUMN) -> str:
    """Write a heading and under it two columns, the second wrapped."""
    lines = [f"\x1b[1m{title}:\x1b[0m" if coloured else f"{title}:"]
    for left, right in rows:
        first, *more = textwrap.wrap(right, WIDTH - column) or [""]
        lines += [f"  {left}".ljust(column) + first, *(" " * column + line for line in more)]
    return "\n".join(lines)


def show_overview() -> None:
    """Print the page."""
    sys.stdout.write(f"{overview(coloured=wants_colour(sys.stdout))}\n")
    sys.stdout.flush()
