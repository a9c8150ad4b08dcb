"""JSON in one spelling: what goes into a jsonb column, and what a digest is made of."""

import json
from typing import Any


def plain_json(value: Any) -> str:
    """Write JSON in one spelling, keys sorted; raises ValueError for NaN or infinity, which jsonb cannot hold."""
    return json.dumps(value, allow_nan=False, sort_keys=True, separators=(",", ":"), ensure_ascii=False)


def ensure_finite(value: Any) -> None:
    """Raise ValueError for NaN or infinity among the floats of plain lists and dicts, of which orjson makes null."""
    parts = value.values() if type(value) is dict else value
    for part in parts:
        kind = type(part)
        if kind is float:
            if part - part != 0.0:
                raise ValueError(f"{part} is no JSON")
        elif kind is dict or kind is list:
            ensure_finite(part)
