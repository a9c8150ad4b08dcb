"""
What changed since a job last looked: the mark it left, and a look at which clients' rows were written since.

Every row carries the number of the transaction that wrote it (xmin). The mark keeps the oldest transaction that was
still going on when the rows were read, so that whatever that reading did not see has this number or a higher one:
back-dated rows, rows out of order and rows committed late among them. A look at the row headers alone thus tells whose
rows are new. Rows that were deleted leave nothing behind to see; a pass over everything, the first of every UTC day,
finds them.
"""

import hashlib
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Any

import numpy as np
from psycopg import Connection

from worker.database.catalogue import Catalogue
from worker.database.queries import query
from worker.growth_brain import read_foreign_events_of
from worker.jobs.finding import Json
from worker.leads import UNDATED, Leads, to_microseconds
from worker.plain_json import plain_json
from worker.reading import as_array, read_leads
from worker.registry import code_version
from worker.statistics import IntArray

LOOKED_AT = ("clients", "lead_memory", "lead_actions", "growth_brain")
MOST_CHANGES = 20_000  # rows; from there on reading everything is about as fast as reading the clients they belong to
MOST_UPCOMING = 2_000  # clients with rows dated ahead; more of them are a slip of the clock, and everything is read
OLDEST = 1_000_000_000  # transactions; half of what age() can tell apart, which no day's work comes near
FIRST_TRANSACTION = 3  # the numbers below have a meaning of their own
ANY_CLIENT = ""  # in `upcoming`: everything has to be read at that instant


@dataclass(frozen=True, slots=True)
class Watermark:
    """Everything committed before the transaction `horizon` has been seen, as it stood as of `as_of`."""

    as_of: datetime
    horizon: int
    state: str  # a digest of all else that a result rests on
    model_version: str
    upcoming: Mapping[str, int]  # client -> microseconds: when rows dated ahead begin to count


@dataclass(frozen=True, slots=True)
class Horizon:
    """What a transaction that reads the rows can promise about them."""

    transaction: int
    state: str


@dataclass(frozen=True, slots=True)
class Changes:
    """What was written since the mark: all leads of the clients concerned; None where nothing was."""

    mark: Watermark  # the one to leave when this is worked off
    model: Mapping[str, Json] = field(default_factory=dict)
    leads: Leads | None = None
    past: list[dict[str, Any]] = field(default_factory=list)  # the application's own events of those leads
    passed_over: dict[str, int] = field(default_factory=dict)


def read_horizon(conn: Connection[Any], catalogue: Catalogue, *settings: object) -> Horizon | None:
    """
    Look, in the transaction that reads the rows, which transactions it may have missed; None where that cannot be told.

    settings : what else the results rest on; another value than last time makes everything be read again.
    """
    found = conn.execute(query("read_horizon"), {"tables": [f"public.{name}" for name in LOOKED_AT]}).fetchone()
    if (
        found is None or not found[2] or not catalogue.is_unique("lead_memory", "id")
    ):  # without a key an id may be that of two clients' leads
        return None
    columns = sorted(
        (table, name, column.type_name, column.readable)
        for (table, name), column in catalogue.columns.items()
        if table in LOOKED_AT
    )
    state = plain_json([code_version(), found[1], columns, [str(setting) for setting in settings]])
    return Horizon(found[0], hashlib.sha256(state.encode()).hexdigest()[:32])


def read_watermark(conn: Connection[Any], job: str) -> Watermark | None:
    """Read the mark that the job's last run left; None before the first."""
    row = conn.execute(query("read_watermark"), {"job": job}).fetchone()
    return None if row is None else Watermark(*row)


def write_watermark(conn: Connection[Any], job: str, mark: Watermark | None) -> None:
    """Leave the mark, in the transaction that ends the run; None: the next run has to read everything."""
    if mark is None:
        conn.execute(query("drop_watermark"), {"job": job})
        return
    parameters = {name: getattr(mark, name) for name in ("as_of", "horizon", "state", "model_version")}
    conn.execute(query("write_watermark"), {"job": job, **parameters, "upcoming": plain_json(dict(mark.upcoming))})


