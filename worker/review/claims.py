"""A claim on record, as light as deciding and scoring it allows, and which of them are looked at."""

import json
from dataclasses import dataclass
from datetime import datetime
from typing import Any

YEAR = 360  # days that are looked back on, beside those that a claim takes to mature
MOST = 1e9  # leads or conversions; what is more was not written by this worker, and its square might be no number


@dataclass(frozen=True, slots=True)
class Kind:
    """
    How the claims of one event type are chosen: claims that share rows are not independent, and are not scored twice.

    apart_days : windows of two claims of one client that lie so far apart share no lead. matures_days : after so many
    days a claim can be decided. back_days : how far back the oldest lies, where the job is run every day.
    """

    event_type: str
    apart_days: int
    matures_days: int
    back_days: int = YEAR

    @property
    def most(self) -> int:
        """How many windows are looked at, newest first."""
        return self.back_days // self.apart_days


BY_WINDOW = (  # one claim by client and window; instants at which all clients were looked at
    Kind("engagement_score", 60, 0),
    Kind("urgency_trend", 60, 0),
    Kind("tone_distribution", 30, 0),
    Kind("conversion_prediction", 30, 30),
    Kind("accuracy_review", 30, 30),
)
BY_ROW = (  # each row is a claim of its own
    Kind("pattern_detected", 60, 0, back_days=180),  # nearly every row is of another day, and needs that day's model
    Kind("conversion", 90, 90),
    Kind("reversion", 90, 90),
)


@dataclass(frozen=True, slots=True)
class PastClaim:
    """One claim on record; what its snapshot does not hold, or not as the worker writes it, is None."""

    client_id: str | None  # None: of all clients together
    event_type: str
    as_of: datetime
    claim_key: str
    model_version: str | None
    lead_id: str | None
    n: float | None  # leads of the current and of the previous window
    n_previous: float | None
    probability: float | None  # of the claim, as published
    uncalibrated: float | None  # the same before recalibration, where there was any
    low: float | None  # ends of the range claimed
    high: float | None
    check_p: float | None  # probability of the observable companion
    check_states: str | None  # the class that it speaks of
    expected: float | None  # conversions
    interval_low: float | None  # 80% interval of their number
    interval_high: float | None
    cohort_size: float | None
    cohort_hash: str | None

    @classmethod
    def read(cls, client_id: str | None, event_type: str, as_of: datetime, text: str) -> "PastClaim":
        """Make it of a row, its values as a JSON array; what is no text, or number, where one belongs becomes None."""
        values = json.loads(text, parse_int=float)  # a whole number may have more digits than int() reads
        claim_key, version, lead_id, states, digest = (v if isinstance(v, str) else None for v in values[:5])
        n, n_previous, p, raw, low, high, check_p, expected, below, above, size = map(_number, values[5:])
        return cls(
            client_id=client_id,
            event_type=event_type,
            as_of=as_of,
            claim_key=claim_key or "",
            model_version=version,
            lead_id=lead_id,
            n=n,
            n_previous=n_previous,
            probability=_probability(p),
            uncalibrated=_probability(raw),
            low=low,
            high=high,
            check_p=_probability(check_p),
            check_states=states,
            expected=expected,
            interval_low=below,
            interval_high=above,
            cohort_size=size,
            cohort_hash=digest,
        )


def _number(value: Any) -> float | None:
    return value if isinstance(value, float) and abs(value) <= MOST else None


def _probability(value: float | None) -> float | None:
    return value if value is not None and 0 <= value <= 1 else None
