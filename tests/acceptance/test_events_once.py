"""An event is told once, however it comes to be known: undated and then dated, by us and then by the application."""

from datetime import timedelta

from psycopg.types.json import Jsonb
from support import add_action, add_client, add_lead, insert, numbered, run_worker, snapshots, utc


def events(conn, client):
    return [row for row in snapshots(conn, client) if row["event_type"] == "conversion"]


def run(url, as_of, **environment):
    outcome = run_worker(url, "conversion_events", "--as-of", as_of, "--json", **environment)
    assert outcome.code == 0, outcome.err
    return outcome.json["jobs"][0]


def test_an_undated_conversion_that_is_dated_later_stays_one(database_url, connect):
    conn = connect(database_url)
    client = add_client(conn, 1)
    add_lead(conn, client, numbered(3, 0), utc("02-10 12:00"), current_tag="Converti")
    assert run(database_url, "2025-03-20")["passed_over"]["undated_conversions"] == 1
    assert [row["learning_snapshot"]["days_to_convert"] for row in events(conn, client)] == [None]
    between = {"from": "2025-02-10T12:00:00+00:00", "to": "2025-02-10T12:00:00+00:00"}
    assert [row["learning_snapshot"]["between"] for row in events(conn, client)] == [between]
    add_action(conn, client, numbered(3, 0), "tag", utc("03-25 12:00"), tag="Converti", conversion_outcome=True)
    assert run(database_url, "2025-03-30")["passed_over"]["undated_conversions"] == 0
    assert [row["learning_snapshot"]["days_to_convert"] for row in events(conn, client)] == [43]


def test_an_earlier_look_leaves_what_a_later_one_found(database_url, connect):
    """A second conversion that nothing dates is not taken for the first, which is all that the earlier look knows."""
    conn = connect(database_url)
    client = add_client(conn, 1)
    lead = add_lead(conn, client, numbered(3, 0), utc("02-10 12:00"), current_tag="Converted")
    conn.execute("UPDATE lead_memory SET last_updated = %s", [utc("03-22 09:00")])
    add_action(conn, client, lead, "tag", utc("02-15 12:00"), tag="Converted", conversion_outcome=True)
    add_action(conn, client, lead, "tag", utc("02-20 12:00"), tag="Active", conversion_outcome=False,
               reversion_reason="x")  # fmt: skip
    run(database_url, "2025-03-25")
    before = events(conn, client)
    assert [row["learning_snapshot"]["dated"] for row in before] == [True, False]
    run(database_url, "2025-02-16")
    assert events(conn, client) == before


def test_a_reversion_that_only_the_columns_tell_is_counted(database_url, connect):
    conn = connect(database_url)
    client = add_client(conn, 1)
    lead = add_lead(conn, client, numbered(3, 0), utc("02-10 12:00"), current_tag="Active")
    add_action(conn, client, lead, "tag", utc("02-15 12:00"), tag="Converted", conversion_outcome=True)
    passed_over = run(database_url, "2025-03-25")["passed_over"]
    assert (passed_over["undated_conversions"], passed_over["undated_reversions"]) == (0, 1)
    assert len(events(conn, client)) == 1


def test_the_applications_row_replaces_ours_when_it_comes_later(database_url, connect):
    conn = connect(database_url)
    client = add_client(conn, 1)
    add_lead(conn, client, numbered(3, 0), utc("03-01 12:00"))
    when = utc("03-25 10:00")
    add_action(conn, client, numbered(3, 0), "tag", when, tag="Converted", conversion_outcome=True)
    run(database_url, "2025-03-25")
    assert len(events(conn, client)) == 1
    insert(conn, "growth_brain", client_id=client, event_type="conversion", created_at=when + timedelta(seconds=1),
           learning_snapshot={"lead_id": numbered(3, 0)})  # fmt: skip
    assert run(database_url, "2025-03-26")["passed_over"]["already_on_record"] == 1
    assert len(events(conn, client)) == 1
    assert "period_key" not in events(conn, client)[0]["learning_snapshot"]


def test_the_time_zone_moves_an_events_day_but_doubles_nothing(database_url, connect):
    conn = connect(database_url)
    client = add_client(conn, 1)
    add_lead(conn, client, numbered(3, 0), utc("03-01 12:00"))
    add_action(conn, client, numbered(3, 0), "tag", utc("03-25 02:00"), tag="Converted", conversion_outcome=True)
    run(database_url, "2025-03-26")
    run(database_url, "2025-03-26", WORKER_TIMEZONE="America/Toronto")
    assert len(events(conn, client)) == 1


def test_a_row_dated_at_infinity_is_passed_over(database_url, connect):
    conn = connect(database_url)
    client = add_client(conn, 1)
    add_lead(conn, client, numbered(3, 0), utc("03-01 12:00"))
    add_action(conn, client, numbered(3, 0), "tag", utc("03-25 02:00"), tag="Converted", conversion_outcome=True)
    conn.execute(
        "INSERT INTO growth_brain (client_id, event_type, created_at, learning_snapshot)"
        " VALUES (%s, 'conversion', 'infinity', %s)",
        [client, Jsonb({"lead_id": numbered(3, 0)})],
    )
    assert run(database_url, "2025-03-26")["inserted"] == 1


