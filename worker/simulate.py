"""
Worlds of known truth: what the demo shows and what the calibration tests are judged against.

Two kinds. Array worlds (`share_world`, `score_world`, `tone_world`) hold counts and means per client and are drawn in
milliseconds. A company world (`company_world`) holds the same as rows of the application's tables, with the habits real
databases have: two languages, missing values, repeat contacts, reversions, deleted and test leads.
Nothing here reads a clock, a file or a database: the instant and the generator are arguments.
"""

import json
import unicodedata
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from datetime import datetime, timedelta
from typing import Any, Literal, NamedTuple, get_args

import numpy as np
from numpy.typing import NDArray

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]

ChangeKind = Literal[
    "still", "mostly_still", "small", "sparse", "shifted", "heavy_tails", "common_shock", "bursts", "duplicates"
]
Sizes = Literal["pareto", "large"]
Trend = Literal["increasing", "stable", "decreasing"]

CHANGE_KINDS: tuple[ChangeKind, ...] = get_args(ChangeKind)
WINDOW_DAYS = 30
SHARE_DEAD_BAND = 0.05  # of the High share, as urgency_trend claims it
SCORE_DEAD_BAND = 3.0  # points of the engagement score
LARGE_WINDOW = 100  # leads a window of every client in the all-large worlds
BASE_HIGH_SHARE = (3.0, 6.0)  # Beta parameters: mean one third, most clients between 15% and 55%
DUPLICATE_RATE = 0.2  # share of leads recorded a second time in the duplicates world


# --- Worlds as arrays -----------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class ShareLeads:
    """Single leads of a ShareWorld whose leads are not independent; all arrays are aligned, one entry a lead."""

    client: IntArray
    window: IntArray  # 0 previous, 1 current
    group: IntArray  # leads of one burst, or copies of one lead, share this number
    high: NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class ShareWorld:
    """
    Leads (n) and High leads (k) of two windows per client, and the true shares behind them; all of shape (n_clients,).

    A client may have no lead in the previous window but has at least one in the current. `leads` is given only where
    leads depend on one another (bursts, duplicates).
    """

    n_previous: IntArray
    k_previous: IntArray
    n_current: IntArray
    k_current: IntArray
    true_previous: FloatArray
    true_current: FloatArray
    leads: ShareLeads | None = None

    @property
    def true_class(self) -> NDArray[np.int64]:
        """Direction of the true change beyond the dead band: -1, 0 or 1."""
        return change_class(self.true_current - self.true_previous, SHARE_DEAD_BAND)


@dataclass(frozen=True, slots=True)
class ScoreWorld:
    """Number, mean and sample variance (nan below two leads) of lead scores in two windows, and the true means."""

    n_previous: IntArray
    mean_previous: FloatArray
    variance_previous: FloatArray
    n_current: IntArray
    mean_current: FloatArray
    variance_current: FloatArray
    true_previous: FloatArray
    true_current: FloatArray

    @property
    def true_class(self) -> NDArray[np.int64]:
        """Direction of the true change beyond the dead band: -1, 0 or 1."""
        return change_class(self.true_current - self.true_previous, SCORE_DEAD_BAND)


@dataclass(frozen=True, slots=True)
class ToneWorld:
    """Counts per client and tone in two windows, shape (n_clients, n_tones), and the true shares, rows summing to 1."""

    counts_previous: IntArray
    counts_current: IntArray
    true_previous: FloatArray
    true_current: FloatArray


def change_class(change: FloatArray, dead_band: float) -> NDArray[np.int64]:
    """Say -1, 0 or 1: the direction of a change whose size exceeds the dead band (a change equal to it is 0)."""
    # The tolerance keeps .30 -> .35, which floats put a hair above .05, inside the band.
    return np.where(np.abs(change) > dead_band + 1e-9, np.sign(change), 0).astype(np.int64)


def trend_word(change: float, dead_band: float) -> Trend:
    """Name the class of one change as the snapshots do."""
    words: dict[int, Trend] = {-1: "decreasing", 0: "stable", 1: "increasing"}
    return words[int(change_class(np.asarray(change, dtype=np.float64), dead_band))]


def draw_changes(kind: ChangeKind, n_clients: int, rng: np.random.Generator) -> FloatArray:
    """
    Draw each client's true change of a share (0.10 is ten points), before shares are kept within [0, 1].

    bursts and duplicates differ in how leads come, not in how clients change: there the change is that of mostly_still.
    """
    match kind:
        case "still":
            return np.zeros(n_clients)
        case "mostly_still" | "bursts" | "duplicates":
            return np.where(rng.random(n_clients) < 0.6, 0.0, rng.normal(0.0, 0.12, n_clients))
        case "small":
            return rng.normal(0.0, 0.05, n_clients)
        case "sparse":
            jump = rng.choice([-0.25, 0.25], n_clients)
            return np.where(rng.random(n_clients) < 0.8, rng.normal(0.0, 0.01, n_clients), jump)
        case "shifted":
            return rng.normal(0.08, 0.05, n_clients)
        case "heavy_tails":
            return np.asarray(0.04 * rng.standard_t(2.5, n_clients), dtype=np.float64)
        case "common_shock":
            return rng.normal(0.0, 0.10) + rng.normal(0.0, 0.03, n_clients)
    raise ValueError(f"unknown kind {kind!r}; known are {', '.join(CHANGE_KINDS)}")


def draw_window_sizes(sizes: Sizes, n_clients: int, rng: np.random.Generator) -> tuple[IntArray, IntArray]:
    """Draw leads per client in the previous (possibly 0) and the current window (at least 1)."""
    if sizes == "large":
        full = np.full(n_clients, LARGE_WINDOW, dtype=np.int64)
        return full, full.copy()
    if sizes != "pareto":
        raise ValueError(f"sizes must be 'pareto' or 'large', not {sizes!r}")
    # Shape 1.2 from 6 leads on: the median client has 11 leads a window, one in seven more than 30.
    expected = np.minimum(6.0 * (1.0 + rng.pareto(1.2, n_clients)), 2000.0)
    return rng.poisson(expected), np.maximum(rng.poisson(expected), 1)


