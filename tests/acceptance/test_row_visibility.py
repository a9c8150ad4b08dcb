"""Rows that row-level security hides are told from a table that is empty, by `check` and by the jobs."""

import pytest
from conftest import LOGIN_ROLE, as_role
from support import add_client, insert, numbered, run_worker

DAY = "2025-03-30"
NAMED = "client_id = nullif(current_setting('app.client', true), '')::uuid"  # the setting is nobody's: no row
PARTITIONED = """
    DROP TABLE lead_memory CASCADE;
    CREATE TABLE lead_memory (id uuid NOT NULL, client_id uuid, "timestamp" timestamptz NOT NULL DEFAULT now())
        PARTITION BY HASH (id);
    CREATE TABLE leads_0 PARTITION OF lead_memory FOR VALUES WITH (MODULUS 2, REMAINDER 0);
    CREATE TABLE leads_1 PARTITION OF lead_memory FOR VALUES WITH (MODULUS 2, REMAINDER 1);
    GRANT SELECT ON lead_memory TO growth_worker;
    ALTER TABLE lead_memory ENABLE ROW LEVEL SECURITY;
"""


@pytest.fixture
def owner(database_url, connect):
    """An open connection of the owner to a database with a client, whose leads growth_worker has no policy for."""
    conn = connect(database_url)
    add_client(conn, 1)
    conn.execute("DROP POLICY growth_worker_reads ON lead_memory")
    return conn


def add_leads(conn, n=1):
    for number in range(n):
        insert(conn, "lead_memory", id=numbered(1, number), client_id=numbered(9, 1))


def failures(url):
    found = run_worker(url, "check", "--json")
    assert found.code == (3 if found.json["status"] == "failure" else 0)
    return [item for item in found.json["checks"] if item["status"] == "failure"]


@pytest.mark.parametrize(
    ("policy", "said"),
    [
        ("", "hides the rows of lead_memory"),
        ("TO pg_monitor USING (true)", "hides the rows of lead_memory"),
        ("FOR UPDATE USING (true)", "hides the rows of lead_memory"),
        ("USING (current_setting('request.jwt.claim', true) = 'service_role')", "no row of lead_memory"),
        (f"USING ({NAMED})", "no row of lead_memory"),
        ("USING (true); CREATE POLICY q ON lead_memory AS RESTRICTIVE USING (false)", "no row of lead_memory"),
        ("USING (client_id = current_setting('app.client')::uuid)", "of lead_memory fails for the role"),
        ("USING (client_id = coalesce(current_setting('app.client', true), '')::uuid)", "fails for the role"),
    ],
)
def test_hidden_rows_stop_the_check_and_the_jobs(database_url, worker_url, owner, policy, said):
    add_leads(owner)
    if policy:
        owner.execute(f"CREATE POLICY p ON lead_memory {policy}")
    (only,) = failures(worker_url)
    assert (only["name"], said in only["message"]) == ("row-level security", True), only
    assert "restrictive policies" in only["fix"] if "RESTRICTIVE" in policy else "migrate" in only["fix"]
    outcome = run_worker(worker_url, "tone_distribution", "--as-of", DAY)
    assert (outcome.code, outcome.out) == (3, "")
    assert said in outcome.err
    assert failures(database_url) == []  # the owner is not subject to it


@pytest.mark.parametrize("words", [["all"], ["conversion_events"], ["accuracy"], ["backfill", "urgency_trend",
    "--from", DAY, "--to", DAY], ["backtest", "--from", "2025-01-01", "--to", "2025-02-01"]])  # fmt: skip
def test_every_command_that_reads_leads_stops(worker_url, owner, words):
    add_leads(owner)
    owner.execute(f"CREATE POLICY p ON lead_memory USING ({NAMED})")
    outcome = run_worker(worker_url, *words)
    assert outcome.code == 3, outcome.err
    assert f"Row-level security shows the role {LOGIN_ROLE} no row of lead_memory" in outcome.err
    assert owner.execute("SELECT count(*) FROM growth_brain").fetchone() == (0,)


@pytest.mark.parametrize("table", ["clients", "lead_actions"])
def test_each_table_is_looked_at(database_url, worker_url, connect, table):
    conn = connect(database_url)
    client = add_client(conn, 1)
    insert(conn, "lead_memory", id=numbered(1, 0), client_id=client)
    insert(conn, "lead_actions", lead_id=numbered(1, 0), client_id=client, action_type="insert")
    conn.execute(f"DROP POLICY growth_worker_reads ON {table}; CREATE POLICY p ON {table} USING ({NAMED})")
    (only,) = failures(worker_url)
    assert only["message"].endswith(f"no row of {table}, which is not empty.")
    assert run_worker(worker_url, "urgency_trend", "--as-of", DAY).code == 3


