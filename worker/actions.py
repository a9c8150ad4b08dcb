"""What was done with leads: which lead, when, and which of the few different deeds there are."""

from dataclasses import dataclass

import numpy as np

from worker.statistics import BoolArray, IntArray
from worker.vocabulary import (
    ACTION_CONTACTED,
    ACTION_NOTE,
    ACTION_OUTCOME_UPDATE,
    ACTION_REVERT,
    ACTION_TAG,
    OUTCOME_CLIENT_CLOSED,
    TAG_CONVERTED,
)

TOUCHES = (ACTION_OUTCOME_UPDATE, ACTION_TAG, ACTION_NOTE, ACTION_CONTACTED)


@dataclass(frozen=True, slots=True)
class Deeds:
    """
    The different things that were done: arrays of shape (deeds,), in the turn they take where they share an instant.

    Two tracks lead to a conversion: tags (and conversion_outcome) on one, outcomes on the other. conversion_outcome
    false says nothing by itself, since one of the two schemas has it as the default of every row: it undoes a
    conversion only where a reason is given.
    """

    kind: IntArray  # ACTION_* code
    tag: IntArray  # TAG_* code of the tag it set
    outcome: IntArray  # OUTCOME_* code its tag column holds, for outcome updates
    converted: IntArray  # conversion_outcome: 1 true, 0 false, -1 null
    reason_code: IntArray  # index into reason_names, -1 where null or blank
    reason_names: tuple[str, ...]  # the reversion_reasons there are

    @classmethod
    def in_turn(cls, rows: list[tuple[int, int, int, int, str | None]]) -> tuple["Deeds", IntArray]:
        """
        Number the different ones of some deeds: (kind, tag, outcome, converted, reason) each. Gives each row's number.

        First what makes no customer, then what makes one, then what says that it is none any more; else by what it is.
        """
        names = tuple(sorted({row[4] for row in rows if row[4] is not None}))
        place = {name: code for code, name in enumerate(names)}
        columns = [[row[i] for row in rows] for i in range(4)] + [[place.get(row[4] or "", -1) for row in rows]]
        kind, tag, outcome, converted, reason = (np.array(column, dtype=np.int64) for column in columns)
        each = cls(kind, tag, outcome, converted, reason, names)
        turn = np.where(each.reverting, 2, np.where(each.winning_by_tag | each.winning_by_outcome, 1, 0))
        keys = np.stack([turn, kind, tag, outcome, converted, reason])
        _, first, number = np.unique(keys, axis=1, return_index=True, return_inverse=True)
        return cls(kind[first], tag[first], outcome[first], converted[first], reason[first], names), number.reshape(-1)

    def __len__(self) -> int:
        return len(self.kind)

    @property
    def excused(self) -> BoolArray:
        """Mark conversion_outcome false with a reason: a customer who is none any more."""
        result: BoolArray = (self.converted == 0) & (self.reason_code >= 0)
        return result

    @property
    def touch(self) -> BoolArray:
        """Mark what a person did about the lead: tag, outcome update, note, contacted."""
        return np.isin(self.kind, TOUCHES)

    @property
    def reverting(self) -> BoolArray:
        """Mark what ends every conversion of its lead."""
        result: BoolArray = (self.kind == ACTION_REVERT) | self.excused
        return result

    @property
    def winning_by_tag(self) -> BoolArray:
        """Mark what makes the lead a customer by its tag, or by conversion_outcome true."""
        by_tag = (self.kind == ACTION_TAG) & (self.tag == TAG_CONVERTED)
        result: BoolArray = (by_tag | (self.converted == 1)) & (self.kind != ACTION_OUTCOME_UPDATE) & ~self.reverting
        return result

    @property
    def winning_by_outcome(self) -> BoolArray:
        """Mark what makes the lead a customer by its outcome."""
        won = (self.outcome == OUTCOME_CLIENT_CLOSED) | (self.converted == 1)
        result: BoolArray = won & (self.kind == ACTION_OUTCOME_UPDATE) & ~self.reverting
        return result


@dataclass(frozen=True, slots=True)
class Actions:
    """What was done with the leads: parallel arrays, sorted by lead and time, those of one instant by their deed."""

    lead: IntArray
    time: IntArray  # microseconds
    deed: IntArray  # index into deeds
    deeds: Deeds

    def only(self, places: IntArray, lead: IntArray) -> "Actions":
        """Keep the actions at some places, which are those of leads with other numbers then."""
        return Actions(lead, self.time[places], self.deed[places], self.deeds)

    def that(self, deeds: BoolArray) -> BoolArray:
        """Mark the actions that are some of the deeds, which are marked."""
        marked: BoolArray = deeds[self.deed]
        return marked

    def looked_up(self, of_deeds: IntArray | BoolArray, place: IntArray, otherwise: int) -> IntArray:
        """Give what a table of the deeds says of the actions at some places; `otherwise` where the place is -1."""
        return at_places(of_deeds, place, otherwise, self.deed)

    def reason(self, place: int) -> str | None:
        """Give the reversion_reason of an action, None where there is none."""
        code = int(self.deeds.reason_code[self.deed[place]])
        return None if code < 0 else self.deeds.reason_names[code]


def at_places(
    values: IntArray | BoolArray, place: IntArray, otherwise: int, through: IntArray | None = None
) -> IntArray:
    """Look up values at places, by way of their numbers in `through` if given; `otherwise` where the place is -1."""
    result = np.full(len(place), otherwise, dtype=np.int64)
    there = np.flatnonzero(place >= 0)
    at = place[there]
    result[there] = values[at if through is None else through[at]]
    return result
