"""JSON as it is written: one spelling, and no number that jsonb does not know."""

import json
from datetime import UTC, datetime

import numpy as np
import pytest

from worker.growth_brain import Snapshot, as_rows
from worker.plain_json import ensure_finite, plain_json

NO_NUMBERS = [float("nan"), float("inf"), -float("inf")]


def snapshot(**content):
    return Snapshot(
        "c", "engagement_score", content, "« Été », l'œil \U0001f600 \x07", 0.5, datetime(2026, 3, 1, tzinfo=UTC)
    )


@pytest.mark.parametrize("number", NO_NUMBERS)
@pytest.mark.parametrize("wrap", [lambda x: x, lambda x: [x], lambda x: (x,), lambda x: [1, {"b": [[], {}, [0.5, x]]}]])
def test_what_is_no_number_is_refused_wherever_it_stands(number, wrap):
    for write in (lambda value: ensure_finite([value]), plain_json, lambda value: as_rows([snapshot(a=wrap(value))])):
        with pytest.raises(ValueError, match=r"JSON|json"):
            write(wrap(number))


def test_rows_are_read_back_as_they_were_to_the_last_bit():
    rng = np.random.default_rng(1)
    floats = [*np.exp(rng.normal(0, 40, 500)).tolist(), 0.0, -0.0, 1e16, 1e22, 5e-324, 1.7976931348623157e308]
    content = {"floats": floats, "others": [None, True, 2**62, "", 'é\n"\\'], "deep": {"a": {"b": []}}}
    (read,) = json.loads(as_rows([snapshot(**content)]))
    assert read["learning_snapshot"] == content
    assert read == snapshot(**content).as_json()


def test_a_number_of_another_library_is_refused_and_not_rounded():
    with pytest.raises(TypeError):
        as_rows([snapshot(a=np.float64(0.5))])
