"""What the two trends share: how much is learned from the past, and how a client's change meets what was learned."""

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime

from worker.jobs.finding import Json
from worker.jobs.windows import Period, periods
from worker.leads import EVERYONE, WINDOW_DAYS, Clients, Leads, Windows
from worker.sample import MOST_PAST_PERIODS, learned_from, past_periods
from worker.statistics import BoolArray, FloatArray
from worker.statistics.change import ChangePosterior, posterior_of_change
from worker.statistics.change_prior import Candidates, ChangePrior, fit_change_prior, log_score

LOOK_BACK_DAYS = (MOST_PAST_PERIODS + 2) * WINDOW_DAYS
FEW_CLIENTS = 100  # of so few, each one's own leads show in what all of them teach


def periods_to_learn_from(leads: Leads, as_of: datetime) -> int:
    """Tell how many past periods to learn from, by how many of these clients had leads in both windows."""
    w = Windows.before(as_of)
    active = [leads.per_client(leads.arrived(*ends)) > 0 for ends in ((w.start, w.middle), (w.middle, w.end))]
    return past_periods(int((active[0] & active[1]).sum()))


def learn_beside_half(
    learn: Callable[[Sequence[Period]], dict[str, Json]], leads: Leads, as_of: datetime, past: int | None
) -> dict[str, Json]:
    """
    Give the model that `learn` makes of the periods; where clients are few, with the half's own model as "of_half".

    With what all leads teach, a check of one half of a few clients' leads against the other would have seen the answer.

    past : how many past periods to learn from; None: as many as there is something to learn from.
    """
    past = periods_to_learn_from(leads, as_of) if past is None else past
    model = learn(periods(leads, as_of, past))
    if len(leads.clients) < FEW_CLIENTS:
        model["of_half"] = learn(periods(leads.only(~leads.half()), as_of, past))
    return model


def learn_changes(likelihoods: Sequence[FloatArray], among: Candidates) -> dict[str, Json]:
    """
    Learn how much clients change, as the parts of a model that both trends have.

    likelihoods : logarithms by period, latest first, each of shape (clients with leads in both windows, grid).
    """
    prior = fit_change_prior(likelihoods, among)
    return {
        "prior": prior.as_json(),
        "learned_from": [len(likelihood) for likelihood in likelihoods],
        "scores": {"log_score": log_score(likelihoods[0], prior)},
    }


def changes_posterior(
    log_likelihood: FloatArray, informative: BoolArray, clients: Clients, model: Mapping[str, Json], grid: FloatArray
) -> ChangePosterior:
    """
    Combine each client's likelihood with what learn_changes learned.

    informative : shape (clients,), who has leads in both windows. Of these the pooled ones were learned from, or the
        sample of them that the model names; all clients taken as one never were.
    """
    sampled = learned_from(clients, model.get("learned_up_to"))
    counted = sampled & informative & (clients.ids != EVERYONE.ids)
    return posterior_of_change(log_likelihood, ChangePrior.from_json(model["prior"], grid), counted)
