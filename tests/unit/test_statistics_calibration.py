"""Reliability: a table worked out by hand, intervals that cover, claims that hang together, and nothing at all."""

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from worker.statistics.calibration import LEVEL, PRIOR_GAP, estimate_gap, reliability

CLAIMS = st.lists(st.tuples(st.floats(0, 1), st.booleans(), st.integers(0, 4)), min_size=1, max_size=60)


def rng(seed=0):
    return np.random.default_rng(seed)


def test_a_table_by_hand():
    """Four claims at .9 of which three held, one at .25 that did not, and one that nothing decides."""
    found = reliability(np.array([0.9, 0.9, 0.9, 0.9, 0.25, np.nan]), np.array([1, 1, 1, 0, 0, 1]))
    assert (found.n, found.void) == (5, 1)
    assert found.mean_said == pytest.approx((3.6 + 0.25) / 5)
    assert found.mean_right == pytest.approx(0.6)
    assert found.gap == pytest.approx(0.77 - 0.6)
    assert found.ece == pytest.approx((4 * 0.15 + 0.25) / 5)
    assert found.brier == pytest.approx((3 * 0.01 + 0.81 + 0.0625) / 5)
    assert found.skill == pytest.approx(1 - found.brier / 0.24)
    assert found.sharpness == pytest.approx(np.std([0.9, 0.9, 0.9, 0.9, 0.25]))
    low, high = found.bins
    assert (low.low, low.high, low.n, low.share_right) == (0.2, 0.3, 1, 0.0)
    assert (high.low, high.high, high.n, high.share_right) == (0.9, 1.0, 4, 0.75)
    assert (high.interval_low, high.interval_high) == pytest.approx(stats.beta.interval(0.9, 3.5, 1.5))
    assert low.interval_low == 0.0


def test_what_is_certain_stands_in_the_last_bin_and_a_word_says_who_was_too_sure():
    found = reliability(np.repeat([1.0, 0.5, 0.2], 50), np.repeat([0, 1, 1], 50) * (np.arange(150) % 5 > 0))
    assert [b.low for b in found.bins] == [0.2, 0.5, 0.9]
    assert [b.verdict for b in found.bins] == ["too modest", "too modest", "too sure"]
    assert "too sure" in str(found)


@pytest.mark.parametrize("bin_start", [0.1, 0.5, 0.8])
def test_intervals_hold_the_true_share_as_often_as_their_level_says(bin_start):
    """2,000 tables of 40 to 300 independent claims: within 3 points of 90%; the gap's interval too."""
    draw = rng(1)
    covered = []
    for n in draw.integers(40, 300, 2000):
        said = draw.uniform(bin_start, bin_start + 0.1, n)
        table = reliability(said, draw.random(n) < said)
        covered.append((table.bins[0].verdict == "", table.gap_low <= 0 <= table.gap_high))
    assert np.mean(covered, axis=0) == pytest.approx([LEVEL, LEVEL], abs=0.03)


def test_claims_of_one_client_that_hang_together_widen_the_intervals():
    """
    A client's six claims are right or wrong together three times in four.

    Told whose they are, the intervals cover; taken as independent they do not.
    """
    draw, clients = rng(2), 80
    owner = np.repeat(np.arange(clients), 6)
    said = np.full(len(owner), 0.7)
    covers = []
    for _ in range(500):
        together = (draw.random(clients) < 0.7)[owner]
        right = np.where((draw.random(clients) < 0.75)[owner], together, draw.random(len(owner)) < 0.7)
        tables = [reliability(said, right, cluster=owner), reliability(said, right)]
        covers.append([t.bins[0].interval_low <= 0.7 <= t.bins[0].interval_high for t in tables])
        covers[-1] += [t.gap_low <= 0 <= t.gap_high for t in tables]
    told, untold, gap_told, gap_untold = np.mean(covers, axis=0)
    assert told == pytest.approx(LEVEL, abs=0.05)
    assert gap_told == pytest.approx(LEVEL, abs=0.05)
    assert max(untold, gap_untold) < 0.7


def test_chance_alone_is_told_beside_the_error():
    draw = rng(3)
    tables = []
    for _ in range(300):
        said = draw.random(500)
        tables.append(reliability(said, draw.random(500) < said))
    assert np.mean([t.ece for t in tables]) == pytest.approx(np.mean([t.ece_by_chance for t in tables]), rel=0.05)


