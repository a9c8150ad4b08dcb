"""The only door from rows to arrays: reads clients, leads and actions in one snapshot and folds their vocabulary."""

import json
import re
from array import array
from collections.abc import Callable, Collection, Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from hashlib import blake2b
from typing import Any, LiteralString

import numpy as np
from numpy.typing import NDArray
from psycopg import Connection, sql
from psycopg.adapt import Buffer, Loader
from psycopg.pq import Format

from worker.database.catalogue import Catalogue
from worker.database.queries import query
from worker.errors import ConfigurationError
from worker.leads import DAY, FIRST_LEAD, UNDATED, Actions, Clients, Leads, Observations, to_microseconds
from worker.statistics import IntArray
from worker.vocabulary import (
    ACTION_CONTACTED,
    ACTION_INSERT,
    ACTION_NOTE,
    ACTION_OUTCOME_UPDATE,
    ACTION_TAG,
    action_code,
    clean_text,
    industry_key,
    intent_name,
    language_code,
    outcome_code,
    tag_code,
    tone_code,
    urgency_code,
)

FIRST_DAY = datetime(2000, 1, 1, tzinfo=UTC)
POSTGRES_EPOCH = to_microseconds(FIRST_DAY)  # the same instant, by coincidence, as FIRST_LEAD
# A row without a usable last contact may still have arrived in the look-back: other signs tell.
IN_LOOK_BACK: LiteralString = 'l."timestamp" >= %(since)s OR l."timestamp" IS NULL OR l."timestamp" < %(earliest)s'
ONE_CONTACT = 5 * 60 * 1_000_000  # stamps of one submission (id, histories, row, action) lie this close together
N_LEAD_COLUMNS, N_ACTION_COLUMNS = 20, 7  # of read_leads and read_lead_actions, queries.sql
TOUCHES = (ACTION_OUTCOME_UPDATE, ACTION_TAG, ACTION_NOTE, ACTION_CONTACTED)
OWN_INSERT = DAY  # a first insert logged within a day of the arrival is the arrival's; one later is another submission
LEAD_ID_EPOCH = re.compile(r"^lead_(\d{12,14})_")


@dataclass(frozen=True, slots=True)
class ReadingReport:
    """What was found and could not be used: counts only, so that it may be logged."""

    leads: int
    orphans: int  # rows whose client is null or unknown, or that have no id
    repeated: int  # rows of the same client and id as another
    undated: int
    test_leads: int
    unusable_clients: int  # client ids that growth_brain's uuid column cannot hold

    def passed_over(self) -> dict[str, int]:
        """Count by reason what no snapshot speaks of."""
        return {
            "orphans": self.orphans,
            "repeated": self.repeated,
            "undated": self.undated,
            "test_leads": self.test_leads,
            "unusable_clients": self.unusable_clients,
        }


class _Microseconds(Loader):
    """Reads a timestamptz as microseconds since 1970: infinity and the year 2090000 included, no datetime made."""

    format = Format.BINARY

    def load(self, data: Buffer) -> int:
        value = int.from_bytes(data, "big", signed=True)
        # Far enough ahead to be never, while sums with days still fit; -infinity stays before everything.
        return UNDATED if value > 2**62 else max(value + POSTGRES_EPOCH, FIRST_LEAD - 1)


