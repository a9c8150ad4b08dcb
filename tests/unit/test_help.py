"""What the command line says of itself: the page of --help, each command's own, colours, completion."""

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import click
import pytest
from click.shell_completion import ShellComplete

from worker.commands import ALL, COMMANDS, JOBS, JOBS_COMMAND, load_command
from worker.commands.group import COMPLETE_VARIABLE, cli
from worker.commands.overview import EXAMPLES, overview, program
from worker.progress import describe_rate
from worker.run import main
from worker.stopping import Interrupted, Stop
from worker.terminal import colour_by_environment, fit

ROOT = Path(__file__).resolve().parents[2]
NAMES = [name for name in COMMANDS if name != JOBS_COMMAND]


def said_by(words, capsys):
    assert main(words) == 0
    return capsys.readouterr().out


def test_the_page_has_groups_examples_environment_and_exit_codes_in_80_columns(capsys):
    page = said_by(["--help"], capsys)
    assert max(map(len, page.splitlines())) <= 80
    headings = re.findall(r"^(\S.*):$", page, flags=re.MULTILINE)
    assert [heading.partition(" (")[0] for heading in headings] == [
        "Jobs", "Set up", "Look", "Past", "Operate", "Options", "Examples", "Environment", "Exit codes",
    ]  # fmt: skip
    for words in (*JOBS, *NAMES, "DATABASE_URL", "WORKER_AS_OF", "NO_COLOR", "130, 143"):
        assert words in page
    assert "\x1b" not in page
    assert "\x1b" in overview(coloured=True)


@pytest.mark.parametrize("words", [["-h"], ["help"], ["--help", "--help"]])
def test_other_ways_to_ask_for_the_page(words, capsys):
    assert said_by(words, capsys) == said_by(["--help"], capsys)


def test_help_before_a_command_is_that_command_s(capsys):
    assert said_by(["help", "prune"], capsys) == said_by(["prune", "--help"], capsys)


@pytest.mark.parametrize("name", [*NAMES, "all"])
def test_a_command_s_help_fits_and_has_examples(name, capsys):
    text = said_by([name, "--help"], capsys)
    prose, _, examples = text.partition("\nExamples:\n")
    assert max(map(len, prose.splitlines())) <= 80
    assert f"  {program()} " in examples
    command = load_command(JOBS_COMMAND if name == ALL else name)
    if any("--json" in parameter.opts for parameter in command.params):
        assert "With --json, one object" in text


def examples():
    yield from ((words, None) for words, _ in EXAMPLES)
    for name in COMMANDS:
        yield from ((words, name) for words, _ in load_command(name).examples)


@pytest.mark.parametrize(("line", "name"), list(examples()))
def test_an_example_is_a_command_with_options_that_exist(line, name):
    first, *rest = shlex.split(line.partition(">")[0])
    command = load_command(first if first in COMMANDS else JOBS_COMMAND)
    assert name in (None, command.name)
    parsed, left, _ = command.make_parser(click.Context(command)).parse_args(
        args=rest if first in COMMANDS else [first, *rest]
    )
    assert left == []
    assert set(parsed.get("names", ())) <= set(JOBS)


def test_each_option_has_its_environment_twin():
    """WORKER_ and its name; one that a setting has already is another option's."""
    taken = {("report", "--language"): "WORKER_REPORT_LANGUAGE"}
    for name in COMMANDS:
        for param in load_command(name).params:
            if isinstance(param, click.Option):
                twin = f"WORKER_{param.opts[0][2:].replace('-', '_').upper()}"
                assert param.envvar == taken.get((name, param.opts[0]), twin)


@pytest.mark.parametrize(
    ("environ", "expected"),
    [
        ({}, None),
        ({"NO_COLOR": "1"}, False),
        ({"NO_COLOR": ""}, None),
        ({"NO_COLOR": "0", "FORCE_COLOR": "1"}, False),
        ({"FORCE_COLOR": "1", "TERM": "dumb"}, True),
        ({"FORCE_COLOR": "0"}, None),
        ({"CLICOLOR_FORCE": "1"}, True),
        ({"CLICOLOR": "0"}, False),
        ({"CLICOLOR": "1"}, None),
        ({"TERM": "dumb"}, False),
    ],
)
def test_colours_as_the_environment_wants_them(environ, expected):
    assert colour_by_environment(environ) is expected


