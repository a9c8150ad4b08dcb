"""The schema on real servers: from nothing, twice, beside what a user already has, and with the rights it gives."""

import hashlib
import shutil
import subprocess
import uuid
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import psycopg
import pytest
from conftest import POSTGRESQL_15, TestServer, as_role, migrate_url, run_server, settings_for
from psycopg.types.json import Jsonb

from worker.database.catalogue import read_catalogue
from worker.database.migrations import migrate, schema_files
from worker.database.pool import open_pool
from worker.database.queries import query
from worker.errors import DatabaseShapeError

PSQL = POSTGRESQL_15 / "psql" if POSTGRESQL_15.is_dir() else Path(shutil.which("psql") or "")
SEED_TABLES = {
    "clients",
    "lead_memory",
    "lead_actions",
    "prospect_candidates",
    "growth_brain",
    "prospect_outreach_log",
}

# Everything that can be seen of the objects of schema public, a line each; our additions are named in ADDITIONS.
PICTURE = """
    SELECT 'column', c.relname, a.attname, concat_ws(' ', format_type(a.atttypid, a.atttypmod), a.attnotnull,
           pg_get_expr(d.adbin, d.adrelid)), a.attnum::text
    FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0
    LEFT JOIN pg_attrdef d ON d.adrelid = c.oid AND d.adnum = a.attnum
    WHERE c.relnamespace = 'public'::regnamespace AND c.relkind IN ('r', 'p', 'v')
    UNION ALL
    SELECT 'table', relname, '', concat_ws(' ', oid, relfilenode, relrowsecurity, relforcerowsecurity, relowner), ''
    FROM pg_class WHERE relnamespace = 'public'::regnamespace AND relkind IN ('r', 'p', 'v')
    UNION ALL
    SELECT 'constraint', conrelid::regclass::text, conname, pg_get_constraintdef(oid), ''
    FROM pg_constraint WHERE connamespace = 'public'::regnamespace
    UNION ALL
    SELECT 'index', tablename, indexname, indexdef, '' FROM pg_indexes WHERE schemaname = 'public'
    UNION ALL
    SELECT 'policy', tablename, policyname, concat_ws(' ', cmd, roles, qual, with_check), ''
    FROM pg_policies WHERE schemaname = 'public'
    ORDER BY 1, 2, 3, 5
"""
ADDITIONS = {
    "growth_brain_one_per_claim",
    "growth_brain_history",
    "growth_brain_foreign_events",
    "idx_lead_memory_timestamp",
    "idx_lead_actions_lead_id",
    "idx_lead_actions_timestamp",
    "growth_worker_reads",
    "growth_worker_writes",
}

# An installation as real ones are: text ids, lead_actions.action, no source, wider numbers.
USERS_DATABASE = """
    CREATE TABLE clients (id uuid PRIMARY KEY DEFAULT gen_random_uuid(), client_id text UNIQUE NOT NULL,
        business_name text NOT NULL, language text NOT NULL, password_hash text NOT NULL, api_key text,
        is_test boolean);
    CREATE TABLE lead_memory (id varchar(255) PRIMARY KEY, client_id text, name varchar(255), email varchar(255),
        message text NOT NULL, tone varchar(100), urgency varchar(50), confidence_score decimal(5,2),
        current_tag varchar(100), "timestamp" timestamptz NOT NULL DEFAULT now());
    CREATE INDEX leads_by_time ON lead_memory ("timestamp");
    CREATE TABLE lead_actions (id uuid PRIMARY KEY DEFAULT gen_random_uuid(),
        lead_id varchar(255) NOT NULL REFERENCES lead_memory(id) ON DELETE CASCADE,
        client_id text, action varchar(50) NOT NULL, tag varchar(100), "timestamp" timestamptz NOT NULL DEFAULT now());
    CREATE POLICY mine ON clients FOR SELECT USING (false);
    INSERT INTO clients VALUES (default, 'c-1', 'Maple', 'en', 'secret', 'key', false);
    INSERT INTO lead_memory (id, client_id, message, confidence_score) VALUES ('lead_1_a', 'c-1', 'hello', 1.70);
    INSERT INTO lead_actions (lead_id, client_id, action) VALUES ('lead_1_a', 'c-1', 'insert');
"""
OLD_GROWTH_BRAIN = """
    CREATE TABLE growth_brain (id uuid PRIMARY KEY DEFAULT gen_random_uuid(), client_id uuid,
        analysis_period_start timestamptz NOT NULL, analysis_period_end timestamptz NOT NULL, total_leads int,
        engagement_score numeric(5,2), created_at timestamptz DEFAULT now());
    CREATE INDEX idx_growth_brain_client_id ON growth_brain (client_id);
    INSERT INTO growth_brain (analysis_period_start, analysis_period_end) VALUES (now(), now());
"""