def read_leads(
    conn: Connection[Any], catalogue: Catalogue, since: datetime | None, of_clients: Collection[str] | None = None
) -> tuple[Leads, ReadingReport]:
    """
    Read every client, the leads whose last contact is not older than `since` (None: all), and their actions.

    of_clients : instead, only these clients, by their public id or what else their leads may carry, and all their
    leads; ids of nobody are passed over.

    Runs inside the caller's REPEATABLE READ READ ONLY transaction, three statements whatever the number of clients.
    Test leads are left out here, deleted ones by whoever asks for their state: that depends on the instant.
    """
    conn.adapters.register_loader("timestamptz", _Microseconds)
    clients, aliases, unusable = _read_clients(conn, catalogue)
    if of_clients is not None:
        clients = _only(clients, {aliases.get(i, i) for i in of_clients})
        aliases = {i: public for i, public in aliases.items() if public in clients.ids}
    scope = _Scope(catalogue, since, None if of_clients is None else sorted(aliases))
    has = catalogue.has
    rows = _fetch(
        conn,
        query(
            "read_leads",
            urgency=_column(has, "lead_memory", "urgency"),
            tone=_column(has, "lead_memory", "tone"),
            confidence=_number_column(catalogue, "lead_memory", "confidence_score"),
            source=_column(has, "lead_memory", "source"),
            intent=_column(has, "lead_memory", "intent"),
            language=_column(has, "lead_memory", "language"),
            tag=_column(has, "lead_memory", "current_tag"),
            outcome=_column(has, "lead_memory", "outcome_status"),
            archived=_column(has, "lead_memory", "archived", "boolean"),
            deleted=_column(has, "lead_memory", "deleted", "boolean"),
            is_test=_column(has, "lead_memory", "is_test", "boolean"),
            last_updated=_column(has, "lead_memory", "last_updated", "timestamptz"),
            closed_at=_column(has, "lead_memory", "client_closed_at", "timestamptz"),
            no_sale_at=_column(has, "lead_memory", "no_sale_at", "timestamptz"),
            urgency_history=_column(has, "lead_memory", "urgency_history"),
            tone_history=_column(has, "lead_memory", "tone_history"),
            confidence_history=_column(has, "lead_memory", "confidence_history"),
            window=scope.condition(),
        ),
        scope.parameters,
    )
    n_read = len(rows)
    real = [(row[0], aliases.get(row[1], row[1]), *row[2:]) for row in rows if not row[12]]
    named = [row for row in real if row[0] is not None]
    single = _without_repeats(named)
    leads = arrange(clients, single, _read_actions(conn, catalogue, scope))
    report = ReadingReport(
        leads=len(leads),
        orphans=len(real) - len(named) + len(single) - len(leads),
        repeated=len(named) - len(single),
        undated=int((leads.arrival == UNDATED).sum()),
        test_leads=n_read - len(real),
        unusable_clients=unusable,
    )
    return leads, report


class _Scope:
    """Which leads are read: all, those in contact since an instant, or those of some clients as the leads name them."""

    def __init__(self, catalogue: Catalogue, since: datetime | None, client_ids: Sequence[str] | None) -> None:
        self.narrow = since is not None or client_ids is not None
        ids, self._array = as_array(client_ids or (), catalogue.type_of("lead_memory", "client_id"))
        self._by_client = client_ids is not None
        self.parameters = {"since": since, "earliest": FIRST_DAY, "client_ids": ids}

    def condition(self) -> sql.Composed:
        """Give the WHERE clause on lead_memory AS l, empty where all are read."""
        if self._by_client:
            return sql.SQL("WHERE l.client_id = ANY (%(client_ids)s::{})").format(self._array)
        return sql.Composed([]) if not self.narrow else sql.SQL("WHERE {}").format(sql.SQL(IN_LOOK_BACK))


_FITS: Mapping[str | None, Callable[[str], object]] = {
    "uuid": re.compile(r"[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}").fullmatch,
    "int2": re.compile(r"-?[0-9]{1,4}").fullmatch,
    "int4": re.compile(r"-?[0-9]{1,9}").fullmatch,
    "int8": re.compile(r"-?[0-9]{1,18}").fullmatch,
    "numeric": re.compile(r"-?[0-9]{1,99}([.][0-9]{1,99})?").fullmatch,
}


def as_array(ids: Iterable[str], type_name: str | None) -> tuple[list[str], sql.Composable]:
    """Give those of the ids that a column of this type can hold, in order, and the type of such an array."""
    fits = _FITS.get(type_name)
    kept = sorted(i for i in ids if fits is None or fits(i))
    return kept, sql.SQL("text[]") if fits is None else sql.SQL("{}[]").format(sql.Identifier(type_name or "text"))


def _without_repeats(rows: Sequence[tuple[Any, ...]]) -> list[tuple[Any, ...]]:
    """Where no key forbids it a lead may stand there twice: the row contacted last is the lead."""
    latest: dict[tuple[Any, Any], tuple[Any, ...]] = {}
    for row in rows:
        other = latest.setdefault((row[0], row[1]), row)
        if other is not row and (row[2] or 0, repr(row)) > (other[2] or 0, repr(other)):
            latest[row[0], row[1]] = row
    return list(latest.values())


def read_lead_names(conn: Connection[Any], catalogue: Catalogue, lead_ids: Sequence[str]) -> dict[str, str]:
    """Read the names of some leads, for conversion and reversion events only."""
    if not lead_ids or not catalogue.has("lead_memory", "name"):
        return {}
    ids, array = as_array(lead_ids, catalogue.type_of("lead_memory", "id"))
    found = conn.execute(query("read_lead_names", id_array=array), {"ids": ids}).fetchall()
    return {lead_id: name for lead_id, name in found if name}


