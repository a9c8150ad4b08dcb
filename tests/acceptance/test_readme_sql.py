"""Every SQL block of the README is run on a database that the jobs have filled, and gives what its words say."""

import re
from datetime import UTC, datetime, timedelta

import numpy as np
import psycopg
import pytest
from conftest import as_role
from psycopg import sql
from psycopg.rows import dict_row
from readme_blocks import blocks
from support import add_action, add_client, add_lead, add_simple_leads, insert, numbered, run_worker

from worker.demo_data import load_world
from worker.simulate import PlantedChange, company_world

CLIENT = "550e8400-e29b-41d4-a716-446655440000"  # as the README has it
LEAD = "0b0e7c1c-7d0a-4c39-9c2e-0d1f5a1f2b3c"
NOW = datetime.now(UTC)  # the queries ask for what is new
MIDNIGHT = NOW.replace(hour=0, minute=0, second=0, microsecond=0)
DAY = (MIDNIGHT - timedelta(days=1)).date().isoformat()
SQL = blocks("sql")
QUERIES = [block for block in SQL if block.startswith("SELECT")]
pytestmark = pytest.mark.parametrize("server", ["embedded"], indirect=True)  # nothing here asks which PostgreSQL it is


def block_with(words: str) -> str:
    (found,) = [block for block in SQL if words in block]
    return found


@pytest.fixture(scope="module")
def filled(server):
    """Companies after all jobs, the first with the README's client_id and more urgent leads than before."""
    url = server.create_database(server.template)
    world = company_world(
        np.random.default_rng(5), MIDNIGHT, 10, 200, {0: PlantedChange(high_share=(0.1, 0.8), leads_per_window=90)}
    )
    with psycopg.connect(url, autocommit=True) as conn:
        load_world(conn, world)
        first = str(world.clients[0].client_id)
        with conn.transaction():
            conn.execute("SET LOCAL session_replication_role = replica")  # the key and what refers to it, one by one
            for table in ("clients", "lead_memory", "lead_actions"):
                move = sql.SQL("UPDATE {} SET client_id = %s WHERE client_id = %s").format(sql.Identifier(table))
                conn.execute(move, [CLIENT, first])
        outcome = run_worker(url, "all", "--as-of", DAY)
        assert outcome.code == 0, outcome.err
        yield url, conn
    server.drop_database(url)


def rows(conn, query):
    with conn.cursor(row_factory=dict_row) as cursor:
        return cursor.execute(query).fetchall()


@pytest.mark.usefixtures("filled")
def test_every_block_is_known_here():
    """One more in the README is one more to be tried."""
    assert len(SQL) == len(QUERIES) + 3
    assert len(QUERIES) == 4


def test_what_is_new_for_a_client(filled):
    _, conn = filled
    found = rows(conn, QUERIES[0])
    assert [row["event_type"] for row in found] == [
        "conversion_prediction", "engagement_score", "tone_distribution", "urgency_trend",
    ]  # fmt: skip
    assert all(row["insight_text"] and 0 < row["confidence"] < 1 for row in found)


def test_the_score_over_time(filled):
    _, conn = filled
    (found,) = rows(conn, QUERIES[1])
    assert found["day"].isoformat() == DAY
    assert found["low"] < found["score"] < found["high"]


def test_patterns_that_are_on(filled):
    _, conn = filled
    found = rows(conn, QUERIES[2])
    assert {row["pattern"] for row in found} >= {"urgency_increasing"}
    assert all(row["since"] == DAY and row["recommendation"] for row in found)
    assert [row["confidence"] for row in found] == sorted((row["confidence"] for row in found), reverse=True)


def test_whom_to_call(filled):
    _, conn = filled
    found = rows(conn, QUERIES[3])
    assert 1 <= len(found) <= 10
    assert [row["probability"] for row in found] == sorted((row["probability"] for row in found), reverse=True)
    assert any(row["name"] for row in found)
    assert all(row["first_reason"] for row in found)


def test_no_query_reads_the_whole_table(filled):
    """Beside many other rows an index answers each, as the README says."""
    _, conn = filled
    with conn.transaction(force_rollback=True):
        conn.execute(
            "INSERT INTO growth_brain (client_id, event_type, learning_snapshot, created_at)"
            " SELECT client_id, event_type, jsonb_build_object('period_key', day::text, 'claim_key', id::text),"
            " created_at - day * interval '1 day' FROM growth_brain, generate_series(1, 300) AS day"
            " WHERE event_type NOT IN ('conversion', 'reversion') AND client_id IS NOT NULL"
        )
        conn.execute("ANALYZE growth_brain")
        conn.execute("SET LOCAL enable_seqscan = off")  # few leads are read whole sooner than looked up
        plans = ["\n".join(line for (line,) in conn.execute(f"EXPLAIN {query}").fetchall()) for query in QUERIES]
    by_index = re.compile(rf"Index Cond: \(+client_id = '{CLIENT}'")  # of which index depends on the sizes
    assert [plan for plan in plans if not by_index.search(plan) or "Seq Scan on growth_brain" in plan] == []


