"""How far back a fit learns: the fewer clients are active, the further."""

import pytest

from worker import sample
from worker.sample import of_sample, past_periods


@pytest.mark.parametrize("active", [1, 30, 400, 417, 600, 1_000, 2_499, 2_500, 100_000])
def test_no_fewer_and_no_more_past_periods_than_give_enough_pairs(active):
    past = past_periods(active)
    assert (1 + past) * active >= sample.LEARN_PAIRS or past == sample.MOST_PAST_PERIODS
    assert past == 0 or past * active < sample.LEARN_PAIRS


def test_where_nobody_is_active_the_whole_past_is_learned_from():
    assert past_periods(0) == sample.MOST_PAST_PERIODS


def test_a_sample_has_its_share_of_the_active_clients(monkeypatch):
    monkeypatch.setattr(sample, "LEARN_CLIENTS", 100)
    assert of_sample(60, 100) == 60
    assert of_sample(600, 1_000) == 60
