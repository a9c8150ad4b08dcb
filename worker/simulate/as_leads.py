"""Worlds as the jobs see them: plain arrays of simulated leads made into `Leads`, without a row or a database."""

from collections.abc import Sequence
from datetime import datetime

import numpy as np

from worker.actions import Actions
from worker.leads import DAY, UNDATED, Clients, Leads, Observations, to_microseconds
from worker.statistics import FloatArray, IntArray
from worker.vocabulary import OUTCOME_CLIENT_CLOSED, OUTCOME_NONE, TAG_NONE


def build_leads(
    client: IntArray,
    days_before: FloatArray,
    as_of: datetime,
    n_clients: int,
    rng: np.random.Generator,
    *,
    urgency: IntArray | None = None,
    tone: IntArray | None = None,
    confidence: FloatArray | None = None,
    source: IntArray | None = None,
    source_names: Sequence[str] = (),
    intent: IntArray | None = None,
    intent_names: Sequence[str] = (),
    language: IntArray | None = None,
    repeat_after: FloatArray | None = None,
    converted_after: FloatArray | None = None,
) -> Leads:
    """
    Make leads out of arrays of shape (leads,), in any order.

    Parameters
    ----------
    client : index of each lead's client, 0 to n_clients - 1; clients are named client-00000 and so on.
    days_before : how many days before as_of the lead arrived, above 0.
    urgency, tone, source, intent, language : codes as in worker/vocabulary.py and the names given; -1 or None unknown.
    confidence : in [0, 1], NaN unknown.
    repeat_after : days after arrival of a second contact, NaN for none.
    converted_after : days after arrival of the conversion, NaN for none.
    rng : decides in which order a client's leads stand, and which are of the half that checks set aside.
    """
    end = to_microseconds(as_of)
    arrival = end - np.maximum((days_before * DAY).astype(np.int64), 1)
    # ids tell nothing of the time: within a client the leads stand in random order, as in a real database
    order = np.lexsort((rng.random(len(client)), client))
    client, arrival = client[order], arrival[order]
    n = len(client)
    lead = np.arange(n)

    def sorted_codes(values: IntArray | None) -> IntArray:
        return np.full(n, -1, dtype=np.int64) if values is None else values[order].astype(np.int64)

    def seen(values: IntArray | FloatArray | None) -> Observations:
        known = lead[:0] if values is None else lead
        shown = np.zeros(0) if values is None else values[order].astype(np.float64)
        return Observations(known, arrival[known], shown)

    def later(after: FloatArray | None) -> tuple[IntArray, IntArray]:
        """Say which leads something happened to, and when; nothing that lies in the future is known."""
        if after is None:
            return lead[:0], lead[:0]
        days = after[order]
        who = np.flatnonzero(np.isfinite(days))
        when = arrival[who] + (days[who] * DAY).astype(np.int64)
        return who[when < end], when[when < end]

    again, again_at = later(repeat_after)
    won, won_at = later(converted_after)
    contact_lead, contact_time = np.concatenate([lead, again]), np.concatenate([arrival, again_at])
    contact_order = np.lexsort((contact_time, contact_lead))
    last_contact = arrival.copy()
    last_contact[again] = again_at
    outcome = np.full(n, OUTCOME_NONE, dtype=np.int64)
    outcome[won] = OUTCOME_CLIENT_CLOSED
    closed_at = np.full(n, UNDATED, dtype=np.int64)
    closed_at[won] = won_at
    nothing = np.zeros(n, dtype=np.bool_)
    actions: Actions | None = None
    return Leads(
        clients=Clients(
            tuple(f"client-{i:05d}" for i in range(n_clients)),
            ("en",) * n_clients,
            (None,) * n_clients,
            np.ones(n_clients, dtype=np.bool_),
        ),
        client=client,
        owner=client,
        owner_industry=(None,) * n_clients,
        id=np.array([f"lead-{i:08d}" for i in range(n)], dtype=object),
        in_half=rng.random(n) < 0.5,
        arrival=arrival,
        last_contact=last_contact,
        urgency=seen(urgency),
        tone=seen(tone),
        confidence=seen(confidence),
        contacts=Observations(contact_lead[contact_order], contact_time[contact_order], np.zeros(len(contact_lead))),
        source=sorted_codes(source),
        source_names=tuple(source_names),
        intent=sorted_codes(intent),
        intent_names=tuple(intent_names),
        language=sorted_codes(language),
        tag=np.full(n, TAG_NONE, dtype=np.int64),
        outcome=outcome,
        closed_at=closed_at,
        lost_at=np.full(n, UNDATED, dtype=np.int64),
        archived=nothing,
        deleted=nothing,
        last_change=last_contact,
        actions=actions,
    )
