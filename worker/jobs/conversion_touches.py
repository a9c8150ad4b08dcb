"""How often, and when last, each lead was dealt with or came back, as it stood at several instants."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from worker.leads import Leads
from worker.statistics import IntArray

NEVER = -1  # the time of no touch
NOT_COUNTED = 255
BLOCK = 2**18  # touches looked at in one go


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
    c, a = leads.contacts, leads.actions
    tracks = [(c.lead, c.time, _first_after(leads, c.lead, c.time, instants))]
    if a is not None:
        place = _first_after(leads, a.lead, a.time, instants)
        place[a.that(~a.deeds.touch)] = NOT_COUNTED
        tracks.append((a.lead, a.time, place))
    count, latest = np.zeros(n, dtype=np.int32), [np.full(n, NEVER) for _ in tracks]
    for number in range(len(instants)):
        for (lead, time, place), last in zip(tracks, latest, strict=True):
            for low in range(0, len(place), BLOCK):
                here = low + np.flatnonzero(place[low : low + BLOCK] == number)
                if len(here):
                    who, first = lead[here], int(lead[here[0]])  # in order
                    many = np.bincount(who - first)
                    count[first : first + len(many)] += many.astype(np.int32)
                    last[who] = time[here]  # of repeated indices, the last one stays
        yield Touched(count, np.maximum.reduce(latest))


def _first_after(leads: Leads, lead: IntArray, time: IntArray, instants: Sequence[int]) -> NDArray[np.uint8]:
    """Number the first instant after each touch; NOT_COUNTED where there is none, or with or before first contact."""
    place = np.empty(len(time), dtype=np.uint8)
    for low in range(0, len(time), BLOCK):
        here = slice(low, low + BLOCK)
        number = np.searchsorted(instants, time[here], side="right")
        counted = (number < len(instants)) & (time[here] > leads.arrival[lead[here]])
        place[here] = np.where(counted, number, NOT_COUNTED)
    return place
