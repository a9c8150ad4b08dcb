"""Reading what a snapshot holds, in which any number may be null and any key may be missing."""

import math
from collections.abc import Mapping
from datetime import date
from numbers import Real
from typing import Any


def value_at(content: object, *path: str) -> Any:
    """Follow keys into nested content; None where one is missing or null."""
    for key in path:
        content = content.get(key) if isinstance(content, (dict, Mapping)) else None  # a dict is known at once
    return content


def number_at(content: object, *path: str) -> float | None:
    """Read a finite number, a whole one as int; None for anything else (null, NaN, text, true)."""
    value = value_at(content, *path)
    if type(value) is int:
        return value
    # Most are int or float, and asking of Real first would take longer than all the rest.
    if isinstance(value, bool) or not isinstance(value, (int, float, Real)) or not math.isfinite(value):
        return None
    number = float(value)
    return int(number) if number.is_integer() else number


def date_at(content: object, *path: str) -> date | None:
    """Read the day of an ISO date or timestamp."""
    try:
        return date.fromisoformat(str(value_at(content, *path))[:10])
    except ValueError:
        return None