def read_changes(
    conn: Connection[Any], catalogue: Catalogue, job: str, as_of: datetime, *settings: object
) -> Changes | None:
    """
    Read what was written since the job's mark, or begins to count by as_of; None: everything has to be read.

    Everything: at the first run of a UTC day (what is learned from all clients is learned anew), at an as_of that is
    not later than the mark's, with other code, columns, settings or files of the tables, and after very many changes.
    """
    mark, horizon = read_watermark(conn, job), read_horizon(conn, catalogue, *settings)
    if mark is None or horizon is None or not _follows(mark, horizon, as_of):
        return None
    changed = _changed_clients(conn, catalogue, job, mark.horizon)
    due = {client for client, instant in mark.upcoming.items() if instant < to_microseconds(as_of)}
    if changed is None or ANY_CLIENT in due:
        return None
    clients = frozenset(changed | due)
    following = replace(mark, as_of=as_of, horizon=horizon.transaction)
    if not clients:
        return Changes(following)
    models = conn.execute(query("read_models"), {"versions": [mark.model_version]}).fetchall()
    if not models:
        return None
    leads, report = read_leads(conn, catalogue, None, clients)
    ahead = {client: instant for client, instant in mark.upcoming.items() if client not in clients}
    for client, instant in upcoming(leads, to_microseconds(as_of)).items():
        ahead[client] = min(instant, ahead.get(client, instant))
    return Changes(
        replace(following, upcoming=ahead),
        models[0][1],
        leads,
        read_foreign_events_of(conn, leads),
        report.passed_over(),
    )


def _changed_clients(conn: Connection[Any], catalogue: Catalogue, job: str, horizon: int) -> set[str] | None:
    """Find whose rows were written by that transaction or a later one; None where there are too many."""
    oldest = str(max(FIRST_TRANSACTION, horizon % 2**32))
    ours = conn.execute(query("is_all_ours"), {"job": job, "horizon": horizon, "oldest": oldest}).fetchone()
    if ours is not None and ours[0]:
        return set()
    parameters = {"horizon": oldest, "most": MOST_CHANGES}

    def changed(name: str) -> list[str | None]:
        return [row[0] for row in conn.execute(query(name), parameters).fetchall()]

    leads, clients = changed("read_changed_events"), changed("read_changed_leads")
    if catalogue.has("lead_actions", "lead_id"):
        leads += changed("read_changed_actions")
    if max(len(leads), len(clients)) >= MOST_CHANGES:
        return None
    clients += changed("read_changed_clients")
    return {i for i in clients if i is not None} | _clients_of(conn, catalogue, {i for i in leads if i is not None})


def _follows(mark: Watermark, horizon: Horizon, as_of: datetime) -> bool:
    same_day = mark.as_of.astimezone(UTC).date() == as_of.astimezone(UTC).date()
    distance = horizon.transaction - mark.horizon
    return same_day and mark.as_of < as_of and mark.state == horizon.state and 0 <= distance < OLDEST


def _clients_of(conn: Connection[Any], catalogue: Catalogue, lead_ids: Collection[str]) -> set[str]:
    ids, array = as_array(lead_ids, catalogue.type_of("lead_memory", "id"))
    if not ids:
        return set()
    rows = conn.execute(query("read_clients_of_leads", id_array=array), {"ids": ids}).fetchall()
    return {row[0] for row in rows if row[0] is not None}


def upcoming(leads: Leads, before: int) -> dict[str, int]:
    """Find for every client the next instant, from `before` on, at which one of its rows begins to count."""
    result = np.full(len(leads.clients), UNDATED, dtype=np.int64)

    def note(lead: IntArray | None, time: IntArray) -> None:
        ahead = np.flatnonzero((time >= before) & (time != UNDATED))
        np.minimum.at(result, leads.client[ahead if lead is None else lead[ahead]], time[ahead])

    for column in (leads.arrival, leads.last_contact, leads.closed_at, leads.lost_at, leads.last_change):
        note(None, column)
    for seen in (leads.contacts, leads.urgency):
        note(seen.lead, seen.time)
    if leads.actions is not None:
        note(leads.actions.lead, leads.actions.time)
    found = {str(leads.clients.ids[i]): int(result[i]) for i in np.flatnonzero(result != UNDATED)}
    return found if len(found) <= MOST_UPCOMING else {ANY_CLIENT: min(found.values())}


def first_mark(leads: Leads, horizon: Horizon, as_of: datetime, model_version: str) -> Watermark:
    """Make the mark of a run that read everything."""
    return Watermark(as_of, horizon.transaction, horizon.state, model_version, upcoming(leads, to_microseconds(as_of)))


def retrying(mark: Watermark, clients: Collection[str]) -> Watermark:
    """Have these clients looked at again in the next run, whatever happens until then: this one failed on them."""
    return replace(mark, upcoming={**mark.upcoming, **dict.fromkeys(clients, 0)})
