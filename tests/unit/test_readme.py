"""The README keeps its word: tables made from the code, commands that there are, links that lead somewhere."""

import re
import shlex
from pathlib import Path

import pytest
from reference import README as FILE
from reference import with_tables

from worker.run import main

README = FILE.read_text(encoding="utf-8")
PROSE = re.sub(r"```.*?```", "", README, flags=re.DOTALL)
COMMANDS = sorted(set(re.findall(r"`python -m worker\.run ([^`]+)`", PROSE)))


def test_its_tables_are_as_the_code_says():
    assert with_tables(README) == README, "run python tests/reference.py --write"


def test_a_table_without_its_place_is_an_error():
    with pytest.raises(ValueError, match="0 places for the table of settings"):
        with_tables(README.replace("<!-- table: settings -->", ""))


@pytest.mark.parametrize("text", COMMANDS)
def test_every_command_in_its_text_is_one_that_the_worker_takes(text, capsys):
    """Of `JOB... | all` the first. Its help has every option that the README names; nothing is run."""
    words = ["urgency_trend" if word in ("JOB", "JOB...") else word for word in shlex.split(text.replace("\\", ""))]
    assert main([words[0], "--help"]) == 0
    options = set(re.findall(r"--[a-z-]+", capsys.readouterr().out))
    assert {word for word in words if word.startswith("--")} <= options


def test_there_are_commands_in_its_text():
    assert len(COMMANDS) > 15


def anchor_of(heading: str) -> str:
    """As GitHub makes them: lower case, punctuation gone, blanks to hyphens."""
    return re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-")


def test_every_link_leads_to_a_heading_or_a_file():
    headings = {anchor_of(heading) for heading in re.findall(r"^#+ (.+)$", PROSE, flags=re.MULTILINE)}
    targets = re.findall(r"\]\(([^)]+)\)", PROSE)
    assert targets
    for target in targets:
        assert target.removeprefix("#") in headings or (FILE.parent / target).is_file(), target


def test_every_folder_and_file_of_ours_that_it_names_is_there():
    named = re.findall(r"`((?:worker|schema|tests|\.grafana|\.ci)/[\w./-]*)`", README)
    assert len(named) > 5
    assert [path for path in named if not (FILE.parent / path).exists() and "*" not in path] == []


def test_whatever_opens_with_a_click_closes_again():
    assert README.count("<details>") == README.count("</details>") == README.count("<summary>")


def test_it_is_no_longer_than_a_person_reads():
    """What opens with a click is for those who look something up."""
    assert len(re.sub(r"<details>.*?</details>", "", README, flags=re.DOTALL)) < 40_000
    assert Path(FILE).stat().st_size < 65_000
