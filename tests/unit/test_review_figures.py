"""The figures of a review against sums written out one by one, and the findings and tables made of them."""

import json
from dataclasses import asdict, replace
from datetime import datetime

import numpy as np
import pytest
from lead_rows import AS_OF, analysed, arranged, days_before, lead
from test_review_resolvers import NAMES, claims_of, company

from worker.growth_brain import make_snapshot
from worker.jobs import accuracy_review
from worker.review.figures import LEAST_BASE_SQUARES, LEAST_FOR_SKILL, Totals, as_json, skill
from worker.review.report import review_of
from worker.review.resolved import PENDING, REVIEW, RIGHT, TYPES, VOID, WRONG, base_rates
from worker.statistics.calibration import reliability


def reviewed():
    """A company with a test client among its clients, reviewed after four months; and its leads and model."""
    leads = company()
    leads = replace(leads, clients=replace(leads.clients, pooled=np.arange(len(leads.clients)) != 2))
    claims, models = [], {}
    for when in (40, 70, 100, 130, 10):
        for name in NAMES:
            some, model = claims_of(name, leads, days_before(when))
            claims += [replace(c, claim_key=c.claim_key) for c in some]
            models |= model
    claims += claims_of("conversion_events", leads, days_before(1))[0]
    claims.sort(key=lambda c: (c.event_type, c.as_of, c.client_id or "", c.claim_key))
    past = accuracy_review.resolve(leads, claims, models, AS_OF)
    return leads, past, accuracy_review.fit(leads, AS_OF, past=past)


@pytest.fixture(scope="module")
def review():
    return reviewed()


def findings(leads, past, model):
    rng = np.random.default_rng(1)
    return accuracy_review.analyse(leads, model, AS_OF, rng, past=past) + accuracy_review.analyse(
        leads.pool(), model, AS_OF, rng, past=past
    )


def plain(finding):
    return json.dumps(asdict(finding), sort_keys=True, allow_nan=False, default=datetime.isoformat)


def test_the_figures_are_sums_over_the_claims(review):
    leads, past, model = review
    found = findings(leads, past, model)
    assert [f.client_id for f in found] == [*leads.clients.ids, None]
    for finding in found:
        c = None if finding.client_id is None else leads.clients.ids.index(finding.client_id)
        mine = past.pooled if c is None else past.client == c
        assert set(finding.content["jobs"]) == {TYPES[kind] for kind in past.kind[mine]}
        for name, figures in [*finding.content["jobs"].items(), ("overall", finding.content["overall"])]:
            rows = [
                i
                for i in range(len(past))
                if mine[i] and (past.kind[i] != REVIEW if name == "overall" else TYPES[past.kind[i]] == name)
            ]
            decided = [i for i in rows if past.state[i] in (WRONG, RIGHT)]
            assert figures["resolved"] == len(decided)
            assert figures["pending"] == sum(past.state[i] == PENDING for i in rows)
            assert figures["void"] == sum(past.state[i] == VOID for i in rows)
            if not decided:
                assert figures["mean_said"] is figures["brier"] is figures["skill"] is None
                continue
            y = [float(past.state[i] == RIGHT) for i in decided]
            brier = np.mean([(past.said[i] - v) ** 2 for i, v in zip(decided, y, strict=True)])
            assert figures["mean_said"] == pytest.approx(np.mean([past.said[i] for i in decided]))
            assert figures["mean_right"] == pytest.approx(np.mean(y))
            assert figures["brier"] == pytest.approx(brier)
            base = np.mean([(past.base[i] - v) ** 2 for i, v in zip(decided, y, strict=True)])
            if len(decided) >= LEAST_FOR_SKILL and base * len(decided) >= LEAST_BASE_SQUARES:
                assert figures["skill"] == pytest.approx(1 - brier / base)
            else:
                assert figures["skill"] is None
            assert sum(band["n"] for band in figures["bands"]) == len(decided)
            for band in figures["bands"]:
                assert band["low"] <= band["mean_said"] <= band["high"]
                assert band["interval"]["low"] <= band["mean_right"] <= band["interval"]["high"]


