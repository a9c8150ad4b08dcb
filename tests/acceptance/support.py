"""What the acceptance tests share: the command, in this process or its own; rows put in; snapshots read back."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from io import StringIO
from pathlib import Path
from typing import Any

import psycopg
from psycopg import sql
from psycopg.conninfo import make_conninfo
from psycopg.rows import dict_row
from psycopg.types.json import Jsonb

from worker.database.embedded import SUPERUSER
from worker.run import main

PROJECT = Path(__file__).resolve().parents[2]
ANALYSES = ("engagement_score", "urgency_trend", "tone_distribution", "pattern_detection", "conversion_prediction")
SNAPSHOT_COLUMNS = "id::text, client_id::text, event_type, learning_snapshot, insight_text, confidence, created_at"


@dataclass(frozen=True)
class Outcome:
    """How a command ended: its exit code, its result and its log."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        """The result as one JSON document."""
        return json.loads(self.out)

    @property
    def json_lines(self) -> list[Any]:
        """The result as JSON lines."""
        return [json.loads(line) for line in self.out.splitlines()]


def as_the_worker(url: str | None, arguments: Sequence[object]) -> str | None:
    """With ACCEPTANCE_MEMBER set, whatever tests run as the owner runs as a member of growth_worker; not `migrate`."""
    if (
        url is None
        or not os.environ.get("ACCEPTANCE_MEMBER")
        or "migrate" in arguments
        or f"user={SUPERUSER} " not in url
    ):
        return url
    from conftest import LOGIN_ROLE  # benchmarks, which use this module too, have no conftest

    return make_conninfo(url, user=LOGIN_ROLE)


def clean_environment(url: str | None, **environment: str) -> dict[str, str]:
    """The environment of this process with these settings of the worker and no others."""
    kept = {k: v for k, v in os.environ.items() if not k.startswith("WORKER_") and k != "DATABASE_URL"}
    address = {} if url is None else {"DATABASE_URL": url}
    return {**kept, "WORKER_DATABASE_WAIT_SECONDS": "10", **address, **environment}


@contextmanager
def _as_in_a_process_of_its_own(environment: dict[str, str]) -> Iterator[None]:
    before = dict(os.environ)
    handlers = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    os.environ.clear()
    os.environ.update(environment)
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(before)
        for number, handler in handlers.items():
            signal.signal(number, handler)


def run_worker(url: str | None, *arguments: object, **environment: str) -> Outcome:
    """Run the command line in this process: what `python -m worker.run` does, without waiting for its imports."""
    out, err = StringIO(), StringIO()
    with (
        _as_in_a_process_of_its_own(clean_environment(as_the_worker(url, arguments), **environment)),
        redirect_stdout(out),
        redirect_stderr(err),
    ):
        code = main([str(argument) for argument in arguments])
    return Outcome(code, out.getvalue(), err.getvalue())


def start_worker(url: str | None, *arguments: object, **environment: str) -> subprocess.Popen[str]:
    """Start `python -m worker.run ...` as a process."""
    return start_python(url, "-m", "worker.run", *arguments, **environment)


def start_python(url: str | None, *arguments: object, **environment: str) -> subprocess.Popen[str]:
    """Start `python ...` as a process in the worker's environment."""
    return subprocess.Popen(
        [sys.executable, *map(str, arguments)],
        cwd=PROJECT,
        env=clean_environment(as_the_worker(url, arguments), **environment),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def finished(process: subprocess.Popen[str], timeout_seconds: float = 180) -> Outcome:
    """Wait for the process to end."""
    out, err = process.communicate(timeout=timeout_seconds)
    return Outcome(process.returncode, out, err)


def run_process(url: str | None, *arguments: object, **environment: str) -> Outcome:
    """Run `python -m worker.run ...` as a process to its end."""
    return finished(start_worker(url, *arguments, **environment))


def run_python(url: str | None, *arguments: object, **environment: str) -> Outcome:
    """Run `python ...` as a process to its end."""
    return finished(start_python(url, *arguments, **environment))


def utc(text: str) -> datetime:
    """Read "03-02 09:00" as that instant of 2025, and a longer text as what it says."""
    return datetime.fromisoformat(text if len(text) > 11 else f"2025-{text}").replace(tzinfo=UTC)


def numbered(kind: int, number: int) -> str:
    """Make a uuid that a person can recognise."""
    return f"{kind:08d}-0000-4000-8000-{number:012d}"


def insert(conn: psycopg.Connection[Any], table: str, **columns: Any) -> None:
    """Insert one row; lists and dicts go in as JSON."""
    values = {k: Jsonb(v) if isinstance(v, list | dict) else v for k, v in columns.items()}
    conn.execute(
        sql.SQL("INSERT INTO {} ({}) VALUES ({})").format(
            sql.Identifier(table),
            sql.SQL(", ").join(map(sql.Identifier, values)),
            sql.SQL(", ").join(map(sql.Placeholder, values)),
        ),
        values,
    )


def add_client(conn: psycopg.Connection[Any], number: int, **columns: Any) -> str:
    """Add a client of our own schema and give its client_id."""
    client_id = numbered(9, number)
    needed = {
        "business_name": f"Client {number}",
        "email": f"client-{number}@example.com",
        "api_key": f"key-{number}",
        "password_hash": "!",
    }
    insert(conn, "clients", client_id=client_id, **{**needed, **columns})
    return client_id


def add_lead(
    conn: psycopg.Connection[Any], client_id: str | None, lead_id: str, arrival: datetime, **columns: Any
) -> str:
    """Add a lead that arrived then, with its insert action, and give its id."""
    contact = columns.pop("timestamp", arrival)
    insert(conn, "lead_memory", id=lead_id, client_id=client_id, timestamp=contact, last_updated=contact, **columns)
    add_action(conn, client_id, lead_id, "insert", arrival)
    return lead_id


def add_action(
    conn: psycopg.Connection[Any], client_id: str | None, lead_id: str, kind: str, when: datetime, **columns: Any
) -> None:
    """Note something that was done with a lead."""
    insert(conn, "lead_actions", lead_id=lead_id, client_id=client_id, action_type=kind, timestamp=when, **columns)


def add_simple_leads(
    conn: psycopg.Connection[Any], client_id: str, kind: int, n: int, as_of: datetime, **columns: Any
) -> None:
    """Add n leads spread over the 60 days before as_of, alternating in urgency, tone and source."""
    for i in range(n):
        row = {
            "urgency": ("High", "Medium", "Low", None)[i % 4],
            "tone": ("Friendly", "Formal", "Direct")[i % 3],
            "confidence_score": (i % 10) / 10,
            "source": ("referral", "organic_search")[i % 2],
            **columns,
        }
        add_lead(conn, client_id, numbered(kind, i), as_of - timedelta(days=60 * (i + 0.5) / n), **row)


def snapshots(conn: psycopg.Connection[Any], *client_ids: str | None) -> list[dict[str, Any]]:
    """All rows of growth_brain, or those of some clients, in an order that does not depend on their ids."""
    with conn.cursor(row_factory=dict_row) as cursor:
        rows = cursor.execute(
            f"SELECT {SNAPSHOT_COLUMNS} FROM growth_brain ORDER BY client_id, event_type, created_at,"
            " learning_snapshot ->> 'claim_key'"
        ).fetchall()
    return [row for row in rows if not client_ids or row["client_id"] in client_ids]


def by_type(rows: Sequence[dict[str, Any]]) -> dict[str, dict[str, Any]]:
    """The rows of one client by event type, where each has one."""
    found = {row["event_type"]: row for row in rows}
    assert len(found) == len(rows)
    return found


def without(row: dict[str, Any], *keys: str) -> dict[str, Any]:
    """The row without its id and without these keys of its snapshot."""
    content = {k: v for k, v in row["learning_snapshot"].items() if k not in keys}
    return {**{k: v for k, v in row.items() if k != "id"}, "learning_snapshot": content}


def counts(conn: psycopg.Connection[Any], *tables: str) -> tuple[int, ...]:
    """How many rows some tables have."""
    found = []
    for table in tables:
        row = conn.execute(sql.SQL("SELECT count(*) FROM {}").format(sql.SQL(table))).fetchone()
        assert row is not None
        found.append(row[0])
    return tuple(found)
