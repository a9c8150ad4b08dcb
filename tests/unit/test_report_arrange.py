"""What stands on a report's page: the numbers of the snapshots, and what is unknown where they hold none."""

from datetime import date, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st
from report_pages import (
    AS_OF,
    STRANGE,
    engagement,
    full,
    holdings,
    lead,
    page_of,
    pattern,
    prediction,
    record,
    tones,
    urgency,
)
from scipy.stats import beta

from worker.report.arrange import line_of, share_interval


def test_the_parts_add_up_to_the_change_and_the_course_begins_with_the_window_before():
    part = page_of(full()).score
    assert [(each.name, each.points) for each in part.parts] == [("confidence", 2.1), ("urgency", 7.5), ("engaged", -1)]
    assert part.change == pytest.approx(8.6)
    assert part.change == pytest.approx(part.now.measured - part.before, abs=0.5)  # the score shown is a whole number
    assert [point.at for point in part.course] == [AS_OF - timedelta(days=days) for days in (60, 30, 0)]
    assert (part.course[0].measured, part.course[0].estimate.estimate, part.course[0].leads) == (60.1, 61.4, 123)


def test_a_week_has_an_interval_by_its_known_leads_and_an_empty_one_has_none():
    half, none, every, empty = page_of(full()).urgency.weeks
    n = 28 * 100 / 103  # of 103 leads three are of unknown urgency
    expected = beta(n / 2 + 0.5, n / 2 + 0.5).ppf([0.1, 0.9])
    assert (half.share.low, half.share.high) == pytest.approx(tuple(expected))
    assert (none.share.low, every.share.high) == (0.0, 1.0)
    assert none.share.high < 0.2
    assert every.share.low > 0.8
    assert (empty.ends, empty.share, empty.leads) == (date(2026, 11, 29), None, 0)


def test_a_week_that_says_how_many_urgencies_are_known_is_taken_at_its_word():
    point = {"date": "2026-11-29", "leads": 28, "high_urgency_pct": 0.5, "known": 4}
    (week,) = page_of(holdings(urgency(data_points=[point]))).urgency.weeks
    assert (week.share.low, week.share.high) == pytest.approx(share_interval(2, 4, 0.8))


@given(st.integers(1, 400), st.data())
def test_an_interval_holds_its_share_and_stays_a_share(n, data):
    k = data.draw(st.integers(0, n))
    low, high = share_interval(k, n, 0.8)
    assert 0 <= low <= k / n <= high <= 1


def test_tones_are_ordered_by_share_and_beside_them_stands_what_they_were():
    part = page_of(full()).tone
    shares = [tone.now.estimate for tone in part.tones]
    assert shares == sorted(shares, reverse=True)
    assert part.tones[0].before == pytest.approx(0.9 * shares[0])
    assert (part.known, part.unknown) == (90, 6)


def test_patterns_are_new_going_on_or_gone():
    rows = [
        pattern("Low", last_seen="2026-11-25"),
        pattern("Medium", status="continuing"),
        pattern("High"),
        pattern("High", against="pool"),
    ]
    page = page_of(full(patterns=rows))
    assert [(each.row.content["value"], each.state) for each in page.patterns] == [
        ("High", "new"), ("High", "new"), ("Medium", "continuing"), ("Low", "gone")
    ]  # fmt: skip
    told = [row.content["value"] for row in page.said if row.event_type == "pattern_detected"]
    assert told == ["High"]  # what shows against two yardsticks is news once
    assert line_of(page).patterns == 3


def test_without_a_row_the_ledger_tells_that_a_pattern_is_gone():
    only = [pattern(last_seen="2026-11-20")]
    assert page_of(full(patterns=only), pattern_day=None).patterns[0].state == "new"
    assert page_of(full(patterns=only), pattern_day="2026-11-21").patterns[0].state == "gone"


def test_leads_are_named_only_where_names_are_given():
    leads = page_of(full()).forecast.leads
    assert [each.name for each in leads] == [None, None]
    assert [(reason.name, reason.helps) for reason in leads[0].reasons][-1] == ("client", False)
    named = page_of(full(), names={leads[1].lead_id: "Ada"}).forecast.leads
    assert [each.name for each in named] == [None, "Ada"]


def test_an_old_page_says_how_old():
    assert page_of(full(), now=AS_OF + timedelta(days=1)).stale_days == 0
    assert page_of(full(), now=AS_OF + timedelta(days=9)).stale_days == 9


def test_nothing_on_record_is_an_empty_page():
    page = page_of(holdings(scores=[]), record())
    assert (page.as_of, page.said, page.score, page.urgency, page.tone, page.forecast) == (None, (), *[None] * 4)
    line = line_of(page)
    assert (line.score, line.predicted, line.patterns) == (None, None, 0)


@pytest.mark.parametrize("strange", STRANGE, ids=repr)
def test_whatever_a_snapshot_holds_a_page_comes_of_it(strange):
    for make in (engagement, urgency, tones, prediction, pattern):
        for key in make().content:
            changed = make(**{key: strange})
            found = full(patterns=[changed]) if make is pattern else holdings(changed)
            page_of(found)
    page_of(holdings(prediction(high_value_leads=[strange, lead(reasons=strange), lead(probability=strange)])))