def picture(conn, tables=None):
    rows = conn.execute(PICTURE).fetchall()
    return [row for row in rows if tables is None or row[1] in tables]


def add_client(conn, **columns):
    client_id = columns.pop("client_id", str(uuid.uuid4()))
    conn.execute(
        "INSERT INTO clients (client_id, business_name, email, api_key, password_hash)"
        " VALUES (%s, 'Maple', %s, %s, 'x')",
        [client_id, f"{client_id}@example.org", client_id],
    )
    return client_id


def add_snapshot(conn, client_id, event_type="engagement_score", **snapshot):
    return conn.execute(
        "INSERT INTO growth_brain (client_id, event_type, learning_snapshot, confidence) VALUES (%s, %s, %s, 0.8)"
        " RETURNING id",
        [client_id, event_type, Jsonb(snapshot)],
    ).fetchone()[0]


def run_psql(url, file):
    return subprocess.run(
        [PSQL, "-X", "-v", "ON_ERROR_STOP=1", "-f", file, url], capture_output=True, text=True, timeout=60, check=False
    )


def test_from_nothing_and_again(empty_database_url, connect):
    first = migrate_url(empty_database_url)
    conn = connect(empty_database_url)
    before = picture(conn)
    second = migrate_url(empty_database_url)
    assert {row[1] for row in before if row[0] == "table"} == SEED_TABLES | {"growth_brain_latest"}
    assert "Created the table public.growth_brain." in first
    assert "The table public.growth_brain is already there: left as it is." in second
    assert not [sentence for sentence in second if sentence.startswith("Created")]
    assert picture(conn) == before
    applied = [row[0] for row in conn.execute("SELECT name FROM worker.migrations ORDER BY name")]
    assert applied == [file.name for file in schema_files()]


@pytest.mark.skipif(not PSQL.is_file(), reason="no psql on this machine")
def test_psql_gives_the_same_schema_twice(empty_database_url, database_url, connect):
    for _ in range(2):
        for file in schema_files():
            done = run_psql(empty_database_url, file)
            assert done.returncode == 0, done.stderr

    def without_oids(rows):
        return [row for row in rows if row[0] != "table"]

    assert without_oids(picture(connect(empty_database_url))) == without_oids(picture(connect(database_url)))


@pytest.mark.skipif(not PSQL.is_file(), reason="no psql on this machine")
def test_psql_refuses_another_growth_brain_in_every_file(empty_database_url, connect):
    conn = connect(empty_database_url)
    conn.execute(OLD_GROWTH_BRAIN)
    before = picture(conn)
    results = [run_psql(empty_database_url, file) for file in schema_files()]
    assert [done.returncode for done in results] == [3] * len(results)
    assert "analysis_period_start" in results[0].stderr
    assert "RENAME TO growth_brain_old" in results[0].stderr
    assert picture(conn) == before
    assert conn.execute("SELECT to_regnamespace('worker')").fetchone() == (None,)


