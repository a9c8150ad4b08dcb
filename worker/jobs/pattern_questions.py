"""What a question of pattern_detection is: about whom, about what, against what; and the answers as parallel arrays."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from worker.jobs.pattern_view import SUBJECTS, View
from worker.statistics import BoolArray, FloatArray, IntArray

OWN_PAST, POOL = "own_past", "pool"
AGAINST = (OWN_PAST, POOL)
GROUPS = tuple(f"{subject}|{against}" for subject in SUBJECTS for against in AGAINST)
EVERYONE = -1  # the client of a question about all clients together
LEAST_SURPRISE = float(-np.log(1e-3))  # a question that could never have a p-value this small is not asked
LEAST_OF_OWN = 30  # questions about one value; those about rarer values share a group

Answers = tuple[FloatArray, FloatArray, FloatArray]  # z, its standard error, and the effect as seen: as in Family


@dataclass(frozen=True, slots=True)
class Family:
    """Questions as parallel arrays: about whom and what, and the answer of the two windows."""

    client: IntArray  # EVERYONE, or index into the leads' clients
    group: IntArray  # index into GROUPS
    code: IntArray  # index into the subject's names
    z: FloatArray  # standard normal where nothing changed
    error: FloatArray  # standard error of the effect in units of a single lead's spread (volume: of log ratios)
    raw: FloatArray  # the effect as seen: change of a share, or log of a ratio of volumes, beyond what it is against
    shift: FloatArray  # what it is against: 0, or the others' change
    shift_error: FloatArray
    carrying: IntArray  # leads of the current window that carry the value

    def __len__(self) -> int:
        return len(self.client)

    @property
    def subject(self) -> IntArray:
        """Index into SUBJECTS."""
        return self.group // 2

    @property
    def key(self) -> IntArray:
        """One whole number for client, group and value, unique within the family."""
        size = int(self.code.max(initial=0)) + 1
        return ((self.client + 1) * len(GROUPS) + self.group) * size + self.code

    def only(self, keep: BoolArray | IntArray) -> "Family":
        """Keep some of the questions."""
        return Family(*(getattr(self, name)[keep] for name in Family.__slots__))

    @classmethod
    def join(cls, families: Sequence["Family"]) -> "Family":
        """Put families one after the other."""
        return cls(*(np.concatenate([getattr(family, name) for family in families]) for name in Family.__slots__))


@dataclass(frozen=True, slots=True)
class Groups:
    """
    The groups within which questions are alike: each of GROUPS, and apart from it the values often asked about.

    names : "tone|own_past" for the rest of that group, "tone|own_past|Urgent" for a value of its own; all of GROUPS,
        in any order.
    """

    names: tuple[str, ...]

    @classmethod
    def of(cls, view: View, family: Family) -> "Groups":
        """Find the values often asked about, of all clients."""
        names = list(GROUPS)
        for subject in view.subjects:
            if not subject.named:
                continue
            for against in (0, 1):
                group = 2 * subject.number + against
                n = np.bincount(family.code[family.group == group], minlength=len(subject.names))
                names += [
                    f"{GROUPS[group]}|{subject.names[code]}" for code in np.flatnonzero(n >= LEAST_OF_OWN).tolist()
                ]
        return cls(tuple(names))

    @property
    def parent(self) -> IntArray:
        """Index into GROUPS of each group."""
        place = {name: number for number, name in enumerate(GROUPS)}
        return np.array([place["|".join(name.split("|", 2)[:2])] for name in self.names])

    def number(self, view: View, family: Family) -> IntArray:
        """Give the group of each question, shape (questions,)."""
        place = {name: number for number, name in enumerate(self.names)}
        rest = np.array([place[name] for name in GROUPS])  # by name: what was stored keeps no order
        result: IntArray = rest[family.group]
        for subject in view.subjects:
            for group in (2 * subject.number, 2 * subject.number + 1):
                rows = np.flatnonzero(family.group == group)
                if len(rows) and subject.named:
                    own = [place.get(f"{GROUPS[group]}|{name}", rest[group]) for name in subject.names]
                    result[rows] = np.array(own)[family.code[rows]]
        return result
