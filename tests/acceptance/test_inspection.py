"""What `check` says of a database: each thing that is not as needed in a sentence, with its fix."""

import re
from datetime import UTC, datetime, timedelta

import psycopg
import pytest
from conftest import LOGIN_ROLE, as_role, migrate_url, settings_for
from support import run_worker
from test_schema import OLD_GROWTH_BRAIN, USERS_DATABASE, add_client

from worker.database.catalogue import read_catalogue
from worker.database.inspection import ensure_ready, inspect
from worker.database.migrations import schema_files
from worker.database.pool import open_pool
from worker.database.proofs import EVENT_TYPES
from worker.database.shortcomings import tell_clock
from worker.errors import DatabaseShapeError
from worker.review.resolved import TYPES

SQL = re.compile(r"(?:CREATE|ALTER|DROP|REVOKE) [^;]+;")


def inspected(url, status=None):
    settings = settings_for(url)
    with open_pool(settings) as database:
        found = inspect(database, settings)
    for item in found:
        # one sentence, and for a failure what to do
        assert item.message.endswith(".")
        assert ". " not in item.message
        assert item.fix or item.status != "failure"
    return [item for item in found if status is None or item.status == status]


def messages(items):
    return [item.message for item in items]


def readiness_problems(url):
    with open_pool(settings_for(url)) as database, database.read() as conn:
        catalogue = read_catalogue(conn)
        try:
            ensure_ready(catalogue)
        except DatabaseShapeError as exc:
            return exc.problems
    return []


def test_a_migrated_database_is_ready_for_owner_and_worker(database_url, worker_url, connect):
    add_client(connect(database_url))
    found = inspected(worker_url)
    assert {item.status for item in found} == {"ok"}
    assert [item.name for item in found] == [
        "database",
        "row-level security",
        "index",
        "schema",
        "change tracking",
        "leftovers",
        "clock",
        "address",
        "private columns",
        "application's rows",
        "growth_brain",
        "ledger",
    ]
    (only,) = [item for item in inspected(database_url) if item.status != "ok"]
    assert (only.status, only.name) == ("warning", "rights")
    for url in (database_url, worker_url):
        assert readiness_problems(url) == []


def test_an_empty_database(empty_database_url):
    (only,) = inspected(empty_database_url, "failure")
    assert only.message == "The database has none of the tables the worker reads."
    assert "migrate" in only.fix
    assert readiness_problems(empty_database_url) == [f"{only.message} {only.fix}"]


def test_an_old_growth_brain(empty_database_url, connect):
    connect(empty_database_url).execute(OLD_GROWTH_BRAIN)
    (only,) = inspected(empty_database_url, "failure")
    assert "no column event_type" in only.message
    assert "ALTER TABLE public.growth_brain RENAME TO" in only.fix


def test_tables_without_the_workers_parts(empty_database_url, connect):
    conn = connect(empty_database_url)
    conn.execute(USERS_DATABASE)
    conn.execute('ALTER TABLE lead_memory DROP COLUMN "timestamp"; ALTER TABLE clients DROP COLUMN client_id')
    assert messages(inspected(empty_database_url, "failure")) == [
        "The table clients has no column client_id.",
        "The table lead_memory has no column timestamp.",
        "There is no table growth_brain.",
        "The private schema worker, where the runs are noted, is missing.",
    ]
    # of what cannot be told yet nothing is said to be well
    assert {item.name for item in inspected(empty_database_url, "ok")} == {"row-level security", "clock", "address"}


@pytest.mark.parametrize("role", ["newcomer", "the new-comer"])
def test_a_role_that_was_given_nothing(server, database_url, connect, role):
    conn = connect(database_url)
    quoted = f'"{role}"' if " " in role else role
    conn.execute(f"CREATE ROLE {quoted} LOGIN")
    try:
        url = as_role(database_url, role)
        failures = inspected(url, "failure")
        text = " ".join(messages(failures))
        assert "may not read clients(client_id)" in text
        assert "may not read lead_memory(id, client_id, timestamp)" in text
        assert "no right to SELECT, INSERT, UPDATE, DELETE on growth_brain" in text
        assert "may not use the tables of the schema worker" in text
        assert all(f"GRANT growth_worker TO {quoted};" in failure.fix for failure in failures)
        # and the fix is one
        conn.execute(f"GRANT growth_worker TO {quoted}")
        assert inspected(url, "failure") == []
    finally:
        conn.execute(f"DROP OWNED BY {quoted}")
        server.admin.execute(f"DROP ROLE {quoted}")


