"""Estimates on plain arrays: numpy, scipy and scikit-learn only; no database, no clock, no hidden randomness."""

import numpy as np
from numpy.typing import NDArray

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]
BoolArray = NDArray[np.bool_]
