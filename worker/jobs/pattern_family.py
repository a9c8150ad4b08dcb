"""
The questions that pattern_detection asks of some leads, all enumerated, with what both windows say to each.

A question is: has the share of one value (urgency High, each tone, intent, source, French, a second contact, a
conversion) or the number of leads changed from the previous to the current 30 days? Against the client's own past, and
against the pool: beyond the change of all other clients. Whether a question is asked depends on what no change can
alter (how many leads, how many carry the value, in both windows together), never on the change itself (Tarone 1990).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from worker.jobs.finding import Json
from worker.jobs.pattern_questions import EVERYONE, LEAST_SURPRISE, Answers, Family
from worker.jobs.pattern_view import SUBJECTS, VOLUME, Cells, Subject, View
from worker.jobs.pattern_volume import VolumeModel, Volumes, volume_family
from worker.statistics import BoolArray, FloatArray
from worker.statistics.comparison import attainable_surprise, share_change_z, widened

LEAST_POOL_VARIANCE = 50.0  # of the carriers counted, all clients together: from here on the normal law will do


@dataclass(frozen=True, slots=True)
class Sums:
    """One subject's changes summed over clients, by value: each client weighs as much as it knows (Mantel-Haenszel)."""

    weight: FloatArray  # of the clients in which the value occurs, shape (values,)
    change: FloatArray  # weighted
    variance: FloatArray  # of `change`
    carrying: FloatArray  # leads of the current window; not part of a model
    clients: FloatArray  # in which the value occurs; not part of a model

    @classmethod
    def of(cls, cells: Cells, n_values: int) -> "Sums":
        """Sum over the cells' clients."""
        weight = 1 / cells.unit_variance
        return cls(
            *(
                np.bincount(cells.code, weights=terms, minlength=n_values).astype(np.float64)
                for terms in (weight, weight * cells.change, weight * cells.lead_variance, cells.k1, None)
            )
        )

    def as_json(self, names: Sequence[str]) -> dict[str, Json]:
        """
        Keep by name, for another shard's leads may number the values otherwise.

        A value of one client alone has no others to be compared with: free text would fill the model with them.
        """
        return {
            names[code]: [float(self.weight[code]), float(self.change[code]), float(self.variance[code])]
            for code in np.flatnonzero(self.clients > 1).tolist()
        }

    @classmethod
    def from_json(cls, kept: Mapping[str, Json], names: Sequence[str]) -> "Sums":
        """Take them out of a model."""
        rows = np.array([kept.get(name, (0.0, 0.0, 0.0)) for name in names], dtype=np.float64).reshape(-1, 3)
        nothing = np.zeros(len(rows))
        return cls(rows[:, 0], rows[:, 1], rows[:, 2], nothing, nothing)


def share_family(cells: Cells, subject: Subject, sums: Sums, pooled: BoolArray) -> Family:
    """
    Ask about each client's share of each value, against its past and against the pool.

    sums : over all clients of the pool; a pooled client's own part is taken out, so that it meets the others alone.
    """
    cells = cells.only(attainable_surprise(cells.k1 + cells.k0, cells.n1, cells.n0, cells.deff) >= LEAST_SURPRISE)
    shift, variance = _others(cells, sums, pooled)
    return _share_questions(cells, subject, shift, variance)


def _others(cells: Cells, sums: Sums, pooled: BoolArray) -> tuple[FloatArray, FloatArray]:
    """Estimate the others' change of each cell's value and its variance; NaN where there is too little of them."""
    own = pooled[cells.client] / cells.unit_variance
    code = cells.code
    weight = np.maximum(sums.weight[code] - own, 0.0)
    known = weight * cells.unit_variance >= 1  # the others know their change at least as well as this client its own
    weight = np.where(known, weight, 1.0)
    shift = (sums.change[code] - own * cells.change) / weight
    variance = np.maximum(sums.variance[code] - own * cells.lead_variance, 0.0) / weight**2
    return np.where(known, np.clip(shift, -0.99, 0.99), np.nan), variance


