"""JSON in one spelling: what goes into a jsonb column, and what a digest is made of."""

import json
from typing import Any


def plain_json(value: Any) -> str:
    """Write JSON in one spelling, keys sorted; raises ValueError for NaN or infinity, which jsonb cannot hold."""
    return json.dumps(value, allow_nan=False, sort_keys=True, separators=(",", ":"), ensure_ascii=False)


def ensure_finite(value: Any) -> None:
    """Raise ValueError for NaN or infinity among the floats in lists and dicts, of which orjson makes null."""
    for part in value.values() if isinstance(value, dict) else value:
        if isinstance(part, float):
            if part - part != 0.0:
                raise ValueError(f"{part} is no JSON")
        elif isinstance(part, dict | list | tuple):
            ensure_finite(part)
