"""
Time how long the command line takes to answer where there is little to do, beside what Python itself takes.

    python tests/benchmarks/start_up.py [--rounds 31]

Whole processes, one after the other in each round, on an embedded PostgreSQL, or on the database of DATABASE_URL with
--here. Prints the medians, and of these the ratios beside their bars:

    help    python -m worker.run --help, by python -c pass
    idle    python -m worker.run engagement_score --if-due on a day that is done, by python importing the libraries
            that any run needs: psycopg, psycopg_pool and structlog

The ratios say what is ours, on a fast machine and a slow one; the seconds say little by themselves.
"""

import statistics
import subprocess
import sys
import time
from pathlib import Path

import click

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "acceptance"))
sys.path.insert(0, str(Path(__file__).resolve().parents[2]))
from idle_daemon import database
from support import PROJECT, clean_environment

HELP_BAR, IDLE_BAR = 6.0, 1.6
IDLE = ("-m", "worker.run", "engagement_score", "--if-due", "--as-of", "yesterday")
COMMANDS = {
    "pass": ("-c", "pass"),
    "help": ("-m", "worker.run", "--help"),
    "libraries": ("-c", "import psycopg, psycopg_pool, structlog"),
    "idle": IDLE,
}


def seconds_of(words, environment):
    """Run Python with these words to its end, which has to be a good one."""
    began = time.perf_counter()
    subprocess.run([sys.executable, *words], cwd=PROJECT, env=environment, check=True, capture_output=True)
    return time.perf_counter() - began


def measure(url, rounds):
    """Give the median seconds of each command, all of them run once a round, so that a busy moment strikes all."""
    environment = clean_environment(url)
    subprocess.run([sys.executable, *IDLE], cwd=PROJECT, env=environment, check=True, capture_output=True)
    for words in COMMANDS.values():  # from here on compiled, and in the system's cache
        seconds_of(words, environment)
    times = {name: [] for name in COMMANDS}
    for _ in range(rounds):
        for name, words in COMMANDS.items():
            times[name].append(seconds_of(words, environment))
    return {name: statistics.median(found) for name, found in times.items()}


def ratios(medians):
    """Give both ratios."""
    return {"help": medians["help"] / medians["pass"], "idle": medians["idle"] / medians["libraries"]}


@click.command()
@click.option("--rounds", default=31, show_default=True, type=click.IntRange(min=1))
@click.option("--here", is_flag=True, help="On the database of DATABASE_URL, which is migrated.")
def main(rounds, here):
    with database(here) as url:
        medians = measure(url, rounds)
    for name, seconds in medians.items():
        click.echo(f"{name:<10} {1000 * seconds:7.0f} ms")
    for name, bar in (("help", HELP_BAR), ("idle", IDLE_BAR)):
        found = ratios(medians)[name]
        click.echo(f"{name:<10} {found:7.2f} x   bar {bar:g} x: {'kept' if found <= bar else 'MISSED'}")


if __name__ == "__main__":
    main()
