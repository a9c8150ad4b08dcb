"""Random numbers that a job and an instant decide: never a shard, a worker or a process."""

import hashlib
from datetime import UTC, datetime

import numpy as np


def generator(job: str, as_of: datetime) -> np.random.Generator:
    """Seed by job and as_of alone: the same data give the same figures."""
    digest = hashlib.sha256(f"{job}|{as_of.astimezone(UTC).isoformat()}".encode()).digest()
    return np.random.default_rng(int.from_bytes(digest[:8], "big"))
