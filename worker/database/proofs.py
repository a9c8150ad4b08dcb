"""Proves what our role can and cannot do by trying it, in transactions that are undone; no row of yours is touched."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any
from uuid import uuid4

import psycopg
from psycopg import sql
from psycopg.rows import class_row

from worker.database.catalogue import TABLES, Catalogue
from worker.database.pool import Connection, is_transient
from worker.database.queries import query
from worker.database.verdict import Inspection, failure, warning, well

# Secrets, and what leads wrote: no job asks for any of them.
PRIVATE_COLUMNS = {
    "clients": ("password_hash", "api_key", "smtp_password"),
    "lead_memory": ("email", "message", "ai_summary"),
}
UNTOUCHED = ("clients", "lead_memory", "lead_actions")  # read, and never written
EVENT_TYPES = (
    "engagement_score",
    "urgency_trend",
    "tone_distribution",
    "pattern_detected",
    "conversion_prediction",
    "conversion",
    "reversion",
    "accuracy_review",
)
OWN_ROLE = (
    "Make a role of its own and put it into DATABASE_URL: CREATE ROLE my_worker LOGIN PASSWORD '...' IN ROLE"
    " growth_worker;"
)


@dataclass(frozen=True, slots=True)
class Role:
    """What a role may do without being granted it."""

    is_superuser: bool
    bypasses_row_security: bool
    owns_tables: bool

    def describe(self) -> list[str]:
        """Say what is more than the worker needs, in words."""
        if self.is_superuser:
            return ["is a superuser"]
        owner = ["owns tables of the application"] if self.owns_tables else []
        return [*owner, *(["bypasses row-level security"] if self.bypasses_row_security else [])]


@dataclass(slots=True)
class Trials:
    """What was tried of what must not succeed: what was refused, what was not, and what failed for another reason."""

    refused: list[str] = field(default_factory=list)
    allowed: list[str] = field(default_factory=list)
    unclear: list[str] = field(default_factory=list)

    def note(self, what: str, error: psycopg.Error | None) -> None:
        """Sort one trial's outcome."""
        if error is None:
            self.allowed.append(what)
        elif isinstance(error, psycopg.errors.InsufficientPrivilege):
            self.refused.append(what)
        else:
            self.unclear.append(f"{what} ({error.sqlstate})")


def prove_restraint(conn: Connection, catalogue: Catalogue, *, own_server: bool) -> Iterator[Inspection]:
    """
    Try to read secrets and to change what the worker only reads: both must be refused.

    own_server : the server is the worker's own and has no other role, so that nothing is to be kept from it.
    """
    with conn.cursor(row_factory=class_row(Role)) as cursor:
        role = cursor.execute(query("read_role"), {"tables": list(TABLES)}).fetchone()
    reading, changing = try_reading(conn, catalogue), try_changing(conn, catalogue)
    privileged = role.describe() if role is not None else []
    if own_server:
        yield well("rights", "The server is the worker's own and has one role, which may do everything.")
    elif privileged or reading.allowed or changing.allowed:
        yield _warn_about_excess(catalogue.server.role_name, privileged, reading.allowed, changing.allowed)
    if privileged and catalogue.server.has_worker_role:  # then what growth_worker itself may do was not tried
        yield from _warn_about_growth_worker(conn)
    for name, trials, doing in (("private columns", reading, "reading"), ("application's rows", changing, "changing")):
        if trials.unclear:
            yield warning(name, f"It could not be tried whether {doing} is refused: {', '.join(trials.unclear)}.")
        elif trials.refused and not trials.allowed:
            yield well(name, f"Tried, and refused as it must be: {doing} {_by_table(trials.refused)}.")


def _warn_about_excess(role: str, privileged: list[str], readable: list[str], changeable: list[str]) -> Inspection:
    beyond = list(privileged)
    beyond += [f"may read {_by_table(readable)}"] if readable else []
    beyond += [f"may change {', '.join(changeable)}"] if changeable else []
    fix = OWN_ROLE
    if not privileged:
        tables = sorted({column.partition(".")[0] for column in readable} | set(changeable))
        revoked = " ".join(f"REVOKE ALL ON public.{table} FROM {role}, growth_worker, PUBLIC;" for table in tables)
        fix = f"Run as the owner: {revoked} and then `migrate`, unless the rights are another role's. {OWN_ROLE}"
    return warning("rights", f"The role {role} runs with more rights than it needs: it {', it '.join(beyond)}.", fix)


def _by_table(names: Iterable[str]) -> str:
    """Write table.column names shorter, as table(column, column); a table alone stays as it is."""
    tables: dict[str, list[str]] = {}
    for name in names:
        table, _, column = name.partition(".")
        tables.setdefault(table, []).extend([column] if column else [])
    return ", ".join(f"{table}({', '.join(columns)})" if columns else table for table, columns in tables.items())