def test_growth_brain_is_the_seeds_to_the_letter(database_url, empty_database_url, connect):
    reference = """
        CREATE TABLE clients (client_id uuid UNIQUE NOT NULL);
        CREATE TABLE public.growth_brain (
          id                UUID PRIMARY KEY DEFAULT gen_random_uuid(),
          client_id         UUID REFERENCES clients(client_id) ON DELETE CASCADE,
          event_type        TEXT NOT NULL,
          learning_snapshot JSONB,
          insight_text       TEXT,
          confidence        NUMERIC(3,2) CHECK (confidence >= 0 AND confidence <= 1),
          created_at        TIMESTAMPTZ DEFAULT NOW()
        );
        CREATE INDEX idx_growth_brain_client_id ON growth_brain(client_id);
        CREATE INDEX idx_growth_brain_event_type ON growth_brain(event_type);
        CREATE INDEX idx_growth_brain_created_at ON growth_brain(created_at DESC);
        CREATE INDEX idx_growth_brain_confidence ON growth_brain(confidence DESC);
        CREATE INDEX idx_growth_brain_snapshot ON growth_brain USING GIN (learning_snapshot);
    """
    connect(empty_database_url).execute(reference)
    wanted = [row for row in picture(connect(empty_database_url), {"growth_brain"}) if row[0] != "table"]
    found = [row for row in picture(connect(database_url), {"growth_brain"}) if row[0] != "table"]
    assert [row for row in found if row[2] not in ADDITIONS] == wanted
    assert {row[2] for row in found} & ADDITIONS == {
        "growth_brain_one_per_claim",
        "growth_brain_history",
        "growth_brain_foreign_events",
        "growth_worker_writes",
    }


def test_what_the_application_records_never_fails_for_an_index_of_ours(empty_database_url, connect):
    """Neither its rows that are there when the schema comes, nor those that it writes later, however long an id is."""
    conn = connect(empty_database_url)
    migrate_url(empty_database_url)
    conn.execute("DROP INDEX growth_brain_foreign_events")
    long_id = "".join(hashlib.sha256(bytes([number])).hexdigest() for number in range(100))  # does not compress
    record = "INSERT INTO growth_brain (event_type, learning_snapshot) VALUES ('conversion', %s)"
    conn.execute(record, [Jsonb({"lead_id": long_id})])
    migrate_url(empty_database_url)
    conn.execute(record, [Jsonb({"lead_id": long_id, "conversion_value": 5})])
    wanted = {"lead_ids": [long_id, "another"]}
    assert len(conn.execute(query("read_foreign_events_of_leads"), wanted).fetchall()) == 2
    wanted = {"lead_ids": [long_id[:-1]]}
    assert conn.execute(query("read_foreign_events_of_leads"), wanted).fetchall() == []


def test_nowhere_is_there_a_conversion_value(database_url, connect):
    names = connect(database_url).execute(
        "SELECT column_name FROM information_schema.columns WHERE table_schema IN ('public', 'worker')"
    )
    assert not [name for (name,) in names if "value" in name]


def test_an_existing_database_is_completed_and_nothing_of_it_altered(empty_database_url, connect):
    conn = connect(empty_database_url)
    conn.execute(USERS_DATABASE)
    tables = {"clients", "lead_memory", "lead_actions"}
    before, rows = picture(conn, tables), conn.execute("SELECT * FROM clients, lead_memory, lead_actions").fetchall()
    said = migrate_url(empty_database_url)
    after = picture(conn, tables)
    assert [row for row in after if row[2] not in ADDITIONS] == before
    assert {row[2] for row in after} & ADDITIONS == {
        "idx_lead_actions_lead_id",
        "idx_lead_actions_timestamp",
        "growth_worker_reads",
    }
    assert conn.execute("SELECT * FROM clients, lead_memory, lead_actions").fetchall() == rows
    assert "The table public.lead_memory is already there: left as it is." in said
    assert "An index on public.lead_memory(timestamp DESC) is already there." in said
    with open_pool(settings_for(empty_database_url)) as database, database.read() as reading:
        catalogue = read_catalogue(reading)
    assert catalogue.growth_brain_shape == "seed"
    assert catalogue.type_of("growth_brain", "client_id") == "text"
    assert catalogue.has("lead_actions", "action")
    assert not catalogue.has("lead_memory", "source")
    conn.execute("INSERT INTO growth_brain (client_id, event_type) VALUES ('c-1', 'x')")
    conn.execute("DELETE FROM clients")
    assert conn.execute("SELECT count(*) FROM growth_brain").fetchone() == (0,)


