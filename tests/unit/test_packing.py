"""Columns as the server packs them, taken apart."""

from worker.packing import unpack_rows

ROWS = [
    ("tag", "Converted", None),
    ("tag", "\x01 é \x02", ""),
    ("note", None, None),
    ("tag", None, "true"),
    ("tag", "Converted", None),
]


def packed(rows):
    """Pack rows of texts as pack_texts has the server do: without the nulls at the end, but never without any text."""
    told = [next((n for n in range(len(row), 1, -1) if row[n - 1] is not None), 1) for row in rows]
    texts = [[b"\xff" if t is None else t.encode() for t in row[:n]] for n, row in zip(told, rows, strict=True)]
    return b"\x00".join(b"\xfe".join(row) for row in texts)


def test_rows_of_texts_come_back():
    rows = unpack_rows(packed(ROWS), 3)
    assert [rows.at(i) for i in range(len(ROWS))] == ROWS
    assert rows.values == ROWS[:4]  # each different one once


def test_no_row_is_no_label():
    rows = unpack_rows(None, 3)
    assert (len(rows.codes), rows.values) == (0, [])
    rows = unpack_rows(packed([(None, None)] * 3), 2)
    assert (rows.codes.tolist(), rows.values) == ([0, 0, 0], [(None, None)])
