"""Linear algebra runs on one thread, whoever loaded it and whatever the environment asks for."""

import json
import os
import subprocess
import sys

import pytest

ASK = "import json, numpy, scipy.linalg, threadpoolctl; print(json.dumps(threadpoolctl.threadpool_info()))"


@pytest.mark.parametrize("first", ["import worker", "import numpy, worker"])
def test_one_thread(first):
    asked = {**os.environ, "OPENBLAS_NUM_THREADS": "2", "OMP_NUM_THREADS": "2"}
    found = subprocess.run([sys.executable, "-c", f"{first}; {ASK}"], env=asked, capture_output=True, check=True)
    libraries = [library for library in json.loads(found.stdout) if library["user_api"] == "blas"]
    assert libraries
    assert {library["num_threads"] for library in libraries} == {1}