def share_world(
    kind: ChangeKind,
    n_clients: int,
    rng: np.random.Generator,
    *,
    sizes: Sizes = "pareto",
    base: tuple[float, float] = BASE_HIGH_SHARE,
    burst_correlation: float = 0.6,
) -> ShareWorld:
    """
    Draw a world of High shares in two windows.

    Parameters
    ----------
    kind : how clients change between the windows, see `draw_changes`.
    sizes : "pareto" (most clients under 30 leads a window) or "large" (100 leads a window each).
    base : Beta parameters of the clients' shares in the previous window.
    burst_correlation : correlation between two leads of one burst, in [0, 1]; used by the kind bursts only.
    """
    true_previous, true_current = draw_true_shares(kind, n_clients, rng, base=base)
    n_previous, n_current = draw_window_sizes(sizes, n_clients, rng)
    if kind not in ("bursts", "duplicates"):
        k_previous = rng.binomial(n_previous, true_previous)
        k_current = rng.binomial(n_current, true_current)
        return ShareWorld(n_previous, k_previous, n_current, k_current, true_previous, true_current)
    shares = np.stack([true_previous, true_current])
    leads = _dependent_leads(kind, np.stack([n_previous, n_current]), shares, rng, burst_correlation)
    cell = leads.window * n_clients + leads.client
    n = np.bincount(cell, minlength=2 * n_clients).reshape(2, n_clients)
    k = np.bincount(cell[leads.high], minlength=2 * n_clients).reshape(2, n_clients)
    return ShareWorld(n[0], k[0], n[1], k[1], true_previous, true_current, leads)


def draw_true_shares(
    kind: ChangeKind, n_clients: int, rng: np.random.Generator, *, base: tuple[float, float] = BASE_HIGH_SHARE
) -> tuple[FloatArray, FloatArray]:
    """Draw the clients' true shares in the previous and the current window, both within [0, 1]."""
    true_previous = rng.beta(*base, n_clients)
    return true_previous, np.clip(true_previous + draw_changes(kind, n_clients, rng), 0.0, 1.0)


