"""Past claims as arrays, with what became of each: what a review's figures and its learning are made of."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import numpy as np

from worker.leads import DAY, WINDOW_DAYS, to_microseconds
from worker.review.claims import PastClaim
from worker.statistics import BoolArray, FloatArray, IntArray

PENDING, VOID, WRONG, RIGHT = range(4)
EVERYONE = -1  # the client of a claim about all clients together
TYPES = (  # in the order in which they are told
    "engagement_score",
    "urgency_trend",
    "tone_distribution",
    "pattern_detected",
    "conversion_prediction",
    "conversion",
    "reversion",
    "accuracy_review",
)
CONVERSION = TYPES.index("conversion_prediction")
REVIEW = TYPES.index("accuracy_review")
# What is scored: the claim itself where rows can decide it; for claims about rates that nobody sees, their check
SCORED = dict.fromkeys(TYPES[:4], "check") | dict.fromkeys(TYPES[4:7], "claim") | {"accuracy_review": "check"}


@dataclass(frozen=True, slots=True)
class Resolved:
    """
    Claims and what became of them by as_of; arrays of shape (claims,), in the order of the claims.

    said is the probability that is scored: of the claim, or of its check (SCORED). What is not known is NaN.
    """

    as_of: datetime
    client_ids: tuple[str | None, ...]
    claims: tuple[PastClaim, ...]
    kind: IntArray  # index into TYPES
    client: IntArray  # index into client_ids, EVERYONE for claims about all together
    pooled: BoolArray  # of a client that counts for the pool
    time: IntArray  # microseconds, when it was made
    window: IntArray  # claims of one kind and window were made, or decided, by the same days
    state: IntArray  # PENDING, VOID, WRONG or RIGHT
    said: FloatArray
    uncalibrated: FloatArray  # the same before any recalibration
    base: FloatArray  # what the base rate of the other windows would have said
    actual: FloatArray  # conversions, of counts that are decided
    crps: FloatArray  # of the same
    altered: BoolArray  # decided, though the leads are not exactly those that it was made of
    recalibration: Mapping[str, Any] | None  # what the last review before this published

    def __len__(self) -> int:
        return len(self.claims)

    @property
    def decided(self) -> BoolArray:
        """Mark the claims that were right or wrong."""
        result: BoolArray = self.state >= WRONG
        return result

    @property
    def right(self) -> BoolArray:
        """Mark the claims that were right."""
        result: BoolArray = self.state == RIGHT
        return result


def base_rates(kind: IntArray, window: IntArray, counted: BoolArray, right: BoolArray) -> FloatArray:
    """
    Say of each claim what the other windows' claims of its kind let expect: the share of them that was right.

    Half a claim of each sort is added, so that no rate is 0 or 1. Where there is no other window, the kind's own.

    Parameters
    ----------
    counted : shape (claims,), the decided claims of the pool: the others say nothing of a rate, but have one too.
    """
    rate = np.full(len(kind), np.nan)
    for number in range(len(TYPES)):
        of_kind = kind == number
        if not of_kind.any():
            continue
        _, place = np.unique(window[of_kind], return_inverse=True)
        weight = counted[of_kind].astype(np.float64)
        n = np.bincount(place, weight)
        k = np.bincount(place, weight * right[of_kind])
        others = n.sum() - n
        alone = others == 0
        rate[of_kind] = ((np.where(alone, k, k.sum() - k) + 0.5) / (np.where(alone, n, others) + 1))[place]
    return rate


def windows_of(time: IntArray, as_of: datetime) -> IntArray:
    """Number the stretches of 30 days counted back from as_of: 0 is the newest."""
    result: IntArray = (to_microseconds(as_of) - time) // (WINDOW_DAYS * DAY)
    return result


def numbers(claims: Sequence[PastClaim], name: str) -> FloatArray:
    """Collect one number of each claim, NaN where it has none."""
    values = [getattr(claim, name) for claim in claims]
    return np.array([np.nan if value is None else value for value in values], dtype=np.float64)
