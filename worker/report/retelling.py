"""Says a snapshot on record again in another language: the same figures, the same certainty, no more."""

from worker.insights import insight_text, recommendation
from worker.insights.content import number_at, value_at
from worker.jobs.finding import Check, Claim, Finding
from worker.report.reading import Row


def retell(row: Row, client_id: str | None, language: str) -> str | None:
    """Give the sentences of a row's snapshot in that language; None where it has not what they need."""
    probability = number_at(row.content, "claim", "probability")
    claim = value_at(row.content, "claim")
    if probability is None or not isinstance(claim, dict):
        return None
    finding = Finding(
        client_id,
        row.event_type,
        row.content,
        Claim(str(claim.get("kind")), float(probability), "", claim),
        Check("", row.created_at, None),
        int(number_at(row.content, "n") or 0),
        facts={"about": "all" if client_id is None else "client", "news": row.content.get("status") != "continuing"},
    )
    return insight_text(finding, language)


def advise(row: Row, language: str) -> str | None:
    """Say what to do about a pattern on record; None where it does not say which it is."""
    pattern_type, value = row.content.get("pattern_type"), row.content.get("value")
    if not isinstance(pattern_type, str):
        return None
    return recommendation(pattern_type, value if isinstance(value, str) else None, language)
