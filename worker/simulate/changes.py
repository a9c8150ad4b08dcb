"""How clients change between two windows, how large their windows are, and in which class a change falls."""

from typing import Literal, get_args

import numpy as np

from worker.statistics import BoolArray, FloatArray, IntArray

ChangeKind = Literal[
    "still", "mostly_still", "small", "sparse", "shifted", "heavy_tails", "common_shock", "bursts", "duplicates"
]
Sizes = Literal["pareto", "large"]
Trend = Literal["increasing", "stable", "decreasing"]

CHANGE_KINDS: tuple[ChangeKind, ...] = get_args(ChangeKind)
WINDOW_DAYS = 30
SHARE_DEAD_BAND = 0.05  # of the High share, as urgency_trend claims it
SCORE_DEAD_BAND = 3.0  # points of the engagement score
LARGE_WINDOW = 100  # leads a window of every client in the all-large worlds
BASE_HIGH_SHARE = (3.0, 6.0)  # Beta parameters: mean one third, most clients between 15% and 55%


def change_class(change: FloatArray, dead_band: float) -> IntArray:
    """Say -1, 0 or 1: the direction of a change whose size exceeds the dead band (a change equal to it is 0)."""
    # The tolerance keeps .30 -> .35, which floats put a hair above .05, inside the band.
    return np.where(np.abs(change) > dead_band + 1e-9, np.sign(change), 0).astype(np.int64)


def trend_word(change: float, dead_band: float) -> Trend:
    """Name the class of one change as the snapshots do."""
    words: dict[int, Trend] = {-1: "decreasing", 0: "stable", 1: "increasing"}
    return words[int(change_class(np.asarray(change, dtype=np.float64), dead_band))]


def draw_changes(kind: ChangeKind, n_clients: int, rng: np.random.Generator) -> FloatArray:
    """
    Draw each client's true change of a share (0.10 is ten points), before shares are kept within [0, 1].

    bursts and duplicates differ in how leads come, not in how clients change: there the change is that of mostly_still.
    """
    match kind:
        case "still":
            return np.zeros(n_clients)
        case "mostly_still" | "bursts" | "duplicates":
            return np.where(rng.random(n_clients) < 0.6, 0.0, rng.normal(0.0, 0.12, n_clients))
        case "small":
            return rng.normal(0.0, 0.05, n_clients)
        case "sparse":
            jump = rng.choice([-0.25, 0.25], n_clients)
            return np.where(rng.random(n_clients) < 0.8, rng.normal(0.0, 0.01, n_clients), jump)
        case "shifted":
            return rng.normal(0.08, 0.05, n_clients)
        case "heavy_tails":
            return np.asarray(0.04 * rng.standard_t(2.5, n_clients), dtype=np.float64)
        case "common_shock":
            return rng.normal(0.0, 0.10) + rng.normal(0.0, 0.03, n_clients)
    raise ValueError(f"unknown kind {kind!r}; known are {', '.join(CHANGE_KINDS)}")


def draw_window_sizes(sizes: Sizes, n_clients: int, rng: np.random.Generator, *, windows: int = 2) -> IntArray:
    """Draw leads per window and client, oldest first, shape (windows, n_clients): any may be 0, the last is not."""
    if windows < 2:
        raise ValueError(f"a change needs two windows or more, not {windows}")
    if sizes == "large":
        return np.full((windows, n_clients), LARGE_WINDOW, dtype=np.int64)
    if sizes != "pareto":
        raise ValueError(f"sizes must be 'pareto' or 'large', not {sizes!r}")
    # Shape 1.2 from 6 leads on: the median client has 11 leads a window, one in seven more than 30.
    expected = np.minimum(6.0 * (1.0 + rng.pareto(1.2, n_clients)), 2000.0)
    n = rng.poisson(expected, (windows, n_clients))
    n[-1] = np.maximum(n[-1], 1)
    return n


def draw_true_shares(
    kind: ChangeKind,
    n_clients: int,
    rng: np.random.Generator,
    *,
    base: tuple[float, float] = BASE_HIGH_SHARE,
    windows: int = 2,
) -> tuple[FloatArray, BoolArray]:
    """Draw the clients' true shares in each window, as `walk_back` does from Beta distributed ones."""
    return walk_back(kind, rng.beta(*base, n_clients), rng, windows=windows)


def walk_back(
    kind: ChangeKind,
    previous: FloatArray,
    rng: np.random.Generator,
    *,
    windows: int = 2,
    scale: float = 1.0,
    bounds: tuple[float, float] = (0.0, 1.0),
) -> tuple[FloatArray, BoolArray]:
    """
    Draw a level for each window around that of the last window but one, changes being of one kind in every period.

    The last change is added to the level given and kept within bounds. Earlier ones are drawn anew for each period and
    taken off, going back in time, so that the last two windows are alike however many lie before them. A client whose
    level would have come from out of bounds (nothing rises by eight points for ever) had begun only then: cutting
    the level off instead would fill the past with clients that stand still at the bound.

    Parameters
    ----------
    previous : shape (clients,), the level in the last window but one, within bounds.
    scale : the unit of the level, as a multiple of the unit of `draw_changes`.

    Returns
    -------
    Levels and whether the client was there yet, both of shape (windows, clients), oldest first; all were there in the
    last two windows. Before its first window a client keeps that window's level.
    """
    if windows < 2:
        raise ValueError(f"a change needs two windows or more, not {windows}")
    n_clients = len(previous)
    levels = [np.clip(previous + scale * draw_changes(kind, n_clients, rng), *bounds), previous]
    there = [np.ones(n_clients, dtype=np.bool_)] * 2
    for _ in range(windows - 2):
        before = levels[-1] - scale * draw_changes(kind, n_clients, rng)
        there.append(there[-1] & (before >= bounds[0]) & (before <= bounds[1]))
        levels.append(np.where(there[-1], before, levels[-1]))
    return np.stack(levels[::-1]), np.stack(there[::-1])


def move_share(shares: FloatArray, level: IntArray, change: FloatArray) -> FloatArray:
    """Add change to one level of each row, kept within [0, 1], and scale the row's other levels to sum to 1."""
    rows = np.arange(len(shares))
    old = shares[rows, level]
    new = np.clip(old + change, 0.0, 1.0)
    with np.errstate(invalid="ignore", divide="ignore"):
        scale = np.where(old < 1.0, (1.0 - new) / (1.0 - old), 0.0)
    moved = shares * scale[:, None]
    moved[rows, level] = new
    return np.asarray(moved / moved.sum(axis=1, keepdims=True))
