"""
The commands, one module each or each close family, found here by name; importing this package imports none of them.

Adding a command touches this table and its own module, whose click command bears the name that stands here. A line here
is the command's first line of help, so that `--help` lists them all without importing any.
"""

from importlib import import_module
from types import MappingProxyType
from typing import TYPE_CHECKING, NamedTuple, cast

if TYPE_CHECKING:
    import click

ALL = "all"
JOBS_COMMAND = "jobs"  # nobody types it: whatever names no command names jobs


class Entry(NamedTuple):
    """A command: the module it stands in, its section of `--help`, and its line there."""

    module: str
    section: str
    line: str


COMMANDS = MappingProxyType(
    {
        JOBS_COMMAND: Entry("jobs", "", "Run jobs once, now or as of a past instant."),
        "demo": Entry("demo", "Set up", "See it work, on a database server of its own."),
        "migrate": Entry("database", "Set up", "Create what the schema lacks; alter nothing of yours."),
        "check": Entry("database", "Set up", "Say if this database is as needed, and how to mend it."),
        "completion": Entry("completion", "Set up", "Print what makes your shell complete words with Tab."),
        "status": Entry("status", "Look", "Show how every job stands: due, late, last, next."),
        "accuracy": Entry("accuracy", "Look", "Show past predictions beside what came of them."),
        "models": Entry("models", "Look", "List the fitted models and scores, or go back to one."),
        "report": Entry("report", "Look", "Write pages to look at, one a client and one of all."),
        "backfill": Entry("backfill", "Past", "Make past days' snapshots from what was known then."),
        "backtest": Entry("backtest", "Past", "Predict again from what was known, and compare."),
        "prune": Entry("prune", "Operate", "Remove old daily snapshots; weekly and monthly stay."),
        "health": Entry("status", "Operate", "Ask the daemon how it is: exit 0 or 1, and a line."),
    }
)
JOBS = MappingProxyType(  # worker.timetable.JOB_NAMES, each with its module's TITLE
    {
        "conversion_events": "record conversions and reversions",
        "engagement_score": "how engaged are this month's leads, from 0 to 100, and is that changing?",
        "urgency_trend": "is the share of urgent leads rising, falling or stable?",
        "tone_distribution": "in which tones do leads write?",
        "pattern_detection": "what has changed that chance does not explain?",
        "conversion_prediction": "how many open leads will convert in the next 30 days, and which?",
        "accuracy_review": "what became of past claims, and what is learned from it?",
        ALL: "all of them, in this order",
    }
)


def load_command(name: str) -> "click.Command":
    """Import a command; KeyError for a name that is none."""
    return cast("click.Command", getattr(import_module(f"worker.commands.{COMMANDS[name].module}"), name))
