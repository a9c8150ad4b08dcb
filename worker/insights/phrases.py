"""Phrases that several kinds of sentences share: how many leads, of one client or of all, and how sure a trend is."""

from collections.abc import Mapping

from worker.insights.advice import trend_step
from worker.insights.content import number_at
from worker.insights.speech import Speech
from worker.jobs.finding import Finding

TREND_CLASSES = ("increasing", "decreasing", "stable")


def for_whom(finding: Finding, key: str) -> str:
    """Name the message that speaks of one client, or of all clients together, as the finding does."""
    return f"{key}_all" if finding.client_id is None else key


def counted(finding: Finding, speech: Speech, key: str, n: float) -> str:
    """Count leads: "34 leads", or of all clients "34 leads (all clients)"."""
    return speech.say(for_whom(finding, key), n)


def no_leads(finding: Finding, speech: Speech) -> str:
    """Say that no lead came in."""
    return speech.say(for_whom(finding, "no_leads"))


def trend_sentence(finding: Finding, speech: Speech, subject: str) -> str:
    """Say how sure a trend is and what follows from it; subject is engagement or urgency."""
    trend = finding.content.get("trend")
    if trend not in TREND_CLASSES:
        return speech.say("trend.unknown")
    step = trend_step(finding, speech, f"{subject}_{trend}")
    return speech.how_sure(finding.claim.probability, speech.say(f"{subject}.{trend}"), step)


def known_count(counts: object, names: tuple[str, ...]) -> float | None:
    """Add up the counts of the named levels, None where there are no counts to see."""
    if not isinstance(counts, Mapping):
        return None
    return sum(number_at(counts, name) or 0 for name in names)
