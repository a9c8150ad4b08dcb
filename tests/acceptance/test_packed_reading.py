"""Columns packed by the server come out as a plain SELECT gives them, row by row, whatever stands in them."""

import time
from dataclasses import fields, is_dataclass
from datetime import datetime, timedelta

import numpy as np
import pytest
from conftest import settings_for
from pooler import PGBOUNCER, pooled
from psycopg import sql
from psycopg.conninfo import make_conninfo
from psycopg.types.json import Jsonb
from support import add_action, add_client, add_lead, numbered, utc

from worker import reading
from worker.arranging import arrange
from worker.database import pool
from worker.database.catalogue import read_catalogue
from worker.database.pool import open_pool
from worker.leads import to_microseconds
from worker.reading import DETAILS, read_leads

LEADS = """
SELECT l.id::text, l.client_id::text, l."timestamp"::text, l.urgency, l.tone, l.confidence_score::float8, l.source,
    l.intent, l.language, l.current_tag, l.archived, l.deleted, l.is_test,
    l.last_updated::text, l.client_closed_at::text,
    l.outcome_status, l.urgency_history::text, l.tone_history::text, l.confidence_history::text, l.no_sale_at::text
FROM lead_memory AS l
"""
ACTIONS = """
SELECT a.lead_id::text, a."timestamp"::text, a.id::text, a.action_type, a.tag, a.conversion_outcome, a.reversion_reason
FROM lead_actions AS a
"""
HISTORY = (
    '[{"value": "Élevée", "timestamp": "2026-01-03T10:00:00Z"}, {"value": "Low", "timestamp": "2026-02-03T10:00:00Z"}]'
)


def microseconds(text):
    if text is None or "infinity" in text:
        return None
    return to_microseconds(datetime.fromisoformat(text))


def plainly(conn):
    conn.execute("SET TIME ZONE 'UTC'")
    leads = [
        tuple(microseconds(v) if k in (2, 13, 14, 19) else v for k, v in enumerate(row))
        for row in conn.execute(LEADS).fetchall()
    ]
    actions = [(row[0], microseconds(row[1]), *row[2:]) for row in conn.execute(ACTIONS).fetchall()]
    return [row for row in leads if not row[12]], actions


def same(a, b, path=""):
    if is_dataclass(a):
        for f in fields(a):
            same(getattr(a, f.name), getattr(b, f.name), f"{path}.{f.name}")
    elif hasattr(a, "tolist"):
        x, y = a.tolist(), b.tolist()
        if getattr(a, "dtype", None) == np.float64:
            assert np.array_equal(a, b, equal_nan=True), path
        else:
            assert x == y, path
    else:
        assert a == b, path


@pytest.fixture
def odd(database_url, connect):
    """Rows of every kind that a database may hold."""
    conn = connect(database_url)
    clients = [add_client(conn, number) for number in (1, 2)]
    when = utc("03-01 10:00")
    columns = [
        {},
        {"urgency": "Élevée", "tone": "très urgente", "confidence_score": 0.07, "source": "a  \té", "intent": "🔥"},
        {"urgency": "", "tone": "", "source": "", "intent": "", "language": "", "current_tag": ""},
        {"urgency": "\x01\x1f", "tone": "a\nb", "source": "ÿ", "intent": "\u00ff", "language": "FR-ca"},
        {"urgency_history": Jsonb([]), "tone_history": None, "confidence_history": None},
        {"urgency": "Low", "urgency_history": Jsonb(HISTORY)},
        {"confidence_history": Jsonb([0.5]), "tone_history": Jsonb("[]")},
        {"archived": True}, {"deleted": True, "archived": True}, {"is_test": True},
        {"outcome_status": "client_closed"},
        {"client_closed_at": utc("03-05 10:00"), "outcome_status": "client_closed", "current_tag": "Converti"},
        {"no_sale_at": utc("03-05 11:00"), "outcome_status": "no_sale"},
    ]  # fmt: skip
    for i, held in enumerate(columns):
        add_lead(conn, clients[i % 2], numbered(1, i), when, **held)
    conn.execute("UPDATE lead_memory SET \"timestamp\" = 'infinity' WHERE id = %s", (numbered(1, 3),))
    conn.execute("UPDATE lead_memory SET \"timestamp\" = '-infinity' WHERE id = %s", (numbered(1, 7),))
    for i, updated in ((8, "1970-01-01"), (9, None), (10, "2025-03-09 10:00Z")):
        conn.execute("UPDATE lead_memory SET last_updated = %s WHERE id = %s", (updated, numbered(1, i)))
    kinds = ("insert", "tag", "note_added", "outcome_update", "🔥")
    for i in range(len(columns)):
        for k, kind in enumerate(kinds[: 1 + i % 5]):
            outcome, reason = (None, True, False)[(i + k) % 3], (None, "é", " ")[(i * k) % 3]
            about = {"tag": (None, "Converti", "")[k % 3], "conversion_outcome": outcome, "reversion_reason": reason}
            add_action(conn, clients[i % 2], numbered(1, i), kind, utc(f"03-0{1 + k} 12:00"), **about)
    return conn, database_url


