"""Worlds of patterns with known truth, as the leads that pattern_detection sees: what changed, where, by how much."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import get_args

import numpy as np

from worker.leads import Leads
from worker.simulate.as_leads import build_leads
from worker.simulate.changes import ChangeKind, draw_changes
from worker.statistics import BoolArray, FloatArray, IntArray
from worker.vocabulary import TONES

WINDOW_DAYS = 30.0
CHANGING_TONE = TONES.index("Urgent")
PLANTED_CHANGE = 0.25  # of the High share
PLANTED_IN = 5  # one client in so many
SOURCES = ("email", "organic_search", "paid_ads", "referral", "social")
INTENTS = ("B2B Partnership", "Consultation", "General Information", "Quote Request", "Technical Support")
FREE_INTENTS = 200  # sentences of the leads' own that hardly ever repeat
FREE_INTENT_RATE = 0.15
URGENCY_KNOWN, TONE_KNOWN = 0.95, 0.9
MEDIUM_RATE = 0.5  # of the leads that are not of high urgency
REPEAT_RATE, CONVERSION_RATE = 0.2, 0.12
BURST_LENGTHS = (2, 3, 4)  # leads, equally frequent: three on average
BURST_LIKENESS = 0.8  # chance that a lead takes after its burst rather than after its client
DUPLICATE_RATE = 0.3  # share of leads recorded a second time
VOLUME_CHANGES = 0.3  # share of clients whose volume changes in the volume world
BOUNDS = 0.03, 0.97  # of every true share of High: a share cannot change beyond the ends
SMALLEST = 1e-9  # a change below this is the rounding of none

PATTERN_KINDS = (*get_args(ChangeKind), "planted", "volume")


@dataclass(frozen=True, slots=True)
class PatternWorld:
    """
    Leads of two windows and the true change of everything between them.

    change : by (subject, value), shape (clients,): the change of a share, or the log of the ratio of volumes (value
        None); what is not in it has not changed. n : leads by window (previous, current) and client.
    """

    leads: Leads
    change: dict[tuple[str, str | None], FloatArray]
    n: IntArray

    def effect(self, subject: str, value: str | None, against: str) -> FloatArray:
        """
        Tell the true effect for every client, shape (clients,).

        Against the pool: beyond the other clients' change, each weighing as much as its leads tell; of volumes, the
        others' leads together.
        """
        n_clients = len(self.leads.clients)
        own = self.change.get((subject, value), np.zeros(n_clients))
        if against == "own_past" or n_clients < 2:
            return own
        if subject == "volume":
            expected = self.n[0] * 1.0
            later = expected * np.exp(own)
            others = np.log((later.sum() - later) / (expected.sum() - expected))
        else:
            weight = 1 / (1 / np.maximum(self.n, 0.5)).sum(axis=0)
            others = ((weight * own).sum() - weight * own) / (weight.sum() - weight)
        beyond: FloatArray = own - others
        return np.where(np.abs(beyond) < SMALLEST, 0.0, beyond)

    def everyones_effect(self, subject: str, value: str | None) -> float:
        """Tell the true change of all clients together."""
        own = self.change.get((subject, value), np.zeros(len(self.leads.clients)))
        if subject == "volume":
            return float(np.log((self.n[0] * np.exp(own)).sum() / self.n[0].sum()))
        weight = 1 / (1 / np.maximum(self.n, 0.5)).sum(axis=0)
        return float((weight * own).sum() / weight.sum())


@dataclass(frozen=True, slots=True)
class _Rates:
    """What a client's leads are like: shape (clients,) or (clients, values)."""

    high: FloatArray
    tone: FloatArray
    source: FloatArray
    intent: FloatArray
    french: FloatArray

    @classmethod
    def draw(cls, n_clients: int, rng: np.random.Generator) -> "_Rates":
        high = rng.beta(3.0, 6.0, n_clients)
        tone = rng.dirichlet(np.array([3, 1, 2, 3, 3, 1, 1, 0.5, 2, 1, 3, 0.5, 1, 0.5, 0.5]), n_clients)
        french = rng.beta(0.5, 0.5, n_clients)
        source, intent = rng.dirichlet(np.full(len(SOURCES), 2.0), n_clients), rng.dirichlet(np.full(5, 2.0), n_clients)
        return cls(np.clip(high, *BOUNDS), tone, source, intent, french)


