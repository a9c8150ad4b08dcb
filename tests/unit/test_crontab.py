"""crontab.example is a crontab that cron would take, and its commands are the worker's."""

import re
import shlex
from pathlib import Path

import click
import pytest

from worker.commands import COMMANDS, JOBS_COMMAND, load_command
from worker.settings import setting_fields
from worker.timetable import JOB_NAMES, PRUNE

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


def arguments_of(entry: str) -> list[str]:
    """What the worker gets: the words between its name and the log."""
    words = shlex.split(entry.split(None, 5)[5].replace("\\%", "%").split(">>")[0])
    return words[words.index("worker.run") + 1 :]


@pytest.mark.parametrize("entry", ENTRIES)
def test_entry_is_a_command_with_options_that_exist(entry):
    first, *rest = arguments_of(entry)
    command = load_command(first if first in COMMANDS else JOBS_COMMAND)
    words = rest if first in COMMANDS else [first, *rest]
    parsed, left, _ = command.make_parser(click.Context(command)).parse_args(args=words)
    assert left == []
    assert set(parsed.get("names", ())) <= {*JOB_NAMES, "all"}


def test_whatever_the_daemon_does_is_in_it():
    firsts = {arguments_of(entry)[0] for entry in ENTRIES}
    assert firsts == {"conversion_events", "all", PRUNE}


def test_each_variable_is_a_setting_cron_s_or_used():
    names = {line.partition("=")[0] for line in VARIABLES}
    known = {setting.metadata["env"] for setting in setting_fields()} | {"SHELL", "MAILTO"}
    used = {name for entry in ENTRIES for name in re.findall(r"\$\{?([A-Z_]+)", entry)}
    assert names - known == used - known
    assert used <= names


def test_lines_ask_again_after_an_outage():
    """A line that runs once a day would leave a day undone whose hour the machine was down for."""
    assert all("," in hours or "-" in hours or hours == "*" for hours in (entry.split()[1] for entry in ENTRIES))
