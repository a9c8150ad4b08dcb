"""What lets the worker do its work, but less well: absent columns and indexes, an old schema, things left over."""

from collections.abc import Iterator
from datetime import datetime
from hashlib import sha256

from psycopg import sql

from worker.database.catalogue import SEED_COLUMNS, Catalogue
from worker.database.migrations import schema_files
from worker.database.pool import Connection
from worker.database.queries import query
from worker.database.verdict import MIGRATE, Inspection, failure, warning, well

LARGEST_CLOCK_SKEW_SECONDS = 5.0  # as_of is read from this machine's clock, and compared with the server's rows

# What is read where it is there, and what is missing from the snapshots where it is not.
OPTIONAL_COLUMNS = {
    ("clients", "language"): "insights are written in WORKER_LANGUAGE",
    ("clients", "industry_category"): "top_industries is empty",
    ("clients", "is_test"): "test clients cannot be told from real ones",
    ("lead_memory", "source"): "top_sources is empty",
    ("lead_memory", "urgency"): "no lead has a known urgency",
    ("lead_memory", "tone"): "no lead has a known tone",
    ("lead_memory", "confidence_score"): "avg_confidence is unknown",
    ("lead_memory", "current_tag"): "conversions are seen by outcome_status only",
    ("lead_memory", "outcome_status"): "conversions are seen by current_tag only",
    ("lead_memory", "is_test"): "test leads cannot be told from real ones",
    ("lead_actions", "lead_id"): "touches and the dates of conversions are unknown",
    ("lead_actions", "timestamp"): "touches and the dates of conversions are unknown",
}

# By what else a column's place is taken.
SERVES_FOR = {("lead_actions", "timestamp"): ("created_at",)}

# What the worker reads by: the first column of an index, and what is read by it.
INDEXED = {
    ("lead_memory", "timestamp"): "the windows are read",
    ("lead_memory", "client_id"): "the leads of one client are read",
    ("lead_actions", "timestamp"): "the windows' actions are read",
    ("lead_actions", "lead_id"): "a lead's history is read",
}
NAMED_INDEXES = {
    "growth_brain_history": "a client's earlier snapshots are read",
    "growth_brain_foreign_events": "the events that the application recorded are found",
}
TELLING_TABLES = ("clients", "lead_memory", "lead_actions", "growth_brain")


def find_shortcomings(conn: Connection, catalogue: Catalogue) -> Iterator[Inspection]:
    """Look at all that this module knows of, in a database that has what the jobs cannot do without."""
    yield from _warn_about_columns(catalogue)
    yield from _or_well(_warn_about_indexes(catalogue), "index", "The indexes by which the jobs read are there.")
    yield from _or_well(_warn_about_schema(conn), "schema", "The schema files are applied as shipped.")
    yield from _or_well(
        _warn_about_change_tracking(conn, catalogue),
        "change tracking",
        "The tables tell which rows are new, so conversion_events reads only those.",
    )
    yield from _or_well(_find_leftovers(conn, catalogue), "leftovers", "Nothing misleading is left over beside them.")


def tell_clock(server_time: datetime, before: datetime, after: datetime) -> Inspection:
    """Compare clocks; the server's answer lies between two readings of ours."""
    skew = max((server_time - after).total_seconds(), (before - server_time).total_seconds())
    if skew <= LARGEST_CLOCK_SKEW_SECONDS:
        return well("clock", f"This machine's clock and the database's agree to {LARGEST_CLOCK_SKEW_SECONDS:.0f} s.")
    return warning(
        "clock",
        f"This machine's clock and the database's differ by {skew:.0f} s.",
        "Let both follow a time server (NTP).",
    )


def _or_well(found: Iterator[Inspection], name: str, message: str) -> list[Inspection]:
    return list(found) or [well(name, message)]


def _warn_about_columns(catalogue: Catalogue) -> Iterator[Inspection]:
    if "lead_actions" not in catalogue.tables:
        said = "There is no table lead_actions: touches and the dates of conversions are unknown."
        yield warning("tables", said, MIGRATE)
    elif not (catalogue.has("lead_actions", "action_type") or catalogue.has("lead_actions", "action")):
        yield warning("columns", "lead_actions has neither action_type nor action: no action counts as a touch.")
    for (name, column), consequence in OPTIONAL_COLUMNS.items():
        serving = (column, *SERVES_FOR.get((name, column), ()))
        if name in catalogue.tables and not any(catalogue.has(name, one) for one in serving):
            there = catalogue.exists(name, column)
            said = f"{name}.{column} {'may not be read' if there else 'is not there'}: {consequence}."
            yield warning("columns", said, MIGRATE if there else "")


