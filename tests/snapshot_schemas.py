"""The JSON Schemas of schema/snapshots, and validators made of them that know what they share."""

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from jsonschema import Draft202012Validator
from referencing import Registry, Resource

FOLDER = Path(__file__).resolve().parents[1] / "schema" / "snapshots"
COMMON = "common"
Schema = Mapping[str, Any]


def read_schemas() -> dict[str, Any]:
    """Read every file: name of the event type, or COMMON, to schema."""
    return {path.name.split(".")[0]: json.loads(path.read_text(encoding="utf-8")) for path in FOLDER.glob("*.json")}


SCHEMAS = read_schemas()
REGISTRY = Registry().with_resources((schema["$id"], Resource.from_contents(schema)) for schema in SCHEMAS.values())


def validator(event_type: str) -> Draft202012Validator:
    """Make a validator for the snapshots of one event type; KeyError for one without a schema."""
    return Draft202012Validator(SCHEMAS[event_type], registry=REGISTRY)


def errors(event_type: str, snapshot: object) -> list[str]:
    """Say what is wrong with a snapshot, and where in it; nothing where all is well."""
    return [f"{error.json_path}: {error.message}" for error in validator(event_type).iter_errors(snapshot)]


def reference_of(schema: Schema) -> str:
    """Name the shared definition that a schema is, "" where it is written out."""
    return str(schema.get("$ref", "")).rpartition("/")[2]


def step(schema: Schema, root: str) -> tuple[Schema, str]:
    """Follow a $ref once; gives the definition and the file that it is of."""
    home = str(schema["$ref"]).partition("#")[0].split(".")[0] or root
    return SCHEMAS[home]["$defs"][reference_of(schema)], home


def resolved(schema: Schema, root: str) -> tuple[Schema, str]:
    """Follow a $ref to its end, and give the schema with the words that stand beside it, and the file that it is of."""
    if "$ref" not in schema:
        return schema, root
    found, where = resolved(*step(schema, root))
    return {**found, **{key: value for key, value in schema.items() if key != "$ref"}}, where


def subschemas(schema: Any, place: str = "") -> Iterator[tuple[str, Schema]]:
    """Walk through everything that is a schema of a property, with the path to it."""
    if isinstance(schema, list):
        for item in schema:
            yield from subschemas(item, place)
    elif isinstance(schema, dict):
        for name, inner in schema.get("properties", {}).items():
            yield f"{place}.{name}", inner
            yield from subschemas(inner, f"{place}.{name}")
        for key in ("items", "additionalProperties", "anyOf"):
            yield from subschemas(schema.get(key), place)
        for name, inner in schema.get("$defs", {}).items():
            yield from subschemas(inner, f"{place}${name}")


def objects(schema: Any) -> Iterator[Schema]:
    """Walk through everything that describes an object, wherever it stands."""
    if isinstance(schema, list):
        for item in schema:
            yield from objects(item)
    elif isinstance(schema, dict):
        if schema.get("type") == "object" and "properties" in schema:
            yield schema
        for value in schema.values():
            yield from objects(value)
