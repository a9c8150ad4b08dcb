"""The sentences of every event type, class, certainty and language: whole, short, well set, and all there is said."""

import itertools
import re

import pytest
from babel.messages.pofile import read_po
from insight_findings import (
    EVERY_KIND,
    PARTS,
    PROMISING,
    conversion,
    engagement,
    finding,
    pattern,
    prediction,
    reversion,
    review,
    tone,
    urgency,
)

from worker.insights import insight_text, recommendation, recommended_actions
from worker.insights.catalogue import FOLDER, LANGUAGES, Catalogue
from worker.insights.speech import certainty, speech, stated_confidence
from worker.vocabulary import TAG_NAMES, TONES, URGENCY_NAMES

PROBABILITIES = (0.594, 0.6, 0.744, 0.75, 0.999)
TRENDS = ("increasing", "decreasing", "stable", None)
NUMBERS = (None, 0, 1, 1.5, 34, 10**6, 10**9, float("nan"))
SHARES = (None, 0, 0.001, 0.005, 0.345, 0.999, 1)
POINTS = (None, 0, 0.0004, -0.004, -0.01, 0.12, -0.9, float("nan"))
INTENTS = (
    "Quote Request", "Service Request", "B2B Partnership", "Consultation", "General Information", "Technical Support",
)  # fmt: skip
LEVELS = {
    "urgency": (*URGENCY_NAMES, None),
    "tone": TONES,
    "source": ("Web", None),
    "intent": (*INTENTS, "Anything else", None),
    "language": ("en", "fr", "es"),
    "volume": (None,),
    "repeat_contact": (None,),
    "conversion_rate": (None,),
    "weather": ("rain",),
}
PATTERNS = [
    (f"{subject}_{direction}", level)
    for subject, levels in LEVELS.items()
    for level in levels
    for direction in ("increasing", "decreasing")
]
FACTS = (
    "reason_high_urgency", "reason_touch_due", "reason_ageing", "reason_recent_touch", "high_urgency_open",
    "follow_up_open", "young_open", "stale_open",
)  # fmt: skip
# More than this no one reads, and a row of a table does not hold; quotations of 80 characters come on top.
LONGEST = {"en": 320, "fr": 390}


def trends(client_id):
    for trend, before in itertools.product(TRENDS, NUMBERS):
        yield lambda p, t=trend, b=before: engagement(p, client_id=client_id, trend=t, previous={"raw": b})
    for trend, part in itertools.product(TRENDS, (*PARTS, {"part": "odd"})):
        yield lambda p, t=trend, part=part: engagement(p, client_id=client_id, trend=t, parts=[{**part, "points": -1}])
    for score, total in itertools.product(NUMBERS, NUMBERS):
        yield lambda p, s=score, n=total: engagement(
            p, client_id=client_id, overall_score=s, metrics={"total_leads": n}
        )
    for trend, share in itertools.product(TRENDS, SHARES):
        yield lambda p, t=trend, s=share: urgency(
            p, client_id=client_id, trend=t, high_urgency_pct=s, previous_high_urgency_pct=0.5
        )
        yield lambda p, t=trend, s=share: urgency(p, client_id=client_id, trend=t, previous_high_urgency_pct=s)
    for n in NUMBERS:
        yield lambda p, n=n: urgency(p, client_id=client_id, counts={"High": n, "unknown": 3})
        yield lambda p, n=n: tone(p, client_id=client_id, counts={"Formal": n, "unknown": 3})
    for name, sure in itertools.product((*TONES, "Sarcastic", None), (0.3, 0.7, 0.95)):
        yield lambda p, name=name, sure=sure: tone(
            p, client_id=client_id, dominant_tone=name, dominant_tone_probability=sure, estimate={str(name): 0.4}
        )


def patterns(client_id):
    for (kind, level), against in itertools.product(PATTERNS, ("own_past", "pool")):
        yield lambda p, kind=kind, level=level, against=against: pattern(
            p, client_id=client_id, pattern_type=kind, value=level, against=against
        )
    for estimate, end, unit, status in itertools.product(POINTS, POINTS, ("share", "ratio"), ("new", "continuing")):
        effect = {"estimate": estimate, "interval": {"low": end, "high": 0.3}, "unit": unit}
        against = "pool" if status == "new" else "own_past"
        yield lambda p, effect=effect, status=status, against=against: pattern(
            p, client_id=client_id, effect=effect, status=status, against=against
        )
    for n in NUMBERS:
        yield lambda p, n=n: pattern(p, client_id=client_id, affected_leads=n, against="pool")


