"""What the jobs write is what schema/snapshots says, on worlds ordinary and hard, and what is wrong is seen."""

from collections.abc import Iterator
from copy import deepcopy
from datetime import UTC, datetime
from typing import Any

import numpy as np
import psycopg
import pytest
from jsonschema import Draft202012Validator
from psycopg.types.json import Jsonb
from snapshot_schemas import COMMON, REGISTRY, SCHEMAS, errors
from support import add_action, add_client, add_lead, add_simple_leads, insert, numbered, run_worker, snapshots, utc
from test_hand_made_client import DAY, add_hand_made_client, add_other_client
from test_installations import add_absurd_leads

from worker.demo_data import load_world
from worker.simulate import PlantedChange, company_world

AS_OF = datetime(2025, 3, 31, tzinfo=UTC)
EVENT_TYPES = sorted(set(SCHEMAS) - {COMMON})
pytestmark = pytest.mark.parametrize("server", ["embedded"], indirect=True)  # nothing here asks which PostgreSQL it is


def run(url: str, *days: str, **environment: str) -> None:
    for day in days:
        outcome = run_worker(url, "all", "--as-of", day, **environment)
        assert outcome.code == 0, outcome.err


def simulated(conn: psycopg.Connection[Any], url: str) -> None:
    """Companies with planted changes, an internal and a test client among them; patterns go on, a map is in force."""
    plan = {
        0: PlantedChange(high_share=(0.1, 0.8), leads_per_window=90),
        1: PlantedChange(tone=("Urgent", 0.5), leads_per_window=90),
        2: PlantedChange(volume=2.5, leads_per_window=60),
    }
    load_world(conn, company_world(np.random.default_rng(5), AS_OF, 20, 200, plan))
    run(url, "2025-01-29", "2025-02-28")
    kept = {
        "a": -1.0, "b": 0.5, "client_deviation": 0.0, "clients": {}, "claims": 900, "base_rate": 0.7,
        "fitted": "2025-01-30T00:00:00+00:00", "version": "recalibration-0123456789abcdef",
    }  # fmt: skip
    conn.execute(
        "UPDATE worker.models SET parameters = parameters || %s WHERE job = 'accuracy_review' AND as_of = %s",
        [Jsonb({"recalibration": kept}), utc("03-01 00:00")],
    )
    run(url, "2025-03-29", "2025-03-30")


def hand_made(conn: psycopg.Connection[Any], url: str) -> None:
    """The French client whose every number was worked out by hand."""
    add_hand_made_client(conn)
    add_other_client(conn)
    run(url, DAY, WORKER_STORE_LEAD_NAMES="false")


def nothing_known(conn: psycopg.Connection[Any], url: str) -> None:
    """A client of one lead, one of leads without urgency, tone and confidence, and one whose leads are absurd."""
    add_lead(conn, add_client(conn, 1, language="fr"), numbered(1, 1), utc("03-20 10:00"))
    silent = add_client(conn, 2)
    add_simple_leads(conn, silent, 2, 20, AS_OF, urgency=None, tone=None, confidence_score=None, source=None)
    converted = add_client(conn, 3, is_test=True)
    insert(
        conn,
        "lead_memory",
        id=numbered(3, 1),
        client_id=converted,
        current_tag="Converted",
        timestamp=utc("03-20 10:00"),
    )
    going_back = add_lead(conn, silent, numbered(2, 99), utc("02-01 10:00"))
    add_action(conn, silent, going_back, "tag", utc("02-03 10:00"), tag="Converted", conversion_outcome=True)
    add_action(conn, silent, going_back, "revert", utc("02-09 10:00"), conversion_outcome=False)
    add_absurd_leads(conn, add_client(conn, 4))
    run(url, "2025-02-27", DAY)


def no_actions(conn: psycopg.Connection[Any], url: str) -> None:
    """A database without lead_actions."""
    client = add_client(conn, 1)
    add_simple_leads(conn, client, 1, 12, AS_OF)
    conn.execute("UPDATE lead_memory SET current_tag = 'Converti' WHERE id = %s", [numbered(1, 3)])
    conn.execute("DROP TABLE lead_actions")
    run(url, DAY)


WORLDS = {world.__name__: world for world in (simulated, hand_made, nothing_known, no_actions)}


@pytest.fixture(scope="module")
def written(server) -> Iterator[dict[str, list[dict[str, Any]]]]:
    """Everything that the jobs wrote, by world."""
    found = {}
    for name, world in WORLDS.items():
        url = server.create_database(server.template)
        with psycopg.connect(url, autocommit=True) as conn:
            world(conn, url)
            found[name] = snapshots(conn)
        server.drop_database(url)
    return found


@pytest.mark.parametrize("world", WORLDS)
def test_every_snapshot_is_as_its_schema_says(written, world):
    wrong = [
        (row["event_type"], found)
        for row in written[world]
        if (found := errors(row["event_type"], row["learning_snapshot"]))
    ]
    assert wrong == []


