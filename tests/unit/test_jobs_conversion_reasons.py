"""Why a lead's chance is what it is: parts that add up, each beyond its own noise; and what conversions were worth."""

import json
from datetime import timedelta

import numpy as np
import pytest
from lead_rows import AS_OF, CLIENT_IDS, action, analysed, arranged, days_before, fitted, generator, lead

from worker.jobs import conversion_prediction as job
from worker.jobs.conversion_features import lead_features
from worker.jobs.conversion_reasons import Promising, explain, facts_of
from worker.jobs.conversion_value import read_value, recorded_values
from worker.leads import to_microseconds
from worker.statistics.hazard import forecast, hazard_at


def telling_history(n=900, seed=3, n_clients=2):
    """Leads of High urgency convert three times as often, those of the second client twice as often; within weeks."""
    rng = np.random.default_rng(seed)
    rows, actions = [], []
    for i in range(n):
        age, urgency, who = float(rng.uniform(1, 300)), ("Low", "High")[i % 2], i // 2 % n_clients
        share = 0.1 * (3 if urgency == "High" else 1) * (1 + who)
        after = float(rng.exponential(15)) if rng.random() < share else np.inf
        source, tag = ("Web", "Ads")[int(rng.integers(2))], "Converted" if after < age else None
        rows.append(lead(f"l{i:04d}", days_before(age), CLIENT_IDS[who], urgency=urgency, tag=tag, source=source))
        if after < age:
            actions.append(action(f"l{i:04d}", "tag", days_before(age - after), tag="Converted"))
    return rows, actions


@pytest.fixture(scope="module")
def told():
    """The two clients' findings and that of the pool."""
    leads = arranged(*telling_history(), 2)
    model = fitted("conversion_prediction", leads)
    return (
        leads,
        model,
        analysed("conversion_prediction", leads, model),
        analysed("conversion_prediction", leads.pool(), model),
    )


def test_the_reasons_and_what_they_leave_add_up(told):
    """To the log of the hazard ahead beside that of the average lead, here written out anew."""
    leads, model, found, _ = told
    hazard = job._hazard(model)
    prediction = job.predict(leads, model, AS_OF, np.random.default_rng(1))
    cohort = prediction.cohort
    features = lead_features(cohort, model["vocabulary"], to_microseconds(AS_OF))
    average = hazard.weights[1:] @ hazard.coefficients[1:] - hazard.pace
    place = {name: i for i, name in enumerate(cohort.id)}
    for finding in found:
        for listed in finding.content["high_value_leads"]:
            i = place[listed["lead_id"]]
            total = sum(reason["log_hazard"] for reason in listed["reasons"]) + listed["other_log_hazard"]
            assert total == pytest.approx(listed["log_hazard"])
            ahead = hazard_at(hazard, prediction.age[i] + np.arange(30) + 0.5).mean()
            own = sum(hazard.coefficients[hazard.offset(j) + int(f.codes[i])] for j, f in enumerate(features))
            level = prediction.levels.multiplier[cohort.owner[i]]
            assert listed["log_hazard"] == pytest.approx(np.log(ahead * level) + own - average)


def test_age_urgency_and_client_explain_a_lead_where_they_tell(told):
    _, _, found, (everyone,) = told
    first = found[1].content["high_value_leads"][0]
    effect = {reason["reason"]: reason["log_hazard"] for reason in first["reasons"]}
    assert effect["age"] > 0
    assert effect["urgency"] > 0
    assert effect["client"] > 0
    assert "source" not in effect  # tells nothing in this history
    assert list(map(abs, effect.values())) == sorted(map(abs, effect.values()), reverse=True)
    assert found[1].facts["reason_high_urgency"] > 5
    assert found[1].facts["reason_ageing"] > 5
    assert len(everyone.content["high_value_leads"]) == 10
    json.dumps([everyone.content, *(finding.content for finding in found)], allow_nan=False)


def test_the_noise_is_that_of_the_difference_from_the_mean(told):
    """A reason is told exactly where its effect exceeds the standard deviation of that very contrast."""
    leads, model, _, _ = told
    hazard = job._hazard(model)
    prediction = job.predict(leads, model, AS_OF, np.random.default_rng(1))
    multiplier = prediction.levels.multiplier[prediction.cohort.owner]
    risk_share = forecast(hazard, prediction.age, prediction.codes, multiplier).risk_share
    everyone = Promising(
        prediction.age, prediction.codes, risk_share,
        multiplier, prediction.levels.noise[prediction.cohort.owner],
    )  # fmt: skip
    explained = explain(hazard, prediction.features, everyone)
    names = [feature.name for feature in prediction.features]
    pair = [names.index("urgency"), names.index("urgency of an older lead")]
    for i in range(0, len(prediction.cohort), 7):
        contrast = np.zeros(len(hazard.coefficients))
        for j in pair:
            block = slice(hazard.offset(j), hazard.offset(j) + hazard.levels[j])
            contrast[block] -= hazard.weights[block]
            contrast[hazard.offset(j) + int(prediction.codes[i, j])] += 1
        effect, noise = contrast @ hazard.coefficients, np.sqrt(contrast @ hazard.covariance @ contrast)
        said = {reason["reason"]: reason["log_hazard"] for reason in explained[i]["reasons"]}
        assert ("urgency" in said) == (abs(effect) > noise)
        assert said.get("urgency", effect) == pytest.approx(effect, abs=0.00005)


