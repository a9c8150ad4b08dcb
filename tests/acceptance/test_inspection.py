"""What `check` says of a database: each thing that is not as needed in a sentence, with its fix."""

from datetime import UTC, datetime, timedelta

import psycopg
import pytest
from conftest import LOGIN_ROLE, as_role, settings_for
from test_schema import OLD_GROWTH_BRAIN, USERS_DATABASE, add_client

from worker.database.catalogue import read_catalogue
from worker.database.inspection import _warn_about_clock, ensure_ready, inspect
from worker.database.pool import open_pool
from worker.errors import DatabaseShapeError


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
    for url in (database_url, worker_url):
        (only,) = inspected(url)
        assert (only.status, only.name) == ("ok", "database")
        assert readiness_problems(url) == []


def test_an_empty_database(empty_database_url):
    (only,) = inspected(empty_database_url)
    assert only.status == "failure"
    assert only.message == "The database has none of the tables the worker reads."
    assert "migrate" in only.fix
    assert readiness_problems(empty_database_url) == [f"{only.message} {only.fix}"]


def test_an_old_growth_brain(empty_database_url, connect):
    connect(empty_database_url).execute(OLD_GROWTH_BRAIN)
    (only,) = inspected(empty_database_url)
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


def test_a_role_that_was_given_nothing(server, database_url, connect):
    conn = connect(database_url)
    conn.execute("CREATE ROLE newcomer LOGIN")
    try:
        url = as_role(database_url, "newcomer")
        failures = inspected(url, "failure")
        text = " ".join(messages(failures))
        assert "may not read clients(client_id)" in text
        assert "may not read lead_memory(id, client_id, timestamp)" in text
        assert "no right to SELECT, INSERT, UPDATE, DELETE on growth_brain" in text
        assert "may not use the tables of the schema worker" in text
        assert any("GRANT growth_worker TO newcomer;" in failure.fix for failure in failures)
        # and the fix is one
        conn.execute("GRANT growth_worker TO newcomer")
        assert inspected(url, "failure") == []
    finally:
        conn.execute("DROP OWNED BY newcomer")
        server.admin.execute("DROP ROLE newcomer")


def test_one_right_too_little(database_url, worker_url, connect):
    connect(database_url).execute("REVOKE DELETE ON growth_brain FROM growth_worker")
    (only,) = inspected(worker_url)
    assert only.message == f"The role {LOGIN_ROLE} has no right to DELETE on growth_brain."


def test_the_unique_index_and_a_table_of_ours_are_missing(database_url, connect):
    connect(database_url).execute("DROP INDEX growth_brain_one_per_claim; DROP TABLE worker.models")
    found = messages(inspected(database_url, "failure"))
    assert found[0].startswith("The unique index growth_brain_one_per_claim")
    assert found[1] == "The schema worker has no table models."


@pytest.mark.parametrize(
    ("policy", "hidden"),
    [
        ("", "hides the rows of lead_memory"),
        ("CREATE POLICY p ON lead_memory TO pg_monitor USING (true)", "hides the rows of lead_memory"),
        ("CREATE POLICY p ON lead_memory FOR UPDATE USING (true)", "hides the rows of lead_memory"),
        (
            "CREATE POLICY p ON lead_memory USING (current_setting('request.jwt.claim', true) = 'service_role')",
            "no row of lead_memory",
        ),
    ],
)
def test_rows_hidden_by_row_level_security(database_url, worker_url, connect, policy, hidden):
    conn = connect(database_url)
    conn.execute("DROP POLICY growth_worker_reads ON lead_memory")
    conn.execute("INSERT INTO lead_memory (client_id) VALUES (%s)", [add_client(conn)])
    if policy:
        conn.execute(policy)
    (only,) = inspected(worker_url, "failure")
    assert hidden in only.message
    assert "migrate" in only.fix
    assert inspected(database_url, "failure") == []  # the owner is not subject to it


@pytest.mark.parametrize(
    "policy",
    [
        "CREATE POLICY p ON lead_memory AS RESTRICTIVE USING (name <> 'Zoe')",
        "DROP POLICY growth_worker_reads ON lead_memory; CREATE POLICY p ON lead_memory USING (name <> 'Zoe')",
    ],
)
def test_rows_that_may_be_hidden_are_a_warning(database_url, worker_url, connect, policy):
    conn = connect(database_url)
    conn.execute("INSERT INTO lead_memory (client_id, name) VALUES (%s, 'Ann')", [add_client(conn)])
    conn.execute(policy)
    (only,) = inspected(worker_url)
    assert (only.status, only.message) == ("warning", "Row-level security may hide some rows of lead_memory.")


def test_a_role_that_may_read_secrets(database_url, connect):
    connect(database_url).execute("GRANT SELECT ON clients TO growth_worker")
    (only,) = inspected(database_url)
    assert only.status == "warning"
    assert "clients(api_key, password_hash, smtp_password)" in only.message


def test_an_installation_with_fewer_columns(empty_database_url, connect):
    from conftest import migrate_url

    conn = connect(empty_database_url)
    conn.execute(USERS_DATABASE)
    migrate_url(empty_database_url)
    conn.execute("DROP TABLE lead_actions; DROP INDEX leads_by_time")
    found = inspected(empty_database_url)
    assert {item.status for item in found} == {"warning"}
    text = messages(found)
    assert "lead_memory.source is not there: top_sources is empty." in text
    assert 'lead_memory has no index on "timestamp", by which the windows are read.' in text
    assert "There is no table lead_actions: touches and the dates of conversions are unknown." in text


def test_clocks_that_differ():
    now = datetime(2025, 10, 17, tzinfo=UTC)
    second = timedelta(seconds=1)
    assert list(_warn_about_clock(now, now - second, now + second)) == []
    assert list(_warn_about_clock(now + 6 * second, now, now + second)) == []
    (ahead,) = _warn_about_clock(now + 8 * second, now, now + second)
    (behind,) = _warn_about_clock(now - 8 * second, now, now + second)
    assert "differ by 7 s" in ahead.message
    assert "differ by 8 s" in behind.message


def test_a_server_too_old(database_url, monkeypatch):
    monkeypatch.setattr("worker.database.inspection.OLDEST_VERSION", 990000)
    (only,) = inspected(database_url, "failure")
    assert "needs 15 or newer" in only.message


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
