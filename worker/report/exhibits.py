"""Joins each chart of a page with its words: title, legend, text alternative and the data as a table."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from worker.report import figures
from worker.report.page import Interval, Page
from worker.report.record import PENDING_WINDOW, RIGHT, VOID, WRONG, Record, Window
from worker.report.svg import Label
from worker.report.words import Words


@dataclass(frozen=True, slots=True)
class Table:
    """Rows of cells, written out; numeric marks the columns that are aligned right."""

    headings: tuple[str, ...]
    numeric: tuple[bool, ...]
    rows: tuple[tuple[str, ...], ...]


@dataclass(frozen=True, slots=True)
class Exhibit:
    """A chart (svg is None where there is too little to draw) and its data."""

    title: str
    svg: str | None
    legend: tuple[str, ...]
    table: Table


def score_exhibit(page: Page, words: Words) -> Exhibit | None:
    """The engagement score over time, with its interval."""
    part = page.score
    if part is None or not part.course:
        return None
    title = words.say("score.title")
    first, last = part.course[0], part.course[-1]
    text = words.say(
        "score.text",
        **{"from": words.long_day(first.at), "to": words.long_day(last.at)},
        first=words.number(first.estimate.estimate if first.estimate else first.measured),
        last=words.number(last.estimate.estimate if last.estimate else last.measured),
        range=_range(last.estimate, words),
    )
    rows = tuple(
        (
            words.short_day(point.at),
            words.number(point.measured),
            words.number(point.estimate.estimate if point.estimate else None, 1),
            _range(point.estimate, words),
            words.number(point.leads),
        )
        for point in reversed(part.course)
    )
    headings = _headings(words, "days_to", "measured", "estimate", "interval", "leads")
    return Exhibit(
        title,
        figures.draw_score(part, words, Label("score", title, text)),
        (
            words.say("score.line"),
            words.say("score.band", level=_level(part.now.estimate, words)),
        ),
        Table(headings, (False, True, True, True, True), rows),
    )


def _headings(words: Words, *names: str) -> tuple[str, ...]:
    return tuple(words.say(f"table.{name}") for name in names)


def _sum(before: float | None, change: float) -> float | None:
    return None if before is None else before + change


def _level(interval: Interval | None, words: Words) -> str:
    return words.percent(0.8 if interval is None else interval.level)


def _range(interval: Interval | None, words: Words) -> str:
    return words.span(interval.low, interval.high) if interval is not None else words.number(None)


def parts_exhibit(page: Page, words: Words) -> Exhibit | None:
    """What moved the measured score, in points that sum to the change."""
    part = page.score
    if part is None or not part.parts or part.change is None:
        return None
    called = {
        "confidence": words.say("part.confidence"),
        "urgency": words.say("part.urgency"),
        "engaged": words.say("part.engaged"),
    }
    names = [*(called.get(each.name, each.name) for each in part.parts), words.say("part.sum")]
    points = [*(each.points for each in part.parts), part.change]
    title = words.say("parts.title")
    told = " · ".join(f"{name} {words.signed(value)}" for name, value in zip(names, points, strict=True))
    rows = tuple((name, words.signed(value)) for name, value in zip(names, points, strict=True))
    return Exhibit(
        title,
        figures.draw_parts(names, points, words, Label("parts", title, words.say("parts.text", parts=told))),
        (
            words.say(
                "parts.legend",
                before=words.number(part.before, 1),
                now=words.number(_sum(part.before, part.change), 1),
            ),
        ),
        Table(_headings(words, "part", "points"), (False, True), rows),
    )


def urgency_exhibit(page: Page, words: Words) -> Exhibit | None:
    """The share of high urgency by week."""
    part = page.urgency
    if part is None or not part.weeks:
        return None
    title = words.say("weeks.title")
    known = [week for week in part.weeks if week.share is not None]
    text = words.say("weeks.none", weeks=words.number(len(part.weeks)))
    if known and known[0].share is not None and known[-1].share is not None:
        text = words.say(
            "weeks.text",
            first=words.percent(known[0].share.estimate),
            last=words.percent(known[-1].share.estimate),
        )
    rows = tuple(
        (
            words.short_day(week.ends),
            words.percent(week.share.estimate if week.share else None),
            words.percents(week.share.low, week.share.high) if week.share else words.number(None),
            words.number(week.leads),
        )
        for week in reversed(part.weeks)
    )
    headings = _headings(words, "week_to", "high_urgency", "interval", "leads")
    return Exhibit(
        title,
        figures.draw_weeks(part, words, Label("weeks", title, text)),
        (
            words.say("weeks.dot"),
            words.say("weeks.bar", level=words.percent(0.8)),
        ),
        Table(headings, (False, True, True, True), rows),
    )


def tone_exhibit(page: Page, words: Words) -> Exhibit | None:
    """The tones' shares, now and before."""
    part = page.tone
    if part is None or not part.tones:
        return None
    title = words.say("tones.title")
    text = words.say(
        "tones.text",
        tones=" · ".join(f"{words.tone(tone.name)} {words.percent(tone.now.estimate)}" for tone in part.tones[:3]),
    )
    rows = tuple(
        (
            words.tone(tone.name),
            words.percent(tone.now.estimate),
            words.percents(tone.now.low, tone.now.high),
            words.percent(tone.before),
            words.number(tone.leads),
        )
        for tone in part.tones
    )
    headings = _headings(words, "tone", "now", "interval", "before", "leads")
    return Exhibit(
        title,
        figures.draw_tones(part, words, Label("tones", title, text)),
        (words.say("tones.now", level=words.percent(0.8)), words.say("tones.before")),
        Table(headings, (False, True, True, True, True), rows),
    )