def _share_questions(cells: Cells, subject: Subject, shift: FloatArray, shift_variance: FloatArray) -> Family:
    families = []
    for against, place in ((0, np.arange(len(shift))), (1, np.flatnonzero(np.isfinite(shift)))):
        part = cells.only(place)
        moved = shift[place] if against else np.zeros(len(place))
        extra = shift_variance[place] if against else np.zeros(len(place))
        group = np.full(len(place), 2 * subject.number + against)
        answers = _share_answers(part, moved, extra)
        families.append(Family(part.client, group, part.code, *answers, moved, np.sqrt(extra), part.k1))
    return Family.join(families)


def _share_answers(cells: Cells, shift: FloatArray, shift_variance: FloatArray) -> Answers:
    spread = np.maximum(cells.lead_variance, 1e-12)
    variance = cells.unit_variance * spread
    whole = variance + shift_variance
    z = share_change_z(cells.k1, cells.n1, cells.k0, cells.n0, shift)
    z = widened(z, cells.deff, cells.n1 + cells.n0)
    return z * np.sqrt(variance / whole), np.sqrt(whole / spread), cells.change - shift


def everyones_family(subject: Subject, sums: Sums) -> Family:
    """Ask whether the clients' shares have changed on the whole, each against its own past."""
    code = np.flatnonzero(sums.variance >= LEAST_POOL_VARIANCE)
    weight, change, variance = sums.weight[code], sums.change[code], sums.variance[code]
    n = len(code)
    return Family(
        np.full(n, EVERYONE),
        np.full(n, 2 * subject.number),
        code,
        change / np.sqrt(variance),
        1 / np.sqrt(weight),
        change / weight,
        np.zeros(n),
        np.zeros(n),
        sums.carrying[code].astype(np.int64),
    )


def build_family(view: View, model: Mapping[str, Json], chosen: BoolArray | None = None) -> Family:
    """
    Ask every question that these leads can answer.

    model : of what fit learns, "serial_correlation", "volume", "pool" and "of_half". chosen : shape (leads of the
    view,), one half of them. Leads of everyone together are asked about everyone, by the clients they are of.
    """
    pool = model["pool"]
    families = []
    for subject in view.subjects:
        cells = _cells(view, subject, model, chosen)
        if view.everyone:
            families.append(everyones_family(subject, Sums.of(cells, len(subject.names))))
        else:
            sums = Sums.from_json(pool[SUBJECTS[subject.number]], subject.names)
            families.append(share_family(cells, subject, sums, view.clients.pooled))
    volume = volume_family(
        view.weekly(chosen), view.n_current, _volume_model(model, chosen), view.clients.pooled, everyone=view.everyone
    )
    families.append(_of_everyone(volume) if view.everyone else volume)
    return Family.join(families)


def _cells(view: View, subject: Subject, model: Mapping[str, Json], chosen: BoolArray | None) -> Cells:
    correlation = np.array(model["serial_correlation"][SUBJECTS[subject.number]])
    return view.cells(subject, correlation, chosen, halve=_halves(model, chosen))


def _volume_model(model: Mapping[str, Json], chosen: BoolArray | None) -> VolumeModel:
    return VolumeModel.from_json(model["volume"], halved=_halves(model, chosen))


def _halves(model: Mapping[str, Json], chosen: BoolArray | None) -> bool:
    """Tell whether these leads are half of those that the model was learned from."""
    return chosen is not None and not model["of_half"]


def _of_everyone(family: Family) -> Family:
    return replace(family, client=np.full(len(family), EVERYONE))


