"""
Why a lead's chance is what it is: parts of its log hazard that add up, and what the most promising leads share.

A part is how far something moves a lead's log hazard away from that of the average lead under observation: its age, the
pace of the calendar, what is known of it, its client. A part that is smaller than its own noise is not told by itself
but with the others.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from worker.jobs.conversion_features import OF_OLDER, Feature
from worker.jobs.finding import Json
from worker.leads import WINDOW_DAYS
from worker.statistics import BoolArray, FloatArray
from worker.statistics.hazard import N_BINS, Codes, HazardModel, hazard_at
from worker.vocabulary import URGENCY_HIGH, URGENCY_NAMES

DIGITS = 4  # of a part's log hazard: what lies behind is noise, and costs the database an entry of its index each
ROUNDING = 1e-6  # what all leads have alike moves none of them
RECENT_TOUCHES = ("< 3 days", "3-9 days")  # levels of the feature "last touch"


@dataclass(frozen=True, slots=True)
class Promising:
    """Leads that are to be explained; arrays of shape (leads,)."""

    age: FloatArray  # days
    codes: Codes  # (leads, features)
    risk_share: FloatArray  # (leads, bins), where in age the coming window's risk lies
    multiplier: FloatArray  # the client's level
    level_noise: FloatArray  # standard deviation of its logarithm


@dataclass(frozen=True, slots=True)
class Candidate:
    """A lead that is among the most promising ones, as the snapshot shows it."""

    lead: Mapping[str, Json]
    at_best: bool  # its chances fall from now on


@dataclass(frozen=True, slots=True)
class _Part:
    reason: str
    value: Sequence[str | None]
    effect: FloatArray  # on the log hazard
    noise: FloatArray  # its standard deviation


def explain(hazard: HazardModel, features: Sequence[Feature], leads: Promising) -> list[dict[str, Json]]:
    """
    Explain each lead: log_hazard beside the average lead's, reasons (largest first) and what they leave unexplained.

    The reasons' log_hazard, told to DIGITS decimals, and other_log_hazard sum to log_hazard.
    """
    parts = [_age(hazard, leads), _pace(hazard, leads), *_known(hazard, features, leads), _client(leads)]
    effects = np.stack([part.effect for part in parts], axis=1)
    told = np.abs(effects) > np.maximum(np.stack([part.noise for part in parts], axis=1), ROUNDING)
    order = np.argsort(-np.abs(effects), axis=1, kind="stable")
    total, effects = effects.sum(axis=1), np.round(effects, DIGITS)
    other = total - np.where(told, effects, 0.0).sum(axis=1)
    rows = zip(*(column.tolist() for column in (total, other, effects, told, order)), strict=True)
    return [
        {
            "log_hazard": log_hazard,
            "other_log_hazard": rest,
            "reasons": [
                {"reason": parts[j].reason, "value": parts[j].value[i], "log_hazard": effect[j]}
                for j in turn
                if is_told[j]
            ],
        }
        for i, (log_hazard, rest, effect, is_told, turn) in enumerate(rows)
    ]


def _age(hazard: HazardModel, leads: Promising) -> _Part:
    """How the coming window's mean hazard at the lead's age differs from that of all days under observation."""
    days = np.arange(WINDOW_DAYS) + 0.5
    ahead = np.log(hazard_at(hazard, leads.age[:, None] + days).mean(axis=1)) - hazard.coefficients[0]
    bins = slice(1, 1 + N_BINS)
    contrast = leads.risk_share - hazard.weights[bins]
    noise = np.sqrt(np.einsum("ij,jk,ik->i", contrast, hazard.covariance[bins, bins], contrast))
    value = [f"{age:.0f} days" for age in leads.age]
    return _Part("age", value, ahead - hazard.centre_of(bins), noise)


def _pace(hazard: HazardModel, leads: Promising) -> _Part:
    n = len(leads.age)
    return _Part("pace", [None] * n, np.full(n, hazard.pace), np.full(n, hazard.pace_noise))


def _known(hazard: HazardModel, features: Sequence[Feature], leads: Promising) -> list[_Part]:
    """What is known of a lead; what it says of a lead that is no longer young belongs to the same reason."""
    names = [feature.name.removesuffix(OF_OLDER) for feature in features]
    result = []
    for name in dict.fromkeys(names):
        members = [j for j, other in enumerate(names) if other == name]
        blocks = [slice(hazard.offset(j), hazard.offset(j) + hazard.levels[j]) for j in members]
        places = np.stack(
            [leads.codes[:, j].astype(np.int64) + b.start for j, b in zip(members, blocks, strict=True)], axis=1
        )
        weights = np.zeros(len(hazard.coefficients))
        for block in blocks:
            weights[block] = hazard.weights[block]
        # the noise of a difference: of the lead's own levels less their mean over all
        with_mean = hazard.covariance @ weights
        variance = hazard.covariance[places[:, :, None], places[:, None, :]].sum(axis=(1, 2))
        variance += float(weights @ with_mean) - 2 * with_mean[places].sum(axis=1)
        effect = hazard.coefficients[places].sum(axis=1) - sum(hazard.centre_of(block) for block in blocks)
        value = [features[members[0]].levels[code] for code in leads.codes[:, members[0]]]
        result.append(_Part(name, value, effect, np.sqrt(np.maximum(variance, 0.0))))
    return result


def _client(leads: Promising) -> _Part:
    return _Part("client", [None] * len(leads.age), np.log(leads.multiplier), leads.level_noise)


def worsens(hazard: HazardModel, age: FloatArray) -> BoolArray:
    """Mark the ages after whose coming window the next one's hazard is lower."""
    days = np.arange(WINDOW_DAYS) + 0.5
    soon, later = (hazard_at(hazard, age[:, None] + wait + days).mean(axis=1) for wait in (0, WINDOW_DAYS))
    result: BoolArray = later < soon
    return result


def facts_of(promising: Sequence[Candidate]) -> dict[str, Json]:
    """
    Count what an owner can act on among the reasons of the most promising leads, for the recommended actions.

    ageing : leads that are likelier for being as young as they are; recent_touch, touch_due : leads that are likelier
    for having been dealt with lately, or less likely for not having been; high_urgency : those whose high urgency
    speaks for them; good_source : the source that speaks for most of them.
    """
    seen: Counter[str] = Counter()
    sources: Counter[str] = Counter()
    for candidate in promising:
        for reason in candidate.lead["reasons"]:
            name, value, helps = reason["reason"], reason["value"], reason["log_hazard"] > 0
            if name == "age" and helps and candidate.at_best:
                seen["ageing"] += 1
            elif name == "last touch" and value in RECENT_TOUCHES and helps:
                seen["recent_touch"] += 1
            elif name == "last touch" and value not in RECENT_TOUCHES and not helps:
                seen["touch_due"] += 1
            elif name == "urgency" and value == URGENCY_NAMES[URGENCY_HIGH]:
                seen["high_urgency" if helps else "high_urgency_against"] += 1
            elif name == "source" and helps and value not in ("unknown", "other"):
                sources[str(value)] += 1
    best = min(sources, key=lambda source: (-sources[source], source), default=None)
    return {**{f"reason_{name}": n for name, n in sorted(seen.items())}, "reason_source": best}
