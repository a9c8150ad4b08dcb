"""
Claims of the jobs themselves, their own fit and analyse, in simulated worlds whose truth is known.

What test_tone_calibrated.py and measure.py share. A world is a kind of change (worker.simulate.CHANGE_KINDS) and sizes
of windows; a claim is how sure the job was, and whether what it said was true.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import UTC, datetime

import numpy as np

from worker.jobs import engagement_score, pattern_detection, tone_distribution, urgency_trend
from worker.jobs.finding import Finding
from worker.simulate import CHANGE_KINDS, ToneWorld, score_world, share_world, tone_world
from worker.simulate.habits import TONE_FAMILIES
from worker.simulate.lead_worlds import score_leads, share_leads, tone_leads
from worker.simulate.pattern_world import pattern_world
from worker.statistics import BoolArray, FloatArray
from worker.statistics.calibration import Reliability, reliability
from worker.statistics.shares import SharesPrior, estimate_shares, fit_shares_prior, total_variation
from worker.vocabulary import TONES

AS_OF = datetime(2025, 3, 31, tzinfo=UTC)
KINDS = CHANGE_KINDS
CODE_OF_FAMILY = np.array([TONES.index(family) for family in TONE_FAMILIES])
CLASS_CODES = {"decreasing": -1, "stable": 0, "increasing": 1}


@dataclass(frozen=True, slots=True)
class Claims:
    """How sure a job was, and whether it was right: aligned arrays, an entry a claim."""

    said: FloatArray
    right: BoolArray

    @classmethod
    def joined(cls, parts: Iterable["Claims"]) -> "Claims":
        """Put the claims of several worlds together."""
        kept = list(parts)
        nothing = cls(np.zeros(0), np.zeros(0, dtype=np.bool_))
        return cls(*(np.concatenate([getattr(part, name) for part in [nothing, *kept]]) for name in ("said", "right")))

    @property
    def table(self) -> Reliability:
        """Give their reliability."""
        return reliability(self.said, self.right)


def generator(kind: str, sizes: str, seed: int) -> np.random.Generator:
    """Seed by world and number."""
    return np.random.default_rng([seed, KINDS.index(kind) if kind in KINDS else len(KINDS), len(sizes)])


def urgency_claims(kind: str, sizes: str, seed: int, n_clients: int) -> Claims:
    """Claims of urgency_trend: the class of the High share's change."""
    rng = generator(kind, sizes, seed)
    world = share_world(kind, n_clients, rng, sizes=sizes)
    return _classes(urgency_trend, share_leads(world, AS_OF, rng), world.true_class, rng)


def score_claims(kind: str, sizes: str, seed: int, n_clients: int) -> Claims:
    """Claims of engagement_score: the class of the mean score's change."""
    rng = generator(kind, sizes, seed)
    world = score_world(kind, n_clients, rng, sizes=sizes)
    return _classes(engagement_score, score_leads(world, AS_OF, rng), world.true_class, rng)


def tone_claims(kind: str, sizes: str, seed: int, n_clients: int) -> Claims:
    """Claims of tone_distribution: the true shares lie within .10 of the estimate."""
    rng = generator(kind, sizes, seed)
    world = tone_world(kind, n_clients, rng, sizes=sizes)
    leads = tone_leads(world, AS_OF, rng)
    findings = tone_distribution.analyse(leads, tone_distribution.fit(leads, AS_OF), AS_OF, rng)
    estimate = np.array([[finding.content["estimate"][name] for name in TONES] for finding in findings])
    true = true_tones(world)[[number(finding) for finding in findings]]
    return Claims(sure(findings), total_variation(estimate, true) <= tone_distribution.DISTANCE)


def pattern_claims(kind: str, sizes: str, seed: int, n_clients: int) -> Claims:
    """Claims of pattern_detection: the effect has this sign."""
    rng = generator(kind, sizes, seed)
    world = pattern_world(kind, n_clients, AS_OF, rng, sizes=100.0 if sizes == "large" else sizes)
    leads = world.leads
    model = pattern_detection.fit(leads, AS_OF)
    found = [f for part in (leads, leads.pool()) for f in pattern_detection.analyse(part, model, AS_OF, rng)]
    findings = pattern_detection.reconcile(found, [], AS_OF)  # what a first run tells
    right = []
    for finding in findings:
        content = finding.content
        subject, value = content["pattern_type"].rsplit("_", 1)[0], content["value"]
        if finding.client_id is None:
            effect = world.everyones_effect(subject, value)
        else:
            effect = world.effect(subject, value, content["against"])[number(finding)]
        right.append(effect * finding.claim.parameters["sign"] > 0)
    return Claims(sure(findings), np.array(right, dtype=np.bool_))


JOBS: dict[str, Callable[[str, str, int, int], Claims]] = {
    "engagement_score": score_claims,
    "urgency_trend": urgency_claims,
    "tone_distribution": tone_claims,
    "pattern_detection": pattern_claims,
}


def tone_counts_claims(world: ToneWorld, rng: np.random.Generator, *, naive: bool = False) -> Claims:
    """
    Claims about tones from a world's counts: what the job does with independent leads, ten times as fast.

    naive: from each client's own leads alone, without what the others teach.
    """
    counts = world.counts_current
    prior = fit_shares_prior(counts, tone_distribution.DEFAULT_CONCENTRATION)
    if naive:
        kinds = counts.shape[1]
        prior = SharesPrior(np.full(kinds, 1e9), np.array([0.01 * kinds]), np.ones(1))
    posterior = estimate_shares(counts, prior, tone_distribution.DISTANCE, 0.8, rng)
    distance = total_variation(posterior.estimate, world.true_current)
    return Claims(posterior.within, distance <= tone_distribution.DISTANCE)


def true_tones(world: ToneWorld) -> FloatArray:
    """Give the true shares of the last window in the order of the worker's tones, shape (clients, tones)."""
    true = np.zeros((len(world.true_current), len(TONES)))
    true[:, CODE_OF_FAMILY] = world.true_current
    return true


def number(finding: Finding) -> int:
    """Give the number of the finding's client."""
    return int(str(finding.client_id).removeprefix("client-"))


def sure(findings: list[Finding]) -> FloatArray:
    """Give the claims' probabilities."""
    return np.array([finding.claim.probability for finding in findings], dtype=np.float64)


def _classes(job, leads, true_class, rng) -> Claims:
    findings = job.analyse(leads, job.fit(leads, AS_OF), AS_OF, rng)
    said = np.array([CLASS_CODES[finding.claim.parameters["class"]] for finding in findings])
    return Claims(sure(findings), said == true_class[[number(finding) for finding in findings]])