def test_without_history_nothing_is_a_reason():
    leads = arranged([lead(f"{i}", days_before(i + 1), urgency="High") for i in range(5)])
    (finding,) = analysed("conversion_prediction", leads, fitted("conversion_prediction", leads))
    for listed in finding.content["high_value_leads"]:
        assert {reason["reason"] for reason in listed["reasons"]} <= {"age"}  # of which the default curve knows
    assert facts_of([]) == {"reason_source": None}


def app_row(lead_id, days, value, client_id=None):
    return {
        "event_type": "conversion", "client_id": client_id, "lead_id": lead_id, "created_at": days_before(days),
        "conversion_value": value,
    }  # fmt: skip


def converted(told, client):
    return sorted(told[2][client].facts["winners"].ids)


def of_everyone(told, past):
    """Say of all clients together what follows from their own findings, values included."""
    leads, model, _, _ = told
    measured = job.measure(leads, model, AS_OF, generator())
    found = job.reconcile(job.analyse(measured, model, AS_OF, generator()), past, AS_OF)
    together = job.Outlook.together([measured.of_pooled(found)])
    (finding,) = job.reconcile(job.analyse(together, model, AS_OF, generator()), past, AS_OF)
    return finding


def test_values_are_the_clients_own_recorded_ones(told):
    _, _, found, _ = told
    one, two = converted(told, 0)[:2]
    past = [app_row(one, 50, "100"), app_row(one, 40, "300.5"), app_row(two, 30, "99.5"), app_row("gone", 9, "x")]
    first, second = job.reconcile(found, past, AS_OF)
    assert {item["estimated_value"] for item in first.content["high_value_leads"]} == {200.0}
    for item in first.content["high_value_leads"]:
        assert item["expected_value"] == 200.0 * item["probability"]
    assert second.content == found[1].content
    assert {item["estimated_value"] for item in second.content["high_value_leads"]} == {None}
    pool = of_everyone(told, past)
    # only the first client's leads have a value: they come first although the second's are likelier
    assert [item["lead_id"] for item in pool.content["high_value_leads"]] == [
        item["lead_id"] for item in first.content["high_value_leads"]
    ]
    other = converted(told, 1)[0]
    pool = of_everyone(told, [*past, app_row(other, 5, "150")])
    worth = [item["expected_value"] for item in pool.content["high_value_leads"]]
    assert worth == sorted(worth, reverse=True)
    assert {item["estimated_value"] for item in pool.content["high_value_leads"]} == {150.0, 200.0}


def test_a_client_of_whom_nothing_was_said_is_among_all_the_same(told):
    """Its row was refused: its leads are counted, and listed, without a value."""
    leads, model, found, _ = told
    measured = job.measure(leads, model, AS_OF, generator())
    silent = job.Outlook.together([measured.of_pooled()])
    assert silent.best[0] == job.Outlook.together([measured.of_pooled(found)]).best[0]
    assert len(silent.best[0]) == 10


def test_a_row_that_names_the_client_counts_though_its_lead_is_gone(told):
    (first, _) = job.reconcile(told[2], [app_row("gone", 9, "70", CLIENT_IDS[0])], AS_OF)
    assert first.content["high_value_leads"][0]["estimated_value"] == 70.0


def test_values_recorded_later_and_values_that_are_none_change_nothing(told):
    one = converted(told, 0)[0]
    late = {**app_row(one, 0, "100"), "created_at": AS_OF + timedelta(seconds=1)}
    past = [
        late,
        app_row(one, 0, "100"),
        app_row(None, 5, "100"),
        {**app_row(one, 5, "100"), "event_type": "reversion"},
    ]
    assert job.reconcile(told[2], past, AS_OF) == told[2]
    assert recorded_values(past[:1], AS_OF + timedelta(days=1)) == {one: (None, 100.0)}
    for text in (None, "", "0", "-5", "NaN", "inf", "1e999", "1_000", "12 €", "true", "{}", "9" * 40, 5):
        assert read_value(text) is None, text
    assert [read_value(text) for text in ("12", " 0.5 ", "1e3")] == [12.0, 0.5, 1000.0]
