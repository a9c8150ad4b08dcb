"""
How long the worker takes against what the database alone needs for the same rows (floor.py).

    python tests/benchmarks/speed.py [--size S] [--what analyses] [--rounds N] [--dir DIR | --database URL]

    analyses    engagement, urgency, tone and patterns in process, from connecting to the last commit
    all         every job in process, on the day after a month in which the jobs ran twice
    one-off     `python -m worker.run engagement_score` as a whole process, against one that only imports, and the floor
    rerun       the four analyses again with nothing changed: how many rows are written
    history     the four analyses on S4 against S: four times the history, the same last two years
    clients     the four analyses on M against S: time a client
    prediction  conversion_prediction in process: the fit and the score of every open lead
    shards      the four analyses in shards of 500 clients
    executors   analyses and prediction in several processes against one

Every measured run is a process of its own and begins with the same rows; floor and runs take turns, and medians are
compared. Ratios and rows can be compared between machines, seconds cannot. The ratio of CPU seconds, those of the
server included, tells the same where others keep the machine busy; the server must then have nothing else to do. Bars
are printed beside, never asserted.
"""

import os
import subprocess
import sys
import time
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from statistics import median

import click
import psycopg

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "acceptance"))
sys.path.insert(0, str(Path(__file__).resolve().parents[2]))
from child import measured
from databases import SIZES, describe, opened
from floor import Floor, measure_floor, written
from processor import spent
from state import clear, digest, keep, restore, rows_written
from support import PROJECT, clean_environment
from zipf_leads import AS_OF

from worker.timetable import JOB_NAMES

ANALYSES = ("engagement_score", "urgency_trend", "tone_distribution", "pattern_detection")
PREDICTION = "conversion_prediction"
CLIENTS_A_SHARD = 500
EARLIER_DAYS = (30, 1)  # before as_of: when the jobs ran before, on a day like others
IMPORTS = "import numpy, psycopg, structlog"


@dataclass(frozen=True)
class Bar:
    """What is aimed for, in words: at least, and at best."""

    least: str
    best: str = ""

    def __str__(self):
        return f"bar {self.least}" + (f", stretch {self.best}" if self.best else "")


NO_BAR = Bar("none")
BARS = {
    ("analyses", "S"): Bar("<= 4 x floor", "2 x"),
    ("analyses", "M"): Bar("<= 3 x floor and <= 400 MB", "1.6 x and 250 MB"),
    ("all", "S"): Bar("<= 8 x floor", "4 x"),
    ("one-off", "S"): Bar("<= 2 x", "1.4 x"),
    ("rerun", "S"): Bar("0 rows"),
    ("history", "S"): Bar("<= 1.2 x", "1.05 x"),
    ("clients", "M"): Bar("<= 1.1 x", "falls"),
    ("prediction", "M"): Bar("<= 12 s and <= 700 MB", "5 s and 400 MB"),
    ("shards", "L"): Bar("ends, <= 600 MB a process"),
    ("executors", "M"): Bar(">= 1.5 x where the database is not the limit", "1.8 x"),
}
LONGER = {"S": "S4", "XS": "XS4"}  # the same with more history
FEWER = {"M": "S", "S": "XS", "XS4": "XS"}  # what time a client is compared with


@dataclass
class Bench:
    """One loaded database, and the runs on it."""

    size: str
    url: str
    conn: psycopg.Connection

    def run(self, jobs, as_of=AS_OF, **options):
        """Run jobs in a process of its own, from the start that was kept."""
        restore(self.conn)
        return self.again(jobs, as_of, **options)

    def again(self, jobs, as_of=AS_OF, **options):
        """Run jobs on what the last run left."""
        arguments = {"url": self.url, "jobs": list(jobs), "as_of": as_of.isoformat(), **options}
        run, server = spent(self.conn, lambda: measured("in_process:run", **arguments))
        return {**run, "server": server}

    def floor(self):
        """Time the floor with what the last run wrote."""
        return measure_floor(self.conn, AS_OF, written(self.conn))


def tell(what, size, result, details):
    """Print one line: what was found, its bar, and whence it comes."""
    click.echo(f"{size} {what}: {result}   [{BARS.get((what, size), NO_BAR)}]\n    {details}")


def middle(runs, key="seconds"):
    """The median of one number over runs."""
    return median(run[key] for run in runs)


def by_cpu(runs, floors):
    """Say the same in CPU seconds, which do not tell how busy others keep the machine."""
    own = middle(runs, "cpu")
    if any(one["server"] is None for one in runs) or any(floor.server is None for floor in floors):
        return f"{own:.3f} s CPU of its own"
    ratio = median((run["cpu"] + run["server"]) / one.server for run, one in zip(runs, floors, strict=True))
    return (
        f"by CPU {ratio:.2f} x floor: {own:.3f} s of its own and {middle(runs, 'server'):.3f} s of the server's,"
        f" floor {median(one.server for one in floors):.3f} s"
    )