def test_one_right_too_little(database_url, worker_url, connect):
    connect(database_url).execute("REVOKE DELETE ON growth_brain FROM growth_worker")
    (only,) = inspected(worker_url, "failure")
    assert only.message == f"The role {LOGIN_ROLE} has no right to DELETE on growth_brain."


def test_the_unique_index_and_a_table_of_ours_are_missing(database_url, connect):
    connect(database_url).execute("DROP INDEX growth_brain_one_per_claim; DROP TABLE worker.models")
    found = messages(inspected(database_url, "failure"))
    assert found[0].startswith("The unique index growth_brain_one_per_claim")
    assert found[1] == "The schema worker has no table models."


def test_a_role_that_may_read_secrets(database_url, connect):
    connect(database_url).execute("GRANT SELECT ON clients TO growth_worker")
    _, of_growth_worker = inspected(database_url, "warning")
    assert of_growth_worker.message.startswith("The role growth_worker may read secrets")
    assert "clients(api_key, password_hash, smtp_password)" in of_growth_worker.message


def test_an_installation_with_fewer_columns(empty_database_url, connect):
    conn = connect(empty_database_url)
    conn.execute(USERS_DATABASE)
    migrate_url(empty_database_url)
    conn.execute("DROP TABLE lead_actions; DROP INDEX leads_by_time")
    found = inspected(empty_database_url)
    assert found[0].status == "warning"
    text = messages(found)
    assert "lead_memory.source is not there: top_sources is empty." in text
    assert 'lead_memory has no index on "timestamp", by which the windows are read.' in text
    assert "There is no table lead_actions: touches and the dates of conversions are unknown." in text


@pytest.mark.parametrize("columns", [("timestamp",), ("timestamp", "created_at")])
def test_actions_are_dated_by_either_column(database_url, connect, columns):
    conn = connect(database_url)
    for column in columns:
        conn.execute(f'ALTER TABLE lead_actions DROP COLUMN "{column}"')
    told = "lead_actions.timestamp is not there: touches and the dates of conversions are unknown." in messages(
        inspected(database_url)
    )
    assert told == (len(columns) == 2)


def test_clocks_that_differ():
    now = datetime(2025, 10, 17, tzinfo=UTC)
    second = timedelta(seconds=1)
    assert tell_clock(now, now - second, now + second).status == "ok"
    assert tell_clock(now + 6 * second, now, now + second).status == "ok"
    ahead = tell_clock(now + 8 * second, now, now + second)
    behind = tell_clock(now - 8 * second, now, now + second)
    assert ahead.status == behind.status == "warning"
    assert "differ by 7 s" in ahead.message
    assert "differ by 8 s" in behind.message


def test_a_server_too_old(database_url, monkeypatch):
    monkeypatch.setattr("worker.database.inspection.OLDEST_VERSION", 990000)
    found = inspected(database_url)
    assert "needs 15 or newer" in found[0].message
    assert [item.name for item in found] == ["server", "clock", "address"]  # it was asked nothing else


def test_the_catalogue_of_a_worker_that_sees_little(worker_url):
    with open_pool(settings_for(worker_url)) as database, database.read() as conn:
        catalogue = read_catalogue(conn)
        assert not catalogue.has("clients", "password_hash")
        assert catalogue.exists("clients", "password_hash")
        assert catalogue.has("lead_memory", "timestamp")
        assert not catalogue.has("lead_memory", "nonsense")
        assert catalogue.type_of("lead_memory", "id") == "uuid"
        assert catalogue.type_of("lead_memory", "nonsense") is None
        assert {"clients", "lead_memory", "growth_brain", "worker.runs"} <= catalogue.row_security_active
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            conn.execute("SELECT password_hash FROM clients")


def said_of(url, status):
    return [(item.name, item.message, item.fix) for item in inspected(url, status)]


def test_the_order_and_the_words_of_json_are_fixed(database_url, worker_url, connect):
    connect(database_url).execute(
        "DROP INDEX idx_lead_memory_timestamp; REVOKE DELETE ON growth_brain FROM growth_worker"
    )
    outcome = run_worker(worker_url, "check", "--json")
    assert outcome.code == 3
    assert list(outcome.json) == ["status", "checks"]
    assert outcome.json["status"] == "failure"
    assert all(list(item) == ["name", "status", "message", "fix"] for item in outcome.json["checks"])
    statuses = [item["status"] for item in outcome.json["checks"]]
    assert statuses == sorted(statuses, key=["failure", "warning", "ok"].index)
    connect(database_url).execute("GRANT DELETE ON growth_brain TO growth_worker")
    warned = run_worker(worker_url, "check", "--json")
    assert (warned.code, warned.json["status"]) == (0, "warning")
    text = run_worker(worker_url, "check").out
    assert text.startswith("warning  lead_memory has no index")
    assert all(item["message"] in text for item in warned.json["checks"])


