"""
Draws the charts of a page with matplotlib: small, so that they can be read on a telephone as they are.

What is known and what is not is told by shape, dash and label, never by colour alone. Every function returns an <svg>
element; the words are given, nothing is phrased here but numbers.
"""

from collections.abc import Mapping, Sequence
from datetime import date, datetime
from typing import Any

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, MaxNLocator

from worker.report.page import ScorePart, ScorePoint, TonePart, UrgencyPart
from worker.report.record import PENDING_WINDOW, RIGHT, VOID, WRONG, Window
from worker.report.svg import ACCENT, GRID, INK, MUTED, PAPER, SECOND, Label, plain, to_svg
from worker.report.words import Words

WIDTH = 400  # units of the drawing; a telephone shows it at about nine tenths, a desk at little more than one
UNITS_PER_INCH = 72  # matplotlib's own in SVG
FEW_POINTS = 14  # so many get a mark each
MOST_TONES = 8
STYLE: Any = {
    "svg.fonttype": "none",
    "svg.hashsalt": "growth-brain-worker",
    "text.parse_math": False,  # a dollar sign is a dollar sign
    "font.size": 11.5,
    "axes.unicode_minus": True,
    "path.simplify": False,
}


def _figure(
    height: float, *, left: float, right: float = 14, top: float = 12, bottom: float = 26
) -> tuple[Figure, Axes]:
    """Make an empty chart with margins in units."""
    figure = Figure(figsize=(WIDTH / UNITS_PER_INCH, height / UNITS_PER_INCH))
    figure.patch.set_visible(False)
    box = (left / WIDTH, bottom / height, 1 - (left + right) / WIDTH, 1 - (top + bottom) / height)
    axes = figure.add_axes(box)
    axes.patch.set_visible(False)
    for name, spine in axes.spines.items():
        spine.set_visible(name == "bottom")
        spine.set_color(MUTED)
        spine.set_linewidth(0.8)
    axes.tick_params(length=0, colors=MUTED, pad=5)
    return figure, axes


def _rule(axes: Axes, axis: str) -> None:
    axes.grid(visible=True, axis=axis, color=GRID, linewidth=0.8)  # type: ignore[arg-type]
    axes.set_axisbelow(True)


def _dates(axes: Axes, days: Sequence[datetime | date], places: Sequence[float], words: Words, most: int = 4) -> None:
    """Label up to `most` of the days, the last one always."""
    step = max(1, -(-(len(days) - 1) // max(1, most - 1)))
    chosen = list(range(len(days) - 1, -1, -step))
    axes.set_xticks([places[i] for i in chosen], [plain(words.tick(days[i])) for i in chosen])


def draw_score(part: ScorePart, words: Words, label: Label) -> str | None:
    """Draw the estimated score with its interval over time; None where there is no estimate."""
    points = [point for point in part.course if point.estimate is not None]
    if len(points) < 2:
        return None
    with mpl.rc_context(STYLE):
        figure, axes = _figure(230, left=30, right=34)
        places = [point.at.timestamp() / 86_400 for point in points]
        low, middle, high = zip(*(_triple(point) for point in points), strict=True)
        axes.fill_between(places, low, high, color=ACCENT, alpha=0.16, linewidth=0)
        for edge in (low, high):
            axes.plot(places, edge, color=ACCENT, linewidth=0.8, linestyle=(0, (3, 2)))
        marks = "o" if len(points) <= FEW_POINTS else ""
        axes.plot(places, middle, color=INK, linewidth=1.8, marker=marks, markersize=5, markerfacecolor=INK)
        axes.plot(places[-1:], middle[-1:], color=INK, marker="o", markersize=7, clip_on=False)
        axes.annotate(
            words.number(middle[-1]), (places[-1], middle[-1]), (9, 0), textcoords="offset points", va="center",
            color=INK, fontsize=13, fontweight="bold", annotation_clip=False,
        )  # fmt: skip
        _score_scale(axes, min(low), max(high))
        span = places[-1] - places[0]
        axes.set_xlim(places[0] - 0.04 * span, places[-1] + 0.02 * span)
        _dates(axes, [point.at for point in points], places, words)
        axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: words.number(value)))
        _rule(axes, "y")
        return to_svg(figure, label)


def _triple(point: ScorePoint) -> tuple[float, float, float]:
    found = point.estimate
    assert found is not None  # noqa: S101 - those without one were left out
    return found.low, found.estimate, found.high