@pytest.mark.parametrize("said", [[], [np.nan, np.nan]])
def test_no_claim_passes_no_bar(said):
    found = reliability(np.array(said), np.zeros(len(said), dtype=bool))
    assert (found.n, found.void, found.bins) == (0, len(said), ())
    assert not found.ece <= 1
    assert json.loads(json.dumps(found.as_json(), allow_nan=False))["ece"] is None
    assert str(found).startswith("no claims")


def test_one_claim_and_one_sided_outcomes():
    one = reliability(np.array([0.4]), np.array([True]))
    assert (one.n, one.mean_right) == (1, 1.0)
    assert (one.gap_low, one.gap_high) == (-1.0, 1.0)
    json.dumps(one.as_json(), allow_nan=False)
    assert one.as_json()["skill"] is None
    assert "skill -," in str(one)


@pytest.mark.parametrize(
    ("said", "right", "cluster"),
    [([1.1], [1], None), ([-0.1], [1], None), ([0.5], [1, 0], None), ([0.5, 0.5], [1, 0], [1])],
)
def test_what_makes_no_sense_is_refused(said, right, cluster):
    with pytest.raises(ValueError, match=r"probabilities|one length"):
        reliability(np.array(said), np.array(right), cluster=None if cluster is None else np.array(cluster))


@given(CLAIMS)
def test_laws(claims):
    """Bounds, plain JSON, a table of 80 columns, and an order that changes nothing but the last bits."""
    said, right, owner = (np.array(column) for column in zip(*claims, strict=True))
    found = reliability(said, right, cluster=owner)
    assert abs(found.gap) <= found.ece + 1e-12
    assert sum(b.n for b in found.bins) == found.n == len(claims)
    for b in found.bins:
        assert 0 <= b.interval_low <= b.share_right + 1e-9
        assert b.share_right - 1e-9 <= b.interval_high <= 1
        assert b.low <= b.mean_said + 1e-9
    json.dumps(found.as_json(), allow_nan=False)
    with_void = reliability(np.append(said, np.nan), np.append(right, True), cluster=np.append(owner, 9))
    assert max(map(len, str(with_void).splitlines())) <= 80
    again = reliability(said[::-1], right[::-1], cluster=owner[::-1])
    assert again.ece == pytest.approx(found.ece, abs=1e-12)
    assert [b.interval_low for b in again.bins] == pytest.approx([b.interval_low for b in found.bins], abs=1e-9)


# --- the difference in the long run ----------------------------------------------------------------------------------


def test_before_any_claim_the_difference_is_the_priors():
    nothing = np.zeros(0)
    found = estimate_gap(nothing, nothing.astype(bool), (nothing.astype(int),))
    assert (found.mean, found.error) == (0.0, PRIOR_GAP)
    assert found.within(PRIOR_GAP) == pytest.approx(0.6827, abs=1e-4)
    assert 0 < found.next_within(0.05, 1.0) < found.within(0.05)


def test_many_claims_tell_the_difference_and_alike_ones_less():
    rng = np.random.default_rng(1)
    said = rng.uniform(0.5, 1.0, 4000)
    right = rng.random(4000) < said - 0.1
    alone = np.arange(4000)
    free = estimate_gap(said, right, (alone,))
    assert free.mean == pytest.approx(0.1, abs=0.03)
    assert free.within(0.05) < 0.01
    # one in fifty clients is wrong about everything: as many claims, and much less is known
    client = alone // 50
    right = np.repeat(rng.random(80) < 0.9, 50)
    clustered = estimate_gap(np.full(4000, 0.9), right, (client,))
    assert clustered.error > 3 * estimate_gap(np.full(4000, 0.9), right, (alone,)).error
    assert estimate_gap(np.full(4000, 0.9), right, (alone, client)) == clustered


def test_a_cluster_counts_as_one_claim_where_there_are_too_few_to_compare():
    said, right = np.full(300, 0.8), np.arange(300) % 5 > 0
    one = estimate_gap(said, right, (np.zeros(300, dtype=int),))
    assert one.seen_error == pytest.approx(0.4)  # of a single claim said at 0.8
    three = estimate_gap(said, right, (np.arange(300) // 100,))
    assert three.seen_error == pytest.approx(0.4 / np.sqrt(3))
