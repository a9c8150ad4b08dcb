"""What this database has: installations of the product differ in their optional columns, types and rights."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from psycopg.rows import class_row

from worker.database.pool import Connection
from worker.database.queries import query

TABLES = ("clients", "lead_memory", "lead_actions", "prospect_candidates", "growth_brain", "prospect_outreach_log")
# in the schema worker; the catalogue names them worker.runs ...
OWN_TABLES = ("runs", "models", "adoptions", "watermarks", "migrations")

# growth_brain as the seed has it, and the types that hold the same values. The same list is in schema/001.
SEED_COLUMNS: Mapping[str, tuple[str, ...]] = {
    "id": ("uuid", "text", "varchar"),
    "client_id": ("uuid", "text", "varchar"),
    "event_type": ("text", "varchar"),
    "learning_snapshot": ("jsonb",),
    "insight_text": ("text", "varchar"),
    "confidence": ("numeric",),
    "created_at": ("timestamptz",),
}


@dataclass(frozen=True, slots=True)
class Column:
    """One column of a table: its type by PostgreSQL's short name (uuid, text, varchar, timestamptz, ...)."""

    schema_name: str
    table_name: str
    kind: str
    column_name: str
    type_name: str
    is_required: bool
    has_default: bool
    readable: bool


@dataclass(frozen=True, slots=True)
class Table:
    """One table or view as a whole, and what we may do with it; kind is PostgreSQL's relkind."""

    schema_name: str
    table_name: str
    kind: str
    estimated_rows: float
    row_security_active: bool
    may_select: bool
    may_insert: bool
    may_update: bool
    may_delete: bool
    may_use_schema: bool


@dataclass(frozen=True, slots=True)
class Policy:
    """A row-level security policy that applies to us; command: r(ead), a(dd), w(rite), d(elete) or * for all."""

    schema_name: str
    table_name: str
    command: str
    is_permissive: bool
    is_always_true: bool


@dataclass(frozen=True, slots=True)
class Index:
    """A usable btree index of one of the tables."""

    table_name: str
    index_name: str
    first_column: str | None
    is_unique: bool
    is_partial: bool
    is_key: bool  # no two rows of the whole table share its only column


@dataclass(frozen=True, slots=True)
class Server:
    """The server and our session on it."""

    version_number: int
    version: str
    role_name: str  # quoted where SQL needs it
    server_time: datetime
    has_private_schema: bool
    has_worker_role: bool
    is_idle_member: bool = False  # of growth_worker, without inheriting its rights
    encoding: str = "UTF8"
    brain_reference: str | None = None  # the column of clients that growth_brain.client_id refers to


@dataclass(frozen=True)
class Catalogue:
    """Tables and columns by name: "lead_memory", or "worker.runs" for those of the private schema."""

    server: Server
    tables: Mapping[str, Table]
    columns: Mapping[tuple[str, str], Column]
    policies: Sequence[Policy]
    indexes: Sequence[Index]

    def has(self, table: str, column: str) -> bool:
        """Whether the column is there and we may read it."""
        found = self.columns.get((table, column))
        return found is not None and found.readable

    def exists(self, table: str, column: str) -> bool:
        """Whether the column is there, readable or not."""
        return (table, column) in self.columns

    def type_of(self, table: str, column: str) -> str | None:
        """Give the column's type by PostgreSQL's short name (uuid, text, timestamptz, ...); None where it is absent."""
        found = self.columns.get((table, column))
        return None if found is None else found.type_name

    def columns_of(self, table: str) -> list[str]:
        """List a table's columns in their order."""
        return [column for owner, column in self.columns if owner == table]

    def is_unique(self, table: str, column: str) -> bool:
        """Whether no two rows share a value of the column; one key of several columns does not say so of the first."""
        return any(i.table_name == table and i.first_column == column and i.is_key for i in self.indexes)

    @property
    def row_security_active(self) -> frozenset[str]:
        """The tables whose rows are filtered by row-level security for us."""
        return frozenset(name for name, table in self.tables.items() if table.row_security_active)

    @property
    def growth_brain_shape(self) -> str | None:
        """Tell "seed" from "other"; None where there is no growth_brain."""
        if "growth_brain" not in self.tables:
            return None
        return "other" if self.growth_brain_differences() else "seed"

    def growth_brain_differences(self) -> list[str]:
        """List what about growth_brain is not as the seed has it, in words."""
        table = self.tables.get("growth_brain")
        if table is None:
            return []
        found = {name: column for (owner, name), column in self.columns.items() if owner == "growth_brain"}
        differences = [] if table.kind in ("r", "p") else ["it is not a table"]
        for name, types in SEED_COLUMNS.items():
            if name not in found:
                differences.append(f"no column {name}")
            elif found[name].type_name not in types:
                differences.append(f"{name} is {found[name].type_name}, not {types[0]}")
        if self.server.brain_reference not in (None, "client_id"):
            differences.append(f"client_id refers to clients.{self.server.brain_reference}, not to clients.client_id")
        if "id" in found and not found["id"].has_default:
            differences.append("id has no default")
        if "client_id" in found and found["client_id"].is_required:
            differences.append("client_id may not be null")
        differences += [
            f"{name} must be given"
            for name, column in found.items()
            if name not in SEED_COLUMNS and column.is_required and not column.has_default
        ]
        return differences


def read_catalogue(conn: Connection) -> Catalogue:
    """Read what the worker needs to know of this database, by five small queries of the system catalogue."""
    names: dict[str, Any] = {"tables": list(TABLES), "own": list(OWN_TABLES)}
    with conn.cursor(row_factory=class_row(Server)) as cursor:
        server = cursor.execute(query("read_server")).fetchone()
    if server is None:
        raise ValueError("the server gave no answer about itself")
    with conn.cursor(row_factory=class_row(Table)) as tables:
        found_tables = tables.execute(query("read_tables"), names).fetchall()
    with conn.cursor(row_factory=class_row(Column)) as columns:
        found_columns = columns.execute(query("read_columns"), names).fetchall()
    with conn.cursor(row_factory=class_row(Policy)) as policies:
        found_policies = policies.execute(query("read_policies"), names).fetchall()
    with conn.cursor(row_factory=class_row(Index)) as indexes:
        found_indexes = indexes.execute(query("read_indexes"), names).fetchall()
    return Catalogue(
        server=server,
        tables={_name(table): table for table in found_tables},
        columns={(_name(column), column.column_name): column for column in found_columns},
        policies=found_policies,
        indexes=found_indexes,
    )


def _name(item: Table | Column | Policy) -> str:
    return item.table_name if item.schema_name == "public" else f"{item.schema_name}.{item.table_name}"
