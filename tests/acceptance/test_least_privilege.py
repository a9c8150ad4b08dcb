"""Everything runs with the rights of growth_worker alone, `check` proves them by trying, and no client sees another."""

import json
import re
from datetime import UTC, datetime, timedelta

import pytest
from conftest import LOGIN_ROLE, as_role, migrate_url
from support import (
    add_action,
    add_client,
    add_simple_leads,
    insert,
    numbered,
    run_worker,
    snapshots,
    without,
)

DAY = "2025-03-30"
AS_OF = datetime(2025, 3, 31, tzinfo=UTC)
STATEMENT = re.compile(r"(?:REVOKE|CREATE) [^;]+;")
UNLIKE = re.compile(r'"(?:seconds|created_at|adopted_at)": (?:"[^"]*"|[0-9.e-]+)')  # what two equal runs differ in
COUNTED = {  # of a snapshot, what is counted and named; the rest also rests on what was learned from all clients
    "affected_leads", "claim_key", "cohort", "counts", "data_points", "days_to_convert", "distribution", "lead_id",
    "metrics", "n", "n_previous", "period_key", "top_industries", "top_sources", "touch_points", "window",
}  # fmt: skip


def add_company(conn, kind, n, **columns):
    """A client with leads over 60 days, every sixth of them converted; give its id."""
    client = add_client(conn, kind, industry_category=f"Industry {kind}")
    add_simple_leads(conn, client, kind, n, AS_OF, **columns)
    for i in range(0, n, 6):
        lead, when = numbered(kind, i), AS_OF - timedelta(days=60 * (i + 0.5) / n, hours=-30)
        if when < AS_OF:
            add_action(conn, client, lead, "tag", when, tag="Converted", conversion_outcome=True)
            conn.execute("UPDATE lead_memory SET current_tag = 'Converted' WHERE id = %s", [lead])
    return client


def run(url, *arguments, **environment):
    outcome = run_worker(url, *arguments, **environment)
    assert outcome.code == 0, outcome.err
    return outcome


def found_by(url, status):
    return [item for item in run(url, "check", "--json").json["checks"] if item["status"] == status]


@pytest.fixture
def twin(server, connect):
    """Another database of the same server."""
    url = server.create_database(server.template)
    conn = connect(url)
    yield url, conn
    conn.close()
    server.drop_database(url)


def test_every_command_writes_and_says_what_it_does_for_the_owner(database_url, worker_url, connect, twin):
    said = []
    for url, conn in ((worker_url, connect(database_url)), twin):
        for kind, n in ((1, 48), (2, 12)):
            add_company(conn, kind, n)
        told = [
            run(url, "backfill", "all", "--from", "2025-03-29", "--to", "2025-03-29", "--json"),
            run(url, "conversion_events", "--as-of", f"{DAY}T10:00:00", "--json"),
            run(url, "conversion_events", "--as-of", f"{DAY}T10:05:00", "--json"),
            run(url, "all", "--as-of", DAY, "--json"),
            run(url, "accuracy", "--as-of", DAY, "--json"),
            run(url, "models", "--json"),
        ]
        said.append([UNLIKE.sub("", outcome.out) for outcome in told] + [without(row) for row in snapshots(conn)])
    assert said[0] == said[1]
    assert len(said[0]) > 40
    assert found_by(worker_url, "failure") == found_by(worker_url, "warning") == []


def test_check_leaves_nothing_behind(database_url, worker_url, connect):
    conn = connect(database_url)
    add_company(conn, 1, 12)
    run(worker_url, "tone_distribution", "--as-of", DAY)
    conn.execute("""
        CREATE SEQUENCE touched;  -- which no rollback sets back
        CREATE FUNCTION touch() RETURNS trigger LANGUAGE plpgsql AS
            'BEGIN PERFORM nextval(''touched''); RETURN NULL; END';
        CREATE TRIGGER t AFTER INSERT OR UPDATE OR DELETE ON lead_memory FOR EACH STATEMENT EXECUTE FUNCTION touch();
    """)  # the owner may write there: trying it must not do it
    everything = """SELECT md5(string_agg(concat(t.x, t.r), ',' ORDER BY t.r)) FROM (
        SELECT xmin::text, g::text FROM growth_brain g UNION ALL SELECT xmin::text, w::text FROM worker.runs w
        UNION ALL SELECT xmin::text, l::text FROM lead_memory l UNION ALL SELECT xmin::text, c::text FROM clients c
    ) AS t (x, r)"""
    before = conn.execute(everything).fetchone()
    for url in (worker_url, database_url):
        run(url, "check")
    assert conn.execute("SELECT is_called FROM touched").fetchone() == (False,)
    assert conn.execute(everything).fetchone() == before


def test_what_was_tried_and_refused_is_named(worker_url):
    said = {item["name"]: item["message"] for item in found_by(worker_url, "ok")}
    assert said["private columns"] == (
        "Tried, and refused as it must be: reading clients(password_hash, api_key, smtp_password), lead_memory(email,"
        " message, ai_summary)."
    )
    assert said["application's rows"] == (
        "Tried, and refused as it must be: changing clients, lead_memory, lead_actions."
    )


