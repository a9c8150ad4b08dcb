"""
Are urgency_trend and engagement_score as sure as they are right? Worlds of known truth; arrays only, seeded.

Each bar is one test a world, and its failure prints the reliability table. Beside it stands the naive answer, missing
the same bar: it shows that the test can fail. Bars that are missed stand as they are, marked as missed. Naive is a flat
prior of the change and leads taken for independent, or, for bursts, the learned prior and leads taken for independent.
ECE is the expected calibration error over ten bins of equal width (Naeini, Cooper & Hauskrecht 2015).
"""

from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cache
from typing import Any

import numpy as np
import pytest
from change_worlds import INDEPENDENT, LEARNERS, MAKERS, Claims, claims_of, generator, learn_shares, lone_claims
from scipy import stats

from worker.jobs import load_job
from worker.simulate import CHANGE_KINDS, ShareWorld
from worker.simulate.arrays import SCORE_UNIT
from worker.simulate.lead_worlds import score_leads, share_leads
from worker.statistics.calibration import Reliability, reliability
from worker.statistics.change import STABLE, ChangePosterior
from worker.statistics.change_prior import STILL_SHARES

AS_OF = datetime(2025, 3, 31, tzinfo=UTC)
JOBS = tuple(MAKERS)
LEADS: dict[str, Any] = {"urgency_trend": share_leads, "engagement_score": score_leads}
LEAST_IN_BIN = 200  # claims; a bin of fewer may miss by luck


@dataclass(frozen=True)
class Row:
    """So many worlds of one sort for every kind of change."""

    n_clients: int
    seeds: int
    windows: int = 2
    sizes: str = "pareto"


PARETO = Row(1000, 20)
LARGE = Row(1000, 20, sizes="large")
FIVE_THOUSAND = Row(5000, 4)
PAST = Row(1000, 20, windows=8)
THIRTY = Row(30, 167)
THIRTY_PAST = Row(30, 167, windows=8)

ROWS = {
    "1000-pareto": PARETO,
    "1000-large": LARGE,
    "5000-pareto": FIVE_THOUSAND,
    "1000-past": PAST,
    "30": THIRTY,
    "30-past": THIRTY_PAST,
}
FIRST_RUN = ("1000-pareto", "1000-large", "5000-pareto")
BOTH_JOBS = pytest.mark.parametrize("job", JOBS)
MISSED = pytest.mark.xfail(
    reason="so few independent leads do not tell small changes from none: see the README's limits"
)


def long(name: str) -> list[pytest.MarkDecorator]:
    """Mark what looks at five thousand clients."""
    return [pytest.mark.slow] if "5000" in name else []


def in_rows(*names: str) -> pytest.MarkDecorator:
    return pytest.mark.parametrize("row", [pytest.param(ROWS[name], id=name, marks=long(name)) for name in names])


def in_every_world(*names: str, missed: tuple[str, ...] = ()) -> pytest.MarkDecorator:
    """Ask for each job, row and kind of change; `missed` are those known to miss the bar: "job-row-kind"."""
    asked = {f"{job}-{name}-{kind}": (job, ROWS[name], kind) for job in JOBS for name in names for kind in CHANGE_KINDS}
    assert asked.keys() >= set(missed)
    return pytest.mark.parametrize(
        ("job", "row", "kind"),
        [
            pytest.param(*case, id=name, marks=[*([MISSED] if name in missed else []), *long(name)])
            for name, case in asked.items()
        ],
    )


@cache
def claims(job: str, row: Row, kind: str) -> tuple[Claims, Claims]:
    return claims_of(job, kind, range(row.seeds), row.n_clients, windows=row.windows, sizes=row.sizes)


def judged(said: Claims) -> Reliability:
    return reliability(said.said, said.right)


def learned(job: str, row: Row, kind: str) -> Reliability:
    return judged(claims(job, row, kind)[0])


def naive_tables(job: str, row: Row) -> list[Reliability]:
    """Give the reliability of the flat prior in each kind of world."""
    return [judged(claims(job, row, kind)[1]) for kind in CHANGE_KINDS]


def worst_bin(table: Reliability) -> float:
    """Say by how much the worst bin is too sure."""
    return max((b.mean_said - b.share_right for b in table.bins if b.n >= LEAST_IN_BIN), default=0.0)


def ensure_naive_misses(job: str, row: Row, bar: float) -> None:
    """The bar is for every world; a flat prior passes it where everybody changed, or where all clients are large."""
    naive = [table.ece for table in naive_tables(job, row)]
    assert sum(ece > bar for ece in naive) > len(naive) / 2, naive


# --- first run ------------------------------------------------------------------------------------------------------


@in_every_world(*FIRST_RUN, missed=("urgency_trend-1000-pareto-bursts",))
def test_first_run_is_calibrated(job, row, kind):
    """ECE at most .06 in every world."""
    table = learned(job, row, kind)
    assert table.ece <= 0.06, f"\n{table}"


