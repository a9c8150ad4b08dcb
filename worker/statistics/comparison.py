"""Two counts compared exactly: how surprising is a change, given all that a change cannot alter?"""

import numpy as np
from scipy.special import betainc, ndtri, xlogy

from worker.statistics import FloatArray, IntArray

LARGEST_EXACT_VARIANCE = 150.0  # of the count, beyond which the deviance is as good: z differs by less than .02
NEGLIGIBLE = 1e-9  # of a sum of probabilities; a p-value's first eight digits are enough
LONGEST_SUM = 1e250  # a tail this far out is a z of 33: no more is asked
LEAST_P = 1e-300
KEPT_TERMS = 8  # terms added between two looks at which sums are done


def share_change_z(k1: IntArray, n1: IntArray, k0: IntArray, n0: IntArray, shift: FloatArray) -> FloatArray:
    """
    Say how many standard errors a share has changed beyond `shift`, by the exact conditional distribution.

    Given k1 + k0 and the sizes, k1 is hypergeometric where the share has not changed (Fisher 1935), and Fisher's
    noncentral hypergeometric where it has changed by `shift`. The mid-p value of its tail (Lancaster 1961) as a
    normal quantile: of size right on average over margins, where Yates' z is far too sure for unequal windows.

    Parameters
    ----------
    k1, n1, k0, n0 : shape (questions,); carriers and leads of the current and of the previous window, 0 < n.
    shift : the change of the share that is no news, in (-1, 1): 0, or everyone's change.

    Returns
    -------
    Shape (questions,), standard normal where the change is `shift`; positive where k1 is high.

    Notes
    -----
    Terms are summed by their ratios outwards from k1 until they no longer count, all questions at once. Where the
    variance is large, the signed root of the deviance takes their place (McCullagh & Nelder 1989).
    """
    n, k = n1 + n0, k1 + k0
    share = k / n
    # the shares of the two windows under the shift, their weighted mean being the share that was seen
    least = 0.5 / (n + 1)
    p1 = np.clip(share + shift * (n0 / n), least, 1 - least)
    p0 = np.clip(share - shift * (n1 / n), least, 1 - least)
    odds = np.where(shift == 0, 1.0, p1 * (1 - p0) / (p0 * (1 - p1)))
    variance = share * (1 - share) * n1 * n0 / n
    large = np.flatnonzero(variance > LARGEST_EXACT_VARIANCE)
    exact = np.flatnonzero(variance <= LARGEST_EXACT_VARIANCE)
    z = np.empty(len(k1))
    z[large] = _deviance_z(k1[large], n1[large], k0[large], n0[large], expected=(p1[large], p0[large]))
    a, b, c, d, r = k1[exact], n1[exact], k0[exact], n0[exact], odds[exact]
    above, below = _sum_outwards(a, b, c, d, r), _sum_outwards(c, d, a, b, 1 / r)
    total = above + below + 1
    z[exact] = _z_of_tails((below + 0.5) / total, (above + 0.5) / total)
    return z


def _sum_outwards(k1: IntArray, n1: IntArray, k0: IntArray, n0: IntArray, odds: FloatArray) -> FloatArray:
    """Sum the probabilities of all tables with more than k1 carriers in the first row, that of k1 being 1."""
    result = np.zeros(len(k1))
    place = np.flatnonzero((k1 < n1) & (k0 > 0))
    # what each next term's ratio is made of: (n1 - k1) k0 / ((k1 + 1) (n0 - k0 + 1)), moving by one a step
    up, left = (n1 - k1)[place].astype(np.float64), k0[place].astype(np.float64)
    down, right = (k1 + 1)[place].astype(np.float64), (n0 - k0 + 1)[place].astype(np.float64)
    factor, term, total = odds[place], np.ones(len(place)), np.zeros(len(place))
    while len(place):
        for _ in range(KEPT_TERMS):
            ratio = up * left / (down * right) * factor
            term = term * ratio  # exactly 0 from the end of the support on, for `up` or `left` then is
            total = total + term
            up, left = np.maximum(up - 1, 0.0), np.maximum(left - 1, 0.0)
            down, right = down + 1, right + 1
        going = (term > NEGLIGIBLE * (total + 1)) & (total < LONGEST_SUM)
        result[place[~going]] = total[~going]
        place, up, left, down, right = place[going], up[going], left[going], down[going], right[going]
        factor, term, total = factor[going], term[going], total[going]
    return result


