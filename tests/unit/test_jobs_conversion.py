"""conversion_events and conversion_prediction: the events' keys and words, the cohort, and what the history teaches."""

import hashlib
import json
from datetime import timedelta

import numpy as np
import pytest
from lead_rows import AS_OF, CLIENT_IDS, action, analysed, arranged, days_before, fitted, history, lead, run

from worker.jobs import conversion_prediction
from worker.jobs.conversion_counts import DRAWS, orders
from worker.jobs.conversion_events import reconcile
from worker.jobs.conversion_features import OF_OLDER, lead_features
from worker.leads import from_microseconds, to_microseconds


def events(rows, actions=(), as_of=AS_OF):
    return run("conversion_events", arranged(rows, actions), as_of)


def tag(lead_id, days, name, **more):
    return action(lead_id, "tag", days_before(days), tag=name, **more)


def test_a_conversion_in_the_seeds_words():
    entries = history(("High", days_before(20.5)), ("Low", days_before(15)))
    row = lead("a", days_before(15), urgency="Low", urgency_history=entries, tag="Converti")
    (finding,) = events([row], [action("a", "note_added", days_before(16)), tag("a", 12, "Converti", converted=True)])
    assert finding.content == {
        "lead_id": "a",
        "lead_name": None,
        "conversion_value": None,
        "days_to_convert": 8,
        "touch_points": 3,
        "initial_urgency": "High",
        "final_tag": "Converted",
        "dated": True,
        "between": None,
    }
    assert isinstance(finding.content["days_to_convert"], int)
    assert finding.created_at == days_before(12)
    assert finding.period_key == "2025-03-19"
    assert finding.claim_key == "a@2025-03-19T00:00:00+00:00"
    assert finding.check.resolve_at == days_before(12) + timedelta(days=90)


def test_a_reversion_says_why():
    actions = [tag("a", 12, "Converted", converted=True), tag("a", 2, "Active", converted=False, reason="Other: x")]
    conversion, reversion = events([lead("a", days_before(20), tag="Active")], actions)
    assert (conversion.event_type, reversion.event_type) == ("conversion", "reversion")
    assert reversion.content == {
        "lead_id": "a", "lead_name": None, "reason": "Other: x", "reverted_to": "Active", "days_as_customer": 10,
    }  # fmt: skip
    assert reversion.created_at == days_before(2)


def test_days_are_whole_and_never_negative():
    (finding,) = events([lead("a", days_before(5), tag="Converted")], [tag("a", 9, "Converted")])
    assert finding.content["days_to_convert"] == 0
    assert finding.window == {"from": days_before(9).isoformat(), "to": days_before(9).isoformat()}


def test_an_undated_conversion_keeps_its_key_whatever_happens_to_the_lead_later():
    found = [
        events([lead("lead_1735689600000_a", last, tag="Converted", updated=last)])[0]
        for last in (days_before(9), days_before(3))
    ]
    assert found[0].created_at != found[1].created_at
    assert {(f.period_key, f.claim_key) for f in found} == {
        ("2025-01-01", "lead_1735689600000_a@after 2025-01-01T00:00:00+00:00")
    }
    assert found[0].content["days_to_convert"] is None
    assert found[0].content["touch_points"] is None


def test_deleted_leads_and_the_pool_have_no_events():
    leads = arranged([lead("a", days_before(20), tag="Converted", deleted=True)], [tag("a", 9, "Converted")])
    model = fitted("conversion_events", leads)
    assert model["conversion"]["reached"]
    assert analysed("conversion_events", leads, model) == []
    assert analysed("conversion_events", leads.pool(), model) == []


def test_an_events_confidence_knows_only_what_was_known_when_its_week_began():
    rows = [lead(f"{i}", days_before(300), tag="Active" if i < 9 else "Converted") for i in range(10)]
    actions = [tag(f"{i}", 290, "Converted") for i in range(9)]
    actions += [tag(f"{i}", 280, "Active", converted=False, reason="x") for i in range(9)]

    def confidence(days):
        found = events(rows, [*actions, tag("9", days, "Converted")])
        return next(f.claim.probability for f in found if f.content["lead_id"] == "9")

    assert confidence(291) == pytest.approx(0.9)
    assert confidence(285) > 0.9  # nine that lasted for some days, and nothing else is known
    assert confidence(260) < 0.6
    # 14 days of age are over on 2024-06-28; from Monday, the first of July, on that is known
    assert days_before(274).isoformat() == "2024-06-30T00:00:00+00:00"
    assert confidence(276) == confidence(273.001) > confidence(273)


