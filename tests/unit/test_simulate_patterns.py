"""Pattern worlds: what they say is true is what their leads show."""

from datetime import timedelta

import numpy as np
import pytest
from lead_rows import AS_OF

from worker.jobs.pattern_family import learn_pool
from worker.jobs.pattern_view import SUBJECTS, View
from worker.simulate.pattern_world import PATTERN_KINDS, PLANTED_CHANGE, changing_world, pattern_world
from worker.vocabulary import TONES


@pytest.mark.parametrize("kind", PATTERN_KINDS)
def test_observed_changes_are_the_true_ones_and_noise(kind):
    world = pattern_world(kind, 150, AS_OF, np.random.default_rng(1), sizes=150)
    _, family = learn_pool(View(world.leads, AS_OF))
    own = family.only((family.group % 2 == 0) & (family.client >= 0))
    for subject, value in (("urgency", 2), ("tone", TONES.index("Urgent")), ("volume", 0), ("source", 1)):
        part = own.only((own.subject == SUBJECTS.index(subject)) & (own.code == value))
        name = {"urgency": "High", "tone": "Urgent"}.get(subject)
        true = world.effect(subject, name, "own_past")[part.client]
        missed = part.raw - true
        assert len(part) > 50
        assert missed.mean() == pytest.approx(0.0, abs=0.05)
        if true.std() > 0.05:
            assert np.corrcoef(part.raw, true)[0, 1] > 0.5


def test_planted_is_one_client_in_five():
    world = pattern_world("planted", 100, AS_OF, np.random.default_rng(2), sizes=120)
    change = world.change["urgency", "High"]
    assert np.flatnonzero(change > 0).tolist() == list(range(0, 100, 5))
    assert change[change > 0] == pytest.approx(PLANTED_CHANGE)
    beyond = world.effect("urgency", "High", "pool")
    assert beyond[0] == pytest.approx(0.2, abs=0.02)
    assert beyond[1] == pytest.approx(-0.05, abs=0.02)
    assert world.everyones_effect("urgency", "High") == pytest.approx(0.05, abs=0.02)


def test_a_common_change_is_none_against_the_pool():
    world = pattern_world("still", 50, AS_OF, np.random.default_rng(3))
    for against in ("own_past", "pool"):
        for subject, value in (("urgency", "High"), ("tone", "Urgent"), ("volume", None), ("intent", "Consultation")):
            assert not world.effect(subject, value, against).any()


def test_duplicates_and_bursts_stand_next_to_each_other():
    for kind, likeness in (("duplicates", 0.2), ("bursts", 0.3), ("still", -0.05)):
        leads = pattern_world(kind, 20, AS_OF, np.random.default_rng(4), sizes=100).leads
        order = np.lexsort((leads.arrival, leads.client))
        urgency = leads.urgency.value[order]
        pairs = (urgency[1:] == urgency[:-1]).mean()
        by_chance = sum((urgency == level).mean() ** 2 for level in (-1, 0, 1, 2))
        assert pairs - by_chance > likeness * (1 - by_chance) * 0.5
        if kind == "still":
            assert pairs - by_chance < 0.08


def test_the_same_generator_draws_the_same_world():
    first, second = (pattern_world("mostly_still", 30, AS_OF, np.random.default_rng(5)).leads for _ in range(2))
    assert np.array_equal(first.arrival, second.arrival)
    assert np.array_equal(first.tone.value, second.tone.value)


def test_unknown_worlds_are_named():
    with pytest.raises(ValueError, match="known are"):
        pattern_world("sunny", 3, AS_OF, np.random.default_rng(0))
    with pytest.raises(ValueError, match="pareto"):
        pattern_world("still", 3, AS_OF, np.random.default_rng(0), sizes="huge")


def test_a_long_still_world_has_as_many_leads_in_every_month():
    world = pattern_world("still", 20, AS_OF, np.random.default_rng(6), sizes=50, periods=5)
    age = (AS_OF.timestamp() * 1e6 - world.leads.arrival) / (30 * 24 * 3600 * 1e6)
    assert np.bincount(age.astype(int), minlength=5) == pytest.approx([1000] * 5, rel=0.15)


def test_a_step_shows_in_the_windows_it_lies_between():
    """Full size when it lies between the windows, half when in the middle of either, none before and after both."""
    end = AS_OF
    world = changing_world(400, 150, end, np.random.default_rng(7), leads_a_window=60, changing=0.5)
    steps = np.isfinite(world.days_before_end)
    assert steps.mean() == pytest.approx(0.5, abs=0.08)
    size = (world.after - world.before)[steps]
    effect = world.effect(end)[steps]
    age = world.days_before_end[steps]
    assert effect == pytest.approx(size * np.clip(1 - np.abs(age - 30) / 30, 0, 1))
    assert not world.effect(end)[~steps].any()
    later = world.effect(end - timedelta(days=20))[steps]
    assert later == pytest.approx(size * np.clip(1 - np.abs(age - 50) / 30, 0, 1))
    urgency, client = world.leads.urgency.value == 2, world.leads.client
    day = (end.timestamp() * 1e6 - world.leads.arrival) / (24 * 3600 * 1e6)
    after = day < world.days_before_end[client]
    assert urgency[after].mean() == pytest.approx(world.after[client][after].mean(), abs=0.02)
    assert urgency[~after].mean() == pytest.approx(world.before[client][~after].mean(), abs=0.02)
