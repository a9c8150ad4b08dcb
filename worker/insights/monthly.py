"""What is said of the month's leads as they stand: their engagement, their urgency, their tones."""

from worker import vocabulary
from worker.insights.content import number_at
from worker.insights.naming import tone_name
from worker.insights.phrases import counted, known_count, no_leads, trend_sentence
from worker.insights.speech import Speech
from worker.jobs.finding import Finding

# Of dominant_tone_probability: from here on a tone "is", or "seems to be", the leading one.
SURE_TONE, LIKELY_TONE = 0.90, 0.60


def engagement_score(finding: Finding, speech: Speech) -> str:
    """Say the score, the one before, and whether it changes."""
    total = number_at(finding.content, "metrics", "total_leads")
    n_leads = finding.n if total is None else total
    score, before = number_at(finding.content, "overall_score"), number_at(finding.content, "previous", "raw")
    if score is None and n_leads == 0:
        return no_leads(finding, speech)
    leads = counted(finding, speech, "leads", n_leads)
    if score is None:
        return speech.say("engagement.unknown", leads=leads)
    now = speech.number(round(score))
    if before is None:
        return f"{speech.say('engagement.score', score=now, leads=leads)} {speech.say('trend.nothing_before')}"
    fact = speech.say("engagement.score_before", score=now, leads=leads, before=speech.number(round(before)))
    return f"{fact} {trend_sentence(finding, speech, 'engagement')}"


def urgency_trend(finding: Finding, speech: Speech) -> str:
    """Say the share of high urgency, the one before, and whether it changes."""
    content = finding.content
    share, before = number_at(content, "high_urgency_pct"), number_at(content, "previous_high_urgency_pct")
    n_known = known_count(content.get("counts"), vocabulary.URGENCY_NAMES)
    if share is None or n_known == 0:
        return f"{_unknown(finding, speech, 'urgency.unknown')} {speech.say('trend.unknown')}"
    leads = counted(finding, speech, "urgency.leads", finding.n if n_known is None else n_known)
    if before is None:
        # The claim rests on other clients alone: "as before" would speak of a month in which there was nothing to see.
        fact = speech.say("urgency.share", leads=leads, share=speech.percent(share))
        return f"{fact} {speech.say('trend.nothing_before')}"
    fact = speech.say("urgency.share_before", leads=leads, share=speech.percent(share), before=speech.percent(before))
    return f"{fact} {trend_sentence(finding, speech, 'urgency')}"


def tone_distribution(finding: Finding, speech: Speech) -> str:
    """Say which tone leads, if one does, and how well the shares are known."""
    n_known = known_count(finding.content.get("counts"), vocabulary.TONES)
    if n_known == 0:
        return _unknown(finding, speech, "tone.unknown")
    fact = _leading_tone(
        finding, speech, counted(finding, speech, "tone.leads", finding.n if n_known is None else n_known)
    )
    distance = number_at(finding.claim.parameters, "distance")
    width = speech.say("width", round(100 * (0.10 if distance is None else distance)))
    return f"{fact} {speech.how_sure(finding.claim.probability, speech.say('tone.within', points=width))}"


def _leading_tone(finding: Finding, speech: Speech, leads: str) -> str:
    tone = finding.content.get("dominant_tone")
    probability = number_at(finding.content, "dominant_tone_probability") or 0.0
    share = number_at(finding.content, "estimate", tone) if isinstance(tone, str) else None
    if not isinstance(tone, str) or share is None or probability < LIKELY_TONE:
        return speech.say("tone.mixed", leads=leads)
    # That a tone leads has its own probability, yet it is not to sound surer than the column beside it.
    sure = min(probability, finding.claim.probability) >= SURE_TONE
    key = "tone.dominant" if sure else "tone.perhaps"
    return speech.say(key, tone=tone_name(speech, tone), share=speech.percent(share), leads=leads)


def _unknown(finding: Finding, speech: Speech, key: str) -> str:
    if finding.n == 0:
        return no_leads(finding, speech)
    return speech.say(key, leads=counted(finding, speech, "leads", finding.n))