def _score_scale(axes: Axes, low: float, high: float) -> None:
    """Show at least thirty of the hundred points, so that a wiggle looks like one."""
    room = max(0.0, 30 - (high - low)) / 2 + 2
    bottom, top = max(0.0, low - room), min(100.0, high + room)
    axes.set_ylim(bottom, top)
    axes.set_yticks([tick for tick in range(0, 101, 10) if bottom <= tick <= top])


def draw_parts(names: Sequence[str], points: Sequence[float], words: Words, label: Label) -> str:
    """Draw what moved a score as bars from zero, the last one the sum."""
    n = len(names)
    with mpl.rc_context(STYLE):
        figure, axes = _figure(30 * n + 20, left=128, right=46, top=6, bottom=14)
        places = [*range(n - 1), n - 0.7]
        colours = [INK if i == n - 1 else ACCENT if value >= 0 else SECOND for i, value in enumerate(points)]
        bars = axes.barh(places, points, height=0.52, color=colours, edgecolor=INK, linewidth=0)
        for bar, value in zip(bars, points, strict=True):
            if value < 0 and bar is not bars[-1]:
                bar.set(hatch="////", facecolor=PAPER, edgecolor=SECOND, linewidth=1)
        most = max(1.0, *(abs(value) for value in points))
        axes.set_xlim(-most * 1.02 if min(points) < 0 else 0, most * 1.02 if max(points) > 0 or min(points) == 0 else 0)
        axes.set_ylim(n - 0.2, -0.6)
        axes.set_yticks(places, [plain(each) for each in names])
        axes.tick_params(axis="y", colors=INK)
        axes.set_xticks([])
        axes.spines["bottom"].set_visible(False)
        axes.axvline(0, color=MUTED, linewidth=1)
        for place, value in zip(places, points, strict=True):
            axes.annotate(
                words.signed(value), (max(value, 0.0), place), (6, 0), textcoords="offset points", va="center",
                color=INK, fontweight="bold" if place == places[-1] else "normal", annotation_clip=False,
            )  # fmt: skip
        return to_svg(figure, label)


def draw_weeks(part: UrgencyPart, words: Words, label: Label) -> str | None:
    """Draw the share of high urgency by week, each with its interval; None where no week has one."""
    known = [(i, week.share) for i, week in enumerate(part.weeks) if week.share is not None]
    if not known:
        return None
    with mpl.rc_context(STYLE):
        figure, axes = _figure(230, left=44, right=20)
        x, shares = [float(i) for i, _ in known], [share.estimate for _, share in known]
        axes.vlines(x, [s.low for _, s in known], [s.high for _, s in known], color=ACCENT, linewidth=5, alpha=0.3)
        axes.plot(x, shares, color=INK, linewidth=1.4, linestyle=(0, (1, 1.5)))
        axes.plot(x, shares, color=INK, linewidth=0, marker="o", markersize=6, clip_on=False)
        top = min(1.0, max(0.3, *(s.high for _, s in known)) + 0.04)
        _share_scale(axes, top, words)
        axes.set_xlim(-0.4, len(part.weeks) - 0.6)
        _dates(axes, [week.ends for week in part.weeks], [float(i) for i in range(len(part.weeks))], words)
        return to_svg(figure, label)


def _share_scale(axes: Axes, top: float, words: Words) -> None:
    step = 0.1 if top <= 0.45 else 0.25
    axes.set_ylim(0, top)
    axes.set_yticks([i * step for i in range(int(top / step + 1e-9) + 1)])
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: words.percent(value)))
    _rule(axes, "y")


def draw_tones(part: TonePart, words: Words, label: Label) -> str | None:
    """Draw the most frequent tones' shares: now with its interval, before as a hollow mark; None without any."""
    tones = part.tones[:MOST_TONES]
    if not tones:
        return None
    with mpl.rc_context(STYLE):
        figure, axes = _figure(30 * len(tones) + 34, left=112, right=22, top=4, bottom=26)
        for place, tone in enumerate(tones):
            axes.hlines(place, tone.now.low, tone.now.high, color=ACCENT, linewidth=6, alpha=0.3)
            if tone.before is not None:
                axes.plot(tone.before, place + 0.3, "D", color=INK, markerfacecolor=PAPER, markersize=5, clip_on=False)
            axes.plot(tone.now.estimate, place, "o", color=INK, markersize=6.5, clip_on=False)
        most = max(max(tone.now.high, tone.before or 0) for tone in tones)
        axes.set_xlim(0, min(1.0, most + 0.02))
        step = 0.05 if most < 0.2 else 0.1 if most < 0.45 else 0.25
        axes.set_xticks([i * step for i in range(int(min(1.0, most + 0.02) / step + 1e-9) + 1)])
        axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: words.percent(value)))
        axes.set_yticks(range(len(tones)), [plain(words.tone(tone.name)) for tone in tones])
        axes.tick_params(axis="y", colors=INK)
        axes.set_ylim(len(tones) - 0.35, -0.6)
        _rule(axes, "x")
        return to_svg(figure, label)