def test_missing_tables_take_the_type_of_the_keys_that_are_there(empty_database_url, connect):
    conn = connect(empty_database_url)
    conn.execute("CREATE TABLE clients (client_id varchar(80), business_name text)")
    conn.execute('CREATE TABLE lead_memory (id text PRIMARY KEY, client_id varchar(80), "timestamp" timestamptz)')
    said = migrate_url(empty_database_url)
    types = "SELECT format_type(atttypid, atttypmod) FROM pg_attribute WHERE attrelid = 'lead_actions'::regclass"
    assert [row[0] for row in conn.execute(f"{types} AND attname IN ('lead_id', 'client_id') ORDER BY attnum")] == [
        "text",
        "character varying(80)",
    ]
    assert (
        "public.clients(client_id) is not unique, so public.growth_brain does not refer to it by a foreign key." in said
    )


def test_another_growth_brain_is_named_and_nothing_is_touched(empty_database_url, connect):
    conn = connect(empty_database_url)
    conn.execute(OLD_GROWTH_BRAIN)
    before = picture(conn)
    with pytest.raises(DatabaseShapeError) as caught:
        migrate_url(empty_database_url)
    (problem,) = caught.value.problems
    assert caught.value.exit_code == 3
    assert "no column event_type" in problem
    assert "analysis_period_start" in problem
    assert "ALTER TABLE public.growth_brain RENAME TO growth_brain_old" in problem
    assert picture(conn) == before
    assert conn.execute("SELECT to_regnamespace('worker')").fetchone() == (None,)


def test_the_way_out_works(empty_database_url, connect):
    conn = connect(empty_database_url)
    conn.execute(OLD_GROWTH_BRAIN)
    conn.execute("ALTER TABLE public.growth_brain RENAME TO growth_brain_old")
    before = picture(conn, {"growth_brain_old"})
    assert "Created the table public.growth_brain." in migrate_url(empty_database_url)
    assert picture(conn, {"growth_brain_old"}) == before


@pytest.mark.parametrize(
    ("change", "difference"),
    [
        ("ALTER TABLE growth_brain ALTER learning_snapshot TYPE json", "learning_snapshot is json, not jsonb"),
        ("ALTER TABLE growth_brain ALTER client_id SET NOT NULL", "client_id may not be null"),
        ("ALTER TABLE growth_brain ADD period text NOT NULL", "period must be given"),
        ("ALTER TABLE growth_brain ALTER id DROP DEFAULT", "id has no default"),
        ("ALTER TABLE growth_brain RENAME insight_text TO insight", "no column insight_text"),
    ],
)
def test_python_and_sql_agree_on_the_shape(database_url, connect, change, difference):
    conn = connect(database_url)
    conn.execute("DROP VIEW growth_brain_latest; DROP INDEX growth_brain_one_per_claim, idx_growth_brain_snapshot")
    conn.execute(change)
    with open_pool(settings_for(database_url)) as database, database.read() as reading:
        assert read_catalogue(reading).growth_brain_differences() == [difference]
    with pytest.raises(psycopg.errors.RaiseException, match=difference):
        conn.execute("SELECT worker.ensure_database_fits()")


def test_wider_types_and_extra_columns_are_no_other_shape(database_url, connect):
    conn = connect(database_url)
    conn.execute("DROP VIEW growth_brain_latest")
    conn.execute("ALTER TABLE growth_brain ADD is_test boolean DEFAULT false, ALTER confidence TYPE numeric(5,2)")
    migrate_url(database_url)
    with open_pool(settings_for(database_url)) as database, database.read() as reading:
        assert read_catalogue(reading).growth_brain_shape == "seed"


def test_somebody_elses_schema_worker_is_left_alone(empty_database_url, connect):
    conn = connect(empty_database_url)
    conn.execute("CREATE SCHEMA worker; CREATE TABLE worker.jobs (id int)")
    with pytest.raises(DatabaseShapeError, match='schema named "worker" that is not this worker'):
        migrate_url(empty_database_url)
    assert conn.execute("SELECT count(*) FROM pg_class WHERE relnamespace = 'worker'::regnamespace").fetchone() == (1,)


