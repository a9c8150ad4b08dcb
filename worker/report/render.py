"""Writes pages as HTML: Jinja2 templates with autoescape on, in the page's language, complete in one file."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from importlib.resources import files
from typing import Any

import jinja2
from markupsafe import Markup

from worker.report import exhibits
from worker.report.page import CONTINUING, GONE, NEW, Line, Page, Pattern
from worker.report.reading import Client, Row
from worker.report.reasons import reason_text
from worker.report.retelling import advise, retell
from worker.report.unknowns import unknowns
from worker.report.words import Words

MOST_REASONS = 4
ARROWS = {"increasing": "↑", "decreasing": "↓", "stable": "→"}


@dataclass(frozen=True, slots=True)
class Statement:
    """A sentence on the page with how sure it is, 0 to 1; language: that of the text where it is not the page's."""

    text: str
    confidence: float
    about: str
    language: str | None = None


@dataclass(frozen=True, slots=True)
class Listed:
    """A client in the operator's table, and the name of its file, None where none was written."""

    line: Line
    href: str | None


PatternGroup = tuple[str, str, list[tuple[Pattern, Statement]]]  # state, its name, and those in it with their sentences


def render_client(page: Page, words: Words, stored_language: str) -> str:
    """Write a client's page; stored_language is the one in which its sentences are on record."""
    charts = {
        "score": exhibits.score_exhibit(page, words),
        "parts_chart": exhibits.parts_exhibit(page, words),
        "weeks": exhibits.urgency_exhibit(page, words),
        "tones": exhibits.tone_exhibit(page, words),
        "windows": exhibits.windows_exhibit(page.record.windows, words) if page.record is not None else None,
        "reliability": exhibits.reliability_exhibit(page.record, words) if page.record is not None else None,
    }
    return _render(
        "client.html",
        words,
        page=page,
        title=title_of(page.client, words),
        said=statements(page.said, page.client, words, stored_language),
        actions=_actions(page, words, stored_language),
        groups=_pattern_groups(page, words, stored_language),
        kinds=exhibits.kinds_table(page.record.jobs, words) if page.record is not None else None,
        unknowns=unknowns(page, words),
        **charts,
    )


def render_operator(
    page: Page,
    listed: Sequence[Listed],
    sums: Sequence[Mapping[str, Any]],
    words: Words,
    stored_language: str,
) -> str:
    """Write the operator's page: all clients together, and a line for each."""
    record = page.record
    return _render(
        "index.html",
        words,
        page=page,
        title=words.say("page.all"),
        said=statements(page.said, page.client, words, stored_language),
        listed=listed,
        score=exhibits.score_exhibit(page, words),
        windows=exhibits.windows_exhibit(record.windows, words) if record is not None else None,
        sums=exhibits.sums_table(sums, words) if sums else None,
        reliability=exhibits.reliability_exhibit(record, words) if record is not None else None,
        kinds=exhibits.kinds_table(record.jobs, words) if record is not None else None,
        unknowns=unknowns(page, words),
    )


def title_of(client: Client, words: Words) -> str:
    """Name a client as a heading does."""
    return client.name or words.say("page.client", id=client.client_id)


def statements(rows: Sequence[Row], client: Client, words: Words, stored_language: str) -> list[Statement]:
    """Give the sentences of the newest snapshots, in the page's language where they can be said in it."""
    called = exhibits.subjects(words)
    found = []
    for row in rows:
        said = None if words.language == stored_language else retell(row, client.client_id, words.language)
        text = said or row.text
        if text is not None and row.confidence is not None:
            foreign = stored_language if said is None and words.language != stored_language else None
            found.append(Statement(text, row.confidence, called.get(row.event_type, row.event_type), foreign))
    return found


def _actions(page: Page, words: Words, stored_language: str) -> list[tuple[str, str | None]]:
    """Give what to do: the advice of the prediction, and that of new patterns, each with its language if another."""
    foreign = stored_language if words.language != stored_language else None
    found: dict[str, str | None] = {}
    for action in page.forecast.actions if page.forecast is not None else ():
        found[action] = foreign
    for pattern in page.patterns:
        advice = advise(pattern.row, words.language) if pattern.state == NEW else None
        if advice is not None:
            found[advice] = None
    return list(found.items())


def _pattern_groups(page: Page, words: Words, stored_language: str) -> list[PatternGroup]:
    groups = []
    for state in (NEW, CONTINUING, GONE):
        members = [
            (pattern, statement)
            for pattern in page.patterns
            if pattern.state == state
            for statement in statements([pattern.row], page.client, words, stored_language)
        ]
        groups.append((state, words.say(f"patterns.{state}"), members))
    return groups


def _render(name: str, words: Words, **values: Any) -> str:
    text: str = (
        _environment()
        .get_template(name)
        .render(
            words=words,
            arrows=ARROWS,
            style=Markup(_style()),  # noqa: S704 - a file of ours
            svg=lambda exhibit: Markup(exhibit.svg),  # noqa: S704 - an XML library wrote it, and escaped what is in it
            reason=lambda reason: reason_text(words, reason),
            most_reasons=MOST_REASONS,
            **values,
        )
    )
    return text


@lru_cache(maxsize=1)
def _environment() -> jinja2.Environment:
    """Make the environment; a name that a template does not know is an error."""
    return jinja2.Environment(
        loader=jinja2.PackageLoader("worker.report", "templates"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )


@lru_cache(maxsize=1)
def _style() -> str:
    return (files("worker.report") / "templates" / "style.css").read_text(encoding="utf-8")