def pattern_world(
    kind: str,
    n_clients: int,
    as_of: datetime,
    rng: np.random.Generator,
    *,
    sizes: str | float = "pareto",
    periods: float = 2.0,
) -> PatternWorld:
    """
    Draw a world.

    Parameters
    ----------
    kind : a ChangeKind, whose changes happen to the High share and, drawn anew, to one tone (the others give way);
        "planted": 25 points more of High in one client of five, nothing else; "volume": some clients' volumes change.
    sizes : expected leads a window: "pareto" (mean near 20, most clients below 15), or the same number for all.
    periods : 30-day windows drawn before as_of; changes happen before the last one. More than 2 for a still world that
        is looked at day by day.
    """
    if kind not in PATTERN_KINDS:
        raise ValueError(f"unknown kind {kind!r}; known are {', '.join(PATTERN_KINDS)}")
    before = _Rates.draw(n_clients, rng)
    high, tone = before.high, before.tone
    ratio = np.zeros(n_clients)
    if kind == "planted":
        high = high + np.where(np.arange(n_clients) % PLANTED_IN == 0, PLANTED_CHANGE, 0.0)
    elif kind == "volume":
        factor = rng.choice([0.5, 2.0, 3.0], n_clients)
        ratio = np.where(rng.random(n_clients) < VOLUME_CHANGES, np.log(factor), 0.0)
    else:
        high = np.clip(high + _changes(kind, n_clients, rng), *BOUNDS)
        tone = _moved(tone, _changes(kind, n_clients, rng))
    expected = _expected(sizes, n_clients, rng)
    arrivals = np.stack([expected * (periods - 1), expected * np.exp(ratio)])
    n = rng.poisson(arrivals)
    after = _Rates(high, tone, before.source, before.intent, before.french)
    leads = _draw_leads(kind, (before, after), n, rng, periods=periods, as_of=as_of)
    change: dict[tuple[str, str | None], FloatArray] = {("urgency", "High"): high - before.high}
    change |= {("tone", name): tone[:, code] - before.tone[:, code] for code, name in enumerate(TONES)}
    change["volume", None] = ratio
    return PatternWorld(leads, change, n)


def _changes(kind: str, n_clients: int, rng: np.random.Generator) -> FloatArray:
    known: dict[str, ChangeKind] = {name: name for name in get_args(ChangeKind)}
    return draw_changes(known[kind], n_clients, rng)


def _expected(sizes: str | float, n_clients: int, rng: np.random.Generator) -> FloatArray:
    if not isinstance(sizes, str):
        return np.full(n_clients, float(sizes))
    if sizes != "pareto":
        raise ValueError(f"sizes must be 'pareto' or a number, not {sizes!r}")
    return np.minimum(6.0 * (1.0 + rng.pareto(1.2, n_clients)), 2000.0)


def _moved(tone: FloatArray, change: FloatArray) -> FloatArray:
    """Change the share of one tone, as far as it goes; the others give way in proportion."""
    share = tone[:, CHANGING_TONE]
    new = np.where(change == 0, share, np.clip(share + change, 0.001, 0.999))
    moved = tone * ((1 - new) / (1 - share))[:, None]
    moved[:, CHANGING_TONE] = new
    return np.where((change == 0)[:, None], tone, moved)


def _draw_leads(
    kind: str, rates: Sequence[_Rates], n: IntArray, rng: np.random.Generator, *, periods: float, as_of: datetime
) -> Leads:
    n_clients = n.shape[1]
    client = np.concatenate([np.repeat(np.arange(n_clients), count) for count in n])
    window = np.repeat([0, 1], n.sum(axis=1))
    # arrival, as days before as_of; before the last window at any time of the earlier ones
    days = np.where(window == 1, 0.0, WINDOW_DAYS) + rng.random(len(client)) * np.where(
        window == 1, WINDOW_DAYS, WINDOW_DAYS * (periods - 1)
    )
    like: IntArray = np.arange(len(client))  # whose draws a lead takes after: its own, or those of its burst's first
    if kind == "bursts":
        like, days = _bursts(client, window, days, rng)
    values = [_draw_values(rates, client, window, rng) for _ in range(2)]
    takes_after = rng.random((len(values[0]), len(client))) < BURST_LIKENESS
    # two sets of draws: a lead has its burst's, or one of its own
    drawn = [np.where(takes, mine[like], own) for takes, mine, own in zip(takes_after, *values, strict=True)]
    if kind == "duplicates":
        again = np.flatnonzero(rng.random(len(client)) < DUPLICATE_RATE)
        client, days = np.concatenate([client, client[again]]), np.concatenate([days, days[again] - 1e-4])
        drawn = [np.concatenate([part, part[again]]) for part in drawn]
    urgency, tone, source, intent, language, repeat_after, converted_after = drawn
    names = (*INTENTS, *(f"Sentence {number:03d}" for number in range(FREE_INTENTS)))
    return build_leads(
        client,
        days,
        as_of,
        n_clients,
        rng,
        urgency=urgency.astype(np.int64),
        tone=tone.astype(np.int64),
        source=source.astype(np.int64),
        source_names=SOURCES,
        intent=intent.astype(np.int64),
        intent_names=names,
        language=language.astype(np.int64),
        repeat_after=repeat_after,
        converted_after=converted_after,
    )


