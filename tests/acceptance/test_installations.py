"""Databases as they are found: absurd leads, other types, columns and tables that are missing."""

import uuid
from datetime import UTC, datetime, timedelta

import pytest
from psycopg.types.json import Jsonb
from support import (
    add_client,
    add_lead,
    add_simple_leads,
    by_type,
    insert,
    numbered,
    run_worker,
    snapshots,
    utc,
)

from worker.leads import to_microseconds

DAY = "2025-03-30"
AS_OF = datetime(2025, 3, 31, tzinfo=UTC)
MEGABYTE = "Größe 🎉\\u0000 " * 80_000
NUL_HISTORY = Jsonb('[{"value": "High\\u0000", "timestamp": "2025-03-01T00:00:00\\u0000Z"}, {"value": "\\u0000"}]')
ABSURD_HISTORIES = (
    NUL_HISTORY,
    Jsonb("not JSON at all"),
    Jsonb("[" * 5_000),
    Jsonb({"value": "High"}),
    Jsonb([None, 7, True, [], {}, {"value": {"a": 1}, "timestamp": 5}, {"value": [1], "timestamp": "soon"}]),
    Jsonb(
        [{"value": 1.7, "timestamp": "2090-01-01T00:00:00Z"}, {"value": -3, "timestamp": "0001-01-01T00:00:00+14:00"}]
    ),
    Jsonb([{"value": "🙂" * 500, "timestamp": "9999-12-31T23:59:59-14:00"}]),
    Jsonb(3),
    Jsonb(None),
    None,
)
ABSURD_INSTANTS = (
    "2090-01-01",
    "infinity",
    "-infinity",
    "4713-01-01 BC",
    "294276-12-31",
    "1970-01-01",
    "0044-03-15 BC",
)
ABSURD_WORDS = ("ASAP!!", "🔥🔥🔥", "", "   ", "null", "N/A", "\u202eHigh", "High\n", "x" * 100_000, "1.7", "{}", None)


def add_absurd_leads(conn, client):
    """Every nullable column null; and each column, absurd in every way that its type allows."""
    insert(conn, "lead_memory", id=numbered(6, 0), client_id=client, archived=False, deleted=False,
           urgency_history=None, tone_history=None, confidence_history=None, language=None, current_tag=None,
           last_updated=None, timestamp=utc("03-20 10:00"))  # fmt: skip
    for i in range(40):
        word = ABSURD_WORDS[i % len(ABSURD_WORDS)]
        history = ABSURD_HISTORIES[i % len(ABSURD_HISTORIES)]
        insert(
            conn,
            "lead_memory",
            id=numbered(6, 1 + i),
            client_id=None if i == 5 else client,
            name=word,
            email=word,
            message=MEGABYTE if i == 3 else word,
            ai_summary=MEGABYTE if i == 3 else word,
            language=word,
            intent=word,
            tone=word,
            urgency=word,
            source=word,
            current_tag=("Converted", word)[i % 2],
            confidence_score=(0, 1, None)[i % 3],
            relationship_insight=word,
            urgency_history=history,
            tone_history=history,
            confidence_history=history,
            timestamp=ABSURD_INSTANTS[i % len(ABSURD_INSTANTS)] if i % 3 else utc("03-20 10:00"),
            last_updated=(None, *ABSURD_INSTANTS)[i % 8],
            client_closed_at=(None, *ABSURD_INSTANTS)[i % 5],
            no_sale_at=(None, *ABSURD_INSTANTS)[i % 6],
            archived=i % 7 == 0,
        )
        for when in (ABSURD_INSTANTS[i % len(ABSURD_INSTANTS)], "2025-03-21"):
            insert(conn, "lead_actions", lead_id=numbered(6, 1 + i), client_id=None, action_type=word or "🎉", tag=word,
                   conversion_outcome=(True, False, None)[i % 3], reversion_reason=word, timestamp=when)  # fmt: skip


