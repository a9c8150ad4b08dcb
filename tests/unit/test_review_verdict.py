"""What is said in short of claims: right as often as said, less often, more often, or too few to judge."""

import numpy as np

from worker.review.verdict import FEWEST_CHECKS, in_short, judge
from worker.statistics.calibration import reliability


def table(n, said, right):
    """n claims said at `said`, of which a share `right` was right."""
    return reliability(np.full(n, said), np.arange(n) < round(n * right))


def test_a_verdict_needs_enough_claims_and_a_gap_that_chance_does_not_explain():
    assert judge(table(FEWEST_CHECKS - 1, 0.9, 0.1)) == "too few"
    assert judge(table(1000, 0.8, 0.8)) == "fits"
    assert judge(table(1000, 0.8, 0.7)) == "too sure"
    assert judge(table(1000, 0.8, 0.9)) == "too modest"
    assert judge(table(FEWEST_CHECKS, 0.8, 0.77)) == "fits"  # less than chance alone gives
    assert judge(table(100_000, 0.8, 0.785)) == "fits"  # told apart, but within the tolerance


def test_kinds_stand_under_their_verdicts_in_80_columns():
    found = in_short(
        {"urgency_trend": table(1000, 0.8, 0.8), "reversion": table(9, 0.9, 1.0), "conversion": table(500, 0.9, 0.9)}
    )
    assert found.splitlines() == [
        "In short:",
        "  right as often as said        urgency_trend",
        f"{'':<32}conversion",
        f"  too few to judge (under {FEWEST_CHECKS})  reversion",
    ]
