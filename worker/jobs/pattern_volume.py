"""The questions of pattern_detection about the number of leads: four whole weeks of each window compared."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from worker.jobs.finding import Json
from worker.jobs.pattern_questions import LEAST_SURPRISE, Answers, Family
from worker.jobs.pattern_view import VOLUME
from worker.statistics import BoolArray, FloatArray, IntArray
from worker.statistics.comparison import count_change_z
from worker.statistics.dispersion import Dispersion, dispersion_of_each, fit_dispersion


@dataclass(frozen=True, slots=True)
class VolumeModel:
    """
    What is learned of everyone's volumes.

    totals : leads in both windows' weeks, the current first; halved : whether the counts at hand are of one half of
    the leads that this was learned from.
    """

    dispersion: Dispersion
    totals: tuple[float, float]
    halved: bool = False

    @classmethod
    def learn(cls, weekly: IntArray) -> "VolumeModel":
        """Learn from all clients' weeks, shape (clients, 2, weeks)."""
        previous, current = weekly.sum(axis=(0, 2)).astype(np.float64).tolist()
        return cls(fit_dispersion(weekly), (current, previous))

    def as_json(self) -> dict[str, Json]:
        """Give the plain JSON that the job's model stores."""
        d = self.dispersion
        return {"totals": list(self.totals), "base": d.base, "slope": d.slope, "everyone": d.everyone}

    @classmethod
    def from_json(cls, kept: Mapping[str, Json], *, halved: bool) -> "VolumeModel":
        """Take it out of a stored model."""
        dispersion = Dispersion(float(kept["base"]), float(kept["slope"]), float(kept["everyone"]))
        return cls(dispersion, (float(kept["totals"][0]), float(kept["totals"][1])), halved)

    def expected(self, weekly: IntArray, *, everyone: bool) -> FloatArray:
        """Expect each client's dispersion from its number of leads; a half's leads come together half as often."""
        whole = weekly.mean(axis=(1, 2)) * (2 if self.halved else 1)
        phi = np.full(len(weekly), self.dispersion.everyone) if everyone else self.dispersion.at(whole)
        halved: FloatArray = 1 + (phi - 1) / 2
        return halved if self.halved else phi


@dataclass(frozen=True, slots=True)
class Volumes:
    """Leads in each window's weeks, and how many times as much as Poisson counts they vary; shape (clients,)."""

    x1: IntArray
    x0: IntArray
    phi: FloatArray

    @classmethod
    def of(cls, weekly: IntArray, model: VolumeModel, *, everyone: bool = False) -> "Volumes":
        """Count; everyone : the counts are of all clients together."""
        x = weekly.sum(axis=2)
        phi = dispersion_of_each(weekly, model.expected(weekly, everyone=everyone))
        return cls(x[:, 1], x[:, 0], phi)

    def only(self, keep: IntArray) -> "Volumes":
        """Keep some clients."""
        return Volumes(self.x1[keep], self.x0[keep], self.phi[keep])

    def answers(self, shift: FloatArray, shift_variance: FloatArray) -> Answers:
        """Compare the windows' counts with the ratio exp(shift)."""
        variance = 4 * self.phi / np.maximum(self.x1 + self.x0, 1)
        whole = variance + shift_variance
        z = count_change_z(self.x1, self.x0, np.exp(shift)) / np.sqrt(self.phi)
        raw = np.log((self.x1 + 0.5) / (self.x0 + 0.5)) - shift
        return z * np.sqrt(variance / whole), np.sqrt(whole), raw


def volume_family(
    weekly: IntArray, n: IntArray, model: VolumeModel, pooled: BoolArray, *, everyone: bool = False
) -> Family:
    """
    Ask about each client's number of leads, against its own past and against the others' change.

    n : leads of the current window. pooled : whose leads are part of the model's totals. everyone : the counts are of
    all clients together, who have no others to be compared with.
    """
    volumes = Volumes.of(weekly, model, everyone=everyone)
    client = np.flatnonzero((volumes.x1 + volumes.x0) / volumes.phi * np.log(2) >= LEAST_SURPRISE)
    volumes = volumes.only(client)
    x1, x0 = volumes.x1, volumes.x0
    others_1, others_0 = model.totals[0] - pooled[client] * x1, model.totals[1] - pooled[client] * x0
    known = (others_1 + others_0 >= x1 + x0) & (others_1 > 0) & (others_0 > 0) & (not everyone)
    others_1, others_0 = np.where(known, others_1, 1.0), np.where(known, others_0, 1.0)
    shift, extra = np.log(others_1 / others_0), model.dispersion.everyone * (1 / others_1 + 1 / others_0)
    families = []
    for against, place in ((0, np.arange(len(client))), (1, np.flatnonzero(known))):
        moved = shift[place] if against else np.zeros(len(place))
        more = extra[place] if against else np.zeros(len(place))
        group, code = np.full(len(place), 2 * VOLUME + against), np.zeros(len(place), dtype=np.int64)
        answers = volumes.only(place).answers(moved, more)
        families.append(Family(client[place], group, code, *answers, moved, np.sqrt(more), n[client[place]]))
    return Family.join(families)