def _column(
    has: Callable[[str, str], bool], table: str, column: str, as_type: str = "text", alias: str | None = None
) -> sql.Composed:
    """Name a column that may not be there: its value in a known type, or a null of that type."""
    if not has(table, column):
        return sql.SQL("NULL::{}").format(sql.SQL(as_type))
    place = sql.Identifier(alias or {"clients": "c", "lead_memory": "l", "lead_actions": "a"}[table], column)
    return sql.SQL("{}::{}").format(place, sql.SQL(as_type))


def _number_column(catalogue: Catalogue, table: str, column: str) -> sql.Composed:
    """Name a column of numbers; where it is of text, what is no number is null."""
    number = _column(catalogue.has, table, column, "float8")
    if catalogue.type_of(table, column) not in ("text", "varchar"):
        return number
    text = _column(catalogue.has, table, column)
    return sql.SQL("CASE WHEN {} ~ '^[0-9]{{1,9}}([.][0-9]+)?$' THEN {} END").format(text, number)


def _fetch(conn: Connection[Any], statement: sql.Composed, parameters: Mapping[str, Any]) -> list[tuple[Any, ...]]:
    with conn.cursor(binary=True) as cursor:
        rows: list[tuple[Any, ...]] = cursor.execute(statement, parameters).fetchall()
        return rows


def _only(clients: Clients, ids: Collection[str]) -> Clients:
    """Keep some clients."""
    kept = [i for i, client_id in enumerate(clients.ids) if client_id in ids]
    return Clients(
        tuple(clients.ids[i] for i in kept),
        tuple(clients.language[i] for i in kept),
        tuple(clients.industry[i] for i in kept),
        clients.pooled[kept],
    )


def _read_clients(conn: Connection[Any], catalogue: Catalogue) -> tuple[Clients, dict[str, str], int]:
    """Read the clients; also which other ids of a client its leads may carry, and how many clients are unusable."""
    has = catalogue.has
    rows = _fetch(
        conn,
        query(
            "read_clients",
            language=_column(has, "clients", "language"),
            industry=_column(has, "clients", "industry_category"),
            is_test=_column(has, "clients", "is_test", "boolean"),
            is_internal=_column(has, "clients", "is_internal", "boolean"),
            internal_id=_column(has, "clients", "id"),
        ),
        {},
    )
    # growth_brain holds the public id as a uuid, or as text where clients has it so
    any_text = catalogue.type_of("growth_brain", "client_id") in ("text", "varchar")
    usable = sorted((row for row in rows if row[0] and (any_text or _is_uuid(row[0]))), key=lambda row: row[0])
    clients = Clients(
        ids=tuple(row[0] for row in usable),
        language=tuple(language_code(row[1]) for row in usable),
        industry=tuple(industry_key(row[2]) for row in usable),
        pooled=np.array([not (row[3] or row[4]) for row in usable], dtype=bool),
    )
    # Leads carry the public id; some installations' foreign keys point to the internal one, and a text id may differ
    # from a uuid column's in case.
    aliases = {row[5]: row[0] for row in usable if row[5]} | {row[0].lower(): row[0] for row in usable}
    aliases |= {row[0]: row[0] for row in usable}
    return clients, aliases, len(rows) - len(usable)


_UUID = re.compile(r"^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$")


def _is_uuid(text: str | None) -> bool:
    return text is not None and _UUID.match(text) is not None


def _read_actions(conn: Connection[Any], catalogue: Catalogue, scope: _Scope) -> list[tuple[Any, ...]] | None:
    has = catalogue.has
    kind = next((name for name in ("action_type", "action") if has("lead_actions", name)), None)
    when = [name for name in ("timestamp", "created_at") if has("lead_actions", name)]
    if kind is None or not when or not has("lead_actions", "lead_id"):
        return None
    same_type = catalogue.type_of("lead_actions", "lead_id") == catalogue.type_of("lead_memory", "id")
    lead_id = sql.SQL("a.lead_id" if same_type else "a.lead_id::text")
    memory_id = sql.SQL("l.id" if same_type else "l.id::text")
    leads = scope.condition()
    window = sql.SQL("WHERE {} IN (SELECT {} FROM lead_memory AS l {})").format(lead_id, memory_id, leads)
    return _fetch(
        conn,
        query(
            "read_lead_actions",
            kind=_column(has, "lead_actions", kind),
            when=sql.SQL("coalesce({})").format(
                sql.SQL(", ").join(_column(has, "lead_actions", name, "timestamptz") for name in when)
            ),
            id=_column(has, "lead_actions", "id"),
            tag=_column(has, "lead_actions", "tag"),
            converted=_column(has, "lead_actions", "conversion_outcome", "boolean"),
            reason=_column(has, "lead_actions", "reversion_reason"),
            window=window if scope.narrow else sql.SQL(""),
        ),
        scope.parameters,
    )


