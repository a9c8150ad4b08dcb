"""
insight_text: which module says what of which kind of finding.

One sentence tells what happened; one tells how sure we are and ends in what to do, where something follows. Every
number in a snapshot may be null, and then its part of the sentence is left out or said to be unknown. A lead's name is
said in conversions and reversions only, and only where the snapshot itself holds it.
"""

from collections.abc import Callable, Mapping

from worker.insights.monthly import engagement_score, tone_distribution, urgency_trend
from worker.insights.outcomes import accuracy_review, conversion, conversion_prediction, reversion
from worker.insights.patterns import pattern_detected
from worker.insights.speech import Speech, speech
from worker.jobs.finding import Finding

_TELLERS: Mapping[str, Callable[[Finding, Speech], str]] = {
    "engagement_score": engagement_score,
    "urgency_trend": urgency_trend,
    "tone_distribution": tone_distribution,
    "pattern_detected": pattern_detected,
    "conversion_prediction": conversion_prediction,
    "conversion": conversion,
    "reversion": reversion,
    "accuracy_review": accuracy_review,
}


def insight_text(finding: Finding, language: str) -> str:
    """
    Say in one or two sentences what a finding means, no more certain than its claim's probability, and what to do.

    language is "en" or "fr"; ValueError for another, or for an event type that has no sentences.
    """
    if finding.event_type not in _TELLERS:
        raise ValueError(f"no sentences for event type {finding.event_type!r}")
    return _TELLERS[finding.event_type](finding, speech(language))