def test_tables_of_another_owner_are_named(server: TestServer, empty_database_url, connect):
    conn = connect(empty_database_url)
    conn.execute(USERS_DATABASE)
    conn.execute("CREATE ROLE not_the_owner LOGIN")
    try:
        conn.execute("GRANT CREATE ON SCHEMA public TO not_the_owner")
        for problem in (r'may not create the schema "worker"', r"does not own public\.clients, public\.lead_actions"):
            with pytest.raises(DatabaseShapeError, match=problem):
                migrate_url(as_role(empty_database_url, "not_the_owner"))
            conn.execute(
                psycopg.sql.SQL("GRANT CREATE ON DATABASE {} TO not_the_owner").format(
                    psycopg.sql.Identifier(conn.info.dbname)
                )
            )
    finally:
        conn.execute("DROP OWNED BY not_the_owner")
        server.admin.execute("DROP ROLE not_the_owner")


def test_two_migrations_at_once(empty_database_url):
    with ThreadPoolExecutor(2) as threads:
        said = list(threads.map(migrate_url, [empty_database_url] * 2))
    for sentence in ("Created the table public.growth_brain.", "Created the private schema worker."):
        assert sum(sentence in one for one in said) == 1


def test_two_databases_of_a_new_server_at_once_and_a_role_without_createrole():
    """Roles are the server's: two first migrations race for growth_worker, and not everybody may create it."""
    with run_server(None) as fresh:
        fresh.admin.execute("CREATE ROLE small LOGIN")
        url = fresh.create_database()
        name = psycopg.conninfo.conninfo_to_dict(url)["dbname"]
        fresh.admin.execute(psycopg.sql.SQL("ALTER DATABASE {} OWNER TO small").format(psycopg.sql.Identifier(name)))
        with pytest.raises(DatabaseShapeError, match="may not create the role growth_worker") as caught:
            migrate_url(as_role(url, "small"))
        assert "CREATE ROLE growth_worker NOLOGIN" in str(caught.value)

        urls = [fresh.create_database() for _ in range(4)]
        with ThreadPoolExecutor(4) as threads:
            said = list(threads.map(migrate_url, urls))
        assert all("Created the table public.growth_brain." in one for one in said)
        # With the role there, an owner who may create no role can migrate.
        assert "Created the table public.growth_brain." in migrate_url(as_role(url, "small"))


SEED_QUERIES = [
    """SELECT
  event_type,
  insight_text,
  learning_snapshot->'metrics' as metrics,
  confidence,
  created_at
FROM growth_brain
WHERE client_id = '550e8400-e29b-41d4-a716-446655440000'
ORDER BY created_at DESC
LIMIT 10;""",
    """SELECT
  client_id,
  learning_snapshot->>'lead_name' as lead_name,
  learning_snapshot->>'days_to_convert' as days,
  created_at
FROM growth_brain
WHERE event_type = 'conversion'
  AND (learning_snapshot->>'days_to_convert')::integer <= 7
ORDER BY created_at DESC;""",
    """SELECT
  AVG((learning_snapshot->>'days_to_convert')::numeric) as avg_days,
  COUNT(*) as total_conversions,
  MIN((learning_snapshot->>'days_to_convert')::numeric) as fastest,
  MAX((learning_snapshot->>'days_to_convert')::numeric) as slowest
FROM growth_brain
WHERE event_type = 'conversion'
  AND client_id = '550e8400-e29b-41d4-a716-446655440000';""",
    """SELECT
  event_type,
  insight_text,
  confidence,
  learning_snapshot->'predicted_conversions' as predictions,
  created_at
FROM growth_brain
WHERE confidence >= 0.8
  AND event_type LIKE '%prediction%'
ORDER BY confidence DESC, created_at DESC
LIMIT 20;""",
]


def test_the_seeds_queries_word_for_word(database_url, connect):
    conn = connect(database_url)
    client = add_client(conn, client_id="550e8400-e29b-41d4-a716-446655440000")
    other = add_client(conn)
    add_snapshot(conn, client, "engagement_score", metrics={"total_leads": 3})
    add_snapshot(conn, client, "conversion", lead_name="Sarah", days_to_convert=7)
    add_snapshot(conn, client, "conversion", lead_name="Ann", days_to_convert=9)
    add_snapshot(conn, other, "conversion", lead_name="Zoe", days_to_convert=None)
    add_snapshot(conn, client, "conversion_prediction", predicted_conversions=12)
    latest, conversions, average, predictions = (conn.execute(text).fetchall() for text in SEED_QUERIES)
    assert len(latest) == 4
    assert [row[2] for row in latest if row[0] == "engagement_score"] == [{"total_leads": 3}]
    assert [(row[1], row[2]) for row in conversions] == [("Sarah", "7")]
    assert average == [(8, 2, 7, 9)]
    assert [row[3] for row in predictions] == [12]


