"""`backtest` on a database: it reads only, repeats itself, writes every lead's probability, and stops as others do."""

import csv
import json
import sys
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest
from support import run_worker

from worker.database.pool import Database
from worker.demo_data import load_world
from worker.simulate import company_world

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "unit"))
from undone import undone

FROM, TO = "2025-01-01", "2025-02-15"


def twenty_companies():
    return company_world(np.random.default_rng(5), datetime(2025, 3, 31, tzinfo=UTC), 20, 200, special_clients=False)


@pytest.fixture
def companies(database_url, connect):
    """Twenty simulated companies with two hundred days of leads until the end of March 2025."""
    load_world(connect(database_url), twenty_companies())


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
        "leads", "actual", "void", "expected", "brier", "log_loss", "auc", "calibration_slope",
        "miscalibration", "discrimination", "uncertainty", "coverage",
        "claims", "constant_rate", "age_only",
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


@pytest.mark.usefixtures("companies")
def test_it_says_of_a_lead_what_the_job_said_on_the_day(worker_url, tmp_path):
    path, day = tmp_path / "leads.csv", ("--as-of", f"{FROM}T00:00:00+00:00")
    told = run_worker(worker_url, "conversion_prediction", *day, "--dry-run").out.splitlines()
    said = {
        lead["lead_id"]: lead["probability"]
        for row in map(json.loads, told)
        for lead in row["learning_snapshot"]["high_value_leads"]
    }
    assert len(said) > 50
    assert run_worker(worker_url, "backtest", "--from", FROM, "--to", FROM, "--leads", str(path)).code == 0
    with path.open(encoding="utf-8", newline="") as file:
        looked_back = {row["lead_id"]: float(row["probability"]) for row in csv.DictReader(file)}
    assert {lead_id: looked_back[lead_id] for lead_id in said} == said


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


@pytest.mark.usefixtures("companies")
def test_erasing_everything_after_the_cut_off_changes_no_prediction(worker_url, database_url, connect, tmp_path):
    """Later leads and actions deleted, later changes of columns undone: the same leads, the same last bits."""
    cut = "2025-02-01"
    asked = ("backtest", "--from", cut, "--to", cut, "--json", "--leads")
    daily = ("conversion_prediction", "--as-of", f"{cut}T00:00:00+00:00", "--dry-run")

    def said(path):
        assert run_worker(worker_url, *asked, str(path)).code == 0
        with path.open(encoding="utf-8", newline="") as file:
            probabilities = {row["lead_id"]: row["probability"] for row in csv.DictReader(file)}
        found = run_worker(worker_url, *daily)
        assert found.code == 0, found.err
        return probabilities, found.out

    whole, snapshots = said(tmp_path / "whole.csv")
    with connect(database_url) as conn:
        conn.execute("DELETE FROM lead_actions")
        conn.execute("DELETE FROM lead_memory")
        conn.execute("DELETE FROM clients")
    world = twenty_companies()
    then = undone(world, datetime(2025, 2, 1, tzinfo=UTC))
    assert 0 < len(then.leads) < len(world.leads)
    assert 0 < len(then.actions) < len(world.actions)
    assert set(then.leads) - set(world.leads)  # some columns were undone
    load_world(connect(database_url), then)
    erased, snapshots_then = said(tmp_path / "erased.csv")
    assert len(whole) > 100
    assert erased == whole
    assert snapshots_then == snapshots
