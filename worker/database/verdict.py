"""What is said of one thing that was looked at in a database: how it is, and what to do where it is not well."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

from worker.errors import DatabaseShapeError

MIGRATE = "Run `python -m worker.run migrate` as the owner of the tables."

Status = Literal["ok", "warning", "failure"]


@dataclass(frozen=True, slots=True)
class Inspection:
    """One thing looked at: how it is, in a sentence, and what to do where it is not well."""

    name: str
    status: Status
    message: str
    fix: str = ""


def well(name: str, message: str) -> Inspection:
    """Say that it was looked at and is as it should be."""
    return Inspection(name, "ok", message)


def warning(name: str, message: str, fix: str = "") -> Inspection:
    """Say what works less well than it could, or with more rights than it needs."""
    return Inspection(name, "warning", message, fix)


def failure(name: str, message: str, fix: str) -> Inspection:
    """Say what keeps the worker from working."""
    return Inspection(name, "failure", message, fix)


def stop_at_failures(found: Iterable[Inspection]) -> None:
    """Raise DatabaseShapeError with every failure among them, each a sentence with its fix; else do nothing."""
    told = [f"{item.message} {item.fix}".strip() for item in found if item.status == "failure"]
    if told:
        raise DatabaseShapeError(told)