def test_absurd_leads_stop_nothing_and_move_nobody_else(database_url, connect):
    conn = connect(database_url)
    sane = [add_client(conn, 1), add_client(conn, 2, language="fr")]
    add_simple_leads(conn, sane[0], 1, 40, AS_OF)
    add_simple_leads(conn, sane[1], 2, 10, AS_OF)
    absurd = add_client(conn, 3, is_test=True)  # outside the pool: it must then move nothing at all
    assert run_worker(database_url, "all", "--as-of", DAY).code == 0
    before = snapshots(conn, None, *sane)
    add_absurd_leads(conn, absurd)
    outcome = run_worker(database_url, "all", "--as-of", DAY, "--json")
    assert outcome.code == 0, outcome.err
    assert not any(job["failed_clients"] for job in outcome.json["jobs"])
    assert snapshots(conn, None, *sane) == before
    said = snapshots(conn, absurd)
    assert "engagement_score" in {row["event_type"] for row in said}
    content = by_type([row for row in said if row["event_type"] == "urgency_trend"])["urgency_trend"]
    assert content["learning_snapshot"]["counts"]["unknown"] > 0


def test_absurd_leads_in_the_pool(database_url, connect):
    conn = connect(database_url)
    sane = add_client(conn, 1)
    add_simple_leads(conn, sane, 1, 40, AS_OF)
    assert run_worker(database_url, "all", "--as-of", DAY).code == 0
    before = by_type([row for row in snapshots(conn, sane) if row["event_type"] != "pattern_detected"])
    add_absurd_leads(conn, add_client(conn, 3))
    assert run_worker(database_url, "all", "--as-of", DAY, WORKER_TIMEZONE="UTC").code == 0
    after = by_type([row for row in snapshots(conn, sane) if row["event_type"] != "pattern_detected"])
    for event_type, key in (
        ("engagement_score", "metrics"),
        ("engagement_score", "parts"),
        ("urgency_trend", "data_points"),
        ("tone_distribution", "distribution"),
        ("conversion_prediction", "cohort"),
    ):
        assert after[event_type]["learning_snapshot"][key] == before[event_type]["learning_snapshot"][key]
    assert run_worker(database_url, "all", "--as-of", "2024-01-01").code == 0


def test_leads_of_nobody_and_without_a_date_are_counted(database_url, connect):
    conn = connect(database_url)
    client = add_client(conn, 1)
    add_simple_leads(conn, client, 1, 10, AS_OF)
    add_lead(conn, None, numbered(2, 1), utc("03-20 10:00"))
    insert(conn, "lead_memory", id=numbered(2, 2), client_id=client, timestamp="infinity")
    add_lead(conn, client, numbered(2, 3), utc("03-20 10:00"), is_test=True)
    outcome = run_worker(database_url, "engagement_score", "--as-of", DAY, "--json")
    assert outcome.code == 0
    assert outcome.json["jobs"][0]["passed_over"] == {
        "orphans": 1,
        "undated": 1,
        "test_leads": 1,
        "unusable_clients": 0,
        "repeated": 0,
    }


INSTALLATION = """
    CREATE TABLE clients (id uuid PRIMARY KEY DEFAULT gen_random_uuid(),
        client_id {client_type} UNIQUE NOT NULL, business_name text NOT NULL {client_columns});
    CREATE TABLE lead_memory (id {lead_type} PRIMARY KEY, client_id {client_type}, name text,
        tone varchar(100), urgency varchar(50), confidence_score numeric(5,2), current_tag varchar(100),
        "timestamp" timestamptz {lead_columns});
"""
ACTIONS = """
    CREATE TABLE lead_actions (id uuid PRIMARY KEY DEFAULT gen_random_uuid(), lead_id {lead_type} NOT NULL,
        client_id {client_type}, {kind} varchar(50) NOT NULL, tag varchar(100), {when} timestamptz NOT NULL);
"""
KINDS = {
    "client_type": "uuid",
    "lead_type": "text",
    "client_columns": ", language text, is_test boolean",
    "lead_columns": ", archived boolean, deleted boolean, urgency_history jsonb",
    "kind": "action_type",
    "when": '"timestamp"',
    "actions": True,
}


