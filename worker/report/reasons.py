"""Says in a few words what moves a lead's chance: the reasons of a prediction, as a page's language puts them."""

import re
from datetime import date

from worker.insights.naming import quoted, value_name
from worker.insights.speech import speech
from worker.report.page import Reason
from worker.report.words import Words

_RANGE = re.compile(r"(?:(<|>=) )?(\d+(?:\.\d+)?)(?:-(\d+(?:\.\d+)?))?(?: days)?( or more)?")


def reason_text(words: Words, reason: Reason) -> str:
    """Say a reason; a kind that is not known here is named as it stands."""
    value = reason.value if isinstance(reason.value, str) else None
    if reason.name in ("client", "pace"):
        client, pace = words.say("reason.client"), words.say("reason.pace")
        return client if reason.name == "client" else pace
    if value is None:
        return reason.name
    if value in ("unknown", "other"):
        return _unnamed(words, reason.name, value)
    if reason.name in ("age", "touches", "last touch", "confidence"):
        return _measured(words, reason.name, value)
    return _named(words, reason.name, value)


def _named(words: Words, name: str, value: str) -> str:
    said = speech(words.language)
    if name == "weekday":
        return words.say("reason.weekday", day=words.weekday(value))
    if name == "industry":
        return words.say("reason.industry", name=quoted(said, value))
    shown = value_name(said, name, value) or quoted(said, value)
    if name == "urgency":
        levels = {"High": words.say("reason.urgency_high"), "Medium": words.say("reason.urgency_medium")}
        return levels.get(value, words.say("reason.urgency_low"))
    if name == "tone":
        return words.say("reason.tone", name=shown)
    if name == "source":
        return words.say("reason.source", name=shown)
    if name == "intent":
        return words.say("reason.intent", name=shown)
    if name == "language":
        return words.say("reason.language", name=shown)
    return words.say("reason.arrival") if _has_date(value) else f"{name}: {value}"


def _has_date(value: str) -> bool:
    """Whether a level is a stretch of days, as those of the arrival are."""
    found = re.search(r"\d{4}-\d\d-\d\d", value)
    try:
        return found is not None and date.fromisoformat(found[0]) is not None
    except ValueError:
        return False


def _measured(words: Words, name: str, value: str) -> str:
    """Say a level that is a number or a range of numbers, as "3 days", "< 0.50", "2-3", ">= 90 days", "none"."""
    if value == "none":
        return words.say("reason.untouched")
    found = _RANGE.fullmatch(value)
    if found is None:
        return f"{name}: {value}"
    sign, low, high, more = found.groups()
    if name == "age":
        n = int(float(low))
        return words.say("reason.today") if n == 0 else words.say("reason.age", n)
    if name == "touches":
        n = int(float(high or low))
        if more:
            return words.say("reason.touches_more", count=words.number(n))
        if n == 0:
            return words.say("reason.no_touch")
        text = words.span(float(low), float(high)) if high else words.number(n)
        return words.say("reason.touches", n, text=text)
    if name == "confidence":
        return words.say("reason.confidence", range=_range(words, sign, low, high, share=True))
    if sign == ">=":
        return words.say("reason.last_touch_over", days=words.number(float(low)))
    return words.say("reason.last_touch", range=_range(words, sign, low, high, share=False))


def _range(words: Words, sign: str | None, low: str, high: str | None, *, share: bool) -> str:
    write = words.percent if share else words.number
    if high is not None:
        return words.say("span.values", low=write(float(low)), high=write(float(high)))
    if sign == "<":
        return words.say("span.under", end=write(float(low)))
    return words.say("span.over", end=write(float(low)))


def _unnamed(words: Words, name: str, value: str) -> str:
    unknown = {
        "urgency": words.say("reason.unknown.urgency"),
        "tone": words.say("reason.unknown.tone"),
        "confidence": words.say("reason.unknown.confidence"),
        "source": words.say("reason.unknown.source"),
        "intent": words.say("reason.unknown.intent"),
        "language": words.say("reason.unknown.language"),
        "industry": words.say("reason.unknown.industry"),
    }
    other = {
        "source": words.say("reason.other.source"),
        "intent": words.say("reason.other.intent"),
        "industry": words.say("reason.other.industry"),
    }
    return (unknown if value == "unknown" else other).get(name, f"{name}: {value}")
