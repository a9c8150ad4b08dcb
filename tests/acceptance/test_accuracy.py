"""`accuracy --replicate` on a database: it reads only, says whose halves agreed, and knows what it cannot say."""

from datetime import UTC, datetime

import numpy as np
import pytest
from psycopg import sql
from support import add_client, add_simple_leads, run_worker, utc

from worker.accuracy import JOBS
from worker.database.pool import Database
from worker.demo_data import load_world
from worker.simulate import company_world

DAY = "2025-03-30"
AS_OF = datetime(2025, 3, 31, tzinfo=UTC)
KEYS = {
    "job", "verdict", "clients", "periods", "n", "void", "mean_said", "mean_right", "gap", "gap_low", "gap_high", "ece",
    "ece_by_chance", "brier", "skill", "sharpness", "bins",
}  # fmt: skip
BIN_KEYS = {"low", "high", "n", "mean_said", "share_right", "interval_low", "interval_high"}


@pytest.fixture
def companies(database_url, connect):
    """Sixty simulated companies with two hundred days of leads; a connection, and the ids of two of them."""
    conn = connect(database_url)
    world = company_world(np.random.default_rng(5), AS_OF, 60, 200, special_clients=False)
    load_world(conn, world)
    return conn, sorted(row.client_id for row in world.clients)[:2]


def rows_of_all_tables(conn):
    """A digest of every row of every table, with the transaction that wrote it."""
    tables = conn.execute(
        "SELECT schemaname, tablename FROM pg_tables WHERE schemaname NOT IN ('pg_catalog', 'information_schema')"
        " ORDER BY 1, 2"
    ).fetchall()
    assert {schema for schema, _ in tables} == {"public", "worker"}
    return {
        table: conn.execute(
            sql.SQL("SELECT count(*), md5(string_agg(t.xmin::text || t::text, ',' ORDER BY t::text)) FROM {} t").format(
                sql.Identifier(*table)
            )
        ).fetchone()
        for table in tables
    }


def test_it_reads_and_writes_nothing(database_url, worker_url, companies, monkeypatch):
    """No row of any schema is new, gone or rewritten, and no transaction that could write is ever opened."""
    conn, _ = companies
    assert run_worker(database_url, "all", "--as-of", DAY).code == 0
    before = rows_of_all_tables(conn)

    def refuse(*_):
        raise AssertionError("a transaction to write in")

    monkeypatch.setattr(Database, "write", refuse)
    monkeypatch.setattr(Database, "autocommit", refuse)
    outcome = run_worker(worker_url, "accuracy", "--replicate", "--as-of", DAY)
    assert outcome.code == 0, outcome.err
    assert rows_of_all_tables(conn) == before


@pytest.mark.usefixtures("companies")
def test_the_tables_are_for_a_terminal_and_the_document_for_programs(database_url):
    text = run_worker(database_url, "accuracy", "--replicate", "--as-of", DAY)
    assert text.code == 0, text.err
    assert max(map(len, text.out.splitlines())) <= 80
    assert "error bars, not drift" in " ".join(text.out.split())
    found = run_worker(database_url, "accuracy", "--replicate", "--as-of", DAY, "--json").json
    assert set(found) == {"kind", "as_of", "periods", "step_days", "leads", "jobs"}
    assert found["periods"] == ["2025-03-30", "2025-01-29", "2024-11-30", "2024-10-01"]
    assert [job["job"] for job in found["jobs"]] == list(JOBS)
    for job in found["jobs"]:
        assert set(job) == KEYS
        assert f"{job['job']}: {job['n']} checks of {job['clients']} clients" in text.out
        assert all(set(row) == BIN_KEYS for row in job["bins"])
    tones = found["jobs"][JOBS.index("tone_distribution")]
    assert tones["n"] > 100
    assert tones["verdict"] == "fits"
    again = run_worker(database_url, "accuracy", "--replicate", "--as-of", DAY, "--json").json
    assert again == found


def test_some_clients_and_few_periods(database_url, companies):
    _, ids = companies
    found = run_worker(
        database_url, "accuracy", "--replicate", "--as-of", DAY, "--client", ",".join(ids), "--periods", "2", "--json"
    ).json
    assert found["periods"] == ["2025-03-30", "2025-01-29"]
    tones = found["jobs"][JOBS.index("tone_distribution")]
    assert (tones["clients"], tones["verdict"]) == (2, "too_few")
    assert 0 < tones["n"] + tones["void"] <= 4
    same = run_worker(
        database_url, "accuracy", "--as-of", DAY,
        WORKER_REPLICATE="1", WORKER_CLIENT=",".join(ids), WORKER_PERIODS="2", WORKER_JSON="1",
    ).json  # fmt: skip
    assert same == found
    strange = run_worker(database_url, "accuracy", "--replicate", "--client", "550e8400-e29b-41d4-a716-446655440000")
    assert strange.code == 2
    assert "550e8400-e29b-41d4-a716-446655440000" in strange.err


def test_little_or_nothing_to_check_is_said(database_url, connect):
    outcome = run_worker(database_url, "accuracy", "--replicate", "--as-of", DAY)
    assert outcome.code == 0
    assert "nothing can be checked" in outcome.out
    add_simple_leads(connect(database_url), add_client(connect(database_url), 1), 1, 20, utc("03-31 00:00"))
    outcome = run_worker(database_url, "accuracy", "--replicate", "--as-of", DAY)
    assert outcome.code == 0
    assert outcome.out.count("too few to judge") == len(JOBS)


def test_it_stops_as_the_other_commands_do(database_url, empty_database_url):
    assert run_worker(database_url, "accuracy", "--client", "550e8400-e29b-41d4-a716-446655440000").code == 2
    assert run_worker(None, "accuracy").code == 2
    assert run_worker(empty_database_url, "accuracy").code == 3
    assert run_worker(database_url, "accuracy", "--replicate", "--periods", "0").code == 2
    assert run_worker(database_url, "accuracy", "--replicate", "--client", "Maple").code == 2
    assert run_worker(None, "accuracy", "--replicate").code == 2
    assert run_worker(empty_database_url, "accuracy", "--replicate").code == 3
    help_text = run_worker(None, "accuracy", "--help").out
    for name in ("--replicate", "--as-of", "--client", "--periods", "--json", "WORKER_PERIODS"):
        assert name in help_text
