"""
From columns to Leads: when each lead came, what was known of it when, what was done with it; folded once a word.

Columns come as the database gave them, in any order of rows. Nothing here is done lead by lead but the histories, which
few leads have: everything else is whole columns at a time.
"""

from array import array
from collections.abc import Callable, Hashable, Iterable, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from worker.histories import ONE_CONTACT, History, observe, parse_history
from worker.lead_ids import Ids, UuidIds, half_by_id, order_by_client_and_id, text_ids
from worker.leads import DAY, FIRST_LEAD, UNDATED, Actions, Clients, Leads, Observations
from worker.statistics import BoolArray, FloatArray, IntArray
from worker.vocabulary import (
    ACTION_CONTACTED,
    ACTION_INSERT,
    ACTION_NOTE,
    ACTION_OUTCOME_UPDATE,
    ACTION_TAG,
    action_code,
    clean_text,
    intent_name,
    language_code,
    outcome_code,
    tag_code,
    tone_code,
    urgency_code,
)

TOUCHES = (ACTION_OUTCOME_UPDATE, ACTION_TAG, ACTION_NOTE, ACTION_CONTACTED)
OWN_INSERT = DAY  # a first insert logged within a day of the arrival is the arrival's; one later is another submission
LEAD_ID_START, LEAD_ID_DIGITS = b"lead_", (14, 13, 12)  # the application's ids hold their epoch in milliseconds
NO_NUMBER = float("-inf")  # a null among numbers, where NaN is a value like others
ATTRIBUTES = ("urgency", "tone", "confidence")
LABELS = ("urgency", "tone", "source", "intent", "language", "tag", "outcome")
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
        return cls(codes, list(numbers))

    def folded(self, fold: Callable[[Any], int]) -> NDArray[np.int8]:
        """Give the code that `fold` makes of each row's value; each distinct value is folded once."""
        return np.array([fold(value) for value in self.values], dtype=np.int8)[self.codes]

    def named(self, fold: Callable[[Any], str | None]) -> tuple[IntArray, tuple[str, ...]]:
        """Give every distinct name a code in the names' own order, so that codes do not depend on the rows' order."""
        folded = [fold(value) for value in self.values]
        names = tuple(sorted({name for name in folded if name is not None}))
        places: dict[str | None, int] = {name: i for i, name in enumerate(names)} | {None: -1}
        return np.array([places[name] for name in folded], dtype=np.int32)[self.codes], names

    def at(self, row: int) -> Any:
        """Give the value of a row."""
        return self.values[self.codes[row]]

    def only(self, rows: IntArray) -> "Labels":
        """Keep some rows, in an order."""
        return Labels(self.codes[rows], self.values)


