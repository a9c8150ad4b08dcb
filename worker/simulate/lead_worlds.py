"""Array worlds as the jobs see them: every lead with its arrival, so that fit and analyse themselves can be run."""

from datetime import datetime

import numpy as np

from worker.leads import Leads
from worker.simulate.arrays import ScoreWorld, ShareWorld, ToneWorld
from worker.simulate.as_leads import build_leads
from worker.simulate.changes import WINDOW_DAYS
from worker.simulate.habits import TONE_FAMILIES
from worker.simulate.single_leads import SingleLeads, draw_days_since_first, first_of
from worker.statistics import FloatArray, IntArray
from worker.vocabulary import TONES, URGENCY_HIGH, URGENCY_LOW, URGENCY_MEDIUM

EDGE_DAYS = 1e-6  # kept free at the end of a window, lest rounding puts a lead into the next one


def share_leads(world: ShareWorld, as_of: datetime, rng: np.random.Generator) -> Leads:
    """Give a world of High shares as leads of High, Medium and Low urgency; those not High are either, at random."""
    leads = world.leads
    if leads is None:
        leads = _one_by_one(np.stack([world.n - world.k, world.k], axis=-1))
    other = np.where(rng.random(len(leads.client)) < 0.5, URGENCY_MEDIUM, URGENCY_LOW)
    urgency = np.where(leads.high, URGENCY_HIGH, other).astype(np.int64)
    windows, n_clients = world.n.shape
    return build_leads(leads.client, days_before(leads, windows, rng), as_of, n_clients, rng, urgency=urgency)


def score_leads(world: ScoreWorld, as_of: datetime, rng: np.random.Generator) -> Leads:
    """
    Give a world of scores as leads of which only the confidence is known: a hundredth of the score.

    With nothing else known of it, 100 x its confidence is a lead's engagement score.
    """
    leads = world.leads
    windows, n_clients = world.n.shape
    confidence = leads.value / 100.0
    return build_leads(leads.client, days_before(leads, windows, rng), as_of, n_clients, rng, confidence=confidence)


def tone_leads(world: ToneWorld, as_of: datetime, rng: np.random.Generator) -> Leads:
    """Give a world of tone shares as leads of these tones."""
    leads = _one_by_one(world.counts) if world.leads is None else world.leads
    code_of_family = np.array([TONES.index(family) for family in TONE_FAMILIES], dtype=np.int64)
    tone = code_of_family[leads.value.astype(np.int64)]
    windows, n_clients = world.n.shape
    return build_leads(leads.client, days_before(leads, windows, rng), as_of, n_clients, rng, tone=tone)


def _one_by_one(counts: IntArray) -> SingleLeads:
    """Make single leads of counts by window, client and level; the value is the level. All are on their own."""
    _, n_clients, levels = counts.shape
    cell = np.repeat(np.arange(counts.size), counts.ravel())
    client = cell // levels
    return SingleLeads(client // n_clients, client % n_clients, np.arange(len(cell)), cell % levels)


def days_before(leads: SingleLeads, windows: int, rng: np.random.Generator) -> FloatArray:
    """
    Draw how many days before as_of each lead arrived: each group at any time of its window, its leads minutes apart.

    In the order of the leads within each group, and all within the window.
    """
    first = first_of(leads.group)
    since_first = draw_days_since_first(first, rng)
    last = np.searchsorted(leads.group, leads.group, side="right") - 1
    start = rng.random(len(first))[first] * (WINDOW_DAYS - EDGE_DAYS - since_first[last])
    result: FloatArray = WINDOW_DAYS * (windows - leads.window) - start - since_first
    return result
