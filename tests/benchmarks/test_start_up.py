"""The start-up benchmark runs and tells ratios; at one round they say nothing, so that no bar is held to them here."""

import re

import start_up
from click.testing import CliRunner


def test_start_up_tells_both_ratios():
    found = CliRunner().invoke(start_up.main, ["--rounds", "1"], catch_exceptions=False)
    assert found.exit_code == 0, found.output
    assert re.findall(r"^(\w+) +[\d.]+ x +bar [\d.]+ x: (?:kept|MISSED)$", found.stdout, flags=re.MULTILINE) == [
        "help",
        "idle",
    ]


def test_a_ratio_is_that_of_two_medians():
    medians = {"pass": 2.0, "help": 5.0, "libraries": 4.0, "idle": 6.0}
    assert start_up.ratios(medians) == {"help": 2.5, "idle": 1.5}
