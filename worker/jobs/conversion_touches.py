"""How often, and when last, each lead was dealt with or came back, as it stood at several instants."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from worker.leads import Leads
from worker.statistics import IntArray

NEVER = -1  # the time of no touch


@dataclass(frozen=True, slots=True)
class Touched:
    """Touches after the first contact and before an instant, shape (leads,)."""

    count: NDArray[np.int32]
    latest: IntArray  # microseconds; NEVER where there was none


def touched_before(leads: Leads, instants: Sequence[int]) -> Iterator[Touched]:
    """
    Count touches before each of some instants, which never fall: every touch is gone through once.

    A touch is a repeat contact or an action by which a person dealt with the lead. What is given for an instant is
    overwritten by the next.
    """
    n = len(leads)
    tracks = [_after_arrival(leads, leads.contacts.lead, leads.contacts.time, instants)]
    if leads.actions is not None:
        touch = np.flatnonzero(leads.actions.touch)
        tracks.append(_after_arrival(leads, leads.actions.lead[touch], leads.actions.time[touch], instants))
    count, latest = np.zeros(n, dtype=np.int32), [np.full(n, NEVER) for _ in tracks]
    for number in range(len(instants)):
        for (lead, time, place), last in zip(tracks, latest, strict=True):
            here = np.flatnonzero(place == number)
            who = lead[here]
            count += np.bincount(who, minlength=n).astype(np.int32)
            last[who] = time[here]  # of repeated indices, the last one stays
        yield Touched(count, np.maximum.reduce(latest))


def _after_arrival(
    leads: Leads, lead: IntArray, time: IntArray, instants: Sequence[int]
) -> tuple[IntArray, IntArray, NDArray[np.uint8]]:
    """Keep the touches after their lead's first contact; give their leads, times and the first instant after each."""
    kept = np.flatnonzero((time < instants[-1]) & (time > leads.arrival[lead]))
    time = time[kept]
    return lead[kept], time, np.searchsorted(instants, time, side="right").astype(np.uint8)
