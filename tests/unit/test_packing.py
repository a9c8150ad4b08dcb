"""Columns as the server packs them, taken apart."""

import pytest

from worker.packing import unpack_rows

ROWS = [("tag", "Converted", None), ("tag", "\x01 é \x02", ""), ("note", None, None), ("tag", "Converted", None)]


def packed(rows):
    """Pack rows of texts as pack_texts has the server do."""
    return b"\x00".join(b"\xfe".join(b"\xff" if t is None else t.encode() for t in row) for row in rows)


def test_rows_of_texts_come_back_as_columns():
    columns = unpack_rows(packed(ROWS), 3)
    assert [tuple(column.at(i) for column in columns) for i in range(len(ROWS))] == ROWS
    assert [len(column.values) for column in columns] == [2, 3, 2]  # each different value once


@pytest.mark.parametrize("nothing", [None, b"nulls alone"])
def test_no_row_is_no_label(nothing):
    columns = unpack_rows(nothing, 2) if nothing is None else unpack_rows(packed([(None, None)] * 3), 2)
    assert [len(column.codes) for column in columns] == [0, 0] if nothing is None else [3, 3]
    assert all(column.values == ([] if nothing is None else [None]) for column in columns)
