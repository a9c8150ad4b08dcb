"""Columns as the server packs them, taken apart."""

from worker.packing import unpack_rows

ROWS = [("tag", "Converted", None), ("tag", "\x01 é \x02", ""), ("note", None, None), ("tag", "Converted", None)]


def packed(rows):
    """Pack rows of texts as pack_texts has the server do."""
    return b"\x00".join(b"\xfe".join(b"\xff" if t is None else t.encode() for t in row) for row in rows)


def test_rows_of_texts_come_back():
    rows = unpack_rows(packed(ROWS))
    assert [rows.at(i) for i in range(len(ROWS))] == ROWS
    assert rows.values == [ROWS[0], ROWS[1], ROWS[2]]  # each different one once


def test_no_row_is_no_label():
    rows = unpack_rows(None)
    assert (len(rows.codes), rows.values) == (0, [])
    rows = unpack_rows(packed([(None, None)] * 3))
    assert (rows.codes.tolist(), rows.values) == ([0, 0, 0], [(None, None)])
