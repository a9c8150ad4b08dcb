"""What is planted in simulated companies."""

from dataclasses import dataclass

import numpy as np

from worker.simulate.changes import ChangeKind, draw_changes, draw_true_shares
from worker.simulate.habits import TONE_FAMILIES

LEAST_SAID = 0.01  # changes of a share below a point are not told one by one


@dataclass(frozen=True, slots=True)
class PlantedChange:
    """
    What is planted in one client: each pair is (until the current window, from it on); None leaves it as drawn.

    high_share is the true share of High among the leads; tone and source name a family or source and how much of the
    whole it gains (0.25 is 25 points); confidence is added to the mean confidence score; touched is the share of leads
    followed up within a week; volume and conversion are factors on arrivals and on the share who ever convert, and
    leads_per_window is the client's usual size.
    """

    high_share: tuple[float, float] | None = None
    tone: tuple[str, float] | None = None
    source: tuple[str, float] | None = None
    confidence: float = 0.0
    touched: tuple[float, float] | None = None
    volume: float = 1.0
    conversion: float = 1.0
    leads_per_window: float | None = None

    def describe(self) -> str:
        """Say in a line what was planted; "nothing changes" where nothing was."""
        said: list[str] = []
        high, tone = self.high_share or (0.0, 0.0), self.tone or ("", 0.0)
        if abs(high[1] - high[0]) >= LEAST_SAID:
            said.append(f"High urgency {high[0]:.0%} -> {high[1]:.0%}")
        if abs(tone[1]) >= LEAST_SAID:
            said.append(f"tone {tone[0]} {100 * tone[1]:+.0f} points")
        if self.source is not None:
            said.append(f"source {self.source[0]} {100 * self.source[1]:+.0f} points")
        if self.confidence:
            said.append(f"lead quality {self.confidence:+.2f}")
        if self.touched is not None and self.touched[0] != self.touched[1]:
            said.append(f"followed up within a week {self.touched[0]:.0%} -> {self.touched[1]:.0%}")
        if self.volume != 1.0:
            said.append(f"volume x {self.volume:g}")
        if self.conversion != 1.0:
            said.append(f"conversions of new leads x {self.conversion:g}")
        if not said and (high[0] != high[1] or tone[1]):
            return "High urgency and tone by less than a point"
        return "; ".join(said) or "nothing changes"


def demo_plan(leads_per_window: float = 60.0) -> dict[int, PlantedChange]:
    """Return the changes the demo plants: a few clients, each with one thing to be found, the others left still."""
    size = leads_per_window
    return {
        0: PlantedChange(high_share=(0.22, 0.52), leads_per_window=size),
        3: PlantedChange(high_share=(0.50, 0.22), leads_per_window=size),
        6: PlantedChange(tone=("Urgent", 0.28), leads_per_window=size),
        9: PlantedChange(confidence=0.12, touched=(0.30, 0.75), leads_per_window=size),
        12: PlantedChange(touched=(0.80, 0.35), leads_per_window=size),
        15: PlantedChange(volume=2.0, leads_per_window=size),
        18: PlantedChange(source=("referral", 0.30), leads_per_window=size),
        21: PlantedChange(conversion=2.5, leads_per_window=size),
        24: PlantedChange(volume=0.4, leads_per_window=size),
    }


def change_plan(
    kind: ChangeKind, n_clients: int, rng: np.random.Generator, *, leads_per_window: float | None = None
) -> dict[int, PlantedChange]:
    """
    Return a plan whose High shares and tones change as in the array worlds of this kind, for the same as rows.

    One tone of each client, any of them, gains or loses; it cannot lose more than it has.
    """
    (previous, current), _ = draw_true_shares(kind, n_clients, rng)
    tone, gain = rng.integers(0, len(TONE_FAMILIES), n_clients), draw_changes(kind, n_clients, rng)
    return {
        i: PlantedChange(
            high_share=(float(previous[i]), float(current[i])),
            tone=(TONE_FAMILIES[tone[i]], float(gain[i])) if gain[i] else None,
            leads_per_window=leads_per_window,
        )
        for i in range(n_clients)
    }
