"""
How a language speaks: its messages, how it writes values, and the scale of words for how sure we are.

The scale is the same everywhere: "very likely" from a confidence of 0.90, "likely" from 0.75, "leaning" from 0.60,
"too early to say" below. The confidence meant is the one a reader sees, rounded to two places as it is stored.
"""

import math
from functools import lru_cache

CERTAINTY = ((0.90, "very_likely"), (0.75, "likely"), (0.60, "leaning"), (0.0, "too_early"))  # from this confidence on
DOMAIN = "insights"


def stated_confidence(probability: float) -> float:
    """Give the confidence as the column stores it: within [0.01, 0.99], two places; what is not a number is 0.01."""
    return 0.01 if math.isnan(probability) else round(min(max(probability, 0.01), 0.99), 2)


def certainty(probability: float) -> str:
    """Name the certainty that a probability earns: very_likely, likely, leaning or too_early."""
    confidence = stated_confidence(probability)
    return next(word for least, word in CERTAINTY if confidence >= least)


class Speech:
    """One language: says the messages of insights and writes values its way."""

    def __init__(self, language: str) -> None:
        # Here, not above: Babel and its plural rules cost a command that says nothing a noticeable start.
        from worker.insights.catalogue import load  # noqa: PLC0415
        from worker.insights.numbers import numbers_of  # noqa: PLC0415

        catalogue = load(DOMAIN, language)
        self.language = language
        self.has, self.say = catalogue.has, catalogue.say
        self._numbers = numbers_of(language)
        self.number, self.date = self._numbers.number, self._numbers.date

    def percent(self, share: float) -> str:
        """Write a share as a whole percentage; next to nothing is not written as 0%, nor nearly all as 100%."""
        if 0 < share < 0.005:
            return self.say("percent.under", percent=self._numbers.percent(1))
        if 0.995 < share < 1:
            return self.say("percent.over", percent=self._numbers.percent(99))
        return self._numbers.percent(round(100 * share))

    def points(self, difference: float) -> str:
        """Write a difference of shares in signed percentage points, with a decimal only below one point."""
        return self.say("points", abs(_rounded_points(difference)), signed=self.signed_points(difference))

    def signed_points(self, difference: float) -> str:
        """Write the same without the word."""
        return self._numbers.signed(_rounded_points(difference))

    def how_sure(self, probability: float, statement: str, rest: str = "") -> str:
        """Say a statement (a clause) with the certainty it has earned; its sentence ends in rest, if there is any."""
        percent = self._numbers.percent(round(100 * stated_confidence(probability)))
        key = f"certainty.{certainty(probability)}"
        if rest:
            return self.say(f"{key}.then", statement=statement, percent=percent, rest=rest)
        return self.say(key, statement=statement, percent=percent)


def _rounded_points(difference: float) -> float:
    points = 100 * difference
    return round(points) if abs(points) >= 1 else round(points, 1)


@lru_cache(maxsize=4)
def speech(language: str) -> Speech:
    """Give the language's speech, made once; ValueError for a language without a catalogue."""
    return Speech(language)


def get_ready() -> None:
    """Load what sentences of every language need, and write a value of each kind: the first of each takes a while."""
    from worker.insights.catalogue import LANGUAGES  # noqa: PLC0415 - as above

    for language in LANGUAGES:
        says = speech(language)
        for write in (says.percent, says.number, says.signed_points):
            write(0.5)
