"""
What the peers of the worker count (peers.py): of each client's leads of the last 30 days and the 30 before.

Nothing but whole numbers, so that all peers must agree to the last digit: how many leads came and how many are still
open, confidences in hundredths, urgencies, families of tones, sources, and how many came in the last four weeks. One
row for each client with a lead in the last 30 days and each of the four analyses, into a table that has what the
application's schema gives growth_brain.
"""

from datetime import datetime, timedelta

from floor import application_table
from loading import CONVERTED, FAMILIES, TAGS, TONES, URGENCIES

TABLE = "benchmark.counted"
COLUMNS = "client_id, event_type, learning_snapshot, insight_text, confidence, created_at"
LEVELS = ("Low", "Medium", "High")
URGENCY_OF = {label: LEVELS[place % 3] for place, label in enumerate(URGENCIES)}
FAMILY_OF = {label: FAMILIES[place % len(FAMILIES)] for place, label in enumerate(TONES[:-1])} | {TONES[-1]: "Other"}
KINDS = (*FAMILIES, "Other", "unknown")
WON = (TAGS[CONVERTED - 1], TAGS[CONVERTED - 1 + len(TAGS) // 2])
VOLUME_DAYS = 28
TEXT = "{n} leads in the last 30 days, {before} in the 30 days before."
MADE_READY = application_table(TABLE)


def ends_of(as_of):
    """The instants that the counts need, by name."""
    end, day = datetime.fromisoformat(as_of), timedelta(days=1)
    middle, start = end - 30 * day, end - 60 * day
    weeks = VOLUME_DAYS * day
    return {
        "start": start, "middle": middle, "end": end, "recent": end - weeks, "recent_before": middle - weeks,
    }  # fmt: skip


def insight(n, before):
    """The sentence of every row."""
    return TEXT.format(n=n, before=before)
