"""
What conversion_prediction knows of a lead at an instant, and the time under observation that its history is made of.

A lead's history has a row for each period of the calendar in which it was under observation. What changes of it
(touches) is taken as it stood when the row began, so that the past is learned from as a forecast will know it.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from worker.episodes import Episodes
from worker.jobs.conversion_touches import Touched, touched_before
from worker.jobs.finding import Json
from worker.leads import DAY, UNDATED, WINDOW_DAYS, Leads, from_microseconds
from worker.lifecycle import observe
from worker.statistics import BoolArray, FloatArray, IntArray
from worker.statistics.hazard import Exposure
from worker.vocabulary import TONE_UNKNOWN, TONES, URGENCY_NAMES, URGENCY_UNKNOWN

HISTORY_DAYS = 730  # older behaviour is another business
MOST_SOURCES, MOST_INTENTS, MOST_INDUSTRIES = 20, 40, 12  # the rest share one level
PERIOD_EDGES = (0, 30, 60, 90, 180, 360, HISTORY_DAYS)  # days before as_of: the pace of one may differ from the next
ARRIVAL_EDGES = (0, 10, 20, 30, 45, 60, 75, 90, 120, 150, 180, 240, 300, 365, 450, 540, 630)  # days before as_of
STAGE_EDGES = (30.0, 90.0)  # days since first contact
ARRIVAL = "arrival"  # the feature that says when a lead came
N_CHANGING = 4  # features that change with time: two of touches, two of older leads
OF_OLDER = " of an older lead"  # ends the name of a feature that says how another differs among them
WEEKDAYS = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")
TOUCH_EDGES = (1, 2, 4)  # touches beyond the first contact
RECENCY_EDGES = (3.0, 10.0, 30.0, 90.0)  # days since the last of them
CONFIDENCE_EDGES = (0.5, 0.7, 0.9)  # the product's own bands


LevelCodes = NDArray[np.uint8]  # no feature has more than 255 levels


@dataclass(frozen=True, slots=True)
class Feature:
    """One known-first attribute of a lead: a level for each lead, level 0 being "not known"."""

    name: str
    levels: tuple[str, ...]
    codes: LevelCodes


def _most_frequent(codes: IntArray, names: tuple[str, ...], limit: int) -> list[str]:
    counts = np.bincount(codes[codes >= 0], minlength=len(names))
    best = sorted(range(len(names)), key=lambda code: (-counts[code], names[code]))[:limit]
    return sorted(names[code] for code in best if counts[code] > 0)


def _named_codes(codes: IntArray, names: tuple[str, ...], known: list[str]) -> LevelCodes:
    """Levels of a feature with open vocabulary: 0 not known, 1 another name, 2 + i the i-th known name."""
    place = {name: 2 + i for i, name in enumerate(known)}
    table = np.array([place.get(name, 1) for name in names] + [0], dtype=np.uint8)
    return table[codes]  # code -1, not known, takes the last entry


def choose_vocabulary(leads: Leads, before: int) -> dict[str, Json]:
    """Choose the names that get a level of their own, from what was known before an instant."""
    return {
        "source": _most_frequent(leads.source, leads.source_names, MOST_SOURCES),
        "intent": _most_frequent(leads.intent_at(before), leads.intent_names, MOST_INTENTS),
        "industry": _most_frequent(*_industries(leads), MOST_INDUSTRIES),
        "as_of": before,
    }


def _fixed_features(leads: Leads, vocabulary: Mapping[str, Json], before: int) -> list[Feature]:
    """Code what was known first of each lead, and when it came."""
    n = len(leads)
    urgency = (leads.urgency.first_before(before, n, URGENCY_UNKNOWN) + 1).astype(np.uint8)
    tone = (leads.tone.first_before(before, n, TONE_UNKNOWN) + 1).astype(np.uint8)
    confidence = leads.confidence.first_before(before, n, np.nan)
    band = np.where(np.isfinite(confidence), np.searchsorted(CONFIDENCE_EDGES, confidence, side="right") + 1, 0)
    sources, intents = list(vocabulary["source"]), list(vocabulary["intent"])
    intent = leads.intent_at(before)
    industry, industries = _industries(leads)
    known = list(vocabulary["industry"])
    return [
        Feature("urgency", ("unknown", *URGENCY_NAMES), urgency),
        Feature("tone", ("unknown", *TONES), tone),
        Feature("confidence", ("unknown", "< 0.50", "0.50-0.69", "0.70-0.89", ">= 0.90"), band.astype(np.uint8)),
        Feature("source", ("unknown", "other", *sources), _named_codes(leads.source, leads.source_names, sources)),
        Feature("intent", ("unknown", "other", *intents), _named_codes(intent, leads.intent_names, intents)),
        Feature("language", ("unknown", "en", "fr"), (leads.language + 1).astype(np.uint8)),
        Feature("industry", ("unknown", "other", *known), _named_codes(industry, industries, known)),
        Feature("weekday", WEEKDAYS, ((leads.arrival // DAY + 3) % 7).astype(np.uint8)),  # 1970 began on a Thursday
    ]


def _industries(leads: Leads) -> tuple[IntArray, tuple[str, ...]]:
    """Number the industries of the leads' clients, -1 where it is not known."""
    names = tuple(sorted({name for name in leads.owner_industry if name is not None}))
    of_owner = np.array(
        [names.index(name) if name is not None else -1 for name in leads.owner_industry], dtype=np.int64
    )
    return of_owner[leads.owner] if len(leads) else np.zeros(0, dtype=np.int64), names


