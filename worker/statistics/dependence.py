"""How much leads resemble their neighbours in time, and how much wider that makes every error bar."""

import numpy as np

from worker.statistics import FloatArray, IntArray

LAGS = 10  # neighbours looked at on either side; bursts are a few leads long, double submissions two
LEAST_IN_CELL = 4  # leads; the mean of fewer takes nearly all of the resemblance with it
PRIOR_PAIRS = 200.0  # pairs of unrelated neighbours that the answer leans on: few leads cannot tell bursts from chance
SHORTEST_RUN = 12  # leads of a cell that are looked at together, at least
ROUNDS = 5  # of the correction for the estimated mean; it moves less than .001 after three


def estimate_serial_correlation(values: FloatArray, cell: IntArray) -> FloatArray:
    """
    Estimate how alike a lead is to the one 1, 2, ... LAGS places later, pooled over all cells.

    Leads of one burst, or one lead sent twice, come one after the other; so their likeness shows between neighbours
    in time, whoever and whatever caused it. Lags are counted up to the first that is not positive (initial positive
    sequence, Geyer 1992), for noise at long lags must not widen anything.

    Each lead counts, also the last ones of a cell, which have none so many places later and are alike to nobody there:
    a cell holds whole bursts, however few leads it has, and a burst has as many neighbours in a small one.

    Parameters
    ----------
    values : shape (leads, parts), finite, in order of arrival within each cell; a category is one column a level.
    cell : shape (leads,), sorted: leads whose mean is estimated together (a client's window).

    Returns
    -------
    Shape (LAGS,), correlations in [0, 1), an average over all leads.

    Notes
    -----
    Deviations from a cell's own mean are alike by -deff/n even where leads are not; that is added back, with the
    design effect that the answer itself implies, in a few rounds.
    """
    correlation = np.zeros(LAGS)
    if len(cell) < 2:
        return correlation
    start = np.flatnonzero(np.append(True, np.diff(cell) != 0))
    n = np.diff(start, append=len(cell))
    size = n.astype(np.float64)
    mean = np.add.reduceat(values, start, axis=0) / size[:, None]
    index = np.repeat(np.arange(len(n)), n)
    deviation = values - mean[index]
    squares = np.add.reduceat((deviation**2).sum(axis=1), start)
    used = n >= LEAST_IN_CELL
    products, pairs = np.zeros((LAGS, len(n))), np.zeros((LAGS, len(n)))
    for lag in range(1, LAGS + 1):
        product = np.einsum("ij,ij->i", deviation[lag:], deviation[:-lag])
        product[index[lag:] != index[:-lag]] = 0.0
        products[lag - 1] = np.bincount(index[lag:], weights=product, minlength=len(n))
        pairs[lag - 1] = np.maximum(n - lag, 0)
    products, pairs, size, squares = products[:, used], pairs[:, used], size[used], squares[used]
    if squares.sum() <= 0:
        return correlation
    # the pool's pairs count as many times as they vary, so the prior's do too
    typical = float(squares.sum() / np.maximum(size - 1, 1).sum())
    for _ in range(ROUNDS):
        deff = np.minimum(design_effect(size, correlation), size - 1)
        variance = squares / (size - deff)
        covariance = (products + pairs * (variance * deff / size)).sum(axis=1)
        scale = float((size * variance).sum()) + PRIOR_PAIRS * typical
        raw = covariance / scale
        ended = np.flatnonzero(raw <= 0)
        correlation = np.clip(raw, 0.0, 0.99)
        if len(ended):
            correlation[ended[0] :] = 0.0
    return correlation


def sample_of_neighbours(cell: IntArray, most: int) -> IntArray:
    """
    Pick about `most` leads from which to learn likeness, as places in cell (sorted, leads in order of arrival).

    The first so many of every cell, whoever is large: no single client decides, and none is passed over. Where even
    short runs of all cells would be too many, an even share of the cells.
    """
    _, start, n = np.unique(cell, return_index=True, return_counts=True)
    if len(cell) <= most:
        return np.arange(len(cell))
    shortest, longest = SHORTEST_RUN, int(n.max())
    while shortest < longest:  # the longest run that all cells may have
        middle = (shortest + longest + 1) // 2
        shortest, longest = (middle, longest) if np.minimum(n, middle).sum() <= most else (shortest, middle - 1)
    every = max(1, int(np.minimum(n, shortest).sum()) // most)
    rank = np.arange(len(cell)) - np.repeat(start, n)
    kept = np.repeat(np.arange(len(n)) % every == 0, n)
    return np.flatnonzero(kept & (rank < shortest))


def design_effect(n: FloatArray | IntArray, correlation: FloatArray) -> FloatArray:
    """
    Give the factor by which neighbours' likeness raises the variance of a mean of n leads in a row (Kish 1965).

    1 + 2 sum_j rho_j over the lags j < n, rho_j being the average over all leads of estimate_serial_correlation; at
    most n. n / factor independent leads would say as much. Right for whole bursts, which (1 - j/n) rho_j, as of a row
    cut out of an endless one, would take for too independent where n is small.
    """
    size = np.maximum(np.asarray(n, dtype=np.float64), 1.0)
    lags = np.arange(1, len(correlation) + 1)
    effect: FloatArray = 1 + 2 * np.where(lags < size[..., None], correlation, 0.0).sum(axis=-1)
    return np.minimum(effect, size)


def half_design_effect(effect: FloatArray) -> FloatArray:
    """Give the design effect of a random half of the leads: each pair of neighbours is in it half as often."""
    half: FloatArray = 1 + (effect - 1) / 2
    return half


def whole_design_effect(effect: FloatArray) -> FloatArray:
    """Give the design effect of all leads where that of a random half is known: the half keeps half of the pairs."""
    whole: FloatArray = 1 + 2 * (effect - 1)
    return whole