def test_packed_columns_hold_what_the_rows_hold(odd):
    conn, url = odd
    with open_pool(settings_for(url)) as database, database.read() as first:
        catalogue = read_catalogue(first)
        packed, report = read_leads(first, catalogue, None)
    rows, actions = plainly(conn)
    same(packed, arrange(packed.clients, rows, actions))
    assert (report.leads, report.test_leads, report.repeated, report.orphans) == (len(rows), 1, 0, 0)


@pytest.fixture
def larger(odd):
    """The same, and so much more that both tables have several pages."""
    conn, url = odd
    conn.execute(
        "UPDATE lead_memory AS l SET message ="
        " (SELECT string_agg(md5(l.id::text || n::text), '') FROM generate_series(1, 50) AS n)"
    )
    conn.execute(
        """
        INSERT INTO lead_actions (lead_id, client_id, action_type, tag, "timestamp")
        SELECT a.lead_id, a.client_id, a.action_type, 'tag ' || n, a."timestamp" + n * interval '1 hour'
        FROM lead_actions AS a, generate_series(1, 9) AS n
        """
    )
    for table in ("lead_memory", "lead_actions"):
        assert conn.execute("SELECT pg_relation_size(%s) / 8192", (table,)).fetchone()[0] >= 3
    return conn, url


@pytest.mark.parametrize("beside", [False, True])
def test_pieces_and_a_second_connection_change_nothing(larger, monkeypatch, beside):
    conn, url = larger
    rows, actions = plainly(conn)
    for pages in (1, 2, 65_536):
        monkeypatch.setattr(reading, "PIECE_PAGES", pages)
        with open_pool(settings_for(url)) as database, database.read() as first:
            packed, report = read_leads(
                first, read_catalogue(first), None, beside=database.read_beside if beside else None
            )
        same(packed, arrange(packed.clients, rows, actions))
        assert report.leads == len(rows)


def test_slices_of_time_change_nothing(larger, monkeypatch):
    conn, url = larger
    conn.execute('ALTER TABLE lead_memory ALTER "timestamp" DROP NOT NULL')
    conn.execute('UPDATE lead_memory SET "timestamp" = NULL WHERE id = (SELECT min(id::text)::uuid FROM lead_memory)')
    conn.execute(
        'UPDATE lead_memory SET "timestamp" = to_timestamp(0) WHERE id = (SELECT max(id::text)::uuid FROM lead_memory)'
    )
    (newest,) = conn.execute('SELECT max("timestamp") FROM lead_memory WHERE isfinite("timestamp")').fetchone()
    since = newest - timedelta(days=40)
    with open_pool(settings_for(url)) as database, database.read() as first:
        catalogue = read_catalogue(first)
        alone, report = read_leads(first, catalogue, since)
        assert 2 < len(alone) < conn.execute("SELECT count(*) FROM lead_memory").fetchone()[0]
        monkeypatch.setattr(reading, "MANY_CLIENTS", 0)
        for slices, days in ((2, 10), (6, 10), (3, 0.5)):
            monkeypatch.setattr(reading, "SLICES", slices)
            monkeypatch.setattr(reading, "SLICE_DAYS", days)
            sliced, again = read_leads(first, catalogue, since, beside=database.read_beside)
            same(sliced, alone)
            assert again == report