@in_rows(*FIRST_RUN)
@BOTH_JOBS
def test_flat_prior_is_not_calibrated(job, row):
    ensure_naive_misses(job, row, 0.06)


@in_every_world(
    *FIRST_RUN,
    missed=(
        "urgency_trend-1000-pareto-bursts",
        "engagement_score-1000-pareto-bursts",
        "engagement_score-5000-pareto-common_shock",
    ),
)
def test_no_bin_is_too_sure(job, row, kind):
    """In no world a bin of 200 or more claims says .05 more than holds."""
    table = learned(job, row, kind)
    assert worst_bin(table) <= 0.05, f"\n{table}"


@in_rows(*FIRST_RUN)
@BOTH_JOBS
def test_flat_prior_has_bins_that_are_too_sure(job, row):
    assert max(map(worst_bin, naive_tables(job, row))) > 0.05


# --- six past periods, and few clients ------------------------------------------------------------------------------


@pytest.mark.slow
@in_every_world("1000-past")
def test_six_past_periods_teach(job, row, kind):
    """ECE at most .04 in every world."""
    table = learned(job, row, kind)
    assert table.ece <= 0.04, f"\n{table}"


@pytest.mark.slow
@BOTH_JOBS
def test_past_periods_teach_a_flat_prior_nothing(job):
    ensure_naive_misses(job, PAST, 0.04)


@in_every_world("30")
def test_thirty_clients_on_the_first_run(job, row, kind):
    """ECE at most .15 in every world."""
    table = learned(job, row, kind)
    assert table.ece <= 0.15, f"\n{table}"


@in_every_world(
    "30",
    missed=(
        "urgency_trend-30-small",
        "urgency_trend-30-heavy_tails",
        "engagement_score-30-small",
        "engagement_score-30-heavy_tails",
    ),
)
def test_thirty_clients_are_not_far_too_sure(job, row, kind):
    """Mean said at most .08 above mean right in every world."""
    table = learned(job, row, kind)
    assert table.gap <= 0.08, f"\n{table}"


@BOTH_JOBS
def test_thirty_clients_with_a_flat_prior(job):
    naive = naive_tables(job, THIRTY)
    assert max(table.ece for table in naive) > 0.15
    assert min(table.gap for table in naive) > 0.08


@pytest.mark.slow
@in_every_world("30-past", missed=("urgency_trend-30-past-still", "urgency_trend-30-past-small"))
def test_thirty_clients_with_six_past_periods(job, row, kind):
    """ECE at most .08 in every world."""
    table = learned(job, row, kind)
    assert table.ece <= 0.08, f"\n{table}"


@pytest.mark.slow
@BOTH_JOBS
def test_thirty_clients_with_a_past_and_a_flat_prior(job):
    ensure_naive_misses(job, THIRTY_PAST, 0.08)


@pytest.mark.slow
@BOTH_JOBS
def test_one_client_alone(job):
    """ECE at most .03 where truth comes from the default prior: 5,000 databases of one client each."""
    taught, flat = (judged(side) for side in lone_claims(job, 5000))
    assert taught.ece <= 0.03, f"\n{taught}"
    assert flat.ece > 0.03, f"\n{flat}"


# --- what is said, and what would be said of independent leads ------------------------------------------------------


@BOTH_JOBS
def test_sharpness(job):
    """60% still: the class said is true of 72 in 100 clients, most of them small; a flat prior's of far fewer."""
    taught, flat = (judged(side) for side in claims(job, PARETO, "mostly_still"))
    assert taught.mean_right >= 0.72, f"\n{taught}"
    assert flat.mean_right < 0.72, f"\n{flat}"


@in_rows(*FIRST_RUN)
@BOTH_JOBS
def test_where_nothing_changes_almost_nothing_is_said_to_move(job, row):
    """Trends other than stable: at most 1% of all claims."""
    taught, flat = claims(job, row, "still")
    assert (taught.said_class != STABLE).mean() <= 0.01, f"\n{judged(taught)}"
    assert (flat.said_class != STABLE).mean() > 0.01, f"\n{judged(flat)}"


@pytest.mark.slow
@pytest.mark.parametrize("sizes", ["pareto", "large"])
@BOTH_JOBS
def test_bursts_of_three_leads(job, sizes):
    """Mean said at most .03 above mean right; the same engine that takes leads for independent is far above."""
    aware, unaware = (
        judged(claims_of(job, "bursts", range(20), 1000, sizes=sizes, mean_burst=3.0, independent=unseen)[0])
        for unseen in (False, True)
    )
    assert aware.gap <= 0.03, f"\n{aware}"
    assert unaware.gap > 0.03, f"\n{unaware}"


