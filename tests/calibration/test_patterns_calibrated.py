"""
Are patterns true as often as they say, are few of them false, and are real changes found? In worlds of known truth.

Arrays only, seeded. The job's own fit, analyse and reconcile run on simulated leads; a claim is right where the true
effect (against the client's past, or beyond the true change of the others) has the sign that was said. Beside every
bar stands the naive answer, p < .05 question by question with confidence 1 - p, failing it. A failure prints the table.
"""

from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

import numpy as np
import pytest

from worker.calendar import local_day
from worker.jobs import pattern_detection
from worker.jobs.finding import Finding
from worker.jobs.pattern_family import learn_pool
from worker.jobs.pattern_questions import AGAINST, EVERYONE
from worker.jobs.pattern_record import reconcile
from worker.jobs.pattern_view import SUBJECTS, View
from worker.simulate.pattern_world import PLANTED_IN, PatternWorld, changing_world, pattern_world
from worker.statistics import discovery
from worker.statistics.discovery import two_sided_p

AS_OF = datetime(2025, 3, 31, tzinfo=UTC)
SEEDS = 5
# kind, leads a window, clients
WORLDS = (
    ("planted", 120.0, 500),
    ("mostly_still", "pareto", 1000),
    ("mostly_still", 60.0, 500),
    ("small", "pareto", 1000),
    ("sparse", "pareto", 1000),
    ("shifted", "pareto", 1000),
    ("heavy_tails", "pareto", 1000),
    ("common_shock", "pareto", 1000),
    ("bursts", 150.0, 500),
    ("duplicates", 60.0, 500),
    ("volume", "pareto", 1000),
)


@dataclass(slots=True)
class Claims:
    """How sure each pattern was, and whether it was right; sizes are aligned, stated and true."""

    said: list[float] = field(default_factory=list)
    right: list[bool] = field(default_factory=list)
    stated: list[float] = field(default_factory=list)
    true: list[float] = field(default_factory=list)
    inside: list[bool] = field(default_factory=list)  # the stated interval

    @property
    def false_share(self):
        return 1 - float(np.mean(self.right)) if self.right else 0.0

    @property
    def ece(self):
        if not self.said:
            return 0.0
        said, right = np.array(self.said), np.array(self.right, dtype=float)
        bins = np.minimum((said * 10).astype(int), 9)
        return float(np.abs(np.bincount(bins, weights=said - right)).sum() / len(said))

    def __str__(self):
        said, right = (np.mean(part) if part else float("nan") for part in (self.said, self.right))
        return f"{len(self.said):6d} patterns: said {said:.3f}, right {right:.3f}, ECE {self.ece:.3f}"


def run(leads, as_of, past=(), last_period=None) -> list[Finding]:
    """Do what a run does: fit, every client, everyone together, and the record."""
    model = pattern_detection.fit(leads, as_of, past=past, last_period=last_period)
    if not past and not any(max(cuts) for cuts in model["largest_p"].values()):
        return []
    rng = np.random.default_rng(0)
    findings = [f for part in (leads, leads.pool()) for f in pattern_detection.analyse(part, model, as_of, rng)]
    return reconcile(findings, past, as_of)


def true_effect(world: PatternWorld, finding: Finding) -> float:
    subject = finding.content["pattern_type"].rsplit("_", 1)[0]
    if finding.client_id is None:
        return world.everyones_effect(subject, finding.content["value"])
    effect = world.effect(subject, finding.content["value"], finding.content["against"])
    return float(effect[world.leads.clients.ids.index(finding.client_id)])


def add_run(claims: Claims, world: PatternWorld, findings: list[Finding]) -> None:
    for finding in findings:
        true = true_effect(world, finding)
        size = finding.content["effect"]
        scale = np.log if size["unit"] == "ratio" else np.asarray
        stated = float(scale(size["estimate"]))
        claims.said.append(finding.claim.probability)
        claims.right.append(true * finding.claim.parameters["sign"] > 0)
        claims.stated.append(abs(stated))
        claims.true.append(true * finding.claim.parameters["sign"])
        low, high = (float(scale(size["interval"][end])) for end in ("low", "high"))
        claims.inside.append(low - 1e-9 <= true <= high + 1e-9)


