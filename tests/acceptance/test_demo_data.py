"""Leads of a file or of a simulated world in a real database: one set at a time, whole or not at all."""

import csv
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import psycopg
import pytest

from worker.demo_data import ensure_demo_set, load_leads_file, load_world, read_demo_truth
from worker.errors import ConfigurationError, LeadsFileError
from worker.leads_file import open_leads_file
from worker.simulate import company_world, demo_plan

OLIST = Path(__file__).resolve().parents[2].parent / "shared" / "data" / "olist_funnel"
AS_OF = datetime(2026, 3, 10, tzinfo=UTC)


@pytest.fixture
def connection(database_url):
    with psycopg.connect(database_url, autocommit=True) as conn:
        yield conn


@pytest.fixture(scope="module")
def world():
    return company_world(np.random.default_rng(1), AS_OF, plan=demo_plan())


@pytest.fixture
def small_file(tmp_path):
    path = tmp_path / "leads.csv"
    path.write_text(
        "id,client,date,urgency,confidence_score,converted_at,archived\n"
        "a,Acme,2025-03-01,High,0.8,2025-03-04,\n"
        "b,Acme,2025-03-02,Low,,,yes\n"
        "c,Bolt,2025-03-03,,0.999,,\n"
        "d,Bolt,nonsense,,,,\n",
        encoding="utf-8",
    )
    return path


def count(connection, table):
    return connection.execute(f"SELECT count(*) FROM {table}").fetchone()[0]


def counts(connection):
    return tuple(count(connection, table) for table in ("clients", "lead_memory", "lead_actions", "worker.demo_set"))


def test_a_simulated_world_arrives_whole_with_its_truth(connection, world):
    assert ensure_demo_set(connection, "simulated:v1", lambda conn: load_world(conn, world))
    assert counts(connection) == (len(world.clients), len(world.leads), len(world.actions), len(world.clients))
    assert read_demo_truth(connection) == {c.client_id: world.truths[c.client_id].facts() for c in world.clients}
    lead = world.leads[0]
    assert connection.execute(
        "SELECT client_id::text, urgency, tone, current_tag, source, timestamp FROM lead_memory WHERE id = %s",
        [lead.id],
    ).fetchone() == (lead.client_id, lead.urgency, lead.tone, lead.current_tag, lead.source, lead.timestamp)
    kinds = dict(connection.execute("SELECT jsonb_typeof(urgency_history), count(*) FROM lead_memory GROUP BY 1"))
    assert kinds["array"] > 30 * kinds["string"] > 0


def test_the_same_set_is_left_as_it_is(connection, small_file):
    opened = open_leads_file(small_file)
    build = lambda conn: load_leads_file(conn, opened).facts  # noqa: E731
    assert ensure_demo_set(connection, opened.origin, build)
    connection.execute("UPDATE lead_memory SET tone = 'Direct'")
    assert not ensure_demo_set(connection, opened.origin, build)
    assert connection.execute("SELECT DISTINCT tone FROM lead_memory").fetchall() == [("Direct",)]


def test_a_file_is_loaded_and_its_bad_rows_are_reported(connection, small_file):
    read_so_far = []
    report = load_leads_file(connection, open_leads_file(small_file), on_progress=read_so_far.append)
    assert (report.n_leads, report.n_conversions, report.n_bad_rows) == (3, 1, 1)
    assert [bad.line_number for bad in report.bad_rows] == [5]
    assert sorted(known["business_name"] for known in report.facts.values()) == ["Acme", "Bolt"]
    assert read_so_far == [4]
    rows = connection.execute(
        """
        SELECT c.business_name, l.urgency, l.confidence_score, l.current_tag, l.archived, l.tone, l.language,
               array_agg(a.action_type ORDER BY a.timestamp)
        FROM lead_memory l JOIN clients c USING (client_id) JOIN lead_actions a ON a.lead_id = l.id
        GROUP BY l.id, c.business_name ORDER BY l.timestamp
        """
    ).fetchall()
    assert [(*row[:2], row[2] if row[2] is None else float(row[2]), *row[3:]) for row in rows] == [
        ("Acme", "High", 0.8, "Converted", False, None, None, ["insert", "tag"]),
        ("Acme", "Low", None, None, True, None, None, ["insert"]),
        ("Bolt", None, 1.0, None, False, None, None, ["insert"]),
    ]


def test_another_set_replaces_the_first_with_all_that_spoke_of_it(connection, small_file, world):
    ensure_demo_set(connection, "simulated:v1", lambda conn: load_world(conn, world))
    connection.execute("INSERT INTO growth_brain (client_id, event_type) SELECT client_id, 'tone' FROM clients")
    connection.execute("INSERT INTO growth_brain (client_id, event_type) VALUES (NULL, 'tone')")
    connection.execute("INSERT INTO worker.runs (job, period_key, status) VALUES ('tone', '2026-03-09', 'done')")
    opened = open_leads_file(small_file)
    assert ensure_demo_set(connection, opened.origin, lambda conn: load_leads_file(conn, opened).facts)
    assert counts(connection) == (2, 3, 4, 2)
    assert (count(connection, "growth_brain"), count(connection, "worker.runs")) == (0, 0)


