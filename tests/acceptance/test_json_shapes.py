"""What --json prints holds what the help of each command says, and no other key unless it says so."""

import json
import re
import shutil
import tempfile
from pathlib import Path

import pytest
from support import add_client, add_simple_leads, run_process, run_worker, utc

from worker.commands import COMMANDS, JOBS_COMMAND, load_command

DAY = "2025-03-30"


def parse_shape(text):
    """Read {a, b: {c, ...}, d: [{e}]} into {"a": None, "b": {"c": None, "...": None}, "d": [{"e": None}]}."""
    words = re.findall(r"\.\.\.|\w+|[\[\]{}:,]", text)

    def value():
        first = words.pop(0)
        if first == "[":
            found = [value()]
            assert words.pop(0) == "]"
            return found
        assert first == "{"
        found = {}
        while words[0] != "}":
            key = words.pop(0)
            if words[0] == ":":
                words.pop(0)
                found[key] = value()
            else:
                found[key] = None
            if words[0] == ",":
                words.pop(0)
        words.pop(0)
        return found

    shape = value()
    assert words == []
    return shape


def ensure_of_shape(document, shape, path=""):
    if shape is None:
        return
    if isinstance(shape, list):
        assert isinstance(document, list), path
        for item in document:
            ensure_of_shape(item, shape[0], f"{path}[]")
        return
    assert isinstance(document, dict), path
    said = set(shape) - {"..."}
    assert said <= set(document), f"{path}: {said - set(document)} is said to be there"
    assert "..." in shape or set(document) <= said, f"{path}: nothing is said of {set(document) - said}"
    for key in said:
        ensure_of_shape(document[key], shape[key], f"{path}.{key}")


@pytest.fixture
def client(database_url, connect):
    """A client with leads in a migrated database, whose jobs have run."""
    conn = connect(database_url)
    found = add_client(conn, 1)
    add_simple_leads(conn, found, 1, 40, utc("03-31 00:00"))
    assert run_worker(database_url, "all", "--as-of", DAY).code == 0
    return found


def test_each_document_is_as_the_help_of_its_command_says(database_url, client):
    for words in (
        ("all", "--as-of", DAY),
        ("all", "--as-of", DAY, "--if-due"),
        ("migrate",),
        ("check",),
        ("status",),
        ("accuracy", "--as-of", "2025-04-30"),
        ("accuracy", "--as-of", "2025-03-31", "--replicate", "--periods", "1"),
        ("models",),
        ("backfill", "urgency_trend", "--from", "2025-03-27", "--to", "2025-03-28"),
        ("backtest", "--from", "2025-03-01", "--to", "2025-03-02", "--every", "1d"),
        ("prune", "--dry-run"),
        ("prune",),
        ("health",),
    ):
        outcome = run_worker(database_url, *words, "--json")
        assert outcome.code == 0, (words, outcome.err)
        command = load_command(words[0] if words[0] in COMMANDS else JOBS_COMMAND)
        shape = command.shapes["--replicate" if "--replicate" in words else ""]
        ensure_of_shape(outcome.json, parse_shape(shape), words[0])
        (line,) = outcome.out.splitlines()
        assert json.loads(line, parse_constant=pytest.fail) == outcome.json  # no NaN, which is no JSON
    found = run_worker(database_url, "accuracy", "--as-of", "2025-04-30", "--client", client, "--json").json
    claims = found.pop("claims")
    shapes = load_command("accuracy").shapes
    ensure_of_shape(found, parse_shape(shapes[""]))
    assert claims
    ensure_of_shape({"claims": claims}, parse_shape("{" + shapes["--client ID"].removeprefix("the same, and ") + "}"))


def test_the_demo_s_document():
    folder = Path(tempfile.mkdtemp(prefix="growth-brain-shapes-", dir="/var/tmp"))
    folder.chmod(0o755)  # the server runs as a user of its own
    try:
        lines = [f"2025-03-{day:02d},{('High', 'Low')[day % 2]},Friendly" for day in range(1, 29)]
        (folder / "leads.csv").write_text("\n".join(["created,urgency,tone", *lines, "never,High,Friendly"]))
        words = ("demo", "--csv", folder / "leads.csv", "--map", "timestamp=created", "--as-of", "2025-03-28", "--json")
        outcome = run_process(None, *words, WORKER_EMBEDDED_DIR=str(folder / "data"))
    finally:
        shutil.rmtree(folder)
    assert outcome.code == 0, outcome.err
    ensure_of_shape(outcome.json, parse_shape(load_command("demo").shapes[""]))
    assert (outcome.json["leads"], outcome.json["file"]["bad_rows"], outcome.json["loaded"]) == (28, 1, True)
    assert {row["client_id"] is None for row in outcome.json["results"]} == {True, False}


def test_a_shape_that_is_not_kept_is_noticed():
    shape = parse_shape("{a, b: [{c, ...}]}")
    assert shape == {"a": None, "b": [{"c": None, "...": None}]}
    ensure_of_shape({"a": 1, "b": [{"c": 1, "d": 2}]}, shape)
    for document in ({"a": 1}, {"a": 1, "b": [], "c": 1}, {"a": 1, "b": [{"d": 1}]}, {"a": 1, "b": {}}):
        with pytest.raises(AssertionError):
            ensure_of_shape(document, shape)
