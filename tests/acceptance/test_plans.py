"""On a table with history the statements that every run repeats go by the indexes that schema/ has for them."""

import json
from datetime import timedelta

import psycopg
import pytest
from conftest import direct, settings_for
from psycopg import sql
from support import utc

from worker import fetching, reading
from worker.database.catalogue import read_catalogue
from worker.database.pool import open_pool
from worker.database.queries import query

AS_OF = utc("06-30 00:00")
CLIENT = "00000009-0000-4000-8000-000000000007"
FILL = """
INSERT INTO clients (client_id, business_name, email, api_key, password_hash)
SELECT ('00000009-0000-4000-8000-' || lpad(i::text, 12, '0'))::uuid, 'Client ' || i, i || '@example.com', i::text, '!'
FROM generate_series(1, 200) AS i;
INSERT INTO lead_memory (client_id, urgency, tone, confidence_score, ai_summary, "timestamp")
SELECT ('00000009-0000-4000-8000-' || lpad((1 + mod(i, 200))::text, 12, '0'))::uuid, 'High', 'Formal', 0.5,
    repeat('words ', 50), %(as_of)s::timestamptz - (i || ' minutes')::interval * 26
FROM generate_series(40000, 1, -1) AS i;
INSERT INTO lead_actions (lead_id, client_id, action_type, "timestamp")
SELECT l.id, l.client_id, k.kind, l."timestamp" FROM lead_memory AS l, (VALUES ('insert'), ('tag')) AS k (kind);
INSERT INTO growth_brain (client_id, event_type, learning_snapshot, created_at)
SELECT CASE WHEN mod(i, 201) > 0
    THEN ('00000009-0000-4000-8000-' || lpad(mod(i, 201)::text, 12, '0'))::uuid END, e.kind,
    jsonb_build_object('period_key', (d.day)::date::text, 'claim_key', i::text), d.day
FROM (VALUES ('engagement_score'), ('conversion'), ('pattern_detected'), ('conversion_prediction')) AS e (kind),
    generate_series(1, 150) AS i, LATERAL (SELECT %(as_of)s::timestamptz - (i || ' days')::interval) AS d (day),
    generate_series(1, 40) AS again
ON CONFLICT DO NOTHING;
"""


@pytest.fixture(scope="module")
def filled(shared_url):
    """A database with history, which tests only read."""
    with psycopg.connect(direct(shared_url), autocommit=True, cursor_factory=psycopg.ClientCursor) as conn:
        for statement in filter(str.strip, FILL.split(";")):
            conn.execute(statement, {"as_of": AS_OF})
        conn.execute("VACUUM ANALYZE")
    return shared_url


def scans(conn, statement, parameters):
    """How each table is read: its name, and the index or None."""
    with psycopg.ClientCursor(conn) as cursor:
        plan = cursor.execute(sql.SQL("EXPLAIN (FORMAT JSON) ") + statement, parameters).fetchone()[0]
    found = []

    def visit(node):
        if "Relation Name" in node or node["Node Type"] == "Bitmap Index Scan":
            found.append((node.get("Relation Name"), node["Node Type"], node.get("Index Name")))
        for child in node.get("Plans", []):
            visit(child)

    visit((json.loads(plan) if isinstance(plan, str) else plan)[0]["Plan"])
    return found


def assert_by_index(found, table, *indexes):
    """No sequential scan of the table, and one of the indexes in its place: which one depends on the rows."""
    assert not [scan for scan in found if scan[0] == table and scan[1] == "Seq Scan"], found
    assert {name for _, _, name in found} & set(indexes), found


def read_statements(monkeypatch, url, **how):
    """The packed statements that one reading sends, with their parameters."""
    sent = []
    fetch = fetching.fetch_row

    def note(conn, statement, parameters):
        sent.append((statement, dict(parameters)))
        return fetch(conn, statement, parameters)

    monkeypatch.setattr(fetching, "fetch_row", note)
    with open_pool(settings_for(url)) as database, database.read() as conn:
        leads, _ = reading.read_leads(conn, read_catalogue(conn), **how)
    assert len(leads) > 0
    return sent


def test_the_windows_are_read_by_time(filled, connect, monkeypatch):
    conn = connect(filled)
    leads, actions = read_statements(monkeypatch, filled, since=AS_OF - timedelta(days=60))
    assert_by_index(scans(conn, *leads), "lead_memory", "idx_lead_memory_timestamp")
    # whether their actions are looked up by lead or read whole is a matter of how many they are
    assert_by_index(scans(conn, *actions), "lead_memory", "idx_lead_memory_timestamp")


def test_the_leads_of_one_client_are_read_by_client_and_their_actions_by_lead(filled, connect, monkeypatch):
    conn = connect(filled)
    conn.execute("SET random_page_cost = 1.1")  # as on a solid-state disk
    leads, actions = read_statements(monkeypatch, filled, since=None, of_clients={CLIENT})
    assert_by_index(scans(conn, *leads), "lead_memory", "idx_lead_memory_client_id")
    assert_by_index(scans(conn, *actions), "lead_actions", "idx_lead_actions_lead_id")


OF_CLIENT = ("growth_brain_one_per_claim", "growth_brain_history", "idx_growth_brain_client_id")


@pytest.mark.parametrize(
    ("name", "parameters", "indexes"),
    [
        ("read_past_patterns", {"since": AS_OF - timedelta(days=5)}, ("idx_growth_brain_created_at",)),
        ("read_known_events", {"client_ids": [CLIENT]}, OF_CLIENT),
        (
            "delete_withdrawn_snapshots",
            {"event_type": "engagement_score", "period_key": "2026-06-29", "client_ids": [CLIENT], "with_global": False,
             "as_of": AS_OF, "keys": "[]"},
            OF_CLIENT,
        ),
        (
            "withdraw_events",
            {"client_ids": [CLIENT], "as_of": AS_OF, "on_record": [], "dated_leads": [], "said": []},
            (*OF_CLIENT, "growth_brain_foreign_events"),
        ),
        (
            "read_foreign_events_of_leads", {"lead_ids": ["x", "y"]}, ("growth_brain_foreign_events",),
        ),
    ],
)  # fmt: skip
def test_snapshots_are_found_by_index(filled, connect, name, parameters, indexes):
    slots = {"id_type": sql.SQL("uuid")} if "client_ids" in parameters else {}
    slots |= {"some": sql.SQL("")} if name == "read_past_patterns" else {}
    statement = query(name, **slots)
    assert_by_index(scans(connect(filled), statement, parameters), "growth_brain", *indexes)