def test_the_owner_runs_with_more_rights_than_it_needs(server, database_url, connect):
    """A superuser, the owner of a table, and who bypasses row-level security: each is told, and given the way out."""
    conn = connect(database_url)
    add_company(conn, 1, 12)
    conn.execute("CREATE ROLE table_owner LOGIN; CREATE ROLE passer LOGIN BYPASSRLS IN ROLE growth_worker")
    try:
        conn.execute("ALTER TABLE lead_actions OWNER TO table_owner; GRANT growth_worker TO table_owner")
        for url, excess in (
            (database_url, "it is a superuser"),
            (as_role(database_url, "table_owner"), "it owns tables of the application, it may change lead_actions."),
            (as_role(database_url, "passer"), "it bypasses row-level security."),
        ):
            (only,) = found_by(url, "warning")
            assert "runs with more rights than it needs" in only["message"]
            assert excess in only["message"]
            run(url, "tone_distribution", "--as-of", DAY)  # a warning, and no more
            (make_role,) = STATEMENT.findall(only["fix"])
            made = make_role.replace("my_worker", "made_for_it")
            conn.execute(made)
            try:
                assert found_by(as_role(database_url, "made_for_it"), "warning") == []
            finally:
                conn.execute("DROP ROLE made_for_it")
    finally:
        conn.execute("ALTER TABLE lead_actions OWNER TO CURRENT_USER; DROP OWNED BY table_owner, passer")
        server.admin.execute("DROP ROLE table_owner, passer")


@pytest.mark.parametrize(
    ("grant", "excess"),
    [
        ("GRANT SELECT ON clients TO growth_worker", "may read clients(password_hash, api_key, smtp_password)."),
        ("GRANT SELECT (smtp_password) ON clients TO PUBLIC", "may read clients(smtp_password)."),
        (f"GRANT SELECT (message) ON lead_memory TO {LOGIN_ROLE}", "may read lead_memory(message)."),
        ("GRANT UPDATE (current_tag) ON lead_memory TO PUBLIC", "may change lead_memory."),
        ("GRANT INSERT (name) ON lead_memory TO growth_worker", "may change lead_memory."),
        (f"GRANT DELETE ON lead_memory, lead_actions TO {LOGIN_ROLE}", "may change lead_memory, lead_actions."),
        ("GRANT TRUNCATE ON clients TO growth_worker", "may change clients."),
    ],
)
def test_a_right_too_many_and_its_fix(database_url, worker_url, connect, grant, excess):
    conn = connect(database_url)
    conn.execute(grant)
    (only,) = found_by(worker_url, "warning")
    assert only["message"] == f"The role {LOGIN_ROLE} runs with more rights than it needs: it {excess}"
    for statement in STATEMENT.findall(only["fix"]):
        if statement.startswith("REVOKE"):
            conn.execute(statement)
    migrate_url(database_url)
    assert found_by(worker_url, "warning") == []


def test_one_client_alone_and_beside_another(database_url, worker_url, connect, twin):
    """What is written for A names nothing of B's and counts nothing of it; what is learned from both may differ."""
    (alone_url, alone), conn = twin, connect(database_url)
    a = add_company(conn, 1, 48)
    b = add_company(conn, 2, 97, source="zebra_source", tone="Zebralike", intent="zebra intent", name="Zebra Smith")
    insert(conn, "growth_brain", client_id=b, event_type="conversion", insight_text="zebra insight", confidence=0.5,
           learning_snapshot={"lead_id": numbered(2, 0), "lead_name": "Zebra Smith"})  # fmt: skip
    run(database_url, "all", "--as-of", "2025-03-29")  # B has snapshots, and models have learned from its leads
    of_others = snapshots(conn, b, None)
    for_a = ("all", "--as-of", DAY, "--client", a)
    told = [run(url, *for_a, "--dry-run").out for url in (database_url, worker_url)]
    assert told[0] == told[1]
    run(worker_url, *for_a)
    written = snapshots(conn)
    assert json.loads(run(database_url, *for_a, "--json").out)["status"] == "done"  # the owner, whom no policy binds
    assert snapshots(conn) == written
    assert snapshots(conn, b, None) == of_others
    of_a = snapshots(conn, a)
    assert len(of_a) > 10
    for trace in (b, "00000002-0000-4000-8000", "ebra", "Industry 2"):
        assert trace not in told[0] + json.dumps(of_a, default=str)
    assert 97 not in set(numbers([row["learning_snapshot"] for row in of_a]))

    assert add_company(alone, 1, 48) == a
    run(alone_url, "all", "--as-of", "2025-03-29")
    run(alone_url, *for_a)
    assert [counted(row) for row in of_a] == [counted(row) for row in snapshots(alone, a)]


def numbers(value):
    """All numbers in a JSON value, those inside of its texts too."""
    if isinstance(value, dict | list):
        for item in value.values() if isinstance(value, dict) else value:
            yield from numbers(item)
    elif isinstance(value, str):
        yield from map(int, re.findall(r"(?<![-\w.])\d+(?![-\w.])", value))
    elif value is not None:
        yield value


def counted(row):
    return row["event_type"], {k: v for k, v in row["learning_snapshot"].items() if k in COUNTED}
