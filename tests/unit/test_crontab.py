"""crontab.example is a crontab that cron would take, and its commands are the worker's."""

import re
import shlex
from pathlib import Path

import click
import pytest

from worker.jobs import JOB_NAMES
from worker.run import cli

LINES = [
    line
    for line in (Path(__file__).resolve().parents[2] / "crontab.example").read_text(encoding="utf-8").splitlines()
    if line.strip() and not line.startswith("#")
]
VARIABLES = [line for line in LINES if re.match(r"^[A-Z_]+=", line)]
ENTRIES = [line for line in LINES if line not in VARIABLES]
FIELD = re.compile(r"^(\*|\d+(-\d+)?)(/\d+)?(,\d+)*$")


def test_variables_stand_on_top_and_name_the_database():
    assert LINES[: len(VARIABLES)] == VARIABLES
    assert any(line.startswith("DATABASE_URL=") for line in VARIABLES)


@pytest.mark.parametrize("entry", ENTRIES)
def test_entry_has_five_fields_and_a_command_whose_percent_signs_are_escaped(entry):
    fields, command = entry.split(None, 5)[:5], entry.split(None, 5)[5]
    assert all(FIELD.match(field) for field in fields)
    assert not re.search(r"(?<!\\)%", command)  # cron ends the command at a bare one


@pytest.mark.parametrize("entry", ENTRIES)
def test_entry_runs_jobs_with_options_that_exist(entry):
    words = shlex.split(entry.split(None, 5)[5].replace("\\%", "%").split(">>")[0])
    arguments = words[words.index("worker.run") + 1 :]
    jobs_command = cli.commands["jobs"]
    context = click.Context(jobs_command)
    parsed, rest, _ = jobs_command.make_parser(context).parse_args(args=arguments)
    assert rest == []
    assert set(parsed["names"]) <= {*JOB_NAMES, "all"}