def test_deleting_a_client_takes_its_leads_actions_and_snapshots_along(database_url, connect):
    conn = connect(database_url)
    client, other = add_client(conn), add_client(conn)
    for owner in (client, other):
        lead = conn.execute(
            "INSERT INTO lead_memory (client_id) VALUES (%s) RETURNING id, current_tag, tone_history", [owner]
        ).fetchone()
        assert lead[1:] == ("Active", [])
        conn.execute(
            "INSERT INTO lead_actions (lead_id, client_id, action_type) VALUES (%s, %s, 'insert')", [lead[0], owner]
        )
        add_snapshot(conn, owner)
    conn.execute("DELETE FROM clients WHERE client_id = %s", [client])
    for table in ("lead_memory", "lead_actions", "growth_brain"):
        assert conn.execute(f"SELECT client_id::text FROM {table}").fetchall() == [(other,)]


@pytest.mark.parametrize("value", ["1.01", "-0.01", "NaN", "1.006"])
def test_a_confidence_outside_the_unit_interval_is_refused(database_url, connect, value):
    conn = connect(database_url)
    for table in (
        "growth_brain (event_type, confidence) VALUES ('x', ",
        "lead_memory (name, confidence_score) VALUES ('x', ",
    ):
        with pytest.raises(psycopg.errors.CheckViolation):
            conn.execute(f"INSERT INTO {table}'{value}')")


def test_one_snapshot_per_claim_also_for_all_clients_together(database_url, connect):
    conn = connect(database_url)
    client = add_client(conn)
    for owner in (client, None):
        add_snapshot(conn, owner, period_key="2025-10-17", claim_key="")
        add_snapshot(conn, owner, period_key="2025-10-17", claim_key="other")
        add_snapshot(conn, owner, period_key="2025-10-18", claim_key="")
        add_snapshot(conn, owner, "urgency_trend", period_key="2025-10-17", claim_key="")
        with pytest.raises(psycopg.errors.UniqueViolation):
            add_snapshot(conn, owner, period_key="2025-10-17", claim_key="")
        # without a claim_key a period still has one place, and the application's own rows have no period
        add_snapshot(conn, owner, period_key="2025-10-19")
        with pytest.raises(psycopg.errors.UniqueViolation):
            add_snapshot(conn, owner, period_key="2025-10-19")
        add_snapshot(conn, owner, lead_id="1")
        add_snapshot(conn, owner, lead_id="1")


def test_the_latest_view(database_url, worker_url, connect):
    conn = connect(database_url)
    client = add_client(conn)
    for day, owner in [("2025-10-16", client), ("2025-10-17", client), ("2025-10-15", None)]:
        identity = add_snapshot(conn, owner, period_key=day)
        conn.execute("UPDATE growth_brain SET created_at = %s WHERE id = %s", [day, identity])
    add_snapshot(conn, client, "urgency_trend", period_key="2025-10-17")
    seen = conn.execute(
        "SELECT client_id::text, event_type, learning_snapshot->>'period_key' FROM growth_brain_latest ORDER BY 1, 2"
    ).fetchall()
    assert seen == [
        (client, "engagement_score", "2025-10-17"),
        (client, "urgency_trend", "2025-10-17"),
        (None, "engagement_score", "2025-10-15"),
    ]
    # security_invoker: a policy on growth_brain holds through the view
    conn.execute("CREATE POLICY only_all ON growth_brain AS RESTRICTIVE FOR SELECT USING (client_id IS NULL)")
    through_view = "SELECT count(*) FROM growth_brain_latest"
    assert connect(worker_url).execute(through_view).fetchone() == (1,)
    assert conn.execute(through_view).fetchone() == (3,)


