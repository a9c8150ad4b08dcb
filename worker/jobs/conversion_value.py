"""
What conversions were worth, by what the application itself recorded, and which open leads promise most by it.

The application's own conversion rows may hold a conversion_value. A client's estimate is the plain mean of the values
recorded, before as_of, for its leads: the last one where a lead has several. No record, no estimate.
"""

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from typing import Any

from worker.jobs.finding import Finding, Json

A_NUMBER = re.compile(r"\s*[0-9]{1,15}(\.[0-9]{1,15})?([eE][+-]?[0-9]{1,2})?\s*")


def read_value(text: object) -> float | None:
    """Read a recorded value: a positive finite number; None for anything else, and for 0, which means none."""
    if not isinstance(text, str) or not A_NUMBER.fullmatch(text):
        return None
    value = float(text)
    return value if math.isfinite(value) and value > 0 else None


def recorded_values(past: Sequence[Mapping[str, Any]], as_of: datetime) -> dict[str, tuple[str | None, float]]:
    """Give the last value recorded before as_of for each lead, and the client that the row names."""
    rows = [row for row in past if row["event_type"] == "conversion" and row["lead_id"] and row["created_at"] < as_of]
    values: dict[str, tuple[str | None, float]] = {}
    for row in sorted(rows, key=lambda row: (row["created_at"], str(row["conversion_value"]))):
        value = read_value(row["conversion_value"])
        if value is not None:
            values[row["lead_id"]] = (row["client_id"], value)
    return values


def rank(lead: Mapping[str, Json]) -> tuple[bool, float]:
    """Order listed leads by expected value, those without one after them by probability."""
    expected = lead["expected_value"]
    return expected is None, -(expected or lead["probability"])


def with_values(finding: Finding, values: Mapping[str, tuple[str | None, float]]) -> Finding:
    """
    Say of a client's most promising leads what they are worth: one value for all of them, so that their order stays.

    The finding's facts hold the leads that converted (winners); rows that name the client count as well. Where they
    hold none, as in that of all clients together, values were known before.
    """
    winners = finding.facts.get("winners")
    if winners is None:
        return finding
    known = [
        value
        for lead_id, (client_id, value) in sorted(values.items())
        if lead_id in winners.ids or (client_id is not None and client_id == finding.client_id)
    ]
    if not known:
        return finding
    worth = math.fsum(known) / len(known)
    listed = [
        {**lead, "estimated_value": worth, "expected_value": lead["probability"] * worth}
        for lead in finding.content["high_value_leads"]
    ]
    return replace(finding, content={**finding.content, "high_value_leads": listed})
