"""The history columns of a lead: what was seen of an attribute at each contact, however the application stored it."""

import json
from collections.abc import Callable, Hashable
from datetime import UTC, datetime
from typing import Any

from worker.leads import FIRST_LEAD, UNDATED, to_microseconds

ONE_CONTACT = 5 * 60 * 1_000_000  # stamps of one submission (id, histories, row, action) lie this close together
NO_HISTORY = (None, "[]", "null", "")
History = list[tuple[int | None, Any]]  # (microseconds, or None where nothing dates it; value), as stored


def parse_history(text: str | None) -> History:
    """
    Read a history column, however it was stored: a list of {value, timestamp}, of bare values, or a string of either.

    Anything else is no history; an entry that is neither is left out.
    """
    if text in NO_HISTORY:
        return []
    try:
        entries = json.loads(text or "")
        if isinstance(entries, str):
            entries = json.loads(entries)
    except (ValueError, RecursionError):
        return []
    if not isinstance(entries, list):
        return []
    result: History = []
    for entry in entries:
        if isinstance(entry, dict):
            result.append((_parse_stamp(entry.get("timestamp")), entry.get("value")))
        elif entry is not None and not isinstance(entry, list):
            result.append((None, entry))
    return result


def _parse_stamp(stamp: Any) -> int | None:
    if not isinstance(stamp, str):
        return None
    try:
        parsed = datetime.fromisoformat(stamp.strip())
        instant = to_microseconds(parsed if parsed.tzinfo is not None else parsed.replace(tzinfo=UTC))
    except (ValueError, OverflowError):
        return None
    return instant if instant >= FIRST_LEAD else None


def observe(add: Callable[[int, Any], None], history: History, column: Any, first: int, last: int) -> None:
    """
    Lay out what was known of one attribute when.

    The column is what holds since the last contact. An undated first entry belongs to the first contact; other
    undated entries cannot be placed and only the last of them, which the column repeats, is known. A null column
    beside a history as new as it says nothing.
    """
    latest = None
    for position, (stamp, value) in enumerate(history):
        when = first if stamp is None and position == 0 else stamp
        if when is not None:
            add(when, value if isinstance(value, Hashable) else None)
            if when != UNDATED and (latest is None or when > latest):
                latest = when
    if latest is None:
        add(last, column)
    elif column is not None or last - latest > ONE_CONTACT:
        add(max(last, latest) if last != UNDATED else latest, column)
