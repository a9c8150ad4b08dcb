"""Learning how to state probabilities where the truth is known: what is wrong is mended, what is right left alone."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import numpy as np
import pytest
from conversion_worlds import PLANS, conversion_world
from scipy.special import expit, logit

from worker.jobs import conversion_prediction
from worker.leads import to_microseconds
from worker.review.claims import PastClaim
from worker.review.learning import learn
from worker.review.resolved import CONVERSION, RIGHT, WRONG, Resolved, base_rates, windows_of
from worker.review.resolvers import resolve_claims
from worker.statistics.calibration import estimate_gap, reliability
from worker.statistics.recalibration import apply_map

AS_OF = datetime(2025, 3, 31, tzinfo=UTC)
SEEDS = range(10)


def drawn(seed, *, n_clients=300, windows=6, a=0.0, b=1.0, scatter=0.0, previous=None, published=None, spread=(6, 2)):
    """
    Claims of conversions that hold under a map of what is said: a = 0 and b = 1 are true probabilities.

    b may be given by window, oldest first.
    """
    rng = np.random.default_rng([seed, 11])
    n = n_clients * windows
    client = np.tile(np.arange(n_clients), windows)
    ago = np.repeat(np.arange(windows, 0, -1), n_clients)
    time = to_microseconds(AS_OF) - ago * 30 * 86_400_000_000
    said = rng.beta(*spread, n)
    own = rng.normal(0, scatter, n_clients)[client] if scatter else np.zeros(n)
    slope = np.repeat(np.broadcast_to(np.asarray(b, dtype=float), windows), n_clients)
    right = rng.random(n) < expit(a + own + slope * logit(said))
    kind, state = np.full(n, CONVERSION), np.where(right, RIGHT, WRONG)
    window, everyone = windows_of(time, AS_OF), np.ones(n, dtype=bool)
    stated = said if published is None else published(said, client)
    nothing = np.full(n, np.nan)
    claim = PastClaim(None, "conversion_prediction", AS_OF, "", *(None,) * 15)
    past = Resolved(
        as_of=AS_OF,
        client_ids=tuple(f"client-{i:04d}" for i in range(n_clients)),
        claims=(claim,) * n,
        kind=kind,
        client=client,
        pooled=everyone,
        time=time,
        window=window,
        state=state,
        said=stated,
        uncalibrated=said,
        base=base_rates(kind, window, everyone, right),
        actual=nothing,
        crps=nothing,
        altered=~everyone,
        recalibration=previous,
    )
    return past, own


def mended(seed, **world):
    """ECE of fresh claims of the same world, as they are said and as the map says."""
    past, _ = drawn(seed, **world)
    kept, _ = learn(past)
    fresh, _ = drawn(seed + 1000, **(world | {"scatter": 0.0}))
    if kept is None:
        return None
    mapped = apply_map(fresh.uncalibrated, tuple(fresh.client_ids[i] for i in fresh.client), {**kept, "clients": {}})
    return reliability(fresh.said, fresh.right).ece, reliability(mapped, fresh.right).ece


@pytest.mark.parametrize(("a", "b"), [(0.0, 0.5), (-0.6, 1.0), (0.3, 0.4)], ids=["bold", "high", "both"])
def test_a_world_that_was_stated_too_surely_is_mended(a, b):
    found = [mended(seed, a=a, b=b) for seed in SEEDS]
    assert all(each is not None for each in found)
    before, after = np.array(found).mean(axis=0)
    assert before > 0.06
    assert after < min(0.03, before / 2)


def test_a_world_that_was_stated_too_modestly_is_mended_too():
    found = [mended(seed, b=1.8, n_clients=500) for seed in SEEDS]
    told = np.array([each for each in found if each is not None])
    assert len(told) >= 9
    assert told[:, 1].mean() < told[:, 0].mean() / 2


@pytest.mark.parametrize("size", [(30, 12), (300, 6), (1000, 12)], ids=str)
def test_true_probabilities_are_left_alone(size):
    left_alone = [learn(drawn(seed, n_clients=size[0], windows=size[1])[0])[0] is None for seed in SEEDS]
    assert sum(left_alone) >= 9


def test_twenty_claims_change_nothing():
    for seed in SEEDS:
        for n_clients, windows in ((10, 2), (20, 1), (2, 10)):
            past, _ = drawn(seed, n_clients=n_clients, windows=windows, a=-2.0, b=0.1)
            assert learn(past)[0] is None


def test_clients_offsets_lean_on_the_pool():
    past, own = drawn(0, n_clients=400, windows=12, a=-0.5, scatter=0.8)
    kept, _ = learn(past)
    learned = np.array([kept["clients"].get(client_id, 0.0) for client_id in past.client_ids])
    true = own[:400]
    assert np.corrcoef(learned, true)[0, 1] > 0.5
    assert learned.std() < true.std()
    assert ((learned - true) ** 2).mean() < (true**2).mean() * 0.75


def test_the_map_is_learned_from_what_was_said_before_any_map():
    """Claims published through a good map would, taken for the worker's own, unteach it again."""
    first, _ = drawn(3, a=-0.6, b=0.6)
    kept, _ = learn(first)

    def through(said, client):
        return apply_map(said, tuple(f"client-{i:04d}" for i in client), kept)

    again, evidence = learn(drawn(3, a=-0.6, b=0.6, published=through, previous=kept)[0])
    assert (again["a"], again["b"]) == (kept["a"], kept["b"])
    assert evidence["decision"] == "published"