@pytest.mark.parametrize("sizes", ["pareto", "large"])
@pytest.mark.parametrize("kind", ["mostly_still", "bursts", "duplicates"])
@BOTH_JOBS
def test_likelihoods_are_right_under_the_true_prior(job, kind, sizes):
    """
    Who knows how clients change is as sure as right: ECE at most .03, whatever goes wrong in learning it.

    Bursts taken for independent leads miss it.
    """
    module = load_job(job)
    unit = SCORE_UNIT if job == "engagement_score" else 1.0
    edges = np.concatenate([[-np.inf], (module.GRID[1:] + module.GRID[:-1]) / 2, [np.inf]])
    true_prior = 0.4 * np.diff(stats.norm.cdf(edges / (0.12 * unit))) + 0.6 * (module.GRID == 0)
    aware, unaware = [], []
    for seed in range(6):
        rng = generator(kind, 500 + seed, 1000, 2)
        world = MAKERS[job](kind, 1000, rng, sizes=sizes)
        for said, correlation in ((aware, None), (unaware, INDEPENDENT)):
            likelihood = LEARNERS[job](world, rng, correlation).likelihood
            mass = np.exp(likelihood - likelihood.max(axis=1, keepdims=True)) * true_prior
            posterior = ChangePosterior(module.GRID, module.DEAD_BAND, mass / mass.sum(axis=1, keepdims=True))
            said.append(Claims.of(posterior, world.true_class))
    right, wrong = judged(Claims.joined(aware)), judged(Claims.joined(unaware))
    assert right.ece <= 0.03, f"\n{right}"
    assert wrong.ece > 0.03 or kind != "bursts", f"\n{wrong}"


@pytest.mark.parametrize("kind", ["mostly_still", "bursts", "duplicates"])
@BOTH_JOBS
def test_many_clients_teach_how_many_are_still(job, kind):
    """Of 10,000 clients, most of them with few leads, three in five, on an average of ten such databases."""
    found = []
    for seed in range(600, 610):
        rng = generator(kind, seed, 10_000, 2)
        prior = LEARNERS[job](MAKERS[job](kind, 10_000, rng), rng).prior
        found.append(STILL_SHARES @ prior.weights.sum(axis=1))
    assert np.mean(found) == pytest.approx(0.6, abs=0.11), found


def moved_world(seed):
    """100 leads a window; the first 200 of 1,000 clients shift by 20 points of High share, half of them down."""
    rng = np.random.default_rng(seed)
    shift = np.zeros(1000)
    shift[:100], shift[100:200] = 0.20, -0.20
    before = rng.uniform(0.25, 0.6, 1000)
    true = np.stack([before, before + shift])
    n = np.full((2, 1000), 100)
    return ShareWorld(n, true, rng.binomial(n, true))


def test_shifts_of_twenty_points_are_found():
    """
    Three in four with the right sign, and never the wrong one, over three worlds.

    The naive p < .05 accuses more of the 800 others.
    """
    found = 0
    for seed in range(3):
        world = moved_world(seed)
        posterior = learn_shares(world, np.random.default_rng(seed)).posterior
        said, truth = Claims.of(posterior, world.true_class).said_class - STABLE, world.true_class
        found += (said[:200] == truth[:200]).sum()
        assert (said[:200] == -truth[:200]).sum() == 0
        p0, p1 = world.k / 100
        z = (p1 - p0) / np.sqrt((p0 + p1) * (2 - p0 - p1) / 200)
        naive = 2 * stats.norm.sf(np.abs(z)) < 0.05
        assert (said[200:] != 0).sum() < naive[200:].sum()
    assert found >= 450


# --- the jobs themselves --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("kind", "windows"), [("mostly_still", 2), ("bursts", 8)])
@BOTH_JOBS
def test_the_jobs_say_the_same(job, kind, windows):
    """Fit and analyse on single leads give what the fast way above gives, and learn the same likeness of leads."""
    module, rng = load_job(job), generator(kind, 99, 300, windows)
    world = MAKERS[job](kind, 300, rng, windows=windows)
    leads = LEADS[job](world, AS_OF, rng)
    model = module.fit(leads, AS_OF)
    found = module.analyse(leads, model, AS_OF, rng)
    correlation = np.array(model["serial_correlation"])
    same = LEARNERS[job](world, rng, correlation)
    expected = Claims.of(same.posterior, world.true_class)
    assert [finding.client_id for finding in found] == list(leads.clients.ids)
    assert [finding.claim.parameters["class"] for finding in found] == [
        ("decreasing", "stable", "increasing")[code] for code in expected.said_class
    ]
    assert [finding.claim.probability for finding in found] == pytest.approx(expected.said.tolist(), abs=1e-9)
    assert model["prior"]["weight"] == pytest.approx(same.prior.as_json()["weight"], abs=1e-9)
    assert correlation == pytest.approx(LEARNERS[job](world, rng).correlation, abs=0.05)
