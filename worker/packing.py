"""
Columns packed on the server: each of a query's columns comes as one value, so that no row costs the client anything.

An aggregated bytea is taken apart by numpy where its items are of one width, and by a split where they are texts: 0 is
in no text. All aggregates of one SELECT see its rows in the same order.
"""

from collections.abc import Iterable, Iterator
from itertools import chain

import numpy as np
from psycopg import sql

from worker.columns import NO_NUMBER, Labels
from worker.lead_ids import Ids, UuidIds, text_ids
from worker.leads import FIRST_LEAD, UNDATED
from worker.statistics import BoolArray, FloatArray, IntArray

POSTGRES_EPOCH = FIRST_LEAD  # microseconds: PostgreSQL counts from 2000, by coincidence the year of the first lead
NULL_TEXT = b"\xff"  # is in no UTF-8
NEXT_TEXT = b"\xfe"  # nor is this, which stands between the texts of one row
UNREAD = sql.SQL("NULL::bytea")  # in the place of a column that nobody asks for: all null
SPLIT_BYTES = 1 << 20  # of texts taken apart at a time


def pack_instants(column: sql.Composable) -> sql.Composed:
    """Pack a timestamptz: microseconds since 2000, the infinities at the ends of int8, null as -infinity."""
    return sql.SQL("string_agg(timestamptz_send(coalesce({}, '-infinity')), '')").format(column)


def pack_numbers(column: sql.Composable) -> sql.Composed:
    """Pack a float8; null as -infinity."""
    return sql.SQL("string_agg(float8send(coalesce({}, '-infinity')), '')").format(column)


def pack_flags(*columns: sql.Composable) -> sql.Composed:
    """Pack up to 14 booleans into the bits of one int2, null as false."""
    bits = [
        sql.SQL("CASE WHEN {} THEN {} ELSE 0 END").format(column, sql.Literal(1 << i))
        for i, column in enumerate(columns)
    ]
    return sql.SQL("string_agg(int2send(({})::int2), '')").format(sql.SQL(" + ").join(bits))


def pack_texts(*columns: sql.Composable) -> sql.Composed:
    """
    Pack a text, as the client's encoding has it, which is UTF-8 in every transaction (worker/database/pool.py).

    columns : of several, each row's texts become one, from which the last of them are missing where they are null: for
    columns of few different values, most of them null.
    """
    texts = [sql.SQL(r"coalesce(textsend({}), '\xff')").format(column) for column in columns]
    row = [sql.SQL(r" || '\xfe' || ").join(texts[:n]) for n in range(1, len(texts) + 1)]
    null = [sql.SQL("{} IS NULL").format(column) for column in columns]
    shorter = [
        sql.SQL("WHEN {} THEN {}").format(sql.SQL(" AND ").join(null[n:]), row[n - 1]) for n in range(1, len(texts))
    ]
    whole = sql.SQL("CASE {} ELSE {} END").format(sql.SQL(" ").join(shorter), row[-1]) if shorter else row[-1]
    return sql.SQL(r"string_agg({}, '\x00')").format(whole)


def pack_histories(column: sql.Composable, type_name: str | None) -> sql.Composable:
    """Pack a history's text, leaving out that of an empty list without making a text of it: nearly all are empty."""
    if type_name is None:
        return UNREAD
    text = sql.SQL("textsend({}::text)").format(column)
    told = sql.SQL("{} <> '[]'").format(column)
    if type_name in ("jsonb", "text", "varchar"):
        text = sql.SQL("CASE WHEN {} THEN {} END").format(told, text)
    return sql.SQL(r"string_agg(coalesce({}, ''), '\x00')").format(text)


def pack_ids(column: sql.Composable, type_name: str | None) -> sql.Composed:
    """Pack ids: uuids as their 16 bytes, null not among them; anything else as text."""
    if type_name == "uuid":
        return sql.SQL("string_agg(uuid_send({}), '')").format(column)
    return pack_texts(sql.SQL("{}::text").format(column))


