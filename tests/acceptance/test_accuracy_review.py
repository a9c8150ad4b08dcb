"""accuracy_review and `accuracy` on a database: past claims beside what came, and what the next predictions learn."""

from datetime import UTC, datetime, timedelta

import numpy as np
import psycopg
import pytest
from psycopg.conninfo import conninfo_to_dict
from psycopg.types.json import Jsonb
from support import add_action, add_client, add_lead, numbered, run_worker, snapshots, utc
from test_accuracy import rows_of_all_tables

from worker.database.pool import Database
from worker.demo_data import load_world
from worker.growth_brain import read_claims
from worker.review.claims import PastClaim
from worker.simulate import company_world

DAYS = ("2024-12-30", "2025-01-29", "2025-02-28", "2025-03-30")
END = datetime(2025, 3, 31, tzinfo=UTC)


@pytest.fixture(scope="module")
def companies(server):
    """A database of twenty companies, in which every job was run at four past instants thirty days apart."""
    url = server.create_database(server.template)
    with psycopg.connect(url, autocommit=True) as conn:
        load_world(conn, company_world(np.random.default_rng(5), END, 20, 240, special_clients=False))
    for day in DAYS:
        outcome = run_worker(url, "all", "--as-of", day)
        assert outcome.code == 0, outcome.err
    yield str(conninfo_to_dict(url)["dbname"])
    server.drop_database(url)


@pytest.fixture
def database_url(server, request):
    """A database of the test alone: of those companies where it asks for what is reviewed, or else without rows."""
    template = request.getfixturevalue("companies") if "reviewed" in request.fixturenames else server.template
    url = server.create_database(template)
    yield server.pooler.through(url) if server.pooler else url
    server.drop_database(url)


@pytest.fixture
def reviewed(database_url, connect):
    return connect(database_url)


def reviews(conn):
    return [row for row in snapshots(conn) if row["event_type"] == "accuracy_review"]


def newest(conn):
    """The last day's reviews by client."""
    return {row["client_id"]: row for row in reviews(conn) if row["learning_snapshot"]["period_key"] == DAYS[-1]}


def count_by_sql(conn, client_id, as_of):
    """Count the leads on record before an instant whose conversion is recorded in the 30 days after it."""
    row = conn.execute(
        "SELECT count(DISTINCT learning_snapshot ->> 'lead_id') FROM growth_brain"
        " WHERE event_type = 'conversion' AND client_id = %(client)s"
        " AND created_at >= %(as_of)s AND created_at < %(as_of)s + interval '30 days'"
        " AND (learning_snapshot -> 'window' ->> 'from')::timestamptz < %(as_of)s",
        {"client": client_id, "as_of": as_of},
    ).fetchone()
    return row[0]


def test_every_matured_claim_is_decided_once_and_the_counts_are_those_of_the_actions(reviewed, database_url):
    found = newest(reviewed)
    pool = found[None]["learning_snapshot"]
    assert len(found) == 21
    assert set(pool["jobs"]) >= {
        "engagement_score", "urgency_trend", "tone_distribution", "conversion_prediction", "conversion",
    }  # fmt: skip
    counts = pool["jobs"]["conversion_prediction"]
    assert counts["resolved"] + counts["void"] == 60
    assert counts["pending"] == 0  # what was said at this very instant is not looked at
    # the windows of two months share a month of leads with the next: every other month is looked at
    urgency, tones = pool["jobs"]["urgency_trend"], pool["jobs"]["tone_distribution"]
    assert urgency["resolved"] + urgency["void"] == 40
    assert tones["resolved"] + tones["void"] == 60
    document = run_worker(database_url, "accuracy", "--as-of", DAYS[-1], "--json").json
    assert document["jobs"] == pool["jobs"]
    assert [window["as_of"][:10] for window in document["windows"]] == ["2025-03-01", "2025-01-30", "2024-12-31"]
    client_id = max(found, key=lambda c: 0 if c is None else found[c]["learning_snapshot"]["overall"]["resolved"])
    mine = run_worker(database_url, "accuracy", "--as-of", DAYS[-1], "--client", client_id, "--json").json
    assert mine["jobs"]["conversion_prediction"]["resolved"] == 3
    for row in mine["claims"]:
        if row["event_type"] == "conversion_prediction":
            actual = count_by_sql(reviewed, client_id, datetime.fromisoformat(row["as_of"]))
            assert row["actual"] == actual
            assert row["state"] == ("right" if row["low"] <= actual <= row["high"] else "wrong")
    text = run_worker(database_url, "accuracy", "--as-of", DAYS[-1], "--client", client_id)
    assert max(map(len, text.out.splitlines())) <= 80
    assert text.out.count(" conversion_prediction ") >= 3