def test_claims_and_checks_of_all_kinds_have_what_all_of_them_have(written):
    """A reader who knows no event type can still read how sure a snapshot is, and how that is decided."""
    for name in ("claim", "check"):
        of_all_kinds = Draft202012Validator({"$ref": f"common.v1.json#/$defs/{name}"}, registry=REGISTRY)
        found = [row["learning_snapshot"][name] for rows in written.values() for row in rows]
        assert found
        assert [one for one in found if not of_all_kinds.is_valid(one)] == []


def test_the_worlds_hold_what_is_hard(written):
    """Each event type, each status, the global row, nulls, and keys that are only sometimes there were written."""
    assert {row["event_type"] for row in written["simulated"]} == set(EVENT_TYPES)
    everything = [row for rows in written.values() for row in rows]
    of_all = {row["event_type"] for row in everything if row["client_id"] is None}
    assert of_all == set(EVENT_TYPES) - {"conversion", "reversion"}
    patterns = [row["learning_snapshot"] for row in everything if row["event_type"] == "pattern_detected"]
    assert {pattern["status"] for pattern in patterns} == {"new", "continuing"}
    assert {pattern["effect"]["unit"] for pattern in patterns} == {"share", "ratio"}
    claims = [row["learning_snapshot"]["claim"] for row in everything if row["event_type"] == "conversion_prediction"]
    assert {"recalibration" in claim for claim in claims} == {True, False}
    events = [row["learning_snapshot"] for row in everything if row["event_type"] == "conversion"]
    assert {event["between"] is None for event in events} == {True, False}
    silent = [row["learning_snapshot"] for row in written["nothing_known"] if row["client_id"] == numbered(9, 2)]
    assert {row["dominant_tone"] for row in silent if "dominant_tone" in row} == {None}


def _changes(snapshot: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    """The snapshot, wrong in one way or another."""
    for key in snapshot:
        yield f"without {key}", {k: v for k, v in snapshot.items() if k != key}
    yield "with another key", {**snapshot, "undocumented": None}
    for part in ("claim", "check", "window"):
        yield f"with another key in {part}", {**snapshot, part: {**snapshot[part], "undocumented": None}}
    for value in (1.2, -0.1, "NaN", None, "0.5", True):
        yield f"with the probability {value!r}", {**snapshot, "claim": {**snapshot["claim"], "probability": value}}
    for value in (1.2, "NaN", [0.5]):
        yield f"with the check's p {value!r}", {**snapshot, "check": {**snapshot["check"], "p": value}}
    yield "of another version", {**snapshot, "schema_version": 2}
    yield "of no instant", {**snapshot, "as_of": "2025-03-31"}
    yield "of a local instant", {**snapshot, "as_of": "2025-03-31T00:00:00-04:00"}
    yield "with leads in parts", {**snapshot, "n": 2.5}
    yield "with a claim of another kind", {**snapshot, "claim": {**snapshot["claim"], "kind": "guess"}}


OPTIONAL = {"accuracy_review": {"of_all_together", "windows", "evidence"}}  # a single client's review has none of them


@pytest.mark.parametrize("event_type", EVENT_TYPES)
def test_what_is_wrong_is_seen(written, event_type):
    row = next(row for row in written["simulated"] if row["event_type"] == event_type)
    snapshot = row["learning_snapshot"]
    assert errors(event_type, snapshot) == []
    passed = [how for how, changed in _changes(snapshot) if not errors(event_type, changed)]
    assert set(passed) <= {f"without {key}" for key in OPTIONAL.get(event_type, ())}


def test_what_is_wrong_deep_inside_is_seen(written):
    first = {row["event_type"]: row["learning_snapshot"] for row in written["simulated"] if row["client_id"]}

    def wrong(event_type: str, *path: Any, value: Any) -> bool:
        changed = deepcopy(first[event_type])
        inside = changed
        for key in path[:-1]:
            inside = inside[key]
        inside[path[-1]] = value
        return bool(errors(event_type, changed))

    assert wrong("engagement_score", "metrics", "avg_confidence", value=85)
    assert wrong("engagement_score", "score", "interval", "width", value=3)
    assert wrong("urgency_trend", "data_points", 0, "avg_urgency", value="Urgent")
    assert wrong("urgency_trend", "data_points", value=[])
    assert wrong("tone_distribution", "estimate", "Professional", value=-0.1)
    assert wrong("tone_distribution", "estimate", "Sarcastic", value=0.0)
    assert wrong("pattern_detected", "pattern_type", value="weather_increasing")
    assert wrong("conversion_prediction", "high_value_leads", 0, "lead_name", value="Sarah Chen")
    assert wrong("conversion_prediction", "predicted_conversions", value="12")
    assert wrong("conversion", "days_to_convert", value=-1)
    assert wrong("accuracy_review", "jobs", "weather", value={})