class _Folded(dict[Hashable, Any]):
    """Folds each distinct value once: columns repeat a few labels over very many rows."""

    def __init__(self, fold: Callable[[Any], Any]) -> None:
        super().__init__()
        self._fold = fold

    def __missing__(self, value: Hashable) -> Any:
        folded = self[value] = self._fold(value)
        return folded


class _Ragged:
    """Collects (lead, time, value) and sorts it once."""

    def __init__(self) -> None:
        self.lead, self.time, self.value = array("q"), array("q"), array("d")

    def add(self, lead: int, time: int, value: float) -> None:
        self.lead.append(lead)
        self.time.append(time)
        self.value.append(value)

    def at(self, lead: int, code: Callable[[Any], float]) -> Callable[[int, Any], None]:
        """Make the function that adds one lead's values, folded by `code`."""
        return lambda time, value: self.add(lead, time, code(value))

    def observations(self) -> Observations:
        lead, time = np.array(self.lead, dtype=np.int64), np.array(self.time, dtype=np.int64)
        order = np.lexsort((np.arange(len(lead)), time, lead))
        return Observations(lead[order], time[order], np.array(self.value, dtype=np.float64)[order])


def arrange(clients: Clients, rows: Sequence[tuple[Any, ...]], action_rows: Sequence[tuple[Any, ...]] | None) -> Leads:
    """
    Make arrays of rows, in any order, as `read_leads` and `read_lead_actions` of queries.sql give them.

    Instants are microseconds since 1970. Rows of other clients than these are left out; so are actions of other leads.
    action_rows is None where the database has no actions.
    """
    ordinal = {client_id: i for i, client_id in enumerate(clients.ids)}
    rows = sorted((row for row in rows if row[1] in ordinal), key=lambda row: (ordinal[row[1]], row[0]))
    index = {row[0]: i for i, row in enumerate(rows)}
    actions = _arrange_actions(action_rows, index)
    columns: list[Sequence[Any]] = list(zip(*rows, strict=True)) if rows else [()] * N_LEAD_COLUMNS
    seen = _observe_all(rows, _insert_times(actions))
    source, source_names = _coded(columns[6], clean_text)
    intent, intent_names = _coded(columns[7], intent_name)
    client = _int_array(map(ordinal.__getitem__, columns[1]))
    return Leads(
        clients=clients,
        client=client,
        owner=client,
        owner_industry=clients.industry,
        id=_object_array(columns[0]),
        in_half=np.fromiter(map(_in_half, columns[0]), dtype=bool),
        arrival=np.array(seen.arrival, dtype=np.int64),
        last_contact=_instants(columns[2]),
        urgency=seen.urgency.observations(),
        tone=seen.tone.observations(),
        confidence=seen.confidence.observations(),
        contacts=seen.contacts.observations(),
        source=source,
        source_names=source_names,
        intent=intent,
        intent_names=intent_names,
        language=_folded_array(columns[8], lambda text: {"en": 0, "fr": 1}.get(language_code(text) or "", -1)),
        tag=_folded_array(columns[9], tag_code),
        outcome=_folded_array(columns[15], outcome_code),
        closed_at=_instants(columns[14]),
        lost_at=_instants(columns[19]),
        archived=np.fromiter(map(bool, columns[10]), dtype=bool),
        deleted=np.fromiter(map(bool, columns[11]), dtype=bool),
        last_change=np.array(seen.last_change, dtype=np.int64),
        actions=actions,
    )


def _insert_times(actions: Actions | None) -> dict[int, list[int]]:
    times: dict[int, list[int]] = {}
    if actions is not None:
        inserts = actions.kind == ACTION_INSERT
        for lead, time in zip(actions.lead[inserts].tolist(), actions.time[inserts].tolist(), strict=True):
            times.setdefault(lead, []).append(time)
    return times