def _dependent_leads(
    kind: ChangeKind, n: IntArray, shares: FloatArray, rng: np.random.Generator, correlation: float
) -> ShareLeads:
    """Draw leads one by one: bursts of 2-6 whose members tend to agree, or leads of which some are recorded twice."""
    n_clients = n.shape[1]
    cell = np.repeat(np.arange(2 * n_clients), n.ravel())
    if kind == "duplicates":
        group = np.arange(len(cell))
        high = rng.random(len(cell)) < shares.ravel()[cell]
        copied = np.flatnonzero(rng.random(len(cell)) < DUPLICATE_RATE)
        cell, group, high = (np.concatenate([a, a[copied]]) for a in (cell, group, high))
        return ShareLeads(cell % n_clients, cell // n_clients, group, high)
    # One long row of bursts, cut again wherever the client or the window changes.
    lengths = rng.integers(2, 7, size=len(cell) // 2 + 1)
    serial = np.repeat(np.arange(len(lengths)), lengths)[: len(cell)]
    starts = np.flatnonzero(np.concatenate([[True], (np.diff(serial) != 0) | (np.diff(cell) != 0)]))[: len(cell)]
    group = np.zeros(len(cell), dtype=np.int64)
    group[starts[1:]] = 1
    group = np.cumsum(group)
    p = shares.ravel()[cell]
    # A member repeats its burst's draw with probability sqrt(correlation), so two members correlate as asked for,
    # and every single lead is still High with the client's own share.
    of_burst = (rng.random(len(starts)) < p[starts])[group] if len(cell) else np.zeros(0, dtype=np.bool_)
    own = rng.random(len(cell)) < p
    high = np.where(rng.random(len(cell)) < np.sqrt(correlation), of_burst, own)
    return ShareLeads(cell % n_clients, cell // n_clients, group, high)


def score_world(
    kind: ChangeKind, n_clients: int, rng: np.random.Generator, *, sizes: Sizes = "pareto", lead_sd: float = 18.0
) -> ScoreWorld:
    """
    Draw a world of engagement scores (points, 0-100); changes are those of `draw_changes` times 60.

    Sixty, so that the dead bands (3 points here, 5 points of share there) cut the same part off. lead_sd is the
    standard deviation of lead scores around their client's mean, in points, before they are kept within [0, 100].
    Lead scores are drawn from a Beta distribution with that mean and spread, so the true means are exact.
    """
    true_previous = 100.0 * rng.beta(12.0, 10.0, n_clients)
    true_current = np.clip(true_previous + 60.0 * draw_changes(kind, n_clients, rng), 2.0, 98.0)
    n_previous, n_current = draw_window_sizes(sizes, n_clients, rng)
    mean_previous, variance_previous = _score_moments(n_previous, true_previous, lead_sd, rng)
    mean_current, variance_current = _score_moments(n_current, true_current, lead_sd, rng)
    return ScoreWorld(
        n_previous,
        mean_previous,
        variance_previous,
        n_current,
        mean_current,
        variance_current,
        true_previous,
        true_current,
    )


def _score_moments(
    n: IntArray, true_mean: FloatArray, lead_sd: float, rng: np.random.Generator
) -> tuple[FloatArray, FloatArray]:
    client = np.repeat(np.arange(len(n)), n)
    mean = true_mean / 100.0
    precision = np.maximum(mean * (1.0 - mean) / (lead_sd / 100.0) ** 2 - 1.0, 0.5)
    score = 100.0 * rng.beta((mean * precision)[client], ((1.0 - mean) * precision)[client])
    with np.errstate(invalid="ignore", divide="ignore"):
        observed = np.bincount(client, score, len(n)) / n
        variance = np.bincount(client, (score - observed[client]) ** 2, len(n)) / (n - 1)
    return np.where(n > 0, observed, np.nan), np.where(n > 1, variance, np.nan)


def tone_world(
    kind: ChangeKind,
    n_clients: int,
    rng: np.random.Generator,
    *,
    sizes: Sizes = "pareto",
    concentration: float = 12.0,
) -> ToneWorld:
    """
    Draw a world of tone shares: Dirichlet over clients around `TONE_BASE`; between the windows one random tone of a
    client takes `draw_changes` of the whole from the others (or gives it to them), in proportion.
    """
    true_previous = rng.dirichlet(concentration * TONE_BASE, n_clients)
    moved = rng.integers(0, len(TONE_BASE), n_clients)
    true_current = _move_share(true_previous, moved, draw_changes(kind, n_clients, rng))
    n_previous, n_current = draw_window_sizes(sizes, n_clients, rng)
    return ToneWorld(
        rng.multinomial(n_previous, true_previous),
        rng.multinomial(n_current, true_current),
        true_previous,
        true_current,
    )


def _move_share(shares: FloatArray, level: IntArray, change: FloatArray) -> FloatArray:
    """Add change to one level of each row, kept within [0, 1], and scale the row's other levels to sum to 1."""
    rows = np.arange(len(shares))
    old = shares[rows, level]
    new = np.clip(old + change, 0.0, 1.0)
    with np.errstate(invalid="ignore", divide="ignore"):
        scale = np.where(old < 1.0, (1.0 - new) / (1.0 - old), 0.0)
    moved = shares * scale[:, None]
    moved[rows, level] = new
    return np.asarray(moved / moved.sum(axis=1, keepdims=True))


# --- The words and habits of a company world ------------------------------------------------------------------------

# English and French words of each family, as free text from an enricher writes them.
TONES: dict[str, tuple[tuple[str, ...], tuple[str, ...]]] = {
    "Professional": (("Professional", "professional"), ("Professionnel", "professionnel")),
    "Formal": (("Formal",), ("Formel",)),
    "Casual": (("Casual", "casual"), ("Décontracté", "decontracte")),
    "Friendly": (("Friendly", "friendly"), ("Amical", "amical")),
    "Urgent": (("Urgent", "urgent"), ("Urgent", "urgente")),
    "Confident": (("Confident",), ("Confiant",)),
    "Hesitant": (("Hesitant", "hesitant"), ("Hésitant", "hésitant")),
    "Strategic": (("Strategic",), ("Stratégique", "strategique")),
    "Direct": (("Direct", "direct"), ("Direct",)),
    "Curious": (("Curious", "curious"), ("Curieux",)),
    "Neutral": (("Neutral",), ("Neutre",)),
    "Analytical": (("Analytical",), ("Analytique",)),
    "Frustrated": (("Frustrated",), ("Frustré",)),
    "Enthusiastic": (("Enthusiastic",), ("Enthousiaste",)),
}
TONE_FAMILIES = tuple(TONES)
TONE_BASE: FloatArray = np.array([22, 6, 12, 14, 9, 5, 6, 3, 8, 6, 4, 2, 2, 1], dtype=np.float64) / 100.0

URGENCIES = ("High", "Medium", "Low")
URGENCY_WORDS: dict[str, tuple[tuple[str, ...], tuple[str, ...]]] = {
    # The enricher writes the English words for French leads as well; the French ones are older rows and imports.
    "High": (("High", "High", "High", "high"), ("High", "Élevée", "élevée", "Elevee", "Haute")),
    "Medium": (("Medium", "Medium", "Medium", "medium"), ("Medium", "Moyenne", "moyenne", "Moyen")),
    "Low": (("Low", "Low", "Low", "low"), ("Low", "Faible", "faible")),
}
URGENCY_CONVERSION: FloatArray = np.array([1.5, 1.0, 0.6])  # a High lead converts more often
SOURCES = ("organic_search", "referral", "paid_ads", "social", "email")
SOURCE_BASE: FloatArray = np.array([0.34, 0.16, 0.24, 0.18, 0.08])
SOURCE_CONVERSION: FloatArray = np.array([1.0, 1.4, 0.8, 0.7, 1.1])
INTENTS = (
    ("Quote Request", "Demande de devis"),
    ("Service Request", "Demande de service"),
    ("Consultation", "Consultation"),
    ("General Information", "Information générale"),
    ("B2B Partnership", "Partenariat B2B"),
    ("Technical Support", "Support technique"),
)
INTENT_SHARES = (0.30, 0.26, 0.18, 0.14, 0.06, 0.06)
INDUSTRIES = (
    ("Real Estate", "Immobilier", "Realty", "Immobilier"),
    ("Legal", "Juridique", "Law", "Avocats"),
    ("Home Services", "Services à domicile", "Home Care", "Services"),
    ("Construction", "Construction", "Builders", "Construction"),
    ("Marketing", "Marketing", "Marketing", "Communication"),
    ("Technology", "Technologie", "Software", "Logiciels"),
    ("Health", "Santé", "Clinic", "Clinique"),
)
PLACES = (
    ("Maple Ridge", "Saint-Laurent"),
    ("Harbour", "Vieux-Port"),
    ("Northgate", "Laurentides"),
    ("Cedar Hill", "Mont-Royal"),
    ("Riverside", "Rivière-du-Loup"),
    ("Lakeview", "Lac-Brome"),
    ("Summit", "Belvédère"),
    ("Granville", "Outremont"),
    ("Fairmount", "Rosemont"),
    ("Stonebridge", "Pont-Rouge"),
    ("Kingsway", "Charlevoix"),
)
FIRST_NAMES = (
    ("Sarah", "James", "Priya", "Daniel", "Olivia", "Marcus", "Hannah", "Wei", "Grace", "Omar", "Emily", "Noah"),
    ("Élodie", "Mathieu", "Camille", "Antoine", "Geneviève", "Olivier", "Amélie", "Youssef", "Chloé", "Étienne"),
)
LAST_NAMES = (
    ("Chen", "Walker", "Patel", "Murphy", "Robinson", "Nguyen", "Campbell", "Silva", "Morgan", "Hughes", "Reid"),
    ("Tremblay", "Gagnon", "Bouchard", "Lavoie", "Fortin", "Côté", "Pelletier", "Bélanger", "Girard", "Diallo"),
)
TAGS = {  # English, French
    "new": ("New Lead", "Nouveau Lead"),
    "contacted": ("Contacted", "Contacté"),
    "follow_up": ("Follow-Up", "Suivi"),
    "high": ("High Priority", "Haute Priorité"),
    "converted": ("Converted", "Converti"),
    "lost": ("Not Qualified", "Non Qualifié"),
    "active": ("Active", "Actif"),
}
REVERSION_REASONS = ("Placed in converted by accident", "Placé dans convertis par erreur")

WEEKDAY_FACTORS: FloatArray = np.array([1.15, 1.20, 1.15, 1.10, 1.00, 0.45, 0.35])  # Monday first
WEEKDAY_FACTORS /= WEEKDAY_FACTORS.mean()

# The habits: rates as shares of leads, times in days.
UNKNOWN_URGENCY, UNKNOWN_TONE, UNKNOWN_CONFIDENCE = 0.04, 0.05, 0.05
TEST_LEAD_RATE = 0.01
PHRASE_RATE = 0.12  # tones written as phrases: "Professional and direct"
OTHER_LANGUAGE_RATE = 0.08  # leads who write in the other language than their client's
CONFIDENCE_PRECISION = 12.0  # of the Beta distribution of confidence scores around the client's mean
ENGAGED_DAYS = 7.0  # a lead counts as engaged when touched within so many days
TOUCH_SCALE = 1.5  # of the first touch, an exponential cut off at ENGAGED_DAYS
REPEAT_RATE, REPEAT_SCALE = 0.08, 12.0  # exponential
CONVERSION_SHAPE, CONVERSION_SCALE = 0.9, 30.0  # Weibull, for those who ever convert
EXIT_RATE, EXIT_SHAPE, EXIT_SCALE = 0.35, 1.2, 40.0  # archived, lost or deleted; Weibull
EXITS = ("archive", "lost", "delete")
EXIT_SHARES = (0.50, 0.38, 0.12)
REVERSION_RATE, REVERSION_SCALE = 0.05, 20.0
OUTCOME_RATE = 0.25  # conversions and losses recorded as outcome_status instead of a tag
SCORE_WEIGHTS = (0.4, 0.3, 0.3)  # confidence, urgency, engaged


class ClientRow(NamedTuple):
    """A row of clients; the fields are the columns. The password is unusable and the key opens nothing."""

    id: str
    client_id: str
    business_name: str
    email: str
    api_key: str
    password_hash: str
    language: str
    industry_category: str
    email_tone: str
    is_test: bool
    is_internal: bool
    created_at: datetime


class LeadRow(NamedTuple):
    """A row of lead_memory as it stands at the world's as_of; histories are JSON text."""

    id: str
    client_id: str
    name: str
    email: str
    message: str
    language: str
    ai_summary: str
    intent: str | None
    tone: str | None
    urgency: str | None
    confidence_score: float | None
    current_tag: str | None
    source: str
    archived: bool
    deleted: bool
    is_test: bool
    tone_history: str
    urgency_history: str
    confidence_history: str
    timestamp: datetime
    last_updated: datetime
    outcome_status: str | None
    contacted_at: datetime | None
    client_closed_at: datetime | None
    no_sale_at: datetime | None


class ActionRow(NamedTuple):
    """A row of lead_actions."""

    id: str
    lead_id: str
    client_id: str
    action_type: str
    tag: str | None
    conversion_outcome: bool | None
    reversion_reason: str | None
    is_test: bool
    timestamp: datetime


@dataclass(frozen=True, slots=True)
class PlantedChange:
    """
    What is planted in one client: each pair is (until the current window, from it on); None leaves it as drawn.

    high_share is the true share of High among the leads; tone and source name a family or source and how much of the
    whole it gains (0.25 is 25 points); confidence is added to the mean confidence score; touched is the share of leads
    followed up within a week; volume and conversion are factors on arrivals and on the share who ever convert, and
    leads_per_window is the client's usual size.
    """

    high_share: tuple[float, float] | None = None
    tone: tuple[str, float] | None = None
    source: tuple[str, float] | None = None
    confidence: float = 0.0
    touched: tuple[float, float] | None = None
    volume: float = 1.0
    conversion: float = 1.0
    leads_per_window: float | None = None

    def describe(self) -> str:
        """Say in a line what was planted; "nothing changes" where nothing was."""
        said: list[str] = []
        if self.high_share is not None and self.high_share[0] != self.high_share[1]:
            said.append(f"High urgency {self.high_share[0]:.0%} -> {self.high_share[1]:.0%}")
        if self.tone is not None:
            said.append(f"tone {self.tone[0]} {100 * self.tone[1]:+.0f} points")
        if self.source is not None:
            said.append(f"source {self.source[0]} {100 * self.source[1]:+.0f} points")
        if self.confidence:
            said.append(f"lead quality {self.confidence:+.2f}")
        if self.touched is not None and self.touched[0] != self.touched[1]:
            said.append(f"followed up within a week {self.touched[0]:.0%} -> {self.touched[1]:.0%}")
        if self.volume != 1.0:
            said.append(f"volume x {self.volume:g}")
        if self.conversion != 1.0:
            said.append(f"conversions of new leads x {self.conversion:g}")
        return "; ".join(said) or "nothing changes"


@dataclass(frozen=True, slots=True)
class Truth:
    """
    What is true of one client at the world's as_of, whatever its leads happen to show.

    Scores are expectations of the engagement score over leads (accurate to about a tenth of a point); conversions
    are those of the leads open at as_of within the next 30 days: expected given what is planted, and as drawn.
    """

    client_id: str
    business_name: str
    as_of: datetime
    planted: str
    urgency_class: Trend
    high_share_previous: float
    high_share_current: float
    tone_shares_previous: Mapping[str, float]
    tone_shares: Mapping[str, float]
    source_shares_previous: Mapping[str, float]
    source_shares: Mapping[str, float]
    score_class: Trend
    score_previous: float
    score_current: float
    leads_expected_previous: float
    leads_expected_current: float
    open_leads: int
    conversions_expected: float
    conversions_drawn: int

    def facts(self) -> dict[str, Any]:
        """Return the truth as plain JSON values, shares rounded to four places."""
        plain = asdict(self)
        plain["as_of"] = self.as_of.isoformat()
        for name, value in plain.items():
            if isinstance(value, float):
                plain[name] = round(value, 4)
            elif isinstance(value, dict):
                plain[name] = {key: round(share, 4) for key, share in value.items()}
        return plain


@dataclass(frozen=True, slots=True)
class World:
    """Rows ready to be copied into clients, lead_memory and lead_actions, and the truth about each client."""

    as_of: datetime
    clients: list[ClientRow]
    leads: list[LeadRow]
    actions: list[ActionRow]
    truths: dict[str, Truth]


def demo_plan(leads_per_window: float = 60.0) -> dict[int, PlantedChange]:
    """Return the changes the demo plants: a few clients, each with one thing to be found, the others left still."""
    size = leads_per_window
    return {
        0: PlantedChange(high_share=(0.22, 0.52), leads_per_window=size),
        3: PlantedChange(high_share=(0.50, 0.22), leads_per_window=size),
        6: PlantedChange(tone=("Urgent", 0.28), leads_per_window=size),
        9: PlantedChange(confidence=0.12, touched=(0.30, 0.75), leads_per_window=size),
        12: PlantedChange(touched=(0.80, 0.35), leads_per_window=size),
        15: PlantedChange(volume=2.0, leads_per_window=size),
        18: PlantedChange(source=("referral", 0.30), leads_per_window=size),
        21: PlantedChange(conversion=2.5, leads_per_window=size),
        24: PlantedChange(volume=0.4, leads_per_window=size),
    }


def urgency_plan(
    kind: ChangeKind, n_clients: int, rng: np.random.Generator, *, leads_per_window: float | None = None
) -> dict[int, PlantedChange]:
    """Return a plan whose High shares are those of the array world of this kind, for the same world as rows."""
    previous, current = draw_true_shares(kind, n_clients, rng)
    return {
        i: PlantedChange(high_share=(float(previous[i]), float(current[i])), leads_per_window=leads_per_window)
        for i in range(n_clients)
    }


# --- The company world ----------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Rates:
    """True parameters per client; the axis of length 2 is (until the current window, from it on)."""

    leads_per_day: FloatArray  # (clients, 2)
    urgency: FloatArray  # (clients, 2, 3) shares of High, Medium, Low
    tone: FloatArray  # (clients, 2, tones)
    source: FloatArray  # (clients, 2, sources)
    confidence: FloatArray  # (clients, 2) means
    touched: FloatArray  # (clients, 2)
    conversion: FloatArray  # (clients, 2) share who ever convert, for a Medium lead of organic search
    french: NDArray[np.bool_]  # (clients,)


@dataclass(frozen=True, slots=True)
class _Latent:
    """One entry a lead: what it is and when things happen to it, in days after arrival (inf: never)."""

    client: IntArray
    epoch: IntArray
    arrival: FloatArray  # days before as_of, positive
    urgency: IntArray
    tone: IntArray
    source: IntArray
    ever: FloatArray  # the lead's own probability of ever converting
    touch: FloatArray
    repeat: FloatArray
    conversion: FloatArray
    exit: FloatArray
    exit_kind: IntArray
    by_outcome: NDArray[np.bool_]  # a sale or a loss is recorded as outcome_status, not as a tag
    reversion: FloatArray  # days after the conversion
    is_test: NDArray[np.bool_]


def company_world(
    rng: np.random.Generator,
    as_of: datetime,
    n_clients: int = 40,
    days: int = 365,
    plan: Mapping[int, PlantedChange] | None = None,
    *,
    leads_per_window: float = 15.0,
    special_clients: bool = True,
) -> World:
    """
    Draw companies with their leads and actions over the days before as_of; nothing in it is dated as_of or later.

    Parameters
    ----------
    rng : the same state, as_of and arguments give the same rows.
    as_of : aware; the demo takes the last midnight UTC, so that the year always ends now.
    plan : what changes for which client (by index); planted changes begin with the current window, 30 days before
        as_of. Clients without one do not change.
    leads_per_window : mean over the clients without a size of their own; their volumes are Pareto distributed.
    special_clients : whether the last two of ten or more are the internal and a test client.

    Raises
    ------
    ValueError
        as_of is naive, or a planted client, tone or source does not exist.
    """
    if as_of.tzinfo is None:
        raise ValueError("as_of must be aware")
    plan = plan or {}
    if unknown := [i for i in plan if not 0 <= i < n_clients]:
        raise ValueError(f"planted changes for clients {unknown}, but there are {n_clients}")
    rates = _draw_rates(rng, n_clients, plan, leads_per_window)
    latent = _draw_leads(rng, rates, as_of, days)
    clients = _client_rows(rng, rates, as_of, days, n_clients, special_clients=special_clients)
    leads, actions = _lead_rows(rng, latent, rates, clients, as_of)
    return World(as_of, clients, leads, actions, _truths(clients, plan, rates, latent, as_of))


def _draw_rates(
    rng: np.random.Generator, n_clients: int, plan: Mapping[int, PlantedChange], leads_per_window: float
) -> _Rates:
    volume = np.minimum(1.0 + rng.pareto(1.3, n_clients), 15.0)
    volume *= leads_per_window / volume.mean()
    high = np.repeat(rng.beta(*BASE_HIGH_SHARE, n_clients)[:, None], 2, axis=1)
    medium_part = rng.beta(12.0, 8.0, n_clients)
    tone = np.repeat(rng.dirichlet(14.0 * TONE_BASE, n_clients)[:, None, :], 2, axis=1)
    source = np.repeat(rng.dirichlet(12.0 * SOURCE_BASE, n_clients)[:, None, :], 2, axis=1)
    confidence = np.repeat(rng.beta(28.0, 12.0, n_clients)[:, None], 2, axis=1)
    touched = np.repeat(rng.beta(6.0, 4.0, n_clients)[:, None], 2, axis=1)
    conversion = np.repeat(rng.beta(6.0, 22.0, n_clients)[:, None], 2, axis=1)
    factor = np.ones((n_clients, 2))
    for i, change in plan.items():
        if change.leads_per_window is not None:
            volume[i] = change.leads_per_window
        if change.high_share is not None:
            high[i] = change.high_share
        if change.tone is not None:
            tone[i] = _planted_shares(tone[i], TONE_FAMILIES, *change.tone)
        if change.source is not None:
            source[i] = _planted_shares(source[i], SOURCES, *change.source)
        if change.touched is not None:
            touched[i] = change.touched
        confidence[i, 1] = np.clip(confidence[i, 0] + change.confidence, 0.02, 0.98)
        conversion[i, 1] *= change.conversion
        factor[i, 1] = change.volume
    urgency = np.stack([high, (1 - high) * medium_part[:, None], (1 - high) * (1 - medium_part[:, None])], axis=2)
    french = np.arange(n_clients) % 5 % 2 == 1  # two in five, wherever the client stands in the plan
    per_day = volume[:, None] * factor / WINDOW_DAYS
    return _Rates(per_day, urgency, tone, source, confidence, touched, np.minimum(conversion, 0.6), french)


def _planted_shares(shares: FloatArray, names: tuple[str, ...], name: str, gain: float) -> FloatArray:
    if name not in names:
        raise ValueError(f"{name!r} is none of {', '.join(names)}")
    changed = shares.copy()
    changed[1:] = _move_share(shares[1:], np.array([names.index(name)]), np.array([gain]))
    return changed


def _draw_leads(rng: np.random.Generator, rates: _Rates, as_of: datetime, days: int) -> _Latent:
    # Day d of the world is the 24 hours that begin (days - d) days before as_of.
    before = np.arange(days, 0, -1)
    weekday = np.array([(as_of - timedelta(days=int(d))).weekday() for d in before], dtype=np.int64)
    epoch_of_day = (before <= WINDOW_DAYS).astype(np.int64)
    expected = rates.leads_per_day[:, epoch_of_day] * WEEKDAY_FACTORS[weekday]
    count = rng.poisson(expected)
    client, day = (np.repeat(index.ravel(), count.ravel()) for index in np.indices(count.shape))
    n = len(client)
    hour = np.where(rng.random(n) < 0.85, rng.normal(13.5, 3.0, n), rng.uniform(0.0, 24.0, n)) % 24.0
    midnight = as_of.replace(hour=0, minute=0, second=0, microsecond=0)
    within_day = (hour / 24.0 - (as_of - midnight) / timedelta(days=1)) % 1.0
    arrival = before[day].astype(np.float64) - np.minimum(within_day, 1.0 - 1e-4)
    epoch = epoch_of_day[day]
    urgency = _draw_level(rng, rates.urgency[client, epoch])
    source = _draw_level(rng, rates.source[client, epoch])
    ever = np.minimum(rates.conversion[client, epoch] * URGENCY_CONVERSION[urgency] * SOURCE_CONVERSION[source], 0.9)
    conversion = np.where(rng.random(n) < ever, CONVERSION_SCALE * rng.weibull(CONVERSION_SHAPE, n), np.inf)
    leaving = np.where(rng.random(n) < EXIT_RATE, EXIT_SCALE * rng.weibull(EXIT_SHAPE, n), np.inf)
    soon = -TOUCH_SCALE * np.log1p(-rng.random(n) * -np.expm1(-ENGAGED_DAYS / TOUCH_SCALE))
    by_outcome = rng.random(n) < OUTCOME_RATE
    reverts = (rng.random(n) < REVERSION_RATE) & ~by_outcome
    late = np.where(rng.random(n) < 0.5, ENGAGED_DAYS + rng.exponential(10.0, n), np.inf)
    return _Latent(
        client=client,
        epoch=epoch,
        arrival=arrival,
        urgency=urgency,
        tone=_draw_level(rng, rates.tone[client, epoch]),
        source=source,
        ever=ever,
        touch=np.where(rng.random(n) < rates.touched[client, epoch], soon, late),
        repeat=np.where(rng.random(n) < REPEAT_RATE, rng.exponential(REPEAT_SCALE, n), np.inf),
        conversion=conversion,
        exit=leaving,
        exit_kind=rng.choice(len(EXITS), n, p=EXIT_SHARES),
        by_outcome=by_outcome,
        reversion=np.where(reverts, rng.exponential(REVERSION_SCALE, n), np.inf),
        is_test=rng.random(n) < TEST_LEAD_RATE,
    )


def _draw_level(rng: np.random.Generator, shares: FloatArray) -> IntArray:
    """Draw one level per row of shares, shape (n, levels)."""
    below = np.cumsum(shares, axis=1)[:, :-1]  # the last bound is 1 but for rounding
    return np.asarray((rng.random(len(shares))[:, None] >= below).sum(axis=1), dtype=np.int64)


def _draw_uuids(rng: np.random.Generator, n: int) -> list[str]:
    """Draw n version 4 UUIDs as text."""
    octets = np.frombuffer(rng.bytes(16 * n), dtype=np.uint8).reshape(n, 16).copy()
    octets[:, 6] = octets[:, 6] & 0x0F | 0x40
    octets[:, 8] = octets[:, 8] & 0x3F | 0x80
    digits = octets.tobytes().hex()
    return [
        f"{h[:8]}-{h[8:12]}-{h[12:16]}-{h[16:20]}-{h[20:]}" for h in (digits[i : i + 32] for i in range(0, 32 * n, 32))
    ]


def _ascii(text: str) -> str:
    """Lower-case letters, digits and dots of a name, for an address."""
    plain = unicodedata.normalize("NFKD", text.lower())
    return "".join(c for c in plain.replace(" ", "-") if c.isascii() and (c.isalnum() or c == "-"))


def _client_rows(
    rng: np.random.Generator, rates: _Rates, as_of: datetime, days: int, n_clients: int, *, special_clients: bool
) -> list[ClientRow]:
    ids, public_ids, keys = (_draw_uuids(rng, n_clients) for _ in range(3))
    with_special = special_clients and n_clients >= 10
    created_at = as_of - timedelta(days=days + 1)
    rows: list[ClientRow] = []
    names_given = len(INDUSTRIES) * len(PLACES)
    for i in range(n_clients):
        french = bool(rates.french[i])
        industry, place = INDUSTRIES[i % len(INDUSTRIES)], PLACES[i % len(PLACES)]  # 7 and 11 share no factor
        name = f"{industry[3]} {place[1]}" if french else f"{place[0]} {industry[2]}"
        is_internal, is_test = with_special and i == n_clients - 2, with_special and i == n_clients - 1
        if is_internal or is_test:
            name = "House account" if is_internal else "Test company"
        elif i >= names_given:
            name = f"{name} {i // names_given + 1}"
        rows.append(
            ClientRow(
                id=ids[i],
                client_id=public_ids[i],
                business_name=name,
                email=f"hello@{_ascii(name)}-{i + 1}.example",
                api_key=f"demo_{keys[i].replace('-', '')}",
                password_hash="!",  # noqa: S106 - no password has this hash: nobody can log in
                language="fr" if french else "en",
                industry_category=industry[1] if french else industry[0],
                email_tone=("Friendly", "Professional", "Formal")[i % 3],
                is_test=is_test,
                is_internal=is_internal,
                created_at=created_at,
            )
        )
    return rows


@dataclass(slots=True)
class _Story:
    """One lead on its way through time: the actions so far and the state they leave."""

    arrival: datetime
    age: float  # days at as_of
    as_of: datetime
    actions: list[tuple[str, str | None, bool | None, str | None, datetime]] = field(default_factory=list)
    tag: str | None = None
    outcome: str | None = None
    stamps: dict[str, datetime] = field(default_factory=dict)
    archived: bool = False
    deleted: bool = False

    def act(
        self, after: float, action_type: str, tag: str | None, outcome: bool | None = None, reason: str | None = None
    ) -> datetime | None:
        """Record an action so many days after arrival, unless that is not before as_of; say when it was."""
        if after >= self.age:
            return None
        # At least a second after arrival, so that the order of the actions is the order of their stamps.
        when = self.arrival + timedelta(seconds=int(after * 86400.0) + (after > 0.0))
        if when >= self.as_of:
            return None
        self.actions.append((action_type, tag, outcome, reason, when))
        return when


def _lead_rows(
    rng: np.random.Generator, latent: _Latent, rates: _Rates, clients: list[ClientRow], as_of: datetime
) -> tuple[list[LeadRow], list[ActionRow]]:
    n = len(latent.client)
    ids = _draw_uuids(rng, n)
    names = [np.array([len(group[0]), len(group[1])]) for group in (FIRST_NAMES, LAST_NAMES)]
    french = rates.french[latent.client] ^ (rng.random(n) < OTHER_LANGUAGE_RATE)
    french_index = french.astype(np.int64)
    first, last = (rng.integers(0, sizes[french_index]).tolist() for sizes in names)
    intent = rng.choice(len(INTENTS), n, p=INTENT_SHARES).tolist()
    # What a lead says at first contact and at a repeat contact; both have the client's own shares.
    urgency = _first_and_repeat(rng, latent.urgency, _draw_level(rng, rates.urgency[latent.client, latent.epoch]))
    tone = _first_and_repeat(rng, latent.tone, _draw_level(rng, rates.tone[latent.client, latent.epoch]))
    mean = rates.confidence[latent.client, latent.epoch]
    confidence = [
        np.round(rng.beta(mean * CONFIDENCE_PRECISION, (1 - mean) * CONFIDENCE_PRECISION), 2).tolist() for _ in range(2)
    ]
    confidence = _first_and_repeat(rng, np.array(confidence[0]), np.array(confidence[1]))
    known = [(rng.random(n) >= rate).tolist() for rate in (UNKNOWN_URGENCY, UNKNOWN_TONE, UNKNOWN_CONFIDENCE)]
    phrase, second_tone = (rng.random(n) < PHRASE_RATE).tolist(), rng.integers(0, len(TONE_FAMILIES), n).tolist()
    word = rng.integers(0, 60, n).tolist()
    shape = rng.random(n).tolist()
    later_touches = rng.poisson(0.8, n).tolist()
    gaps = rng.exponential(4.0, (n, 4)).tolist()
    by_outcome = latent.by_outcome.tolist()
    end = np.minimum(latent.conversion, latent.exit)
    converted, exited = (latent.conversion <= latent.exit).tolist(), (latent.exit < latent.conversion).tolist()
    columns = zip(
        latent.client.tolist(),
        latent.arrival.tolist(),
        latent.source.tolist(),
        latent.touch.tolist(),
        latent.repeat.tolist(),
        end.tolist(),
        latent.exit_kind.tolist(),
        latent.reversion.tolist(),
        latent.is_test.tolist(),
        french_index.tolist(),
        strict=True,
    )
    leads: list[LeadRow] = []
    actions: list[tuple[Any, ...]] = []
    for i, (client, age, source, touch, repeat, ends, exit_kind, reversion, is_test, fr) in enumerate(columns):
        arrival = as_of - timedelta(seconds=max(int(age * 86400.0), 2))
        company = clients[client]
        story = _Story(arrival, age, as_of)
        fr_client = int(company.language == "fr")
        story.act(0.0, "insert", TAGS["new"][fr_client])
        repeated = story.act(repeat, "insert", TAGS["new"][fr_client]) if repeat < ends else None
        if touch < ends and story.act(touch, "tag", TAGS["contacted"][fr_client]):
            story.tag = TAGS["contacted"][fr_client]
            after = touch
            for gap in gaps[i][: later_touches[i]]:
                after += gap
                kind = "high" if word[i] % 5 == 0 else "follow_up"
                if after >= ends or not story.act(after, "tag", TAGS[kind][fr_client]):
                    break
                story.tag = TAGS[kind][fr_client]
        if converted[i]:
            _convert(story, ends, reversion, fr_client, by_outcome=by_outcome[i])
        elif exited[i]:
            _leave(story, ends, EXITS[exit_kind], fr_client, by_outcome=by_outcome[i])

        said: list[list[Any]] = []
        for position, (family, names_of) in enumerate(((urgency, URGENCY_WORDS), (tone, TONES))):
            levels = URGENCIES if position == 0 else TONE_FAMILIES
            texts: list[Any] = []
            for contact in range(1 if repeated is None else 2):
                choices = names_of[levels[family[contact][i]]][fr]
                text = choices[word[i] % len(choices)]
                if position == 1 and phrase[i]:
                    text += (" et " if fr else " and ") + TONES[TONE_FAMILIES[second_tone[i]]][fr][0].lower()
                texts.append(text)
            said.append(texts if known[position][i] else [])
        said.append([confidence[c][i] for c in range(1 if repeated is None else 2)] if known[2][i] else [])

        contacts = [arrival] if repeated is None else [arrival, repeated]
        full_name = f"{FIRST_NAMES[fr][first[i]]} {LAST_NAMES[fr][last[i]]}"
        if is_test:
            full_name = "Test Lead"
        asked = INTENTS[intent[i]][fr]
        leads.append(
            LeadRow(
                id=ids[i],
                client_id=company.client_id,
                name=full_name,
                email=f"{_ascii(full_name)}.{ids[i][:8]}@example.com",
                message=f"Bonjour, {asked.lower()}." if fr else f"Hello, this is a {asked.lower()}.",
                language="fr" if fr else "en",
                ai_summary=f"{full_name} : {asked.lower()}" if fr else f"{full_name}: {asked.lower()}",
                intent=asked,
                urgency=said[0][-1] if said[0] else None,
                tone=said[1][-1] if said[1] else None,
                confidence_score=said[2][-1] if said[2] else None,
                current_tag=story.tag,
                source=SOURCES[source],
                archived=story.archived,
                deleted=story.deleted,
                is_test=is_test,
                urgency_history=_history(said[0], contacts, shape[i]),
                tone_history=_history(said[1], contacts, shape[i]),
                confidence_history=_history(said[2], contacts, shape[i]),
                timestamp=contacts[-1],
                last_updated=max([contacts[-1], *story.stamps.values()]),
                outcome_status=story.outcome,
                contacted_at=story.stamps.get("contacted"),
                client_closed_at=story.stamps.get("client_closed"),
                no_sale_at=story.stamps.get("no_sale"),
            )
        )
        actions.extend((ids[i], company.client_id, *done[:4], is_test, done[4]) for done in story.actions)
    action_ids = _draw_uuids(rng, len(actions))
    return leads, [ActionRow(action_id, *action) for action_id, action in zip(action_ids, actions, strict=True)]


def _first_and_repeat(rng: np.random.Generator, first: NDArray[Any], fresh: NDArray[Any]) -> list[list[Any]]:
    """Return the values at first contact and at a repeat: mostly the same, else a fresh draw, so shares are kept."""
    return [first.tolist(), np.where(rng.random(len(first)) < 0.6, first, fresh).tolist()]


def _convert(story: _Story, after: float, reversion: float, fr: int, *, by_outcome: bool) -> None:
    """Make the lead a customer, by a tag or by an outcome, and undo it later if that is in its stars."""
    if by_outcome:
        if when := story.act(after, "outcome_update", "client_closed"):
            story.outcome = "client_closed"
            story.stamps["client_closed"] = when
        return
    tag = TAGS["converted"][fr]
    if not story.act(after, "tag", tag, outcome=True):
        return
    story.tag = tag
    tag = TAGS["active"][fr]
    if story.act(after + reversion, "tag", tag, outcome=False, reason=REVERSION_REASONS[fr]):
        story.tag = tag


def _leave(story: _Story, after: float, kind: str, fr: int, *, by_outcome: bool) -> None:
    """Take the lead out of the open ones without a sale."""
    if kind == "archive":
        story.archived = story.act(after, "archive", None) is not None
    elif kind == "delete":
        story.deleted = story.act(after, "delete", None) is not None
    elif by_outcome:
        if when := story.act(after, "outcome_update", "no_sale"):
            story.outcome = "no_sale"
            story.stamps["no_sale"] = when
    elif story.act(after, "tag", TAGS["lost"][fr]):
        story.tag = TAGS["lost"][fr]


def _history(values: list[Any], contacts: list[datetime], shape: float) -> str:
    """Write a history as the application does, and now and then as its older scripts did."""
    if not values or shape < 0.02:
        return "[]"
    if shape < 0.04:
        return json.dumps(values, ensure_ascii=False)  # bare values
    text = json.dumps(
        [
            {"value": value, "timestamp": when.replace(tzinfo=None).isoformat(timespec="milliseconds") + "Z"}
            for value, when in zip(values, contacts, strict=True)
        ],
        ensure_ascii=False,
    )
    return json.dumps(text, ensure_ascii=False) if shape < 0.05 else text  # a JSON string that contains a list


# --- The truth of a company world -----------------------------------------------------------------------------------


def _truths(
    clients: list[ClientRow], plan: Mapping[int, PlantedChange], rates: _Rates, latent: _Latent, as_of: datetime
) -> dict[str, Truth]:
    scores = _expected_scores(rates)
    open_leads, expected, drawn = _next_conversions(latent, len(clients))
    truths: dict[str, Truth] = {}
    for i, client in enumerate(clients):
        high = rates.urgency[i, :, 0]
        truths[client.client_id] = Truth(
            client_id=client.client_id,
            business_name=client.business_name,
            as_of=as_of,
            planted=plan[i].describe() if i in plan else "nothing changes",
            urgency_class=trend_word(high[1] - high[0], SHARE_DEAD_BAND),
            high_share_previous=float(high[0]),
            high_share_current=float(high[1]),
            tone_shares_previous=dict(zip(TONE_FAMILIES, rates.tone[i, 0].tolist(), strict=True)),
            tone_shares=dict(zip(TONE_FAMILIES, rates.tone[i, 1].tolist(), strict=True)),
            source_shares_previous=dict(zip(SOURCES, rates.source[i, 0].tolist(), strict=True)),
            source_shares=dict(zip(SOURCES, rates.source[i, 1].tolist(), strict=True)),
            score_class=trend_word(scores[i, 1] - scores[i, 0], SCORE_DEAD_BAND),
            score_previous=float(scores[i, 0]),
            score_current=float(scores[i, 1]),
            leads_expected_previous=float(rates.leads_per_day[i, 0] * WINDOW_DAYS),
            leads_expected_current=float(rates.leads_per_day[i, 1] * WINDOW_DAYS),
            open_leads=int(open_leads[i]),
            conversions_expected=float(expected[i]),
            conversions_drawn=int(drawn[i]),
        )
    return truths


def weibull_cdf(days: FloatArray, shape: float, scale: float) -> FloatArray:
    """Return the share of a Weibull delay that is over after so many days."""
    return np.asarray(-np.expm1(-((np.maximum(days, 0.0) / scale) ** shape)), dtype=np.float64)


def _expected_scores(rates: _Rates) -> FloatArray:
    """
    Return the expected engagement score per client and epoch, shape (clients, 2).

    The mean over leads of 100 x (0.4 confidence + 0.3 urgency + 0.3 engaged), unknown parts left out and the weights
    rescaled; at the window's end a lead's age is uniform over 30 days, and one younger than 7 days shows its
    engagement only if already touched.
    """
    age = (np.arange(60) + 0.5) / 60.0 * WINDOW_DAYS
    t = np.minimum(age, ENGAGED_DAYS)
    ever = np.minimum(rates.conversion[:, :, None, None] * URGENCY_CONVERSION[:, None] * SOURCE_CONVERSION, 0.9)
    touched_by = np.expm1(-t / TOUCH_SCALE) / np.expm1(-ENGAGED_DAYS / TOUCH_SCALE)
    # Axes: client, epoch, urgency, source, age.
    untouched = (
        (1.0 - rates.touched[:, :, None, None, None] * touched_by)
        * (1.0 - ever[..., None] * weibull_cdf(t, CONVERSION_SHAPE, CONVERSION_SCALE))
        * (1.0 - EXIT_RATE * weibull_cdf(t, EXIT_SHAPE, EXIT_SCALE))
        * (1.0 + REPEAT_RATE * np.expm1(-t / REPEAT_SCALE))
    )
    weight = rates.urgency[:, :, :, None, None] * rates.source[:, :, None, :, None] * np.ones_like(t)
    level = np.array([1.0, 0.5, 0.0])[:, None, None]
    mean = rates.confidence[:, :, None, None, None]
    w_confidence, w_urgency, w_engaged = SCORE_WEIGHTS
    shown = np.where(age >= ENGAGED_DAYS, 1.0, 1.0 - untouched)  # probability that engagement is known
    value = np.where(age >= ENGAGED_DAYS, 1.0 - untouched, 1.0)  # its mean where known
    total, known = np.zeros_like(untouched), np.zeros_like(untouched)
    for has_confidence, p_confidence in ((1.0, 1.0 - UNKNOWN_CONFIDENCE), (0.0, UNKNOWN_CONFIDENCE)):
        for has_urgency, p_urgency in ((1.0, 1.0 - UNKNOWN_URGENCY), (0.0, UNKNOWN_URGENCY)):
            for has_engaged, p_engaged in ((1.0, shown), (0.0, 1.0 - shown)):
                weights = w_confidence * has_confidence + w_urgency * has_urgency + w_engaged * has_engaged
                if weights == 0.0:
                    continue
                points = (
                    w_confidence * has_confidence * mean
                    + w_urgency * has_urgency * level
                    + w_engaged * has_engaged * value
                ) / weights
                total += p_confidence * p_urgency * p_engaged * points
                known += p_confidence * p_urgency * p_engaged
    sums = [(weight * part).sum(axis=(2, 3, 4)) for part in (total, known)]
    return np.asarray(100.0 * sums[0] / sums[1], dtype=np.float64)


def _next_conversions(latent: _Latent, n_clients: int) -> tuple[IntArray, FloatArray, IntArray]:
    """
    Count, per client, the open leads and their conversions in the next 30 days: expected, and as drawn.

    A lead of age a converts then with probability c (G(a + 30) - G(a)) / ((1 - c F(a)) S(a)), where F is the delay's
    distribution, S the survival of the competing exits, and G the integral of S dF.
    """
    age = latent.arrival
    # A reverted lead is open again, but nothing more happens to it: it counts, with probability 0.
    reverted = (latent.conversion + latent.reversion < age) & (latent.conversion < latent.exit)
    waiting = (np.minimum(latent.conversion, latent.exit) >= age) & ~latent.is_test
    grid = np.linspace(0.0, float(age.max(initial=1.0)) + WINDOW_DAYS, 8001)
    f = weibull_cdf(grid, CONVERSION_SHAPE, CONVERSION_SCALE)
    middle = (grid[1:] + grid[:-1]) / 2.0
    steps = np.diff(f) * (1.0 - EXIT_RATE * weibull_cdf(middle, EXIT_SHAPE, EXIT_SCALE))
    g = np.concatenate([[0.0], np.cumsum(steps)])
    c, a = latent.ever[waiting], age[waiting]
    still_there = (1.0 - c * weibull_cdf(a, CONVERSION_SHAPE, CONVERSION_SCALE)) * (
        1.0 - EXIT_RATE * weibull_cdf(a, EXIT_SHAPE, EXIT_SCALE)
    )
    p = c * (np.interp(a + WINDOW_DAYS, grid, g) - np.interp(a, grid, g)) / still_there
    will = (latent.conversion < latent.exit) & (latent.conversion < age + WINDOW_DAYS)
    open_leads = np.bincount(latent.client[waiting | (reverted & ~latent.is_test)], minlength=n_clients)
    expected = np.bincount(latent.client[waiting], p, n_clients)
    drawn = np.bincount(latent.client[waiting & will], minlength=n_clients)
    return open_leads.astype(np.int64), expected.astype(np.float64), drawn.astype(np.int64)
