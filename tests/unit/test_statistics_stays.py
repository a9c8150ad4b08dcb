"""How long events last: passages through bins of age, what all clients teach by week, and one client's own part."""

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from worker.statistics.stays import (
    EDGES_DAYS,
    LIKELY_SHAPE,
    MEMORY_WEEKS,
    N_BINS,
    PRIOR_EVENTS,
    PRIOR_STAYS,
    Experience,
    Passages,
    find_passages,
    learn_experience,
    probability_stays,
)

NEVER = 2**62


def whole(*numbers):
    return np.array(numbers, dtype=np.int64)


def passages_of(events):
    """Events as (owner, start, end or None), in days."""
    owner, start, end = zip(*((o, s, NEVER if e is None else e) for o, s, e in events), strict=True)
    return find_passages(whole(*owner), whole(*start), whole(*end), 0, 1)


def slow_counts(events, week, owner=None):
    """Count by bin, in plain words: (events that passed through it, and those that ended in it) as known by a week."""
    reached, left = [0] * N_BINS, [0] * N_BINS
    for who, start, end in events:
        for k, (opens, closes) in enumerate(pairwise(EDGES_DAYS)):
            known = start + closes
            lasted = end is None or end >= start + opens
            if (owner is None or who == owner) and lasted and (week - MEMORY_WEEKS) * 7 < known <= week * 7:
                reached[k] += 1
                left[k] += end is not None and end < known
    return reached, left


EVENTS = st.lists(
    st.tuples(st.integers(0, 2), st.integers(0, 300), st.one_of(st.none(), st.integers(0, 120))),
    min_size=1,
    max_size=30,
).map(lambda rows: [(owner, start, None if days is None else start + days) for owner, start, days in rows])


def test_a_passage_is_known_when_its_bin_is_over():
    found = passages_of([(5, 10, 15)])  # lasts five days: through two bins, and ends in the third, of 3 to 7 days
    assert found.bin.tolist() == [0, 1, 2]
    assert found.left.tolist() == [False, False, True]
    assert found.week.tolist() == [2, 2, 3]  # days 11, 13 and 17; weeks begin on days 14 and 21
    assert found.owner.tolist() == [5, 5, 5]


@given(EVENTS, st.integers(0, 80))
@settings(max_examples=100, deadline=None)
def test_everyones_hazards_are_those_of_the_plain_count(events, week):
    experience = learn_experience(passages_of(events), 3, 80)
    hazards, _ = experience.at(whole(week))
    reached, left = slow_counts(events, week)
    prior = -np.log(PRIOR_STAYS) / N_BINS
    expected = [(b + PRIOR_EVENTS * prior) / (a - b / 2 + PRIOR_EVENTS) for a, b in zip(reached, left, strict=True)]
    np.testing.assert_allclose(hazards[0], expected, rtol=1e-12)


@given(EVENTS, st.integers(0, 80))
@settings(max_examples=100, deadline=None)
def test_one_clients_probability_is_that_of_the_formula_in_words(events, week):
    found = passages_of(events)
    experience = learn_experience(found, 3, 80)
    (hazards,), (shape,) = experience.at(whole(week))
    reached, left = slow_counts(events, week, owner=1)
    cumulative = [shape * (np.exp(h / shape) - 1) for h in np.cumsum(hazards)]
    own = np.diff([0.0, *cumulative])
    expected = sum(h * (a - b / 2) for h, a, b in zip(own, reached, left, strict=True))
    # the mean of exp(-factor x hazard) where the factor's distribution is gamma(shape + ended, shape + expected)
    stays = (1 + cumulative[-1] / (shape + expected)) ** -(shape + sum(left))
    assert probability_stays(experience, found, whole(1), whole(week))[0] == pytest.approx(stays, rel=1e-9)


@given(EVENTS, st.integers(1, 60))
@settings(max_examples=100, deadline=None)
def test_what_became_known_later_changes_nothing(events, week):
    """Neither later events, nor later ends, nor a longer look change a bit of what was said for an earlier week."""
    day = week * 7
    earlier = [(o, s, e if e is not None and e < day else None) for o, s, e in events if s < day] or [(0, day, None)]
    before, after = (learn_experience(passages_of(rows), 3, last) for rows, last in ((earlier, week), (events, 80)))
    owners, weeks = whole(0, 1, 2), whole(week, week, week)
    assert (
        probability_stays(before, passages_of(earlier), owners, weeks).tolist()
        == probability_stays(after, passages_of(events), owners, weeks).tolist()
    )


@given(EVENTS)
@settings(max_examples=50, deadline=None)
def test_other_clients_in_the_same_call_change_nothing(events):
    experience = learn_experience(passages_of(events), 3, 60)
    found = passages_of(events)
    mine = found.owner == 1
    alone = Passages(found.owner[mine] * 0, found.bin[mine], found.week[mine], found.left[mine])
    together = probability_stays(experience, found, whole(0, 1, 2, 1), whole(40, 20, 3, 50))
    assert together[[1, 3]].tolist() == probability_stays(experience, alone, whole(0, 0), whole(20, 50)).tolist()


def test_without_experience_the_prior_speaks():
    nothing = passages_of([(0, 10_000, None)])
    experience = learn_experience(nothing, 1, 3)
    assert experience.shape.tolist() == [LIKELY_SHAPE]
    assert probability_stays(experience, nothing, whole(0), whole(3)) == pytest.approx([PRIOR_STAYS])
    empty = Experience(0, np.zeros((0, N_BINS), dtype=np.int64), np.zeros((0, N_BINS), dtype=np.int64), np.zeros(0))
    assert probability_stays(empty, nothing, whole(0), whole(3)) == pytest.approx([PRIOR_STAYS])


def test_ones_own_events_count_for_more_where_clients_differ():
    alike = [
        (owner, start, start + 5 if (owner + start) % 3 == 0 else None) for owner in range(40) for start in range(30)
    ]
    unlike = [(owner, start, start + 5 if owner % 3 == 0 else None) for owner in range(40) for start in range(30)]
    said = {}
    for name, events in (("alike", alike), ("unlike", unlike)):
        found = passages_of(events)
        experience = learn_experience(found, 40, 20)
        said[name] = probability_stays(experience, found, whole(0, 1), whole(18, 18))
    assert abs(said["alike"][0] - said["alike"][1]) < 0.1
    assert said["unlike"][0] < 0.2 < 0.9 < said["unlike"][1]


def test_experience_is_forgotten():
    old = [(0, start, start + 2) for start in range(50)]
    found = passages_of(old)
    experience = learn_experience(found, 1, 200)
    soon, late = probability_stays(experience, found, whole(0, 0), whole(15, 15 + MEMORY_WEEKS + 20))
    assert soon < 0.5
    assert late == pytest.approx(PRIOR_STAYS)