def _bursts(
    client: IntArray, window: IntArray, days: FloatArray, rng: np.random.Generator
) -> tuple[IntArray, FloatArray]:
    """Gather each client's leads of a window into bursts of 2 to 4; give every lead's burst's first, and new days."""
    order = np.lexsort((rng.random(len(client)), window, client))
    lengths = rng.choice(BURST_LENGTHS, len(client))
    starts = np.cumsum(lengths)
    start = np.zeros(len(client), dtype=bool)
    start[0:1] = True
    start[starts[starts < len(client)]] = True
    cell = client[order] * 2 + window[order]
    start[1:] |= cell[1:] != cell[:-1]
    first = order[np.maximum.accumulate(np.where(start, np.arange(len(order)), 0))]
    like = np.empty(len(client), dtype=np.int64)
    like[order] = first
    apart = np.where(like == np.arange(len(client)), 0.0, rng.random(len(client)) * 0.01)  # minutes
    edge = np.where(window == 1, 0.0, WINDOW_DAYS)
    return like, np.maximum(days[like] - apart, edge + 1e-6)


def _draw_values(
    rates: Sequence[_Rates], client: IntArray, window: IntArray, rng: np.random.Generator
) -> list[FloatArray]:
    """Draw every value of every lead from the rates of its client and window."""
    n = len(client)

    def draw(shares: Sequence[FloatArray]) -> IntArray:
        cumulative = np.cumsum(np.stack(shares), axis=2)[window, client]
        code: IntArray = np.minimum((cumulative < rng.random(n)[:, None]).sum(axis=1), cumulative.shape[1] - 1)
        return code

    def happens(chance: FloatArray | float) -> BoolArray:
        return rng.random(n) < chance

    high = happens(np.stack([part.high for part in rates])[window, client])
    urgency = np.where(high, 2, np.where(happens(MEDIUM_RATE), 1, 0))
    urgency = np.where(happens(URGENCY_KNOWN), urgency, -1)
    tone = np.where(happens(TONE_KNOWN), draw([part.tone for part in rates]), -1)
    intent = draw([part.intent for part in rates])
    intent = np.where(happens(FREE_INTENT_RATE), len(INTENTS) + rng.integers(0, FREE_INTENTS, n), intent)
    french = happens(np.stack([part.french for part in rates])[window, client])
    repeat = np.where(happens(REPEAT_RATE), rng.exponential(3.0, n), np.nan)
    converted = np.where(happens(CONVERSION_RATE), rng.exponential(9.0, n), np.nan)
    parts = (urgency, tone, draw([part.source for part in rates]), intent, french, repeat, converted)
    return [np.asarray(part, dtype=np.float64) for part in parts]


@dataclass(frozen=True, slots=True)
class ChangingWorld:
    """
    Leads of many months in which clients' High share steps up or down, each at its own instant, once and for good.

    before, after : the High share, shape (clients,); days_before_end : when it steps, -inf for never.
    """

    leads: Leads
    end: datetime
    before: FloatArray
    after: FloatArray
    days_before_end: FloatArray

    def effect(self, as_of: datetime) -> FloatArray:
        """Tell each client's true change of the High share between the two windows before as_of."""
        now = (self.end - as_of).total_seconds() / 86400
        current, previous = (
            np.clip((self.days_before_end - now - start) / WINDOW_DAYS, 0.0, 1.0) for start in (0.0, WINDOW_DAYS)
        )
        moved: FloatArray = (self.after - self.before) * (current - previous)
        return moved


def changing_world(
    n_clients: int, days: float, end: datetime, rng: np.random.Generator, *, leads_a_window: float, changing: float
) -> ChangingWorld:
    """Draw `days` of leads before end; the share `changing` of the clients steps by PLANTED_CHANGE after a month."""
    rates = _Rates.draw(n_clients, rng)
    before = np.clip(rates.high, 0.25, 0.75)
    after = before + rng.choice([-PLANTED_CHANGE, PLANTED_CHANGE], n_clients)
    after = np.clip(after, *BOUNDS)
    steps = rng.random(n_clients) < changing
    days_before_end = np.where(steps, rng.uniform(0, days - WINDOW_DAYS, n_clients), -np.inf)
    client = np.repeat(np.arange(n_clients), rng.poisson(leads_a_window * days / WINDOW_DAYS, n_clients))
    age = rng.random(len(client)) * days
    share = np.where(age < days_before_end[client], after[client], before[client])
    leads = build_leads(
        client,
        age,
        end,
        n_clients,
        rng,
        urgency=np.where(rng.random(len(client)) < share, 2, 0),
        tone=rng.integers(0, len(TONES), len(client)),
        source=rng.integers(0, len(SOURCES), len(client)),
        source_names=SOURCES,
    )
    return ChangingWorld(leads, end, before, after, days_before_end)
