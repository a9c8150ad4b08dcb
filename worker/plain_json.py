"""JSON in one spelling: what goes into a jsonb column, and what a digest is made of."""

import json
from typing import Any


def plain_json(value: Any) -> str:
    """Write JSON in one spelling, keys sorted; raises ValueError for NaN or infinity, which jsonb cannot hold."""
    return json.dumps(value, allow_nan=False, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
