"""Conversions and reversions over time, the application's own rows, and the seed's queries on a simulated company."""

from datetime import UTC, date, datetime, time, timedelta
from zoneinfo import ZoneInfo

import numpy as np
import psycopg
import pytest
from support import (
    PROJECT,
    add_action,
    add_client,
    add_lead,
    add_simple_leads,
    counts,
    insert,
    numbered,
    run_worker,
    snapshots,
    utc,
)

from worker.demo_data import load_world
from worker.ledger import read_last_period
from worker.simulate import company_world, demo_plan

DAY = "2025-03-30"
AS_OF = datetime(2025, 3, 31, tzinfo=UTC)
EXAMPLE_CLIENT = "550e8400-e29b-41d4-a716-446655440000"  # the seed's


def run(url, *arguments, **environment):
    outcome = run_worker(url, *arguments, **environment)
    assert outcome.code == 0, outcome.err
    return outcome


def events(conn, client=None):
    return [
        (row["event_type"], row["learning_snapshot"]["lead_id"], row["created_at"])
        for row in snapshots(conn)
        if row["event_type"] in ("conversion", "reversion") and client in (None, row["client_id"])
    ]


def convert(conn, client, lead, when, **columns):
    add_action(conn, client, lead, "tag", when, tag="Converted", conversion_outcome=True, **columns)
    conn.execute("UPDATE lead_memory SET current_tag = 'Converted' WHERE id = %s", [lead])


def test_events_are_dated_when_they_happened_and_written_once(database_url, connect):
    conn = connect(database_url)
    client, other = add_client(conn, 1), add_client(conn, 2)
    add_simple_leads(conn, other, 2, 10, AS_OF)
    lead = add_lead(conn, client, numbered(1, 1), utc("03-01 10:00"), urgency="Low")
    run(database_url, "conversion_events", "--as-of", "2025-03-04")
    assert events(conn) == []
    convert(conn, client, lead, utc("03-05 12:00"))
    run(database_url, "conversion_events", "--as-of", "2025-03-04")
    assert events(conn) == []  # not yet, as of then
    run(database_url, "conversion_events", "--as-of", "2025-03-06")
    assert events(conn) == [("conversion", lead, utc("03-05 12:00"))]
    first = snapshots(conn)
    add_action(conn, client, lead, "tag", utc("03-10 09:00"), tag="Active", conversion_outcome=False,
               reversion_reason="Placed in converted by accident")  # fmt: skip
    conn.execute("UPDATE lead_memory SET current_tag = 'Active' WHERE id = %s", [lead])
    convert(conn, client, lead, utc("03-20 09:00"))
    for day in ("2025-03-11", DAY, "2025-03-21", "2025-03-07", DAY):
        run(database_url, "conversion_events", "--as-of", day)
    assert events(conn) == [
        ("conversion", lead, utc("03-05 12:00")),
        ("conversion", lead, utc("03-20 09:00")),
        ("reversion", lead, utc("03-10 09:00")),
    ]
    assert [row for row in snapshots(conn) if row["created_at"] == utc("03-05 12:00")] == first
    days = [row["learning_snapshot"].get("days_to_convert") for row in snapshots(conn)]
    assert days == [4, 18, None]


def test_outcomes_count_as_conversions(database_url, connect):
    conn = connect(database_url)
    client = add_client(conn, 1)
    by_action = add_lead(conn, client, numbered(1, 1), utc("03-01 10:00"))
    add_action(conn, client, by_action, "outcome_update", utc("03-08 10:00"), tag="meeting_booked")
    add_action(conn, client, by_action, "outcome_update", utc("03-09 10:00"), tag="client_closed")
    add_action(conn, client, by_action, "outcome_update", utc("03-09 11:00"), tag="client_closed")  # clicked again
    by_column = add_lead(conn, client, numbered(1, 2), utc("03-01 10:00"))
    conn.execute("UPDATE lead_memory SET outcome_status = 'client_closed', client_closed_at = '2025-03-12 10:00Z'")
    run(database_url, "conversion_events", "--as-of", DAY)
    assert events(conn) == [
        ("conversion", by_action, utc("03-09 10:00")),
        ("conversion", by_column, utc("03-12 10:00")),
    ]
    assert [row["learning_snapshot"]["days_to_convert"] for row in snapshots(conn)] == [8, 11]
    assert [row["learning_snapshot"]["touch_points"] for row in snapshots(conn)] == [2, 1]