SUPABASE_AUTH = """
    CREATE ROLE authenticated;
    CREATE SCHEMA auth;
    CREATE FUNCTION auth.uid() RETURNS uuid LANGUAGE sql STABLE AS
        $$ SELECT nullif(current_setting('request.jwt.claim.sub', true), '')::uuid $$;
    GRANT USAGE ON SCHEMA auth TO authenticated;
"""


def test_users_read_the_rows_of_their_clients_and_no_others(filled):
    """As Supabase's API asks: in the role of whoever is logged in, named by a setting of the transaction."""
    _, conn = filled
    somebody = numbered(3, 1)
    visible = "SELECT DISTINCT client_id::text FROM {}"
    with conn.transaction(force_rollback=True):
        conn.execute(SUPABASE_AUTH)
        conn.execute(block_with("CREATE POLICY"))
        conn.execute("INSERT INTO client_users VALUES (%s, %s)", [somebody, CLIENT])
        conn.execute("SET LOCAL ROLE authenticated")
        for user, expected in ((somebody, [(CLIENT,)]), (numbered(3, 2), []), ("", [])):
            conn.execute("SELECT set_config('request.jwt.claim.sub', %s, true)", [user])
            for table in ("growth_brain", "growth_brain_latest"):
                assert conn.execute(visible.format(table)).fetchall() == expected
        conn.execute("SELECT set_config('request.jwt.claim.sub', %s, true)", [somebody])
        assert len(rows(conn, QUERIES[0])) == 4
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            conn.execute("DELETE FROM growth_brain")


def test_without_a_policy_of_yours_a_user_reads_nothing(filled):
    _, conn = filled
    with conn.transaction(force_rollback=True):
        conn.execute("CREATE ROLE authenticated; GRANT SELECT ON growth_brain, growth_brain_latest TO authenticated")
        conn.execute("SET LOCAL ROLE authenticated")
        assert conn.execute("SELECT count(*) FROM growth_brain_latest").fetchone() == (0,)


def test_the_login_does_the_work(filled):
    url, conn = filled
    statement = block_with("CREATE ROLE my_worker")
    try:
        conn.execute(statement)
        outcome = run_worker(as_role(url, "my_worker"), "all", "--as-of", DAY, "--json")
        assert outcome.code == 0, outcome.err
        assert {job["updated"] for job in outcome.json["jobs"]} == {0}
    finally:
        conn.execute("DROP ROLE IF EXISTS my_worker")


def everything(conn):
    """Whatever stands in a table of the product or of the worker, as text."""
    tables = conn.execute(
        "SELECT schemaname, tablename FROM pg_tables WHERE schemaname IN ('public', 'worker') ORDER BY 1, 2"
    ).fetchall()
    found = {}
    for schema, table in tables:
        whole = sql.SQL("SELECT t::text FROM {} AS t").format(sql.Identifier(schema, table))
        found[f"{schema}.{table}"] = "\n".join(text for (text,) in conn.execute(whole))
    return found


def test_a_lead_that_is_erased_leaves_no_trace(database_url, connect):
    """Neither its id nor its name is anywhere afterwards, and later runs bring nothing back."""
    conn, as_of = connect(database_url), datetime(2025, 3, 31, tzinfo=UTC)
    client = add_client(conn, 1)
    add_simple_leads(conn, client, 1, 20, as_of)
    add_lead(conn, client, LEAD, as_of - timedelta(days=9), name="Zephyrine Quill", urgency="High")
    run = ("all", "--as-of")
    assert run_worker(database_url, *run, "2025-03-24").code == 0
    add_action(conn, client, LEAD, "tag", as_of - timedelta(days=5), tag="Converted", conversion_outcome=True)
    add_action(conn, client, LEAD, "tag", as_of - timedelta(days=2), tag="Active", conversion_outcome=False,
               reversion_reason="Other: moved away")  # fmt: skip
    insert(conn, "growth_brain", client_id=client, event_type="conversion", learning_snapshot={"lead_id": LEAD},
           insight_text="Lead Zephyrine converted")  # fmt: skip
    assert run_worker(database_url, *run, "2025-03-30").code == 0
    traces = ("Zephyrine", LEAD)
    before = everything(conn)
    assert all(trace in before["public.growth_brain"] for trace in traces)
    predictions = re.findall(rf'"high_value_leads".*{LEAD}', before["public.growth_brain"])
    assert predictions  # its id stands among the promising ones, too

    conn.execute(block_with("DELETE FROM lead_memory"))
    assert run_worker(database_url, *run, "2025-03-30").code == 0
    after = everything(conn)
    assert [(table, trace) for table, text in after.items() for trace in traces if trace in text] == []
    assert after["public.growth_brain"].count("\n") >= before["public.growth_brain"].count("\n") - 3
