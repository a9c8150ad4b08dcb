"""The only door from rows to arrays: reads clients, leads and actions in one snapshot, each column as one value."""

import re
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any, LiteralString

import numpy as np
from numpy.typing import NDArray
from psycopg import Connection, sql

from worker import packing
from worker.arranging import arrange, arrange_columns, in_order
from worker.columns import FLAGS, ActionColumns, LeadColumns
from worker.database.catalogue import Catalogue
from worker.database.queries import query
from worker.errors import ConfigurationError
from worker.fetching import Beside, Fetching, Row, fetch_row, fetching
from worker.garbage import give_back
from worker.histories import ONE_CONTACT
from worker.leads import DAY, UNDATED, Clients, Leads, to_microseconds
from worker.statistics import IntArray
from worker.vocabulary import industry_key, language_code

__all__ = ["ONE_CONTACT", "arrange", "read_leads"]

FIRST_DAY = datetime(2000, 1, 1, tzinfo=UTC)
# A row without a usable last contact may still have arrived in the look-back: other signs tell.
IN_LOOK_BACK: LiteralString = 'l."timestamp" >= %(since)s OR l."timestamp" IS NULL OR l."timestamp" < %(earliest)s'
TEXT_COLUMNS = {"urgency": "urgency", "tone": "tone", "source": "source", "intent": "intent", "language": "language",
                "tag": "current_tag", "outcome": "outcome_status"}  # fmt: skip
INSTANT_COLUMNS = {"last_contact": "timestamp", "last_updated": "last_updated", "closed_at": "client_closed_at",
                   "no_sale_at": "no_sale_at"}  # fmt: skip
DETAILS = ("urgency", "tone", "confidence", "source", "intent", "language")  # what a job may do without
PIECE_PAGES = 8_192  # 64 megabytes of a table
MANY_CLIENTS = 20_000  # of more, a look-back is read slice by slice of time
SLICES, SLICE_DAYS = 6, 10
NO_HASH = np.uint64(2**64 - 1)
ORDINARY_TABLE = "r"  # the kind whose rows have a place
DEED_COLUMNS = 4  # kind, tag, reversion_reason and conversion_outcome
HISTORY_COLUMNS = {name: f"{name}_history" for name in ("urgency", "tone", "confidence")}
ALIASES = {"clients": "c", "lead_memory": "l", "lead_actions": "a"}  # by which every statement knows the tables


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


class _CollisionError(Exception):
    """Two ids of leads have the same 64-bit hash."""


@dataclass(frozen=True, slots=True)
class KnownClients:
    """All clients; by each id that a lead of theirs may carry, the public one; and how many are unusable."""

    clients: Clients
    aliases: Mapping[str, str]
    unusable: int  # client ids that growth_brain's uuid column cannot hold