def test_the_applications_own_rows_are_kept_and_never_doubled(database_url, connect):
    conn = connect(database_url)
    client = add_client(conn, 1)
    leads = [add_lead(conn, client, numbered(1, i), utc("03-01 10:00")) for i in range(3)]
    for lead in leads:
        convert(conn, client, lead, utc("03-05 12:00"))
    theirs = {"lead_id": leads[0], "days_to_convert": 4, "touch_points": 2, "initial_urgency": "High"}
    insert(conn, "growth_brain", client_id=client, event_type="conversion", learning_snapshot=theirs,
           insight_text='Lead "Sarah" converted in 4 days', confidence=0.95, created_at=utc("03-05 20:00"))  # fmt: skip
    # too far away to be the same event, and a row that says nothing of its lead
    insert(conn, "growth_brain", client_id=client, event_type="conversion", learning_snapshot={"lead_id": leads[1]},
           created_at=utc("02-05 12:00"))  # fmt: skip
    insert(conn, "growth_brain", client_id=client, event_type="conversion", learning_snapshot=None)
    insert(conn, "growth_brain", client_id=None, event_type="reversion", learning_snapshot=[1, 2])
    before = conn.execute("SELECT g::text FROM growth_brain g ORDER BY id").fetchall()
    for day in (DAY, "2025-03-06", DAY):
        run(database_url, "all", "--as-of", day)
    mine = conn.execute(
        "SELECT learning_snapshot ->> 'lead_id' FROM growth_brain WHERE event_type = 'conversion'"
        " AND learning_snapshot ? 'period_key' ORDER BY 1"
    ).fetchall()
    assert mine == [(leads[1],), (leads[2],)]
    after = conn.execute(
        "SELECT g::text FROM growth_brain g WHERE NOT coalesce(learning_snapshot ? 'period_key', false) ORDER BY id"
    ).fetchall()
    assert after == before


def test_names_can_be_left_out(database_url, connect):
    conn = connect(database_url)
    for number, language in ((1, "en"), (2, "fr")):
        client = add_client(conn, number, language=language)
        lead = add_lead(conn, client, numbered(number, 1), utc("03-01 10:00"), name="Zebulon Quux")
        convert(conn, client, lead, utc("03-05 12:00"))
        add_action(conn, client, lead, "tag", utc("03-10 09:00"), tag="Active", conversion_outcome=False,
                   reversion_reason="Other: Zebulon Quux moved away")  # fmt: skip
        conn.execute("UPDATE lead_memory SET current_tag = 'Active'")
    run(database_url, "all", "--as-of", DAY, WORKER_STORE_LEAD_NAMES="false")
    assert len(events(conn)) == 4
    for row in snapshots(conn):
        assert "Quux" not in str(row)
        if row["event_type"] == "reversion":
            assert row["learning_snapshot"]["reason"] == "Other"
            assert row["learning_snapshot"]["lead_name"] is None
    conn.execute("TRUNCATE growth_brain")
    run(database_url, "all", "--as-of", DAY)
    named = [row for row in snapshots(conn) if "Quux" in str(row)]
    assert {row["event_type"] for row in named} == {"conversion", "reversion"}
    assert all(row["learning_snapshot"]["lead_name"] == "Zebulon Quux" for row in named)
    assert len(named) == 4


@pytest.fixture(scope="module")
def company(server):
    """A simulated company set after all jobs; its connection, a client's id and its address."""
    as_of = datetime(2025, 3, 31, tzinfo=UTC)
    plan = {number: planted for number, planted in demo_plan(100).items() if number < 8}
    world = company_world(np.random.default_rng(5), as_of, 8, 365, plan)
    url = server.create_database(server.template)
    with psycopg.connect(url, autocommit=True) as conn:
        load_world(conn, world)
        run(url, "all", "--as-of", DAY)
        yield conn, world, url
    server.drop_database(url)


def example_queries():
    """The seed's four examples, from the copy that the tests keep of its words."""
    text = (PROJECT / "tests" / "acceptance" / "seed_queries.sql").read_text(encoding="utf-8")
    return [statement.strip() for statement in text.split(";") if statement.strip()]


def ask(conn, number, client):
    cursor = conn.execute(example_queries()[number].replace(EXAMPLE_CLIENT, client))
    return [column.name for column in cursor.description], cursor.fetchall()


