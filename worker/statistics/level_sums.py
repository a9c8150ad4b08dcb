"""
Sums over many rows by levels of their features and by pairs of levels, with no design matrix and few passes.

Features are packed: those whose combinations seen are few share one code, so that a pass for each pair of packs, where
there are three or four of them, tells of every pair of a dozen features.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from worker.statistics import FloatArray, IntArray

MOST_CODES = 512  # of a pack: tables of two packs' codes should stay in the processor's cache
MOST_TRIED = 2**16  # combinations of a pack and one more feature that are looked through for those seen
BLOCK_ROWS = 2**16  # gone through at a time: what is made on the way stays in the cache


@dataclass(frozen=True, slots=True)
class Pack:
    """Some features' levels behind one code."""

    columns: slice  # where the features' levels stand among all features' levels
    member: FloatArray  # (codes, levels): 1 for the levels that a code stands for


@dataclass(frozen=True, slots=True)
class LevelSums:
    """How the packed codes of rows are read; sums by code become sums by level."""

    packs: tuple[Pack, ...]
    width: int

    def factors(self, coefficients: FloatArray) -> list[FloatArray]:
        """Give for each pack the exponential of its codes' sums of coefficients."""
        return [np.exp((pack.member * coefficients[pack.columns]).sum(axis=1)) for pack in self.packs]

    def by_level(self, totals: Sequence[FloatArray]) -> FloatArray:
        """Turn sums by each pack's codes into sums by level, shape (width, ...)."""
        return np.concatenate([pack.member.T @ total for pack, total in zip(self.packs, totals, strict=True)])

    def by_pair(self, totals: Sequence[FloatArray], pairs: Sequence[FloatArray]) -> FloatArray:
        """
        Turn sums by each pack's codes, and by each pair of packs' codes, into X' diag(weights) X, shape (width, width).

        pairs : of packs (0, 1), (0, 2) ... (1, 2) ..., the later one's codes counting fastest.
        """
        result = np.zeros((self.width, self.width))
        rest = iter(pairs)
        for a, pack in enumerate(self.packs):
            result[pack.columns, pack.columns] = (pack.member.T * totals[a]) @ pack.member
            for other in self.packs[a + 1 :]:
                table = next(rest).reshape(len(pack.member), len(other.member))
                result[pack.columns, other.columns] = pack.member.T @ table @ other.member
                result[other.columns, pack.columns] = result[pack.columns, other.columns].T
        return result

    def empty(self) -> tuple[list[FloatArray], list[FloatArray]]:
        """Give nought by code and by pair of codes, to be added to."""
        sizes = [len(pack.member) for pack in self.packs]
        pairs = [np.zeros(size * other) for a, size in enumerate(sizes) for other in sizes[a + 1 :]]
        return [np.zeros(size) for size in sizes], pairs


def pack_features(codes: Sequence[IntArray], sizes: Sequence[int]) -> tuple[LevelSums, list[IntArray]]:
    """
    Pack features, one next to another as long as few of their combinations are seen.

    codes : one or more features' levels, each of shape (rows,) and any width of integers. Gives the packed codes too.
    """
    members: list[FloatArray] = []
    packed: list[IntArray] = []
    for code, size in zip(codes, sizes, strict=True):
        kept, levels = _renumber(code, size)
        own = np.eye(size)[levels]
        if packed and len(members[-1]) * len(levels) <= MOST_TRIED:
            joined, pairs = _renumber(kept, len(levels), packed[-1], len(members[-1]))
            if len(pairs) <= MOST_CODES:
                members[-1] = np.concatenate([members[-1][pairs // len(levels)], own[pairs % len(levels)]], axis=1)
                packed[-1] = joined
                continue
        members.append(own)
        packed.append(kept)
    ends = np.cumsum([0, *(member.shape[1] for member in members)]).tolist()
    packs = (Pack(slice(low, high), m) for (low, high), m in zip(pairwise(ends), members, strict=True))
    return LevelSums(tuple(packs), sum(sizes)), packed


def blocks_of(n_rows: int) -> list[slice]:
    """Cut rows into blocks."""
    return [slice(low, low + BLOCK_ROWS) for low in range(0, n_rows, BLOCK_ROWS)]


def _renumber(
    code: IntArray, size: int, slower: IntArray | None = None, n_slower: int = 1
) -> tuple[IntArray, IntArray]:
    """Number the codes seen, or the pairs of a slower one and these; give the new codes and what they stand for."""

    def pairs(rows: slice) -> IntArray:
        place = code[rows].astype(np.int64)
        return place if slower is None else slower[rows].astype(np.int64) * size + place

    seen = np.zeros(n_slower * size, dtype=np.bool_)
    for rows in blocks_of(len(code)):
        seen[pairs(rows)] = True
    number = (np.cumsum(seen) - 1).astype(np.uint16 if len(seen) <= MOST_TRIED else np.uint32)
    result = np.empty(len(code), dtype=number.dtype)
    for rows in blocks_of(len(code)):
        result[rows] = number[pairs(rows)]
    return result, np.flatnonzero(seen)
