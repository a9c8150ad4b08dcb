"""
What would conversion_prediction have said, and what happened? Past instants, each learned from what was known then.

At every cut-off the model is fitted on what had happened before it, every lead then open is given its probability, and
the 30 days that followed tell which of them converted. Nothing after a cut-off reaches its predictions. Beside the
model stand two that know less: a constant rate, and the age since first contact alone.
"""

import calendar
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta

import numpy as np

from worker.episodes import conversion_episodes
from worker.jobs import conversion_prediction as job
from worker.jobs.conversion_features import choose_vocabulary, find_history_start, lay_out_exposure
from worker.jobs.conversion_outcomes import read_outcomes, score
from worker.jobs.finding import Json
from worker.leads import WINDOW_DAYS, Leads, to_microseconds
from worker.randomness import generator
from worker.statistics import BoolArray, FloatArray
from worker.statistics.decomposition import decompose_brier
from worker.statistics.hazard import CONVERTED, Exposure, forecast
from worker.statistics.hazard_fit import fit_hazard

EVERY = re.compile(r"([1-9][0-9]{0,3})(d|month)")
HEADER = "as of        leads  expected actual   Brier log loss   AUC 80% holds"


@dataclass(frozen=True, slots=True)
class CutOff:
    """One past instant: what was said of the leads open then, and what happened in the 30 days that followed."""

    as_of: datetime
    client_ids: tuple[str | None, ...]
    lead_ids: tuple[str, ...]
    probability: FloatArray  # (leads,)
    by_rate: FloatArray  # the same by the constant rate
    by_age: FloatArray  # and by age alone
    converted: BoolArray
    void: int  # leads that nobody can tell of: a conversion without a date
    said: FloatArray  # (clients,) probability of the claim
    right: BoolArray
    covered: BoolArray  # (clients,) whether the count lay in its 80% interval


@dataclass(frozen=True, slots=True)
class Backtest:
    """All cut-offs; `pending` are those whose 30 days are not over."""

    cut_offs: tuple[CutOff, ...]
    pending: tuple[datetime, ...] = ()

    def as_json(self) -> dict[str, Json]:
        """Give the document that `backtest --json` prints; keys are only ever added."""
        return {
            "kind": "backtest",
            "window_days": WINDOW_DAYS,
            "cut_offs": [{"as_of": cut.as_of.isoformat(), **_figures([cut])} for cut in self.cut_offs],
            "all": _figures(self.cut_offs),
            "pending": [instant.isoformat() for instant in self.pending],
        }

    def __str__(self) -> str:
        """Write the table for a terminal of 80 columns."""
        if not self.cut_offs:
            return "No cut-off lies 30 days back: nothing can be compared yet."
        lines = [
            "What was said at each instant of the leads open then, and what the next 30 days",
            "brought. Every model knew only what was known then.",
            "",
            HEADER,
        ]
        lines += [_line(f"{cut.as_of:%Y-%m-%d}", _figures([cut])) for cut in self.cut_offs]
        whole = _figures(self.cut_offs)
        lines.append(_line("all", whole))
        for name, key in (("constant", "constant_rate"), ("age alone", "age_only")):
            lines.append(_line(name, {**whole, **whole[key], "coverage": None}))
        if whole["miscalibration"] is not None:
            names = ("miscalibration", "discrimination", "uncertainty")
            m, d, u = (f"{name} {whole[name]:.5f}" for name in names)
            lines += ["", f"Brier = {m} - {d} + {u}"]
        if whole["claims"]["n"]:
            claims = whole["claims"]
            lines += ["", f"{claims['n']} counts claimed: {claims['said']:.3f} said, {claims['right']:.3f} right"]
        if self.pending:
            lines.append(f"{len(self.pending)} cut-offs left out: their 30 days are not over.")
        return "\n".join(lines)


def _line(name: str, figures: dict[str, Json]) -> str:
    def number(key: str, form: str) -> str:
        return "-" if figures[key] is None else format(figures[key], form)

    return (
        f"{name:<10} {figures['leads']:>7} {figures['expected']:>9.1f} {figures['actual']:>6}"
        f" {number('brier', '.5f'):>7} {number('log_loss', '.4f'):>8} {number('auc', '.3f'):>5}"
        f" {number('coverage', '.2f'):>9}"
    )