def parts(runs):
    """Say how long each job took, of the first with the reading, and when the log told what."""
    jobs = ", ".join(f"{name} {median(run['jobs'][name] for run in runs):.3f}" for name in runs[0]["jobs"])
    moments = {}
    for when, event, job in (told for run in runs for told in run["events"]):
        if event != "run.finished":
            moments.setdefault(f"{event} {job}" if job else event, []).append(when)
    logged = ", ".join(f"{event} after {median(found):.3f} s" for event, found in moments.items())
    return f"jobs: {jobs}" + (f"\n    log: {logged}" if logged else "")


def against_floor(bench, what, jobs, rounds, **options):
    """Measure jobs in process beside the floor."""
    runs, floors = [], []
    for _ in range(rounds):
        runs.append(bench.run(jobs, **options))
        floors.append(bench.floor())
    floor, seconds = Floor.middle(floors), middle(runs)
    ratio = median(run["seconds"] / one.seconds for run, one in zip(runs, floors, strict=True))
    tell(
        what, bench.size, f"{ratio:.2f} x floor, {max(run['megabytes'] for run in runs):.0f} MB",
        f"{by_cpu(runs, floors)}\n"
        f"    {seconds:.3f} s, {runs[0]['inserted']:,} rows inserted,"
        f" {runs[0]['updated']:,} updated, {rounds} rounds\n"
        f"    {floor}\n    {parts(runs)}",
    )  # fmt: skip


def analyses(benches, size, rounds):
    bench = benches[size]
    clear(bench.conn)
    against_floor(bench, "analyses", ANALYSES, rounds)


def all_jobs(benches, size, rounds):
    bench = benches[size]
    clear(bench.conn)
    for days in EARLIER_DAYS:
        bench.again(JOB_NAMES, AS_OF.fromtimestamp(AS_OF.timestamp() - days * 86400, AS_OF.tzinfo))
    keep(bench.conn)
    against_floor(bench, "all", JOB_NAMES, rounds)


def prediction(benches, size, rounds):
    bench = benches[size]
    clear(bench.conn)
    runs = [bench.run((PREDICTION,)) for _ in range(rounds)]
    tell(
        "prediction", size, f"{middle(runs):.2f} s, {max(run['megabytes'] for run in runs):.0f} MB",
        f"{middle(runs, 'cpu'):.2f} s CPU of its own, {runs[0]['inserted']:,} rows inserted, {rounds} rounds\n"
        f"    {parts(runs)}",
    )  # fmt: skip


