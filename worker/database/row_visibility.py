"""Tells a table whose rows row-level security hides from one that is empty: by policies, and by signs of rows."""

from collections.abc import Iterator

import psycopg
from psycopg import sql

from worker.database.catalogue import Catalogue, Policy
from worker.database.pool import Connection, is_transient
from worker.database.queries import query
from worker.database.verdict import Inspection, failure, warning, well

NAME = "row-level security"
SAYS_NOTHING = ("53", "55", "57", "58")  # classes of errors: resources, locks, an operator's intervention, the system
READ_TABLES = ("clients", "lead_memory", "lead_actions", "growth_brain")


def find_closed_tables(catalogue: Catalogue) -> Iterator[Inspection]:
    """Find tables where no policy lets us in at all: we would read zero rows there, and without an error."""
    role = catalogue.server.role_name
    fix = f"Run `migrate` (it adds a policy for growth_worker) and: GRANT growth_worker TO {role};"
    for name in sorted(catalogue.row_security_active):
        if name.startswith("prospect_"):
            continue
        permissive = {policy.command for policy in _policies_of(catalogue, name) if policy.is_permissive}
        needed = ("r", "a", "w", "d") if name == "growth_brain" or name.startswith("worker.") else ("r",)
        if any(command not in permissive and "*" not in permissive for command in needed):
            yield failure(NAME, f"Row-level security hides the rows of {name} from the role {role}.", fix)


def find_hidden_rows(catalogue: Catalogue, conn: Connection) -> Iterator[Inspection]:
    """Where policies let us in on a condition: look whether anything is seen. Many compare with a user we are not."""
    for name in READ_TABLES:
        table = catalogue.tables.get(name)
        if table is None or not table.row_security_active:
            continue
        reading = [policy for policy in _policies_of(catalogue, name) if policy.command in ("r", "*")]
        open_to_all = any(p.is_permissive and p.is_always_true for p in reading)
        restricted = any(not p.is_permissive and not p.is_always_true for p in reading)
        if any(p.is_permissive for p in reading) and (restricted or not open_to_all):
            yield _look_through_condition(catalogue, conn, name, restricted=restricted)


def tell_row_security(catalogue: Catalogue) -> Inspection:
    """Say what row-level security means for this role where nothing is wrong with it."""
    if catalogue.row_security_active.isdisjoint(READ_TABLES):
        return well(NAME, "Row-level security hides nothing from this role: it applies to none of the tables.")
    return well(NAME, "Row-level security hides nothing from this role: its policies let it see every row.")


def _look_through_condition(catalogue: Catalogue, conn: Connection, name: str, *, restricted: bool) -> Inspection:
    role = catalogue.server.role_name
    fix = f"Run `migrate` (it adds an open policy) and: GRANT growth_worker TO {role};"
    if restricted:
        fix = "Look at the restrictive policies of this table: they must not apply to the worker's role."
    try:
        # growth_brain is written as well as read: what its policies hide from us shows when a row is tried there
        hidden = name != "growth_brain" and _may_count(catalogue, name) and _hides_all(conn, name)
    except psycopg.Error as exc:
        if is_transient(exc) or (exc.sqlstate or "")[:2] in SAYS_NOTHING:
            raise
        # current_setting('app.client')::uuid, for one, raises where nobody set it
        return failure(NAME, f"A row-level security policy of {name} fails for the role {role} ({exc.sqlstate}).", fix)
    if hidden:
        said = f"Row-level security shows the role {role} no row of {name}, which is not empty."
        return failure(NAME, said, fix)
    return warning(NAME, f"Row-level security may hide some rows of {name}.", fix)


def _hides_all(conn: Connection, name: str) -> bool:
    with conn.transaction():  # a savepoint: a policy that raises must not end the caller's transaction
        visible = conn.execute(query("any_row_visible", table=sql.Identifier("public", name))).fetchone()
        if visible is not None and visible[0]:
            return False
        signs = conn.execute(query("has_signs_of_rows"), {"table": f"public.{name}"}).fetchone()
    return bool(signs is not None and signs[0])


def _policies_of(catalogue: Catalogue, name: str) -> list[Policy]:
    schema, _, table = name.rpartition(".")
    return [p for p in catalogue.policies if (p.schema_name, p.table_name) == (schema or "public", table)]


def _may_count(catalogue: Catalogue, table: str) -> bool:
    return any(catalogue.has(table, column) for column in catalogue.columns_of(table))