def _warn_about_growth_worker(conn: Connection) -> Iterator[Inspection]:
    rows = conn.execute(query("read_overreach"), {"secrets": list(PRIVATE_COLUMNS["clients"])}).fetchall()
    if rows:
        names = ", ".join(row[0] for row in rows)
        yield warning(
            "rights",
            f"The role growth_worker may read secrets that it does not need: clients({names}).",
            "Run: REVOKE SELECT ON public.clients FROM growth_worker, PUBLIC; and then `migrate`.",
        )


def try_reading(conn: Connection, catalogue: Catalogue) -> Trials:
    """Try to read each private column that is there; not a single row is asked for."""
    trials = Trials()
    for table, columns in PRIVATE_COLUMNS.items():
        for column in columns:
            if catalogue.exists(table, column):
                slots = {"column": sql.Identifier(column), "table": sql.Identifier("public", table)}
                trials.note(f"{table}.{column}", attempt(conn, query("try_to_read", **slots)))
    return trials


def try_changing(conn: Connection, catalogue: Catalogue) -> Trials:
    """Try to add, change and remove rows of what is only read, and ask for the rights to a column as well."""
    trials = Trials()
    there = [table for table in UNTOUCHED if table in catalogue.tables]
    rights = dict(conn.execute(query("read_rights_to_change"), {"tables": there}).fetchall())
    for table in there:
        if catalogue.tables[table].kind not in ("r", "p"):
            continue
        slots = {"table": sql.Identifier("public", table)}
        of_client = catalogue.exists(table, "client_id")
        column = {"column": sql.Identifier("client_id" if of_client else catalogue.columns_of(table)[0])}
        outcomes = [
            attempt(conn, query("try_to_insert", **slots, **column)),
            attempt(conn, query("try_to_update", **slots, **column)),
            attempt(conn, query("try_to_delete", **slots)),
        ]
        succeeded = None in outcomes or bool(rights[table])
        others = [e for e in outcomes if e is not None and not isinstance(e, psycopg.errors.InsufficientPrivilege)]
        trials.note(table, None if succeeded else (others or outcomes)[0])
    return trials


def prove_writing(conn: Connection) -> Iterator[Inspection]:
    """Write, change and remove a row of every event type and one of the ledger; all of it is undone."""
    mark = {"mark": str(uuid4())}
    brain = {**mark, "event_types": list(EVENT_TYPES)}
    for name, table, steps, parameters, rows in (
        ("growth_brain", "growth_brain", ("try_snapshots", "change_tried_snapshots", "remove_tried_snapshots"),
         brain, len(EVENT_TYPES)),
        ("ledger", "worker.runs", ("try_run", "change_tried_run", "remove_tried_run"), mark, 1),
    ):  # fmt: skip
        yield _judge_writing(name, table, write_and_undo(conn, steps, parameters, rows))


def write_and_undo(
    conn: Connection, steps: tuple[str, ...], parameters: Mapping[str, Any], rows: int
) -> psycopg.Error | str | None:
    """Execute statements that must each find so many rows, and undo them; give the error, or the one that did not."""
    try:
        with conn.transaction(force_rollback=True):
            for step in steps:
                if conn.execute(query(step), parameters).rowcount != rows:
                    return step
    except psycopg.Error as exc:
        _raise_unless_told(exc)
        return exc
    return None


def attempt(conn: Connection, statement: sql.Composed) -> psycopg.Error | None:
    """Execute a statement in a savepoint that is undone, and give the server's refusal; None where there is none."""
    try:
        with conn.transaction(force_rollback=True):
            conn.execute(statement)
    except psycopg.Error as exc:
        _raise_unless_told(exc)
        return exc
    return None


def _judge_writing(name: str, table: str, outcome: psycopg.Error | str | None) -> Inspection:
    fix = f"Run `migrate`, which adds the policy growth_worker_writes, and look for restrictive policies of {table}."
    if outcome is None:
        kinds = " rows of every event type" if name == "growth_brain" else ""
        return well(name, f"Tried, and undone: {table} takes{kinds or ' rows'}, and lets them be changed and removed.")
    if isinstance(outcome, str):
        return failure(name, f"Row-level security keeps the worker from finding in {table} what it wrote there.", fix)
    if isinstance(outcome, psycopg.errors.InsufficientPrivilege):
        return failure(name, f"The role may not write to {table} what the jobs write there (42501).", fix)
    if isinstance(outcome, psycopg.errors.LockNotAvailable | psycopg.errors.QueryCanceled):
        return warning(name, f"Whether {table} can be written could not be tried: it is locked.", "Check again later.")
    rule = f", by {outcome.diag.constraint_name}" if outcome.diag.constraint_name else ""
    return failure(
        name,
        f"Trying it, {table} refused what the jobs write there ({outcome.sqlstate}{rule}).",
        "Look at the constraints and triggers of this table: they must let the worker's event types pass.",
    )


def _raise_unless_told(error: psycopg.Error) -> None:
    """Let errors pass that say nothing of the statement: the server went, or the connection did."""
    if is_transient(error):
        raise error
