"""
How a language writes numbers, percentages and dates, and which numbers it counts alike: Babel's rules, remembered.

Babel takes some 40 microseconds for a number, and a run writes tens of thousands of sentences with a few numbers each;
most of them are small or were written before, so what was written is kept, up to a bound.
"""

from datetime import date
from decimal import Decimal
from functools import lru_cache, partial

from babel import Locale
from babel.dates import format_date
from babel.numbers import format_decimal, format_percent

REMEMBERED = 4096  # numbers of each kind, a few hundred kilobytes


class Numbers:
    """One language's way of writing numbers; every value must be finite."""

    def __init__(self, language: str) -> None:
        locale = Locale(language)
        self._first_is_ordinal = language == "fr"  # CLDR has no word for it
        remember = lru_cache(maxsize=REMEMBERED)
        self._whole = remember(partial(format_decimal, locale=locale))
        self._two_digits = remember(partial(format_decimal, format="@@", locale=locale))
        self._signed = remember(partial(format_decimal, format="+#,##0.#;-#,##0.#", locale=locale))
        self._hundredths = remember(lambda hundredths: format_percent(Decimal(hundredths) / 100, locale=locale))
        self._date = remember(partial(format_date, format="long", locale=locale))
        self._plural_form = remember(lambda n: locale.plural_form(Decimal(str(n))))

    def number(self, value: float) -> str:
        """Write a number in full, two significant digits below ten where it is no whole one."""
        if value != int(value) and abs(value) < 10:
            return str(self._two_digits(float(f"{value:.2g}")))
        return str(self._whole(round(value)))

    def percent(self, hundredths: int) -> str:
        """Write a whole percentage: "34%"."""
        return str(self._hundredths(hundredths))

    def signed(self, value: float) -> str:
        """Write a difference with its sign and at most one decimal; none at all is "0"."""
        return str(self._signed(value)) if value else self.number(0)

    def date(self, day: date) -> str:
        """Write a date in full: "March 1, 2025", « 1er mars 2025 »."""
        text = str(self._date(day))
        return f"1er{text[1:]}" if self._first_is_ordinal and text.startswith("1 ") else text

    def counted_like(self, n: float) -> int:
        """
        Give a whole number that is counted like n, n itself if it is one.

        gettext chooses forms for whole numbers alone, and languages differ in fractions: 1.5 leads, 1,5 prospect.
        """
        if n == int(n):
            return abs(int(n))
        form = self._plural_form(n)
        return next((whole for whole in (1, 2, 0) if self._plural_form(whole) == form), 2)


@lru_cache(maxsize=4)
def numbers_of(language: str) -> Numbers:
    """Give a language's numbers, made once."""
    return Numbers(language)