def _warn_about_indexes(catalogue: Catalogue) -> Iterator[Inspection]:
    first = {(index.table_name, index.first_column) for index in catalogue.indexes if not index.is_partial}
    named = {index.index_name for index in catalogue.indexes}
    for (name, column), purpose in INDEXED.items():
        table = catalogue.tables.get(name)
        # a view or a foreign table has none of its own
        if table is None or table.kind not in ("r", "p") or not catalogue.exists(name, column):
            continue
        if (name, column) not in first:
            key = sql.Identifier(column).as_string()
            fix = MIGRATE if column != "client_id" else f"Run: CREATE INDEX CONCURRENTLY ON public.{name} ({key});"
            yield warning("index", f"{name} has no index on {key}, by which {purpose}.", fix)
    for name, purpose in NAMED_INDEXES.items():
        if name not in named:
            yield warning("index", f"growth_brain has no index {name}, by which {purpose}.", MIGRATE)


def _warn_about_schema(conn: Connection) -> Iterator[Inspection]:
    """Compare the schema files that were applied with those of this version."""
    applied = dict(conn.execute(query("read_migrations")).fetchall())
    shipped = {file.name: sha256(file.read_bytes()).hexdigest() for file in schema_files()}
    behind = [name for name, digest in shipped.items() if applied.get(name) != digest]
    if behind:
        yield warning("schema", f"The schema is not of this version: {', '.join(behind)} is to be applied.", MIGRATE)
    unknown = sorted(applied.keys() - shipped.keys())
    if unknown:
        said = f"The schema is of a newer worker: this one does not know {', '.join(unknown)}."
        yield warning("schema", said, "Update this worker.")


def _warn_about_change_tracking(conn: Connection, catalogue: Catalogue) -> Iterator[Inspection]:
    slow = "conversion_events reads everything each time"
    for name, is_plain in conn.execute(query("read_untold_writers"), {"tables": list(TELLING_TABLES)}).fetchall():
        if is_plain:
            yield warning("change tracking", f"{name} may not be asked who wrote a row (xmin): {slow}.", MIGRATE)
        else:
            said = f"{name} is no plain table, so it does not tell who wrote a row (xmin): {slow}."
            yield warning("change tracking", said, "Let it run less often: WORKER_SCHEDULE_CONVERSION_EVENTS=every 60m")
    if not catalogue.is_unique("lead_memory", "id"):
        said = f"lead_memory.id is not unique: {slow}, and of leads with the same id the latest counts."
        yield warning("change tracking", said, "Run: ALTER TABLE public.lead_memory ADD PRIMARY KEY (id);")


def _find_leftovers(conn: Connection, catalogue: Catalogue) -> Iterator[Inspection]:
    """Find what older forms of the application left behind, and what of it misleads or is in the way."""
    for name, is_constraint in conn.execute(query("read_one_row_rules")).fetchall():
        drop = (
            f"ALTER TABLE public.growth_brain DROP CONSTRAINT {name};"
            if is_constraint
            else f"DROP INDEX public.{name};"
        )
        said = f"The unique index {name} lets growth_brain hold one row for a client, and the worker writes many."
        yield failure("leftovers", said, f"Run: {drop}")
    if catalogue.exists("lead_actions", "action_type") and catalogue.exists("lead_actions", "action"):
        read = "action_type" if catalogue.has("lead_actions", "action_type") else "action"
        said = f"lead_actions has both action_type and action: only {read} is read."
        yield warning("leftovers", said, "Copy into it what stands only in the other, and drop the other.")
    strange = [column for column in catalogue.columns_of("growth_brain") if column not in SEED_COLUMNS]
    if strange:
        said = f"growth_brain has columns that the worker's rows leave empty: {', '.join(strange)}."
        yield warning("leftovers", said, "Let what reads them read growth_brain_latest.learning_snapshot.")
    for (name,) in conn.execute(query("read_tables_beside")).fetchall():
        said = f"The table {name} stands beside growth_brain, and the worker neither reads nor writes it."
        yield warning("leftovers", said, f"Once nothing reads it any more: DROP TABLE public.{name};")
    for (name,) in conn.execute(query("read_open_functions")).fetchall():
        said = f"The function {name} runs any SQL as its owner, and everybody may call it, the worker's role too."
        yield warning("leftovers", said, f"Run: REVOKE EXECUTE ON FUNCTION public.{name} FROM PUBLIC;")