def _changing_features(
    fixed: Sequence[Feature], arrival: IntArray, touched: Touched, rows: IntArray, instant: int
) -> list[Feature]:
    """Give what changes with time: touches, and what urgency and source still say of a lead that is no longer young."""
    stage = np.searchsorted(STAGE_EDGES, (instant - arrival[rows]) / DAY, side="right")
    aged = (_aged(f, f.codes[rows], stage) for f in fixed if f.name in ("urgency", "source"))
    return [*_touch_features(touched.count[rows], touched.latest[rows], instant), *aged]


def _aged(feature: Feature, codes: LevelCodes, stage: IntArray) -> Feature:
    """Code how a feature's levels differ among older leads from what they are at first: level 0 are young leads."""
    names = tuple(f"{level}, after {days:.0f} days" for days in STAGE_EDGES for level in feature.levels)
    older = np.where(stage > 0, 1 + (stage - 1) * len(feature.levels) + codes, 0)
    return Feature(feature.name + OF_OLDER, ("young", *names), older.astype(np.uint8))


def _touch_features(count: NDArray[np.int32], latest: IntArray, instant: int) -> list[Feature]:
    """Code how often, and how lately, a lead was dealt with or came back between its first contact and instant."""
    recency = np.searchsorted(RECENCY_EDGES, (instant - latest) / DAY, side="right") + 1
    often = np.searchsorted(TOUCH_EDGES, count, side="right")
    return [
        Feature("touches", ("0", "1", "2-3", "4 or more"), often.astype(np.uint8)),
        Feature(
            "last touch",
            ("none", "< 3 days", "3-9 days", "10-29 days", "30-89 days", ">= 90 days"),
            np.where(count > 0, recency, 0).astype(np.uint8),
        ),
    ]


def _arrival_feature(leads: Leads, anchor: int) -> Feature:
    """Code when leads came, the newest first: those who come now may be other people than those who came last year."""
    edges = [anchor - days * DAY for days in ARRIVAL_EDGES[:0:-1]]
    dates = [from_microseconds(edge).date().isoformat() for edge in edges]
    names = [f"before {dates[0]}", *(f"{low} to {high}" for low, high in pairwise(dates)), f"since {dates[-1]}"]
    newest_first = len(edges) - np.searchsorted(edges, leads.arrival, side="right")
    return Feature(ARRIVAL, tuple(names[::-1]), newest_first.astype(np.uint8))


def arrival_gaps() -> FloatArray:
    """Months between the middles of neighbouring blocks of arrival, the newest first."""
    edges = np.array([*ARRIVAL_EDGES, HISTORY_DAYS], dtype=np.float64)
    return np.diff((edges[:-1] + edges[1:]) / 2) / WINDOW_DAYS


def lead_features(leads: Leads, vocabulary: Mapping[str, Json], before: int) -> list[Feature]:
    """Give everything that is known of the leads before an instant; the arrival stands last."""
    fixed = _fixed_features(leads, vocabulary, before)
    (touched,) = touched_before(leads, [before])
    return [
        *fixed,
        *_changing_features(fixed, leads.arrival, touched, np.arange(len(leads)), before),
        _arrival_feature(leads, int(vocabulary["as_of"])),
    ]


