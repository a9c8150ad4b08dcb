"""Leads under observation as the fit of a hazard goes through them: in blocks of rows, of which only sums are kept."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from worker.statistics import FloatArray, IntArray
from worker.statistics.hazard import N_BINS, AgeSpans, Exposure, days_of, mask_exposure
from worker.statistics.level_sums import LevelSums, blocks_of, pack_features


@dataclass(frozen=True, slots=True)
class Block:
    """Some rows."""

    codes: tuple[IntArray, ...]  # of each pack of features
    client: IntArray
    spans: AgeSpans

    def factor(self, factors: Sequence[FloatArray], own: FloatArray | None = None) -> FloatArray:
        """Multiply what the packs of features, and the client's own level, do to each row's hazard."""
        result = factors[0][self.codes[0]]
        for table, codes in zip(factors[1:], self.codes[1:], strict=True):
            result *= table[codes]
        if own is not None:
            result *= own[self.client]
        return result


@dataclass(frozen=True, slots=True)
class Rows:
    """All rows. What is given or taken by block are arrays of the rows' length, one for each block in turn."""

    levels: LevelSums
    blocks: tuple[Block, ...]
    n_clients: int

    @classmethod
    def of(cls, exposure: Exposure, sizes: Sequence[int]) -> "Rows":
        """Pack an exposure's periods and features, which have so many levels, and cut it into blocks."""
        columns = [exposure.period, *np.asfortranarray(exposure.features).T]
        levels, packed = pack_features(columns, sizes)
        blocks = (
            Block(
                tuple(codes[rows] for codes in packed),
                exposure.client[rows],
                AgeSpans.of(mask_exposure(exposure, rows)),
            )
            for rows in blocks_of(len(exposure.client))
        )
        return cls(levels, tuple(blocks), int(exposure.client.max(initial=-1)) + 1)

    def factors(self, effects: FloatArray, own: FloatArray | None = None) -> list[FloatArray]:
        """Say by block what multiplies each row's hazard of its age."""
        tables = self.levels.factors(effects)
        return [block.factor(tables, own) for block in self.blocks]

    def expected(self, hazard: FloatArray, factors: Iterable[FloatArray]) -> Iterator[FloatArray]:
        """Say by block how many conversions a hazard by age bin lets expect of each row."""
        for block, factor in zip(self.blocks, factors, strict=True):
            # a difference of sums: of hardly any time under observation rounding may leave less than nothing
            yield np.maximum(block.spans.integrate(hazard), 0.0) * factor

    def sum_by_level(self, weights: Iterable[FloatArray]) -> FloatArray:
        """Sum the rows' weights by level."""
        totals, _ = self.levels.empty()
        for block, weight in zip(self.blocks, weights, strict=True):
            for total, codes in zip(totals, block.codes, strict=True):
                np.add(total, np.bincount(codes, weight, minlength=len(total)), out=total)
        return self.levels.by_level(totals)

    def sum_by_client(self, weights: Iterable[FloatArray]) -> FloatArray:
        """Sum the rows' weights by client."""
        result = np.zeros(self.n_clients)
        for block, weight in zip(self.blocks, weights, strict=True):
            result += np.bincount(block.client, weight, minlength=self.n_clients)
        return result

    def days_by_bin(self, weights: Iterable[FloatArray] | None = None) -> FloatArray:
        """Sum the rows' days by age bin, weighted or not."""
        ends = np.zeros((4, N_BINS))
        for block, weight in zip(self.blocks, self.ones() if weights is None else weights, strict=True):
            ends += block.spans.ends(weight)
        return days_of(ends)[:, 0]

    def days_by_level(self, factors: Iterable[FloatArray]) -> FloatArray:
        """Sum the rows' weighted days by level and age bin, shape (width, bins)."""
        totals = [np.zeros((4, N_BINS * len(pack.member))) for pack in self.levels.packs]
        for block, factor in zip(self.blocks, factors, strict=True):
            for total, codes, pack in zip(totals, block.codes, self.levels.packs, strict=True):
                np.add(total, block.spans.ends(factor, codes, len(pack.member)), out=total)
        return self.levels.by_level([days_of(total).T for total in totals])

    def information(self, weights: Iterable[FloatArray]) -> FloatArray:
        """Sum the rows' weights by pairs of levels."""
        totals, pairs = self.levels.empty()
        for block, weight in zip(self.blocks, weights, strict=True):
            rest = iter(pairs)
            for a, slower in enumerate(block.codes):
                totals[a] += np.bincount(slower, weight, minlength=len(totals[a]))
                for b in range(a + 1, len(block.codes)):
                    place = slower.astype(np.int64) * len(totals[b]) + block.codes[b]
                    pair = next(rest)
                    pair += np.bincount(place, weight, minlength=len(pair))
        return self.levels.by_pair(totals, pairs)

    def conversions(self) -> tuple[FloatArray, FloatArray, FloatArray]:
        """Count the conversions by age bin, by level and by client."""
        converted = [block.spans.converted.astype(np.float64) for block in self.blocks]
        by_bin = sum((block.spans.conversions() for block in self.blocks), np.zeros(N_BINS))
        return by_bin, self.sum_by_level(converted), self.sum_by_client(converted)

    def ones(self) -> Iterator[FloatArray]:
        """Give every row the weight 1."""
        return (np.ones(len(block.client)) for block in self.blocks)
