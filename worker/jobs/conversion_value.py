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

from worker.jobs.conversion_reasons import Candidate
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


def with_values(finding: Finding, values: Mapping[str, tuple[str | None, float]], limit: int) -> Finding:
    """
    Order a finding's most promising leads by expected value, those without one after them by probability.

    The finding's facts hold the candidates and whose lead each converted one is (winners); a client's
    own finding also takes the values of rows that name the client.
    """
    winners = finding.facts["winners"]
    by_owner: dict[int, list[float]] = {}
    for lead_id, (client_id, value) in sorted(values.items()):
        mine = finding.client_id is not None and client_id == finding.client_id
        owner = winners.owner_of(lead_id)
        if owner is None and mine:
            owner = finding.facts["candidates"][0].owner
        if owner is not None:
            by_owner.setdefault(owner, []).append(value)
    if not by_owner:
        return finding

    def valued(candidate: Candidate) -> tuple[Candidate, dict[str, Json]]:
        known = by_owner.get(candidate.owner)
        worth = math.fsum(known) / len(known) if known else None
        expected = None if worth is None else candidate.lead["probability"] * worth
        return candidate, {"estimated_value": worth, "expected_value": expected}

    def rank(listed: tuple[Candidate, dict[str, Json]]) -> tuple[bool, float]:
        expected = listed[1]["expected_value"]
        return expected is None, -(expected or listed[0].lead["probability"])

    chosen = sorted(map(valued, finding.facts["candidates"]), key=rank)[:limit]
    listed = [{**candidate.explained(), **value} for candidate, value in chosen]
    return replace(finding, content={**finding.content, "high_value_leads": listed})