class _Seen:
    """What was seen of every lead, and when."""

    def __init__(self) -> None:
        self.arrival, self.last_change = array("q"), array("q")
        self.urgency, self.tone, self.confidence, self.contacts = _Ragged(), _Ragged(), _Ragged(), _Ragged()


def _observe_all(rows: Sequence[tuple[Any, ...]], insert_times: Mapping[int, list[int]]) -> _Seen:
    """Date every lead's contacts, and lay out over time what was known of its urgency, tone and confidence."""
    seen = _Seen()
    urgency, tone = _Folded(urgency_code), _Folded(tone_code)
    for i, row in enumerate(rows):
        last_contact = _usable(row[2])
        histories = [_parse_history(text) for text in row[16:19]]
        stamps = [stamp for history in histories for stamp, _ in history if stamp is not None]
        inserts = insert_times.get(i, [])
        stamps += inserts[1:]
        stamps += _id_epoch(row[0])
        if last_contact is not None:
            stamps.append(last_contact)
        # The first insert is the lead's own, also when it was logged late: it may date the arrival, not add a contact.
        if inserts and not (stamps and 0 <= inserts[0] - min(stamps) <= OWN_INSERT):
            stamps.append(inserts[0])
        contacts = _merge_contacts(stamps)
        first = contacts[0] if contacts else UNDATED
        seen.arrival.append(first)
        for time in contacts:
            seen.contacts.add(i, time, 1.0)
        changes = [stamp for stamp in (last_contact, _usable(row[13])) if stamp is not None]
        seen.last_change.append(max(changes, default=first))
        last = last_contact if last_contact is not None else first
        _observe(seen.urgency.at(i, urgency.__getitem__), histories[0], row[3], first, last)
        _observe(seen.tone.at(i, tone.__getitem__), histories[1], row[4], first, last)
        _observe(seen.confidence.at(i, _confidence), histories[2], row[5], first, last)
    return seen


def _usable(instant: int | None) -> int | None:
    """Leave out what is no date: null, infinity, and anything before the product was."""
    return None if instant is None or instant == UNDATED or instant < FIRST_LEAD else instant


def _instants(values: Iterable[int | None]) -> IntArray:
    return _int_array(UNDATED if _usable(value) is None else value for value in values)  # type: ignore[misc]


def _in_half(lead_id: str) -> bool:
    return bool(blake2b(lead_id.encode("utf-8", "replace"), digest_size=1).digest()[0] & 1)


def _object_array(values: Sequence[Any]) -> NDArray[np.object_]:
    result = np.empty(len(values), dtype=object)
    result[:] = values
    return result


def _folded_array(values: Iterable[Any], fold: Callable[[Any], int]) -> IntArray:
    return _int_array(map(_Folded(fold).__getitem__, values))


def _int_array(values: Iterable[int]) -> IntArray:
    return np.fromiter(values, dtype=np.int64)


def _coded(values: Sequence[Any], fold: Callable[[Any], str | None]) -> tuple[IntArray, tuple[str, ...]]:
    """Give every distinct name a code in the names' own order, so that codes do not depend on the rows' order."""
    clean = _Folded(fold)
    folded = list(map(clean.__getitem__, values))
    names = tuple(sorted({name for name in folded if name is not None}))
    codes: dict[str | None, int] = {name: i for i, name in enumerate(names)} | {None: -1}
    return _int_array(map(codes.__getitem__, folded)), names


