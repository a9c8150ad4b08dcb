"""
Foretell nine months of real leads with this worker's model and with what others would use; print one table of scores.

    python tests/benchmarks/conversion_models.py [--markdown]

On the Olist marketing funnel: at each monthly cut-off every model learns from what was known then, and gives every open
lead its probability of being won in the next 30 days. "Above ours" is how much its log loss exceeds this worker's, with
the standard error over leads. Cox needs lifelines (`pip install lifelines`, which is the extra "benchmarks"); without
it that row is left out.
"""

import importlib.util
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import click
import numpy as np
from sklearn.metrics import log_loss, roc_auc_score
from threadpoolctl import threadpool_limits

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
sys.path.insert(0, str(Path(__file__).resolve().parents[2]))
from anchors import age_by_source_table, constant_rate, cox, ignoring_censoring, known_at, landmark_logistic
from olist import FIRST, LAST, NOW, OLIST, leads_of, read_olist

from worker.backtest import cut_offs_between, run_backtest

ANCHORS = {
    "constant rate": constant_rate,
    "logistic, open leads as failures": ignoring_censoring,
    "landmark logistic": landmark_logistic,
    "Cox (lifelines)": cox,
    "age x source table": age_by_source_table,
}
OURS = "this worker"
CLIP = (1e-9, 1 - 1e-9)  # keeps a log loss finite
APRIL = 2  # place of the first cut-off with some months of recorded wins behind it
COLUMNS = (
    "model", "log loss", "above ours", "Brier", "AUC", "expected", "/ actual", "from April", "claims said / right",
    "seconds",
)  # fmt: skip


@dataclass(frozen=True, slots=True, eq=False)
class Row:
    """One model: the leads, their probabilities and outcomes, each as an array for each cut-off, aligned."""

    name: str
    lead_ids: list[np.ndarray]
    probabilities: list[np.ndarray]
    outcomes: list[np.ndarray]
    seconds: float
    claims: tuple[float, float] | None = None

    def loss_by_lead(self):
        """Sum each lead's log loss over the cut-offs, leads in order of their ids: one lead's are not independent."""
        said, happened = np.clip(np.concatenate(self.probabilities), *CLIP), np.concatenate(self.outcomes)
        _, lead = np.unique(np.concatenate(self.lead_ids), return_inverse=True)
        return np.bincount(lead, -np.log(np.where(happened, said, 1 - said)))

    def cells(self, ours):
        """Write its scores; ranks are of one instant, so the AUC is the mean over the cut-offs."""
        said, happened = np.concatenate(self.probabilities), np.concatenate(self.outcomes)
        pairs = list(zip(self.outcomes, self.probabilities, strict=True))
        auc = [roc_auc_score(won, p) for won, p in pairs if 0 < won.sum() < len(won)]
        above = self.loss_by_lead() - ours.loss_by_lead()
        return (
            self.name,
            f"{log_loss(happened, np.clip(said, *CLIP), labels=[False, True]):.5f}",
            f"{above.sum() / len(said):+.5f} ± {above.std() * len(above) ** 0.5 / len(said):.5f}"
            if self != ours
            else "",
            f"{np.mean((said - happened) ** 2):.5f}",
            f"{np.mean(auc):.3f}" if auc else "",
            f"{said.sum():,.0f}",
            self._ratio(0),
            self._ratio(APRIL),
            f"{self.claims[0]:.2f} / {self.claims[1]:.2f}" if self.claims else "",
            f"{self.seconds:.1f}",
        )

    def _ratio(self, first):
        actual = sum(won.sum() for won in self.outcomes[first:])
        return f"{sum(p.sum() for p in self.probabilities[first:]) / actual:.2f}" if actual else ""