def test_conversions_that_still_last_count_as_well():
    """Twenty conversions of two weeks ago that stand say more than none, and less than twenty of months ago."""
    rows = [lead(f"{i}", days_before(300), tag="Converted") for i in range(21)]

    def confidence(days):
        found = events(rows, [*(tag(f"{i}", days, "Converted") for i in range(20)), tag("20", 1, "Converted")])
        return next(f.claim.probability for f in found if f.content["lead_id"] == "20")

    assert confidence(2) == pytest.approx(0.9)
    assert 0.9 < confidence(25) < confidence(130)


def test_the_applications_own_rows_are_not_doubled():
    rows = [lead(name, days_before(20), tag="Converted") for name in "abc"]
    found = events(rows, [tag(name, 9, "Converted") for name in "abc"])
    past = [
        {"event_type": "conversion", "lead_id": "a", "created_at": days_before(9) + timedelta(hours=20)},
        {"event_type": "conversion", "lead_id": "b", "created_at": days_before(9) + timedelta(hours=30)},
        {"event_type": "reversion", "lead_id": "c", "created_at": days_before(9)},
        {"event_type": "conversion", "lead_id": None, "created_at": days_before(9)},
    ]
    assert [finding.content["lead_id"] for finding in reconcile(found, past, AS_OF)] == ["b", "c"]


def history_of(n, share, prefix="h", client=CLIENT_IDS[0]):
    """Leads of the last year, a share of which converted after ten days."""
    rows = [
        lead(f"{prefix}{i}", days_before(330 - i * 300 / n), client, tag="Converted" if i < n * share else None)
        for i in range(n)
    ]
    actions = [
        action(row[0], "tag", from_microseconds(row[2]) + timedelta(days=10), tag="Converted")
        for row in rows
        if row[9] == "Converted"
    ]
    return rows, actions


def steady_history(n, share, prefix="s", client=CLIENT_IDS[0]):
    """Leads of the last 330 days, a share of which converts, after some ten days."""
    rng = np.random.default_rng(n)
    rows, actions = [], []
    for i in range(n):
        age, after = float(rng.uniform(0.1, 330)), float(rng.exponential(10)) if rng.random() < share else np.inf
        rows.append(lead(f"{prefix}{i}", days_before(age), client, tag="Converted" if after < age else None))
        if after < age:
            actions.append(action(f"{prefix}{i}", "tag", days_before(age - after), tag="Converted"))
    return rows, actions


def test_the_cohort_is_the_open_leads_of_any_age():
    rows, actions = history_of(100, 0.4)
    (finding,) = run("conversion_prediction", arranged(rows, actions))
    ids = sorted(row[0] for row in rows if row[9] is None)
    assert finding.content["cohort"] == {
        "size": 60, "hash": hashlib.sha256("\n".join(ids).encode()).hexdigest()[:16],
    }  # fmt: skip
    assert finding.n == 60
    best = finding.content["high_value_leads"]
    assert len(best) == 10
    assert [-item["probability"] for item in best] == sorted(-item["probability"] for item in best)
    m = finding.content["predicted_conversions"]
    assert finding.claim.parameters["low"] <= m <= finding.claim.parameters["high"]


def test_where_no_conversion_was_ever_recorded_the_answer_is_wide():
    """Before the first record the absence of conversions says nothing: two years of it leave the default curve."""
    rows = [lead(f"{i:04}", days_before(0.5 + 0.6 * i)) for i in range(1000)]
    (found,) = run("conversion_prediction", arranged(rows))
    assert "no conversion on record yet" in found.content["based_on"]
    young = run("conversion_prediction", arranged(rows[:40]))[0].content["expected_conversions"]
    assert found.content["expected_conversions"] > young  # a year and a half of older leads speaks of no rate
    assert found.content["interval"]["high"] - found.content["interval"]["low"] >= 3
    assert found.claim.probability < 0.6


def test_no_open_lead_is_no_prediction():
    assert run("conversion_prediction", arranged([lead("a", days_before(9), deleted=True)])) == []
    assert run("conversion_prediction", arranged([lead("a", AS_OF)])) == []


