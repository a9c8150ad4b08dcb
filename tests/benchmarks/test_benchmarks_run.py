"""The benchmarks run, at sizes that say nothing about speed; and the anchors know nothing that happened later."""

import importlib.util
import json
from datetime import UTC, datetime, timedelta
from importlib import import_module

import numpy as np
import pytest
from anchors import age_by_source_table, constant_rate, cox, ignoring_censoring, known_at, landmark_logistic
from click.testing import CliRunner
from olist import OLIST, OlistLead
from zipf_leads import WIN, draw_zipf_leads

AS_OF = datetime(2025, 3, 31, tzinfo=UTC)
HAS_LIFELINES = importlib.util.find_spec("lifelines") is not None
needs_lifelines = pytest.mark.skipif(not HAS_LIFELINES, reason="lifelines is not installed")
ANCHORS = [
    constant_rate,
    landmark_logistic,
    ignoring_censoring,
    age_by_source_table,
    pytest.param(cox, marks=needs_lifelines),
]


def run(name, *arguments):
    found = CliRunner().invoke(import_module(name).main, [str(word) for word in arguments], catch_exceptions=False)
    assert found.exit_code == 0, found.output
    return found.stdout


@pytest.mark.parametrize(
    "name", ["conversion_models", "conversion_speed", "conversion_events", "databases", "speed", "peers"]
)
def test_help_says_what_it_prints(name):
    assert "Prints " in run(name, "--help")


@pytest.mark.skipif(not OLIST.is_dir(), reason="the folder ../shared/data/olist_funnel is not beside the project")
def test_the_models_stand_in_one_table():
    header, _, *rows = [line.strip("| ") for line in run(
        "conversion_models", "--cut-offs", 2, "--clients", 2, "--markdown"
    ).splitlines() if line.startswith("|")]  # fmt: skip
    table = {row.split(" | ")[0]: dict(zip(header.split(" | "), row.split(" | "), strict=True)) for row in rows}
    assert ("Cox (lifelines)" in table) is HAS_LIFELINES
    assert len(table) == 7 + HAS_LIFELINES
    losses = {name: float(row["log loss"]) for name, row in table.items()}
    assert min(losses.values()) > 0
    assert losses["this worker"] < min(losses["constant rate"], losses["logistic, open leads as failures"])


def test_without_the_data_there_is_nothing_to_compare(tmp_path):
    assert "no folder" in run("conversion_models", "--data", tmp_path / "nowhere")


def test_speed_is_told_beside_its_floor():
    said = run("conversion_speed", "--leads", 400, "--clients", 5, "--repeat", 1)
    for words in ("400 leads", "fit + predict", "peak memory", "floor", "peer"):
        assert words in said


@pytest.mark.slow
def test_events_are_found_once_and_then_only_the_new_ones():
    found = json.loads(run("conversion_events", "--leads", 300, "--clients", 4, "--repeat", 1, "--json"))
    assert found["leads"] == 300
    inserted = [scene["inserted"] for scene in found["runs"].values()]
    conversions = int((draw_zipf_leads(300, 4).action_kind == WIN).sum())
    assert inserted == [conversions, 0, 0, 10]
    assert all(scene["database_ms"] > 0 and scene["statements"] > 0 for scene in found["runs"].values())


def made_up(rng, n=600):
    """Leads of a year, a fifth of which are won after some weeks, before or after AS_OF."""
    arrival = [AS_OF - timedelta(days=days) for days in rng.uniform(-20, 300, n)]
    delay = np.where(rng.random(n) < 0.2, rng.exponential(30, n), np.inf)
    return [
        OlistLead(
            f"lead-{i:04d}", when, f"origin {i % 3}", f"page:{i % 5}",
            when + timedelta(days=days) if np.isfinite(days) else None,
        )
        for i, (when, days) in enumerate(zip(arrival, delay, strict=True))
    ]  # fmt: skip


@pytest.mark.parametrize("model", ANCHORS)
def test_what_comes_later_changes_no_anchor(model):
    leads = made_up(np.random.default_rng(1))
    erased = [one._replace(won=None) if one.won and one.won >= AS_OF else one for one in leads if one.arrival < AS_OF]
    assert len(erased) < len(leads)
    known = known_at(leads, AS_OF)
    probability = model(known)
    np.testing.assert_array_equal(probability, model(known_at(erased, AS_OF)))
    assert probability.shape == (sum(one.won is None or one.won >= AS_OF for one in leads if one.arrival < AS_OF),)
    assert 0 < probability.min() <= probability.max() < 1


@pytest.mark.parametrize("model", [landmark_logistic, age_by_source_table, ANCHORS[-1]])
def test_an_anchor_that_heeds_censoring_expects_about_what_happens(model):
    """Over many worlds, beside the failure that it stands against."""
    said = happened = naive = 0.0
    for seed in range(10):
        leads = made_up(np.random.default_rng(seed))
        known = known_at(leads, AS_OF)
        end = AS_OF + timedelta(days=30)
        happened += sum(one.arrival < AS_OF and one.won is not None and AS_OF <= one.won < end for one in leads)
        said += model(known).sum()
        naive += ignoring_censoring(known).sum()
    assert said == pytest.approx(happened, rel=0.25)
    assert naive > 1.5 * happened


def test_days_before_anything_was_recorded_are_known_as_such():
    day = timedelta(days=1)
    leads = [
        OlistLead("a", AS_OF - 50 * day, "x", "p", AS_OF - 40 * day),  # the first win
        OlistLead("b", AS_OF - 90 * day, "x", "p", None),
        OlistLead("c", AS_OF - 10 * day, "x", "p", AS_OF + day),
    ]
    known = known_at(leads, AS_OF)
    np.testing.assert_allclose(known.unseen, [10, 50, 0])
    np.testing.assert_allclose(known.observed, [10, 90, 10])
    assert known.is_open.tolist() == [False, True, True]