def test_the_insert_action_of_a_lead_does_not_make_it_engaged(database_url, connect):
    conn = connect(database_url)
    client = add_client(conn, 1)
    insert(conn, "lead_memory", id=numbered(3, 0), client_id=client, timestamp=utc("03-10 00:00"), urgency="High")
    add_action(conn, client, numbered(3, 0), "insert", utc("03-10 00:06"), tag="New Lead")
    assert run_worker(database_url, "engagement_score", "--as-of", "2025-03-30").code == 0
    (row,) = [row for row in snapshots(conn, client) if row["event_type"] == "engagement_score"]
    assert row["learning_snapshot"]["score"]["raw"] == 50


def test_leads_with_a_slip_for_a_timestamp_are_seen_by_every_job(database_url, connect):
    conn = connect(database_url)
    client = add_client(conn, 1)
    for number, stamp in enumerate(("1970-01-01 00:00", "03-10 10:00", "-infinity")):
        add_lead(conn, client, numbered(3, number), utc("03-10 10:00"))
        conn.execute(
            'UPDATE lead_memory SET "timestamp" = %s WHERE id = %s',
            [stamp if not stamp.startswith("03") else utc(stamp), numbered(3, number)],
        )
    assert run_worker(database_url, "all", "--as-of", "2025-03-30").code == 0
    found = {row["event_type"]: row["learning_snapshot"]["n"] for row in snapshots(conn, client)}
    assert found == dict.fromkeys(
        ("engagement_score", "urgency_trend", "tone_distribution", "conversion_prediction"), 3
    )


def of_one_lead(conn, tag):
    """Add a client whose only lead, since 10 February, has a tag now; give the connection and both."""
    client = add_client(conn, 1)
    return conn, client, add_lead(conn, client, numbered(3, 0), utc("02-10 12:00"), current_tag=tag)


def stamp(conn, lead, instant):
    """Click the outcome, as the application does where recording the action fails."""
    conn.execute(
        "UPDATE lead_memory SET outcome_status = 'client_closed', client_closed_at = %(at)s, last_updated = %(at)s"
        " WHERE id::text = %(id)s", {"at": instant, "id": lead}
    )  # fmt: skip


def test_an_outcome_that_is_clicked_again_is_one_conversion(database_url, connect):
    """Its stamp is rewritten, so that nothing but our own row tells when it was; a reversion makes room for another."""
    conn, client, lead = of_one_lead(connect(database_url), "Active")
    stamp(conn, lead, utc("02-20 12:00"))
    run(database_url, "2025-02-25")
    first = events(conn, client)
    assert [row["learning_snapshot"]["days_to_convert"] for row in first] == [10]
    stamp(conn, lead, utc("03-05 12:00"))
    run(database_url, "2025-03-06")
    assert events(conn, client) == first
    add_action(conn, client, lead, "outcome_update", utc("03-10 12:00"), tag="client_closed")
    stamp(conn, lead, utc("03-10 12:00"))
    assert run(database_url, "2025-03-11")["inserted"] == 0
    shown = run_worker(database_url, "conversion_events", "--as-of", "2025-03-11", "--dry-run")
    assert (shown.code, shown.out) == (0, "")
    assert events(conn, client) == first
    add_action(conn, client, lead, "revert", utc("03-15 12:00"))
    add_action(conn, client, lead, "outcome_update", utc("03-20 12:00"), tag="client_closed")
    stamp(conn, lead, utc("03-20 12:00"))
    run(database_url, "2025-03-25")
    assert [row["created_at"] for row in events(conn, client)] == [utc("02-20 12:00"), utc("03-20 12:00")]


def test_an_outcome_that_was_cleared_before_it_was_clicked_again_is_two_conversions(database_url, connect):
    """The first one's action is missing, its end is on record."""
    conn, client, lead = of_one_lead(connect(database_url), "Active")
    stamp(conn, lead, utc("02-20 12:00"))
    run(database_url, "2025-02-25")
    add_action(conn, client, lead, "outcome_update", utc("03-01 12:00"))
    stamp(conn, lead, utc("03-05 12:00"))
    run(database_url, "2025-03-06")
    assert [row["created_at"] for row in events(conn, client)] == [utc("02-20 12:00"), utc("03-05 12:00")]


def test_a_stamp_and_the_tag_that_follows_are_one_conversion_whenever_one_looks(database_url, connect):
    conn, client, lead = of_one_lead(connect(database_url), "Converti")
    stamp(conn, lead, utc("02-20 12:00"))
    add_action(conn, client, lead, "tag", utc("03-10 12:00"), tag="Converti", conversion_outcome=True)
    for day in ("2025-02-25", "2025-03-25"):
        run(database_url, day)
        assert [row["learning_snapshot"]["days_to_convert"] for row in events(conn, client)] == [10]


def test_a_tag_that_is_taken_away_from_a_customer_by_its_outcome_is_no_reversion(database_url, connect):
    conn, client, lead = of_one_lead(connect(database_url), "Suivi")
    add_action(conn, client, lead, "tag", utc("02-15 12:00"), tag="Converti", conversion_outcome=True)
    add_action(conn, client, lead, "tag", utc("03-10 12:00"), tag="Suivi")
    stamp(conn, lead, utc("02-20 12:00"))
    run(database_url, "2025-03-25")
    (conversion,) = snapshots(conn, client)
    assert (conversion["event_type"], conversion["learning_snapshot"]["days_to_convert"]) == ("conversion", 5)
