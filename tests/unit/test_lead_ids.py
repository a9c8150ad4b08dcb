"""Ids as text, some at a time, are those that a list of all has."""

from uuid import UUID

import numpy as np
import pytest

from worker import lead_ids
from worker.jobs.conversion_prediction import cohort_hash
from worker.lead_ids import UuidIds, lines_in_order, text_ids


@pytest.fixture(params=["uuids", "texts"])
def ids(request):
    raw = np.random.default_rng(3).integers(0, 256, (40, 16), dtype=np.uint8)
    raw[20:30, :8] = raw[0, :8]  # so that the second half decides
    return UuidIds(raw) if request.param == "uuids" else text_ids([str(UUID(bytes=row.tobytes())) for row in raw])


@pytest.mark.parametrize("block", [1, 7, 40, 2**16])
def test_they_come_in_order_whatever_the_blocks(ids, monkeypatch, block):
    whole = cohort_hash(ids)
    monkeypatch.setattr(lead_ids, "BLOCK", block)
    assert b"".join(lines_in_order(ids)).decode().splitlines() == sorted(ids.tolist())
    assert cohort_hash(ids) == whole


def test_a_cohort_is_named_by_its_ids_as_text():
    """By sha256sum: of no id, and of the two lines; whatever they are kept as, and in whatever order."""
    a, b = "00000000-0000-4000-8000-00000000000a", "f0000000-0000-4000-8000-000000000001"
    raw = np.frombuffer(UUID(b).bytes + UUID(a).bytes, dtype=np.uint8).reshape(2, 16)
    assert cohort_hash(UuidIds(raw)) == cohort_hash(text_ids([a, b])) == cohort_hash(text_ids([b, a]))
    assert cohort_hash(UuidIds(raw[:0])) == cohort_hash(text_ids([])) == "e3b0c44298fc1c14"
    assert cohort_hash(UuidIds(raw)) == "02b0bb65efcb79c7"