def draw_windows(windows: Sequence[Window], words: Words, label: Label) -> str | None:
    """Draw each past forecast's range beside what came: a full mark inside, a cross outside; None without any."""
    shown = [
        window for window in windows if window.low is not None and window.high is not None and window.state != VOID
    ]
    if not shown:
        return None
    with mpl.rc_context(STYLE):
        figure, axes = _figure(240, left=34, right=16)
        for place, window in enumerate(shown):
            low, high = float(window.low or 0), float(window.high or 0)
            pending = window.state == PENDING_WINDOW
            axes.vlines(place, low - 0.25, high + 0.25, color=ACCENT, linewidth=16, alpha=0.12 if pending else 0.28)
            if window.expected is not None:
                axes.hlines(window.expected, place - 0.24, place + 0.24, color=INK, linewidth=1.4)
            if window.actual is not None and window.state == RIGHT:
                axes.plot(place, window.actual, "o", color=INK, markersize=7, clip_on=False)
            elif window.actual is not None and window.state == WRONG:
                axes.plot(place, window.actual, "X", color=SECOND, markersize=9.5, clip_on=False)
        top = max(max(window.high or 0, window.actual or 0, window.expected or 0) for window in shown)
        axes.set_ylim(0, max(3.0, top * 1.08 + 0.5))
        axes.yaxis.set_major_locator(MaxNLocator(nbins=5, integer=True))
        axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: words.number(value)))
        axes.set_xlim(-0.6, max(len(shown), 3) - 0.4)
        _dates(axes, [window.as_of for window in shown], [float(i) for i in range(len(shown))], words)
        _rule(axes, "y")
        return to_svg(figure, label)


def draw_reliability(bands: Sequence[Mapping[str, Any]], words: Words, label: Label) -> str | None:
    """Draw what was right against what was said, with intervals and counts; None without a band."""
    if not bands:
        return None
    with mpl.rc_context(STYLE):
        figure, axes = _figure(300, left=44, right=22, top=34, bottom=42)
        axes.plot([0, 1], [0, 1], color=MUTED, linewidth=1, linestyle=(0, (4, 3)))
        most = max(float(band["n"] or 0) for band in bands) or 1.0
        for band in bands:
            said, right = float(band["mean_said"]), float(band["mean_right"])
            low, high = band["interval"]["low"], band["interval"]["high"]
            axes.vlines(said, low, high, color=ACCENT, linewidth=5, alpha=0.3)
            size = 5 + 5 * (float(band["n"] or 0) / most) ** 0.5
            axes.plot(said, right, "o", color=INK, markersize=size, clip_on=False)
            axes.annotate(
                words.number(band["n"]), (said, right), (-size / 2 - 4, -1), textcoords="offset points",
                ha="right", va="center", color=MUTED, fontsize=10.5, annotation_clip=False,
            )  # fmt: skip
        lowest = min(float(band["low"] or 0) for band in bands)
        start = 0.0 if lowest < 0.4 else 0.4
        axes.set_xlim(start, 1)
        axes.set_ylim(0, 1.02)
        axes.set_xticks([tick for tick in (0, 0.2, 0.4, 0.6, 0.8, 1.0) if tick >= start])
        axes.set_yticks([0, 0.2, 0.4, 0.6, 0.8, 1.0])
        for axis in (axes.xaxis, axes.yaxis):
            axis.set_major_formatter(FuncFormatter(lambda value, _: words.percent(value)))
        axes.set_xlabel(plain(words.say("table.said")), color=MUTED, labelpad=4)
        axes.annotate(
            plain(words.say("table.came_true")), (0, 1), xycoords="axes fraction", xytext=(-34, 16),
            textcoords="offset points", color=MUTED, va="bottom", annotation_clip=False,
        )  # fmt: skip
        _rule(axes, "both")
        return to_svg(figure, label)