def test_two_connections_see_one_instant(larger):
    conn, url = larger
    with open_pool(settings_for(url)) as database, database.read() as first:
        catalogue = read_catalogue(first)
        before, _ = read_leads(first, catalogue, None)
        conn.execute("DELETE FROM lead_actions")
        conn.execute("DELETE FROM lead_memory WHERE client_id = (SELECT min(client_id::text)::uuid FROM clients)")
        same(read_leads(first, catalogue, None, beside=database.read_beside)[0], before)


def ensure_one_does_it_all(url):
    with open_pool(settings_for(url)) as database, database.read() as first:
        catalogue = read_catalogue(first)
        with database.read_beside(first) as second:
            assert second is None
        alone, _ = read_leads(first, catalogue, None)
        same(read_leads(first, catalogue, None, beside=database.read_beside)[0], alone)


def test_where_a_second_connection_is_refused_one_does_it_all(larger):
    conn, url = larger
    name = sql.Identifier(conn.info.dbname)
    conn.execute("CREATE ROLE one_at_a_time LOGIN CONNECTION LIMIT 1")
    try:
        conn.execute(sql.SQL("GRANT ALL ON DATABASE {} TO one_at_a_time").format(name))
        conn.execute("GRANT pg_read_all_data TO one_at_a_time")
        ensure_one_does_it_all(make_conninfo(url, user="one_at_a_time"))
    finally:
        conn.execute("DROP OWNED BY one_at_a_time")
        conn.execute("DROP ROLE one_at_a_time")


@pytest.mark.skipif(not PGBOUNCER.exists(), reason=f"no PgBouncer: {PGBOUNCER}")
def test_behind_a_pooler_with_one_place_nobody_waits_for_a_second(larger, monkeypatch):
    """It lets the second in, and would answer it when the first has gone."""
    monkeypatch.setattr(pool, "SECOND_SECONDS", 0.5)
    _, url = larger
    with pooled(url, pool_size=1) as pooler:
        started = time.monotonic()
        ensure_one_does_it_all(pooler.through(url))
        assert time.monotonic() - started < 20


def test_what_goes_wrong_beside_is_told_and_leaves_nothing_running(larger, monkeypatch):
    conn, url = larger
    monkeypatch.setattr(reading, "_action_statements", lambda *_: [sql.SQL("SELECT pg_sleep(60)")])
    monkeypatch.setattr(reading, "_read_lead_columns", lambda *_: 1 / 0)
    with open_pool(settings_for(url)) as database, pytest.raises(ZeroDivisionError), database.read() as first:
        read_leads(first, read_catalogue(first), None, beside=database.read_beside)
    asleep = """
        SELECT count(*) FROM pg_stat_activity
        WHERE state = 'active' AND strpos(query, 'pg_sleep(60)') > 0 AND pid <> %s
    """
    assert conn.execute(asleep, (conn.info.backend_pid,)).fetchone()[0] == 0


def test_what_nobody_asks_for_is_unknown_and_the_rest_is_as_it_was(odd):
    conn, url = odd
    with open_pool(settings_for(url)) as database, database.read() as first:
        packed, _ = read_leads(first, read_catalogue(first), None, None, {"tone", "source"})
    place = {"urgency": 3, "tone": 4, "confidence": 5, "source": 6, "intent": 7, "language": 8}
    unread = {place[name] for name in DETAILS} - {place["tone"], place["source"]}
    rows, actions = plainly(conn)
    same(
        packed,
        arrange(packed.clients, [tuple(None if k in unread else v for k, v in enumerate(r)) for r in rows], actions),
    )


def test_no_rows_are_no_leads(database_url):
    with open_pool(settings_for(database_url)) as database, database.read() as first:
        packed, report = read_leads(first, read_catalogue(first), None)
    assert len(packed) == report.leads == 0
