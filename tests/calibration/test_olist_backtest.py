"""Nine monthly cut-offs of eight thousand real leads: how good are the probabilities, and the expected counts?"""

from functools import cache

import pytest
from olist import FIRST, LAST, NOW, OLIST, leads_of

from worker.backtest import cut_offs_between, run_backtest

pytestmark = pytest.mark.skipif(
    not OLIST.is_dir(), reason="the folder ../shared/data/olist_funnel is not beside the project"
)


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
