"""
Puts one set of leads, simulated or from a file, into the demo's database, and remembers which and what is true of it.

The demo's database holds one set at a time and nobody else's clients: that is what makes it safe to replace a set.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any

from psycopg import Connection, sql
from psycopg.types.json import Jsonb

from worker.errors import ConfigurationError, LeadsFileError
from worker.leads_file import BadRow, FileAction, FileClient, FileLead, GoodRow, LeadsFile
from worker.simulate import ActionRow, ClientRow, LeadRow, World

Facts = Mapping[str, Mapping[str, Any]]  # client_id -> what is known of the client as a member of the set

BATCH_ROWS = 10_000  # rows of a file held in memory at once
MAX_BAD_ROWS = 1_000  # bad rows kept for the report; the others are only counted
DEMO_LOCK = 7246018351030  # two demos at once: the second waits, and then finds the set loaded


@dataclass(frozen=True, slots=True)
class FileReport:
    """What became of a file: counts, the first bad rows, and the clients it made (their names as facts)."""

    n_leads: int
    n_conversions: int
    n_bad_rows: int
    bad_rows: tuple[BadRow, ...]
    facts: Facts
    unused_columns: tuple[str, ...] = ()

    def as_json(self) -> dict[str, Any]:
        """Give the file's part of `demo --json`; keys are only ever added."""
        bad = [{"line": row.line_number, "reason": row.reason} for row in self.bad_rows]
        return {
            "leads": self.n_leads,
            "conversions": self.n_conversions,
            "clients": len(self.facts),
            "bad_rows": self.n_bad_rows,
            "first_bad_rows": bad,
            "unused_columns": list(self.unused_columns),
        }


def load_world(conn: Connection[Any], world: World) -> Facts:
    """Copy a simulated world into clients, lead_memory and lead_actions, in one transaction; return its truth."""
    with conn.transaction():
        _copy_rows(conn, "clients", ClientRow._fields, world.clients)
        _copy_rows(conn, "lead_memory", LeadRow._fields, world.leads)
        _copy_rows(conn, "lead_actions", ActionRow._fields, world.actions)
    return {client_id: truth.facts() for client_id, truth in world.truths.items()}


def load_leads_file(
    conn: Connection[Any], leads_file: LeadsFile, *, on_progress: Callable[[int], None] | None = None
) -> FileReport:
    """
    Copy the good rows of a file into clients, lead_memory and lead_actions, in one transaction; report on the others.

    on_progress is called with the number of rows read so far, now and then.

    Raises
    ------
    LeadsFileError
        The file has no good row; nothing is loaded then.
    """
    facts: dict[str, dict[str, Any]] = {}
    bad_rows: list[BadRow] = []
    n_leads = n_conversions = n_bad_rows = 0
    rows = leads_file.rows()
    with conn.transaction():
        while batch := list(islice(rows, BATCH_ROWS)):
            good = [row for row in batch if isinstance(row, GoodRow)]
            bad = [row for row in batch if isinstance(row, BadRow)]
            bad_rows.extend(bad[: MAX_BAD_ROWS - len(bad_rows)])
            clients = {row.client.client_id: row.client for row in good if row.client.client_id not in facts}
            facts.update({client_id: {"business_name": c.business_name} for client_id, c in clients.items()})
            _copy_rows(conn, "clients", FileClient._fields, clients.values())
            _copy_rows(conn, "lead_memory", FileLead._fields, (row.lead for row in good))
            _copy_rows(conn, "lead_actions", FileAction._fields, (a for row in good for a in row.actions))
            n_leads += len(good)
            n_bad_rows += len(bad)
            n_conversions += sum(len(row.actions) == 2 for row in good)
            if on_progress is not None:
                on_progress(n_leads + n_bad_rows)
        if not n_leads:
            first = f"; line {bad_rows[0].line_number}: {bad_rows[0].reason}" if bad_rows else ""
            what = f"none of its {n_bad_rows} rows can be read{first}" if n_bad_rows else "it has a header and no rows"
            raise LeadsFileError(f"{leads_file.path} gives no leads: {what}")
    return FileReport(n_leads, n_conversions, n_bad_rows, tuple(bad_rows), facts, leads_file.unused)


