"""
Worlds in which leads convert after a delay or never, with every lead's true probability of converting in 30 days.

A lead's chance ever to convert is its client's (Beta), moved by urgency and source; the delay is Weibull or lognormal;
other exits compete, and may be likelier for leads that will never convert (informative archiving). The pace may change
on a day: from then on only a share of the conversions happen that would have.
"""

from dataclasses import dataclass, replace
from datetime import datetime

import numpy as np
from scipy import stats

from worker.actions import Actions, Deeds
from worker.leads import DAY, UNDATED, Clients, Leads, Observations, to_microseconds
from worker.vocabulary import ACTION_ARCHIVE, ACTION_TAG, OUTCOME_NONE, TAG_CONVERTED, TAG_NONE

HISTORY = 365  # days of arrivals
HORIZON = 30
URGENCY_EFFECTS = np.array([-0.5, 0.0, 0.6])  # on the log odds ever to convert: Low, Medium, High
SOURCE_EFFECTS = np.array([-0.7, 0.0, 0.3, 0.8])


@dataclass(frozen=True, slots=True)
class Plan:
    """How a world's leads convert."""

    delay: str = "weibull"  # or lognormal
    scale: float = 18.0  # days, the delay's median or so
    share: tuple[float, float] = (2.0, 10.0)  # Beta of the clients' chances
    exits: float = 0.002  # a day
    informative: float = 1.0  # how many times likelier exits are for leads that will never convert
    pace: float = 1.0  # share of the conversions that happen from `changed` on
    changed: float = 0.0  # days before as_of
    drift: float = 0.0  # yearly change of the log odds of those who arrive


PLANS = {
    "weibull": Plan(),
    "lognormal": Plan("lognormal", 15.0),
    "slow": Plan("weibull", 60.0, exits=0.004),
    "informative": Plan("lognormal", 25.0, exits=0.003, informative=4.0),
    "rising": Plan(drift=0.8),
    "falling": Plan("lognormal", 20.0, drift=-0.8),
}


@dataclass(frozen=True, slots=True)
class ConversionWorld:
    """Leads with everything that ever happens to them, and what is true of each at as_of; arrays of shape (leads,)."""

    leads: Leads
    age: np.ndarray  # days since arrival, negative for leads yet to come
    converted: np.ndarray  # in the 30 days from as_of on
    probability: np.ndarray  # true, of a lead open at as_of


def delay_of(plan):
    """Give the delay's distribution."""
    return stats.weibull_min(0.8, scale=plan.scale) if plan.delay == "weibull" else stats.lognorm(1.2, scale=plan.scale)


def conversion_world(plan: Plan, as_of: datetime, rng: np.random.Generator, n_clients: int = 1000) -> ConversionWorld:
    """Draw clients of 20 to 120 leads each."""
    client = np.repeat(np.arange(n_clients), rng.integers(20, 121, n_clients))
    n = len(client)
    age = rng.uniform(-HORIZON, HISTORY, n)
    urgency, source = rng.integers(0, 3, n), rng.integers(0, 4, n)
    own = rng.beta(*plan.share, n_clients)[client]
    odds = np.log(own / (1 - own)) + URGENCY_EFFECTS[urgency] + SOURCE_EFFECTS[source] - plan.drift * age / 365
    ever = 1 / (1 + np.exp(-odds))
    delay = delay_of(plan)
    will = rng.random(n) < ever
    converts = np.where(will, delay.rvs(n, random_state=rng), np.inf)
    late = age - converts < plan.changed  # how long before as_of it would convert
    converts = np.where(late & (rng.random(n) > plan.pace), np.inf, converts)
    rate = plan.exits * np.where(will, 1.0, plan.informative)
    leaves = rng.exponential(1 / rate)
    converts = np.where(converts < leaves, converts, np.inf)
    leaves = np.where(np.isfinite(converts), np.inf, leaves)
    happens = (converts >= age) & (converts < age + HORIZON) & (age > 0)
    return ConversionWorld(
        _as_leads(client, age, converts, leaves, urgency, source, as_of, n_clients, rng),
        age,
        happens,
        _true_probability(plan, delay, ever, np.maximum(age, 0.0)),
    )


