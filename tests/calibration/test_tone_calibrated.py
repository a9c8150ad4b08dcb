"""
Do the tone claims hold as often as they say? In worlds of known truth, seeded, 10,000 claims a world and more.

The bar: ECE at most .03 in every world of 1,000 clients or more, for small clients and for large ones by themselves
(so also for both together, 20,000 claims and more). Beside it the naive answers fail the same bar: each
client's own leads alone, and bursts taken for independent leads. A failure prints the reliability table.
"""

import numpy as np
import pytest
from worlds import AS_OF, KINDS, Claims, generator, number, tone_claims, tone_counts_claims, true_tones

from worker.jobs import tone_distribution
from worker.simulate import ToneWorld, tone_world
from worker.simulate.lead_worlds import tone_leads
from worker.statistics.calibration import reliability
from worker.vocabulary import TONES

BAR = 0.03
SEEDS = 10  # worlds of 1,000 clients
DEPENDENT = ("bursts", "duplicates")
INDEPENDENT = tuple(kind for kind in KINDS if kind not in DEPENDENT)


def joined_counts(draw, seeds, *, naive=False):
    """Join the claims of worlds draw(generator); each world has its own number."""
    parts = []
    for seed in range(seeds):
        rng = np.random.default_rng([seed, 77])
        parts.append(tone_counts_claims(draw(rng), rng, naive=naive))
    return Claims.joined(parts)


def two_sorts(rng, n_clients=1000):
    """Half of the clients hardly differ from each other, each of the others is of its own kind; Pareto sizes."""
    like = tone_world("still", n_clients, rng, concentration=60.0)
    unlike = tone_world("still", n_clients, rng, concentration=3.0)
    first = np.arange(n_clients) % 2 == 0
    return ToneWorld(
        np.where(first, like.n, unlike.n),
        np.where(first[:, None], like.true, unlike.true),
        np.where(first[:, None], like.counts, unlike.counts),
    )


def judged(claims, at_least=10_000):
    table = claims.table
    assert table.n >= at_least
    print(f"\n{table}")  # noqa: T201 - the measured table, seen when the test fails and with pytest -s
    return table


@pytest.mark.parametrize("sizes", ["pareto", "large"])
@pytest.mark.parametrize("kind", INDEPENDENT)
def test_tone_ball_is_calibrated_in_every_world(kind, sizes):
    claims = joined_counts(lambda rng: tone_world(kind, 1000, rng, sizes=sizes), SEEDS)
    assert judged(claims).ece <= BAR


@pytest.mark.slow
@pytest.mark.parametrize("sizes", ["pareto", "large"])
@pytest.mark.parametrize("kind", DEPENDENT)
def test_tone_ball_is_calibrated_where_leads_depend_on_one_another(kind, sizes):
    """By the job's own fit and analyse, which have to find out."""
    assert judged(Claims.joined(tone_claims(kind, sizes, seed, 1000) for seed in range(SEEDS))).ece <= BAR


@pytest.mark.parametrize(
    ("concentration", "sizes", "kind"),
    [
        (3.0, "pareto", "mostly_still"),
        (3.0, "large", "still"),
        (60.0, "pareto", "still"),
        (60.0, "large", "mostly_still"),
    ],
)
def test_tone_ball_is_calibrated_however_alike_clients_are(concentration, sizes, kind):
    claims = joined_counts(lambda rng: tone_world(kind, 1000, rng, sizes=sizes, concentration=concentration), SEEDS)
    assert judged(claims).ece <= BAR


def test_tone_ball_is_calibrated_with_clients_of_two_sorts():
    assert judged(joined_counts(two_sorts, SEEDS)).ece <= BAR


def test_tone_ball_is_calibrated_with_5000_clients():
    assert judged(joined_counts(lambda rng: tone_world("mostly_still", 5000, rng), 2)).ece <= BAR


@pytest.mark.slow
@pytest.mark.parametrize("n_clients", [1, 3])
def test_few_clients_know_that_they_know_little(n_clients):
    """A client alone and three of them: 1,500 claims each way, ECE at most .06; chance alone makes .02 of it."""
    claims = joined_counts(lambda rng: tone_world("still", n_clients, rng, sizes="large"), 1500 // n_clients)
    assert judged(claims, at_least=1500).ece <= 0.06


@pytest.mark.parametrize("sizes", ["pareto", "large"])
def test_own_leads_alone_miss_the_bar(sizes):
    claims = joined_counts(lambda rng: tone_world("still", 1000, rng, sizes=sizes), SEEDS, naive=True)
    assert judged(claims).ece > 2 * BAR


def test_bursts_taken_for_independent_leads_miss_the_bar():
    parts = []
    for seed in range(3):
        rng = generator("bursts", "large", seed)
        parts.append(tone_counts_claims(tone_world("bursts", 1000, rng, sizes="large"), rng))
    assert judged(Claims.joined(parts), at_least=3000).ece > BAR


@pytest.mark.parametrize("kind", ["mostly_still", "bursts", "duplicates"])
def test_the_other_half_agrees_as_often_as_foretold(kind):
    """Pareto and large worlds, the model learned from the first half alone; ECE at most .03."""
    said, agreed = [], []
    for seed in range(4):
        rng = generator(kind, "half", seed)
        leads = tone_leads(tone_world(kind, 1000, rng, sizes=("pareto", "large")[seed % 2]), AS_OF, rng)
        model = tone_distribution.fit(leads.only(~leads.half()), AS_OF)
        checks = tone_distribution.half_checks(leads, model, AS_OF, rng)
        said.append(checks.p)
        agreed.append(checks.agreed)
    table = reliability(np.concatenate(said), np.concatenate(agreed))
    print(f"\n{table}")  # noqa: T201 - as above
    assert table.ece <= BAR


def test_the_intervals_of_tones_cover():
    """80% intervals hold the true share in 77% to 83% of the tones that somebody was seen to write in."""
    inside, weight = [], []
    for seed in range(4):
        rng = generator("still", "cover", seed)
        world = tone_world("still", 1000, rng)
        leads = tone_leads(world, AS_OF, rng)
        model = tone_distribution.fit(leads, AS_OF)
        findings = tone_distribution.analyse(leads, model, AS_OF, rng)
        true = true_tones(world)[[number(finding) for finding in findings]]
        low, high = (
            np.array([[finding.content["intervals"][name][end] for name in TONES] for finding in findings])
            for end in ("low", "high")
        )
        inside.append((low <= true) & (true <= high))
        weight.append(np.array([[finding.content["estimate"][name] for name in TONES] for finding in findings]))
    covered = np.average(np.concatenate(inside), weights=np.concatenate(weight))
    print(f"\n80% intervals cover {covered:.3f}")  # noqa: T201 - as above
    assert covered == pytest.approx(0.80, abs=0.03)
