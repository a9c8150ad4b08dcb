"""
The tables of the README that are made from the code: commands, settings, and the keys of every snapshot.

`python tests/reference.py` says whether the README has them as they are now, `--write` puts them in. Each stands
between two comments, `<!-- table: NAME -->` and `<!-- end of NAME -->`.
"""

import json
import re
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # a script finds what stands beside it, not the project

from snapshot_schemas import COMMON, SCHEMAS, Schema, reference_of, resolved, step

from worker.commands import COMMANDS, JOBS_COMMAND, load_command
from worker.review.resolved import TYPES
from worker.settings import setting_fields

README = Path(__file__).resolve().parents[1] / "README.md"
NAMED = {  # what a reader calls a shared definition
    "instant": "instant",
    "day": "day",
    "count": "whole number",
    "probability": "0 to 1",
    "share": "0 to 1",
    "share_or_null": "0 to 1 or null",
    "interval": "interval",
    "share_interval": "interval",
    "figures": "figures",
}
PLAIN = {"string": "text", "integer": "whole number", "boolean": "true / false", "array": "list", "object": "object"}
ENVELOPE = (
    "schema_version",
    "as_of",
    "period_key",
    "claim_key",
    "window",
    "n",
    "n_previous",
    "claim",
    "check",
    "model_version",
)
MANY = 8  # properties of one kind are told as one
Row = tuple[str, str, str]  # key, what it holds, what it means


def settings_table() -> str:
    """List the settings as worker/settings.py declares them."""
    rows = [f"| `{f.metadata['env']}` | {f.metadata['meaning']} | {f.metadata['default']} |" for f in setting_fields()]
    return "\n".join(("| variable | meaning | default |", "| --- | --- | --- |", *rows))


def commands_table() -> str:
    """List the commands as `--help` does, with the names of their options."""
    rows = []
    for name, entry in COMMANDS.items():
        flags = [option.opts[-1] for option in load_command(name).params if option.param_type_name == "option"]
        options = " ".join(f"`{flag}`" for flag in flags if flag != "--help")
        typed = "JOB... \\| all" if name == JOBS_COMMAND else name
        rows.append(f"| `python -m worker.run {typed}` | {entry.line} | {options} |")
    rows.append(
        "| `python -m worker` | The daemon: yesterday's jobs from 03:00 on, conversion events every 5 minutes. | |"
    )
    return "\n".join(("| command | what it does | options |", "| --- | --- | --- |", *rows))


def type_name(schema: Schema, root: str) -> str:
    """Say in a word or two what JSON may stand at a place; of an object, which keys it has."""
    name = reference_of(schema)
    if name in NAMED:
        return NAMED[name]
    if name:
        return type_name(*step(schema, root))
    if "anyOf" in schema:
        return f"{type_name(schema['anyOf'][0], root)} or null"
    if "const" in schema:
        return f"`{json.dumps(schema['const'])}`"
    if "enum" in schema:
        return ", ".join(f"`{value}`" for value in schema["enum"])
    if isinstance(schema.get("additionalProperties"), dict):
        return f"{{event type: {type_name(schema['additionalProperties'], root)}}}"
    if schema["type"] == "object":
        return keys_of(schema, root)
    if schema["type"] == "array":
        return f"[{type_name(schema['items'], root)}]"
    kinds = [schema["type"]] if isinstance(schema["type"], str) else schema["type"]
    return " or ".join(PLAIN.get(kind, kind) for kind in kinds)


def keys_of(schema: Schema, root: str) -> str:
    """List an object's keys; of very many of one kind, what kind that is."""
    properties = schema["properties"]
    kinds = list(dict.fromkeys(type_name(inner, root) for inner in properties.values()))
    if len(properties) > MANY and len(kinds) == 1:
        return f"{{tone: {kinds[0]}}}"
    return "{" + ", ".join(f"`{key}`" for key in properties) + "}"


def rows_of(properties: Mapping[str, Schema], root: str) -> list[Row]:
    """Give each property's name, what it holds and what it means."""
    return [(key, type_name(inner, root), resolved(inner, root)[0]["description"]) for key, inner in properties.items()]


def table(rows: Sequence[Row]) -> str:
    """Write rows as Markdown."""
    lines = [f"| `{key}` | {kind} | {meaning} |" for key, kind, meaning in rows]
    return "\n".join(("| key | holds | meaning |", "| --- | --- | --- |", *lines))


def shared_rows() -> list[Row]:
    """Give the keys that every snapshot has, and those that every claim and check has."""
    shared, rows = SCHEMAS[COMMON]["$defs"], []
    for key in ENVELOPE:
        inside = shared[key].get("properties", {}) if key in ("claim", "check") else {}
        rows += rows_of({key: shared[key], **{f"{key}.{name}": inner for name, inner in inside.items()}}, COMMON)
    return rows


def snapshot_tables() -> str:
    """Write the shared keys, then a table for each event type that opens with a click."""
    shared = shared_rows()
    parts = [table(shared)]
    for name in TYPES:
        schema = SCHEMAS[name]
        rows = [row for row in rows_of(schema["properties"], name) if row not in shared]
        words = re.sub("`(.*?)`", r"<code>\1</code>", schema["description"])  # Markdown is not read in there
        parts += [f"<details>\n<summary><code>{name}</code>: {words}</summary>", table(rows)]
        if "figures" in schema.get("$defs", {}):
            parts += ["Figures:", table(rows_of(schema["$defs"]["figures"]["properties"], name))]
        parts += ["</details>"]
    return "\n\n".join(parts)


TABLES: dict[str, Callable[[], str]] = {
    "commands": commands_table,
    "settings": settings_table,
    "snapshots": snapshot_tables,
}


def with_tables(text: str) -> str:
    """Put every table into its place; ValueError where the place is missing."""
    for name, make in TABLES.items():
        place = re.compile(rf"(<!-- table: {name} -->\n).*?(<!-- end of {name} -->)", re.DOTALL)
        found = place.findall(text)
        if len(found) != 1:
            raise ValueError(f"the README has {len(found)} places for the table of {name}")
        text = place.sub("\n\n".join((found[0][0].rstrip(), make().replace("\\", r"\\"), found[0][1])), text)
    return text


def main(arguments: list[str]) -> None:
    """Compare, or write."""
    text = README.read_text(encoding="utf-8")
    made = with_tables(text)
    if arguments == ["--write"]:
        README.write_text(made, encoding="utf-8")
    elif made != text:
        sys.exit("README.md is not as the code says: run this with --write")


if __name__ == "__main__":
    main(sys.argv[1:])
