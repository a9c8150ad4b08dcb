"""
Time the conversion model's fit and prediction of 100,000 leads, each repetition in a process of its own.

    python tests/benchmarks/conversion_speed.py [--leads N] [--clients N]

Wall and CPU seconds of the fastest of several repetitions, the peak of resident memory, and how many times the floor
that is. The floor, timed in the same process, is one pass of numpy over the leads: the days that each spent at every
age, summed by client, which any such model needs before it can learn. The peer is scikit-learn's PoissonRegressor on
the same leads as grouped counts: a curve by age and the features known on arrival, without the calendar, touches,
levels of clients, errors or predictions.
"""

import json
import os
import pickle
import subprocess
import sys
import tempfile
import time
from itertools import pairwise
from pathlib import Path

import click
import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))
from child import peak_megabytes
from zipf_leads import ARCHIVE, AS_OF, WIN, as_leads, draw_zipf_leads

from worker.jobs import conversion_prediction as job

AGE_EDGES = np.array([0, 1, 2, 3, 5, 7, 10, 14, 20, 30, 45, 60, 90, 120, 180, 270, 365, 540, np.inf])  # days
PEER_TOLERANCE = 1e-6  # scikit-learn's own stops early


def timed(work):
    """Give what work() returns, and its wall and CPU seconds."""
    wall, cpu = time.perf_counter(), time.process_time()
    result = work()
    return result, time.perf_counter() - wall, time.process_time() - cpu


def history(drawn):
    """Give each lead's client, days under observation, whether it was won then, and labels known on arrival."""
    end = np.zeros(len(drawn.client), dtype=np.int64)  # open leads: until now
    ending = np.flatnonzero(np.isin(drawn.action_kind, (WIN, ARCHIVE)))
    end[drawn.action_lead[ending]] = drawn.action_time[ending]
    band = np.searchsorted((0.5, 0.7, 0.9), drawn.confidence, side="right")
    weekday = drawn.arrival // 86400 % 7
    labels = [drawn.urgency, drawn.tone, drawn.source, band, weekday]
    return {"client": drawn.client, "days": (drawn.arrival - end) / 86400, "won": drawn.won, "labels": labels}


def days_at_every_age(days):
    """Yield the days that each lead spent in each bin of age."""
    for low, high in pairwise(AGE_EDGES):
        yield np.clip(days, low, high) - low


def one_pass(known):
    """Sum the days at every age by client."""
    return [np.bincount(known["client"], spent) for spent in days_at_every_age(known["days"])]


def fit_peer(known):
    """Fit PoissonRegressor on the leads grouped by age and labels."""
    from scipy.sparse import csr_array
    from sklearn.linear_model import PoissonRegressor

    last = np.searchsorted(AGE_EDGES, known["days"], side="right") - 1
    sizes = (len(AGE_EDGES) - 1, *(int(label.max()) + 1 for label in known["labels"]))
    keys, days, wins = [], [], []
    for age_bin, spent in enumerate(days_at_every_age(known["days"])):
        rows = np.flatnonzero(spent)
        labels = (label[rows] for label in known["labels"])
        keys.append(np.ravel_multi_index((np.full(len(rows), age_bin), *labels), sizes))
        days.append(spent[rows])
        wins.append(known["won"][rows] & (last[rows] == age_bin))
    groups, place = np.unique(np.concatenate(keys), return_inverse=True)
    days, wins = (np.bincount(place, np.concatenate(parts)) for parts in (days, wins))
    column = np.stack(np.unravel_index(groups, sizes), axis=1) + np.cumsum((0, *sizes[:-1]))
    ends = np.arange(0, column.size + 1, len(sizes))
    design = csr_array((np.ones(column.size), column.ravel(), ends), shape=(len(groups), sum(sizes)))
    return PoissonRegressor(alpha=1e-6, tol=PEER_TOLERANCE, max_iter=1000).fit(design, wins / days, sample_weight=days)


def measure(leads, known, *, with_peer):
    """Time everything once, in this process; the peak is taken before the peer, which needs more memory."""
    before = peak_megabytes()
    model, fit_wall, fit_cpu = timed(lambda: job.fit(leads, AS_OF))
    found, predict_wall, predict_cpu = timed(lambda: job.predict(leads, model, AS_OF, np.random.default_rng(1)))
    peak = peak_megabytes()
    floor = min(timed(lambda: one_pass(known))[1] for _ in range(3))
    peer = timed(lambda: fit_peer(known))[1] if with_peer else None
    return {
        "fit": fit_wall, "predict": predict_wall, "wall": fit_wall + predict_wall, "cpu": fit_cpu + predict_cpu,
        "megabytes": peak, "megabytes_before": before, "floor": floor, "peer": peer,
        "open": len(found.cohort), "expected": float(found.probability.sum()),
    }  # fmt: skip


@click.command()
@click.option("--leads", "n_leads", type=click.IntRange(100), default=100_000, help="How many leads [100,000].")
@click.option("--clients", "n_clients", type=click.IntRange(1), default=1_000, help="Of how many clients [1,000].")
@click.option("--repeat", type=click.IntRange(1), default=5, help="Repetitions; the fastest counts [5].")
@click.option("--peer/--no-peer", default=True, help="Whether to time scikit-learn's PoissonRegressor as well.")
@click.option("--in-this-process", type=click.Path(path_type=Path), hidden=True)
def main(n_leads, n_clients, repeat, in_this_process, *, peer):
    """Prints wall and CPU seconds and peak memory of the conversion model's fit and prediction, and their floor."""
    if in_this_process is not None:
        with in_this_process.open("rb") as file:
            leads, known = pickle.load(file)
        click.echo(json.dumps(measure(leads, known, with_peer=peer)))
        return
    drawn = draw_zipf_leads(n_leads, n_clients)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "leads.pickle"
        path.write_bytes(pickle.dumps((as_leads(drawn), history(drawn))))
        runs = []
        for number in range(repeat):
            options = ["--in-this-process", str(path), "--peer" if peer and number == 0 else "--no-peer"]
            done = subprocess.run([sys.executable, __file__, *options], check=True, stdout=subprocess.PIPE)
            runs.append(json.loads(done.stdout))
    best = min(runs, key=lambda run: run["wall"])
    floor = min(run["floor"] for run in runs)
    megabytes = max(run["megabytes"] for run in runs)
    walls = ", ".join(f"{run['wall']:.2f}" for run in runs)
    threads = os.environ.get("OMP_NUM_THREADS", "not set")
    click.echo(
        f"{n_leads:,} leads and {len(drawn.action_lead):,} actions of {n_clients:,} clients, {best['open']:,} open;"
        f" best of {repeat}, {os.cpu_count()} cores, OMP_NUM_THREADS {threads}\n\n"
        f"fit                {best['fit']:8.3f} s\n"
        f"predict            {best['predict']:8.3f} s\n"
        f"fit + predict      {best['wall']:8.3f} s wall, {best['cpu']:.3f} s CPU"
        f" (all runs {walls})\n"
        f"peak memory        {megabytes:8.0f} MB, of which {best['megabytes_before']:.0f} MB before the fit:"
        " Python, its libraries and the leads\n"
        f"floor, one pass    {floor:8.3f} s; fit + predict is {best['wall'] / floor:.1f} times that"
    )
    if peer:
        took = runs[0]["peer"]
        click.echo(
            f"peer, scikit-learn {took:8.3f} s for a fit alone; fit + predict is {best['wall'] / took:.2f} of that"
        )


if __name__ == "__main__":
    main()
