"""pattern_detection: what is reported, and how today's patterns meet the rows of earlier runs."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from lead_rows import AS_OF, CLIENT_IDS, analysed, arranged, days_before, fitted, lead

from worker.jobs.finding import Check, Claim, Finding
from worker.jobs.pattern_detection import reconcile
from worker.jobs.windows import local_day

CLIENT = CLIENT_IDS[0]


def shifted_leads():
    rows = [
        lead(f"{c}-{when}-{i}", days_before(when), CLIENT_IDS[c], urgency="High" if i < share else "Low",
             tone="Direct", source=f"utm-{c}-{i}" if i else "web")
        for c in range(9)
        for when, share in ((45, 20), (15, 70 if c == 0 else 20))
        for i in range(100)
    ]  # fmt: skip
    return arranged(rows, (), 9)


def test_a_planted_change_is_found_and_only_it():
    leads = shifted_leads()
    model = fitted("pattern_detection", leads)
    findings = analysed("pattern_detection", leads, model)
    assert {finding.client_id for finding in findings} == {CLIENT}
    assert {(f.content["pattern_type"], f.content["value"], f.content["against"]) for f in findings} == {
        ("urgency_increasing", "High", "own_past"),
        ("urgency_increasing", "High", "pool"),
    }
    found = findings[0].content
    assert found["affected_leads"] == 70
    assert found["effect"]["raw"] == pytest.approx(0.5)
    assert 0.2 < found["effect"]["estimate"] < 0.5
    assert found["effect"]["interval"]["low"] < found["effect"]["estimate"] < found["effect"]["interval"]["high"]
    assert found["hypotheses_tested"] == model["hypotheses"]
    assert [point["leads"] for point in found["data_points"]] == [0, 100, 0, 0, 0, 100, 0, 0]
    assert found["data_points"][5]["share"] == 0.7
    assert found["data_points"][5]["avg_urgency"] == "Medium"
    assert findings[0].claim.probability > 0.95


def test_a_volume_that_triples_is_found():
    rows = [
        lead(f"{when}-{i}", days_before(when - 28 * i / n), urgency="Low")
        for when, n in ((59, 90), (29, 280))
        for i in range(n)
    ]
    leads = arranged(rows)
    (finding, *_) = analysed("pattern_detection", leads, fitted("pattern_detection", leads))
    assert finding.content["pattern_type"] == "volume_increasing"
    assert finding.content["value"] is None
    assert finding.content["affected_leads"] == finding.n
    assert finding.claim_key == "volume_increasing::own_past"


def test_values_that_few_leads_carry_are_never_asked_about():
    leads = shifted_leads()
    model = fitted("pattern_detection", leads)
    assert model["hypotheses"] <= 3 * 2 * 9
    assert not any("utm" in name for name in model["pool"])


# --- the rows of earlier runs ----------------------------------------------------------------------------------------


def day(number):
    return datetime(2025, 1, 1, 3, 30, tzinfo=UTC) + timedelta(days=number)


def pattern(direction, value="High"):
    key = f"urgency_{direction}:{value}:own_past"
    claim = Claim("effect_sign", 0.9, "Real.", {"sign": 1})
    content = {"pattern_type": f"urgency_{direction}", "value": value, "first_seen": "", "last_seen": ""}
    return Finding(CLIENT, "pattern_detected", content, claim, Check("split_half", AS_OF, 0.9), 100, claim_key=key)


class Table:
    """The pattern rows of growth_brain, as runs leave them."""

    def __init__(self):
        self.rows = {}

    def run(self, number, *directions):
        """Run once, as of that day; return (first_seen, last_seen) of what was said."""
        as_of = day(number)
        past = [dict(row) for row in self.rows.values()]
        found = reconcile([pattern(direction) for direction in directions], past, as_of)
        for finding in found:
            assert finding.period_key == finding.content["first_seen"]
            self.rows[finding.period_key, finding.claim_key] = {
                "client_id": finding.client_id,
                "period_key": finding.period_key,
                "claim_key": finding.claim_key,
                "last_seen": finding.content["last_seen"],
                "as_of": as_of,
            }
        return [(finding.content["first_seen"], finding.content["last_seen"]) for finding in found]


def name(number):
    return local_day(day(number))


def test_a_pattern_that_goes_on_keeps_its_row():
    table = Table()
    assert table.run(0, "increasing") == [(name(0), name(0))]
    assert table.run(1, "increasing") == [(name(0), name(1))]
    assert table.run(30, "increasing") == [(name(0), name(30))]  # 29 days unseen: not a full window
    assert len(table.rows) == 1


def test_a_return_after_a_full_window_is_a_new_row():
    table = Table()
    table.run(0, "increasing")
    assert table.run(30, "increasing") == [(name(30), name(30))]
    assert len(table.rows) == 2


def test_a_turn_of_direction_is_a_new_row_and_so_is_the_turn_back():
    table = Table()
    table.run(0, "increasing")
    assert table.run(5, "decreasing") == [(name(5), name(5))]
    assert table.run(10, "increasing") == [(name(10), name(10))]
    assert table.run(11, "increasing") == [(name(10), name(11))]
    assert len(table.rows) == 3


def test_an_older_run_never_touches_a_newer_row():
    table = Table()
    table.run(0, "increasing")
    table.run(10, "increasing")
    before = dict(table.rows)
    assert table.run(5, "increasing") == []
    assert table.rows == before
    table = Table()
    table.run(10, "increasing")
    assert table.run(5, "increasing") == [(name(5), name(5))]  # before the row began: one of its own
    assert table.run(12, "increasing") == [(name(10), name(12))]


@pytest.mark.parametrize("numbers", [(0,), (0, 3), (0, 3, 40), (0, 10, 3)])
def test_the_same_as_of_again_gives_the_same(numbers):
    table = Table()
    for number in numbers:
        table.run(number, "increasing")
    before = dict(table.rows)
    last = max(numbers)
    once = table.run(last, "increasing")
    assert table.run(last, "increasing") == once
    assert table.rows == before


def test_other_clients_and_values_have_rows_of_their_own():
    table = Table()
    table.run(0, "increasing")
    other = replace(pattern("increasing"), client_id=CLIENT_IDS[1])
    assert [
        f.period_key for f in reconcile([other, pattern("increasing", "a:b")], list(table.rows.values()), day(5))
    ] == [
        name(5),
        name(5),
    ]


@given(st.lists(st.tuples(st.integers(0, 90), st.sampled_from(["increasing", "decreasing", None])), max_size=14))
@settings(deadline=None)
def test_rows_are_never_left_newer_than_they_were(runs):
    """Whatever the order of runs: last_seen and as_of of a row only grow, and first_seen is never after last_seen."""
    table = Table()
    for number, direction in runs:
        before = {key: row["as_of"] for key, row in table.rows.items()}
        table.run(number, *([direction] if direction else []))
        for key, row in table.rows.items():
            assert row["as_of"] >= before.get(key, row["as_of"])
            assert row["period_key"] <= row["last_seen"] == local_day(row["as_of"])
