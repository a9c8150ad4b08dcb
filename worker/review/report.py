"""What the command `accuracy` shows of a review: past predictions beside what came, the good and the bad."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

import numpy as np

from worker.jobs.windows import number
from worker.leads import DAY, from_microseconds
from worker.review.figures import OVERALL, Totals, as_json, skill, windows_json
from worker.review.resolved import PENDING, REVIEW, SCORED, TYPES, Resolved
from worker.review.resolvers import MATURES
from worker.review.verdict import in_short
from worker.statistics import BoolArray
from worker.statistics.calibration import Reliability, reliability

WHAT = (
    "What was said, and what came of it: of what was said at 0.8, eight in ten should\n"
    "be right. Nothing is judged before its time. Brier: the mean squared error, 0 is\n"
    "best; skill: the share of it that is saved over always saying the base rate."
)
CHECKED = (
    "* The rates these speak of are never seen: checked is whether half of the leads\n"
    "  showed what the other half let expect."
)
STATES = ("pending", "void", "wrong", "right")
WINDOWS_HEADER = "as of       claims expected  actual   said  right  in 80% interval"
JOBS_HEADER = f"{'':<22} resolved pending   void   said  right  Brier  skill"
CLAIMS_HEADER = f"as of      {'':<22}  said  what came"


@dataclass(frozen=True, slots=True)
class Review:
    """A review of some clients' claims, or of the pool's, made on the spot."""

    past: Resolved
    chosen: BoolArray  # (claims,) those looked at
    client_ids: tuple[str, ...]  # empty: all pooled clients
    model: Mapping[str, Any]  # what the review learns

    def as_json(self) -> dict[str, Any]:
        """Give the document that `accuracy --json` prints; keys are only ever added."""
        due = self._next_due()
        document = {
            "kind": "accuracy",
            "as_of": self.past.as_of.isoformat(),
            "clients": list(self.client_ids) or None,
            **as_json(Totals.of(self.past, np.where(self.chosen, 0, -1), 1), 0, self._tables()),
            "windows": windows_json(self.past, self.chosen),
            "next_due": None if due is None else due.isoformat(),
            "recalibration": self.model["recalibration"],
            "evidence": self.model["evidence"],
        }
        if self.client_ids:
            document["claims"] = [claim_json(self.past, row) for row in self._one_by_one()]
        return document

    def _tables(self) -> dict[int, Reliability]:
        """Compare said and right by type; of a single client, whose claims are all of one cluster, as independent."""
        decided = self.chosen & self.past.decided
        result = {}
        for kind in (*np.unique(self.past.kind[decided]).tolist(), *([OVERALL] if decided.any() else [])):
            rows = decided & (self.past.kind == kind) if kind != OVERALL else decided
            cluster = None if len(self.client_ids) == 1 else self.past.client[rows]
            table = reliability(self.past.said[rows], self.past.right[rows], cluster=cluster)
            # the same skill as in the line of the job
            result[kind] = replace(
                table, skill=skill(self.past.said[rows], self.past.right[rows], self.past.base[rows])
            )
        return result

    def _next_due(self) -> datetime | None:
        """Tell when the next pending claim can be decided."""
        rows = np.flatnonzero(self.chosen & (self.past.state == PENDING)).tolist()
        days = {row: MATURES[TYPES[int(self.past.kind[row])]] for row in rows}
        return min((from_microseconds(int(self.past.time[row]) + days[row] * DAY) for row in rows), default=None)

    def _one_by_one(self) -> list[int]:
        """Order the claims: newest first, then as they are told."""
        rows = np.flatnonzero(self.chosen)
        order = np.lexsort((self.past.client[rows], self.past.kind[rows], -self.past.time[rows]))
        chosen: list[int] = rows[order].tolist()
        return chosen

    def __str__(self) -> str:
        """Write everything for a terminal of 80 columns."""
        if not self.chosen.any():
            return "Nothing was said before that instant that could be looked at: run the jobs first."
        figures = self.as_json()
        parts = [WHAT]
        if not figures["overall"]["resolved"]:
            due = self._next_due()
            parts.append("Nothing can be compared yet.")
            if due is not None:
                parts[-1] += f"\nFrom {due.astimezone(self.past.as_of.tzinfo):%Y-%m-%d} on there will be something."
        if figures["windows"]:
            parts.append(self.windows_table())
        tables = {TYPES[kind]: table for kind, table in self._tables().items() if kind != OVERALL}
        lines = [_job_line(kind, each) for kind, each in figures["jobs"].items()]
        parts.append("\n".join([JOBS_HEADER, *lines, CHECKED]))
        rows = self._one_by_one()
        for client_id in self.client_ids:
            mine = [self._claim_line(row) for row in rows if self.past.claims[row].client_id == client_id]
            parts.append("\n".join([f"{client_id}:", CLAIMS_HEADER, *mine]))
        if not self.client_ids:
            parts += [f"{kind}:\n{table}" for kind, table in tables.items()]
        parts.append(_learned(self.model))
        if tables:
            parts.append(in_short(tables))
        return "\n\n".join(parts)

    def windows_table(self) -> str:
        """Write expected beside actual conversions, a line for each window, newest first."""
        head = "Conversions within 30 days of the leads then open, counts of all clients summed:"
        if self.client_ids:
            head = "Conversions within 30 days of the leads open at an instant:"
        return "\n".join([head, WINDOWS_HEADER, *map(_window_line, windows_json(self.past, self.chosen))])

    def _claim_line(self, row: int) -> str:
        past, claim = self.past, self.past.claims[row]
        state = int(past.state[row])
        said = "    -" if not np.isfinite(past.said[row]) else f"{past.said[row]:5.2f}"
        came = STATES[state]
        if np.isfinite(past.actual[row]) and claim.low is not None and claim.high is not None:
            came = f"{came}: {past.actual[row]:.0f}, said {claim.low:.0f} to {claim.high:.0f}"
        elif state == PENDING:
            due = claim.as_of.timestamp() + MATURES[claim.event_type] * 86_400
            came = f"pending until {datetime.fromtimestamp(due, past.as_of.tzinfo):%Y-%m-%d}"
        elif claim.event_type == "pattern_detected":
            came = f"{came}: {claim.claim_key}"
        elif claim.check_states:
            came = f"{came}: {claim.check_states}"
        mark = "*" if SCORED[claim.event_type] == "check" else " "
        day = claim.as_of.astimezone(past.as_of.tzinfo)
        return f"{day:%Y-%m-%d} {claim.event_type:<21}{mark} {said}  {came}"[:80]


def claim_json(past: Resolved, row: int) -> dict[str, Any]:
    """Tell of one claim what was said and what came of it."""
    claim = past.claims[row]
    return {
        "client_id": claim.client_id,
        "event_type": claim.event_type,
        "as_of": claim.as_of.isoformat(),
        "claim_key": claim.claim_key,
        "scored": SCORED[claim.event_type],
        "said": number(float(past.said[row])),
        "state": STATES[int(past.state[row])],
        "low": claim.low,
        "high": claim.high,
        "expected": claim.expected,
        "actual": number(float(past.actual[row])),
    }


def _write(value: float | None, form: str) -> str:
    return "-" if value is None else format(value, form)


def _window_line(window: Mapping[str, Any]) -> str:
    state = "pending" if window["pending"] else "void" if not window["resolved"] else ""
    return (
        f"{window['as_of'][:10]} {window['claims']:>7} {_write(window['expected'], '.1f'):>8}"
        f" {_write(window['actual'], 'd'):>7} {_write(window['mean_said'], '.3f'):>6}"
        f" {_write(window['mean_right'], '.3f'):>6} {_write(window['coverage'], '.2f'):>8} {state}"
    ).rstrip()


def _job_line(kind: str, figures: Mapping[str, Any]) -> str:
    name = f"{kind}{'*' if SCORED[kind] == 'check' else ''}"
    return (
        f"{name:<22} {figures['resolved']:>8} {figures['pending']:>7} {figures['void']:>6}"
        f" {_write(figures['mean_said'], '.3f'):>6} {_write(figures['mean_right'], '.3f'):>6}"
        f" {_write(figures['brier'], '.3f'):>6} {_write(figures['skill'], '.3f'):>6}"
    )


def _learned(model: Mapping[str, Any]) -> str:
    """Say what follows for the statements to come."""
    kept, tried = model["recalibration"], model["evidence"]["trial"]
    if kept is None:
        said = "Probabilities of conversions are stated as they are."
    elif kept["base_rate"] is not None:
        said = (
            f"Of conversions the base rate, {kept['base_rate']:.2f}, is stated: what was said of them did worse\n"
            "than that in two windows running."
        )
    else:
        said = f"Probabilities of conversions are recalibrated: log odds {kept['a']:+.2f} {kept['b']:+.2f} x own."
    if tried["claims"]:
        said += (
            f"\nOn {tried['claims']} later claims a map would have changed Brier {tried['brier']:.4f} to"
            f" {tried['brier_mapped']:.4f},\nlog loss {tried['log_loss']:.4f} to {tried['log_loss_mapped']:.4f}."
        )
    return said


def review_of(past: Resolved, model: Mapping[str, Any], client_ids: tuple[str, ...]) -> Review:
    """Look at some clients' claims, or (none named) at those of the pool; claims about all together are left out."""
    if client_ids:
        wanted = np.array([client_id in client_ids for client_id in past.client_ids] + [False], dtype=np.bool_)
        chosen = wanted[past.client]
    else:
        chosen = past.pooled
    return Review(past, chosen & (past.kind != REVIEW), client_ids, model)