def add_naive(claims: Claims, world: PatternWorld) -> np.ndarray:
    """Ask the same questions one by one; return the clients told of more High urgency."""
    view = View(world.leads, AS_OF)
    _, family = learn_pool(view)
    p = two_sided_p(family.z)
    family, p = family.only(p < 0.05), p[p < 0.05]
    names = {subject.number: subject.names if subject.named else (None,) * 2 for subject in view.subjects}
    true = np.empty(len(family))
    for group in np.unique(family.group):
        subject, against = int(group) // 2, AGAINST[group % 2]
        for code in np.unique(family.code[family.group == group]):
            rows = (family.group == group) & (family.code == code)
            value = names[subject][code] if subject in names else None
            effect = world.effect(SUBJECTS[subject], value, against)
            everyone = world.everyones_effect(SUBJECTS[subject], value)
            true[rows] = np.where(family.client[rows] == EVERYONE, everyone, effect[family.client[rows]])
    claims.said += (1 - p).tolist()
    claims.right += (true * family.z > 0).tolist()
    claims.stated += np.abs(family.raw).tolist()
    claims.true += (true * np.sign(family.z)).tolist()
    return np.unique(family.client[(family.subject == SUBJECTS.index("urgency")) & (family.z > 0)])


@pytest.fixture(scope="module")
def measured():
    """Every world's claims, the job's and the naive ones, and the share of planted changes that was found."""
    ours, naive, found = {}, {}, []
    for kind, sizes, n_clients in WORLDS:
        key = f"{kind} {sizes}"
        ours[key], naive[key] = Claims(), Claims()
        for seed in range(SEEDS):
            rng = np.random.default_rng([seed, len(ours)])
            world = pattern_world(kind, n_clients, AS_OF, rng, sizes=sizes)
            findings = run(world.leads, AS_OF)
            add_run(ours[key], world, findings)
            if seed == 0:
                add_naive(naive[key], world)
            if kind == "planted":
                told = {f.client_id for f in findings if f.content["pattern_type"] == "urgency_increasing"} - {None}
                number = [world.leads.clients.ids.index(client_id) for client_id in told]
                found.append(sum(i % PLANTED_IN == 0 for i in number) / (n_clients / PLANTED_IN))
    table = "\n".join(["", *(f"{key:20s} ours {ours[key]}   naive {naive[key]}" for key in ours)])
    print(table)  # noqa: T201 - the measured table, seen with pytest -s
    return ours, naive, found, table


def test_few_of_the_told_are_false_in_every_world(measured):
    """At most 10% in every world; of the naive answers more than 12% are false in every one of them."""
    ours, naive, _, table = measured
    assert max(claims.false_share for claims in ours.values()) <= 0.10, table
    assert min(claims.false_share for claims in naive.values()) > 0.12, table
    assert min(len(claims.said) for claims in ours.values()) >= 30, table


def test_confidence_of_the_told_is_true(measured):
    """ECE at most .06 in every world, .04 over all of them; the naive 1 - p misses it everywhere."""
    ours, naive, _, table = measured
    together = Claims(
        [p for claims in ours.values() for p in claims.said], [r for claims in ours.values() for r in claims.right]
    )
    assert together.ece <= 0.04, table
    assert max(claims.ece for claims in ours.values()) <= 0.06, table
    assert min(claims.ece for claims in naive.values()) > 0.06, table


def test_planted_changes_are_found(measured):
    """25 points in one client of five, 120 leads a window: at least 85% of them."""
    *_, found, table = measured
    assert np.mean(found) >= 0.85, (found, table)


def test_stated_sizes_are_not_a_winners_curse(measured):
    """Sizes are shrunken: on average near the truth, and their 80% intervals hold; naive sizes are far too large."""
    ours, naive, _, table = measured
    for key in ("planted 120.0", "mostly_still 60.0", "sparse pareto", "volume pareto"):
        stated, true = np.mean(ours[key].stated), np.mean(ours[key].true)
        assert stated == pytest.approx(true, rel=0.15), (key, stated, true, table)
        assert np.mean(naive[key].stated) > 1.5 * np.mean(naive[key].true), (key, table)
        assert np.mean(ours[key].inside) >= 0.75, (key, table)


# --- day after day, where nothing changes ----------------------------------------------------------------------------