def codes_of(features: Sequence[Feature]) -> LevelCodes:
    """Put the features' codes side by side, shape (leads, features), each feature's in one stretch of memory."""
    return np.stack([feature.codes for feature in features]).T


def lay_out_exposure(
    leads: Leads, vocabulary: Mapping[str, Json], episodes: Episodes, *, as_of: int, start: int
) -> Exposure:
    """
    Lay out each lead's time under observation from `start` to as_of, a row for each period of the calendar.

    Periods lie back from the vocabulary's instant, the latest reaches to as_of: a model of last week divides the past
    as it did then. What changes of a lead is taken as it was when the row begins: that is how a forecast will know it.
    Leads that ended before `start` were never seen.
    """
    followed = observe(leads, episodes, as_of)
    fixed = _fixed_features(leads, vocabulary, as_of)
    came = _arrival_feature(leads, int(vocabulary["as_of"]))
    periods = _periods(int(vocabulary["as_of"]), as_of, start)
    seen = (leads.arrival < as_of) & (followed.end >= start)
    places = [_followed_in(leads.arrival, followed.end, seen, period) for period in periods]
    ends = np.cumsum([len(rows) for rows in places]).tolist()
    n_rows, n_features = ends[-1], len(fixed) + N_CHANGING + 1
    result = Exposure(
        entry_age=np.empty(n_rows),
        exit_age=np.empty(n_rows),
        outcome=np.empty(n_rows, dtype=np.uint8),
        features=np.empty((n_features, n_rows), dtype=np.uint8).T,
        client=np.empty(n_rows, dtype=np.int32),
        period=np.empty(n_rows, dtype=np.uint8),
    )
    # the oldest period first, as touches add up
    history = touched_before(leads, [low for _, low, _ in periods[::-1]])
    for (period, low, high), rows, last in zip(periods[::-1], places[::-1], ends[::-1], strict=True):
        at = slice(last - len(rows), last)
        arrival, end = leads.arrival[rows], followed.end[rows]
        result.entry_age[at] = (np.maximum(arrival, low) - arrival) / DAY
        result.exit_age[at] = np.maximum((np.minimum(end, high) - arrival) / DAY, 0.0)
        result.outcome[at] = np.where((end < high) | (period == 0), followed.outcome[rows], 0)
        result.client[at] = leads.owner[rows]  # a client's level is its own in the pool too
        result.period[at] = period
        changing = _changing_features(fixed, leads.arrival, next(history), rows, low)
        columns = [*(f.codes[rows] for f in fixed), *(f.codes for f in changing), came.codes[rows]]
        for number, column in enumerate(columns):
            result.features[at, number] = column
    return result


def _followed_in(arrival: IntArray, end: IntArray, seen: BoolArray, when: tuple[int, int, int]) -> IntArray:
    """List the leads that were under observation at some time of a period, those that ended just as it began too."""
    period, low, high = when
    ended = (end >= low) & ((end < high) | (period == 0))
    return np.flatnonzero(seen & (ended | ((end >= high) & (arrival < high))))


def _periods(anchor: int, as_of: int, start: int) -> list[tuple[int, int, int]]:
    """List the periods of the calendar from start to as_of, the newest first: number, beginning, end."""
    result = []
    for period, (newer, older) in enumerate(pairwise(PERIOD_EDGES)):
        low = max(anchor - older * DAY, start) if older < HISTORY_DAYS else start
        high = anchor - newer * DAY if period else as_of
        if period and high <= start:
            break
        result.append((period, low, high))
    return result


def month_gaps(start: int, as_of: int) -> FloatArray:
    """Months between the middles of neighbouring periods, as far back as history goes."""
    edges = np.array([edge for edge in PERIOD_EDGES if edge == 0 or as_of - edge * DAY > start], dtype=np.float64)
    edges = np.append(edges, max((as_of - start) / DAY, edges[-1] + 1))
    return np.diff((edges[:-1] + edges[1:]) / 2) / WINDOW_DAYS


def find_history_start(episodes: Episodes, as_of: int) -> int:
    """Find where history begins: the first recorded conversion, at most HISTORY_DAYS ago; without one, at as_of."""
    known = np.where(episodes.start != UNDATED, episodes.start, episodes.known_by)
    return max(as_of - HISTORY_DAYS * DAY, int(known.min(initial=as_of)))
