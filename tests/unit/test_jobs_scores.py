"""engagement_score, urgency_trend and tone_distribution: numbers worked out by hand, and changes that are none."""

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from lead_rows import AS_OF, CLIENT_IDS, action, arranged, days_before, history, lead, run

from worker.jobs.engagement_score import change_by_part, points_by_part
from worker.jobs.windows import week_dates
from worker.leads import to_microseconds


def content(name, rows, actions=(), **about):
    (finding,) = run(name, arranged(rows, actions, **about))
    return finding.content


def test_points_are_weighted_over_what_is_known():
    nan = np.nan
    parts = np.array([[0.9, 1.0, 1.0], [0.8, 0.5, nan], [nan, nan, 1.0], [nan, nan, nan]])
    points = points_by_part(parts)
    assert points[0].tolist() == pytest.approx([36, 30, 30])
    assert points[1].tolist() == pytest.approx([100 * 0.32 / 0.7, 100 * 0.15 / 0.7, 0])
    assert points[2].tolist() == pytest.approx([0, 0, 100])
    assert np.isnan(points[3]).all()


@given(st.lists(st.tuples(*[st.floats(0, 100)] * 3), min_size=2, max_size=2))
def test_parts_sum_to_the_change(windows):
    now, before = (np.array(window) for window in windows)
    change = float(now.sum() - before.sum())
    parts = change_by_part(now, before, change)
    assert sum(part["points"] for part in parts) == pytest.approx(change, abs=1e-12)
    assert change_by_part(now, before, np.nan) == []


def test_engagement_of_a_few_leads_by_hand():
    rows = [
        lead("a", days_before(20), urgency="High", confidence=0.9, source="web"),
        lead("b", days_before(20), urgency="Faible", confidence=0.5, source="ads"),
        lead("c", days_before(2), urgency="ASAP!!", confidence=1.7, source="web", tag="Converted"),
        lead("d", days_before(20), deleted=True, urgency="High", confidence=1.0, source="tv"),
        lead("e", days_before(40), urgency="Medium", confidence=0.5),
    ]
    actions = [action("a", "note_added", days_before(19)), action("e", "note_added", days_before(39)),
               action("c", "tag", days_before(1), tag="Converted")]  # fmt: skip
    found = content("engagement_score", rows, actions, industry=("Legal",))
    # a: 36 + 30 + 30; b: 20 + 0 + 0; c: all it is known for is that it was touched
    assert found["score"]["raw"] == pytest.approx((96 + 20 + 100) / 3)
    assert found["overall_score"] == 72
    assert found["previous"]["raw"] == pytest.approx(20 + 15 + 30)
    assert found["metrics"] == pytest.approx(
        {"total_leads": 3, "active_leads": 2, "avg_confidence": 0.7, "high_urgency_pct": 0.5}
    )
    assert found["top_sources"] == ["web", "ads"]
    assert found["top_industries"] == ["Legal"]


def test_sources_that_tie_are_in_order_of_their_names():
    rows = [
        lead(f"{name}{i}", days_before(9), source=name) for name in ("f", "c", "a", "e", "b", "d") for i in range(2)
    ]
    assert content("engagement_score", rows)["top_sources"] == ["a", "b", "c", "d", "e"]


def test_nothing_known_is_null():
    found = content("engagement_score", [lead("a", days_before(9))])
    assert found["overall_score"] is None
    assert found["score"] == {"raw": None, "shrunken": None, "interval": None}
    assert found["metrics"] == {"total_leads": 1, "active_leads": 1, "avg_confidence": None, "high_urgency_pct": None}
    assert (found["top_sources"], found["top_industries"], found["parts"]) == ([], [], [])


def test_that_actions_began_to_be_recorded_is_no_change():
    rows = [
        lead(f"{when}-{i}", days_before(when), urgency="Low", confidence=0.2) for when in (45, 15) for i in range(60)
    ]
    actions = [action(row[0], "note_added", row[2] + 10**9) for row in rows if row[0].startswith("15")]
    found = content("engagement_score", rows, actions)
    assert found["trend"] == "stable"
    assert found["score"]["raw"] == pytest.approx(8 + 30)
    assert found["previous"]["raw"] == pytest.approx(100 * 0.4 * 0.2 / 0.7)  # shown, without what nobody recorded


def test_the_previous_window_is_scored_as_it_stood_at_its_end():
    rows = [lead("a", days_before(31), confidence=0.5), lead("b", days_before(9), confidence=0.5)]
    late = [action("b", "insert", days_before(9)), action("a", "insert", days_before(31)),
            action("a", "note_added", days_before(29))]  # fmt: skip
    found = content("engagement_score", rows, late)
    assert found["previous"]["raw"] == pytest.approx(50)  # engaged is not known yet at one day old
    rewritten = [lead("a", days_before(5), confidence=0.9, confidence_history=history((0.5, days_before(31)),
                      (0.9, days_before(5)))), rows[1]]  # fmt: skip
    assert content("engagement_score", rewritten, late)["previous"]["raw"] == pytest.approx(50)