def pack_hashes(column: sql.Composable, type_name: str | None) -> sql.Composed:
    """Pack 64 bits that stand for an id, the same for the same id and %(seed)s in every column of this type."""
    if type_name == "uuid":
        return sql.SQL("string_agg(int8send(uuid_hash_extended({}, %(seed)s)), '')").format(column)
    text = sql.SQL('hashtextextended({}::text COLLATE "C", %(seed)s)').format(column)
    return sql.SQL("string_agg(int8send({}), '')").format(text)


def unpack_instants(packed: bytes | None) -> IntArray:
    """Give microseconds since 1970; UNDATED for null, the infinities and anything before the product was."""
    value = np.frombuffer(packed or b"", dtype=">i8").astype(np.int64)
    value = np.where((value < 0) | (value > UNDATED - POSTGRES_EPOCH), UNDATED - POSTGRES_EPOCH, value)
    return value + POSTGRES_EPOCH


def unpack_numbers(packed: bytes | None, n_rows: int) -> FloatArray:
    """Give float8s, null as -infinity."""
    if packed is None:
        return np.full(n_rows, NO_NUMBER)
    return np.frombuffer(packed, dtype=">f8").astype(np.float64)


def unpack_flags(packed: bytes | None, n_flags: int) -> list[BoolArray]:
    """Give each of the booleans."""
    bits = np.frombuffer(packed or b"", dtype=">i2")
    return [bits & (1 << i) != 0 for i in range(n_flags)]


def unpack_hashes(packed: bytes | None) -> IntArray:
    """Give the 64 bits of each id."""
    return np.frombuffer(packed or b"", dtype=">i8").astype(np.int64)


def unpack_labels(packed: bytes | None, n_rows: int = 0) -> Labels:
    """Give a column of texts that repeat; null is None."""
    n_nulls = n_rows if packed is None else packed.count(NULL_TEXT)
    if packed is None or 2 * n_nulls - 1 == len(packed):  # nothing but nulls, as in a column nobody fills in
        return Labels(np.zeros(n_nulls, dtype=np.uint8), [None])
    labels = Labels.of(_pieces(packed))
    return Labels(labels.codes, [_text(piece) for piece in labels.values])


def unpack_rows(packed: bytes | None, n_columns: int) -> Labels:
    """Give the rows of texts that pack_texts packed together, each a tuple of so many; null is None."""
    rows = Labels.of(_pieces(packed))
    texts = (tuple(map(_text, row.split(NEXT_TEXT))) for row in rows.values)
    return Labels(rows.codes, [row + (None,) * (n_columns - len(row)) for row in texts])


def _text(piece: bytes) -> str | None:
    return None if piece == NULL_TEXT else piece.decode()


def unpack_ids(packed: bytes | None, type_name: str | None) -> Ids:
    """Give the ids."""
    if type_name == "uuid":
        return UuidIds(np.frombuffer(packed or b"", dtype=np.uint8).reshape(-1, 16))
    return text_ids([piece.decode() for piece in _pieces(packed)])


def unpack_histories(packed: bytes | None) -> dict[int, str]:
    """Give the texts that are there by their row."""
    if packed is None or packed.count(0) == len(packed):  # nothing stands between the separators
        return {}
    return {row: text.decode() for row, text in enumerate(_pieces(packed)) if text}


def _pieces(packed: bytes | None) -> Iterable[bytes]:
    """Take texts apart, some at a time: all at once they would take several times the memory of what is packed."""
    return () if packed is None else chain.from_iterable(_lists(packed))


def _lists(packed: bytes) -> Iterator[list[bytes]]:
    begin = 0
    while len(packed) - begin > SPLIT_BYTES:
        end = packed.find(b"\x00", begin + SPLIT_BYTES)
        if end < 0:
            break
        yield packed[begin:end].split(b"\x00")
        begin = end + 1
    yield packed[begin:].split(b"\x00")