@pytest.mark.parametrize("all_right", [True, False])
def test_where_outcomes_do_not_vary_there_is_no_skill(review, all_right):
    """Beside a base rate that is all but perfect any forecast looks absurd (-86 of said 0.9): null, and "-"."""
    leads, past, model = review
    same = np.where(past.decided, RIGHT if all_right else WRONG, past.state)
    base = base_rates(past.kind, past.window, past.pooled & past.decided, same == RIGHT)
    alike = replace(past, state=same, base=base)
    for finding in findings(leads, alike, model):
        assert {figures["skill"] for figures in finding.content["jobs"].values()} == {None}
    text = str(review_of(alike, model, ()))
    assert "nan" not in text
    assert "skill -," in text
    outcome = np.full(60, all_right)
    assert np.isnan(skill(np.full(60, 0.6), outcome, np.full(60, 60.5 / 61 if all_right else 0.5 / 61)))
    outcome[0] = not all_right  # a single one that went the other way can be told apart, or not
    assert np.isfinite(skill(np.full(60, 0.6), outcome, np.full(60, 59.5 / 61 if all_right else 1.5 / 61)))


def test_counts_have_coverage_and_a_score(review):
    leads, past, model = review
    pool = findings(leads, past, model)[-1].content
    counts = pool["jobs"]["conversion_prediction"]
    rows = [i for i in range(len(past)) if past.pooled[i] and np.isfinite(past.actual[i])]
    inside = [past.claims[i].interval_low <= past.actual[i] <= past.claims[i].interval_high for i in rows]
    assert counts["coverage"]["n"] == len(rows) == 20
    assert counts["coverage"]["share_inside"] == pytest.approx(np.mean(inside))
    assert counts["actual"] == sum(past.actual[i] for i in rows)
    assert counts["expected"] == pytest.approx(sum(past.claims[i].expected for i in rows))
    assert counts["crps"] == pytest.approx(np.mean([past.crps[i] for i in rows]))
    assert [window["pending"] for window in pool["windows"]] == [5, 0, 0, 0, 0]
    assert sum(window["actual"] or 0 for window in pool["windows"]) == counts["actual"]


def test_a_band_of_one_client_is_that_of_the_reliability_table(review):
    leads, past, model = review
    finding = findings(leads, past, model)[0]
    for name, figures in finding.content["jobs"].items():
        rows = (past.client == 0) & past.decided & (past.kind == TYPES.index(name))
        table = reliability(past.said[rows], past.right[rows])
        told = [(b["n"], b["mean_said"], b["interval"]["low"], b["interval"]["high"]) for b in figures["bands"]]
        bins = [(b.n, b.mean_said, b.interval_low, b.interval_high) for b in table.bins]
        assert np.array(told) == pytest.approx(np.array(bins))


def test_shards_say_the_same_to_the_last_bit(review):
    leads, past, model = review
    whole = findings(leads, past, model)[:-1]
    rng = np.random.default_rng(1)
    for number in range(3):
        part = leads.of_clients(np.arange(len(leads.clients)) % 3 == number)
        told = accuracy_review.analyse(part, model, AS_OF, rng, past=past)
        assert list(map(plain, told)) == [plain(f) for f in whole if f.client_id in part.clients.ids]


def test_a_test_client_has_a_review_and_is_not_in_the_pools(review):
    leads, past, model = review
    special = leads.clients.ids[2]
    changed = replace(past, state=np.where(past.client == 2, WRONG, past.state))
    assert changed.state.tolist() != past.state.tolist()
    before, after = (plain(findings(leads, which, model)[-1]) for which in (past, changed))
    assert before == after
    assert special in [f.client_id for f in findings(leads, past, model)]
    assert accuracy_review.fit(leads, AS_OF, past=changed) == model


def test_the_snapshot_claims_what_the_model_holds_and_names_no_lead(review):
    leads, past, model = review
    for finding in findings(leads, past, model):
        snapshot = make_snapshot(finding, AS_OF, "accuracy_review-1", "fr").as_json()
        claim = snapshot["learning_snapshot"]["claim"]
        assert (claim["kind"], claim["distance"], claim["probability"]) == (
            "within_distance",
            0.05,
            model["probability"],
        )
        assert snapshot["confidence"] == round(min(max(model["probability"], 0.01), 0.99), 2)
        assert snapshot["learning_snapshot"]["check"]["resolve_at"] == "2025-04-30T00:00:00+00:00"
        text = json.dumps(snapshot)
        assert "prediction" not in snapshot["event_type"]
        assert not any(str(lead_id) in text for lead_id in leads.id[:50])


