"""
What a review teaches conversion_prediction: how to state its probabilities from now on.

Recalibration: a logistic map (worker/statistics/recalibration.py) is always fitted on the probabilities as they were
before any map. It is published only where maps of earlier windows improved later ones; otherwise the old one stays,
until it has itself made later claims worse. Silence: where probabilities, as they would be stated with or without that
map, did worse than the base rate in two windows running, by more than a standard error each, the base rate is stated
instead, until they do better than it again.
"""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import numpy as np

from worker.jobs.windows import number
from worker.leads import from_microseconds, to_microseconds
from worker.review.resolved import CONVERSION, Resolved
from worker.statistics import BoolArray, FloatArray, IntArray
from worker.statistics.recalibration import (
    LogisticMap,
    Trial,
    WindowSkill,
    compare,
    fit_map,
    map_as_json,
    map_from_json,
    skill_by_window,
    trial,
)

LEAST_IN_WINDOW = 100  # claims; the skill of fewer says nothing
LEAST_Z = 1.0  # standard errors: of probabilities as good as the base rate, one in forty is silenced by luck
OF_A_MAP = ("a", "b", "client_deviation", "clients", "claims", "fitted")


@dataclass(frozen=True, slots=True)
class Stated:
    """The pool's decided claims of conversions, by the worker's own probability; shape (claims,)."""

    raw: FloatArray
    right: BoolArray
    client: IntArray
    time: IntArray

    @classmethod
    def of(cls, past: Resolved) -> "Stated":
        """Pick them out."""
        rows = past.pooled & past.decided & (past.kind == CONVERSION)
        return cls(past.uncalibrated[rows], past.right[rows], past.client[rows], past.time[rows])

    def since(self, instant: int) -> "Stated":
        """Keep the claims made at or after an instant."""
        rows = self.time >= instant
        return Stated(*(getattr(self, name)[rows] for name in Stated.__slots__))

    def __len__(self) -> int:
        return len(self.raw)


def learn(past: Resolved) -> tuple[Mapping[str, Any] | None, dict[str, Any]]:
    """
    Decide on a map and on silence.

    Returns
    -------
    What conversion_prediction is to follow, as apply_map takes it, with its version; None where its probabilities are
    to be stated as they are. And the evidence.
    """
    stated, old = Stated.of(past), past.recalibration
    tried, mapped = trial(stated.raw, stated.right, stated.client, stated.time, len(past.client_ids))
    would = stated.raw  # what would have been stated of these claims, as is decided now
    kept: dict[str, Any] | None = None
    decision = "none"
    if tried.passed:
        decision, kept = "published", _fitted(past, stated)
        would = np.where(np.isfinite(mapped), mapped, stated.raw)
    elif old is not None and old.get("fitted") is not None:
        if _on_later_claims(old, past, stated).failed:
            decision = "retired"
        else:
            decision, kept = "kept", {name: old[name] for name in OF_A_MAP}
            would = map_from_json(old, past.client_ids).apply(stated.raw, stated.client)
    skills = skill_by_window(would, stated.right, stated.time)
    was_silent = old is not None and old.get("base_rate") is not None
    base_rate = (stated.right.sum() + 0.5) / (len(stated) + 1) if silent(skills, was_silent=was_silent) else None
    evidence = {"trial": tried.as_json(), "decision": decision, "skill_by_window": _skills_json(skills)}
    if kept is None:
        if base_rate is None:
            return None, evidence
        identity = LogisticMap(0.0, 1.0, np.zeros(len(past.client_ids)), 0.0)
        kept = {**map_as_json(identity, past.client_ids), "claims": 0, "fitted": None}
    kept["base_rate"] = None if base_rate is None else float(base_rate)
    return {**kept, "version": _version(kept)}, evidence


def _fitted(past: Resolved, stated: Stated) -> dict[str, Any]:
    found = fit_map(stated.raw, stated.right, stated.client, len(past.client_ids))
    fitted = past.as_of.astimezone(UTC).isoformat()
    return {**map_as_json(found, past.client_ids), "claims": len(stated), "fitted": fitted}


def _on_later_claims(old: Mapping[str, Any], past: Resolved, stated: Stated) -> Trial:
    """Score the map in force by the claims made since it was fitted."""
    later = stated.since(to_microseconds(datetime.fromisoformat(str(old["fitted"]))))
    mapped = map_from_json(old, past.client_ids).apply(later.raw, later.client)
    return compare(later.raw, mapped, later.right, later.client, len(np.unique(later.time)))


def silent(skills: WindowSkill, *, was_silent: bool) -> bool:
    """Say whether the base rate is to be stated."""
    enough = skills.claims >= LEAST_IN_WINDOW
    if was_silent:
        return len(enough) > 0 and not bool(enough[-1] and skills.skill[-1] > 0)
    return len(enough) > 1 and bool(enough[-2:].all() and (skills.z[-2:] > LEAST_Z).all())


def _skills_json(skills: WindowSkill) -> list[dict[str, Any]]:
    columns = (skills.window.tolist(), skills.claims.tolist(), skills.skill.tolist(), skills.z.tolist())
    return [
        {"as_of": from_microseconds(window).isoformat(), "claims": n, "skill": number(skill), "z": number(z)}
        for window, n, skill, z in zip(*columns, strict=True)
    ]


def _version(kept: Mapping[str, Any]) -> str:
    text = json.dumps(dict(kept), sort_keys=True, allow_nan=False)
    return f"recalibration-{hashlib.sha256(text.encode()).hexdigest()[:16]}"
