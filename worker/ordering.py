"""The order of very many rows by two or more keys, as np.lexsort has it, in less time; moving rows in little room."""

from collections.abc import Callable

import numpy as np

from worker.statistics import BoolArray, IntArray

BLOCK = 2**16  # rows
ROWS_A_SEARCH = 64  # that are gone through in the time in which a place is searched for


def order_by(first: IntArray, second: IntArray, *further: IntArray) -> IntArray:
    """
    Find the order of rows by their first key, then the second, then the others; rows equal in all stay as they are.

    first : not negative, below 2**31, as are the rows.

    Meant for a second key that is nearly in order, as instants are in a table that grows: what is left to do is to sort
    words of the first key and the place, which is six times as fast as finding the order of either. Other keys decide
    among the few rows that are equal in both.
    """
    n = len(first)
    by_second = None if (second[1:] >= second[:-1]).all() else np.argsort(second, kind="stable")
    bits = n.bit_length()
    word = np.arange(n)
    for low in range(0, n, BLOCK):  # whole columns would be there twice
        here = slice(low, low + BLOCK)
        word[here] |= first[here if by_second is None else by_second[here]].astype(np.int64) << bits
    word.sort()
    word &= (1 << bits) - 1
    order: IntArray = word if by_second is None else by_second[word]
    if further and n:
        same = np.flatnonzero((np.diff(first[order]) == 0) & (second[order[1:]] == second[order[:-1]]))
        tied = np.zeros(n, dtype=np.bool_)
        tied[same] = tied[same + 1] = True
        rows = np.sort(order[tied])  # as they were
        order[tied] = rows[np.lexsort([key[rows] for key in (*further[::-1], second, first)])]
    return order


def put_in_order(column: IntArray, order: IntArray) -> None:
    """Put a column's rows in an order, where they are."""
    column[:] = looked_up(column, order)


def looked_up(values: IntArray, places: IntArray) -> IntArray:
    """Give values[places] some rows at a time: numpy makes eight bytes of each place, however narrow they are."""
    result = np.empty(len(places), dtype=values.dtype)
    for low in range(0, len(places), BLOCK):
        here = slice(low, low + BLOCK)
        result[here] = values[places[here]]
    return result


def keep_in_place(column: IntArray, kept: BoolArray) -> IntArray:
    """Move the rows that are kept to the front of a column, and give that part of it."""
    n = 0
    for low in range(0, len(column), BLOCK):
        rows = column[low : low + BLOCK][kept[low : low + BLOCK]]
        column[n : n + len(rows)] = rows
        n += len(rows)
    return column[:n]


def rows_of(chosen: IntArray, count: int) -> Callable[[IntArray], tuple[IntArray, IntArray]]:
    """
    Find the rows of some of `count` numbered things in columns that name them, sorted.

    chosen : their numbers, in order. What is given tells of a column the places of their rows, and for each row which
    of the chosen it is. Where these lie in few runs, as the leads of some clients do, only the ends of runs are looked
    for; otherwise the whole column is gone through.
    """
    apart = np.diff(chosen, prepend=-2, append=count + 1) != 1
    begins, ends = np.flatnonzero(apart[:-1]), np.flatnonzero(apart[1:])
    if len(begins) * ROWS_A_SEARCH > count:
        kept = np.zeros(count, dtype=np.bool_)
        kept[chosen] = True
        number = (np.cumsum(kept) - 1).astype(np.int32)

        def looked_through(column: IntArray) -> tuple[IntArray, IntArray]:
            places = np.flatnonzero(kept[column])
            return places, number[column[places]]

        return looked_through
    first, last = chosen[begins], chosen[ends]

    def searched(column: IntArray) -> tuple[IntArray, IntArray]:
        low = np.searchsorted(column, first.astype(column.dtype))  # of another type the whole column would be widened
        sizes = np.searchsorted(column, last.astype(column.dtype), side="right") - low
        places = np.arange(sizes.sum()) + np.repeat(low - (np.cumsum(sizes) - sizes), sizes)
        return places, (column[places] - np.repeat(first - begins, sizes)).astype(np.int32)

    return searched
