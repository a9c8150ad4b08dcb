"""The backtest: cut-offs, scores, what happened; and that nothing after a cut-off reaches what is said at it."""

import json
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import numpy as np
import pytest
from lead_rows import AS_OF, CLIENT_IDS, action, arranged, days_before, lead, rows_of
from undone import undone

from worker.backtest import cut_offs_between, run_backtest
from worker.jobs import conversion_prediction
from worker.jobs.conversion_outcomes import score
from worker.reading import arrange
from worker.simulate import company_world

CUT = days_before(60)
NOW = AS_OF
SOURCES = ("Web", "Ads", "Referral")


def rows_and_actions(n=400, seed=1):
    """Leads of a year of two clients; about a third converts, some after the cut-off, and some are archived."""
    rng = np.random.default_rng(seed)
    rows, actions = [], []
    for i in range(n):
        age = float(rng.uniform(0.5, 360))
        after = float(rng.exponential(25)) if rng.random() < 0.4 else np.inf
        source, tag = SOURCES[int(rng.integers(3))], None
        if after < age:
            tag = "Converted"
            actions.append(action(f"l{i}", "tag", days_before(age - after), tag="Converted"))
        elif rng.random() < 0.3:
            actions.append(action(f"l{i}", "note_added", days_before(age * float(rng.random()))))
        rows.append(lead(f"l{i}", days_before(age), CLIENT_IDS[i % 2], source=source, urgency="High", tag=tag))
    return rows, actions


def erased(rows, actions, cut):
    """Take everything away that happened at or after an instant, as if the database had been copied then."""
    micro = int(cut.timestamp() * 1_000_000)
    kept = [a for a in actions if a[1] < micro]
    won = {a[0] for a in kept if a[3] == "tag"}
    there = [(*row[:9], "Converted" if row[0] in won else None, *row[10:]) for row in rows if row[2] < micro]
    return there, kept


def test_nothing_after_the_cut_off_reaches_its_predictions():
    """Fit and predictions are the same to the last bit when everything later is erased."""
    rows, actions = rows_and_actions()
    whole, then = arranged(rows, actions, 2), arranged(*erased(rows, actions, CUT), 2)
    assert len(then) < len(whole)
    models = [json.dumps(conversion_prediction.fit(leads, CUT), sort_keys=True) for leads in (whole, then)]
    assert models[0] == models[1]
    found = [
        conversion_prediction.predict(leads, json.loads(models[0]), CUT, np.random.default_rng(1))
        for leads in (whole, then)
    ]
    assert found[0].probability.tolist() == found[1].probability.tolist()
    assert found[0].means.tolist() == found[1].means.tolist()
    one, two = (run_backtest(leads, [CUT], NOW).cut_offs[0] for leads in (whole, then))
    assert one.by_age.tolist() == two.by_age.tolist()
    assert one.by_rate.tolist() == two.by_rate.tolist()
    assert one.converted.sum() > 0 == two.converted.sum()


def test_nothing_undone_of_whole_companies_reaches_a_prediction():
    """Repeat contacts, histories, archived and deleted leads, both tracks of outcomes: all as they stood at the cut."""
    world = company_world(np.random.default_rng(5), AS_OF, 6, 200, special_clients=False)
    then = undone(world, CUT)
    assert 0 < len(then.leads) < len(world.leads)
    leads = [arrange(*rows_of(part)) for part in (world, then)]
    models = [json.dumps(conversion_prediction.fit(part, CUT)) for part in leads]
    assert models[0] == models[1]
    found = [
        conversion_prediction.analyse(part, json.loads(models[0]), CUT, np.random.default_rng(1)) for part in leads
    ]
    assert [finding.content for finding in found[0]] == [finding.content for finding in found[1]]
    assert [finding.claim for finding in found[0]] == [finding.claim for finding in found[1]]
    assert [finding.facts for finding in found[0]] == [finding.facts for finding in found[1]]


def test_the_model_survives_json():
    rows, actions = rows_and_actions()
    leads = arranged(rows, actions, 2)
    model = conversion_prediction.fit(leads, AS_OF)
    again = json.loads(json.dumps(model, allow_nan=False))
    there, back = (
        conversion_prediction.predict(leads, m, AS_OF, np.random.default_rng(1)).probability.tolist()
        for m in (model, again)
    )
    assert there == back


def test_what_happened_is_told_from_later_rows():
    """Open at the cut-off: one converts in time, one too late, one never, one at an unknown time."""
    rows = [lead(name, days_before(100), tag="Converted") for name in "abd"] + [lead("c", days_before(100))]
    actions = [action("a", "tag", days_before(59), tag="Converted"), action("b", "tag", CUT + timedelta(days=30),
               tag="Converted")]  # fmt: skip
    rows[2] = lead("d", days_before(100), tag="Converted", updated=days_before(40))
    cut = run_backtest(arranged(rows, actions), [CUT], NOW).cut_offs[0]
    assert dict(zip(cut.lead_ids, cut.converted.tolist(), strict=True)) == {"a": True, "b": False, "c": False}
    assert cut.void == 1
    assert len(cut.said) == 0  # the client's count is undecided with it