def test_the_pools_expectation_is_the_sum_of_its_clients():
    rows, actions = history_of(300, 0.4)
    more, more_actions = history_of(300, 0.05, "k", CLIENT_IDS[1])
    leads = arranged(rows + more, actions + more_actions, 2)
    model = fitted("conversion_prediction", leads)
    each = analysed("conversion_prediction", leads, model)
    (everyone,) = analysed("conversion_prediction", leads.pool(), model)
    expected = sum(finding.content["expected_conversions"] for finding in each)
    assert everyone.content["expected_conversions"] == pytest.approx(expected, rel=0.1)
    assert everyone.content["cohort"]["size"] == sum(finding.n for finding in each)
    arrivals = sum(finding.content["new_arrivals"]["expected"] for finding in each)
    assert everyone.content["new_arrivals"]["expected"] == pytest.approx(arrivals)


def test_the_leads_probabilities_add_up():
    rows, actions = history_of(16, 0.5)
    (finding,) = run("conversion_prediction", arranged(rows, actions))
    total = sum(item["probability"] for item in finding.content["high_value_leads"])
    assert finding.content["cohort"]["size"] == 8
    assert total == pytest.approx(finding.content["expected_conversions"])


def test_a_model_of_an_earlier_day_predicts_as_well():
    """Its periods and blocks of arrival stay where they were, whatever has come since."""
    leads = arranged(*steady_history(600, 0.4))
    old = fitted("conversion_prediction", leads, days_before(200))
    assert len(old["periods"]) < len(fitted("conversion_prediction", leads)["periods"])
    (finding,) = analysed("conversion_prediction", leads, json.loads(json.dumps(old)))
    (now,) = run("conversion_prediction", leads)
    assert finding.content["cohort"] == now.content["cohort"]
    assert finding.content["expected_conversions"] == pytest.approx(now.content["expected_conversions"], rel=0.5)
    scores = conversion_prediction.evaluate(leads, old, days_before(60))
    assert scores["leads"] > 0
    assert all(np.isfinite(value) for value in scores.values())


STRANGE = {
    "one lead": ([lead("a", days_before(9))], []),
    "no arrival": ([lead("a", None), lead("b", days_before(9))], []),
    "all converted": history_of(40, 1.0),
    "all converted and one open": (
        [*history_of(40, 1.0)[0], lead("open", days_before(3))],
        history_of(40, 1.0)[1],
    ),
    "none converted": history_of(40, 0.0),
    "all at once": (
        [lead(f"{i}", days_before(9), tag="Converted") for i in range(30)] + [lead("open", days_before(3))],
        [action(f"{i}", "tag", days_before(9), tag="Converted") for i in range(30)],
    ),
    "from the future": (
        [*history_of(40, 0.5)[0], lead("later", days_before(-5)), lead("won later", days_before(-9), tag="Converted")],
        [*history_of(40, 0.5)[1], action("won later", "tag", days_before(-10), tag="Converted")],
    ),
    "converted before arrival": (
        [lead("a", days_before(5), tag="Converted"), lead("b", days_before(5))],
        [action("a", "tag", days_before(30), tag="Converted")],
    ),
    "a decade old": (
        [lead(f"{i}", days_before(3650 + i)) for i in range(20)] + [lead("won", days_before(3000), tag="Converted")],
        [action("won", "tag", days_before(2000), tag="Converted")],
    ),
    "undated conversions": (
        [lead(f"{i}", days_before(90 - i), tag="Converted" if i % 2 else None) for i in range(30)],
        [],
    ),
}


@pytest.mark.parametrize("name", STRANGE)
def test_strange_databases_give_finite_findings(name):
    leads = arranged(*STRANGE[name])
    model = json.loads(json.dumps(fitted("conversion_prediction", leads), allow_nan=False))
    for part in (leads, leads.pool()):
        found = analysed("conversion_prediction", part, model)
        assert len(found) == (0 if name == "all converted" else 1)
        for finding in found:
            json.dumps(finding.content, allow_nan=False)
            assert 0 < finding.claim.probability <= 1
            assert all(0 < item["probability"] < 1 for item in finding.content["high_value_leads"])
            assert not {"later", "won later"} & {item["lead_id"] for item in finding.content["high_value_leads"]}


