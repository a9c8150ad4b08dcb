"""One thread for linear algebra: how many there are decides the order of sums, and with it the last bits of a fit."""

import os
import sys

# OpenBLAS is in the wheels of numpy and scipy; the others where somebody built these with them.
THREADS_OF = ("OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "BLIS_NUM_THREADS", "VECLIB_MAXIMUM_THREADS")


def calculate_on_one_thread() -> None:
    """Have the libraries that are loaded, and those that will be, use one thread, whatever the environment says."""
    for name in THREADS_OF:
        os.environ[name] = "1"  # read by a library when it is loaded
    if "numpy" in sys.modules:  # it came before us, as it may on a Dask worker
        from threadpoolctl import threadpool_limits  # noqa: PLC0415 - seldom needed

        threadpool_limits(1, "blas")