@pytest.mark.parametrize(("environ", "coloured"), [({}, True), ({"NO_COLOR": "1"}, False), ({"TERM": "dumb"}, False)])
@pytest.mark.parametrize("words", [["--help"], ["prune", "--help"]])
def test_colours_at_a_terminal(words, environ, coloured):
    ours, theirs = os.openpty()
    kept = {"PATH": os.environ["PATH"], "TERM": "xterm", **environ}
    try:
        command = [sys.executable, "-m", "worker.run", *words]
        subprocess.run(command, cwd=ROOT, env=kept, stdout=theirs, stderr=theirs, check=True)
        os.set_blocking(ours, False)
        said = os.read(ours, 65_536).decode()
    finally:
        os.close(ours)
        os.close(theirs)
    assert "Options:" in said
    assert ("\x1b[" in said) is (coloured and words == ["--help"])


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_prints_the_script_of_a_shell(shell, capsys):
    script = said_by(["completion", shell], capsys)
    assert f"{COMPLETE_VARIABLE}={shell}_complete" in script
    assert "growth-brain-worker" in script


def test_completion_asks_which_shell(monkeypatch, capsys):
    monkeypatch.setenv("SHELL", "/bin/dash")
    assert main(["completion"]) == 2
    assert "dash is none of bash, zsh, fish" in capsys.readouterr().err
    monkeypatch.setenv("SHELL", "/usr/bin/zsh")
    assert "zsh_complete" in said_by(["completion"], capsys)


@pytest.mark.parametrize(
    ("before", "begun", "expected"),
    [
        ([], "ur", ["urgency_trend"]),
        ([], "b", ["backfill", "backtest"]),
        ([], "--v", ["--version"]),
        (["urgency_trend"], "--as", ["--as-of"]),
        (["backfill"], "conv", ["conversion_events", "conversion_prediction"]),
        (["backfill", "conversion_events"], "conv", ["conversion_prediction"]),
        (["demo", "--world"], "sh", ["shifted"]),
        (["completion"], "", ["bash", "zsh", "fish"]),
    ],
)
def test_what_a_shell_is_offered(before, begun, expected):
    found = ShellComplete(cli, {}, "growth-brain-worker", COMPLETE_VARIABLE).get_completions(before, begun)
    assert [item.value for item in found] == expected


@pytest.mark.parametrize(
    ("words", "kept"),
    [
        (["backfill", "all", "--from", "2025-01-01"], "days that are done are kept"),
        (["urgency_trend"], "snapshots written so far are kept"),
        (["prune"], "what is removed stays removed"),
        (["status"], "only reads"),
        (["demo"], "keeps what is loaded"),
        (["migrate"], "as a whole or not at all"),
    ],
)
def test_ctrl_c_says_what_is_kept(words, kept, monkeypatch, capsys):
    def interrupted(*_given, **_more):
        raise Interrupted(2)

    module = COMMANDS[words[0] if words[0] in COMMANDS else JOBS_COMMAND].module
    monkeypatch.setattr(f"worker.commands.{module}.read_settings", interrupted)
    assert main(words) == 130
    assert re.fullmatch(rf"\nInterrupted: .*{kept}.*\.\n", capsys.readouterr().err)


def test_without_a_command_nothing_is_promised():
    assert Stop(lambda number: number, once=False).kept == "what was written is kept"


@pytest.mark.parametrize(
    ("speed", "expected"), [(None, ""), (0.0, ""), (2.0, "2.0 days/s"), (0.25, "15.0 days/min"), (40.0, "40.0 days/s")]
)
def test_the_rate_is_a_second_s_or_a_minute_s(speed, expected):
    assert describe_rate(SimpleNamespace(finished_speed=None, speed=speed), "days") == expected


def test_a_line_is_wrapped_at_a_terminal_only(monkeypatch):
    text = "urgency_trend  " + "word " * 30
    assert fit(text, first="", indent="    ") == text
    monkeypatch.setattr("sys.stdout", SimpleNamespace(isatty=lambda: True))
    first, *more = fit(text, first="", indent="    ").splitlines()
    assert first.startswith("urgency_trend  word")
    assert more
    assert all(line.startswith("    word") and len(line) <= 80 for line in more)