@pytest.mark.parametrize(
    "differences",
    [
        {},
        {"client_type": "text"},
        {"lead_type": "varchar(255)", "kind": "action"},
        {"kind": "action", "when": "created_at"},
        {"lead_columns": ""},
        {"client_columns": "", "lead_columns": ""},
        {"actions": False},
        {"actions": False, "client_columns": "", "lead_columns": "", "client_type": "text"},
    ],
    ids=lambda differences: " ".join(f"{k}={v or 'none'}" for k, v in differences.items()) or "text lead ids",
)
def test_an_existing_installation(empty_database_url, connect, differences):
    """Its own tables, completed by migrate; the hand-made numbers come out of the columns that are there."""
    conn = connect(empty_database_url)
    there = KINDS | differences
    conn.execute(INSTALLATION.format(**there))
    if there["actions"]:
        conn.execute(ACTIONS.format(**there))
    clients = [numbered(9, 1), numbered(9, 2)]
    for client in clients:
        conn.execute("INSERT INTO clients (client_id, business_name) VALUES (%s, 'Maple')", [client])
    if there["client_type"] == "text":
        conn.execute("INSERT INTO clients (client_id, business_name) VALUES ('avenir-internal-client', 'Avenir')")
    first = [("High", 0.5, "03-05"), ("Moyenne", "NaN", "03-10"), ("Haute", 85, "03-15"), ("low", None, "03-25")]
    for number, client in enumerate(clients):
        for i, (urgency, score, when) in enumerate(first[number:]):
            arrival = utc(f"{when} 12:00")
            lead = f"lead_{to_microseconds(arrival) // 1000}_{number}{i}abcdefg"
            insert(conn, "lead_memory", id=lead, client_id=client, urgency=urgency, tone="Amical",
                   confidence_score=score, timestamp=arrival if i else utc("03-28 12:00"),
                   current_tag="Converti" if i == 2 else None, name=f"Lead {i}")  # fmt: skip
            if there["actions"]:
                when_column = there["when"].strip('"')
                insert(conn, "lead_actions", lead_id=lead, client_id=client, **{
                    there["kind"]: "insert", "tag": "New Lead", when_column: arrival})  # fmt: skip
                if i == 2:
                    insert(conn, "lead_actions", lead_id=lead, client_id=client, **{
                        there["kind"]: "tag", "tag": "Converti", when_column: arrival + timedelta(days=1)})  # fmt: skip
    migrated = run_worker(empty_database_url, "migrate")
    assert migrated.code == 0, migrated.err
    if not there["actions"]:
        conn.execute("DROP TABLE lead_actions")
    check = run_worker(empty_database_url, "check")
    assert check.code == 0, check.out
    outcome = run_worker(empty_database_url, "all", "--as-of", DAY, "--json")
    assert outcome.code == 0, outcome.err
    assert outcome.json["jobs"][0]["passed_over"]["unusable_clients"] == 0  # any text is an id there
    rows = snapshots(conn, clients[0])
    content = {row["event_type"]: row["learning_snapshot"] for row in rows}
    engagement, urgency = content["engagement_score"], content["urgency_trend"]
    # a confidence of NaN or 85 is none; who cannot be dated by an action is converted by its tag all the same
    assert engagement["metrics"] == {
        "total_leads": 4,
        "active_leads": 3,
        "avg_confidence": 0.5,
        "high_urgency_pct": 0.5,
    }
    assert engagement["top_sources"] == []
    assert urgency["counts"] == {"High": 2, "Medium": 1, "Low": 1, "unknown": 0}
    # the first lead arrived when its id says, although its timestamp is of a later contact
    assert [point["leads"] for point in urgency["data_points"]] == [0, 0, 0, 0, 1, 2, 0, 1]
    assert content["tone_distribution"]["counts"]["Friendly"] == 4
    conversion = content["conversion"]
    assert conversion["days_to_convert"] == (1 if there["actions"] else None)
    assert conversion["lead_name"] == "Lead 2"
    assert run_worker(empty_database_url, "all", "--as-of", DAY).code == 0
    assert snapshots(conn, clients[0]) == rows
    assert uuid.UUID(rows[0]["id"])
