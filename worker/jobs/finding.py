"""What an analysis says of one client: the plain result that every job returns and the snapshot is made of."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from worker.statistics import BoolArray, FloatArray, IntArray

Json = Any  # numbers, strings, None, lists and dicts of them: what JSON can hold


@dataclass(frozen=True, slots=True)
class Claim:
    """
    A statement that is true or false, and the probability, given the data at as_of, that it is true.

    kind is one of change_class, within_distance, effect_sign, count_in_range, stays; text states it in English
    for the analyst; parameters are what a resolver needs to decide it (class, dead_band, distance, low, high ...).
    """

    kind: str
    probability: float
    text: str
    parameters: Mapping[str, Json] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Check:
    """
    The observable companion of a claim: who decides it (split_half, next_window, outcome), from when on, and
    its own probability p; p is None where the data at hand cannot decide it (a half without leads).
    """

    resolver: str
    resolve_at: datetime
    p: float | None
    parameters: Mapping[str, Json] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Finding:
    """
    One snapshot to be: of a client (None: of all real clients together), before language and storage.

    content holds the seed's keys and ours beside them; facts are what the insight text needs and the snapshot
    does not store. period_key, created_at and window are set only where they differ from the run's own (events
    and patterns are dated by when they happened or were first seen).
    """

    client_id: str | None
    event_type: str
    content: Mapping[str, Json]
    claim: Claim
    check: Check
    n: int
    n_previous: int | None = None
    claim_key: str = ""
    facts: Mapping[str, Json] = field(default_factory=dict)
    period_key: str | None = None
    created_at: datetime | None = None
    window: Mapping[str, Json] | None = None


@dataclass(frozen=True, slots=True)
class HalfChecks:
    """
    What one half of the leads foretells of the other half, aligned arrays with one entry a check.

    A check that the other half cannot decide (no leads in a window) has p NaN; agreed then means nothing.
    """

    client: IntArray  # index into the leads' clients
    p: FloatArray  # probability, from the first half alone, that the other half agrees
    agreed: BoolArray  # whether it did
    states: tuple[str, ...] = ()  # what is checked, where one client's checks or their statements differ