def shards(benches, size, rounds):
    bench = benches[size]
    clear(bench.conn)
    against_floor(bench, "shards", ANALYSES, rounds, shards=-(-SIZES[size].n_clients // CLIENTS_A_SHARD))


def rerun(benches, size, rounds):
    bench = benches[size]
    clear(bench.conn)
    found, before = [bench.run(ANALYSES)], rows_written(bench.conn)
    found += [bench.again(ANALYSES) for _ in range(rounds)]
    touched = [now - then for now, then in zip(rows_written(bench.conn), before, strict=True)]
    said = sum(run[name] for run in found[1:] for name in ("inserted", "updated", "deleted"))
    tell(
        "rerun", size, f"{said} rows written",
        f"the server counts {touched[0]} inserted, {touched[1]} updated, {touched[2]} deleted in {rounds} runs;"
        f" {middle(found[1:]) / found[0]['seconds']:.2f} of the first run's time",
    )  # fmt: skip


def history(benches, size, rounds):
    """S beside S4."""
    short, long = benches[size], benches[LONGER[size]]
    for bench in (short, long):
        clear(bench.conn)
    pairs = [(short.run(ANALYSES), long.run(ANALYSES)) for _ in range(rounds)]
    ratio = median(four["seconds"] / one["seconds"] for one, four in pairs)
    same = {run["inserted"] for pair in pairs for run in pair}
    tell(
        "history", size, f"{ratio:.2f} x the time with four times the history",
        f"{middle([one for one, _ in pairs]):.3f} s and {middle([four for _, four in pairs]):.3f} s,"
        f" {' and '.join(f'{n:,}' for n in sorted(same))} rows inserted, {rounds} rounds",
    )  # fmt: skip


def clients(benches, size, rounds):
    """M beside S."""
    few, many = benches[FEWER[size]], benches[size]
    for bench in (few, many):
        clear(bench.conn)
    pairs = [(few.run(ANALYSES), many.run(ANALYSES)) for _ in range(rounds)]
    n_few, n_many = SIZES[few.size].n_clients, SIZES[many.size].n_clients
    ratio = median((one["seconds"] / n_many) / (other["seconds"] / n_few) for other, one in pairs)
    tell(
        "clients", size, f"{ratio:.2f} x the time a client of {few.size}",
        f"{1000 * middle([a for a, _ in pairs]) / n_few:.3f} ms and {1000 * middle([b for _, b in pairs]) / n_many:.3f}"
        f" ms a client, {rounds} rounds",
    )  # fmt: skip


def process_seconds(*words, url=None):
    """Wall seconds of a Python process, its modules compiled before, as those of an installed package are."""
    environment = clean_environment(url, WORKER_LOG_LEVEL="WARNING")
    environment.pop("PYTHONDONTWRITEBYTECODE", None)
    started = time.perf_counter()
    done = subprocess.run(
        [sys.executable, *words], cwd=PROJECT, capture_output=True, text=True, check=False, env=environment
    )
    if done.returncode:
        raise RuntimeError(f"{words} ended with {done.returncode}:\n{done.stdout}{done.stderr}")
    return time.perf_counter() - started


def one_off(benches, size, rounds):
    bench = benches[size]
    clear(bench.conn)
    command = ("-m", "worker.run", "engagement_score", "--as-of", AS_OF.isoformat())
    process_seconds(*command[:2], "--help")  # the first to come compiles
    runs, bare, floors = [], [], []
    for _ in range(rounds):
        restore(bench.conn)
        runs.append(process_seconds(*command, url=bench.url))
        bare.append(process_seconds("-c", IMPORTS))
        floors.append(bench.floor())
    floor = Floor.middle(floors)
    ratio = median(run / (one + two.seconds) for run, one, two in zip(runs, bare, floors, strict=True))
    tell(
        "one-off", size, f"{ratio:.2f} x",
        f"{median(runs):.3f} s against {median(bare):.3f} s of `{IMPORTS}` and the floor, {rounds} rounds\n    {floor}",
    )  # fmt: skip


def executors(benches, size, rounds):
    """One process beside several, where this checkout can."""
    from in_process import takes_executor

    if not takes_executor():
        click.echo(f"{size} executors: this checkout's runs cannot be spread over processes")
        return
    bench, jobs = benches[size], (*ANALYSES, PREDICTION)
    clear(bench.conn)
    spread = [("processes", "processes")]
    if address := os.environ.get("BENCHMARK_DASK"):
        spread.append(("dask", f"dask={address}"))
    for name, executor in spread:
        pairs = []
        for _ in range(rounds):
            alone, expected = bench.run(jobs), digest(bench.conn)
            pairs.append((alone, bench.run(jobs, executor=executor)))
            if digest(bench.conn) != expected:
                raise AssertionError(f"{name} wrote other snapshots than one process")
        gain = median(one["seconds"] / many["seconds"] for one, many in pairs)
        tell("executors", size, f"{gain:.2f} x as fast with {name}", f"{middle([one for one, _ in pairs]):.3f} s alone")


SCENES = {
    "analyses": analyses,
    "all": all_jobs,
    "one-off": one_off,
    "rerun": rerun,
    "history": history,
    "clients": clients,
    "prediction": prediction,
    "shards": shards,
    "executors": executors,
}


def sizes_of(size, scene):
    """Which databases a scene needs."""
    beside = {"history": LONGER, "clients": FEWER}.get(scene)
    if beside is None:
        return (size,)
    if size not in beside:
        raise click.UsageError(f"--what {scene} is for --size {' or '.join(beside)}")
    return (beside[size], size)


@click.command()
@click.option("--size", type=click.Choice(tuple(SIZES)), default="S", help="Which database, see databases.py [S].")
@click.option(
    "--what", "scenes", type=click.Choice(tuple(SCENES)), multiple=True, default=("analyses",), help="[analyses]"
)
@click.option("--rounds", type=click.IntRange(1), default=5, help="How often floor and run take turns [5].")
@click.option("--dir", "directory", type=click.Path(path_type=Path), help="Where databases.py keeps its data.")
@click.option("--database", help="A database that databases.py loaded, instead of one in DIR.")
def main(size, scenes, rounds, directory, database):
    """Prints how many times the floor the worker takes, each figure beside its bar."""
    wanted = dict.fromkeys(name for scene in scenes for name in sizes_of(size, scene))
    with ExitStack() as stack:
        urls = stack.enter_context(opened(tuple(wanted), directory, database))
        benches = {
            name: Bench(name, url, stack.enter_context(psycopg.connect(url, autocommit=True)))
            for name, url in urls.items()
        }
        for name, bench in benches.items():
            click.echo(f"{name}: {describe(bench.url)}")
        for scene in scenes:
            SCENES[scene](benches, size, rounds)


if __name__ == "__main__":
    main()
