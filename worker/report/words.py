"""
The words of a page in its language: messages from a gettext catalogue, numbers and dates by Babel.

The messages are those of the domain "report" (worker/insights/catalogue.py). Texts come back plain, and whoever puts
them into HTML escapes them.
"""

from datetime import date, datetime
from zoneinfo import ZoneInfo

from babel import Locale
from babel.dates import format_date
from babel.numbers import format_decimal

from worker.calendar import local_day
from worker.insights.catalogue import load
from worker.insights.naming import tone_name
from worker.insights.speech import certainty, speech

UNKNOWN = "–"
DOMAIN = "report"


class Words:
    """One language and a time zone: says messages and writes values its way; None is written as a dash."""

    def __init__(self, language: str, zone: ZoneInfo) -> None:
        self.language = language
        self._catalogue = load(DOMAIN, language)
        self.zone = zone
        self._speech = speech(language)
        self._locale = Locale(language)

    def say(self, key: str, n: int | None = None, /, **values: object) -> str:
        """Say a message, its {names} filled in; n chooses its plural form and fills {n}."""
        return self._catalogue.say(key, n, **{name: str(value) for name, value in values.items()})

    def number(self, value: float | None, digits: int = 0) -> str:
        """Write a number with so many decimals."""
        if value is None:
            return UNKNOWN
        pattern = "#,##0" + ("." + "0" * digits if digits else "")
        return str(format_decimal(value, pattern, locale=self._locale, decimal_quantization=True))

    def signed(self, value: float | None, digits: int = 1) -> str:
        """Write a difference with its sign, a true minus and not a hyphen."""
        if value is None:
            return UNKNOWN
        zeros = "." + "0" * digits if digits else ""
        rounded = round(value, digits)
        if rounded == 0:  # neither up nor down: "-0.0" would say that it is less
            return self.number(0, digits)
        text = str(format_decimal(rounded, f"+#,##0{zeros};-#,##0{zeros}", locale=self._locale))
        return text.replace("-", "\N{MINUS SIGN}")

    def percent(self, share: float | None) -> str:
        """Write a share as a whole percentage."""
        return UNKNOWN if share is None else self._speech.percent(share)

    def tone(self, tone: str) -> str:
        """Name a tone family, as the first word of a line."""
        name = tone_name(self._speech, tone)
        return name[:1].upper() + name[1:]

    def long_day(self, when: datetime | date | None) -> str:
        """Write a day in full."""
        return UNKNOWN if when is None else self._speech.date(self._day(when))

    def short_day(self, when: datetime | date | None) -> str:
        """Write a day in short: 3 Nov 2026."""
        return UNKNOWN if when is None else str(format_date(self._day(when), "medium", locale=self._locale))

    def last_day(self, as_of: datetime) -> str:
        """Write in full the last day that an analysis as of an instant looked at: of midnight, the day before."""
        return self.long_day(date.fromisoformat(local_day(as_of.astimezone(self.zone))))

    def tick(self, when: datetime | date) -> str:
        """Write a day as an axis has place for: Nov 3."""
        pattern = "d MMM" if self.language == "fr" else "MMM d"
        return str(format_date(self._day(when), pattern, locale=self._locale))

    def weekday(self, english: str) -> str:
        """Name a day of the week that a snapshot names in English."""
        names = {str(name): number for number, name in Locale("en").days["format"]["wide"].items()}
        number = names.get(english)
        return english if number is None else str(self._locale.days["format"]["wide"][number])

    def _day(self, when: datetime | date) -> date:
        return when.astimezone(self.zone).date() if isinstance(when, datetime) else when

    def span(self, low: float | None, high: float | None, digits: int = 0) -> str:
        """Write both ends of an interval."""
        if low is None or high is None:
            return UNKNOWN
        return self.say("span.values", low=self.number(low, digits), high=self.number(high, digits))

    def percents(self, low: float | None, high: float | None) -> str:
        """Write both ends of an interval of shares."""
        if low is None or high is None:
            return UNKNOWN
        return self.say("span.values", low=self.percent(low), high=self.percent(high))

    def certainty(self, confidence: float) -> str:
        """Say in words how sure a confidence is, by the scale of the insights."""
        return self.say(f"certainty.{certainty(confidence)}")
