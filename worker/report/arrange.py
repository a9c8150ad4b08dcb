"""
Makes pages of what was read: pure functions of rows, record and the time.

A snapshot may lack what the worker writes today, or hold it in another shape: that part of the page is then unknown.
"""

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta

from scipy.special import betaincinv

from worker.insights.content import date_at, number_at, value_at
from worker.jobs.finding import Json
from worker.leads import WINDOW_DAYS
from worker.report.page import (
    CONTINUING,
    GONE,
    NEW,
    ForecastPart,
    Interval,
    Lead,
    Line,
    Page,
    Part,
    Pattern,
    Reason,
    ScorePart,
    ScorePoint,
    Tone,
    TonePart,
    UrgencyPart,
    Week,
)
from worker.report.reading import Holdings, Row, Score
from worker.report.record import Record
from worker.vocabulary import TONES

WEEK_LEVEL = 0.8  # coverage of a week's interval, as that of the others
MOST = 1e9  # of anything that is counted or scored; what is more was not written by this worker
STALE_DAYS = 3  # a page that is older than that when it is written says so


def line_of(page: Page) -> Line:
    """Take from a page what the table of all clients shows of it."""
    score, forecast, urgency = page.score, page.forecast, page.urgency
    return Line(
        client=page.client,
        score=score.now if score is not None else None,
        trend=score.trend if score is not None else None,
        trend_confidence=score.confidence if score is not None else None,
        urgent=urgency.share if urgency is not None else None,
        predicted=forecast.predicted if forecast is not None else None,
        low=forecast.low if forecast is not None else None,
        high=forecast.high if forecast is not None else None,
        forecast_confidence=forecast.confidence if forecast is not None else None,
        patterns=sum(pattern.state != GONE for pattern in page.patterns),
    )


def arrange(
    holdings: Holdings, record: Record | None, names: Mapping[str, str], *, pattern_day: str | None, now: datetime
) -> Page:
    """
    Make the page of one client.

    names : of leads by id, empty unless a page may show them. pattern_day : the newest day in which patterns were
    looked for; those last seen before it are gone. now : the end of what the report looks at.
    """
    newest = holdings.newest
    patterns = _patterns(holdings.patterns, pattern_day)
    as_of = max((row.created_at for row in newest.values()), default=None)
    order = ("engagement_score", "urgency_trend", "conversion_prediction")
    said = [newest[kind] for kind in order if kind in newest]
    said += _one_of_a_kind(patterns)
    said += [newest[kind] for kind in ("tone_distribution", "accuracy_review") if kind in newest]
    age = (now - as_of).days if as_of is not None else 0
    return Page(
        client=holdings.client,
        as_of=as_of,
        said=tuple(said),
        score=_score(newest.get("engagement_score"), holdings.scores),
        urgency=_urgency(newest.get("urgency_trend")),
        tone=_tone(newest.get("tone_distribution")),
        patterns=patterns,
        forecast=_forecast(newest.get("conversion_prediction"), names),
        record=record,
        conversions=holdings.conversions,
        reversions=holdings.reversions,
        undated=holdings.undated,
        stale_days=age if age >= STALE_DAYS else 0,
    )


def _interval(estimate: float | None, content: Json) -> Interval | None:
    """Join an estimate and a stored {level, low, high}."""
    low, high, level = (_number(content, name) for name in ("low", "high", "level"))
    if estimate is None or low is None or high is None:
        return None
    return Interval(estimate, low, high, 0.8 if level is None else level)


def _score(row: Row | None, course: Sequence[Score]) -> ScorePart | None:
    if row is None:
        return None
    content = row.content
    points = [_point(score.at, score.overall, score.score, score.n) for score in course]
    if course:  # before the first snapshot there is the window that it was compared with
        first = course[0]
        earlier = first.at - timedelta(days=WINDOW_DAYS)
        points.insert(0, _point(earlier, value_at(first.previous, "raw"), first.previous, first.n_previous))
    parts = tuple(
        Part(part["part"], float(part["points"]))
        for part in _list(content, "parts")
        if isinstance(part, dict) and isinstance(part.get("part"), str) and number_at(part, "points") is not None
    )
    return ScorePart(
        now=_point(row.created_at, content.get("overall_score"), content.get("score"), content.get("n")),
        trend=_trend(content),
        confidence=row.confidence,
        course=tuple(point for point in points if point.estimate is not None or point.measured is not None),
        parts=parts,
        before=_number(content, "previous", "raw"),
        change=sum(part.points for part in parts) if parts else None,
    )


def _point(at: datetime, measured: Json, score: Json, leads: Json) -> ScorePoint:
    estimate = _interval(_number(score, "shrunken"), value_at(score, "interval"))
    return ScorePoint(at, _number({"x": measured}, "x"), estimate, _number({"x": leads}, "x"))


def _number(content: Json, *path: str) -> float | None:
    value = number_at(content, *path)
    return None if value is None or abs(value) > MOST else float(value)


def _count(content: Json, *path: str) -> int:
    return max(0, int(_number(content, *path) or 0))


def _list(content: Mapping[str, Json], key: str) -> list[Json]:
    found = content.get(key)
    return found if isinstance(found, list) else []


