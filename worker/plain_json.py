"""JSON in one spelling: what goes into a jsonb column, and what a digest is made of."""

import json
from typing import Any


def plain_json(value: Any) -> str:
    """Write JSON in one spelling, keys sorted; raises ValueError for NaN or infinity, which jsonb cannot hold."""
    return json.dumps(value, allow_nan=False, sort_keys=True, separators=(",", ":"), ensure_ascii=False)


def ensure_finite(value: Any) -> None:
    """Raise ValueError for NaN or infinity among the floats in lists and dicts, of which orjson makes null."""
    left = [value]
    for held in left:  # which grows meanwhile
        for part in held.values() if isinstance(held, dict) else held:
            kind = type(part)  # compared first: nearly all are of these, and there are very many
            if kind is str or kind is int or part is None:
                continue
            if isinstance(part, float):
                if part - part != 0.0:
                    raise ValueError(f"{part} is no JSON")
            elif isinstance(part, dict | list | tuple):
                left.append(part)
