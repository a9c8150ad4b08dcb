"""`backtest` on a database: it reads only, repeats itself, writes every lead's probability, and stops as others do."""

import csv

import numpy as np
import pytest
from support import run_worker

from worker.database.pool import Database
from worker.demo_data import load_world
from worker.simulate import company_world

FROM, TO = "2025-01-01", "2025-02-15"


@pytest.fixture
def companies(database_url, connect):
    """Twenty simulated companies with two hundred days of leads until the end of March 2025."""
    from datetime import UTC, datetime

    world = company_world(np.random.default_rng(5), datetime(2025, 3, 31, tzinfo=UTC), 20, 200, special_clients=False)
    load_world(connect(database_url), world)


@pytest.mark.usefixtures("companies")
def test_figures_and_leads(worker_url, tmp_path, monkeypatch):
    def refuse(*_):
        raise AssertionError("a transaction to write in")

    monkeypatch.setattr(Database, "write", refuse)
    monkeypatch.setattr(Database, "autocommit", refuse)
    path = tmp_path / "leads.csv"
    asked = ("backtest", "--from", FROM, "--to", TO, "--every", "1month")
    outcome = run_worker(worker_url, *asked, "--leads", str(path), "--json")
    assert outcome.code == 0, outcome.err
    assert [cut["as_of"][:10] for cut in outcome.json["cut_offs"]] == ["2025-01-01", "2025-02-01"]
    assert set(outcome.json["all"]) == {
        "leads", "actual", "void", "expected", "brier", "log_loss", "auc", "coverage", "claims", "constant_rate",
        "age_only",
    }  # fmt: skip
    with path.open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == outcome.json["all"]["leads"] > 100
    assert list(rows[0]) == ["as_of", "client_id", "lead_id", "probability", "converted"]
    assert sum(float(row["probability"]) for row in rows) == pytest.approx(outcome.json["all"]["expected"])
    assert sum(int(row["converted"]) for row in rows) == outcome.json["all"]["actual"]
    assert run_worker(worker_url, *asked, "--json").json == outcome.json
    text = run_worker(worker_url, *asked)
    assert max(map(len, text.out.splitlines())) <= 80
    assert "age alone" in text.out


def test_it_stops_as_the_other_commands_do(database_url, empty_database_url):
    assert run_worker(database_url, "backtest", "--from", FROM).code == 2
    assert run_worker(database_url, "backtest", "--from", TO, "--to", FROM).code == 2
    assert run_worker(database_url, "backtest", "--from", FROM, "--to", TO, "--every", "1week").code == 2
    assert run_worker(database_url, "backtest", "--from", FROM, "--to", "2999-01-01").code == 2
    assert run_worker(empty_database_url, "backtest", "--from", FROM, "--to", TO).code == 3
    nothing = run_worker(database_url, "backtest", "--from", FROM, "--to", TO)
    assert (nothing.code, "all" in nothing.out) == (0, True)
    help_text = run_worker(None, "backtest", "--help").out
    for name in ("--from", "--to", "--every", "--leads", "--json", "WORKER_EVERY"):
        assert name in help_text