@pytest.mark.parametrize(
    ("index", "by"),
    [
        ("idx_lead_memory_timestamp", 'lead_memory has no index on "timestamp"'),
        ("idx_lead_memory_client_id", 'lead_memory has no index on "client_id"'),
        ("idx_lead_actions_timestamp", 'lead_actions has no index on "timestamp"'),
        ("idx_lead_actions_lead_id", 'lead_actions has no index on "lead_id"'),
        ("growth_brain_history", "growth_brain has no index growth_brain_history"),
        ("growth_brain_foreign_events", "growth_brain has no index growth_brain_foreign_events"),
    ],
)
def test_a_missing_index_and_its_fix(database_url, worker_url, connect, index, by):
    conn = connect(database_url)
    conn.execute(f"DROP INDEX {index}")
    ((name, message, fix),) = said_of(worker_url, "warning")
    assert (name, message.startswith(by)) == ("index", True), message
    if statements := SQL.findall(fix):
        conn.execute(statements[0])
    else:
        migrate_url(database_url)
    assert said_of(worker_url, "warning") == []


def test_a_schema_of_another_version(database_url, worker_url, connect):
    conn = connect(database_url)
    conn.execute("UPDATE worker.migrations SET digest = 'x' WHERE name LIKE '005%'")
    conn.execute("DELETE FROM worker.migrations WHERE name LIKE '009%'")
    ((name, message, fix),) = said_of(worker_url, "warning")
    assert (name, "migrate" in fix) == ("schema", True)
    assert "005_growth_brain.sql, 009_watermarks.sql" in message
    migrate_url(database_url)
    assert said_of(worker_url, "warning") == []
    conn.execute("INSERT INTO worker.migrations VALUES ('999_later.sql', 'x')")
    ((_, message, fix),) = said_of(worker_url, "warning")
    assert "999_later.sql" in message
    assert fix == "Update this worker."


def test_rows_that_do_not_tell_who_wrote_them(database_url, worker_url, connect):
    conn = connect(database_url)
    conn.execute("REVOKE SELECT (xmin) ON lead_memory FROM growth_worker")
    ((name, message, fix),) = said_of(worker_url, "warning")
    assert (name, message.split()[0]) == ("change tracking", "lead_memory")
    migrate_url(database_url)
    assert said_of(worker_url, "warning") == []
    conn.execute("ALTER TABLE lead_actions RENAME TO kept; CREATE VIEW lead_actions AS SELECT * FROM kept")
    conn.execute("GRANT SELECT ON lead_actions TO growth_worker")
    ((name, message, fix),) = said_of(worker_url, "warning")
    assert (name, message.split()[0]) == ("change tracking", "lead_actions")
    assert "WORKER_SCHEDULE_CONVERSION_EVENTS" in fix


def test_what_older_forms_left_behind(database_url, worker_url, connect):
    conn = connect(database_url)
    conn.execute("""
        ALTER TABLE lead_actions ADD COLUMN action text;
        ALTER TABLE growth_brain ADD COLUMN total_leads int, ADD COLUMN predictive_insights jsonb;
        CREATE TABLE growth_brain_old (id int);
        CREATE FUNCTION exec_sql(text) RETURNS void LANGUAGE plpgsql SECURITY DEFINER AS 'BEGIN EXECUTE $1; END';
    """)
    found = said_of(worker_url, "warning")
    assert [name for name, _, _ in found] == ["leftovers"] * 4
    text = " ".join(message for _, message, _ in found)
    assert "both action_type and action: only action_type is read" in text
    assert "leave empty: total_leads, predictive_insights." in text
    assert "The table growth_brain_old stands beside growth_brain" in text
    assert "exec_sql(text) runs any SQL as its owner" in text
    for _, _, fix in found:
        for statement in SQL.findall(fix):
            conn.execute(statement)
    assert len(said_of(worker_url, "warning")) == 2  # the columns are for a person to decide


@pytest.mark.parametrize(
    "rule",
    [
        "ALTER TABLE growth_brain ADD CONSTRAINT one UNIQUE (client_id)",
        "CREATE UNIQUE INDEX one ON growth_brain (event_type, client_id)",
    ],
)
def test_a_growth_brain_for_one_row_a_client(database_url, worker_url, connect, rule):
    conn = connect(database_url)
    conn.execute(rule)
    ((_, message, fix),) = said_of(worker_url, "failure")
    assert message.startswith("The unique index one lets growth_brain hold one row")
    conn.execute(SQL.findall(fix)[0])
    assert said_of(worker_url, "failure") == []