def read_leads(
    conn: Connection[Any],
    catalogue: Catalogue,
    since: datetime | None,
    of_clients: Collection[str] | None = None,
    wanted: Collection[str] | None = None,
    *,
    known: KnownClients | None = None,
    beside: Beside | None = None,
) -> tuple[Leads, ReadingReport]:
    """
    Read every client, the leads whose last contact is not older than `since` (None: all), and their actions.

    of_clients : only these clients, by their public id or what else their leads may carry; ids of nobody are passed
    over. wanted : of DETAILS only these, the others are unknown (None: all); when leads came is not told by them.
    known : the clients, where they were read before: by whoever reads the leads of a few of very many.
    beside : opens a second transaction of the same instant, in which actions are read while leads are; then in both.

    Runs inside the caller's REPEATABLE READ READ ONLY transaction, a few statements whatever the number of clients.
    Test leads are left out here, deleted ones by whoever asks for their state: that depends on the instant.
    """
    carried: list[str] | None = None  # what their leads may carry; None: all are read
    if of_clients is not None:
        known = known or read_clients(conn, catalogue)
        ours = {known.aliases.get(i, i) for i in of_clients}
        aliases = {i: public for i, public in known.aliases.items() if public in ours}
        chosen = np.array([i in ours for i in known.clients.ids], dtype=np.bool_)
        known, carried = KnownClients(known.clients.only(chosen), aliases, known.unusable), sorted(aliases)
    scope = _Scope(catalogue, since, carried, wanted)
    pieces: dict[int, ActionColumns] = {}
    with fetching(conn, beside if _tells_of_actions(catalogue) else None) as both:
        statements = _action_statements(conn, catalogue, scope)
        of_actions = both.ask(statements, scope.parameters)
        known = known or read_clients(conn, catalogue)
        clients = known.clients
        if of_clients is None and len(clients) > MANY_CLIENTS:
            scope.cut_time()
        ordinal = {client_id: i for i, client_id in enumerate(clients.ids)}
        ordinals = {alias: ordinal.get(public, -1) for alias, public in known.aliases.items()}
        parts = _pieces(conn, catalogue, scope, "lead_memory")
        while True:
            try:
                rows, hashes = _read_lead_columns(both, catalogue, scope, parts, ordinals)
                kept = _without_repeats(rows, hashes)
                if len(kept) < len(rows) and scope.unread:
                    scope.unread = set()  # which of a lead's rows counts must not depend on what is asked of it
                    continue
                places = _Places.of(rows.client, hashes, kept)
            except _CollisionError:
                scope.parameters["seed"] += 1
                both.forget()
                of_actions = both.ask(statements, scope.parameters)
            else:
                break
        n_rows = len(rows)
        give_back(n_rows)
        real = ~rows.is_test
        used = np.zeros(len(rows), dtype=np.bool_)
        used[kept] = True
        report = ReadingReport(
            leads=0,
            orphans=_count_nameless(conn, catalogue) + int((real & used & (rows.client < 0)).sum()),
            repeated=int((real & ~used).sum()),
            undated=0,
            test_leads=int(rows.is_test.sum()),
            unusable_clients=known.unusable,
        )
        rows, place = in_order(rows, real & used)
        places = places.moved(place)
        for number, row in both.finished(of_actions):
            pieces[number] = _unpack_actions(row, places)
    del hashes, kept, real, used, place, places  # of very many leads they are large
    give_back(n_rows)
    actions = [ActionColumns.joined([pieces.pop(number) for number in sorted(pieces)])] if pieces else [None]
    leads = arrange_columns(clients, rows, actions.pop())
    return leads, replace(report, leads=len(leads), undated=int((leads.arrival == UNDATED).sum()))


def _count_nameless(conn: Connection[Any], catalogue: Catalogue) -> int:
    """Count the rows without an id, of which only a table without a primary key can have any."""
    column = catalogue.columns.get(("lead_memory", "id"))
    if column is None or column.is_required:
        return 0
    return int(fetch_row(conn, query("count_leads_without_id"), {})[0])


def _read_lead_columns(
    both: Fetching,
    catalogue: Catalogue,
    scope: "_Scope",
    pieces: Sequence[sql.Composable],
    ordinals: Mapping[str, int],
) -> tuple[LeadColumns, IntArray]:
    """Read the leads in scope; also the hashes of their ids."""
    statements = [_lead_statement(catalogue, scope, piece) for piece in pieces]
    asked = both.ask(statements, scope.parameters, before_others=True)
    found = {number: _unpack_leads(row, catalogue, ordinals) for number, row in both.finished(asked)}
    columns, hashes = zip(*(found[number] for number in range(len(found))), strict=True)
    return LeadColumns.joined(columns), np.concatenate(hashes)


def _pieces(conn: Connection[Any], catalogue: Catalogue, scope: "_Scope", table: str) -> list[sql.Composable]:
    """
    Give the conditions by which a table is read piece by piece: of so many pages each, where all of it is read, or of
    so many days.

    What is packed comes as one row, and must stay far below the gigabyte that a row may hold.
    """
    kind = catalogue.tables[table].kind
    if scope.cuts and table == "lead_memory":
        return _slices(scope.cuts)
    if scope.narrow or kind != ORDINARY_TABLE:
        return [sql.SQL("TRUE")]
    (pages,) = fetch_row(conn, query("count_pages"), {"table": table})
    cuts = [sql.Literal(f"({page},0)") for page in range(PIECE_PAGES, pages, PIECE_PAGES)]
    row = sql.SQL("{}.ctid").format(sql.Identifier(ALIASES[table]))
    since = [sql.SQL("TRUE"), *(sql.SQL("{} >= {}::tid").format(row, cut) for cut in cuts)]
    until = [*(sql.SQL("{} < {}::tid").format(row, cut) for cut in cuts), sql.SQL("TRUE")]
    return [sql.SQL("{} AND {}").format(*ends) for ends in zip(since, until, strict=True)]