def test_row_level_security_is_on_everywhere_and_hides_all_from_strangers(server: TestServer, database_url, connect):
    conn = connect(database_url)
    off = conn.execute(
        "SELECT oid::regclass FROM pg_class WHERE relkind = 'r' AND NOT relrowsecurity"
        " AND relnamespace IN ('public'::regnamespace, 'worker'::regnamespace)"
    ).fetchall()
    assert off == []
    add_client(conn)
    add_snapshot(conn, None)
    conn.execute("CREATE ROLE stranger LOGIN")
    try:
        conn.execute("GRANT SELECT ON ALL TABLES IN SCHEMA public TO stranger")
        stranger = connect(as_role(database_url, "stranger"))
        for table in [*SEED_TABLES, "growth_brain_latest"]:
            assert stranger.execute(f"SELECT count(*) FROM {table}").fetchone() == (0,)
        for table in ("runs", "models", "migrations"):
            with pytest.raises(psycopg.errors.InsufficientPrivilege):
                stranger.execute(f"SELECT count(*) FROM worker.{table}")
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            stranger.execute("SELECT worker.ensure_database_fits()")
    finally:
        conn.execute("DROP OWNED BY stranger")
        server.admin.execute("DROP ROLE stranger")


def test_growth_worker_can_do_its_work_and_nothing_else(database_url, worker_url, connect):
    admin, conn = connect(database_url), connect(worker_url)
    client = add_client(admin)
    lead = admin.execute(
        "INSERT INTO lead_memory (client_id, name) VALUES (%s, 'Zoe') RETURNING id", [client]
    ).fetchone()
    admin.execute("INSERT INTO lead_actions (lead_id, client_id, action_type) VALUES (%s, %s, 'tag')", [*lead, client])

    assert conn.execute("SELECT client_id::text, business_name, language, timezone FROM clients").fetchall() == [
        (client, "Maple", "en", None)
    ]
    assert conn.execute('SELECT name, source, "timestamp" <= now() FROM lead_memory').fetchall() == [
        ("Zoe", None, True)
    ]
    assert conn.execute("SELECT action_type FROM lead_actions").fetchall() == [("tag",)]
    identity = add_snapshot(conn, client, period_key="2025-10-17", claim_key="")
    conn.execute("UPDATE growth_brain SET confidence = 0.5 WHERE id = %s", [identity])
    assert conn.execute("SELECT confidence FROM growth_brain_latest").fetchall()
    conn.execute("DELETE FROM growth_brain WHERE id = %s", [identity])
    conn.execute("INSERT INTO worker.runs (job, period_key, status, lease_until) VALUES ('j', 'p', 'running', now())")
    conn.execute("UPDATE worker.runs SET status = 'done', token = token + 1")
    conn.execute(
        "INSERT INTO worker.models (version, job, as_of, parameters) VALUES ('v', 'j', now(), '{}')"
        " ON CONFLICT DO NOTHING"
    )
    conn.execute("DELETE FROM worker.runs")

    forbidden = [
        "SELECT password_hash FROM clients",
        "SELECT api_key FROM clients",
        "SELECT smtp_password FROM clients",
        "SELECT email FROM clients",
        "SELECT * FROM clients",
        "SELECT message FROM lead_memory",
        "SELECT email FROM lead_memory",
        "SELECT ai_summary FROM lead_memory",
        "SELECT count(*) FROM prospect_candidates",
        "SELECT count(*) FROM prospect_outreach_log",
        "UPDATE lead_memory SET urgency = 'High'",
        "INSERT INTO lead_memory (name) VALUES ('x')",
        "DELETE FROM lead_memory",
        "UPDATE lead_actions SET tag = 'x'",
        "DELETE FROM clients",
        "TRUNCATE growth_brain",
        "CREATE TABLE worker.more (id int)",
        "CREATE TABLE public.more (id int)",
        "DROP TABLE worker.runs",
    ]
    for statement in forbidden:
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            conn.execute(statement)