def _figures(cut_offs: Sequence[CutOff]) -> dict[str, Json]:
    """Put some cut-offs' leads together; the AUC is the mean of theirs, since ranks are of one instant."""
    nobody = np.zeros(0, dtype=np.bool_)  # there may be no cut-off at all whose days are over
    happened = np.concatenate([nobody, *(cut.converted for cut in cut_offs)])
    said, right, covered = (
        np.concatenate([nobody, *(getattr(cut, name) for cut in cut_offs)]) for name in ("said", "right", "covered")
    )
    scores = {}
    for name in ("probability", "by_rate", "by_age"):
        probability = np.concatenate([nobody, *(getattr(cut, name) for cut in cut_offs)])
        ranks = [score(getattr(cut, name), cut.converted).auc for cut in cut_offs]
        known = [auc for auc in ranks if np.isfinite(auc)]
        whole = asdict(score(probability, happened)) | {"auc": float(np.mean(known)) if known else float("nan")}
        whole |= asdict(decompose_brier(probability, happened))
        scores[name] = {key: value if np.isfinite(value) else None for key, value in whole.items()}
    n = len(said)
    return {
        "leads": len(happened),
        "actual": int(happened.sum()),
        "void": sum(cut.void for cut in cut_offs),
        **scores["probability"],
        "coverage": float(covered.mean()) if n else None,
        "claims": {"n": n, "said": float(said.mean()) if n else None, "right": float(right.mean()) if n else None},
        "constant_rate": scores["by_rate"],
        "age_only": scores["by_age"],
    }


def cut_offs_between(first: datetime, last: datetime, every: str) -> list[datetime]:
    """
    List the instants from first to last, a step apart: "7d" days on the wall clock, or "1month" months.

    A month that is too short for the day has its last one. Raises ValueError for another step, or first after last.
    """
    match = EVERY.fullmatch(every)
    if match is None:
        raise ValueError(f"{every!r} is no step such as 1d, 7d or 1month")
    if first > last:
        raise ValueError(f"{first:%Y-%m-%d} comes after {last:%Y-%m-%d}")
    number, unit = int(match[1]), match[2]

    def instants() -> Iterator[datetime]:
        step, instant = 0, first
        while instant <= last:
            yield instant
            step += number
            instant = first + timedelta(days=step) if unit == "d" else _months_on(first, step)

    return list(instants())


def _months_on(first: datetime, months: int) -> datetime:
    year, month = divmod(first.year * 12 + first.month - 1 + months, 12)
    return first.replace(year=year, month=month + 1, day=min(first.day, calendar.monthrange(year, month + 1)[1]))


def run_backtest(
    leads: Leads,
    cut_offs: Sequence[datetime],
    now: datetime,
    progress: Callable[[str, int, int], None] = lambda _what, _done, _all: None,
) -> Backtest:
    """Compare what would have been said at each cut-off of all pooled clients' leads with what happened until `now`."""
    pooled = leads.of_clients(leads.clients.pooled)
    window = timedelta(days=WINDOW_DAYS)  # of 24 hours each, whatever the clocks on the wall do
    ripe = [instant for instant in cut_offs if instant.astimezone(UTC) + window <= now]
    found = []
    for done, instant in enumerate(ripe):
        found.append(_look_back(pooled, instant, now))
        progress("backtest", done + 1, len(ripe))
    return Backtest(tuple(found), tuple(instant for instant in cut_offs if instant not in ripe))


def _look_back(leads: Leads, as_of: datetime, now: datetime) -> CutOff:
    model = job.fit(leads, as_of)
    found = job.predict(leads, model, as_of, generator(job.NAME, as_of))
    outcomes = read_outcomes(leads, as_of, now)
    cohort, claimed = found.cohort, job.Claimed.of(found.means, found.squares)
    converted, told = outcomes.converted[found.is_open], ~outcomes.void[found.is_open]
    count = cohort.per_client(converted)
    # a count is decided where every lead of it is
    decided = (cohort.per_client(told) > 0) & (cohort.per_client(~told) == 0)
    by_rate, by_age = _simple_models(leads, as_of, found.age)
    return CutOff(
        as_of=as_of,
        client_ids=tuple(cohort.clients.ids[i] for i in cohort.client[told]),
        lead_ids=tuple(map(str, cohort.id[told])),
        probability=found.probability[told],
        by_rate=by_rate[told],
        by_age=by_age[told],
        converted=converted[told],
        void=int((~told).sum()),
        said=claimed.probability[decided],
        right=((claimed.low <= count) & (count <= claimed.high))[decided],
        covered=((claimed.interval_low <= count) & (count <= claimed.interval_high))[decided],
    )


def _simple_models(leads: Leads, as_of: datetime, age: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Probabilities by the conversions a day of observation, and by the age curve alone, as known at as_of."""
    end = to_microseconds(as_of)
    arrived = leads.only(leads.arrival < end)
    episodes = conversion_episodes(arrived, end)
    start = find_history_start(episodes, end)
    rows = lay_out_exposure(arrived, choose_vocabulary(arrived, end), episodes, as_of=end, start=start)
    n = len(rows.client)
    nobody, alike = np.zeros((n, 0), dtype=np.int64), np.zeros(n, dtype=np.int64)
    model = fit_hazard(Exposure(rows.entry_age, rows.exit_age, rows.outcome, nobody, alike, alike), [])
    by_age = forecast(model, age, np.zeros((len(age), 0), dtype=np.int64), np.ones(len(age))).probability
    days = float(np.maximum(rows.exit_age - rows.entry_age, 0.0).sum())
    events = int((rows.outcome == CONVERTED).sum())
    rate = -np.expm1(-WINDOW_DAYS * (events + 0.5) / (days + 500.0))  # half a conversion more keeps it above zero
    return np.full(len(age), rate), by_age