def outcomes(client_id):
    for n, high in itertools.product(NUMBERS, (0, 15, None)):
        yield lambda p, n=n, high=high: prediction(p, client_id=client_id, predicted_conversions=n, low=0, high=high)
    for n_open, promising in itertools.product((0, 1, 2, 10, 10**6), (None, [], PROMISING[:1], PROMISING)):
        yield lambda p, n=n_open, best=promising: prediction(p, client_id=client_id, n_open=n, high_value_leads=best)
    for key, n in itertools.product(("days_to_convert", "touch_points", "conversion_value"), NUMBERS):
        yield lambda p, key=key, n=n: conversion(p, **{key: n})
    for n, tag in itertools.product(NUMBERS, (*TAG_NAMES, "VIP", None)):
        reason = "Placed in converted by accident" if tag == "Active" else None
        yield lambda p, n=n, tag=tag, reason=reason: reversion(p, days_as_customer=n, reverted_to=tag, reason=reason)
    yield lambda p: reversion(p, lead_name=None)
    for n, pending, right in itertools.product(NUMBERS, NUMBERS, SHARES):
        overall = {"resolved": n, "pending": pending, "mean_said": 0.7, "mean_right": right}
        yield lambda p, overall=overall: review(p, client_id=client_id, overall=overall)
    for make in EVERY_KIND:
        yield lambda p, make=make: finding(make().event_type, {}, p, client_id=client_id, n=0)


EVERY_CASE = [make for client_id in ("c-1", None) for kind in (trends, patterns, outcomes) for make in kind(client_id)]


def texts(language):
    """Every case at every probability, with what it was made of."""
    for make, probability in itertools.product(EVERY_CASE, PROBABILITIES):
        made = make(probability)
        yield made, insight_text(made, language)


@pytest.mark.parametrize("language", LANGUAGES)
def test_every_sentence_is_whole_short_and_well_set(language):
    wrong = re.compile(
        {
            "en": r"['\"«»\u00a0\u202f]| [.,:;!?%)]|\( ",
            "fr": r"['\"“”]|[^\u00a0\u202f][:;!?%»]|«(?![\u00a0\u202f])| [.,)]|\( |\d\.\d|\b(que|si) [aeiouyéèêh]",
        }[language]
    )
    for made, text in texts(language):
        assert not re.search(r"[{}]|\s\s|None|\bnan\b|\.\.|,,", text), text
        assert not wrong.search(text), text
        assert text[0].isupper()
        assert text.endswith(".")
        assert len(re.findall(r"[.!?](?=\s|$)", text)) <= 2, text
        assert len(text) <= LONGEST[language], text
        assert ("Sarah Chen" in text) == bool(made.content.get("lead_name")), text


@pytest.mark.parametrize("language", LANGUAGES)
def test_every_confidence_that_is_said_is_the_one_of_the_column(language):
    """A text says its certainty in the words of the scale and in the column's percentage, or says neither."""
    words = {
        "en": {"very_likely": "It is very likely (", "likely": "It is likely (", "leaning": "are leaning this way ("},
        "fr": {
            "very_likely": "Il est très probable (",
            "likely": "Il est probable (",
            "leaning": "Tendance possible (",
        },
    }[language]
    for made, text in texts(language):
        sure = certainty(made.claim.probability)
        percent = speech(language).percent(stated_confidence(made.claim.probability))
        said = [word for word, start in words.items() if start in text]
        assert said in ([], [sure]), text
        assert not said or f"{words[sure]}{percent})" in text, text