def test_conversions_without_any_date_are_not_taken_for_instant_ones():
    """A tag leaves no trace of when it was set: a fifth of the leads converted, and the open ones still may."""
    rng = np.random.default_rng(1)
    age = rng.uniform(0, 400, 800)
    delay = np.where(rng.random(800) < 0.2, rng.exponential(20, 800), np.inf)
    rows = [lead(f"{i}", days_before(age[i]), tag="Converted" if delay[i] < age[i] else None) for i in range(800)]
    due = int(((delay >= age) & (delay < age + 30)).sum())
    (found,) = run("conversion_prediction", arranged(rows, None))
    assert due / 4 < found.content["expected_conversions"] < due * 4
    assert found.claim.probability < 0.9


def test_small_clients_lean_on_the_pool_and_large_ones_on_themselves():
    """Of three leads that did not convert nothing can be told, of three thousand a lot."""
    parts = [
        steady_history(3000, 0.4), steady_history(3000, 0.1, "k", CLIENT_IDS[1]),
        steady_history(3, 0.0, "m", CLIENT_IDS[2]),
    ]  # fmt: skip
    leads = arranged([row for rows, _ in parts for row in rows], [a for _, actions in parts for a in actions], 3)
    levels = conversion_prediction.predict(
        leads, fitted("conversion_prediction", leads), AS_OF, np.random.default_rng(1)
    ).levels
    assert 3 < levels.multiplier[0] / levels.multiplier[1] < 6
    assert levels.multiplier[1] < levels.multiplier[2] < levels.multiplier[0]
    assert levels.noise[2] > 5 * levels.noise[0]


def new_arrivals(leads, model):
    (found,) = analysed("conversion_prediction", leads, model)
    return found.content["new_arrivals"]


def test_leads_yet_to_arrive_will_be_young():
    """How older leads' urgency and source tell apart is none of their business, however strongly they do."""
    leads = arranged([lead(f"{i}", days_before(29 - i / 4)) for i in range(100)])  # none was older than that so far
    model = fitted("conversion_prediction", leads)
    hazard, changed = conversion_prediction._hazard(model), list(model["coefficients"])
    weights = list(model["weights"])
    for j, feature in enumerate(lead_features(leads, model["vocabulary"], to_microseconds(AS_OF))):
        if feature.name.endswith(OF_OLDER):
            first, last = hazard.offset(j), hazard.offset(j) + hazard.levels[j]
            changed[first + 1 : last] = [-2.0] * (last - first - 1)
            weights[first:last] = [0.2, *[0.8 / (last - first - 1)] * (last - first - 1)]
    before = new_arrivals(leads, model)
    assert new_arrivals(leads, {**model, "coefficients": changed, "weights": weights}) == before
    assert before["expected"] > 0


def test_the_forecast_of_new_arrivals_knows_that_the_pace_is_uncertain():
    leads = arranged(*steady_history(3000, 0.4))
    model = fitted("conversion_prediction", leads)
    widths = []
    for noise in (0.01, 0.3):
        interval = new_arrivals(leads, {**model, "pace": [model["pace"][0], noise]})["interval"]
        widths.append(interval["high"] - interval["low"])
    assert widths[1] > 1.5 * widths[0]


def test_the_advice_counts_tags_of_back_then():
    rows, actions = history_of(50, 0.2)
    rows.append(lead("f", days_before(40), tag="Follow-Up"))
    later = [*actions, action("f", "tag", days_before(2), tag="Follow-Up")]
    leads = arranged(rows, later)

    def follow_ups(as_of):
        (finding,) = run("conversion_prediction", leads, as_of)
        return finding.facts["follow_up_open"]

    assert (follow_ups(days_before(5)), follow_ups(AS_OF)) == (0, 1)
    assert to_microseconds(days_before(2)) > to_microseconds(days_before(5))


def test_each_client_has_an_order_of_its_own_whoever_else_is_there():
    seeds = np.array([0, 1, 2**32 - 1, 7, 1])
    found = orders(seeds)
    assert (np.sort(found, axis=1) == np.arange(DRAWS)).all()
    assert (orders(seeds[2:]) == found[2:]).all()
    assert (found[1] == found[4]).all()
    assert len({tuple(row) for row in found.tolist()}) == 4
    many = orders(np.arange(4000))
    assert np.abs(many.mean(axis=0) - (DRAWS - 1) / 2).max() < 1.5  # five standard errors
