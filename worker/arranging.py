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
from numpy.typing import NDArray

from worker.actions import Actions, Deeds
from worker.columns import (
    ATTRIBUTES,
    INSTANTS,
    LABELS,
    NO_NUMBER,
    ActionColumns,
    Labels,
    LeadColumns,
    narrowest,
    usable,
)
from worker.contacts import date_contacts
from worker.garbage import give_back
from worker.histories import History, observe, parse_history
from worker.lead_ids import half_by_id, order_by_client_and_id, text_ids
from worker.leads import UNDATED, Clients, Leads, Observations
from worker.ordering import keep_in_place, looked_up, order_by, put_in_order
from worker.statistics import BoolArray, FloatArray, IntArray
from worker.vocabulary import (
    action_code,
    clean_text,
    intent_name,
    language_code,
    outcome_code,
    tag_code,
    tone_code,
    urgency_code,
)

_CONVERTED: dict[str | None, int] = {"true": 1, "false": 0}


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
    leads, moved = in_order(leads, np.ones(len(rows), dtype=np.bool_))
    actions = None if action_rows is None else _action_columns(action_rows, {i: int(moved[last[i]]) for i in last})
    return arrange_columns(clients, leads, actions)


def _action_columns(rows: Sequence[tuple[Any, ...]], place: dict[str, int]) -> ActionColumns:
    columns: list[Sequence[Any]] = list(zip(*rows, strict=True)) if rows else [()] * 7
    return ActionColumns(
        lead=np.array([place.get(i, -1) for i in columns[0]], dtype=np.int64),
        time=usable(columns[1]),
        what=Labels.of((row[3], row[4], row[6], None if row[5] is None else str(bool(row[5])).lower()) for row in rows),
    )


def _number(value: Any) -> float:
    if value is None:
        return NO_NUMBER
    return float("nan") if isinstance(value, bool) or not isinstance(value, int | float) else float(value)


def in_order(rows: LeadColumns, marked: BoolArray) -> tuple[LeadColumns, NDArray[np.int32]]:
    """
    Put those of the rows that are marked, and some client's, in order of client and id.

    Also gives where each of the rows is then, -1 for nowhere. What is given is used up: very many rows would not be
    there twice.
    """
    chosen = np.flatnonzero(marked & (rows.client >= 0))
    if len(chosen) == len(rows):
        order = order_by_client_and_id(rows.client, rows.id)
    else:
        order = chosen[order_by_client_and_id(rows.client[chosen], rows.id[chosen])]
    give_back(len(rows))
    place = np.full(len(rows), -1, dtype=np.int32)
    place[order] = np.arange(len(order), dtype=np.int32)
    return rows.in_order(order), place


def arrange_columns(clients: Clients, rows: LeadColumns, actions: ActionColumns | None) -> Leads:
    """
    Make Leads of columns: rows of clients, as in_order gives them; actions of no lead, -1, are left out.

    actions is None where the database has none; it is used up.
    """
    every = np.arange(len(rows), dtype=np.int32)
    done = None if actions is None else _arrange_actions(actions, len(rows))
    del actions
    histories = {
        name: {row: parse_history(text) for row, text in rows.histories.get(name, {}).items()} for name in ATTRIBUTES
    }
    contacts, arrival = date_contacts(rows, done, histories)
    last_contact = rows.instants["last_contact"]
    last = last_contact if (dated := last_contact != UNDATED).all() else np.where(dated, last_contact, arrival)
    confidence = np.where((rows.confidence >= 0) & (rows.confidence <= 1), rows.confidence, np.nan)
    urgency, tone = (rows.labels[name].folded(fold) for name, fold in (("urgency", urgency_code), ("tone", tone_code)))

    def seen(
        name: str, codes: IntArray | FloatArray, at: Callable[[int], Any], fold: Callable[[Any], float]
    ) -> Observations:
        return _observations(codes, histories[name], at, fold, _Dates(every, arrival, last))

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
    """The number of each lead, when it came, and when it was last in contact, shape (leads,)."""

    lead: IntArray
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
        return Observations(dates.lead, dates.last, codes)
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
    value = np.concatenate([codes[others], np.array(values).astype(codes.dtype)])
    order = np.lexsort((np.arange(len(lead)), time, lead))
    return Observations(lead[order].astype(np.int32), time[order], value[order])


def _arrange_actions(rows: ActionColumns, n_leads: int) -> Actions:
    """
    Sort the actions of the leads that were read by lead and time; those without a date cannot be placed.

    Of one instant, as a list imported by the day has many, they stand in the turn of their deeds. Never by their id,
    which is drawn at random. An action that is there twice, the same in all but its id, counts once.

    The columns given are put in order where they are: very many would not be there twice.
    """
    lead, time = rows.lead, rows.time
    placed = (lead >= 0) & (time != UNDATED)
    lead[~placed] = n_leads  # behind all others
    order = order_by(lead, time).astype(np.int32)
    for column in (lead, time):
        put_in_order(column, order)
    deeds, number = Deeds.in_turn([_folded(*what) for what in rows.what.values])
    deed = looked_up(number.astype(narrowest(len(deeds))), rows.what.codes)
    put_in_order(deed, order)
    del order
    lead, time, deed = (column[: np.count_nonzero(placed)] for column in (lead, time, deed))
    again = (lead[1:] == lead[:-1]) & (time[1:] == time[:-1])
    if again.any():
        tied = np.append(again, False) | np.append(False, again)
        deed[tied] = deed[tied][np.lexsort((deed[tied], time[tied], lead[tied]))]
        again &= deed[1:] == deed[:-1]
    if again.any():
        once = np.append(True, ~again)
        lead, time, deed = (keep_in_place(column, once) for column in (lead, time, deed))
    return Actions(lead.astype(np.int32, copy=False), time, deed, deeds)


def _folded(
    kind: str | None, tag: str | None, reason: str | None, converted: str | None
) -> tuple[int, int, int, int, str | None]:
    return action_code(kind), tag_code(tag), outcome_code(tag), _CONVERTED.get(converted, -1), _reason(reason)


def _reason(text: Any) -> str | None:
    return None if text is None else text.strip() or None