def _true_probability(plan, delay, ever, age):
    """
    P(converts within 30 days | open at this age), where the pace has not changed or changed before all ages that count.

    Leads that will convert and leads that never will, each with their exits, and the share of both still here.
    """
    steps = np.arange(HORIZON) + 0.5
    here = delay.sf(age)
    pace = plan.pace if plan.changed > 0 else 1.0
    lost = np.maximum(delay.sf(np.maximum(age - plan.changed, 0)) - here, 0.0) * (1 - pace)  # would have, but did not
    will = ever * here * np.exp(-plan.exits * age)
    never = (1 - ever) * np.exp(-plan.exits * plan.informative * age) + ever * lost * np.exp(-plan.exits * age)
    result = np.zeros(len(age))
    for step in steps:
        gain = delay.cdf(age + step + 0.5) - delay.cdf(age + step - 0.5)
        result += ever * gain * np.exp(-plan.exits * (age + step)) * pace
    return result / (will + never)


def _as_leads(client, age, converts, leaves, urgency, source, as_of, n_clients, rng):
    end = to_microseconds(as_of)
    n = len(client)
    arrival = end - (age * DAY).astype(np.int64)
    lead = np.arange(n)
    won, gone = np.flatnonzero(np.isfinite(converts)), np.flatnonzero(np.isfinite(leaves))
    who = np.concatenate([won, gone])
    when = arrival[who] + (np.minimum(np.concatenate([converts[won], leaves[gone]]), 9000.0) * DAY).astype(np.int64)
    order = np.lexsort((when, who))
    is_win = (np.arange(len(who)) < len(won))[order]
    win, loss = (ACTION_TAG, TAG_CONVERTED), (ACTION_ARCHIVE, TAG_NONE)
    deeds, number = Deeds.in_turn([(kind, tag, OUTCOME_NONE, -1, None) for kind, tag in (win, loss)])
    actions = Actions(
        lead=who[order],
        time=when[order],
        deed=np.where(is_win, number[0], number[1]),
        deeds=deeds,
    )
    tag = np.full(n, TAG_NONE)
    tag[won] = TAG_CONVERTED
    archived = np.zeros(n, dtype=bool)
    archived[gone] = True
    last_change = arrival.copy()
    last_change[who] = when
    nothing = Observations(lead[:0], lead[:0], np.zeros(0))
    return Leads(
        clients=Clients(
            tuple(f"client-{i:05d}" for i in range(n_clients)),
            ("en",) * n_clients,
            (None,) * n_clients,
            np.ones(n_clients, dtype=bool),
        ),
        client=client,
        owner=client,
        owner_industry=(None,) * n_clients,
        id=np.array([f"lead-{i:08d}" for i in range(n)], dtype=object),
        in_half=rng.random(n) < 0.5,
        arrival=arrival,
        last_contact=arrival,
        urgency=Observations(lead, arrival, urgency.astype(float)),
        tone=nothing,
        confidence=nothing,
        contacts=Observations(lead, arrival, np.zeros(n)),
        source=source,
        source_names=("s0", "s1", "s2", "s3"),
        intent=np.full(n, -1),
        intent_names=(),
        language=np.full(n, -1),
        tag=tag,
        outcome=np.full(n, OUTCOME_NONE),
        closed_at=np.full(n, UNDATED),
        lost_at=np.full(n, UNDATED),
        archived=archived,
        deleted=np.zeros(n, dtype=bool),
        last_change=last_change,
        actions=actions,
    )


def halved(plan: Plan, days: float) -> Plan:
    """Give the same world, where half of the conversions stop so many days before as_of."""
    return replace(plan, pace=0.5, changed=days)
