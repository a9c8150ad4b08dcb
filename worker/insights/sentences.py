"""
What is said of each kind of finding: one sentence of fact, one of how sure we are.

Every number in a snapshot may be null, and then its part of the sentence is left out or said to be unknown. A lead's
name is said in conversions and reversions only, and only where the snapshot itself holds it.
"""

from collections.abc import Callable, Mapping
from datetime import date
from typing import TYPE_CHECKING

from worker import vocabulary
from worker.insights.content import date_at, number_at, value_at
from worker.jobs.finding import Finding

if TYPE_CHECKING:
    from worker.insights.speech import Speech

TREND_CLASSES = ("increasing", "decreasing", "stable")
SURE_TONE, LIKELY_TONE = (
    0.90,
    0.60,
)  # of dominant_tone_probability: from here on it "is", or "seems to be", the leading one
LONGEST_NAME = 80  # characters of a lead's name
STAYS_DAYS = 90  # what the claim of an event speaks of where it does not say

# What the application's revert dialogue writes; a reason of free text is not repeated.
_MISTAKES = frozenset(
    vocabulary.fold(reason) for reason in ("Placed in converted by accident", "Placé dans convertis par erreur")
)


def insight_text(finding: Finding, language: str) -> str:
    """
    Say in one or two sentences what a finding means, no more certain than its claim's probability.

    language is "en" or "fr"; ValueError for another, or for an event type that has no sentences.
    """
    # Here, not above: Babel and its plural rules cost a command that says nothing a noticeable start.
    from worker.insights.speech import speech  # noqa: PLC0415

    if finding.event_type not in _TELLERS:
        raise ValueError(f"no sentences for event type {finding.event_type!r}")
    return _TELLERS[finding.event_type](finding, speech(language))


def _engagement_score(finding: Finding, speech: "Speech") -> str:
    content = finding.content
    total = number_at(content, "metrics", "total_leads")
    n_leads = finding.n if total is None else total
    score, before = number_at(content, "overall_score"), number_at(content, "previous", "raw")
    if score is None:
        return _no_leads(finding, speech) if n_leads == 0 else _of_leads(finding, speech, "engagement.unknown", n_leads)
    leads = _leads(finding, speech, n_leads)
    if before is None:
        fact = speech.say("engagement.score", score=speech.number(round(score)), leads=leads)
        return f"{fact} {speech.say('trend.nothing_before')}"
    fact = speech.say(
        "engagement.score_before",
        score=speech.number(round(score)),
        leads=leads,
        before=speech.number(round(before)),
    )
    return f"{fact} {_trend(finding, speech, 'engagement')}"


def _urgency_trend(finding: Finding, speech: "Speech") -> str:
    content = finding.content
    share, before = number_at(content, "high_urgency_pct"), number_at(content, "previous_high_urgency_pct")
    n_known = _known(content.get("counts"), vocabulary.URGENCY_NAMES)
    if share is None or n_known == 0:
        fact = (
            _no_leads(finding, speech) if finding.n == 0 else _of_leads(finding, speech, "urgency.unknown", finding.n)
        )
        return f"{fact} {speech.say('trend.unknown')}"
    leads = _leads(finding, speech, finding.n if n_known is None else n_known)
    if before is None:
        # the claim rests on other clients alone: "as before" would speak of a month in which there was nothing to see
        fact = speech.say("urgency.share", leads=leads, share=speech.percent(share))
        return f"{fact} {speech.say('trend.nothing_before')}"
    fact = speech.say("urgency.share_before", leads=leads, share=speech.percent(share), before=speech.percent(before))
    return f"{fact} {_trend(finding, speech, 'urgency')}"


def _tone_distribution(finding: Finding, speech: "Speech") -> str:
    from worker.insights.naming import tone_name  # noqa: PLC0415

    content = finding.content
    n_known = _known(content.get("counts"), vocabulary.TONES)
    if n_known == 0:
        return _no_leads(finding, speech) if finding.n == 0 else _of_leads(finding, speech, "tone.unknown", finding.n)
    leads = _leads(finding, speech, finding.n if n_known is None else n_known)
    tone = content.get("dominant_tone")
    probability = number_at(content, "dominant_tone_probability") or 0.0
    share = number_at(content, "estimate", tone) if isinstance(tone, str) else None
    if not isinstance(tone, str) or share is None or probability < LIKELY_TONE:
        fact = speech.say("tone.mixed", leads=leads)
    else:
        # That a tone leads has its own probability, yet it is not to sound surer than the column beside it.
        sure = min(probability, finding.claim.probability) >= SURE_TONE
        key = "tone.dominant" if sure else "tone.perhaps"
        fact = speech.say(key, tone=tone_name(speech, tone), share=speech.percent(share), leads=leads)
    distance = number_at(finding.claim.parameters, "distance")
    width = speech.say("width", round(100 * (0.10 if distance is None else distance)))
    return f"{fact} {speech.how_sure(finding.claim.probability, speech.say('tone.within', points=width))}"