def _trend(content: Mapping[str, Json]) -> str | None:
    trend = content.get("trend")
    return trend if trend in ("increasing", "decreasing", "stable") else None


def _urgency(row: Row | None) -> UrgencyPart | None:
    if row is None:
        return None
    content = row.content
    counts = {name: _count(content, "counts", name) for name in ("High", "Medium", "Low", "unknown")}
    total = sum(counts.values())
    known_share = 1 - counts["unknown"] / total if total else 1.0
    return UrgencyPart(
        share=_number(content, "high_urgency_pct"),
        before=_number(content, "previous_high_urgency_pct"),
        change=_interval(_number(content, "change"), content.get("change_interval")),
        trend=_trend(content),
        confidence=row.confidence,
        counts=counts,
        weeks=tuple(week for point in _list(content, "data_points") if (week := _week(point, known_share)) is not None),
    )


def _week(point: Json, known_share: float) -> Week | None:
    """Give a week its interval; where it does not say how many urgencies are known, as many as of the window's."""
    ends = date_at(point, "date")
    if ends is None:
        return None
    leads = _count(point, "leads")
    share, known = _number(point, "high_urgency_pct"), _number(point, "known")
    n = leads * known_share if known is None else known
    if share is None or not 0 <= share <= 1 or n <= 0:
        return Week(ends, None, leads)
    low, high = share_interval(share * n, n, WEEK_LEVEL)
    return Week(ends, Interval(share, low, high, WEEK_LEVEL), leads)


def share_interval(k: float, n: float, level: float) -> tuple[float, float]:
    """Jeffreys' interval of a share of k among n independent cases, to the very end where none or all are."""
    tail = (1 - level) / 2
    low = 0.0 if k <= 0 else float(betaincinv(k + 0.5, n - k + 0.5, tail))
    high = 1.0 if k >= n else float(betaincinv(k + 0.5, n - k + 0.5, 1 - tail))
    return low, high


def _tone(row: Row | None) -> TonePart | None:
    if row is None:
        return None
    content = row.content
    tones = []
    for name in TONES:
        now = _interval(_number(content, "estimate", name), value_at(content, "intervals", name))
        if now is not None:
            before = _number(content, "previous", "estimate", name)
            tones.append(Tone(name, now, before, _count(content, "counts", name)))
    tones.sort(key=lambda tone: (-tone.now.estimate, tone.name))
    known = sum(tone.leads for tone in tones)
    return TonePart(tuple(tones), row.confidence, known, _count(content, "counts", "unknown"))


def _patterns(rows: Sequence[Row], pattern_day: str | None) -> tuple[Pattern, ...]:
    """Tell what is new, goes on and is gone, in this order, each the surest first."""
    days = [row.content.get("last_seen") for row in rows]
    today = max((day for day in [*days, pattern_day] if isinstance(day, str)), default="")
    found = []
    for row, last_seen in zip(rows, days, strict=True):
        status = row.content.get("status")
        state = CONTINUING if status == CONTINUING else NEW
        if isinstance(last_seen, str) and last_seen < today:
            state = GONE
        found.append(Pattern(row, state, date_at(row.content, "first_seen"), date_at(row.content, "last_seen")))
    return tuple(sorted(found, key=lambda pattern: (NEW, CONTINUING, GONE).index(pattern.state)))


def _one_of_a_kind(patterns: Sequence[Pattern]) -> list[Row]:
    """Give the new patterns, of one that shows against two yardsticks the surest."""
    found: dict[tuple[str, str], Row] = {}
    for pattern in patterns:
        if pattern.state == NEW:
            content = pattern.row.content
            found.setdefault((str(content.get("pattern_type")), str(content.get("value"))), pattern.row)
    return list(found.values())


def _forecast(row: Row | None, names: Mapping[str, str]) -> ForecastPart | None:
    if row is None:
        return None
    content = row.content
    size = value_at(content, "cohort", "size")
    return ForecastPart(
        predicted=_number(content, "predicted_conversions"),
        low=_number(content, "claim", "low"),
        high=_number(content, "claim", "high"),
        confidence=row.confidence,
        open_leads=size if isinstance(size, int) and not isinstance(size, bool) else None,
        arrivals=_interval(_number(content, "new_arrivals", "expected"), value_at(content, "new_arrivals", "interval")),
        actions=tuple(action for action in _list(content, "recommended_actions") if isinstance(action, str)),
        leads=tuple(lead for each in _list(content, "high_value_leads") if (lead := _lead(each, names)) is not None),
    )


def _lead(content: Json, names: Mapping[str, str]) -> Lead | None:
    lead_id, probability = value_at(content, "lead_id"), _number(content, "probability")
    if not isinstance(lead_id, str) or probability is None:
        return None
    reasons = [
        Reason(reason["reason"], reason.get("value"), (number_at(reason, "log_hazard") or 0) > 0)
        for reason in _list(content, "reasons")
        if isinstance(reason, dict) and isinstance(reason.get("reason"), str)
    ]
    return Lead(lead_id, names.get(lead_id), probability, _number(content, "estimated_value"), tuple(reasons))