def test_a_file_without_a_good_row_leaves_everything_as_it_was(connection, small_file, tmp_path):
    opened = open_leads_file(small_file)
    ensure_demo_set(connection, opened.origin, lambda conn: load_leads_file(conn, opened).facts)
    before = counts(connection)
    for text, said in (("date\nx\n", "none of its 1 rows can be read; line 2: timestamp 'x'"), ("date\n", "no rows")):
        (tmp_path / "bad.csv").write_text(text, encoding="utf-8")
        bad = open_leads_file(tmp_path / "bad.csv")
        with pytest.raises(LeadsFileError, match=said):
            ensure_demo_set(connection, bad.origin, lambda conn, bad=bad: load_leads_file(conn, bad).facts)
        assert counts(connection) == before
    assert not ensure_demo_set(connection, opened.origin, lambda _: pytest.fail("the first set is still there"))


def test_clients_of_somebody_else_are_never_touched(connection, small_file):
    connection.execute(
        "INSERT INTO clients (business_name, email, api_key, password_hash) VALUES ('Theirs', 'a@b.example', 'k', '!')"
    )
    opened = open_leads_file(small_file)
    with pytest.raises(ConfigurationError, match=r"has 1 client that the demo did not put there.*WORKER_EMBEDDED_DIR"):
        ensure_demo_set(connection, opened.origin, lambda conn: load_leads_file(conn, opened).facts)
    assert names_of_clients(connection) == ["Theirs"]


def names_of_clients(connection):
    return [row[0] for row in connection.execute("SELECT business_name FROM clients ORDER BY 1")]


def test_a_client_can_be_deleted_from_the_set(connection, small_file):
    opened = open_leads_file(small_file)
    ensure_demo_set(connection, opened.origin, lambda conn: load_leads_file(conn, opened).facts)
    connection.execute("DELETE FROM clients WHERE business_name = 'Acme'")
    assert counts(connection) == (1, 1, 1, 1)


def test_a_database_without_a_set_has_no_truth(connection):
    assert read_demo_truth(connection) == {}


@pytest.fixture(scope="module")
def olist_file(tmp_path_factory):
    if not OLIST.is_dir():
        pytest.skip("the folder shared/data/olist_funnel is not beside the project")
    with (OLIST / "olist_closed_deals_dataset.csv").open(encoding="utf-8", newline="") as deals:
        won = {deal["mql_id"]: deal["won_date"] for deal in csv.DictReader(deals)}
    path = tmp_path_factory.mktemp("olist") / "olist.csv"
    with (
        (OLIST / "olist_marketing_qualified_leads_dataset.csv").open(encoding="utf-8", newline="") as leads,
        path.open("w", encoding="utf-8", newline="") as joined,
    ):
        rows = csv.DictReader(leads)
        writer = csv.DictWriter(joined, [*rows.fieldnames, "won_date"])
        writer.writeheader()
        for row in rows:
            writer.writerow(row | {"origin": row["origin"] or "(blank)", "won_date": won.get(row["mql_id"], "")})
    return path


def test_the_olist_funnel(connection, olist_file):
    mapping = {"id": "mql_id", "date": "first_contact_date", "source": "origin", "converted_at": "won_date"}
    opened = open_leads_file(olist_file, mapping, clients=8)
    report = load_leads_file(connection, opened)
    assert (report.n_leads, report.n_conversions, report.n_bad_rows) == (8000, 842, 0)
    assert names_of_clients(connection) == [f"olist {part}" for part in range(1, 9)]
    assert connection.execute("SELECT min(timestamp), max(timestamp) FROM lead_memory").fetchone() == (
        datetime(2017, 6, 14, tzinfo=UTC),
        datetime(2018, 5, 31, tzinfo=UTC),
    )
    assert connection.execute(
        "SELECT min(timestamp), max(timestamp) FROM lead_actions WHERE conversion_outcome"
    ).fetchone() == (datetime(2017, 12, 5, 2, 0, tzinfo=UTC), datetime(2018, 11, 14, 18, 4, 19, tzinfo=UTC))
    by_source = connection.execute(
        """
        SELECT source, count(*), count(*) FILTER (WHERE current_tag = 'Converted') FROM lead_memory
        WHERE source IN ('social', 'unknown', '(blank)') GROUP BY source ORDER BY 2
        """
    ).fetchall()
    assert by_source == [("(blank)", 60, 14), ("unknown", 1099, 179), ("social", 1350, 75)]