def _pattern_detected(finding: Finding, speech: "Speech") -> str:
    from worker.insights.naming import quoted, split_pattern, value_name  # noqa: PLC0415

    content = finding.content
    pattern_type = str(content.get("pattern_type"))
    subject, direction = split_pattern(pattern_type)
    against = "pool" if content.get("against") == "pool" else "own_past"
    than = speech.say(f"than.{against}")
    value = value_name(speech, subject, content.get("value"))
    if subject == "urgency" and value is None:
        value = speech.say("urgency.High")
    if speech.has(f"pattern.{pattern_type}"):
        statement = speech.say(f"pattern.{pattern_type}", than=than)
    elif value is not None and direction and speech.has(f"subject.{subject}"):
        statement = speech.say(
            f"pattern.share_{direction}", subject=speech.say(f"subject.{subject}", value=value), than=than
        )
    else:
        statement = speech.say("pattern.other", value=quoted(speech, pattern_type))
    sure = speech.how_sure(finding.claim.probability, statement)
    first_seen = date_at(content, "first_seen")
    continuing = content.get("status") == "continuing"
    figures = _figures(finding, speech, against, None if continuing else first_seen)
    sentences = [sure, speech.say("figures", figures=figures) if figures else ""]
    if continuing and first_seen is not None:
        sentences.append(speech.say("pattern.continuing", date=speech.date(first_seen)))
    return " ".join(sentence for sentence in sentences if sentence)


def _figures(finding: Finding, speech: "Speech", against: str, first_seen: date | None) -> str:
    """List what is known of a pattern's size, in the order in which it matters; and since when, unless that is None."""
    content = finding.content
    figures = []
    estimate = number_at(content, "effect", "estimate")
    if estimate is not None:
        unit = "ratio" if value_at(content, "effect", "unit") == "ratio" else "points"
        write = speech.number if unit == "ratio" else speech.points
        values = {"effect": write(estimate)}
        if unit == "ratio":
            values["level"] = speech.say(f"level.{against}")
        low, high = (number_at(content, "effect", "interval", end) for end in ("low", "high"))
        if low is None or high is None:
            figures.append(speech.say(f"figures.{unit}", **values))
        else:
            ends = speech.number if unit == "ratio" else speech.signed_points
            figures.append(speech.say(f"figures.{unit}_range", low=ends(low), high=ends(high), **values))
    affected = number_at(content, "affected_leads")
    if affected is not None:
        figures.append(speech.say("figures.leads_all" if finding.client_id is None else "figures.leads", affected))
    if first_seen is not None:
        figures.append(speech.say("figures.since", date=speech.date(first_seen)))
    joined = figures[0] if figures else ""
    for figure in figures[1:]:
        joined = speech.say("figures.join", first=joined, second=figure)
    return joined


def _conversion_prediction(finding: Finding, speech: "Speech") -> str:
    content = finding.content
    candidates = (number_at(finding.facts, "n_open"), number_at(content, "cohort", "size"))
    n_open = next((n for n in candidates if n is not None), float(finding.n))
    leads = speech.say("open_leads_all" if finding.client_id is None else "open_leads", n_open)
    predicted = number_at(content, "predicted_conversions")
    if predicted is None:
        return speech.say("prediction.unknown", leads=leads)
    low, high = (number_at(finding.claim.parameters, end) for end in ("low", "high"))
    if low is None or high is None:
        statement = speech.say("prediction.right")
    else:
        ends = {"low": speech.number(low), "high": speech.number(high)}
        span = speech.say("range.one", low=ends["low"]) if low == high else speech.say("range.some", **ends)
        statement = speech.say("prediction.range", range=span)
    fact = speech.say("prediction.count", round(predicted), leads=leads)
    return f"{fact} {speech.how_sure(finding.claim.probability, statement)}"