def false_patterns(n_clients, days, seed, *, sizes="pareto") -> int:
    """Run daily in a still world, each run seeing the rows of the earlier ones; count what is told as new."""
    rng = np.random.default_rng([seed, n_clients])
    end = AS_OF + timedelta(days=days)
    world = pattern_world("still", n_clients, end, rng, sizes=sizes, periods=(days + 61) / 30)
    return sum(finding.content["status"] == "new" for _, finding in day_after_day(world.leads, days))


def day_after_day(leads, days):
    """Run on so many days from AS_OF on, each run seeing the rows of the earlier ones; give as_of and finding."""
    rows = {}
    for day in range(days):
        as_of = AS_OF + timedelta(days=day)
        last = local_day(as_of - timedelta(days=1)) if day else None
        for finding in run(leads, as_of, list(rows.values()), last):
            rows[finding.client_id, finding.claim_key, finding.period_key] = {
                "client_id": finding.client_id,
                "claim_key": finding.claim_key,
                "period_key": finding.period_key,
                "last_seen": finding.content["last_seen"],
                "as_of": as_of,
                "probability": finding.claim.probability,
                "z": finding.content["effect"]["z"],
            }
            yield as_of, finding


@pytest.mark.slow
@pytest.mark.parametrize(
    ("n_clients", "days", "worlds", "sizes"), [(1000, 60, 1, "pareto"), (30, 365, 1, "pareto"), (1, 365, 2, 60.0)]
)
def test_a_quiet_year_is_left_quiet(n_clients, days, worlds, sizes):
    """At most .05 false patterns per client and year, the first run included."""
    total = sum(false_patterns(n_clients, days, seed, sizes=sizes) for seed in range(worlds))
    years = n_clients * worlds * days / 365
    assert total / years <= 0.05, f"{total} false patterns in {years:.1f} client-years"


@pytest.mark.slow
def test_the_budget_is_what_keeps_it_quiet(monkeypatch):
    """With a hundred times the allowance the same bar is missed, though less than a hundredfold: windows overlap."""
    monkeypatch.setattr(discovery, "FALSE_A_CLIENT_YEAR", 100 * discovery.FALSE_A_CLIENT_YEAR)
    monkeypatch.setattr(discovery, "EARNED_BY_A_DISCOVERY", 0.0)
    days, n_clients = 60, 100
    total = sum(false_patterns(n_clients, days, seed, sizes=60.0) for seed in range(2))
    per_year = total / (2 * n_clients * days / 365)
    assert 0.05 < per_year < 100 * 0.02, per_year


@pytest.mark.slow
def test_patterns_that_come_and_go_are_true_day_after_day():
    """Half the clients step once in three months: few new patterns are false, and what goes on is as sure as said."""
    claims = {"new": Claims(), "continuing": Claims()}
    for seed in range(2):
        days, rng = 40, np.random.default_rng(seed)
        end = AS_OF + timedelta(days=days)
        world = changing_world(200, days + 60, end, rng, leads_a_window=90, changing=0.5)
        for as_of, finding in day_after_day(world.leads, days):
            if finding.client_id is None:
                continue  # of all clients together some truth is always known
            effect = world.effect(as_of)
            subject = finding.content["pattern_type"].rsplit("_", 1)[0]
            beyond = (
                effect - (effect.sum() - effect) / (len(effect) - 1) if finding.content["against"] == "pool" else effect
            )
            true = beyond[world.leads.clients.ids.index(finding.client_id)] if subject == "urgency" else 0.0
            told = claims[finding.content["status"]]
            told.said.append(finding.claim.probability)
            # what is left of a step at the edge of the windows, or of the others' mean, is no change worth the name
            told.right.append(true * finding.claim.parameters["sign"] > 0.005)
    table = "\n".join(f"{status:12s} {told}" for status, told in claims.items())
    print(table)  # noqa: T201 - the measured table, seen with pytest -s
    assert min(len(told.said) for told in claims.values()) >= 100, table
    assert max(told.false_share for told in claims.values()) <= 0.10, table
    assert max(told.ece for told in claims.values()) <= 0.06, table


def test_the_naive_answer_disturbs_every_client_all_the_time():
    world = pattern_world("still", 200, AS_OF, np.random.default_rng(1))
    claims = Claims()
    add_naive(claims, world)
    assert len(claims.said) / 200 > 0.05  # on the first day alone
    assert not any(claims.right)
