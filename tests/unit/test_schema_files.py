"""The files of schema/snapshots: valid, closed, described to the last key, and of the names that the program has."""

import tomllib
from pathlib import Path

import pytest
from jsonschema import Draft202012Validator
from snapshot_schemas import COMMON, FOLDER, SCHEMAS, objects, resolved, subschemas

from worker.database.migrations import schema_files
from worker.growth_brain import REPEATS_CONFIDENCE, SCHEMA_VERSION
from worker.jobs.pattern_view import SUBJECTS
from worker.review.resolved import TYPES
from worker.vocabulary import TONES, URGENCY_NAMES

OPEN = [SCHEMAS[COMMON]["$defs"][name] for name in ("claim", "check")]  # what all kinds of them have
ROOT = Path(__file__).resolve().parents[2]


def test_there_is_one_for_each_event_type_in_the_version_that_is_written():
    names = {f"{name}.v{SCHEMA_VERSION}.json" for name in (*TYPES, COMMON)}
    assert {path.name for path in FOLDER.iterdir()} == names
    assert {schema["$id"] for schema in SCHEMAS.values()} == names
    assert SCHEMAS[COMMON]["$defs"]["schema_version"]["const"] == SCHEMA_VERSION


@pytest.mark.parametrize("name", SCHEMAS)
def test_every_file_is_a_valid_schema(name):
    Draft202012Validator.check_schema(SCHEMAS[name])


@pytest.mark.parametrize("name", SCHEMAS)
def test_every_property_says_what_it_means(name):
    silent = [
        place for place, schema in subschemas(SCHEMAS[name]) if not resolved(schema, name)[0].get("description", "")
    ]
    assert silent == []


@pytest.mark.parametrize("name", SCHEMAS)
def test_no_object_takes_a_key_that_is_not_written_down(name):
    described = [schema for schema in objects(SCHEMAS[name]) if schema not in OPEN]
    assert [schema for schema in described if schema["additionalProperties"] is not False] == []
    assert all(set(schema["required"]) <= set(schema["properties"]) for schema in objects(SCHEMAS[name]))


@pytest.mark.parametrize("name", TYPES)
def test_only_an_optional_key_of_a_review_may_be_missing_from_a_snapshot(name):
    missing = set(SCHEMAS[name]["properties"]) - set(SCHEMAS[name]["required"])
    assert missing == ({"of_all_together", "windows", "evidence"} if name == "accuracy_review" else set())
    assert ("confidence" in SCHEMAS[name]["properties"]) == (name in REPEATS_CONFIDENCE)


def test_words_are_those_of_the_program():
    tone = SCHEMAS["tone_distribution"]["properties"]
    assert list(tone["counts"]["properties"]) == [*TONES, "unknown"]
    assert tone["dominant_tone"]["anyOf"][0]["enum"] == list(TONES)
    assert set(SCHEMAS[COMMON]["$defs"]["urgency"]["enum"]) == set(URGENCY_NAMES)
    subjects = SCHEMAS["pattern_detected"]["properties"]["pattern_type"]["pattern"].split(")")[0]
    assert set(subjects.removeprefix("^(").split("|")) == set(SUBJECTS)
    assert SCHEMAS["accuracy_review"]["properties"]["jobs"]["propertyNames"]["enum"] == list(TYPES)


def test_they_travel_with_the_package_and_are_no_migrations():
    build = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["hatch"]["build"]["targets"]
    assert build["wheel"]["force-include"]["schema"] == "worker/schema"  # a folder comes with all that is in it
    assert "schema" in build["sdist"]["include"]
    assert {path.suffix for path in schema_files()} == {".sql"}
    assert FOLDER.parent == schema_files()[0].parent
