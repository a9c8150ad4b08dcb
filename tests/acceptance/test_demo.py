"""`demo`, as a stranger runs it: on a server of its own, twice, and with a file of one's own leads."""

import re
import shutil
import tempfile
import time
from pathlib import Path

import pytest
from support import run_process

FIRST_RUN_SECONDS = 90
SECOND_RUN_SECONDS = 20


@pytest.fixture(scope="module")
def folder():
    """A place that the server's own user may enter, unlike pytest's."""
    found = Path(tempfile.mkdtemp(prefix="growth-brain-demo-", dir="/var/tmp" if Path("/var/tmp").is_dir() else None))
    found.chmod(0o755)
    yield found
    shutil.rmtree(found)


def demo(folder, *arguments):
    started = time.monotonic()
    environment = {"WORKER_EMBEDDED_DIR": str(folder / "data"), "WORKER_OUTPUT": str(folder / "report")}
    outcome = run_process(None, "demo", *arguments, **environment)
    return outcome, time.monotonic() - started


def closing(outcome):
    """The numbers of the closing line: clients, leads, snapshots, new and changed."""
    found = re.search(
        r"(\d+) clients, ([\d,]+) leads .*\n([\d,]+) snapshots in growth_brain, ([\d,]+) new and ([\d,]+) changed",
        outcome.out,
    )
    assert found, outcome.out
    return tuple(int(text.replace(",", "")) for text in found.groups())


@pytest.mark.slow
def test_twice(folder):
    first, took = demo(folder)
    assert first.code == 0, first.err
    assert took < FIRST_RUN_SECONDS
    clients, leads, snapshots, new, changed = closing(first)
    assert clients == 40
    assert leads > 5_000
    assert (new, changed) == (snapshots, 0)
    table = first.out.split("Go on with:")[0]
    rows = [line for line in table.splitlines() if re.search(r"[↑↓→] +\d+%", line)]
    assert len(rows) == 1 + clients  # all clients together, and each
    assert rows[0].split()[:2] == ["all", "clients"]
    assert max(map(len, table.splitlines())) <= 80
    below = table.partition("What was planted in the companies on top; the worker is not told:\n")[2]
    planted = re.findall(r"^  (\S.*?)  +(.+)$", below, flags=re.MULTILINE)
    assert any("High urgency" in what for _, what in planted)
    on_top = [re.split(r"…| +\d", row)[0] for row in rows[1 : 1 + len(planted)]]
    assert all(name.startswith(top) for (name, _), top in zip(planted, on_top, strict=True))
    assert len(re.findall(r"^\d{4}-\d\d-\d\d +\d+ +[\d.]+ +\d+ ", first.out, flags=re.MULTILINE)) == 6  # past windows
    assert "Traceback" not in first.err
    assert "A report to look at, with pages of " in first.out
    index = folder / "report" / "index.html"
    assert str(index) in first.out
    linked = re.findall(r'href="([^"#:]+[.]html)"', index.read_text(encoding="utf-8"))
    assert len(linked) == 3
    assert {path.name for path in index.parent.iterdir()} == {"index.html", *linked}

    second, took = demo(folder)
    assert second.code == 0, second.err
    assert took < SECOND_RUN_SECONDS
    assert closing(second) == (clients, leads, snapshots, 0, 0)
    assert [line for line in second.out.splitlines() if line in rows] == rows


def test_a_file_of_ones_own(folder, tmp_path):
    file = tmp_path / "leads.csv"
    lines = ["created;urgency;Ton;won"]
    lines += [
        f"2025-03-{day:02d};{('High', 'Low')[day % 2]};Friendly;{'2025-03-28' if day % 9 == 0 else ''}"
        for day in range(1, 29)
    ]
    lines.append("not a date;High;Friendly;")
    file.write_text("\n".join(lines), encoding="utf-8")
    words = ("--csv", file, "--map", "timestamp=created", "--map", "converted_at=won", "--as-of", "2025-03-28")
    outcome, _ = demo(folder / "own", *words)
    assert outcome.code == 0, outcome.err
    assert "Loaded 28 leads and 3 conversions" in outcome.out
    assert "line 30: " in outcome.out
    assert "Columns that were not read: Ton (--map " in outcome.out
    again, _ = demo(folder / "own", *words)
    assert closing(again)[3:] == (0, 0)
    assert closing(again)[:3] == closing(outcome)[:3]
    # the server goes on with other commands, as the demo's last lines propose
    check = run_process("embedded", "check", WORKER_EMBEDDED_DIR=str(folder / "own" / "data"))
    assert check.code == 0, check.out + check.err


def test_a_file_that_is_not_there(folder):
    outcome, _ = demo(folder / "none", "--csv", "no-such-file.csv")
    assert outcome.code == 2
    assert "no-such-file.csv" in outcome.err
    assert "Traceback" not in outcome.err
    assert not (folder / "none").exists()  # no server was started for it


@pytest.mark.slow
def test_a_world_of_another_kind_takes_the_place_of_the_first(folder):
    first, _ = demo(folder / "worlds", "--world", "still")
    assert first.code == 0, first.err
    assert "High urgency" not in first.out
    second, _ = demo(folder / "worlds", "--world", "bursts")
    assert second.code == 0, second.err
    assert "High urgency" in second.out  # the planted truth
    assert closing(second)[0] == 40
    assert "loaded now" in second.out


def test_a_file_is_no_simulation(folder, tmp_path):
    outcome, _ = demo(folder / "none", "--csv", tmp_path / "leads.csv", "--world", "still")
    assert outcome.code == 2
    assert "exclude each other" in outcome.err
    assert not (folder / "none").exists()
