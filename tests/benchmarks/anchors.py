"""
What others would do: five models that an analyst reaches for first, fitted on what was known at an instant.

Each takes `Known`, which holds nothing that happened later, and gives every open lead's probability of being won within
the next 30 days. They are judged beside the worker's model by conversion_models.py. The settings of the table and of
the landmark model were chosen in their favour: of some seven or eight tried each, what scored about best on the very
data they are judged by.
"""

import warnings
from dataclasses import dataclass

import numpy as np
from sklearn.linear_model import LogisticRegression
from sklearn.preprocessing import OneHotEncoder

HORIZON = 30.0  # days
MOST_PAGES = 40  # landing pages told apart, by leads that came through them; the others are one group
LANDMARK_STEP = 7.0  # days between the past instants that landmark models learn from
AGE_EDGES = np.array([0, 7, 14, 30, 60, 120, np.inf])  # days; coarser cells did better than finer ones
TABLE_STRENGTH = 2.0  # wins of the age's own rate that a cell of the table starts with
LOGISTIC_PENALTY = 0.1  # C of scikit-learn: 0.1 did better than its default of 1
COX_PENALTY = 0.01  # a source that has never won yet would otherwise have no finite coefficient
LEAST_DAYS = 0.25  # to a win, for a survival model, where two stamps are the same


@dataclass(frozen=True, slots=True)
class Known:
    """The leads that had arrived at an instant, as they stood; arrays of shape (leads,)."""

    lead_id: np.ndarray
    age: np.ndarray  # days since first contact
    days_to_win: np.ndarray  # inf where it was not won before the instant
    origin: np.ndarray  # labels
    page: np.ndarray
    recorded: float  # days since the first recorded win: before it nothing was recorded

    @property
    def is_open(self):
        return ~np.isfinite(self.days_to_win)

    @property
    def observed(self):
        """Days from first contact to the win or the instant."""
        return np.minimum(self.days_to_win, self.age)

    @property
    def unseen(self):
        """Of these days, those that passed before anything was recorded."""
        return np.clip(self.age - self.recorded, 0.0, self.observed)


def known_at(leads, as_of):
    """Cut leads (olist.OlistLead) at an instant."""
    end = as_of.timestamp()
    arrived = [one for one in leads if one.arrival < as_of]
    arrival = np.array([one.arrival.timestamp() for one in arrived])
    won = np.array([one.won.timestamp() if one.won and one.won < as_of else np.inf for one in arrived])
    return Known(
        lead_id=np.array([one.lead_id for one in arrived]),
        age=(end - arrival) / 86400,
        days_to_win=np.maximum((won - arrival) / 86400, 0.0),
        origin=np.array([one.origin for one in arrived]),
        page=np.array([one.page for one in arrived]),
        recorded=max((end - won.min()) / 86400, 0.0) if len(won) and np.isfinite(won.min()) else 0.0,
    )


def constant_rate(known):
    """The share won within 30 days of the leads open at past instants, said of every lead."""
    happened = np.concatenate([won for _, won in _landmarks(known)])
    return np.full(known.is_open.sum(), happened.mean())


def age_by_source_table(known):
    """Wins a day in each cell of age and source, since wins are recorded; thin cells lean on their age."""
    low, high = AGE_EDGES[:-1], AGE_EDGES[1:]
    sources, source = np.unique(known.origin, return_inverse=True)
    days = np.clip(np.minimum(high, known.observed[:, None]) - np.maximum(low, known.unseen[:, None]), 0.0, None)
    won = np.flatnonzero(~known.is_open)
    cells = (len(low), len(sources))
    wins, exposure = np.zeros(cells), np.zeros(cells)
    np.add.at(wins, (np.searchsorted(high, known.days_to_win[won], side="right"), source[won]), 1)
    np.add.at(exposure.T, source, days)
    of_age = (wins.sum(axis=1) + 0.5) / (exposure.sum(axis=1) + 500.0)
    hazard = (wins + TABLE_STRENGTH) / (exposure + TABLE_STRENGTH / of_age[:, None])
    age = known.age[known.is_open, None]
    ahead = np.clip(np.minimum(high, age + HORIZON) - np.maximum(low, age), 0.0, None)
    return -np.expm1(-(ahead * hazard.T[source[known.is_open]]).sum(axis=1))