class _Numbers(dict[Hashable, int]):
    """Numbers what it meets, from 0 on."""

    def __missing__(self, value: Hashable) -> int:
        number = self[value] = len(self)
        return number


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

    def only(self, rows: IntArray) -> "LeadColumns":
        """Keep some rows, in an order."""
        place = {row: new for new, row in enumerate(rows.tolist())} if any(self.histories.values()) else {}
        return LeadColumns(
            self.id[rows],
            self.client[rows],
            {name: labels.only(rows) for name, labels in self.labels.items()},
            {name: instants[rows] for name, instants in self.instants.items()},
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
    kind: Labels
    tag: Labels
    converted: NDArray[np.int8]  # conversion_outcome: 1 true, 0 false, -1 null
    reason: Labels


def arrange(clients: Clients, rows: Sequence[tuple[Any, ...]], action_rows: Sequence[tuple[Any, ...]] | None) -> Leads:
    """
    Make arrays of rows, in any order, for whoever has them at hand and no database.

    rows : id, client_id, timestamp, urgency, tone, confidence, source, intent, language, tag, archived, deleted,
        is_test, last_updated, client_closed_at, outcome, urgency_history, tone_history, confidence_history, no_sale_at.
    action_rows : lead id, time, action id, kind, tag, conversion_outcome, reversion_reason; None: there are no actions.
    Instants are microseconds since 1970. Rows of other clients than these are left out; so are actions of other leads.
    """
    ordinal = {client_id: i for i, client_id in enumerate(clients.ids)}
    rows = [row for row in rows if row[1] in ordinal]
    columns: list[Sequence[Any]] = list(zip(*rows, strict=True)) if rows else [()] * 20
    leads = LeadColumns(
        id=text_ids(columns[0]),
        client=np.array([ordinal[i] for i in columns[1]], dtype=np.int64),
        labels={name: Labels.of(columns[k]) for name, k in zip(LABELS, (3, 4, 6, 7, 8, 9, 15), strict=True)},
        instants={name: usable(columns[k]) for name, k in zip(INSTANTS, (2, 13, 14, 19), strict=True)},
        confidence=np.array([_number(value) for value in columns[5]], dtype=np.float64),
        archived=np.array([bool(flag) for flag in columns[10]], dtype=np.bool_),
        deleted=np.array([bool(flag) for flag in columns[11]], dtype=np.bool_),
        is_test=np.array([bool(flag) for flag in columns[12]], dtype=np.bool_),
        histories={
            name: {i: text for i, text in enumerate(columns[k]) if text}
            for name, k in zip(ATTRIBUTES, (16, 17, 18), strict=True)
        },
    )
    last = {row[0]: i for i, row in sorted(enumerate(rows), key=lambda item: ordinal[item[1][1]])}
    return arrange_columns(clients, leads, None if action_rows is None else _action_columns(action_rows, last))


def _action_columns(rows: Sequence[tuple[Any, ...]], place: dict[str, int]) -> ActionColumns:
    columns: list[Sequence[Any]] = list(zip(*rows, strict=True)) if rows else [()] * 7
    return ActionColumns(
        lead=np.array([place.get(i, -1) for i in columns[0]], dtype=np.int64),
        time=usable(columns[1]),
        kind=Labels.of(columns[3]),
        tag=Labels.of(columns[4]),
        converted=np.array([-1 if c is None else c for c in columns[5]], dtype=np.int8),
        reason=Labels.of(columns[6]),
    )


def usable(instants: Iterable[int | None]) -> IntArray:
    """Give instants as an array; UNDATED for what is no date: null, infinity, and anything before the product was."""
    return dated(np.array([UNDATED if i is None else i for i in instants], dtype=np.int64))


def dated(instants: IntArray) -> IntArray:
    """Leave out what is no date, as `usable` does."""
    return np.where(instants < FIRST_LEAD, UNDATED, instants)


def _number(value: Any) -> float:
    if value is None:
        return NO_NUMBER
    return float("nan") if isinstance(value, bool) or not isinstance(value, int | float) else float(value)


def arrange_columns(clients: Clients, rows: LeadColumns, actions: ActionColumns | None) -> Leads:
    """
    Make Leads of columns; rows of no client are left out, and so are actions of no lead.

    actions is None where the database has none.
    """
    known = np.flatnonzero(rows.client >= 0)
    order = known[order_by_client_and_id(rows.client[known], rows.id[known])]
    place = np.full(len(rows), -1, dtype=np.int64)
    place[order] = np.arange(len(order))
    rows = rows.only(order)
    done = None if actions is None else _arrange_actions(actions, place)
    histories = {
        name: {row: parse_history(text) for row, text in rows.histories.get(name, {}).items()} for name in ATTRIBUTES
    }
    contacts, arrival = _contacts(rows, done, histories)
    last_contact = rows.instants["last_contact"]
    last = np.where(last_contact != UNDATED, last_contact, arrival)
    confidence = np.where((rows.confidence >= 0) & (rows.confidence <= 1), rows.confidence, np.nan)
    urgency, tone = (rows.labels[name].folded(fold) for name, fold in (("urgency", urgency_code), ("tone", tone_code)))

    def seen(
        name: str, codes: IntArray | FloatArray, at: Callable[[int], Any], fold: Callable[[Any], float]
    ) -> Observations:
        return _observations(codes, histories[name], at, fold, _Dates(arrival, last))

    source, source_names = rows.labels["source"].named(clean_text)
    intent, intent_names = rows.labels["intent"].named(intent_name)
    return Leads(
        clients=clients,
        client=rows.client,
        owner=rows.client,
        owner_industry=clients.industry,
        id=rows.id,
        in_half=half_by_id(rows.id),
        arrival=arrival,
        last_contact=last_contact,
        urgency=seen("urgency", urgency, rows.labels["urgency"].at, urgency_code),
        tone=seen("tone", tone, rows.labels["tone"].at, tone_code),
        confidence=seen("confidence", confidence, lambda row: _or_none(rows.confidence[row]), _confidence),
        contacts=contacts,
        source=source,
        source_names=source_names,
        intent=intent,
        intent_names=intent_names,
        language=rows.labels["language"].folded(lambda text: {"en": 0, "fr": 1}.get(language_code(text) or "", -1)),
        tag=rows.labels["tag"].folded(tag_code),
        outcome=rows.labels["outcome"].folded(outcome_code),
        closed_at=rows.instants["closed_at"],
        lost_at=rows.instants["no_sale_at"],
        archived=rows.archived,
        deleted=rows.deleted,
        last_change=_last_change(rows, arrival),
        actions=done,
    )


def _or_none(number: float) -> float | None:
    return None if number == NO_NUMBER else float(number)


def _confidence(value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return float("nan")
    return float(value) if 0 <= value <= 1 else float("nan")


def _last_change(rows: LeadColumns, arrival: IntArray) -> IntArray:
    """Find the later of last contact and last update; the arrival where neither is a date."""
    changes = [np.where(rows.instants[name] != UNDATED, rows.instants[name], -1) for name in INSTANTS[:2]]
    latest = np.maximum(*changes)
    return np.where(latest < 0, arrival, latest)


def _contacts(
    rows: LeadColumns, actions: Actions | None, histories: dict[str, dict[int, History]]
) -> tuple[Observations, IntArray]:
    """Date every lead's contacts, the arrival first; UNDATED where nothing tells."""
    n = len(rows)
    last_contact = rows.instants["last_contact"]
    known = np.flatnonzero(last_contact != UNDATED)
    tracks = [(known, last_contact[known]), _id_epochs(rows.id), _history_stamps(histories)]
    inserts = np.zeros((2, 0), dtype=np.int64)
    if actions is not None:
        k = np.flatnonzero(actions.kind == ACTION_INSERT)
        inserts = np.stack([actions.lead[k], actions.time[k]])
    is_first = np.diff(inserts[0], prepend=-1) != 0
    tracks.append((inserts[0, ~is_first], inserts[1, ~is_first]))
    lead, time = _in_order(tracks)
    earliest = np.full(n, UNDATED, dtype=np.int64)
    starts = np.diff(lead, prepend=-1) != 0
    earliest[lead[starts]] = time[starts]
    # The first insert is the lead's own, also when it was logged late: it may date the arrival, not add a contact.
    of, when = inserts[0, is_first], inserts[1, is_first]
    since = when - earliest[of]  # of an undated lead far below zero
    extra = (since < 0) | (since > OWN_INSERT)
    if extra.any():
        lead, time = _in_order([(lead, time), (of[extra], when[extra])])
    lead, time = _merge_contacts(lead, time)
    arrival = np.full(n, UNDATED, dtype=np.int64)
    starts = np.diff(lead, prepend=-1) != 0
    arrival[lead[starts]] = time[starts]
    return Observations(lead.astype(np.int32), time, np.ones(len(lead))), arrival


def _in_order(tracks: Sequence[tuple[IntArray, IntArray]]) -> tuple[IntArray, IntArray]:
    tracks = [track for track in tracks if len(track[0])]
    if not tracks:
        return np.zeros(0, dtype=np.int64), np.zeros(0, dtype=np.int64)
    lead, time = (np.concatenate(parts) for parts in zip(*tracks, strict=True))
    if len(tracks) == 1 and (np.diff(lead) > 0).all():
        return lead, time
    order: IntArray = np.lexsort((time, lead))
    return lead[order], time[order]


def _merge_contacts(lead: IntArray, time: IntArray) -> tuple[IntArray, IntArray]:
    """One entry a contact: stamps closer than ONE_CONTACT to the contact's first are the same submission."""
    same = np.diff(lead, prepend=-1) == 0
    opens = ~(same & (np.diff(time, prepend=0) <= ONE_CONTACT))
    begin = np.maximum.accumulate(np.where(opens, np.arange(len(time)), 0))
    strayed = lead[time - time[begin] > ONE_CONTACT]  # stamps in a chain, each near the last and far from the first
    if len(strayed):
        first = 0
        for i in np.flatnonzero(np.isin(lead, strayed)).tolist():
            if same[i] and time[i] - first <= ONE_CONTACT:
                opens[i] = False
            else:
                opens[i], first = True, time[i]
    return lead[opens], time[opens]


def _history_stamps(histories: dict[str, dict[int, History]]) -> tuple[IntArray, IntArray]:
    lead, time = array("q"), array("q")
    for of_lead in histories.values():
        for row, history in of_lead.items():
            for stamp, _ in history:
                if stamp is not None:
                    lead.append(row)
                    time.append(stamp)
    return np.array(lead, dtype=np.int64), np.array(time, dtype=np.int64)


def _id_epochs(ids: Ids) -> tuple[IntArray, IntArray]:
    """Read the epochs in ids such as lead_<milliseconds>_x9: which leads have one, and the instants."""
    nothing = np.zeros(0, dtype=np.int64)
    if isinstance(ids, UuidIds) or not len(ids):
        return nothing, nothing
    width = len(LEAD_ID_START) + LEAD_ID_DIGITS[0] + 1
    starts = [text[:width].encode("utf-8", "replace")[:width] for text in ids]
    letters = np.array(starts, dtype=f"S{width}").view(np.uint8).reshape(len(ids), width)
    ours = (letters[:, : len(LEAD_ID_START)] == np.frombuffer(LEAD_ID_START, dtype=np.uint8)).all(axis=1)
    rows, times = [nothing], [nothing]
    for n_digits in LEAD_ID_DIGITS:
        end = len(LEAD_ID_START) + n_digits
        digits = letters[:, len(LEAD_ID_START) : end].astype(np.int64) - ord("0")
        found = np.flatnonzero(ours & (letters[:, end] == ord("_")) & ((digits >= 0) & (digits <= 9)).all(axis=1))
        stamps = digits[found] @ 10 ** np.arange(n_digits - 1, -1, -1, dtype=np.int64) * 1000
        usable_ones = stamps >= FIRST_LEAD
        rows.append(found[usable_ones])
        times.append(stamps[usable_ones])
    return np.concatenate(rows), np.concatenate(times)


@dataclass(frozen=True, slots=True)
class _Dates:
    """When each lead came, and when it was last in contact, shape (leads,)."""

    first: IntArray
    last: IntArray


def _observations(
    codes: IntArray | FloatArray,
    histories: dict[int, History],
    column: Callable[[int], Any],
    fold: Callable[[Any], float],
    dates: "_Dates",
) -> Observations:
    """Lay out over time what was known of an attribute: the column's value, and its history where there is one."""
    n = len(codes)
    told = [row for row, history in histories.items() if history]
    if not told:
        return Observations(np.arange(n, dtype=np.int32), dates.last, codes.astype(np.float64))
    leads, times, values = array("q"), array("q"), array("d")
    folded: dict[Any, float] = {}

    def add(row: int, time: int, value: Any) -> None:
        key = (type(value), value)  # True is no 1
        if key not in folded:
            folded[key] = fold(value)
        leads.append(row)
        times.append(time)
        values.append(folded[key])

    for row in told:
        observe(partial(add, row), histories[row], column(row), int(dates.first[row]), int(dates.last[row]))
    silent = np.ones(n, dtype=bool)
    silent[told] = False
    others = np.flatnonzero(silent)
    lead = np.concatenate([others, np.array(leads, dtype=np.int64)])
    time = np.concatenate([dates.last[others], np.array(times, dtype=np.int64)])
    value = np.concatenate([codes[others].astype(np.float64), np.array(values)])
    order = np.lexsort((np.arange(len(lead)), time, lead))
    return Observations(lead[order].astype(np.int32), time[order], value[order])


def _arrange_actions(rows: ActionColumns, place: IntArray) -> Actions:
    """
    Sort the actions of the leads that were read by lead and time; those without a date cannot be placed.

    Of one instant, as a list imported by the day has many: what makes no customer, then what makes one, then what says
    that it is none any more; and else by what the action is. Never by its id, which is drawn at random. An action that
    is there twice, the same in all but its id, counts once.
    """
    lead = np.where(rows.lead >= 0, place[rows.lead], -1) if len(place) else np.full(len(rows.lead), -1)
    kept = np.flatnonzero((lead >= 0) & (rows.time != UNDATED))
    lead, time, converted = lead[kept].astype(np.int32), rows.time[kept], rows.converted[kept]
    kind, tag = rows.kind.only(kept).folded(action_code), rows.tag.only(kept)
    reason, reason_names = rows.reason.only(kept).named(_reason)
    actions = Actions(
        lead=lead,
        time=time,
        kind=kind,
        tag=tag.folded(tag_code),
        outcome=tag.folded(outcome_code),
        converted=converted,
        reason_code=reason,
        reason_names=reason_names,
        excused=(converted == 0) & (reason >= 0),
        touch=np.isin(kind, TOUCHES),
    )
    order: IntArray = np.lexsort((time, lead))
    same = np.flatnonzero((np.diff(lead[order]) == 0) & (np.diff(time[order]) == 0))
    if len(same):
        order = _in_turn(actions, order, same)
    return actions.only(order, np.arange(len(place), dtype=np.int32))


def _in_turn(actions: Actions, order: IntArray, same: IntArray) -> IntArray:
    """Put the actions of one lead and instant in their turn, and leave out those that are there twice."""
    tied = np.zeros(len(order), dtype=bool)
    tied[same] = tied[same + 1] = True
    places = np.flatnonzero(tied)
    part = actions.only(order[places], np.arange(int(actions.lead.max()) + 1, dtype=np.int32))
    winning = part.winning_by_tag | part.winning_by_outcome
    turn = np.where(part.reverting, 2, np.where(winning, 1, 0)).astype(np.int64)
    content = (((turn * 64 + part.kind) * 64 + part.tag) * 64 + part.outcome) * 4 + part.converted + 1
    turns = np.lexsort((part.reason_code, content, part.time, part.lead))
    order[places] = order[places][turns]
    columns = (part.lead, part.time, content, part.reason_code)
    again = np.all([np.diff(column[turns]) == 0 for column in columns], axis=0)
    keep = np.ones(len(order), dtype=bool)
    keep[places[1:][again]] = False
    return order[keep]


def _reason(text: Any) -> str | None:
    return None if text is None else text.strip() or None
