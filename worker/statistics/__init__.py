"""Estimates on plain arrays: numpy and scipy only; no database, no clock, no hidden randomness."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.integer[Any]]  # codes may be narrow: widen before arithmetic that may leave their range
BoolArray = NDArray[np.bool_]