def test_claims_about_all_clients_together_stand_apart(review):
    leads, past, model = review
    pool = findings(leads, past, model)[-1].content
    own = pool["of_all_together"]["conversion_prediction"]
    assert (own["resolved"], own["pending"]) == (4, 1)
    assert "skill" not in own
    assert pool["jobs"]["conversion_prediction"]["resolved"] == 20


def test_the_tables_fit_a_terminal(review):
    leads, past, model = review
    shown = review_of(past, model, ())
    assert max(map(len, str(shown).splitlines())) <= 80
    document = json.loads(json.dumps(shown.as_json(), allow_nan=False))
    of_all = json.loads(json.dumps(findings(leads, past, model)[-1].content))
    assert all(document[name] == of_all[name] for name in ("jobs", "overall", "windows"))
    mine = review_of(past, model, (leads.clients.ids[0],))
    text = str(mine)
    assert max(map(len, text.splitlines())) <= 80
    assert len(mine.as_json()["claims"]) == (past.client == 0).sum()
    for row in mine.as_json()["claims"]:
        if row["event_type"] == "conversion_prediction" and row["state"] in ("right", "wrong"):
            assert f"{row['state']}: {row['actual']:.0f}, said {row['low']:.0f} to {row['high']:.0f}" in text


def test_before_anything_has_matured_it_says_from_when_on():
    leads = arranged([lead(f"lead-{i}", days_before(80)) for i in range(5)])
    claims, models = claims_of("conversion_prediction", leads, days_before(10))
    past = accuracy_review.resolve(leads, claims, models, AS_OF)
    model = accuracy_review.fit(leads, AS_OF, past=past)
    text = str(review_of(past, model, ()))
    assert "Nothing can be compared yet.\nFrom 2025-04-20 on" in text
    empty = accuracy_review.resolve(leads, [], {}, AS_OF)
    assert "run the jobs first" in str(review_of(empty, accuracy_review.fit(leads, AS_OF, past=empty), ()))


def test_the_stated_probability_follows_the_review(review):
    """What a review publishes reaches the next predictions: stated, with what it was before beside it."""
    leads = review[0]
    _, models = claims_of("conversion_prediction", leads, AS_OF)
    model = next(iter(models.values()))
    plainly = analysed("conversion_prediction", leads, model)
    own = leads.clients.ids[0]
    kept = {
        "a": -0.5, "b": 0.6, "client_deviation": 0.2, "clients": {own: 0.4}, "claims": 900, "fitted": "2025-03-01",
        "base_rate": None, "version": "recalibration-1",
    }  # fmt: skip
    mapped = analysed("conversion_prediction", leads, {**model, "recalibration": kept})
    for before, after in zip(plainly, mapped, strict=True):
        p = before.claim.probability
        odds = np.log(np.clip(p, 0.001, 0.999) / (1 - np.clip(p, 0.001, 0.999)))
        stated = 1 / (1 + np.exp(-(-0.5 + (0.4 if before.client_id == own else 0.0) + 0.6 * odds)))
        assert after.claim.probability == pytest.approx(stated)
        assert after.check.p == after.claim.probability
        assert after.claim.parameters["uncalibrated"] == p
        assert after.claim.parameters["recalibration"] == "recalibration-1"
        assert "base_rate" not in before.claim.parameters
    silenced = analysed("conversion_prediction", leads, {**model, "recalibration": {**kept, "base_rate": 0.71}})
    assert {f.claim.probability for f in silenced} == {0.71}
    assert all("lately done worse" in f.content["based_on"] for f in silenced)
    plain_model = {**kept, "a": 0.0, "b": 1.0, "clients": {}}
    whole, quiet = (
        analysed("conversion_prediction", leads.pool(), m)[0]
        for m in (model, {**model, "recalibration": {**plain_model, "base_rate": 0.71}})
    )
    assert quiet.claim.probability == pytest.approx(whole.claim.probability)
    assert quiet.claim.parameters["base_rate"] is None
    assert quiet.content["based_on"] == whole.content["based_on"]


def test_types_without_claims_have_no_figures():
    leads = arranged([lead("lead-1", days_before(80))])
    past = accuracy_review.resolve(leads, [], {}, AS_OF)
    document = as_json(Totals.of(past, past.client, 1), 0)
    assert document["jobs"] == {}
    assert document["overall"]["resolved"] == 0