def test_cut_offs_whose_days_are_not_over_are_left_out():
    rows, actions = rows_and_actions(60)
    found = run_backtest(arranged(rows, actions, 2), [CUT, days_before(29)], NOW)
    assert [cut.as_of for cut in found.cut_offs] == [CUT]
    assert found.pending == (days_before(29),)
    assert "1 cut-offs left out" in str(found)
    assert "nothing can be compared" in str(run_backtest(arranged(rows, actions, 2), [days_before(1)], NOW))
    document = json.loads(json.dumps(found.as_json(), allow_nan=False))
    assert document["all"]["leads"] == len(found.cut_offs[0].probability)
    assert max(map(len, str(found).splitlines())) <= 80


def test_where_no_cut_offs_days_are_over_the_document_says_so():
    document = run_backtest(arranged(*rows_and_actions(), 2), [days_before(3)], NOW).as_json()
    assert (document["cut_offs"], document["pending"]) == ([], [days_before(3).isoformat()])
    assert (document["all"]["leads"], document["all"]["actual"], document["all"]["log_loss"]) == (0, 0, None)
    assert json.loads(json.dumps(document, allow_nan=False)) == document


def test_the_thirty_days_are_of_24_hours_also_when_clocks_go_forward():
    zone = ZoneInfo("America/Toronto")
    cut, end = datetime(2025, 3, 1, tzinfo=zone), datetime(2025, 3, 31, tzinfo=zone)  # 719 hours apart
    leads = arranged(*rows_and_actions(), 2)
    assert run_backtest(leads, [cut], end).pending == (cut,)
    assert run_backtest(leads, [cut], end + timedelta(hours=1)).pending == ()


def test_without_a_lead_there_are_no_figures():
    found = run_backtest(arranged([]), [CUT], NOW)
    assert json.loads(json.dumps(found.as_json(), allow_nan=False))["all"]["brier"] is None
    assert "all" in str(found)


def test_scores_of_known_probabilities():
    scores = score(np.array([0.5, 0.25, 0.0]), np.array([True, False, False]))
    assert scores.expected == 0.75
    assert scores.brier == pytest.approx((0.25 + 0.0625) / 3)
    assert scores.log_loss == pytest.approx((np.log(2) - np.log(0.75)) / 3)
    assert scores.auc == 1.0
    assert np.isnan(score(np.array([0.5]), np.array([True])).auc)


def test_the_slope_tells_bold_from_timid():
    """Log odds twice too far from zero have slope a half."""
    rng = np.random.default_rng(1)
    odds = rng.normal(-2, 1, 40_000)
    happened = rng.random(40_000) < 1 / (1 + np.exp(-odds))
    for factor, slope in ((1.0, 1.0), (2.0, 0.5)):
        said = 1 / (1 + np.exp(-factor * odds))
        assert score(said, happened).calibration_slope == pytest.approx(slope, rel=0.05)
    assert np.isnan(score(np.full(9, 0.3), np.arange(9) < 3).calibration_slope)
    assert np.isnan(score(np.array([0.2, 0.3, 0.8]), np.array([False, False, True])).calibration_slope)


def test_a_models_scores_are_those_of_the_backtest():
    rows, actions = rows_and_actions()
    leads = arranged(rows, actions, 2)
    found = conversion_prediction.evaluate(leads, conversion_prediction.fit(leads, CUT), CUT)
    figures = run_backtest(leads, [CUT], NOW).as_json()["all"]
    assert set(found) == {"leads", "conversions", "expected", "brier", "log_loss", "auc", "calibration_slope"}
    assert found["conversions"] == figures["actual"] > 0
    for name in ("leads", "expected", "brier", "log_loss", "auc", "calibration_slope"):
        assert found[name] == figures[name]
    nothing = conversion_prediction.evaluate(arranged([]), conversion_prediction.fit(arranged([]), CUT), CUT)
    assert nothing == {
        "leads": 0, "conversions": 0, "expected": 0.0, "brier": None, "log_loss": None, "auc": None,
        "calibration_slope": None,
    }  # fmt: skip


def test_cut_offs_step_on_the_calendar():
    paris = ZoneInfo("Europe/Paris")

    def days(first, last, every):
        return [f"{i:%m-%d %H}" for i in cut_offs_between(first, last, every)]

    assert days(datetime(2024, 1, 31, tzinfo=UTC), datetime(2024, 4, 30, tzinfo=UTC), "1month") == [
        "01-31 00", "02-29 00", "03-31 00", "04-30 00",
    ]  # fmt: skip
    assert days(datetime(2024, 3, 25, tzinfo=paris), datetime(2024, 4, 8, tzinfo=paris), "7d") == [
        "03-25 00", "04-01 00", "04-08 00",
    ]  # fmt: skip
    for every in ("0d", "1w", "month", ""):
        with pytest.raises(ValueError, match="no step"):
            cut_offs_between(CUT, NOW, every)
    with pytest.raises(ValueError, match="comes after"):
        cut_offs_between(NOW, CUT, "1d")