@pytest.mark.parametrize("language", LANGUAGES)
def test_nothing_is_advised_on_weak_grounds_or_to_all_clients(language):
    """Below 0.60 no more than to wait; below 0.75 no more than to watch, but for whom to contact first."""
    kinds = ("engagement_score", "urgency_trend", "pattern_detected", "conversion_prediction")
    firm = {"en": r"\b(answer|spread|get in touch|contact the|Adapt)\b", "fr": r"(répondez|étalez|contactez|Adaptez)"}
    for made, text in texts(language):
        sure = certainty(made.claim.probability)
        watched = sure == "leaning" and made.event_type != "conversion_prediction"
        if sure == "too_early" or watched or made.client_id is None or made.event_type not in kinds:
            assert not re.search(firm[language], text), text


def test_what_is_advised_follows_from_what_changed():
    falling = {part["part"]: engagement(trend="decreasing", parts=[{**part, "points": -3.0}]) for part in PARTS}
    assert {part: insight_text(made, "en").partition("falling: ")[2] for part, made in falling.items()} == {
        "confidence": "see where the less promising leads come from.",
        "urgency": "spread follow-ups over several weeks.",
        "engaged": "get in touch with new leads within 7 days.",
    }
    for parts in (None, [], [{"part": "engaged", "points": 2}], [{"part": "odd", "points": -2}], ["?"], 3):
        text = insight_text(engagement(trend="decreasing", parts=parts), "en")
        assert text.endswith("falling: see which leads score lower than before.")
    assert insight_text(engagement(trend="increasing"), "en").endswith("the score is rising.")
    assert insight_text(urgency(0.8, trend="increasing"), "en").endswith(
        "frequent: answer the most urgent leads first."
    )
    assert insight_text(urgency(0.8, trend="stable"), "en").endswith(": no action is needed.")
    assert insight_text(urgency(0.6, trend="stable"), "en").endswith("; no action is needed yet.")
    assert insight_text(urgency(0.5, trend="increasing"), "en").endswith(": no action is needed yet.")
    for client_id in ("c-1", None):
        advised = recommendation("tone_increasing", "Urgent", "en")
        assert insight_text(pattern(client_id=client_id), "en").endswith(f"{advised}.") == (client_id is not None)


@pytest.mark.parametrize(
    ("n_open", "listed", "advice"),
    [
        (140, 10, "contact the 10 most promising leads first."),
        (140, 1, "contact the most promising lead first."),
        (10, 10, "contact the most promising leads first."),
        (2, 2, "contact the most promising leads first."),
        (1, 1, ""),
        (140, 0, ""),
    ],
)
def test_whom_to_contact_first(n_open, listed, advice):
    made = prediction(n_open=n_open, high_value_leads=PROMISING[:listed])
    assert insight_text(made, "en").partition("between 9 and 15")[2] == (f": {advice}" if advice else ".")


@pytest.mark.parametrize("language", LANGUAGES)
def test_every_message_is_said_of_something(language, monkeypatch):
    """A message that no finding leads to is one too many."""
    said = set()
    message = Catalogue._message

    def noted(self, key, n, values):
        said.add(f"{key}.zero" if n == 0 and self.has(f"{key}.zero") else key)
        return message(self, key, n, values)

    monkeypatch.setattr(Catalogue, "_message", noted)
    assert sum(1 for _ in texts(language)) > 5000
    for kind, level in [*PATTERNS, ("other", None)]:
        recommendation(kind, level, language)
    for fact in FACTS:
        recommended_actions({fact: 1}, language)
    recommended_actions({"reason_source": "Web", "top_source": "Ads"}, language)
    with (FOLDER / language / "LC_MESSAGES" / "insights.po").open("rb") as file:
        keys = {m.id[0] if m.pluralizable else m.id for m in read_po(file, locale=language) if m.id}
    assert keys - said == set()
    assert said <= keys


@pytest.mark.parametrize("language", LANGUAGES)
@pytest.mark.parametrize("n", [1, 2, 10**6])
def test_every_action_is_a_sentence_without_its_full_stop(language, n):
    advice = [action for fact in FACTS for action in recommended_actions({fact: n}, language)]
    advice += recommended_actions({"reason_source": "Web", "top_source": "Ads"}, language)
    advice += [recommendation(kind, level, language) for kind, level in PATTERNS]
    for text in advice:
        assert text[0].isupper()
        assert not re.search(r"[{}.]|  |None|['\"]", text), text
        assert len(text) <= 140, text