def learn_pool(view: View) -> tuple[dict[str, Json], Family]:
    """
    Learn from the pooled clients' leads what every question is compared with, and ask all questions.

    Returns the model's parts of that name ("serial_correlation", "volume", "pool", "of_half"), and the whole
    family: every client's questions and those about everyone.
    """
    leads = view.leads
    correlation = view.serial_correlation()
    weekly, n = view.weekly(), view.n_current
    volume = VolumeModel.learn(weekly)
    model: dict[str, Json] = {
        "serial_correlation": correlation,
        "volume": volume.as_json(),
        "of_half": len(leads) > 0 and not leads.half().any(),
    }
    pool: dict[str, Json] = {}
    families = []
    for subject in view.subjects:
        cells = _cells(view, subject, model, None)
        sums = Sums.of(cells, len(subject.names))
        pool[SUBJECTS[subject.number]] = sums.as_json(subject.names)
        families += [share_family(cells, subject, sums, view.clients.pooled), everyones_family(subject, sums)]
    families.append(volume_family(weekly, n, volume, view.clients.pooled))
    one = np.ones(1, dtype=bool)
    whole = volume_family(weekly.sum(axis=0, keepdims=True), n.sum(keepdims=True), volume, one, everyone=True)
    families.append(_of_everyone(whole))
    return model | {"pool": pool}, Family.join(families)


@dataclass(frozen=True, slots=True)
class HalfAnswers:
    """What one half of the leads says to questions that were asked; NaN where it cannot tell. Shape (questions,)."""

    z: FloatArray
    error: FloatArray
    raw: FloatArray
    resemblance: FloatArray  # correlation of the two halves' noise: leads of one burst are in both
    of_others: FloatArray  # what part of error^2 is that of the others' change, the same for both halves


def half_answers(view: View, model: Mapping[str, Json], chosen: BoolArray, about: Family) -> HalfAnswers:
    """Ask one half of the leads the questions of `about`, each against the same change of the others."""
    n = len(about)
    z, error, raw = np.full(n, np.nan), np.ones(n), np.full(n, np.nan)
    resemblance, of_others = np.zeros(n), np.zeros(n)
    for subject in view.subjects:
        rows = np.flatnonzero(about.subject == subject.number)
        if len(rows) == 0:
            continue
        cells = _cells(view, subject, model, chosen)
        if view.everyone:
            sums = Sums.of(cells, len(subject.names))
            code = about.code[rows]
            told = sums.variance[code] > 0
            rows, code = rows[told], code[told]
            z[rows] = sums.change[code] / np.sqrt(sums.variance[code])
            error[rows], raw[rows] = 1 / np.sqrt(sums.weight[code]), sums.change[code] / sums.weight[code]
            resemblance[rows] = _mean_resemblance(cells, len(subject.names))[code]
            continue
        size = max(len(subject.names), 1)
        key, wanted = cells.client * size + cells.code, about.client[rows] * size + about.code[rows]
        place = np.searchsorted(key, wanted)
        found = place < len(key)
        found[found] = key[place[found]] == wanted[found]
        rows = rows[found]
        part = cells.only(place[found])
        answers = _share_answers(part, about.shift[rows], about.shift_error[rows] ** 2)
        z[rows], error[rows], raw[rows] = answers
        resemblance[rows] = (part.deff - 1) / part.deff
        lead_variance = np.maximum(part.lead_variance, 1e-12)
        of_others[rows] = (about.shift_error[rows] / error[rows]) ** 2 / lead_variance
    rows = np.flatnonzero(about.subject == VOLUME)
    if len(rows):
        client = np.maximum(about.client[rows], 0)
        weekly = view.weekly(chosen)
        volumes = Volumes.of(weekly, _volume_model(model, chosen), everyone=view.everyone).only(client)
        z[rows], error[rows], raw[rows] = volumes.answers(about.shift[rows], about.shift_error[rows] ** 2)
        resemblance[rows] = (volumes.phi - 1) / volumes.phi
        of_others[rows] = (about.shift_error[rows] / error[rows]) ** 2
    return HalfAnswers(z, error, raw, resemblance, of_others)


def _mean_resemblance(cells: Cells, n_values: int) -> FloatArray:
    weight = 1 / cells.unit_variance
    total = np.bincount(cells.code, weights=weight, minlength=n_values)
    alike = np.bincount(cells.code, weights=weight * (cells.deff - 1) / cells.deff, minlength=n_values)
    mean: FloatArray = alike / np.maximum(total, 1e-300)
    return mean