@pytest.mark.parametrize(
    ("name", "lint"),
    [
        (
            "unindexed foreign key",
            """SELECT conrelid::regclass, conname FROM pg_constraint f WHERE contype = 'f' AND NOT EXISTS (
                SELECT FROM pg_index i
                WHERE i.indrelid = f.conrelid AND i.indkey[0] = f.conkey[1] AND i.indpred IS NULL)""",
        ),
        (
            "row-level security without a policy",
            """SELECT oid::regclass FROM pg_class c WHERE relrowsecurity
                AND NOT EXISTS (SELECT FROM pg_policy WHERE polrelid = c.oid)""",
        ),
        (
            "several permissive policies for one role and action",
            """SELECT polrelid::regclass FROM pg_policy GROUP BY 1 HAVING count(*) > 1""",
        ),
        (
            "a view with its owner's rights",
            """SELECT oid::regclass FROM pg_class WHERE relkind = 'v' AND relnamespace = 'public'::regnamespace
                AND NOT coalesce('security_invoker=true' = ANY (reloptions), false)""",
        ),
        (
            "a function with a mutable search_path, or one that runs as its owner",
            """SELECT oid::regprocedure FROM pg_proc
                WHERE pronamespace IN ('public'::regnamespace, 'worker'::regnamespace)
                AND (prosecdef OR NOT coalesce(proconfig::text LIKE '%search_path=%', false))""",
        ),
        (
            "an index twice",
            """SELECT array_agg(indexrelid::regclass) FROM pg_index JOIN pg_class ON pg_class.oid = indrelid
                WHERE relnamespace IN ('public'::regnamespace, 'worker'::regnamespace)
                GROUP BY indrelid, indkey, indclass, indoption, indpred::text, indexprs::text HAVING count(*) > 1""",
        ),
        (
            "a right on the private schema for everybody",
            """SELECT nspname FROM pg_namespace WHERE nspname = 'worker'
                AND EXISTS (SELECT FROM aclexplode(nspacl) WHERE grantee = 0)""",
        ),
    ],
)
def test_lints(database_url, connect, name, lint):
    assert connect(database_url).execute(lint).fetchall() == [], name


def test_a_locked_table_is_no_endless_wait(database_url, connect, monkeypatch):
    """migrate gives up on a table that another session holds, says so, and leaves the file undone."""
    import worker.database.migrations as migrations
    from worker.errors import DatabaseUnavailableError

    conn = connect(database_url)
    conn.execute("DROP INDEX growth_brain_one_per_claim")
    holder = connect(database_url)
    files = {file.name: file.read_bytes().replace(b"'30s'", b"'50ms'") for file in schema_files()}
    monkeypatch.setattr(migrations, "schema_files", lambda: [_Text(name, content) for name, content in files.items()])
    with holder.transaction():
        holder.execute("LOCK TABLE growth_brain IN ROW EXCLUSIVE MODE")
        with (
            open_pool(settings_for(database_url)) as database,
            pytest.raises(DatabaseUnavailableError, match=r"005_growth_brain\.sql"),
        ):
            migrate(database)
    assert "Created the unique index growth_brain_one_per_claim on public.growth_brain." in migrate_url(database_url)


class _Text:
    def __init__(self, name, content):
        self.name, self.read_bytes = name, lambda: content


def test_supabases_api_role_may_use_what_is_created(server: TestServer, empty_database_url, connect):
    conn = connect(empty_database_url)
    conn.execute("CREATE ROLE service_role BYPASSRLS LOGIN")
    try:
        migrate_url(empty_database_url)
        api = connect(as_role(empty_database_url, "service_role"))
        add_client(api)
        assert api.execute("SELECT count(*) FROM growth_brain_latest").fetchone() == (0,)
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            api.execute("SELECT count(*) FROM worker.runs")
    finally:
        conn.execute("DROP OWNED BY service_role")
        server.admin.execute("DROP ROLE service_role")


def test_the_schema_files_stand_in_order():
    names = [file.name for file in schema_files()]
    assert names == sorted(names)
    assert [name[:3] for name in names] == [f"{number:03}" for number in range(1, len(names) + 1)]
    for file in schema_files():
        text = file.read_text(encoding="utf-8")
        assert text.count("\nBEGIN ISOLATION LEVEL READ COMMITTED;\n") == 1, file.name
        assert text.count("\nCOMMIT;\n") == 1, file.name
        assert "pg_advisory_xact_lock" in text, file.name