def test_a_rerun_and_other_shards_change_nothing(reviewed, database_url):
    before = snapshots(reviewed)
    for shards in ("1", "2", "7"):
        (job,) = run_worker(database_url, "accuracy_review", "--as-of", DAYS[-1], "--shards", shards, "--json").json[
            "jobs"
        ]
        assert (job["inserted"], job["updated"], job["deleted"], job["unchanged"]) == (0, 0, 0, 21)
    assert snapshots(reviewed) == before


def test_a_past_review_is_the_same_whatever_happened_since(reviewed, database_url):
    before = [row for row in reviews(reviewed) if row["learning_snapshot"]["period_key"] == DAYS[2]]
    assert len(before) == 21
    (job,) = run_worker(database_url, "accuracy_review", "--as-of", DAYS[2], "--json").json["jobs"]
    assert (job["updated"], job["unchanged"]) == (0, 21)


def test_the_command_writes_nothing(reviewed, worker_url, monkeypatch):
    before = rows_of_all_tables(reviewed)

    def refuse(*_):
        raise AssertionError("a transaction to write in")

    monkeypatch.setattr(Database, "write", refuse)
    monkeypatch.setattr(Database, "autocommit", refuse)
    outcome = run_worker(worker_url, "accuracy", "--as-of", DAYS[-1])
    assert outcome.code == 0, outcome.err
    assert max(map(len, outcome.out.splitlines())) <= 80
    assert rows_of_all_tables(reviewed) == before


def test_what_a_review_publishes_is_stated_by_the_next_predictions(reviewed, database_url):
    """The map of the newest review with an earlier as_of, never that of the same instant."""
    kept = {
        "a": -1.0, "b": 0.5, "client_deviation": 0.0, "clients": {}, "claims": 900, "fitted": "2024-12-31T00:00+00:00",
        "base_rate": None, "version": "recalibration-test",
    }  # fmt: skip
    reviewed.execute(
        "UPDATE worker.models SET parameters = parameters || %s WHERE job = 'accuracy_review' AND as_of = %s",
        [Jsonb({"recalibration": kept}), utc("2025-03-01 00:00:00")],
    )

    def stated(day):
        lines = run_worker(database_url, "conversion_prediction", "--as-of", day, "--dry-run").json_lines
        return [line["learning_snapshot"]["claim"] for line in lines]

    assert all("uncalibrated" not in claim for claim in stated(DAYS[2]))
    for claim in stated(DAYS[-1]):
        p = min(max(claim["uncalibrated"], 0.001), 0.999)
        assert claim["probability"] == pytest.approx(1 / (1 + np.exp(1.0 - 0.5 * np.log(p / (1 - p)))))
        assert claim["recalibration"] == "recalibration-test"


def test_where_nothing_was_said_nothing_is_reviewed(database_url, connect):
    outcome = run_worker(database_url, "accuracy", "--as-of", DAYS[-1])
    assert (outcome.code, "run the jobs first" in outcome.out) == (0, True)
    conn = connect(database_url)
    client_id = add_client(conn, 1)
    add_lead(conn, client_id, numbered(1, 1), utc("03-01 00:00"))
    assert run_worker(database_url, "accuracy_review", "--as-of", DAYS[-1]).code == 0
    assert snapshots(conn) == []
    assert run_worker(database_url, "all", "--as-of", DAYS[-1]).code == 0
    assert reviews(conn) == []
    text = run_worker(database_url, "accuracy", "--as-of", "2025-04-10").out
    assert "Nothing can be compared yet.\nFrom 2025-04-30 on" in text
    add_action(conn, client_id, numbered(1, 1), "tag", utc("04-05 00:00"), tag="Converted")
    assert run_worker(database_url, "accuracy_review", "--as-of", "2025-05-01").code == 0
    (mine, pool) = reviews(conn)
    assert {mine["client_id"], pool["client_id"]} == {client_id, None}
    one = next(row for row in (mine, pool) if row["client_id"])["learning_snapshot"]["jobs"]["conversion_prediction"]
    assert (one["resolved"], one["actual"]) == (1, 1)


