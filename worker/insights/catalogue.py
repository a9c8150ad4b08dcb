"""
Message catalogues: everything said to people, by key, in their language, through gettext.

A domain ("insights") has one catalogue per language, worker/locale/<language>/LC_MESSAGES/<domain>.po, which people
edit, and the compiled .mo beside it, which is read here; `python -m worker.locale.compile` makes the one from the other
and names what is missing.

A message's id is a key, as in Weblate's and Poedit's monolingual catalogues, not its English text: keys are put
together from data ("tone.Formal"), one English word needs several French ones by its place ("high": élevée, élevé), and
English can be reworded like any other language. What the usual English ids give is kept: compiling writes the English
text above each translation, and marks a translation fuzzy, which fails the build, when that text has changed.
"""

from functools import lru_cache
from gettext import GNUTranslations, NullTranslations, translation
from pathlib import Path

from worker.insights.numbers import Numbers, numbers_of

LANGUAGES = ("en", "fr")
FOLDER = Path(__file__).resolve().parents[1] / "locale"


class _Missing(NullTranslations):
    """Asked last, for what a catalogue lacks: gettext would show the key to the reader."""

    def gettext(self, message: str) -> str:
        raise KeyError(message)

    def ngettext(self, msgid1: str, msgid2: str, n: int) -> str:  # noqa: ARG002 - gettext's signature
        raise KeyError(msgid1)


class Catalogue:
    """The messages of one domain in one language."""

    def __init__(self, translations: GNUTranslations, numbers: Numbers) -> None:
        translations.add_fallback(_Missing())
        self._translations = translations
        self._numbers = numbers
        self._has: dict[str, bool] = {}

    def has(self, key: str) -> bool:
        """Whether there is this message."""
        known = self._has.get(key)
        if known is None:
            try:
                known = bool(self._translations.gettext(key))
            except KeyError:
                known = False
            self._has[key] = known
        return known

    def say(self, key: str, n: float | None = None, /, **values: str) -> str:
        """
        Fill in a message; n chooses its plural form and fills {n}. None at all takes "<key>.zero" where there is one.

        KeyError for a message that is missing, or for a placeholder without a value.
        """
        return self._message(key, n, values).format_map(values)

    def _message(self, key: str, n: float | None, values: dict[str, str]) -> str:
        if n is None:
            return self._translations.gettext(key)
        values["n"] = self._numbers.number(n)
        if n == 0 and self.has(zero := f"{key}.zero"):
            return self._translations.gettext(zero)
        return self._translations.ngettext(key, key, self._numbers.counted_like(n))


@lru_cache(maxsize=8)
def load(domain: str, language: str) -> Catalogue:
    """
    Give the catalogue of a domain in a language, read once.

    ValueError for a language that has no catalogues, FileNotFoundError for a domain without a compiled one.
    """
    if language not in LANGUAGES:
        raise ValueError(f"language must be one of {', '.join(LANGUAGES)}, not {language!r}")
    found = translation(domain, FOLDER, [language])
    return Catalogue(found, numbers_of(language))