def windows_exhibit(windows: Sequence[Window], words: Words) -> Exhibit | None:
    """Forecast beside outcome of every past window."""
    if not windows:
        return None
    title = words.say("windows.title")
    decided = [window for window in windows if window.state in (RIGHT, WRONG)]
    hits = sum(window.state == RIGHT for window in decided)
    text = words.say(
        "windows.text",
        total=words.number(len(decided)),
        hits=words.number(hits),
    )
    came = {
        RIGHT: words.say("windows.hit"),
        WRONG: words.say("windows.miss"),
        PENDING_WINDOW: words.say("windows.pending"),
        VOID: words.say("windows.void"),
    }
    rows = tuple(
        (
            words.say("span.dates", **{"from": words.tick(window.as_of), "to": words.short_day(window.ends)}),
            words.number(window.expected, 1),
            words.span(window.low, window.high),
            words.percent(window.said),
            words.number(window.actual),
            came[window.state],
        )
        for window in reversed(windows)
    )
    headings = _headings(words, "days", "expected", "range", "said_at", "actual", "outcome")
    return Exhibit(
        title,
        figures.draw_windows(windows, words, Label("windows", title, text)),
        (
            words.say("windows.legend_range"),
            words.say("windows.legend_expected"),
            words.say("windows.legend_hit"),
            words.say("windows.legend_miss"),
            words.say("windows.legend_date"),
        ),
        Table(headings, (False, True, True, True, True, False), rows),
    )


def reliability_exhibit(record: Record, words: Words) -> Exhibit | None:
    """Said against right, with the number of claims."""
    bands: Sequence[dict[str, Any]] = record.overall.get("bands") or []
    if not bands:
        return None
    title = words.say("reliability.title")
    n = int(record.overall["resolved"])
    text = words.say(
        "reliability.text",
        n,
        said=words.percent(record.overall["mean_said"]),
        right=words.percent(record.overall["mean_right"]),
    )
    rows = tuple(
        (
            words.percents(band["low"], band["high"]),
            words.number(band["n"]),
            words.percent(band["mean_said"]),
            words.percent(band["mean_right"]),
            words.percents(band["interval"]["low"], band["interval"]["high"]),
        )
        for band in reversed(bands)
    )
    headings = _headings(words, "said_between", "statements", "said", "came_true", "interval")
    return Exhibit(
        title,
        figures.draw_reliability(bands, words, Label("reliability", title, text)),
        (
            words.say("reliability.line"),
            words.say("reliability.bar", level=words.percent(bands[0]["interval"]["level"])),
            words.say("reliability.number"),
        ),
        Table(headings, (False, True, True, True, True), rows),
    )


def kinds_table(jobs: Mapping[str, Mapping[str, Any]], words: Words) -> Table | None:
    """What was said and right, by kind of statement."""
    called = kind_names(words)
    rows = tuple(
        (
            called.get(kind, kind),
            words.number(each["resolved"]),
            words.percent(each["mean_said"]),
            words.percent(each["mean_right"]),
            words.number(each["pending"]),
        )
        for kind, each in jobs.items()
        if kind in called
    )
    if not rows:
        return None
    headings = _headings(words, "about", "checked", "said", "came_true", "pending")
    return Table(headings, (False, True, True, True, True), rows)


def subjects(words: Words) -> dict[str, str]:
    """Name what a single statement is about."""
    return {
        "engagement_score": words.say("about.engagement"),
        "urgency_trend": words.say("part.urgency"),
        "conversion_prediction": words.say("about.forecast"),
        "pattern_detected": words.say("about.pattern"),
        "tone_distribution": words.say("about.tone"),
        "accuracy_review": words.say("about.record"),
    }


def kind_names(words: Words) -> dict[str, str]:
    """Name what statements are about."""
    return {
        "engagement_score": words.say("about.engagement"),
        "urgency_trend": words.say("part.urgency"),
        "tone_distribution": words.say("kind.tones"),
        "pattern_detected": words.say("kind.patterns"),
        "conversion_prediction": words.say("kind.forecasts"),
        "conversion": words.say("kind.conversions"),
        "reversion": words.say("kind.reversions"),
    }


def sums_table(sums: Sequence[Mapping[str, Any]], words: Words) -> Table:
    """Forecast and outcome over all clients, window by window."""
    rows = tuple(
        (
            words.short_day(datetime.fromisoformat(each["as_of"])),
            words.number(each["claims"]),
            words.number(each["expected"], 1),
            words.number(each["actual"]),
            words.percent(each["mean_said"]),
            words.percent(each["mean_right"]),
        )
        for each in sums
    )
    headings = _headings(words, "days_from", "clients", "expected", "actual", "said", "came_true")
    return Table(headings, (False, True, True, True, True, True), rows)