def test_what_is_read_is_one_claim_a_window_and_nothing_from_as_of_on(database_url, connect):
    """Daily rows of two hundred days; the application's own rows and malformed ones among them."""
    conn = connect(database_url)
    client_id = add_client(conn, 1)
    as_of = utc("2025-03-31 04:00:00")

    def write(event_type, created_at, snapshot, who=client_id):
        conn.execute(
            "INSERT INTO growth_brain (client_id, event_type, learning_snapshot, confidence, created_at)"
            " VALUES (%s, %s, %s, .5, %s)",
            [who, event_type, Jsonb(snapshot), created_at],
        )

    for day in range(200):
        when = as_of - timedelta(days=day, hours=1 if day else -1)  # the newest is of today, after as_of
        for event_type in ("urgency_trend", "tone_distribution", "conversion_prediction"):
            for who in (client_id, None):
                snapshot = {"period_key": f"{when:%Y-%m-%d}", "claim_key": "", "claim": {"probability": 0.5}, "n": 3}
                write(event_type, when, snapshot, who)
    for snapshot in (["no", "object"], "text", {"period_key": None, "claim": 3}, {"claim": {"probability": 0.1}}):
        write("urgency_trend", as_of - timedelta(days=1, hours=1), snapshot)
        write("conversion", as_of - timedelta(days=100), snapshot)
    odd = {"period_key": "2025-01-01", "claim_key": "a", "claim": {"probability": "high"}, "check": 5, "n": "many"}
    write("conversion", as_of - timedelta(days=100), odd)
    write("conversion", as_of - timedelta(days=1000), {**odd, "claim_key": "old"})
    claims = read_claims(conn, as_of)
    assert all(isinstance(claim, PastClaim) and claim.as_of < as_of for claim in claims)
    ago = {
        event_type: [
            (as_of - claim.as_of).days for claim in claims if claim.event_type == event_type and claim.client_id
        ]
        for event_type in ("urgency_trend", "tone_distribution", "conversion_prediction")
    }
    assert ago == {
        "urgency_trend": [181, 121, 61, 1],
        "tone_distribution": [181, 151, 121, 91, 61, 31, 1],
        "conversion_prediction": [180, 150, 120, 90, 60, 30, 1],  # the last one's time has not come
    }
    (only,) = [claim for claim in claims if claim.event_type == "conversion"]
    assert (only.claim_key, only.probability, only.check_p, only.n) == ("a", None, None, None)


HUGE = ("1e400", "-1e400", "1e308", "1e5000")  # what jsonb holds, and a float does not, or int() does not read


def test_absurd_numbers_on_record_stop_nothing(reviewed, database_url):
    """They are none, as a text is: neither the review nor the patterns fail, and the others' figures are the same."""
    (as_of,) = reviewed.execute(
        "SELECT min(created_at) FROM growth_brain WHERE event_type = 'conversion_prediction'"
    ).fetchone()
    client_id = add_client(reviewed, 77, is_test=True)
    add_lead(reviewed, client_id, numbered(7, 1), as_of - timedelta(days=3))
    run_worker(database_url, "accuracy_review", "--as-of", DAYS[-1])
    before = newest(reviewed)[None]["learning_snapshot"]
    snapshot = (
        '{"period_key": "2024-12-30", "claim_key": "N", "claim": {"probability": 0.5, "low": 0, "high": N},'
        ' "check": {"p": N}, "n": N, "n_previous": 1, "cohort": {"size": 1, "hash": "x"}, "expected_conversions": N,'
        ' "interval": {"low": -1, "high": N}, "last_seen": "2025-03-29", "effect": {"z": N}, "carried_from": {"z": N}}'
    )
    for number in HUGE:
        for event_type in ("conversion_prediction", "urgency_trend", "conversion", "pattern_detected"):
            when = END - timedelta(days=1) if event_type == "pattern_detected" else as_of
            reviewed.execute(
                "INSERT INTO growth_brain (client_id, event_type, learning_snapshot, created_at)"
                " VALUES (%s, %s, %s, %s)",
                [client_id, event_type, snapshot.replace("N", number), when],
            )
    reviewed.execute(
        "INSERT INTO growth_brain (event_type, learning_snapshot, created_at)"
        " VALUES ('conversion_prediction', %s, '0044-03-15 BC')",
        [snapshot.replace("N", "1")],
    )
    outcome = run_worker(database_url, "pattern_detection", "accuracy_review", "--as-of", DAYS[-1], "--json")
    assert outcome.code == 0, outcome.err
    text = run_worker(database_url, "accuracy", "--as-of", DAYS[-1], "--client", client_id)
    assert text.code == 0, text.err
    assert max(map(len, text.out.splitlines())) <= 80
    reviewed.execute("DELETE FROM growth_brain WHERE insight_text IS NULL")  # the test could not read them either
    after = newest(reviewed)[None]["learning_snapshot"]
    assert {**after, "model_version": None} == {**before, "model_version": None}
