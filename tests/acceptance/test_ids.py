"""Leads are the client's by its public id; installations that point to the internal one are understood."""

import pytest
from support import add_action, insert, run_worker, snapshots, utc

import worker.readings

DAY = "2025-03-31"


def test_leads_that_carry_the_internal_id_belong_to_the_same_client(empty_database_url, connect):
    conn = connect(empty_database_url)
    conn.execute("CREATE TABLE clients (id uuid PRIMARY KEY DEFAULT gen_random_uuid(), client_id uuid UNIQUE NOT NULL)")
    conn.execute(
        'CREATE TABLE lead_memory (id text PRIMARY KEY, client_id uuid REFERENCES clients (id), "timestamp" timestamp,'
        " confidence_score text)"
    )
    public = "00000000-0000-4000-8000-000000000001"
    internal = conn.execute("INSERT INTO clients (client_id) VALUES (%s) RETURNING id", [public]).fetchone()[0]
    for i, score in enumerate(("0.5", "1", "n/a", "0.9x")):
        insert(conn, "lead_memory", id=f"lead {i}", client_id=internal, timestamp=utc("03-20 10:00"),
               confidence_score=score)  # fmt: skip
    assert run_worker(empty_database_url, "migrate").code == 0
    outcome = run_worker(empty_database_url, "engagement_score", "--as-of", DAY)
    assert outcome.code == 0, outcome.err
    (row,) = [row for row in snapshots(conn, public) if row["event_type"] == "engagement_score"]
    metrics = row["learning_snapshot"]["metrics"]
    assert (metrics["total_leads"], metrics["avg_confidence"]) == (4, 0.75)


def test_rows_without_an_id_and_repeated_rows_are_counted_and_harmless(empty_database_url, connect):
    conn = connect(empty_database_url)
    conn.execute("CREATE TABLE clients (client_id uuid PRIMARY KEY)")
    conn.execute('CREATE TABLE lead_memory (id text, client_id uuid, urgency text, "timestamp" timestamptz)')
    public = "00000000-0000-4000-8000-000000000001"
    conn.execute("INSERT INTO clients VALUES (%s)", [public])
    for lead_id, urgency, when in (
        ("a", "Low", "03-19 10:00"),
        ("a", "High", "03-20 10:00"),
        (None, "Low", "03-20 10:00"),
    ):
        insert(conn, "lead_memory", id=lead_id, client_id=public, urgency=urgency, timestamp=utc(when))
    assert run_worker(empty_database_url, "migrate").code == 0
    outcome = run_worker(empty_database_url, "urgency_trend", "--as-of", DAY, "--json")
    assert outcome.code == 0, outcome.err
    passed_over = outcome.json["jobs"][0]["passed_over"]
    assert (passed_over["orphans"], passed_over["repeated"]) == (1, 1)
    (row,) = [row for row in snapshots(conn, public) if row["event_type"] == "urgency_trend"]
    assert row["learning_snapshot"]["counts"] == {"High": 1, "Medium": 0, "Low": 0, "unknown": 0}


@pytest.mark.parametrize("id_type", ["smallint", "integer", "bigint", "numeric", "varchar(20)", "char(8)"])
def test_events_are_recorded_whatever_the_type_of_a_leads_id(empty_database_url, connect, id_type):
    """By the first look, which sees everything, and by a later one at what changed."""
    conn = connect(empty_database_url)
    conn.execute("CREATE TABLE clients (client_id uuid PRIMARY KEY)")
    conn.execute(
        f'CREATE TABLE lead_memory (id {id_type} PRIMARY KEY, client_id uuid, name text, "timestamp" timestamptz)'
    )
    conn.execute(
        f"CREATE TABLE lead_actions (lead_id {id_type}, client_id uuid, action_type text, tag text,"
        ' conversion_outcome boolean, "timestamp" timestamptz)'
    )
    public = "00000000-0000-4000-8000-000000000001"
    conn.execute("INSERT INTO clients VALUES (%s)", [public])
    for number in (7, 8):
        insert(conn, "lead_memory", id=number, client_id=public, name=f"Lead {number}", timestamp=utc("03-01 10:00"))
    assert run_worker(empty_database_url, "migrate").code == 0
    for number, minute in ((7, 5), (8, 10)):
        when = utc(f"03-20 12:{minute - 1:02d}")
        add_action(conn, public, number, "tag", when, tag="Converted", conversion_outcome=True)
        as_of = f"2025-03-20T12:{minute:02d}:00"
        outcome = run_worker(empty_database_url, "conversion_events", "--as-of", as_of, "--json")
        assert outcome.code == 0, outcome.err
        assert outcome.json["jobs"][0]["inserted"] == 1
        assert ('"leads.read"' in outcome.err) == (number == 7)
    assert [row["learning_snapshot"]["lead_name"] for row in snapshots(conn, public)] == ["Lead 7", "Lead 8"]


def test_an_id_that_two_clients_share_is_read_in_the_whole(empty_database_url, connect, monkeypatch):
    """Under a key of id and client, whose actions these are is not seen in a shard; and names stay with one client."""
    conn = connect(empty_database_url)
    conn.execute("CREATE TABLE clients (client_id uuid PRIMARY KEY, business_name text)")
    conn.execute(
        "CREATE TABLE lead_memory (id text, client_id uuid, name text, urgency text, current_tag text,"
        ' "timestamp" timestamptz, PRIMARY KEY (id, client_id))'
    )
    clients = [f"00000000-0000-4000-8000-00000000000{n}" for n in (1, 2)]
    for client, name in zip(clients, ("Ada", "Grace"), strict=True):
        conn.execute("INSERT INTO clients VALUES (%s, 'Maple')", [client])
        insert(conn, "lead_memory", id="a", client_id=client, name=name, timestamp=utc("03-20 10:00"))
        insert(conn, "lead_memory", id=name, client_id=client, name=name, timestamp=utc("03-20 10:00"))
    assert run_worker(empty_database_url, "migrate").code == 0
    assert "lead_memory.id is not unique" in run_worker(empty_database_url, "check").out
    for client, lead in zip(clients, ("Ada", "a"), strict=True):
        add_action(conn, client, lead, "tag", utc("03-21 12:00"), tag="Converted", conversion_outcome=True)
    monkeypatch.setattr(worker.readings, "CLIENTS_IN_MEMORY", 0)
    outcome = run_worker(empty_database_url, "all", "--as-of", DAY, "--json")
    assert outcome.code == 0, outcome.err
    assert '"shards.of_one_reading"' in outcome.err
    events = [row for client in clients for row in snapshots(conn, client) if row["event_type"] == "conversion"]
    content = [(row["client_id"], row["learning_snapshot"]) for row in events]
    told = {(client, said["lead_id"], said["lead_name"]) for client, said in content}
    assert told == {(clients[0], "Ada", "Ada"), (clients[1], "a", None)}  # the first one's is not the second's to see
