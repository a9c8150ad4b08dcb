"""Nine monthly cut-offs of eight thousand real leads: how good are the probabilities, and the expected counts?"""

import csv
import hashlib
import sys
from datetime import UTC, datetime
from functools import cache
from pathlib import Path

import numpy as np
import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "unit"))
from lead_rows import action, lead

from worker.backtest import cut_offs_between, run_backtest
from worker.leads import Clients
from worker.reading import arrange

OLIST = Path(__file__).resolve().parents[3] / "shared" / "data" / "olist_funnel"
FIRST, LAST = datetime(2018, 2, 1, tzinfo=UTC), datetime(2018, 10, 1, tzinfo=UTC)
NOW = datetime(2018, 11, 15, tzinfo=UTC)

pytestmark = pytest.mark.skipif(
    not OLIST.is_dir(), reason="the folder ../shared/data/olist_funnel is not beside the project"
)


def instant(text):
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


def leads_of(n_clients):
    """All leads, of one client or of several by a hash of the id; a tag action wins them."""
    with (OLIST / "olist_closed_deals_dataset.csv").open(encoding="utf-8", newline="") as file:
        won = {deal["mql_id"]: deal["won_date"] for deal in csv.DictReader(file)}
    with (OLIST / "olist_marketing_qualified_leads_dataset.csv").open(encoding="utf-8", newline="") as file:
        read = list(csv.DictReader(file))
    ids = tuple(f"00000000-0000-4000-8000-{number:012d}" for number in range(n_clients))
    rows = [
        lead(
            row["mql_id"], instant(row["first_contact_date"]),
            ids[int(hashlib.sha256(row["mql_id"].encode()).hexdigest(), 16) % n_clients],
            source=row["origin"] or "(blank)", intent=f"page:{row['landing_page_id'][:8]}", language=None,
            tag="Converted" if row["mql_id"] in won else None,
        )
        for row in read
    ]  # fmt: skip
    actions = [action(lead_id, "tag", instant(when), tag="Converted") for lead_id, when in won.items()]
    about = Clients(ids, ("en",) * n_clients, (None,) * n_clients, np.ones(n_clients, dtype=bool))
    return arrange(about, rows, actions)


@cache
def looked_back(n_clients):
    return run_backtest(leads_of(n_clients), cut_offs_between(FIRST, LAST, "1month"), NOW)


def test_the_cut_offs_hold_the_leads_of_the_anchors():
    found = looked_back(1).as_json()["all"]
    assert (found["leads"], found["actual"], found["void"]) == (54_459, 411, 0)


def test_one_client():
    figures = looked_back(1).as_json()
    whole = figures["all"]
    assert whole["log_loss"] <= 0.0400
    assert whole["brier"] <= 0.00737
    assert whole["auc"] >= 0.715
    late = figures["cut_offs"][2:]
    assert sum(cut["actual"] for cut in late) == 295
    assert 0.88 <= sum(cut["expected"] for cut in late) / 295 <= 1.12
    assert whole["log_loss"] < whole["age_only"]["log_loss"] < whole["constant_rate"]["log_loss"]
    assert whole["auc"] > whole["age_only"]["auc"]


def test_twenty_clients():
    """Small clients lean on the pool: cutting the leads up costs nothing to speak of."""
    figures = looked_back(20).as_json()["all"]
    assert figures["log_loss"] <= 0.0408
    assert figures["claims"]["n"] == 180
    assert abs(figures["claims"]["said"] - figures["claims"]["right"]) <= 0.10
