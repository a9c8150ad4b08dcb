"""
What a job counts of each client's own leads, from which all follows that it says: of a client, or of all together.

Counts add up over clients. So the row of all clients needs no second look at their leads, and no place for all of them
at once: each share of the clients leaves its sums behind, a kilobyte a client at most, wherever it was worked on.
"""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import compress
from typing import Any

import numpy as np
from numpy.typing import NDArray

from worker.jobs.finding import Finding
from worker.leads import EVERYONE, Clients, Leads
from worker.statistics import BoolArray, IntArray

Array = NDArray[Any]  # of whole numbers or floats
Tally = Counter[str]


@dataclass(frozen=True, slots=True)
class Measures:
    """Sums over each client's leads, by what they count: arrays of shape (clients, ...); names and how often, apart."""

    clients: Clients
    sums: Mapping[str, Array]
    names: Mapping[str, Sequence[Tally]] = field(default_factory=dict)  # a tally a client; as parts, one for all

    def __getitem__(self, name: str) -> Array:
        return self.sums[name]

    def of_pooled(self, findings: Sequence[Finding] = ()) -> "Measures":
        """
        Keep what `together` needs: the pooled clients' sums, and of the names one tally for all of them.

        findings : what was said of these clients, where the row of all repeats some of it.
        """
        del findings
        pooled = self.clients.pooled
        names = {name: [_added(compress(tallies, pooled))] for name, tallies in self.names.items()}
        return Measures(self.clients.only(pooled), {name: values[pooled] for name, values in self.sums.items()}, names)

    @classmethod
    def together(cls, parts: Sequence["Measures"]) -> "Measures":
        """
        Add up parts, as of_pooled gives them, to the measures of all their clients as one, whose id is None.

        Sums are taken in the order of the clients' ids: their last digits do not tell how the clients were shared out.
        """
        ids = [i for part in parts for i in part.clients.ids]
        order = sorted(range(len(ids)), key=lambda place: ids[place] or "")
        sums = {
            name: np.concatenate([part.sums[name] for part in parts])[order].sum(axis=0, keepdims=True)
            for name in parts[0].sums
        }
        names = {name: [_added(part.names[name][0] for part in parts)] for name in parts[0].names}
        return Measures(EVERYONE, sums, names)


def count_names(leads: Leads, codes: IntArray, names: Sequence[str], mask: BoolArray) -> list[Tally]:
    """Count by client the names of the marked leads; code -1 has none."""
    result = [Tally() for _ in range(len(leads.clients))]
    used = mask & (codes >= 0)
    if used.any():
        pairs, counts = np.unique(leads.client[used] * len(names) + codes[used], return_counts=True)
        for pair, count in zip(pairs.tolist(), counts.tolist(), strict=True):
            client, code = divmod(pair, len(names))
            result[client][names[code]] = count
    return result


def most_frequent(tally: Tally, limit: int) -> list[str]:
    """List the most frequent names, most frequent first, ties by name."""
    return sorted(tally, key=lambda name: (-tally[name], name))[:limit]


def _added(tallies: Iterable[Tally]) -> Tally:
    result = Tally()
    for tally in tallies:
        result.update(tally)
    return result
