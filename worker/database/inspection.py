"""Looks whether the database is as the worker needs it, and says of each thing that is not what to do about it."""

from collections.abc import Iterator
from datetime import UTC, datetime

from worker.database.address import describe_address
from worker.database.catalogue import OWN_TABLES, Catalogue, read_catalogue
from worker.database.migrations import WAY_OUT
from worker.database.pool import Connection, Database
from worker.database.proofs import prove_restraint, prove_writing
from worker.database.row_visibility import find_closed_tables, find_hidden_rows, tell_row_security
from worker.database.shortcomings import find_shortcomings, tell_clock
from worker.database.verdict import MIGRATE, Inspection, failure, stop_at_failures, well
from worker.settings import Settings

OLDEST_VERSION = 150000
INHERITANCE_BY_GRANT = 160000  # from here on a role's membership says whether it has the rights, no longer the role
UNIQUE_INDEX = "growth_brain_one_per_claim"

REQUIRED_COLUMNS = {"clients": ("client_id",), "lead_memory": ("id", "client_id", "timestamp")}


def inspect(database: Database, settings: Settings) -> list[Inspection]:
    """List what was found, worst first; what rests on something that is missing is looked at once that is mended."""
    own_server = settings.database_url == "embedded"
    with database.read() as conn:
        before = datetime.now(UTC)
        catalogue = read_catalogue(conn)
        after = datetime.now(UTC)
        found = find_failures(catalogue)
        known = catalogue.server.version_number >= OLDEST_VERSION  # an older one may not even understand the questions
        usable = known and bool(catalogue.tables) and catalogue.growth_brain_shape != "other"
        ready = not found
        if usable:
            hidden = list(find_hidden_rows(catalogue, conn))
            closed = any(item.name == "row-level security" for item in found)
            found += hidden if hidden or closed else [tell_row_security(catalogue)]
        if ready:
            found += find_shortcomings(conn, catalogue)
        found.append(tell_clock(catalogue.server.server_time, before, after))
        if not own_server:
            found += describe_address(conn.info.host, conn.info.port, conn.info.user)
    if usable:
        found += _prove(database, catalogue, own_server=own_server, ready=ready)
    if not any(item.status == "failure" for item in found):
        said = f"This is PostgreSQL {catalogue.server.version}, and it has the tables and rights that the jobs need."
        found.insert(0, well("database", said))
    order = {"failure": 0, "warning": 1, "ok": 2}
    return sorted(found, key=lambda item: order[item.status])


def _prove(database: Database, catalogue: Catalogue, *, own_server: bool, ready: bool) -> list[Inspection]:
    """Try what must and must not be possible, in a transaction that is undone."""
    found: list[Inspection] = []
    with database.write() as conn, conn.transaction(force_rollback=True):
        found += prove_restraint(conn, catalogue, own_server=own_server)
        if ready:  # otherwise it is known why it would fail
            found += prove_writing(conn)
    return found


def ensure_ready(catalogue: Catalogue) -> None:
    """Stop with DatabaseShapeError, every reason a sentence with its fix, unless the jobs can read and write here."""
    stop_at_failures(find_failures(catalogue))


def ensure_rows_visible(catalogue: Catalogue, conn: Connection) -> None:
    """Stop with DatabaseShapeError where row-level security shows us nothing of a table that has rows."""
    stop_at_failures(find_hidden_rows(catalogue, conn))


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
            failure(
                "server",
                f"This is PostgreSQL {server.version}, and the worker needs 15 or newer.",
                "Upgrade the server.",
            )
        ]
    if server.encoding != "UTF8":
        return [
            failure(
                "encoding",
                f"The database's encoding is {server.encoding}, which cannot hold what the worker writes.",
                "Use a database created with ENCODING 'UTF8'.",
            )
        ]
    if not catalogue.tables:
        return [failure("tables", "The database has none of the tables the worker reads.", MIGRATE)]
    if catalogue.growth_brain_shape == "other":
        return [
            failure(
                "growth_brain",
                f"growth_brain is here in another shape ({', '.join(catalogue.growth_brain_differences())}).",
                f"{WAY_OUT[0].upper()}{WAY_OUT[1:]}.",
            )
        ]
    return [*_missing(catalogue), *_missing_rights(catalogue), *find_closed_tables(catalogue)]


def _missing(catalogue: Catalogue) -> Iterator[Inspection]:
    for table, columns in REQUIRED_COLUMNS.items():
        if table not in catalogue.tables:
            yield failure("tables", f"There is no table {table}.", MIGRATE)
            continue
        absent = [column for column in columns if not catalogue.exists(table, column)]
        if absent:
            yield failure(
                "columns",
                f"The table {table} has no column {' and no column '.join(absent)}.",
                "Is this the right database? The worker cannot do without it.",
            )
    if "growth_brain" not in catalogue.tables:
        yield failure("growth_brain", "There is no table growth_brain.", MIGRATE)
    elif not any(index.index_name == UNIQUE_INDEX and index.is_unique for index in catalogue.indexes):
        yield failure(
            "unique index",
            f"The unique index {UNIQUE_INDEX}, which keeps snapshots from being written twice, is missing.",
            MIGRATE,
        )
    if not catalogue.server.has_private_schema:
        yield failure("private schema", "The private schema worker, where the runs are noted, is missing.", MIGRATE)
    else:
        absent = [table for table in OWN_TABLES if f"worker.{table}" not in catalogue.tables]
        if absent:
            yield failure("private schema", f"The schema worker has no table {', '.join(absent)}.", MIGRATE)
        elif not catalogue.exists("worker.runs", "succeeded_at"):
            yield failure("private schema", "The schema worker is that of an older release.", MIGRATE)


def _missing_rights(catalogue: Catalogue) -> Iterator[Inspection]:
    role = catalogue.server.role_name
    grant = f"GRANT growth_worker TO {role};"
    if catalogue.server.is_idle_member:
        by_grant = catalogue.server.version_number >= INHERITANCE_BY_GRANT
        grant = f"GRANT growth_worker TO {role} WITH INHERIT TRUE;" if by_grant else f"ALTER ROLE {role} INHERIT;"
    fix = f"Run `migrate` as the owner of the tables, and then, as an administrator: {grant}"
    for table, columns in REQUIRED_COLUMNS.items():
        unread = [c for c in columns if catalogue.exists(table, c) and not catalogue.has(table, c)]
        if unread:
            yield failure("rights", f"The role {role} may not read {table}({', '.join(unread)}).", fix)
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
            yield failure("rights", f"The role {role} has no right to {', '.join(lacking)} on growth_brain.", fix)
    own = [table for name, table in catalogue.tables.items() if name.startswith("worker.")]
    if any(not (t.may_use_schema and t.may_select and t.may_insert and t.may_update and t.may_delete) for t in own):
        yield failure("rights", f"The role {role} may not use the tables of the schema worker.", fix)
