"""Rows as columns: texts numbered by their distinct values, instants and flags as arrays, in the order they came."""

from collections.abc import Callable, Hashable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from worker.lead_ids import Ids, join_ids
from worker.leads import FIRST_LEAD, UNDATED
from worker.statistics import BoolArray, FloatArray, IntArray

NO_NUMBER = float("-inf")  # a null among numbers, where NaN is a value like others
ATTRIBUTES = ("urgency", "tone", "confidence")
LABELS = ("urgency", "tone", "source", "intent", "language", "tag", "outcome")
FLAGS = ("archived", "deleted", "is_test")
INSTANTS = ("last_contact", "last_updated", "closed_at", "no_sale_at")


@dataclass(frozen=True, slots=True)
class Labels:
    """A column of texts that repeat: which of the distinct values each row has, shape (rows,)."""

    codes: IntArray
    values: Sequence[Any]

    @classmethod
    def of(cls, values: Iterable[Hashable]) -> "Labels":
        """Number the distinct values in the order in which they come."""
        numbers = _Numbers()
        codes = np.fromiter(map(numbers.__getitem__, values), dtype=np.int32)
        return cls(codes.astype(narrowest(len(numbers))), list(numbers))

    def folded(self, fold: Callable[[Any], int]) -> NDArray[np.int8]:
        """Give the code that `fold` makes of each row's value; each distinct value is folded once."""
        return np.array([fold(value) for value in self.values], dtype=np.int8)[self.codes]

    def named(self, fold: Callable[[Any], str | None]) -> tuple[IntArray, tuple[str, ...]]:
        """Give every distinct name a code in the names' own order, so that codes do not depend on the rows' order."""
        folded = [fold(value) for value in self.values]
        names = tuple(sorted({name for name in folded if name is not None}))
        places: dict[str | None, int] = {name: i for i, name in enumerate(names)} | {None: -1}
        width = np.min_scalar_type(-max(len(names), 1))
        return np.array([places[name] for name in folded], dtype=width)[self.codes], names

    def at(self, row: int) -> Any:
        """Give the value of a row."""
        return self.values[self.codes[row]]

    def only(self, rows: IntArray) -> "Labels":
        """Keep some rows, in an order."""
        return Labels(self.codes[rows], self.values)

    @classmethod
    def joined(cls, parts: Sequence["Labels"]) -> "Labels":
        """Put the rows of several together."""
        numbers = _Numbers()
        of_part = [[numbers[value] for value in part.values] for part in parts]
        width = narrowest(len(numbers))
        codes = [np.array(new, dtype=width)[part.codes] for new, part in zip(of_part, parts, strict=True)]
        return cls(np.concatenate(codes), list(numbers))


class _Numbers(dict[Hashable, int]):
    """Numbers what it meets, from 0 on."""

    def __missing__(self, value: Hashable) -> int:
        number = self[value] = len(self)
        return number


def narrowest(count: int) -> np.dtype[Any]:
    """Give the narrowest type that holds the numbers below `count`: of millions of rows four bytes each are many."""
    return np.min_scalar_type(max(count - 1, 0))


@dataclass(frozen=True, slots=True)
class LeadColumns:
    """Rows of lead_memory as columns of shape (rows,); instants in microseconds since 1970, UNDATED where none is."""

    id: Ids
    client: IntArray  # index into the clients, -1 where it is nobody's
    labels: dict[str, Labels]  # of LABELS
    instants: dict[str, IntArray]  # of INSTANTS
    confidence: FloatArray  # as stored, NO_NUMBER where null
    archived: BoolArray
    deleted: BoolArray
    is_test: BoolArray
    histories: dict[str, dict[int, str]] = field(default_factory=dict)  # by attribute: row -> text, where there is one

    def __len__(self) -> int:
        return len(self.client)

    @classmethod
    def joined(cls, parts: Sequence["LeadColumns"]) -> "LeadColumns":
        """Put the rows of several together; columns of the parts are let go one by one."""
        if len(parts) == 1:
            return parts[0]
        first, starts = parts[0], np.cumsum([0, *map(len, parts)]).tolist()
        return cls(
            join_ids([part.id for part in parts]),
            np.concatenate([part.client for part in parts]),
            {name: Labels.joined([part.labels.pop(name) for part in parts]) for name in tuple(first.labels)},
            {name: np.concatenate([part.instants.pop(name) for part in parts]) for name in tuple(first.instants)},
            **{name: np.concatenate([getattr(part, name) for part in parts]) for name in ("confidence", *FLAGS)},
            histories={
                name: {
                    start + row: text
                    for start, part in zip(starts, parts, strict=False)
                    for row, text in part.histories[name].items()
                }
                for name in first.histories
            },
        )

    def in_order(self, rows: IntArray) -> "LeadColumns":
        """Give some rows, in an order; columns are let go one by one, as very many would not be there twice."""
        place = {row: new for new, row in enumerate(rows.tolist())} if any(self.histories.values()) else {}
        return LeadColumns(
            self.id[rows],
            self.client[rows],
            {name: self.labels.pop(name).only(rows) for name in tuple(self.labels)},
            {name: self.instants.pop(name)[rows] for name in tuple(self.instants)},
            self.confidence[rows],
            self.archived[rows],
            self.deleted[rows],
            self.is_test[rows],
            {
                name: {place[row]: text for row, text in texts.items() if row in place}
                for name, texts in self.histories.items()
            },
        )


@dataclass(frozen=True, slots=True)
class ActionColumns:
    """Rows of lead_actions as columns of shape (rows,)."""

    lead: IntArray  # row of LeadColumns, -1 where it is none of those
    time: IntArray  # microseconds, UNDATED where none is
    what: Labels  # kind, tag, reversion_reason and conversion_outcome ("true", "false" or None) of each

    @classmethod
    def joined(cls, parts: list["ActionColumns"]) -> "ActionColumns":
        """Put the rows of several together; the list is emptied, and columns that nobody else has are let go."""
        if len(parts) == 1:
            return parts.pop()
        columns = [[getattr(part, name) for part in parts] for name in ("what", "time", "lead")]
        parts.clear()
        lead, time = np.concatenate(columns.pop()), np.concatenate(columns.pop())
        return cls(lead, time, Labels.joined(columns.pop()))


def usable(instants: Iterable[int | None]) -> IntArray:
    """Give instants as an array; UNDATED for what is no date: null, infinity, and anything before the product was."""
    return dated(np.array([UNDATED if i is None else i for i in instants], dtype=np.int64))


def dated(instants: IntArray) -> IntArray:
    """Leave out what is no date, as `usable` does."""
    return np.where(instants < FIRST_LEAD, UNDATED, instants)