RAISES = "CREATE FUNCTION no() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE EXCEPTION 'Zoe''s secret'; END $$;"


@pytest.mark.parametrize(
    ("hindrance", "said"),
    [
        ("ALTER TABLE growth_brain ADD CONSTRAINT known CHECK (event_type <> 'accuracy_review')", "(23514, by known)"),
        (f"{RAISES} CREATE TRIGGER t BEFORE INSERT ON growth_brain EXECUTE FUNCTION no()", "(P0001)"),
        (f"{RAISES} CREATE TRIGGER t BEFORE DELETE ON worker.runs EXECUTE FUNCTION no()", "worker.runs refused"),
        ("CREATE POLICY p ON growth_brain AS RESTRICTIVE FOR INSERT WITH CHECK (client_id IS NOT NULL)", "(42501)"),
        ("CREATE POLICY p ON growth_brain AS RESTRICTIVE FOR SELECT USING (client_id IS NOT NULL)", "from finding"),
        ("ALTER POLICY growth_worker_writes ON growth_brain USING (client_id IS NOT NULL)", "from finding"),
        ("CREATE POLICY p ON worker.runs AS RESTRICTIVE FOR UPDATE USING (job <> 'check')", "from finding"),
    ],
)
def test_what_keeps_rows_from_being_written_shows_when_it_is_tried(database_url, worker_url, connect, hindrance, said):
    connect(database_url).execute(hindrance)
    ((_, message, fix),) = said_of(worker_url, "failure")
    assert said in message
    assert "Zoe" not in message + fix
    assert run_worker(worker_url, "check").code == 3


def test_the_event_types_tried_are_those_of_the_jobs():
    assert set(EVENT_TYPES) == set(TYPES)


def test_a_connection_refused_at_a_pooler_is_explained():
    """As an address that resolves to nobody's port; what is wrong with it shows without an answer."""
    outcome = run_worker(
        "host=aws-0-eu-west-1.pooler.supabase.com hostaddr=127.0.0.1 port=1 user=me password=hunter2secret dbname=d",
        "check", "--json", WORKER_DATABASE_WAIT_SECONDS="0",
    )  # fmt: skip
    assert (outcome.code, outcome.out) == (1, "")
    assert "has no project_ref" in outcome.err
    assert "hunter2secret" not in outcome.err


def test_a_member_that_does_not_inherit_is_told_what_helps(database_url, connect):
    """Followed, the advice works."""
    conn = connect(database_url)
    conn.execute("CREATE ROLE idle_member LOGIN NOINHERIT IN ROLE growth_worker")
    try:
        url = as_role(database_url, "idle_member")
        fixes = {item.fix for item in inspected(url, "failure") if item.name == "rights"}
        (advice,) = {fix.partition("as an administrator: ")[2] for fix in fixes}
        conn.execute(advice)
        assert all(item.status != "failure" for item in inspected(url))
    finally:
        conn.execute("DROP ROLE idle_member")


def test_a_reference_to_another_key_is_refused_by_the_files_as_well(empty_database_url, connect):
    conn = connect(empty_database_url)
    conn.execute("CREATE TABLE clients (id uuid PRIMARY KEY, client_id uuid NOT NULL UNIQUE)")
    conn.execute(
        "CREATE TABLE growth_brain (id uuid PRIMARY KEY DEFAULT gen_random_uuid(),"
        " client_id uuid REFERENCES clients (id), event_type text NOT NULL, learning_snapshot jsonb, insight_text text,"
        " confidence numeric(3,2), created_at timestamptz DEFAULT now())"
    )
    scripts = b"".join(file.read_bytes() for file in schema_files())
    with pytest.raises(
        psycopg.errors.RaiseException, match=r"client_id refers to clients\.id, not to clients\.client_i"
    ):
        conn.execute(scripts)


def test_migrating_without_the_right_to_create_tables_is_told(empty_database_url, connect):
    conn = connect(empty_database_url)
    name = conn.info.dbname
    conn.execute(f'CREATE ROLE maker LOGIN; GRANT CREATE ON DATABASE "{name}" TO maker')
    try:
        conn.execute("REVOKE CREATE ON SCHEMA public FROM PUBLIC")
        with pytest.raises(DatabaseShapeError, match="GRANT CREATE ON SCHEMA public TO"):
            migrate_url(as_role(empty_database_url, "maker"))
    finally:
        conn.execute("DROP OWNED BY maker; DROP ROLE maker")