def _slices(cuts: Sequence[datetime]) -> list[sql.Composable]:
    """Give the conditions by which leads are read by their last contact, before the first cut and on from each."""
    since = [sql.SQL('l."timestamp" >= {}').format(sql.Literal(cut)) for cut in cuts]
    until = [sql.SQL('l."timestamp" < {}').format(sql.Literal(cut)) for cut in cuts]
    first = sql.SQL('({} OR l."timestamp" IS NULL)').format(until[0])
    between = [sql.SQL("{} AND {}").format(*ends) for ends in zip(since, until[1:], strict=False)]
    return [first, *between, since[-1]]


def _lead_statement(catalogue: Catalogue, scope: "_Scope", piece: sql.Composable) -> sql.Composed:
    """Compose what reads a piece of the leads."""
    has = catalogue.has

    def text(name: str, column: str) -> sql.Composable:
        return packing.UNREAD if name in scope.unread else packing.pack_texts(_column(has, "lead_memory", column))

    def instant(column: str) -> sql.Composed:
        return packing.pack_instants(_column(has, "lead_memory", column, "timestamptz"))

    def history(column: str) -> sql.Composable:
        there = catalogue.type_of("lead_memory", column) if has("lead_memory", column) else None
        return packing.pack_histories(sql.Identifier("l", column), there)

    return query(
        "read_leads",
        id=packing.pack_ids(sql.Identifier("l", "id"), catalogue.type_of("lead_memory", "id")),
        hash=packing.pack_hashes(sql.Identifier("l", "id"), _type_of_lead_id(catalogue)),
        client_id=packing.pack_texts(_column(has, "lead_memory", "client_id")),
        **{name: text(name, column) for name, column in TEXT_COLUMNS.items()},
        **{name: instant(column) for name, column in INSTANT_COLUMNS.items()},
        confidence=packing.UNREAD
        if "confidence" in scope.unread
        else packing.pack_numbers(_number_column(catalogue, "lead_memory", "confidence_score")),
        flags=packing.pack_flags(*(_column(has, "lead_memory", name, "boolean") for name in FLAGS)),
        **{f"{name}_history": history(column) for name, column in HISTORY_COLUMNS.items()},
        window=sql.SQL("{} AND {}").format(scope.condition(), piece),
    )


def _unpack_leads(row: Row, catalogue: Catalogue, ordinals: Mapping[str, int]) -> tuple[LeadColumns, IntArray]:
    take = row.popleft  # in the order of the statement; what was unpacked is let go
    ids = packing.unpack_ids(take(), catalogue.type_of("lead_memory", "id"))
    hashes = packing.unpack_hashes(take())
    owner = packing.unpack_labels(take())
    found = LeadColumns(
        id=ids,
        client=np.array([ordinals.get(i, -1) for i in owner.values], dtype=np.int64)[owner.codes],
        labels={name: packing.unpack_labels(take(), len(hashes)) for name in TEXT_COLUMNS},
        instants={name: packing.unpack_instants(take()) for name in INSTANT_COLUMNS},
        confidence=packing.unpack_numbers(take(), len(hashes)),
        **dict(zip(FLAGS, packing.unpack_flags(take(), len(FLAGS)), strict=True)),
        histories={name: packing.unpack_histories(take()) for name in HISTORY_COLUMNS},
    )
    return found, hashes


def _without_repeats(rows: LeadColumns, hashes: IntArray) -> IntArray:
    """
    Find the rows that are leads: where no key forbids it one may stand there twice, and the row contacted last is it.

    Raises _CollisionError where the hashes do not tell two ids apart.
    """
    order = np.argsort(hashes, kind="stable")
    same = np.flatnonzero(np.diff(hashes[order]) == 0)
    again = np.zeros(len(rows), dtype=np.bool_)
    again[order[same]] = again[order[same + 1]] = True
    dropped: set[int] = set()
    best: dict[tuple[str, int], int] = {}
    for row in np.flatnonzero(again).tolist():
        key = rows.id[row], int(rows.client[row])
        other = best.setdefault(key, row)
        if other != row:
            best[key], loser = (row, other) if _rank(rows, row) > _rank(rows, other) else (other, row)
            dropped.add(loser)
    if len({int(hashes[row]) for row in best.values()}) != len({lead_id for lead_id, _ in best}):
        raise _CollisionError
    kept = np.ones(len(rows), dtype=np.bool_)
    kept[list(dropped)] = False
    return np.flatnonzero(kept)