def _deviance_z(
    k1: IntArray, n1: IntArray, k0: IntArray, n0: IntArray, *, expected: tuple[FloatArray, FloatArray]
) -> FloatArray:
    """Take the signed root of twice the log likelihood ratio of two binomials."""
    p1, p0 = expected
    deviance = np.zeros(len(k1))
    for seen, mean in (
        (k1, n1 * p1),
        (n1 - k1, n1 * (1 - p1)),
        (k0, n0 * p0),
        (n0 - k0, n0 * (1 - p0)),
    ):
        deviance += xlogy(seen, seen / mean)
    z: FloatArray = np.sign(k1 - n1 * p1) * np.sqrt(2 * np.maximum(deviance, 0.0))
    return z


def widened(z: FloatArray, deff: FloatArray, n: IntArray) -> FloatArray:
    """
    Widen the error behind z for leads that come in groups, and lower what lies far out.

    A sum over few groups has longer tails than one over leads. Its excess kurtosis, 3 to 6 times (deff - 1) / n in
    simulated bursts, is taken off by the expansion of Cornish & Fisher (1938); without that, 1.3 times as many z as
    promised lay beyond 3 for bursts of three among 30 leads a window. From y^2 = 1 + 8 / kurtosis on the expansion
    would turn round and call what is further out less surprising; its value there is kept.

    z, deff, n : shape (questions,); deff is how many times as wide as for independent leads the variance is, n the
    number of leads of both windows.
    """
    y = z / np.sqrt(deff)
    kurtosis = 3 * np.maximum(deff - 1, 0.0) / n
    peak = np.sqrt(np.maximum(1 + 8 / np.maximum(kurtosis, 1e-300), 3.0))  # below y^2 = 3 nothing is taken off
    y = np.clip(y, -peak, peak)
    lowered: FloatArray = y * (1 - kurtosis * np.maximum(y**2 - 3, 0.0) / 24)
    return lowered


def count_change_z(x1: IntArray, x0: IntArray, ratio: FloatArray) -> FloatArray:
    """
    Say how many standard errors the ratio of two Poisson counts is away from `ratio`, by its exact distribution.

    Given x1 + x0, x1 is binomial with chance ratio / (1 + ratio) (Przyborowski & Wilenski 1940); mid-p as above.
    Shape (questions,) all; to be divided by the root of the dispersion where counts vary more than Poisson ones.
    """
    chance = ratio / (1 + ratio)
    high, higher = _at_least(x1, x0, chance), _at_least(x1 + 1, x0 - 1, chance)
    low, lower = _at_least(x0, x1, 1 - chance), _at_least(x0 + 1, x1 - 1, 1 - chance)
    return _z_of_tails((low + lower) / 2, (high + higher) / 2)


def _at_least(x: IntArray, rest: IntArray, chance: FloatArray) -> FloatArray:
    """Give P(X >= x) for X binomial of x + rest trials, by the incomplete beta function; 0 where rest is negative."""
    inside = betainc(np.maximum(x, 1), np.maximum(rest, 0) + 1, chance)
    probability: FloatArray = np.where(x <= 0, 1.0, np.where(rest < 0, 0.0, inside))
    return probability


def _z_of_tails(below: FloatArray, above: FloatArray) -> FloatArray:
    """Turn both tails into a normal quantile, each side from the smaller tail: 1 - p would lose its digits."""
    small = ndtri(np.clip(np.minimum(below, above), LEAST_P, 0.5))
    z: FloatArray = np.where(below < above, small, -small)
    return z


def attainable_surprise(carrying: IntArray, n1: IntArray, n0: IntArray, deff: FloatArray) -> FloatArray:
    """
    Say how small a p-value these margins allow at all, as its negative natural logarithm, whatever was seen.

    All carriers (or all others, where they are fewer) in the smaller window: at most (smaller / n)^carriers, for
    effective counts. What cannot become small need not be asked nor counted (Tarone 1990).
    """
    n = n1 + n0
    fewer = np.minimum(carrying, n - carrying) / deff
    surprise: FloatArray = fewer * np.log(n / np.maximum(np.minimum(n1, n0), 0.5))
    return surprise
