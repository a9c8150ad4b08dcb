"""
How a language speaks: its messages, plurals, numbers and dates, and the scale of words for how sure we are.

The scale is the same everywhere: "very likely" from a confidence of 0.90, "likely" from 0.75, "leaning" from 0.60,
"too early to say" below. The confidence meant is the one a reader sees, rounded to two places as it is stored.
"""

import math
from datetime import date
from decimal import Decimal
from functools import lru_cache
from types import MappingProxyType

from babel import Locale
from babel.dates import format_date
from babel.numbers import format_decimal, format_percent

from worker.insights import en, fr

CATALOGUES = MappingProxyType({"en": en.MESSAGES, "fr": fr.MESSAGES})
CERTAINTY = ((0.90, "very_likely"), (0.75, "likely"), (0.60, "leaning"), (0.0, "too_early"))  # from this confidence on


def stated_confidence(probability: float) -> float:
    """Give the confidence as the column stores it: within [0.01, 0.99], two places; what is not a number is 0.01."""
    return 0.01 if math.isnan(probability) else round(min(max(probability, 0.01), 0.99), 2)


def certainty(probability: float) -> str:
    """Name the certainty that a probability earns: very_likely, likely, leaning or too_early."""
    confidence = stated_confidence(probability)
    return next(word for least, word in CERTAINTY if confidence >= least)


class Speech:
    """One language: says messages of its catalogue and writes values its way."""

    def __init__(self, language: str) -> None:
        if language not in CATALOGUES:
            raise ValueError(f"language must be one of {', '.join(CATALOGUES)}, not {language!r}")
        self.language = language
        self._messages = CATALOGUES[language]
        self._locale = Locale(language)

    def has(self, key: str) -> bool:
        """Whether the catalogue has this message."""
        return key in self._messages

    def say(self, key: str, n: float | None = None, /, **values: str) -> str:
        """Fill in a message; n chooses the plural form ("=0" goes first where there is one) and fills {n}."""
        message = self._messages[key]
        if n is not None:
            n = int(n) if float(n).is_integer() else n  # "1.0 leads" would be plural in English
            values["n"] = self.number(n)
        if isinstance(message, str):
            return message.format(**values)
        form = "=0" if n == 0 and "=0" in message else self._locale.plural_form(Decimal(str(n or 0)))
        return message.get(form, message["other"]).format(**values)

    def number(self, value: float) -> str:
        """Write a number in full, two significant digits below ten where it is no whole one."""
        if value != int(value) and abs(value) < 10:
            return str(format_decimal(value, "@@", locale=self._locale))
        return str(format_decimal(round(value), locale=self._locale))

    def percent(self, share: float) -> str:
        """Write a share as a whole percentage; next to nothing is not written as 0%, nor nearly all as 100%."""
        if 0 < share < 0.005:
            return self.say("percent.under", percent=self._percent(0.01))
        if 0.995 < share < 1:
            return self.say("percent.over", percent=self._percent(0.99))
        return self._percent(share)

    def _percent(self, share: float) -> str:
        return str(format_percent(share, locale=self._locale))

    def points(self, difference: float) -> str:
        """Write a difference of shares in signed percentage points, with a decimal only below one point."""
        return self.say("points", abs(_rounded_points(difference)), signed=self.signed_points(difference))

    def signed_points(self, difference: float) -> str:
        """Write the same without the word."""
        points = _rounded_points(difference)
        return str(format_decimal(points, "+#,##0.#;-#,##0.#" if points else "0", locale=self._locale))

    def date(self, day: date) -> str:
        """Write a date in full, the first of a French month as « 1er »."""
        text = str(format_date(day, "long", locale=self._locale))
        return self.say("date.first", date=text[2:]) if text.startswith("1 ") else text

    def how_sure(self, probability: float, statement: str) -> str:
        """Say a statement (a clause) with the certainty it has earned."""
        percent = self._percent(stated_confidence(probability))
        return self.say(f"certainty.{certainty(probability)}", statement=statement, percent=percent)


def _rounded_points(difference: float) -> float:
    points = 100 * difference
    return round(points) if abs(points) >= 1 else round(points, 1)


@lru_cache(maxsize=4)
def speech(language: str) -> Speech:
    """Give the language's speech, made once; ValueError for a language without a catalogue."""
    return Speech(language)