def _rank(rows: LeadColumns, row: int) -> tuple[int, str]:
    """Rank rows of the same lead: the last contact, and else what they hold, whatever order they came in."""
    instants = {name: int(values[row]) for name, values in rows.instants.items()}
    held = [labels.at(row) for labels in rows.labels.values()], instants, float(rows.confidence[row])
    contact = instants["last_contact"]
    flags = bool(rows.archived[row]), bool(rows.deleted[row]), bool(rows.is_test[row])
    return 0 if contact == UNDATED else contact, repr((held, flags, [t.get(row) for t in rows.histories.values()]))


@dataclass(frozen=True, slots=True)
class _Places:
    """Finds the row of a lead by the hash of its id: near where hashes spread as evenly as these would put it."""

    hashes: NDArray[np.uint64]  # sorted, each once; the last is nobody's
    rows: NDArray[np.int32]  # theirs
    starts: NDArray[np.int32]  # the first place of hashes that begin with these bits
    shift: np.uint64  # what is left of a hash then

    @classmethod
    def of(cls, client: IntArray, hashes: IntArray, kept: IntArray) -> "_Places":
        """Take the rows that are leads; of an id that several clients have, the last client's."""
        words = hashes.view(np.uint64)
        order = kept[np.argsort(words[kept])]
        if (words[order[1:]] == words[order[:-1]]).any():
            order = kept[np.lexsort((client[kept], words[kept]))]
        words = words[order]
        last = np.append(words[1:] != words[:-1], True)[: len(words)]
        words, order = words[last], order[last]
        bits = max(1, len(words).bit_length())
        shift = np.uint64(64 - bits)
        starts = np.searchsorted(words, np.arange(1 << bits, dtype=np.uint64) << shift).astype(np.int32)
        return cls(np.append(words, NO_HASH), np.append(order, -1).astype(np.int32), starts, shift)

    def moved(self, place: NDArray[np.int32]) -> "_Places":
        """Give the same where rows are at other places now; -1 for one that is nowhere."""
        return replace(self, rows=np.append(place, np.int32(-1))[self.rows])

    def find(self, hashes: IntArray) -> NDArray[np.int32]:
        """Give each hash's row, -1 where there is none."""
        asked = hashes.view(np.uint64)
        place = self.starts[asked >> self.shift]
        behind = np.flatnonzero(self.hashes[place] < asked)
        while len(behind):  # a few times: one in two has a place of its own, and hardly any five
            place[behind] += 1
            behind = behind[self.hashes[place[behind]] < asked[behind]]
        return np.where(self.hashes[place] == asked, self.rows[place], np.int32(-1))


def _type_of_lead_id(catalogue: Catalogue) -> str | None:
    """Give the type by which ids of leads are hashed: uuid where both tables have it so, else text."""
    types = {catalogue.type_of("lead_memory", "id"), catalogue.type_of("lead_actions", "lead_id")} - {None}
    return "uuid" if types == {"uuid"} else "text"


def _kind_of_action(catalogue: Catalogue) -> str | None:
    """Name the column that says what kind of action a row is; None where none does."""
    return next((name for name in ("action_type", "action") if catalogue.has("lead_actions", name)), None)


def _tells_of_actions(catalogue: Catalogue) -> bool:
    """Whether this database records actions: of which lead, of what kind and when."""
    has = catalogue.has
    dated = has("lead_actions", "timestamp") or has("lead_actions", "created_at")
    return _kind_of_action(catalogue) is not None and dated and has("lead_actions", "lead_id")


def _action_statements(conn: Connection[Any], catalogue: Catalogue, scope: "_Scope") -> list[sql.Composed]:
    """Compose what reads the actions, piece by piece; none where there are none in this database."""
    has, kind = catalogue.has, _kind_of_action(catalogue)
    if kind is None or not _tells_of_actions(catalogue):
        return []
    when = [name for name in ("timestamp", "created_at") if has("lead_actions", name)]
    same_type = catalogue.type_of("lead_actions", "lead_id") == catalogue.type_of("lead_memory", "id")
    lead_id = sql.SQL("a.lead_id" if same_type else "a.lead_id::text")
    memory_id = sql.SQL("l.id" if same_type else "l.id::text")
    window = sql.SQL("WHERE {} IN (SELECT {} FROM lead_memory AS l {})").format(lead_id, memory_id, scope.condition())
    everything = sql.SQL("WHERE a.lead_id IS NOT NULL")
    instants = [_column(has, "lead_actions", name, "timestamptz") for name in when]
    outcome = sql.SQL("{}::text").format(_column(has, "lead_actions", "conversion_outcome", "boolean"))
    deed = [*(_column(has, "lead_actions", name) for name in (kind, "tag", "reversion_reason")), outcome]
    return [
        query(
            "read_lead_actions",
            hash=packing.pack_hashes(sql.Identifier("a", "lead_id"), _type_of_lead_id(catalogue)),
            when=packing.pack_instants(sql.SQL("coalesce({})").format(sql.SQL(", ").join(instants))),
            what=packing.pack_texts(*deed),
            window=sql.SQL("{} AND {}").format(window if scope.narrow else everything, piece),
        )
        for piece in _pieces(conn, catalogue, scope, "lead_actions")
    ]


