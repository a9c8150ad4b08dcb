"""Looks whether the database is as the worker needs it, and says of each thing that is not what to do about it."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Literal

from psycopg import sql

from worker.database.catalogue import OWN_TABLES, Catalogue, read_catalogue
from worker.database.migrations import WAY_OUT
from worker.database.pool import Connection, Database
from worker.database.queries import query
from worker.errors import DatabaseShapeError
from worker.settings import Settings

OLDEST_VERSION = 150000
LARGEST_CLOCK_SKEW_SECONDS = 5.0  # as_of is read from this machine's clock, and compared with the server's rows
MIGRATE = "Run `python -m worker.run migrate` as the owner of the tables."
UNIQUE_INDEX = "growth_brain_one_per_claim"

REQUIRED_COLUMNS = {"clients": ("client_id",), "lead_memory": ("id", "client_id", "timestamp")}
SECRET_COLUMNS = ("password_hash", "api_key", "smtp_password")

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

Status = Literal["ok", "warning", "failure"]


@dataclass(frozen=True, slots=True)
class Inspection:
    """One thing looked at: how it is, in a sentence, and what to do where it is not well."""

    name: str
    status: Status
    message: str
    fix: str = ""


def inspect(database: Database, settings: Settings) -> list[Inspection]:
    """Look at everything and list what was found, worst first; where the tables are not ours to use, only that."""
    del settings  # the limits of today are constants
    with database.read() as conn:
        before = datetime.now(UTC)
        catalogue = read_catalogue(conn)
        after = datetime.now(UTC)
        found = find_failures(catalogue)
        if catalogue.tables and catalogue.growth_brain_shape != "other":
            found += [*_hidden_rows(catalogue, conn), *_warn_about_overreach(catalogue, conn)]
            found += _warn_about_missing(catalogue)
        found += _warn_about_clock(catalogue.server.server_time, before, after)
    order = {"failure": 0, "warning": 1, "ok": 2}
    return sorted(found, key=lambda item: order[item.status]) or [_all_well(catalogue)]


def ensure_ready(catalogue: Catalogue) -> None:
    """Stop with DatabaseShapeError, every reason a sentence with its fix, unless the jobs can read and write here."""
    failures = find_failures(catalogue)
    if failures:
        raise DatabaseShapeError([f"{failure.message} {failure.fix}".strip() for failure in failures])


def ensure_rows_visible(catalogue: Catalogue, conn: Connection) -> None:
    """Stop with DatabaseShapeError where row-level security shows us nothing of a table that has rows."""
    failures = [found for found in _hidden_rows(catalogue, conn) if found.status == "failure"]
    if failures:
        raise DatabaseShapeError([f"{failure.message} {failure.fix}".strip() for failure in failures])


def require_ready(database: Database) -> Catalogue:
    """Read what this database has, and stop with DatabaseShapeError where it is not as needed or hides its rows."""
    catalogue = database.retrying(read_catalogue, read_only=True)
    ensure_ready(catalogue)
    database.retrying(lambda conn: ensure_rows_visible(catalogue, conn), read_only=True)
    return catalogue


def find_failures(catalogue: Catalogue) -> list[Inspection]:
    """List what keeps the worker from working, as far as the catalogue tells (it does not see the rows)."""
    server = catalogue.server
    if server.version_number < OLDEST_VERSION:
        return [
            _failure(
                "server",
                f"This is PostgreSQL {server.version}, and the worker needs 15 or newer.",
                "Upgrade the server.",
            )
        ]
    if server.encoding != "UTF8":
        return [
            _failure(
                "encoding",
                f"The database's encoding is {server.encoding}, which cannot hold what the worker writes.",
                "Use a database created with ENCODING 'UTF8'.",
            )
        ]
    if not catalogue.tables:
        return [_failure("tables", "The database has none of the tables the worker reads.", MIGRATE)]
    if catalogue.growth_brain_shape == "other":
        return [
            _failure(
                "growth_brain",
                f"growth_brain is here in another shape ({', '.join(catalogue.growth_brain_differences())}).",
                f"{WAY_OUT[0].upper()}{WAY_OUT[1:]}.",
            )
        ]
    return [*_missing(catalogue), *_missing_rights(catalogue), *_hidden_by_policies(catalogue)]


def _missing(catalogue: Catalogue) -> Iterator[Inspection]:
    for table, columns in REQUIRED_COLUMNS.items():
        if table not in catalogue.tables:
            yield _failure("tables", f"There is no table {table}.", MIGRATE)
            continue
        absent = [column for column in columns if not catalogue.exists(table, column)]
        if absent:
            yield _failure(
                "columns",
                f"The table {table} has no column {' and no column '.join(absent)}.",
                "Is this the right database? The worker cannot do without it.",
            )
    if "growth_brain" not in catalogue.tables:
        yield _failure("growth_brain", "There is no table growth_brain.", MIGRATE)
    elif not any(index.index_name == UNIQUE_INDEX and index.is_unique for index in catalogue.indexes):
        yield _failure(
            "unique index",
            f"The unique index {UNIQUE_INDEX}, which keeps snapshots from being written twice, is missing.",
            MIGRATE,
        )
    if not catalogue.server.has_private_schema:
        yield _failure("private schema", "The private schema worker, where the runs are noted, is missing.", MIGRATE)
    else:
        absent = [table for table in OWN_TABLES if f"worker.{table}" not in catalogue.tables]
        if absent:
            yield _failure("private schema", f"The schema worker has no table {', '.join(absent)}.", MIGRATE)


def _missing_rights(catalogue: Catalogue) -> Iterator[Inspection]:
    role = catalogue.server.role_name
    grant = f"GRANT growth_worker TO {role};"
    fix = f"Run `migrate` as the owner of the tables, and then, as an administrator: {grant}"
    for table, columns in REQUIRED_COLUMNS.items():
        unread = [c for c in columns if catalogue.exists(table, c) and not catalogue.has(table, c)]
        if unread:
            yield _failure("rights", f"The role {role} may not read {table}({', '.join(unread)}).", fix)
    brain = catalogue.tables.get("growth_brain")
    if brain is not None:
        wanted = {
            "SELECT": brain.may_select,
            "INSERT": brain.may_insert,
            "UPDATE": brain.may_update,
            "DELETE": brain.may_delete,
        }
        lacking = [right for right, granted in wanted.items() if not (granted and brain.may_use_schema)]
        if lacking:
            yield _failure("rights", f"The role {role} has no right to {', '.join(lacking)} on growth_brain.", fix)
    own = [table for name, table in catalogue.tables.items() if name.startswith("worker.")]
    if any(not (t.may_use_schema and t.may_select and t.may_insert and t.may_update and t.may_delete) for t in own):
        yield _failure("rights", f"The role {role} may not use the tables of the schema worker.", fix)


def _hidden_by_policies(catalogue: Catalogue) -> Iterator[Inspection]:
    """Find tables where no policy lets us in at all: we would read zero rows there, and without an error."""
    fix = (
        f"Run `migrate` (it adds a policy for growth_worker) and: GRANT growth_worker TO {catalogue.server.role_name};"
    )
    for name in sorted(catalogue.row_security_active):
        schema, _, table = name.rpartition(".")
        if name.startswith("prospect_"):
            continue
        permissive = {
            policy.command
            for policy in catalogue.policies
            if policy.table_name == table and policy.schema_name == (schema or "public") and policy.is_permissive
        }
        needed = ("r", "a", "w", "d") if name == "growth_brain" or schema == "worker" else ("r",)
        if any(command not in permissive and "*" not in permissive for command in needed):
            yield _failure(
                "row-level security",
                f"Row-level security hides the rows of {name} from the role {catalogue.server.role_name}.",
                fix,
            )


def _hidden_rows(catalogue: Catalogue, conn: Connection) -> Iterator[Inspection]:
    """Where policies let us in on a condition: look whether anything is seen. Many compare with a user we are not."""
    for name in ("clients", "lead_memory", "lead_actions", "growth_brain"):
        table = catalogue.tables.get(name)
        if table is None or not table.row_security_active:
            continue
        mine = [p for p in catalogue.policies if (p.schema_name, p.table_name) == ("public", name)]
        reading = [p for p in mine if p.command in ("r", "*")]
        open_to_all = any(p.is_permissive and p.is_always_true for p in reading)
        restricted = any(not p.is_permissive and not p.is_always_true for p in reading)
        if not any(p.is_permissive for p in reading) or (open_to_all and not restricted):
            continue
        fix = f"Run `migrate` (it adds an open policy) and: GRANT growth_worker TO {catalogue.server.role_name};"
        if restricted:
            fix = "Look at the restrictive policies of this table: they must not apply to the worker's role."
        row = (
            conn.execute(query("any_row_visible", table=sql.Identifier("public", name))).fetchone()
            if _may_count(catalogue, name)
            else None
        )
        if row is not None and not row[0] and table.estimated_rows != 0 and name != "growth_brain":
            yield _failure(
                "row-level security",
                f"Row-level security shows the role {catalogue.server.role_name} no row of {name}.",
                fix,
            )
        else:
            yield Inspection("row-level security", "warning", f"Row-level security may hide some rows of {name}.", fix)


def _may_count(catalogue: Catalogue, table: str) -> bool:
    return any(catalogue.has(table, column) for column in catalogue.columns_of(table))


def _warn_about_overreach(catalogue: Catalogue, conn: Connection) -> Iterator[Inspection]:
    if not catalogue.server.has_worker_role or "clients" not in catalogue.tables:
        return
    rows = conn.execute(query("read_overreach"), {"secrets": list(SECRET_COLUMNS)}).fetchall()
    if rows:
        names = ", ".join(row[0] for row in rows)
        yield Inspection(
            "rights",
            "warning",
            f"The role growth_worker may read secrets that it does not need: clients({names}).",
            "Run: REVOKE SELECT ON public.clients FROM growth_worker, PUBLIC; and then `migrate`.",
        )


def _warn_about_missing(catalogue: Catalogue) -> Iterator[Inspection]:
    indexed = {(i.table_name, i.first_column) for i in catalogue.indexes if not i.is_partial}
    table = catalogue.tables.get("lead_memory")
    if table is not None and table.kind in ("r", "p") and ("lead_memory", "timestamp") not in indexed:
        yield Inspection(
            "index", "warning", 'lead_memory has no index on "timestamp", by which the windows are read.', MIGRATE
        )
    if "lead_actions" not in catalogue.tables:
        yield Inspection(
            "tables",
            "warning",
            "There is no table lead_actions: touches and the dates of conversions are unknown.",
            MIGRATE,
        )
    for (name, column), consequence in OPTIONAL_COLUMNS.items():
        if name in catalogue.tables and not catalogue.has(name, column):
            there = catalogue.exists(name, column)
            yield Inspection(
                "columns",
                "warning",
                f"{name}.{column} {'may not be read' if there else 'is not there'}: {consequence}.",
                MIGRATE if there else "",
            )
    if "lead_actions" in catalogue.tables and not (
        catalogue.has("lead_actions", "action_type") or catalogue.has("lead_actions", "action")
    ):
        yield Inspection(
            "columns", "warning", "lead_actions has neither action_type nor action: no action counts as a touch.", ""
        )


def _warn_about_clock(server_time: datetime, before: datetime, after: datetime) -> Iterator[Inspection]:
    """Compare clocks; the server's answer lies between two readings of ours."""
    skew = max((server_time - after).total_seconds(), (before - server_time).total_seconds())
    if skew > LARGEST_CLOCK_SKEW_SECONDS:
        yield Inspection(
            "clock",
            "warning",
            f"This machine's clock and the database's differ by {skew:.0f} s.",
            "Let both follow a time server (NTP).",
        )


def _all_well(catalogue: Catalogue) -> Inspection:
    return Inspection("database", "ok", f"PostgreSQL {catalogue.server.version} is as the worker needs it.")


def _failure(name: str, message: str, fix: str) -> Inspection:
    return Inspection(name, "failure", message, fix)
