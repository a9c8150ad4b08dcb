"""
What others would do: three ways to count the same things, beside the worker's four analyses.

    python tests/benchmarks/peers.py [--size S] [--rounds N] [--dir DIR | --database URL]

    loops   for each analysis and each client one query, and a loop over its rows in Python: the product's first design
    pandas  the window's rows in one data frame, groupby, one COPY
    sql     one INSERT ... SELECT an analysis, as a scheduled statement in the database would do it

The peers only count (plain_counts.py): no intervals, no shrinkage, no confidence, no sentences. The worker, which does
all that, has to be compared with them in this light. All write the same rows, which is checked, and the worker's own
snapshots must hold the same numbers. Worker and peers take turns, each in a process of its own, from connecting to the
last commit.
"""

import sys
from contextlib import ExitStack
from importlib.util import find_spec
from pathlib import Path
from statistics import median

import click
import psycopg

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))
from child import measured
from databases import SIZES, describe, opened
from plain_counts import KINDS, LEVELS, MADE_READY, TABLE
from processor import spent
from speed import ANALYSES, Bar, Bench, middle
from state import clear
from zipf_leads import AS_OF

PEERS = {"loops": "peer_loops:run", "pandas": "peer_pandas:run", "sql": "peer_sql:run"}
BARS = {("loops", "S"): Bar(">= 7 x", ">= 15 x")}
COUNTED = f"SELECT c.client_id::text, c.event_type, c.learning_snapshot, c.insight_text FROM {TABLE} AS c"
SAID = """
SELECT g.client_id::text, g.event_type, g.learning_snapshot FROM growth_brain AS g
WHERE g.client_id IS NOT NULL AND g.event_type <> 'pattern_detected'
"""
CLOSE = 1e-9


def counts_of(conn):
    """Give what a peer wrote, by client and analysis."""
    return {(client_id, name): (content, text) for client_id, name, content, text in conn.execute(COUNTED)}


def ensure_same(found):
    """Raise AssertionError where two peers' counts differ."""
    (first, expected), *others = found.items()
    for name, counts in others:
        wrong = [key for key in expected.keys() | counts.keys() if expected.get(key) != counts.get(key)]
        if wrong:
            key = min(wrong)
            raise AssertionError(f"{len(wrong)} rows: {first} {expected.get(key)}, {name} {counts.get(key)} for {key}")


def ensure_worker_agrees(conn, counts):
    """Raise AssertionError where the worker's snapshots hold other numbers than the peers; how many were compared."""
    said = {(client_id, name): content for client_id, name, content in conn.execute(SAID)}
    asked = {key for key in counts if key[1] != "pattern_detection"}
    if said.keys() != asked:
        raise AssertionError(f"snapshots of the worker or of the peers alone: {min(said.keys() ^ asked)}")
    for key in asked:
        mine, theirs = numbers_said(key[1], said[key]), numbers_counted(key[1], counts[key][0])
        if mine.keys() != theirs.keys() or any(not _equal(mine[name], theirs[name]) for name in mine):
            raise AssertionError(f"{key}: worker {mine}, peers {theirs}")
    return len(asked)


def _equal(one, other):
    return one == other or (None not in (one, other) and abs(one - other) < CLOSE)


def numbers_said(name, content):
    """Give the numbers of one of the worker's snapshots that the peers count as well."""
    if name == "engagement_score":
        metrics = content["metrics"]
        return {**metrics, "n": content["n"], "n_previous": content["n_previous"]}
    counts = {kind: number for kind, number in content["counts"].items() if number or kind in (*LEVELS, *KINDS)}
    return counts if name == "tone_distribution" else {**counts, "n_previous": content["n_previous"]}


def numbers_counted(name, content):
    """Give the same numbers as a peer has them."""
    if name == "engagement_score":
        n, known, rated = (content[key] for key in ("total_leads", "urgency_known", "confidence_known"))
        return {
            "total_leads": n,
            "active_leads": content["active_leads"],
            "avg_confidence": content["confidence_hundredths"] / 100 / rated if rated else None,
            "high_urgency_pct": content["high"] / known if known else None,
            "n": n,
            "n_previous": content["previous_total"],
        }
    if name == "urgency_trend":
        return {**content["counts"], "n_previous": sum(content["previous"].values())}
    return content["counts"]