def _conversion(finding: Finding, speech: "Speech") -> str:
    content = finding.content
    when, touches = number_at(content, "days_to_convert"), number_at(content, "touch_points")
    worth = number_at(content, "conversion_value")
    fact = speech.say(
        "conversion",
        who=_who(finding, speech),
        when="" if when is None else speech.say("conversion.when", when),
        touches="" if touches is None else speech.say("conversion.touches", touches),
        worth=speech.say("conversion.worth", value=speech.number(worth)) if worth else "",
    )
    return f"{fact} {_stays(finding, speech)}"


def _reversion(finding: Finding, speech: "Speech") -> str:
    from worker.insights.naming import tag_name  # noqa: PLC0415

    content = finding.content
    after = number_at(content, "days_as_customer")
    tag = vocabulary.clean_text(content.get("reverted_to"), LONGEST_NAME)
    reason = content.get("reason")
    mistaken = isinstance(reason, str) and vocabulary.fold(reason) in _MISTAKES
    untagged = vocabulary.tag_code(tag) == vocabulary.TAG_NONE
    fact = speech.say(
        "reversion",
        who=_who(finding, speech),
        after="" if after is None else speech.say("reversion.after", after),
        state="" if tag is None or untagged else speech.say("reversion.state", tag=tag_name(speech, tag)),
        why=speech.say("reversion.mistake") if mistaken else "",
    )
    return f"{fact} {_stays(finding, speech)}"


def _accuracy_review(finding: Finding, speech: "Speech") -> str:
    n, pending = (number_at(finding.content, "overall", name) or 0 for name in ("resolved", "pending"))
    said, right = (number_at(finding.content, "overall", name) for name in ("mean_said", "mean_right"))
    everyone = "_all" if finding.client_id is None else ""
    if n and said is not None and right is not None:
        claims = speech.say(f"review.claims{everyone}", n)
        share = {"right": speech.percent(right), "said": speech.percent(said)}
        fact = speech.say("review.decided", claims=claims, **share)
    else:
        fact = speech.say(f"review.pending{everyone}", pending) if pending else speech.say("review.nothing")
    distance = number_at(finding.claim.parameters, "distance")
    width = speech.say("width", round(100 * (0.05 if distance is None else distance)))
    return f"{fact} {speech.how_sure(finding.claim.probability, speech.say('review.fits', points=width))}"


_TELLERS: Mapping[str, Callable[[Finding, "Speech"], str]] = {
    "engagement_score": _engagement_score,
    "urgency_trend": _urgency_trend,
    "tone_distribution": _tone_distribution,
    "pattern_detected": _pattern_detected,
    "conversion_prediction": _conversion_prediction,
    "conversion": _conversion,
    "reversion": _reversion,
    "accuracy_review": _accuracy_review,
}


def _trend(finding: Finding, speech: "Speech", subject: str) -> str:
    trend = finding.content.get("trend")
    if trend not in TREND_CLASSES:
        return speech.say("trend.unknown")
    return speech.how_sure(finding.claim.probability, speech.say(f"{subject}.{trend}"))


def _stays(finding: Finding, speech: "Speech") -> str:
    days = number_at(finding.claim.parameters, "days")
    statement = speech.say(f"{finding.event_type}.stays", STAYS_DAYS if days is None else days)
    return speech.how_sure(finding.claim.probability, statement)


def _who(finding: Finding, speech: "Speech") -> str:
    name = vocabulary.clean_text(finding.content.get("lead_name"), LONGEST_NAME)
    return speech.say("lead.named", name=name) if name else speech.say("lead.unnamed")


def _leads(finding: Finding, speech: "Speech", n: float) -> str:
    return speech.say("leads_all" if finding.client_id is None else "leads", n)


def _of_leads(finding: Finding, speech: "Speech", key: str, n: float) -> str:
    return speech.say(key, leads=_leads(finding, speech, n))


def _no_leads(finding: Finding, speech: "Speech") -> str:
    return speech.say("no_leads_all" if finding.client_id is None else "no_leads")


def _known(counts: object, names: tuple[str, ...]) -> float | None:
    """Add up the counts of the named levels, None where there are no counts to see."""
    if not isinstance(counts, Mapping):
        return None
    return sum(number_at(counts, name) or 0 for name in names)