def _arrange_actions(rows: Sequence[tuple[Any, ...]] | None, index: Mapping[str, int]) -> Actions | None:
    """
    Sort the actions of the leads that were read by lead and time; those without a date cannot be placed.

    Of one instant, as a list imported by the day has many: what makes no customer, then what makes one, then what says
    that it is none any more; and else by what the action is. Never by its id, which is drawn at random. An action that
    is there twice, the same in all but its id, counts once.
    """
    if rows is None:
        return None
    rows = [row for row in rows if row[0] in index and _usable(row[1]) is not None]
    columns: list[Sequence[Any]] = list(zip(*rows, strict=True)) if rows else [()] * N_ACTION_COLUMNS
    lead, time = _int_array(map(index.__getitem__, columns[0])), _int_array(columns[1])
    kind, converted = _folded_array(columns[3], action_code), _int_array(-1 if c is None else c for c in columns[5])
    reason = _object_array([None if text is None else text.strip() or None for text in columns[6]])
    given = np.fromiter((text is not None for text in reason), dtype=bool, count=len(reason))
    actions = Actions(
        lead=lead,
        time=time,
        kind=kind,
        tag=_folded_array(columns[4], tag_code),
        outcome=_folded_array(columns[4], outcome_code),
        converted=converted,
        reason=reason,
        excused=(converted == 0) & given,
        touch=np.isin(kind, TOUCHES),
    )
    winning = actions.winning_by_tag | actions.winning_by_outcome
    turn = np.where(actions.reverting, 2, np.where(winning, 1, 0))
    places = {text: i for i, text in enumerate(sorted(set(reason[given])))}
    said = _int_array(places.get(text, -1) for text in reason)
    content = (((turn * 64 + kind) * 64 + actions.tag) * 64 + actions.outcome) * 4 + converted + 1
    order = np.lexsort((said, content, time, lead))
    distinct = np.ones(len(order), dtype=bool)
    distinct[1:] = np.any([np.diff(column[order]) != 0 for column in (lead, time, content, said)], axis=0)
    return actions.only(order[distinct], np.arange(len(index)))


def _id_epoch(lead_id: str) -> list[int]:
    match = LEAD_ID_EPOCH.match(lead_id)
    if match is None:
        return []
    stamp = int(match.group(1)) * 1000
    return [stamp] if stamp >= FIRST_LEAD else []


def _merge_contacts(stamps: list[int]) -> list[int]:
    """One entry a contact: stamps closer than ONE_CONTACT to the contact's first are the same submission."""
    contacts: list[int] = []
    for stamp in sorted(stamps):
        if not contacts or stamp - contacts[-1] > ONE_CONTACT:
            contacts.append(stamp)
    return contacts


def _confidence(value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return float("nan")
    return float(value) if 0 <= value <= 1 else float("nan")


def _observe(
    add: Callable[[int, Any], None], history: list[tuple[int | None, Any]], column: Any, first: int, last: int
) -> None:
    """
    Lay out what was known of one attribute when.

    The column is what holds since the last contact. An undated first entry belongs to the first contact; other
    undated entries cannot be placed and only the last of them, which the column repeats, is known. A null column
    beside a history as new as it says nothing.
    """
    latest = None
    for position, (stamp, value) in enumerate(history):
        when = first if stamp is None and position == 0 else stamp
        if when is not None:
            add(when, value if isinstance(value, Hashable) else None)
            if when != UNDATED and (latest is None or when > latest):
                latest = when
    if latest is None:
        add(last, column)
    elif column is not None or last - latest > ONE_CONTACT:
        add(max(last, latest) if last != UNDATED else latest, column)


def _parse_history(text: str | None) -> list[tuple[int | None, Any]]:
    """
    Read a history column, however it was stored: a list of {value, timestamp}, of bare values, or a string of either.

    Anything else is no history; an entry that is neither is left out.
    """
    if text is None or text in ("[]", "null", ""):
        return []
    try:
        entries = json.loads(text)
        if isinstance(entries, str):
            entries = json.loads(entries)
    except (ValueError, RecursionError):
        return []
    if not isinstance(entries, list):
        return []
    result: list[tuple[int | None, Any]] = []
    for entry in entries:
        if isinstance(entry, dict):
            result.append((_parse_stamp(entry.get("timestamp")), entry.get("value")))
        elif entry is not None and not isinstance(entry, list):
            result.append((None, entry))
    return result


def _parse_stamp(stamp: Any) -> int | None:
    if not isinstance(stamp, str):
        return None
    try:
        parsed = datetime.fromisoformat(stamp.strip())
        instant = to_microseconds(parsed if parsed.tzinfo is not None else parsed.replace(tzinfo=UTC))
    except (ValueError, OverflowError):
        return None
    return instant if instant >= FIRST_LEAD else None


def ensure_clients_known(leads: Leads, wanted: Collection[str]) -> None:
    """Raise ConfigurationError where clients were asked for that there are not."""
    strangers = sorted(set(wanted).difference(i for i in leads.clients.ids if i is not None))
    if strangers:
        raise ConfigurationError([f"no client has the client_id {client_id}" for client_id in strangers])


def read_since(as_of: datetime, days: int | None) -> datetime | None:
    """Find the earliest last contact that a job with a look-back of `days` needs; None reads all."""
    if days is None:
        return None
    return datetime.fromtimestamp((to_microseconds(as_of) - days * DAY) / 1_000_000, tz=UTC)