def measure_peer(bench, work):
    """Run one peer on an empty table."""
    bench.conn.execute(MADE_READY)
    arguments = {"url": bench.url, "as_of": AS_OF.isoformat()}
    run, server = spent(bench.conn, lambda: measured(work, **arguments))
    return {**run, "server": server}


def one_round(bench, peers):
    """Run the worker and all peers; their runs, and what the peers counted."""
    runs, counts = {"worker": bench.run(ANALYSES)}, {}
    for name in peers:
        runs[name] = measure_peer(bench, PEERS[name])
        counts[name] = counts_of(bench.conn)
    ensure_same(counts)
    return runs, next(iter(counts.values()))


def by_cpu(name, rounds):
    """Say the same in CPU seconds of client and server, where they are known."""
    pairs = [(runs[name], runs["worker"]) for runs in rounds]
    if any(run["server"] is None for pair in pairs for run in pair):
        return ""
    spent_by = [[run["cpu"] + run["server"] for run in pair] for pair in pairs]
    ratio = median(peer / worker for peer, worker in spent_by)
    took, worker = (median(seconds) for seconds in zip(*spent_by, strict=True))
    return f"; by CPU {ratio:.2f} x as fast: {took:.3f} s, the worker {worker:.3f} s"


def tell(size, peers, rounds, floors):
    """Print how long each took, and how many times as long as the worker."""
    worker = [runs["worker"] for runs in rounds]
    floor = median(floors)
    click.echo(
        f"{size} worker, the four analyses: {middle(worker):.3f} s, {middle(worker) / floor:.2f} x floor,"
        f" {middle(worker, 'megabytes'):.0f} MB"
    )
    for name in peers:
        faster = median(runs[name]["seconds"] / runs["worker"]["seconds"] for runs in rounds)
        took, memory = (middle([runs[name] for runs in rounds], key) for key in ("seconds", "megabytes"))
        bar = BARS.get((name, size), "no bar")
        click.echo(
            f"{size} worker is {faster:.2f} x as fast as {name}   [{bar}]\n"
            f"    {took:.3f} s, {took / floor:.2f} x floor, {memory:.0f} MB{by_cpu(name, rounds)}"
        )


@click.command()
@click.option("--size", type=click.Choice(tuple(SIZES)), default="S", help="Which database, see databases.py [S].")
@click.option("--rounds", type=click.IntRange(1), default=3, help="How often worker and peers take turns [3].")
@click.option("--dir", "directory", type=click.Path(path_type=Path), help="Where databases.py keeps its data.")
@click.option("--database", help="A database that databases.py loaded, instead of one in DIR.")
def main(size, rounds, directory, database):
    """Prints how many times as fast as each peer the worker is, after checking that all counted the same."""
    peers = [name for name in PEERS if name != "pandas" or find_spec("pandas")]
    with ExitStack() as stack:
        urls = stack.enter_context(opened((size,), directory, database))
        bench = Bench(size, urls[size], stack.enter_context(psycopg.connect(urls[size], autocommit=True)))
        click.echo(f"{size}: {describe(bench.url)}")
        if "pandas" not in peers:
            click.echo("pandas is not installed: that peer is left out (pip install growth-brain-worker[benchmarks])")
        clear(bench.conn)
        found, floors = [], []
        for _ in range(rounds):
            runs, counts = one_round(bench, peers)
            agreed = ensure_worker_agrees(bench.conn, counts)
            found.append(runs)
            floors.append(bench.floor().seconds)
        click.echo(
            f"{len(counts):,} rows, the same from all peers; the worker's {agreed:,} snapshots hold the same numbers"
        )
        tell(size, peers, found, floors)


if __name__ == "__main__":
    main()
