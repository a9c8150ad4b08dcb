"""
From columns to Leads: when each lead came, what was known of it when, what was done with it; folded once a word.

Columns come as the database gave them, in any order of rows. Nothing here is done lead by lead but the histories, which
few leads have: everything else is whole columns at a time.
"""

from array import array
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np

from worker.columns import ATTRIBUTES, INSTANTS, LABELS, NO_NUMBER, ActionColumns, Labels, LeadColumns, usable
from worker.contacts import date_contacts
from worker.histories import History, observe, parse_history
from worker.lead_ids import half_by_id, order_by_client_and_id, text_ids
from worker.leads import UNDATED, Actions, Clients, Leads, Observations
from worker.ordering import order_by
from worker.statistics import FloatArray, IntArray
from worker.vocabulary import (
    ACTION_CONTACTED,
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

COLUMNS = tuple(name for name in Actions.__slots__ if name != "reason_names")
BLOCK = 2**18  # actions that are put in their turn in one go
TOUCHES = (ACTION_OUTCOME_UPDATE, ACTION_TAG, ACTION_NOTE, ACTION_CONTACTED)


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
    place = np.full(len(rows), -1, dtype=np.int32)
    place[order] = np.arange(len(order), dtype=np.int32)
    rows = rows.only(order)
    done = None if actions is None else _arrange_actions(actions, place)
    del actions  # are let go, where nobody else has them
    histories = {
        name: {row: parse_history(text) for row, text in rows.histories.get(name, {}).items()} for name in ATTRIBUTES
    }
    contacts, arrival = date_contacts(rows, done, histories)
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
    lead = np.append(place, place.dtype.type(-1))[rows.lead]  # of no lead, -1, the last one
    placed = (lead >= 0) & (rows.time != UNDATED)
    if placed.all():
        order = order_by(lead, rows.time)
    else:
        kept = np.flatnonzero(placed)
        order = kept[order_by(lead[kept], rows.time[kept])]
    tag, converted = rows.tag.only(order), rows.converted[order]
    reason, reason_names = rows.reason.only(order).named(_reason)
    kind = rows.kind.only(order).folded(action_code)
    actions = Actions(
        lead=lead[order].astype(np.int32, copy=False),
        time=rows.time[order],
        kind=kind,
        tag=tag.folded(tag_code),
        outcome=tag.folded(outcome_code),
        converted=converted,
        reason_code=reason,
        reason_names=reason_names,
        excused=(converted == 0) & (reason >= 0),
        touch=np.isin(kind, TOUCHES),
    )
    same = np.flatnonzero((np.diff(actions.lead) == 0) & (np.diff(actions.time) == 0))
    return _in_turn(actions, same) if len(same) else actions


def _in_turn(actions: Actions, same: IntArray) -> Actions:
    """
    Put the actions of one lead and instant in their turn, in place, and leave out those that are there twice.

    same : the places of actions whose next one is of the same lead and instant.
    """
    tied, keep = (np.full(len(actions.lead), value) for value in (False, True))
    tied[same] = tied[same + 1] = True
    first = tied.copy()  # of those that are tied with one another
    first[same + 1] = False
    starts, places = np.flatnonzero(first[tied]), np.flatnonzero(tied)
    cuts = starts[np.searchsorted(starts, np.arange(BLOCK, len(places), BLOCK), side="right") - 1]
    for block in np.split(places, cuts):
        part = actions.at(block)
        winning = part.winning_by_tag | part.winning_by_outcome
        turn = np.where(part.reverting, 2, np.where(winning, 1, 0)).astype(np.int64)
        content = (((turn * 64 + part.kind) * 64 + part.tag) * 64 + part.outcome) * 4 + part.converted + 1
        turns = np.lexsort((part.reason_code, content, part.time, part.lead))
        columns = (part.lead, part.time, content, part.reason_code)
        again = np.all([np.diff(column[turns]) == 0 for column in columns], axis=0)
        moved = part.at(turns)
        for name in COLUMNS:
            getattr(actions, name)[block] = getattr(moved, name)
        keep[block[1:][again]] = False
    if keep.all():
        return actions
    n_kept = int(keep.sum())
    for name in COLUMNS:  # one column at a time is there twice
        getattr(actions, name)[:n_kept] = getattr(actions, name)[keep]
    return actions.at(slice(n_kept))


def _reason(text: Any) -> str | None:
    return None if text is None else text.strip() or None