@pytest.mark.parametrize(
    "afterwards",
    [
        "ANALYZE lead_memory",
        "VACUUM lead_memory",
        "SELECT pg_stat_force_next_flush()",
        "SELECT pg_stat_reset()",
        f"ANALYZE lead_memory; SELECT pg_stat_reset(); DELETE FROM lead_memory WHERE id = '{numbered(1, 0)}'",
    ],
)
def test_rows_leave_signs_whatever_the_statistics_say(worker_url, owner, afterwards):
    add_leads(owner, n=3)
    owner.execute(f"CREATE POLICY p ON lead_memory USING ({NAMED})")
    for statement in afterwards.split("; "):
        owner.execute(statement)
    (only,) = failures(worker_url)
    assert "no row of lead_memory, which is not empty" in only["message"]


@pytest.mark.parametrize(
    "emptied",
    [
        "",
        "TRUNCATE lead_memory CASCADE",
        "ANALYZE lead_memory; TRUNCATE lead_memory CASCADE",
        "DELETE FROM lead_memory; SELECT pg_stat_force_next_flush()",
        "ANALYZE lead_memory; DELETE FROM lead_memory; SELECT pg_stat_force_next_flush()",
        "ANALYZE lead_memory; DELETE FROM lead_memory; VACUUM lead_memory",
    ],
)
def test_a_table_that_is_empty_is_no_failure(worker_url, owner, emptied):
    owner.execute(f"CREATE POLICY p ON lead_memory USING ({NAMED})")
    if emptied:
        add_leads(owner, n=3)
        owner.execute("SELECT pg_stat_force_next_flush()")  # before ANALYZE, which does not wait for them
    for statement in filter(None, emptied.split("; ")):
        owner.execute(statement)
    found = run_worker(worker_url, "check", "--json")
    assert (found.code, found.json["status"]) == (0, "warning")
    (only,) = [item["message"] for item in found.json["checks"] if item["status"] == "warning"]
    assert only == "Row-level security may hide some rows of lead_memory."
    assert run_worker(worker_url, "urgency_trend", "--as-of", DAY).code == 0


def test_the_rows_of_a_partitioned_table(worker_url, owner):
    owner.execute(PARTITIONED)
    owner.execute(f"CREATE POLICY p ON lead_memory USING ({NAMED})")
    assert failures(worker_url) == []
    add_leads(owner)
    (only,) = failures(worker_url)
    assert "no row of lead_memory" in only["message"]
    owner.execute("ANALYZE lead_memory")
    assert len(failures(worker_url)) == 1
    owner.execute("DROP POLICY p ON lead_memory; CREATE POLICY p ON lead_memory TO growth_worker USING (true)")
    assert failures(worker_url) == []


@pytest.mark.parametrize(
    "policy",
    [
        f"CREATE POLICY p ON lead_memory USING (true); CREATE POLICY q ON lead_memory AS RESTRICTIVE USING ({NAMED})",
        f"CREATE POLICY p ON lead_memory USING ({NAMED})",
    ],
)
def test_rows_of_some_clients_only_are_a_warning(worker_url, owner, policy):
    add_leads(owner)
    owner.execute(policy)
    url = f"{worker_url} options='-c app.client={numbered(9, 1)}'"
    found = run_worker(url, "check", "--json")
    assert (found.code, found.json["status"]) == (0, "warning")
    warned = [item["message"] for item in found.json["checks"] if item["status"] == "warning"]
    assert warned == ["Row-level security may hide some rows of lead_memory."]


def test_a_member_that_does_not_inherit_sees_nothing(server, database_url, connect):
    """Policies are for who has the rights of growth_worker, not for who could take them by SET ROLE."""
    owner = connect(database_url)
    add_client(owner, 1)
    add_leads(owner)
    owner.execute("CREATE ROLE idle_member LOGIN NOINHERIT IN ROLE growth_worker")
    try:
        owner.execute("GRANT SELECT ON clients, lead_memory TO idle_member")
        found = failures(as_role(database_url, "idle_member"))
        assert any("hides the rows of lead_memory" in item["message"] for item in found)
    finally:
        owner.execute("DROP OWNED BY idle_member")
        server.admin.execute("DROP ROLE idle_member")