def test_the_global_score_lists_industries_by_leads():
    from lead_rows import AS_OF, analysed, fitted

    rows = [
        lead(f"{c}-{i}", days_before(9), CLIENT_IDS[c], confidence=0.5) for c, n in ((0, 1), (1, 3)) for i in range(n)
    ]
    leads = arranged(rows, (), 2, industry=("Legal", "Retail"))
    (finding,) = analysed("engagement_score", leads.pool(), fitted("engagement_score", leads), AS_OF)
    assert finding.client_id is None
    assert finding.content["top_industries"] == ["Retail", "Legal"]
    assert finding.content["metrics"]["total_leads"] == 4


def test_urgency_counts_points_and_shares():
    rows = [
        lead("a", days_before(1), urgency="High"), lead("b", days_before(2), urgency="Low"),
        lead("c", days_before(8), urgency="élevée"), lead("d", days_before(9), urgency="?"),
        lead("e", days_before(40), urgency="Medium"), lead("f", days_before(57), urgency="High"),
    ]  # fmt: skip
    found = content("urgency_trend", rows)
    assert found["counts"] == {"High": 2, "Medium": 0, "Low": 1, "unknown": 1}
    assert found["distribution"] == pytest.approx({"High": 2 / 3, "Medium": 0, "Low": 1 / 3})
    assert (found["high_urgency_pct"], found["previous_high_urgency_pct"]) == pytest.approx((2 / 3, 1 / 2))
    assert found["change"] == pytest.approx(1 / 6)
    assert [point["leads"] for point in found["data_points"]] == [0, 0, 1, 0, 0, 0, 2, 2]
    assert [point["avg_urgency"] for point in found["data_points"]] == [
        None,
        None,
        "Medium",
        *[None] * 3,
        "High",
        "Medium",
    ]
    assert found["data_points"][-1] == {
        "date": "2025-03-30", "avg_urgency": "Medium", "high_urgency_pct": 0.5, "leads": 2,
    }  # fmt: skip


def test_a_large_shift_is_said_to_move_and_none_is_not():
    def leads(shares):
        return [
            lead(f"{when}-{i}", days_before(when), urgency="High" if i < share else "Low")
            for when, share in zip((45, 15), shares, strict=True)
            for i in range(100)
        ]

    assert content("urgency_trend", leads((20, 60)))["trend"] == "increasing"
    assert content("urgency_trend", leads((60, 20)))["trend"] == "decreasing"
    assert content("urgency_trend", leads((30, 31)))["trend"] == "stable"


def test_tones_are_counted_by_family_and_shrunk():
    tones = ("Professional", "professionnelle et directe", "Amical", "Sarcastic", None, "N/A")
    rows = [lead(f"{i}", days_before(9), tone=tone) for i, tone in enumerate(tones)]
    rows.append(lead("old", days_before(45), tone="Urgent"))
    found = content("tone_distribution", rows)
    known = {name: count for name, count in found["counts"].items() if count}
    assert known == {"Professional": 2, "Friendly": 1, "Other": 1, "unknown": 2}
    assert found["distribution"]["Professional"] == 0.5
    for shares in (found["distribution"], found["estimate"], found["previous"]["estimate"]):
        assert sum(shares.values()) == pytest.approx(1, abs=1e-12)
    assert found["previous"]["distribution"]["Urgent"] == 1
    assert found["dominant_tone"] == "Professional"


def test_the_local_day_names_the_weeks():
    from zoneinfo import ZoneInfo

    montreal = AS_OF.astimezone(ZoneInfo("America/Toronto"))
    (finding,) = run("urgency_trend", arranged([lead("a", days_before(1), urgency="High")]), montreal)
    assert finding.content["data_points"][-1]["date"] == "2025-03-30"
    assert finding.content["data_points"][-1]["leads"] == 1


@pytest.mark.parametrize("name", ["Europe/Paris", "America/Toronto", "Pacific/Auckland", "UTC"])
@pytest.mark.parametrize("month", range(1, 13))
def test_weeks_are_named_by_days_seven_apart_whenever_clocks_change(name, month):
    from datetime import date, datetime
    from zoneinfo import ZoneInfo

    as_of = datetime(2026, month, 3, tzinfo=ZoneInfo(name))
    days = [date.fromisoformat(day) for day in week_dates(as_of, to_microseconds(as_of))]
    assert (days[-1].month, days[-1].day) == (month, 2)
    assert {(after - before).days for before, after in pairwise(days)} == {7}