def pooled_client(conn):
    """The real client with the most conversions."""
    return conn.execute(
        "SELECT client_id::text FROM growth_brain WHERE event_type = 'conversion'"
        " GROUP BY 1 ORDER BY count(*) DESC, 1 LIMIT 1"
    ).fetchone()[0]


def test_the_seeds_latest_insights(company):
    conn, _, _ = company
    columns, rows = ask(conn, 0, pooled_client(conn))
    assert columns == ["event_type", "insight_text", "metrics", "confidence", "created_at"]
    assert len(rows) == 10
    assert {row[0] for row in rows} >= {
        "engagement_score",
        "urgency_trend",
        "tone_distribution",
        "conversion_prediction",
    }
    (metrics,) = [row[2] for row in rows if row[0] == "engagement_score"]
    assert set(metrics) == {"total_leads", "active_leads", "avg_confidence", "high_urgency_pct"}
    assert all(row[1] and 0.01 <= float(row[3]) <= 0.99 for row in rows)
    assert rows == sorted(rows, key=lambda row: row[4], reverse=True)


def test_the_seeds_conversions(company):
    conn, world, _ = company
    columns, rows = ask(conn, 1, "")
    assert columns == ["client_id", "lead_name", "days", "created_at"]
    names = {lead.name for lead in world.leads}
    assert len(rows) > 10
    assert all(name in names and 0 <= int(days) <= 7 for _, name, days, _ in rows)


def test_the_seeds_conversion_times(company):
    conn, world, _ = company
    client = pooled_client(conn)
    columns, ((average, total, fastest, slowest),) = ask(conn, 2, client)
    assert columns == ["avg_days", "total_conversions", "fastest", "slowest"]
    assert 0 <= fastest < average < slowest < 365
    wins = {a.lead_id for a in world.actions if a.client_id == client and a.conversion_outcome and a.timestamp < AS_OF}
    assert total >= len(wins) > 0


def test_the_seeds_high_confidence_predictions(company):
    conn, _, _ = company
    columns, rows = ask(conn, 3, "")
    assert columns == ["event_type", "insight_text", "confidence", "predictions", "created_at"]
    assert {row[0] for row in rows} <= {"conversion_prediction"}
    assert all(row[2] >= 0.8 and isinstance(row[3], int) for row in rows)
    everything = conn.execute(
        "SELECT count(*) FROM growth_brain WHERE event_type = 'conversion_prediction' AND confidence >= 0.8"
    ).fetchone()
    assert len(rows) == min(20, everything[0])


def test_the_examples_are_the_seeds_word_for_word():
    seed = PROJECT.parent / "shared" / "seed-schema-reference.txt"
    if not seed.is_file():
        pytest.skip("the seed is not in ../shared beside the project")

    def words(text):
        return " ".join(text.split())

    seed_words = words(seed.read_text(encoding="utf-8"))
    queries = example_queries()
    assert len(queries) == 4
    for statement in queries:
        assert words(statement) + ";" in seed_words


def test_every_pattern_has_the_seeds_keys(company):
    conn, _, _ = company
    patterns = [row["learning_snapshot"] for row in snapshots(conn) if row["event_type"] == "pattern_detected"]
    assert patterns
    for content in patterns:
        assert {"pattern_type", "affected_leads", "time_period", "confidence", "recommendation", "data_points"} <= set(
            content
        )
        subject, direction = content["pattern_type"].rsplit("_", 1)
        assert subject in ("urgency", "tone", "intent", "source", "language", "volume", "repeat_contact",
                           "conversion_rate")  # fmt: skip
        assert direction in ("increasing", "decreasing")
        assert content["claim_key"] == ":".join((content["pattern_type"], content["value"] or "", content["against"]))
        assert content["claim"]["kind"] == "effect_sign"
        assert content["claim"]["sign"] == (1 if direction == "increasing" else -1)
        assert content["check"]["resolver"] in ("split_half", "next_window")
        assert content["against"] in ("own_past", "pool")
        assert content["first_seen"] == content["period_key"]
        assert content["status"] == "new"
        assert content["first_seen"] <= content["last_seen"] == DAY
        assert len(content["data_points"]) == 8
        assert content["affected_leads"] <= content["n"]


