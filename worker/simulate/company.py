"""Companies with their leads and actions as rows of the application's tables, and what is true of them."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

import numpy as np

from worker.simulate.changes import ChangeKind
from worker.simulate.latent import draw_leads, draw_rates
from worker.simulate.plans import PlantedChange, change_plan
from worker.simulate.rows import ActionRow, ClientRow, LeadRow, client_rows, lead_rows
from worker.simulate.single_leads import BURST_CORRELATION, MEAN_BURST
from worker.simulate.truth import Truth, truths


@dataclass(frozen=True, slots=True)
class World:
    """Rows ready to be copied into clients, lead_memory and lead_actions, and the truth about each client."""

    as_of: datetime
    clients: list[ClientRow]
    leads: list[LeadRow]
    actions: list[ActionRow]
    truths: dict[str, Truth]


def company_world(
    rng: np.random.Generator,
    as_of: datetime,
    n_clients: int = 40,
    days: int = 365,
    plan: Mapping[int, PlantedChange] | None = None,
    *,
    leads_per_window: float = 15.0,
    special_clients: bool = True,
    kind: ChangeKind = "still",
    burst_correlation: float = BURST_CORRELATION,
    mean_burst: float = MEAN_BURST,
) -> World:
    """
    Draw companies with their leads and actions over the days before as_of; nothing in it is dated as_of or later.

    Parameters
    ----------
    rng : the same state, as_of and arguments give the same rows.
    as_of : aware; the demo takes the last midnight UTC, so that the year always ends now.
    plan : what changes for which client (by index); planted changes begin with the current window, 30 days before
        as_of. Clients without one change as `kind` says.
    leads_per_window : mean over the clients without a size of their own; their volumes are Pareto distributed.
    special_clients : whether the last two of ten or more are the internal and a test client.
    kind : how the High share and one tone of the clients change, see `change_plan`; and how leads come, in bursts and
        duplicates: the former within minutes of one another and mostly alike in urgency and tone (two leads of a burst
        correlate by burst_correlation, and there are mean_burst of them on average), the latter as rows with
        another id and the same content, minutes later.

    Raises
    ------
    ValueError
        as_of is naive, or a planted client, tone or source does not exist.
    """
    if as_of.tzinfo is None:
        raise ValueError("as_of must be aware")
    plan = dict(plan or {})
    if unknown := [i for i in plan if not 0 <= i < n_clients]:
        raise ValueError(f"planted changes for clients {unknown}, but there are {n_clients}")
    if kind != "still":
        plan = change_plan(kind, n_clients, rng) | plan
    rates = draw_rates(rng, n_clients, plan, leads_per_window)
    latent = draw_leads(rng, rates, as_of, days, kind, burst_correlation=burst_correlation, mean_burst=mean_burst)
    clients = client_rows(rng, rates, as_of, days, n_clients, special_clients=special_clients)
    leads, actions = lead_rows(rng, latent, rates, clients, as_of)
    return World(as_of, clients, leads, actions, truths(clients, plan, rates, latent, as_of))
