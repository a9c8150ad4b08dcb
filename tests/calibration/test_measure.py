"""measure.py: the table's words, and a picture whose bytes are the same every time."""

import numpy as np
import pytest
from measure import draw, markdown
from worlds import JOBS, KINDS, Claims


def invented(seed):
    """Claims as true as they say, and none of one job."""
    rng = np.random.default_rng(seed)
    said = rng.random(2000)
    claims = Claims(said, rng.random(2000) < said)
    nothing = Claims.joined([])
    return {
        (kind, sizes): {name: nothing if name == "pattern_detection" else claims for name in JOBS}
        for kind in KINDS[:2]
        for sizes in ("pareto", "large")
    }


def test_the_table_has_a_row_a_world_and_a_cell_a_job():
    lines = markdown(invented(1)).splitlines()
    assert len(lines) == 2 + 4
    assert lines[0] == "| world | leads a window | " + " | ".join(JOBS) + " |"
    assert all(line.count("|") == len(JOBS) + 3 for line in lines)
    assert "| still | most under 30 | 2,000: 0." in lines[2]
    assert lines[2].endswith("| no claim |")


def test_the_picture_is_small_plain_and_the_same_every_time(tmp_path):
    pytest.importorskip("matplotlib")
    first, second = tmp_path / "first.svg", tmp_path / "second.svg"
    for path in (first, second):
        draw(invented(1), path)
    text = first.read_text(encoding="utf-8")
    assert first.read_bytes() == second.read_bytes()
    assert len(text) < 60_000
    assert "tone_distribution" in text  # text as text, not as outlines
    assert "<dc:date>" not in text
    draw(invented(2), second)
    assert first.read_bytes() != second.read_bytes()
