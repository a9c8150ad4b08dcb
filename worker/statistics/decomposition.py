"""What a Brier score is made of: how uncertain the matter is, how far one sees into it, and how far one errs."""

from dataclasses import dataclass

import numpy as np

from worker.statistics import BoolArray, FloatArray


@dataclass(frozen=True, slots=True)
class Decomposition:
    """The Brier score is miscalibration - discrimination + uncertainty; NaN each where there was nothing to score."""

    miscalibration: float  # what the best monotone correction of the probabilities would save
    discrimination: float  # what the corrected probabilities know beyond the base rate
    uncertainty: float  # the score of the base rate, the same for whoever predicts


def decompose_brier(probability: FloatArray, happened: BoolArray) -> Decomposition:
    """
    Split the mean squared error of probabilities, shape (n,), by isotonic regression of what happened on them.

    No bins are chosen: this is the CORP decomposition. With few conversions some miscalibration is found by luck alone.

    References
    ----------
    Dimitriadis, Gneiting & Jordan (2021), Proc. Natl. Acad. Sci. 118, e2016191118.
    """
    if len(probability) == 0:
        return Decomposition(float("nan"), float("nan"), float("nan"))
    from sklearn.isotonic import IsotonicRegression  # noqa: PLC0415 - a second of import, for whoever looks back

    outcome = happened.astype(np.float64)
    corrected = IsotonicRegression(y_min=0, y_max=1).fit_transform(probability, outcome)
    said, best, rate = (float(np.mean((p - outcome) ** 2)) for p in (probability, corrected, outcome.mean()))
    return Decomposition(said - best, rate - best, rate)