def test_the_first_runs_allowance_is_spent_once(server, connect):
    """Runs for one client and released ones leave no done period behind, but what they learned tells that they were."""
    world = company_world(np.random.default_rng(7), AS_OF, 3, 120, None)
    url = server.create_database(server.template)
    try:
        conn = connect(url)
        load_world(conn, world)
        client = str(conn.execute("SELECT client_id FROM clients ORDER BY 1").fetchone()[0])
        zone = ZoneInfo("America/Toronto")

        def level(day):
            """Give the level of the model of that day's end."""
            as_of = datetime.combine(day + timedelta(days=1), time.min, tzinfo=zone)
            return conn.execute(
                "SELECT (parameters ->> 'level')::float8 FROM worker.models"
                " WHERE job = 'pattern_detection' AND as_of = %s",
                [as_of],
            ).fetchone()[0]

        days = [date(2025, 3, 26) + timedelta(days=n) for n in range(4)]
        for arguments, day in zip((["--client", client], [], ["--client", client], []), days, strict=True):
            run(url, "pattern_detection", "--as-of", str(day), *arguments, WORKER_TIMEZONE=zone.key)
            if day == days[1]:
                conn.execute("UPDATE worker.runs SET status = 'released'")
        assert [level(day) for day in days[1:]] == [pytest.approx(level(days[0]) / 365)] * 3
        with psycopg.connect(url) as other:
            periods = [read_last_period(other, "pattern_detection", datetime(2025, 3, d, 9, tzinfo=zone))
                       for d in (26, 27, 28, 30, 31)]  # fmt: skip
        assert periods == [None, str(days[0]), str(days[1]), str(days[3]), str(days[3])]
        conn.close()
    finally:
        server.drop_database(url)


def test_a_deleted_client_takes_everything_along(server, connect):
    world = company_world(np.random.default_rng(6), AS_OF, 3, 120, None)
    url = server.create_database(server.template)
    try:
        conn = connect(url)
        load_world(conn, world)
        run(url, "all", "--as-of", DAY)
        client = pooled_client(conn)
        tables = ("lead_memory", "lead_actions", "growth_brain")
        of_client = [f"{table} WHERE client_id = '{client}'" for table in tables]
        assert min(counts(conn, *of_client)) > 0
        conn.execute("DELETE FROM clients WHERE client_id = %s", [client])
        assert counts(conn, *of_client) == (0, 0, 0)
        run(url, "all", "--as-of", "2025-03-31")
        assert counts(conn, *of_client) == (0, 0, 0)
        conn.close()
    finally:
        server.drop_database(url)


def test_a_pattern_that_lasts_keeps_its_row(company):
    conn, _, url = company
    before = {row["id"]: row for row in snapshots(conn) if row["event_type"] == "pattern_detected"}
    later = [str((AS_OF + timedelta(days=n)).date()) for n in (0, 1)]
    for day in later:
        run(url, "pattern_detection", "--as-of", day)
    after = {row["id"]: row for row in snapshots(conn) if row["event_type"] == "pattern_detected"}
    assert set(before) <= set(after)
    lasting = [row for row in after.values() if row["id"] in before and row["learning_snapshot"]["last_seen"] > DAY]
    assert lasting
    assert all(row["learning_snapshot"]["first_seen"] == DAY for row in lasting)
    assert {row["learning_snapshot"]["status"] for row in lasting} == {"continuing"}
    assert all("not new" in row["insight_text"] or "déjà connue" in row["insight_text"] for row in lasting)
    keys = [(row["client_id"], row["learning_snapshot"]["claim_key"]) for row in after.values()]
    assert len(set(keys)) == len(keys)
    run(url, "pattern_detection", "--as-of", later[-1])  # the same period again finds its own rows, and says the same
    rerun = {row["id"]: row for row in snapshots(conn) if row["event_type"] == "pattern_detected"}
    assert rerun == after
    run(url, "pattern_detection", "--as-of", DAY)  # an older look does not touch what was seen since
    carried = [row["learning_snapshot"]["carried_from"] for row in lasting]
    assert all(0 < state["probability"] <= 1 and state["as_of"] < str(AS_OF + timedelta(days=2)) for state in carried)
    again = {row["id"]: row for row in snapshots(conn) if row["event_type"] == "pattern_detected"}
    assert {i: row for i, row in again.items() if i in {r["id"] for r in lasting}} == {r["id"]: r for r in lasting}
