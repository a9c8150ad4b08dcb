"""What is said of a pattern: how sure it is and how large in one sentence, what to do about it in another."""

from worker.insights.advice import pattern_step
from worker.insights.content import date_at, number_at, value_at
from worker.insights.naming import quoted, split_pattern, value_name
from worker.insights.phrases import for_whom
from worker.insights.speech import Speech
from worker.jobs.finding import Finding


def pattern_detected(finding: Finding, speech: Speech) -> str:
    """Say what is more or less frequent than before, or than elsewhere, and what follows."""
    against = "pool" if finding.content.get("against") == "pool" else "own_past"
    figures = [
        figure
        for figure in (_effect(finding, speech, against), _affected(finding, speech), _since(finding, speech))
        if figure
    ]
    joined = figures[0] if figures else ""
    for figure in figures[1:]:
        joined = speech.say("figures.join", first=joined, second=figure)
    sure = speech.how_sure(finding.claim.probability, _statement(finding, speech, against), joined)
    return f"{sure} {pattern_step(finding, speech)}".rstrip()


def _statement(finding: Finding, speech: Speech, against: str) -> str:
    pattern_type = finding.content.get("pattern_type")
    if not isinstance(pattern_type, str):
        return speech.say("pattern.unnamed")
    subject, direction = split_pattern(pattern_type)
    than = speech.say(f"than.{against}")
    if speech.has(f"pattern.{pattern_type}"):
        return speech.say(f"pattern.{pattern_type}", than=than)
    value = value_name(speech, subject, finding.content.get("value"))
    if subject == "urgency" and value is None:
        value = speech.say("urgency.High")
    if value is None or not direction or not speech.has(f"subject.{subject}"):
        return speech.say("pattern.other", value=quoted(speech, pattern_type))
    return speech.say(f"pattern.share_{direction}", subject=speech.say(f"subject.{subject}", value=value), than=than)


def _effect(finding: Finding, speech: Speech, against: str) -> str:
    effect = finding.content.get("effect")
    estimate, low, high = (
        number_at(effect, *path) for path in (("estimate",), ("interval", "low"), ("interval", "high"))
    )
    if estimate is None:
        return ""
    ratio = value_at(effect, "unit") == "ratio"
    write = speech.number if ratio else speech.signed_points
    values = {"effect": speech.number(estimate) if ratio else speech.points(estimate)}
    if ratio:
        values["level"] = speech.say(f"level.{against}")
    key = "figures.ratio" if ratio else "figures.points"
    if low is None or high is None:
        return speech.say(key, **values)
    return speech.say(f"{key}_range", low=write(low), high=write(high), **values)


def _affected(finding: Finding, speech: Speech) -> str:
    affected = number_at(finding.content, "affected_leads")
    return "" if affected is None else speech.say(for_whom(finding, "figures.leads"), affected)


def _since(finding: Finding, speech: Speech) -> str:
    first_seen = date_at(finding.content, "first_seen")
    if first_seen is None:
        return ""
    key = "figures.continuing" if finding.content.get("status") == "continuing" else "figures.since"
    return speech.say(key, date=speech.date(first_seen))