def ensure_demo_set(conn: Connection[Any], origin: str, build: Callable[[Connection[Any]], Facts]) -> bool:
    """
    Make sure that the database holds the set named by origin, and no other; return whether it had to be loaded.

    A set that is there is left exactly as it is, whatever has been added to it. Another set is taken out first, with
    its snapshots and with what was learned from it. All in one transaction: after an error everything is as before.

    Parameters
    ----------
    origin : what the set is: "simulated:v1", or `LeadsFile.origin`.
    build : loads the set on this connection and returns what is true of each client it made (`load_world`, or
        `load_leads_file` and its report's facts); called only if needed.

    Raises
    ------
    ConfigurationError
        The database has clients that the demo did not put there.
    """
    with conn.transaction():
        conn.execute("SELECT pg_advisory_xact_lock(%s)", [DEMO_LOCK])
        _create_demo_set(conn)
        loaded = [row[0] for row in conn.execute("SELECT DISTINCT origin FROM worker.demo_set")]
        if loaded == [origin]:
            return False
        _ensure_only_demo_clients(conn)
        if loaded:
            _remove_demo_set(conn)
        facts = build(conn)
        with conn.cursor() as cursor:
            cursor.executemany(
                "INSERT INTO worker.demo_set (client_id, origin, facts) VALUES (%s, %s, %s)",
                [(client_id, origin, Jsonb(dict(known))) for client_id, known in facts.items()],
            )
        conn.execute("ANALYZE public.clients, public.lead_memory, public.lead_actions")
    return True


def read_demo_truth(conn: Connection[Any]) -> dict[str, dict[str, Any]]:
    """Read what is known to be true of the loaded set's clients: client_id -> facts; empty where there is no set."""
    if conn.execute("SELECT to_regclass('worker.demo_set') IS NULL").fetchone() == (True,):
        return {}
    return dict(conn.execute("SELECT client_id::text, facts FROM worker.demo_set ORDER BY client_id").fetchall())


def _create_demo_set(conn: Connection[Any]) -> None:
    if conn.execute("SELECT to_regclass('worker.demo_set') IS NOT NULL").fetchone() == (True,):
        return
    conn.execute(
        """
        CREATE TABLE worker.demo_set (
            client_id uuid PRIMARY KEY REFERENCES public.clients (client_id) ON DELETE CASCADE,
            origin    text NOT NULL,
            loaded_at timestamptz NOT NULL DEFAULT now(),
            facts     jsonb NOT NULL
        )
        """
    )
    conn.execute("ALTER TABLE worker.demo_set ENABLE ROW LEVEL SECURITY")


def _ensure_only_demo_clients(conn: Connection[Any]) -> None:
    found = conn.execute(
        "SELECT count(*) FROM public.clients WHERE client_id NOT IN (SELECT client_id FROM worker.demo_set)"
    ).fetchone()
    if found is not None and found[0]:
        theirs = (
            f"this database has {found[0]} client{'s' if found[0] > 1 else ''} that the demo did not put there, so "
            "the demo loads nothing into it: give the demo a folder of its own with WORKER_EMBEDDED_DIR"
        )
        raise ConfigurationError([theirs])


def _remove_demo_set(conn: Connection[Any]) -> None:
    """Take the loaded set out; its leads, actions and snapshots go with its clients."""
    conn.execute("DELETE FROM public.clients WHERE client_id IN (SELECT client_id FROM worker.demo_set)")
    # What spoke for all clients, and what was learned from them, is about clients that are no longer there.
    conn.execute("DELETE FROM public.growth_brain WHERE client_id IS NULL")
    for table in ("runs", "models"):
        if conn.execute("SELECT to_regclass(%s) IS NOT NULL", [f"worker.{table}"]).fetchone() == (True,):
            conn.execute(sql.SQL("DELETE FROM worker.{}").format(sql.Identifier(table)))


def _copy_rows(conn: Connection[Any], table: str, columns: Sequence[str], rows: Iterable[tuple[Any, ...]]) -> None:
    statement = sql.SQL("COPY public.{} ({}) FROM STDIN").format(
        sql.Identifier(table), sql.SQL(", ").join(map(sql.Identifier, columns))
    )
    with conn.cursor() as cursor, cursor.copy(statement) as copy:
        for row in rows:
            copy.write_row(row)