def own_rows(folder, n_clients, cut_offs):
    """Look back with the worker's model, and with the age curve alone that its backtest shows beside."""
    leads = leads_of(n_clients, folder)
    started = time.perf_counter()
    cuts = run_backtest(leads, cut_offs, NOW).cut_offs
    seconds = time.perf_counter() - started
    claims = tuple(float(np.concatenate([getattr(cut, name) for cut in cuts]).mean()) for name in ("said", "right"))
    outcomes = [cut.converted for cut in cuts]
    lead_ids = [np.array(cut.lead_ids) for cut in cuts]
    name = OURS if n_clients == 1 else f"{OURS}, {n_clients} clients"
    whole = Row(name, lead_ids, [cut.probability for cut in cuts], outcomes, seconds, claims)
    return cuts, Row("its age curve alone", lead_ids, [cut.by_age for cut in cuts], outcomes, seconds), whole


def anchor_row(name, model, leads, cuts):
    """Fit an anchor at each cut-off and put its probabilities in the order of the worker's own look back."""
    seconds, lead_ids, probabilities = 0.0, [], []
    for cut in cuts:
        known = known_at(leads, cut.as_of)
        started = time.perf_counter()
        found = model(known)
        seconds += time.perf_counter() - started
        place = dict(zip(known.lead_id[known.is_open].tolist(), found.tolist(), strict=True))
        if set(place) != set(cut.lead_ids):
            raise RuntimeError(f"{name} and the worker do not agree on which leads were open on {cut.as_of:%Y-%m-%d}")
        lead_ids.append(np.array(cut.lead_ids))
        probabilities.append(np.array([place[lead_id] for lead_id in cut.lead_ids]))
    return Row(name, lead_ids, probabilities, [cut.converted for cut in cuts], seconds)


def compare(folder, cut_offs, clients):
    """Run every model; rows in the order of the table."""
    leads = read_olist(folder)
    cuts, by_age, whole = own_rows(folder, 1, cut_offs)
    rows = []
    for name, model in ANCHORS.items():
        if model is cox and importlib.util.find_spec("lifelines") is None:
            click.echo("Cox is left out: lifelines is not installed (pip install lifelines).", err=True)
            continue
        rows.append(anchor_row(name, model, leads, cuts))
    return [*rows, by_age, whole, own_rows(folder, clients, cut_offs)[2]]


def write_table(rows, *, markdown):
    """Write the table for a terminal, or for a README."""
    ours = next(row for row in rows if row.name == OURS)
    cells = [COLUMNS, *(row.cells(ours) for row in rows)]
    if markdown:
        rule = ("---", *("---:",) * (len(COLUMNS) - 1))
        return "\n".join(f"| {' | '.join(line)} |" for line in (cells[0], rule, *cells[1:]))
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    return "\n".join(
        "  ".join([line[0].ljust(widths[0]), *map(str.rjust, line[1:], widths[1:])]).rstrip() for line in cells
    )


@click.command()
@click.option(
    "--data", type=click.Path(path_type=Path), default=OLIST, help="Folder of the two files [../shared/data/...]."
)
@click.option("--markdown", is_flag=True, help="Print the table as the README has it.")
@click.option("--cut-offs", "n_cut_offs", type=click.IntRange(1, 9), default=9, help="Only the first of them [9].")
@click.option("--clients", type=click.IntRange(1), default=20, help="Clients of the split run, by a hash [20].")
def main(data, markdown, n_cut_offs, clients):
    """Prints the scores of this worker's conversion model, and of five others, on the Olist funnel."""
    if not data.is_dir():
        click.echo(f"Nothing to compare: there is no folder {data} with the Olist files (--data names another).")
        return
    cut_offs = cut_offs_between(FIRST, LAST, "1month")[:n_cut_offs]
    with threadpool_limits(1):  # of matrices this small, threads only stand in each other's way
        rows = compare(data, cut_offs, clients)
    happened = rows[-1].outcomes
    click.echo(
        f"Cut-offs from {cut_offs[0]:%Y-%m-%d} to {cut_offs[-1]:%Y-%m-%d}:"
        f" {sum(map(len, happened)):,} times an open lead, {sum(won.sum() for won in happened):,} won within 30 days"
        f" ({sum(won.sum() for won in happened[APRIL:]):,} from April on).\n"
    )
    click.echo(write_table(rows, markdown=markdown))


if __name__ == "__main__":
    main()
