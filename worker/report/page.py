"""
What stands on a page, as plain numbers: every number that it shows, in the order in which it shows them, none in words.

What is not known is None or an empty tuple.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, datetime

from worker.report.reading import Client, Row
from worker.report.record import Record

NEW, CONTINUING, GONE = "new", "continuing", "gone"  # what a pattern may be


@dataclass(frozen=True, slots=True)
class Interval:
    """An estimate with its interval, all in the same unit; level is the coverage that the interval aims for."""

    estimate: float
    low: float
    high: float
    level: float = 0.8


@dataclass(frozen=True, slots=True)
class ScorePoint:
    """The engagement at the end of one window: what was measured, and what is thought to be behind it."""

    at: datetime
    measured: float | None
    estimate: Interval | None
    leads: float | None


@dataclass(frozen=True, slots=True)
class Part:
    """So many points of the measured change come from this part of the score."""

    name: str  # confidence, urgency or engaged
    points: float


@dataclass(frozen=True, slots=True)
class ScorePart:
    """The engagement score: now, before, its way here and what moved it."""

    now: ScorePoint
    trend: str | None  # increasing, decreasing, stable
    confidence: float | None
    course: tuple[ScorePoint, ...]  # oldest first
    parts: tuple[Part, ...]
    before: float | None  # measured
    change: float | None  # the parts' sum


@dataclass(frozen=True, slots=True)
class Week:
    """The share of high urgency among one week's leads; share is None where none came of known urgency."""

    ends: date
    share: Interval | None
    leads: int


@dataclass(frozen=True, slots=True)
class UrgencyPart:
    """The share of high urgency, now, before and by week."""

    share: float | None
    before: float | None
    change: Interval | None
    trend: str | None
    confidence: float | None
    counts: Mapping[str, int]  # High, Medium, Low, unknown
    weeks: tuple[Week, ...]


@dataclass(frozen=True, slots=True)
class Tone:
    """One tone's estimated share, now and before."""

    name: str
    now: Interval
    before: float | None
    leads: int


@dataclass(frozen=True, slots=True)
class TonePart:
    """The tones, the most frequent first."""

    tones: tuple[Tone, ...]
    confidence: float | None
    known: int
    unknown: int


@dataclass(frozen=True, slots=True)
class Pattern:
    """A pattern on record; state is new, continuing or gone."""

    row: Row
    state: str
    first_seen: date | None
    last_seen: date | None


@dataclass(frozen=True, slots=True)
class Reason:
    """What moves a lead's chance, and whether up."""

    name: str
    value: str | None
    helps: bool


@dataclass(frozen=True, slots=True)
class Lead:
    """One open lead with its chance to convert in the next 30 days."""

    lead_id: str
    name: str | None
    probability: float
    value: float | None
    reasons: tuple[Reason, ...]  # the weightiest first


@dataclass(frozen=True, slots=True)
class ForecastPart:
    """The conversions expected of the leads that are open now, and those leads."""

    predicted: float | None
    low: float | None  # the range claimed
    high: float | None
    confidence: float | None
    open_leads: int | None
    arrivals: Interval | None  # conversions of leads still to come, which are not among them
    actions: tuple[str, ...]
    leads: tuple[Lead, ...]


@dataclass(frozen=True, slots=True)
class Page:
    """Everything that a page says of one client, or of all together; as_of is None where nothing is on record."""

    client: Client
    as_of: datetime | None
    said: tuple[Row, ...]  # the newest row of each kind that its sentences come from
    score: ScorePart | None
    urgency: UrgencyPart | None
    tone: TonePart | None
    patterns: tuple[Pattern, ...]
    forecast: ForecastPart | None
    record: Record | None
    conversions: int
    reversions: int
    undated: int
    stale_days: int  # how old the newest snapshot is, where that is worth a word; else 0


@dataclass(frozen=True, slots=True)
class Line:
    """What the operator's table says of one client."""

    client: Client
    score: ScorePoint | None
    trend: str | None
    trend_confidence: float | None
    urgent: float | None
    predicted: float | None
    low: float | None
    high: float | None
    forecast_confidence: float | None
    patterns: int  # that are on