def test_the_old_map_stays_until_it_has_itself_made_claims_worse():
    fitted = (AS_OF - timedelta(days=200)).isoformat()
    old = {
        "a": 0.2,
        "b": 1.1,
        "client_deviation": 0.0,
        "clients": {},
        "claims": 900,
        "fitted": fitted,
        "base_rate": None,
    }
    unsure = drawn(1, n_clients=20, windows=3, previous=old)[0]
    kept, evidence = learn(unsure)
    assert (kept["a"], kept["b"], evidence["decision"]) == (0.2, 1.1, "kept")
    harmful = drawn(1, previous={**old, "a": -2.0, "b": 0.3})[0]
    kept, evidence = learn(harmful)
    assert (kept, evidence["decision"]) == (None, "retired")


def stated_instead(**world):
    kept = [learn(drawn(seed, **world)[0])[0] for seed in SEEDS]
    return [None if each is None else each["base_rate"] for each in kept]


BROKEN = (1.0, 1.0, 1.0, 1.0, -1.0, -1.0)  # by window: in the last two, the surer it was said the less often it held


def test_what_does_worse_than_the_base_rate_twice_running_is_silenced():
    rates = stated_instead(b=BROKEN)
    assert sum(rate is not None for rate in rates) >= 9
    past, _ = drawn(0, b=BROKEN)
    assert rates[0] == pytest.approx(past.right.mean(), abs=0.001)
    once = stated_instead(b=(1.0, 1.0, 1.0, 1.0, 1.0, -1.0))
    assert once == [None] * len(SEEDS)


def test_what_a_map_can_mend_need_not_be_silenced():
    """What is said has nothing to do with what happens: the map says the base rate of its own accord."""
    assert sum(rate is None for rate in stated_instead(b=0.0, a=0.5, spread=(3, 3))) >= 9


def test_silence_ends_when_probabilities_do_better_than_the_base_rate_again():
    before = {
        "a": 0.0, "b": 1.0, "client_deviation": 0.0, "clients": {}, "claims": 0, "fitted": None, "base_rate": 0.75,
    }  # fmt: skip
    ended, _ = learn(drawn(1, previous=before)[0])
    assert ended is None or ended["base_rate"] is None
    goes_on, _ = learn(drawn(1, b=BROKEN, previous=before)[0])
    assert goes_on["base_rate"] is not None
    few, _ = learn(drawn(1, n_clients=20, previous=before)[0])
    assert few["base_rate"] is not None  # too little to say


def test_good_probabilities_are_never_silenced():
    assert stated_instead(spread=(3, 2)) == stated_instead(spread=(60, 3)) == [None] * len(SEEDS)


def claims_of_the_job(leads, as_of):
    """Let conversion_prediction speak as of an instant."""
    model = conversion_prediction.fit(leads, as_of)
    for finding in conversion_prediction.analyse(leads, model, as_of, np.random.default_rng(5)):
        content, ends = finding.content, finding.claim.parameters
        yield PastClaim(
            client_id=finding.client_id,
            event_type="conversion_prediction",
            as_of=as_of,
            claim_key="",
            model_version=None,
            lead_id=None,
            n=finding.n,
            n_previous=None,
            probability=finding.claim.probability,
            uncalibrated=None,
            low=ends["low"],
            high=ends["high"],
            check_p=finding.check.p,
            check_states=None,
            expected=content["expected_conversions"],
            interval_low=content["interval"]["low"],
            interval_high=content["interval"]["high"],
            cohort_size=content["cohort"]["size"],
            cohort_hash=content["cohort"]["hash"],
        )


def test_the_jobs_own_claims_are_left_alone_and_mended_where_stated_twice_as_surely():
    leads = conversion_world(PLANS["informative"], AS_OF, np.random.default_rng([0, 3]), 300).leads
    claims = [claim for k in range(8, 0, -1) for claim in claims_of_the_job(leads, AS_OF - timedelta(days=30 * k))]
    past = resolve_claims(leads, claims, {}, AS_OF)
    table = reliability(past.said[past.decided], past.right[past.decided], cluster=past.client[past.decided])
    assert table.n > 2000
    assert abs(table.gap) <= 0.03, f"\n{table}"
    assert table.ece <= 0.05, f"\n{table}"
    assert learn(past)[0] is None
    surer = [replace(claim, probability=float(expit(2 * logit(min(claim.probability, 0.999))))) for claim in claims]
    kept, evidence = learn(resolve_claims(leads, surer, {}, AS_OF))
    assert evidence["decision"] == "published"
    assert 0.4 < kept["b"] < 0.7
    assert kept["base_rate"] is None


def test_the_reviews_own_claim_holds_as_often_as_said():
    """Worlds that are off by more or less: "said and right differ by less than .05 in the long run", and next month."""
    rng = np.random.default_rng(4)
    said, held, said_next, held_next = [], [], [], []
    for _ in range(4500):
        gap, n_clients = rng.normal(0, 0.1), int(rng.integers(5, 200))
        client = np.tile(np.arange(n_clients), 6)
        p = np.clip(rng.beta(4, 2, len(client)), 0.02, 0.98)
        shift = rng.normal(0, 0.05, n_clients)
        true = np.clip(p - gap - shift[client], 0, 1)
        right = rng.random(len(client)) < true
        found = estimate_gap(p, right, (client, np.repeat(np.arange(6), n_clients)))
        fresh = np.clip(rng.beta(4, 2, n_clients), 0.02, 0.98)
        next_right = rng.random(n_clients) < np.clip(fresh - gap - shift, 0, 1)
        said.append(found.within(0.05))
        held.append(abs(gap) < 0.05)
        said_next.append(found.next_within(0.05, 1 / 6))
        held_next.append(abs(fresh.mean() - next_right.mean()) < 0.05)
    for stated, happened in ((said, held), (said_next, held_next)):
        table = reliability(np.array(stated), np.array(happened))
        assert abs(table.gap) <= 0.03, f"\n{table}"
        assert table.ece <= 0.05, f"\n{table}"