def cox(known):
    """Cox's proportional hazards on origin and landing page; 30 days more, given survival to the lead's age."""
    import pandas as pd
    from lifelines import CoxPHFitter

    labels = np.stack([known.origin, _page_groups(known)], axis=1)
    frame = pd.DataFrame(OneHotEncoder(drop="first", sparse_output=False).fit_transform(labels)).add_prefix("x")
    frame["days"], frame["won"] = np.maximum(known.observed, LEAST_DAYS), ~known.is_open
    model = CoxPHFitter(penalizer=COX_PENALTY)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # it says of every rare level that it hardly varies
        model.fit(frame, duration_col="days", event_col="won")
    baseline = model.baseline_cumulative_hazard_.iloc[:, 0]
    times, total = np.append(0.0, baseline.index), np.append(0.0, baseline)

    def until(age):
        return total[np.searchsorted(times, age, side="right") - 1]

    # where no win was ever seen the baseline is flat; half a win more in all the days keeps it off an impossible 0
    least = HORIZON * 0.5 / known.observed.sum()
    age = known.age[known.is_open]
    own = model.predict_partial_hazard(frame[known.is_open]).to_numpy()
    return -np.expm1(-(until(age + HORIZON) - until(age) + least) * own)


def landmark_logistic(known):
    """Logistic regression, on age, origin and page, of the leads open at past instants, since wins are recorded."""
    groups, parts, outcomes = _page_groups(known), [], []
    for (back, was_open), won in _landmarks(known, most=max(known.recorded, HORIZON + 1)):
        parts.append((known.age[was_open] - back, known.origin[was_open], groups[was_open]))
        outcomes.append(won)
    age, *labels = (np.concatenate(column) for column in zip(*parts, strict=True))
    asked = (known.age[known.is_open], known.origin[known.is_open], groups[known.is_open])
    return _logistic(labels, np.concatenate(outcomes), asked[1:], _of_age(age), _of_age(asked[0]))


def ignoring_censoring(known):
    """Logistic regression of "won by now" on origin and page: an open lead counts as a failure."""
    labels = (known.origin, _page_groups(known))
    return _logistic(labels, ~known.is_open, [label[known.is_open] for label in labels])


def _landmarks(known, most=np.inf):
    """Give past instants whose 30 days are over: how long ago, which leads were open, and which of these were won."""
    for back in np.arange(HORIZON, min(most, known.age.max()), LANDMARK_STEP):
        was_open = (known.age > back) & (known.days_to_win >= known.age - back)
        yield (back, was_open), known.days_to_win[was_open] < known.age[was_open] - back + HORIZON


def _page_groups(known):
    pages, count = np.unique(known.page, return_counts=True)
    kept = pages[np.argsort(-count, kind="stable")[:MOST_PAGES]]
    return np.where(np.isin(known.page, kept), known.page, "other")


def _of_age(age):
    return np.stack([np.log1p(age), age / 100, age < 14], axis=1)


def _logistic(labels, happened, asked, *numbers):
    """Fit on labels, one-hot, beside numbers (those of the fit, those asked for), and give the asked probabilities."""
    rows, rows_asked = np.stack(labels, axis=1), np.stack(asked, axis=1)
    encoder = OneHotEncoder(handle_unknown="ignore", sparse_output=False).fit(rows)
    design, design_asked = encoder.transform(rows), encoder.transform(rows_asked)
    if numbers:
        design, design_asked = np.hstack([design, numbers[0]]), np.hstack([design_asked, numbers[1]])
    model = LogisticRegression(C=LOGISTIC_PENALTY, solver="newton-cholesky").fit(design, happened)
    return model.predict_proba(design_asked)[:, 1]