def _unpack_actions(row: Row, places: _Places) -> ActionColumns:
    take = row.popleft  # as above
    lead, time = places.find(packing.unpack_hashes(take())), packing.unpack_instants(take())
    return ActionColumns(lead, time, packing.unpack_rows(take(), DEED_COLUMNS))


class _Scope:
    """What is read: all leads, or those in contact since an instant, of some clients as the leads name them."""

    def __init__(
        self,
        catalogue: Catalogue,
        since: datetime | None,
        client_ids: Sequence[str] | None,
        wanted: Collection[str] | None,
    ) -> None:
        self.unread = set() if wanted is None else set(DETAILS).difference(wanted)
        self.narrow = since is not None or client_ids is not None
        ids, self._array = as_array(client_ids or (), catalogue.type_of("lead_memory", "client_id"))
        self._since, self._by_client = since, client_ids is not None
        self.cuts: list[datetime] = []  # between slices of the look-back
        self.parameters: dict[str, Any] = {"since": since, "earliest": FIRST_DAY, "client_ids": ids, "seed": 0}

    def cut_time(self) -> None:
        """Have leads read slice by slice of their last contact: what comes at a time is then a part of all of them."""
        if self._since is not None:
            self.cuts = [self._since + timedelta(days=SLICE_DAYS * number) for number in range(1, SLICES)]

    def condition(self) -> sql.Composed:
        """Give the WHERE clause on lead_memory AS l; what has no id is no lead."""
        wanted = [sql.SQL("l.client_id = ANY (%(client_ids)s::{})").format(self._array)] if self._by_client else []
        if self._since is not None:
            wanted.append(sql.SQL("({})").format(sql.SQL(IN_LOOK_BACK)))
        return sql.SQL(" AND ").join([sql.SQL("WHERE l.id IS NOT NULL"), *wanted])


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


def read_lead_names(conn: Connection[Any], catalogue: Catalogue, lead_ids: Sequence[str]) -> dict[str, str]:
    """Read the names of some leads, save those whose id is that of several clients' leads."""
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
    place = sql.Identifier(alias or ALIASES[table], column)
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


def read_clients(conn: Connection[Any], catalogue: Catalogue) -> KnownClients:
    """Read every client; also which other ids of a client its leads may carry, and how many clients are unusable."""
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
    can_hold = speakable(catalogue)
    usable = sorted((row for row in rows if row[0] and can_hold(row[0])), key=lambda row: row[0])
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
    return KnownClients(clients, aliases, len(rows) - len(usable))


_UUID = re.compile(r"^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$")


def speakable(catalogue: Catalogue) -> Callable[[str], bool]:
    """Tell which clients growth_brain can speak of: it holds their id as a uuid, or as text where clients has it so."""
    if catalogue.type_of("growth_brain", "client_id") in ("text", "varchar"):
        return lambda _: True
    return lambda client_id: _UUID.match(client_id) is not None


def ensure_clients_known(clients: Clients, wanted: Collection[str]) -> None:
    """Raise ConfigurationError where clients were asked for that there are not."""
    strangers = sorted(set(wanted).difference(i for i in clients.ids if i is not None))
    if strangers:
        raise ConfigurationError([f"no client has the client_id {client_id}" for client_id in strangers])


def read_since(as_of: datetime, days: int | None) -> datetime | None:
    """Find the earliest last contact that a job with a look-back of `days` needs; None reads all."""
    if days is None:
        return None
    return datetime.fromtimestamp((to_microseconds(as_of) - days * DAY) / 1_000_000, tz=UTC)
