"""The jobs in the order in which they rest on each other, and when the daemon runs each unless told otherwise."""

from collections.abc import Iterable
from types import MappingProxyType

from worker.calendar import Schedule, parse_schedule

PRUNE = "prune"  # no analysis, but a day's work like the others; after them, since it is the one that removes
REPORT = "report"  # the same; only where there is a folder for it
CHORES = (PRUNE, REPORT)
REPORT_AT = "04:15"  # behind the last analysis
TIMETABLE = MappingProxyType(
    {
        "conversion_events": "every 5m",
        "engagement_score": "03:00",
        "urgency_trend": "03:10",
        "tone_distribution": "03:20",
        "pattern_detection": "03:30",
        "conversion_prediction": "03:40",
        "accuracy_review": "04:00",
        PRUNE: "04:30",
    }
)
JOB_NAMES = tuple(name for name in TIMETABLE if name != PRUNE)


def timetable(chosen: Iterable[tuple[str, Schedule]] = ()) -> dict[str, Schedule]:
    """Give every job's schedule, in that order, and the report's behind them; chosen: what the settings say instead."""
    return {**{name: parse_schedule(text) for name, text in TIMETABLE.items()}, **dict(chosen)}
