"""
Watch a daemon that has nothing to do: how much memory, processor and database it holds meanwhile.

    python tests/benchmarks/idle_daemon.py [--minutes 10]

On an embedded PostgreSQL with a few clients, or on the database of DATABASE_URL with --here. The daemon first does
what is due; from then on it is watched, once a second. Prints, beside the bar of each:

    resident    MB, the most that was seen (VmRSS of the process and of those it started)
    processor   percent of a core, of the process and of those it started
    connection  the longest time in seconds for which one connection to the database was there
"""

import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import click
import psycopg

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "acceptance"))
sys.path.insert(0, str(Path(__file__).resolve().parents[2]))
from conftest import migrate_url
from hardship import add_world
from support import PROJECT, clean_environment

from worker.database.embedded import embedded_server

MOST_MEGABYTES = 120.0
MOST_PERCENT = 0.5
LONGEST_CONNECTION_SECONDS = 10.0
SETTLE_SECONDS = 120  # the most that the first work may take
TICKS_PER_SECOND = os.sysconf("SC_CLK_TCK")
OURS = """
SELECT extract(epoch FROM max(now() - backend_start))::float8 FROM pg_stat_activity
WHERE datname = current_database() AND application_name = 'growth-brain-worker'
"""
AT_WORK = "SELECT count(*) FROM worker.runs WHERE status = 'running'"
DONE = "SELECT count(DISTINCT job) FROM worker.runs WHERE shard = -1 AND status <> 'running'"


@dataclass
class Seen:
    """What was seen: the most of each."""

    megabytes: float = 0.0
    percent: float = 0.0
    connection_seconds: float = 0.0

    def table(self):
        """Say it, each beside its bar."""
        rows = [
            ("resident", self.megabytes, MOST_MEGABYTES, "MB"),
            ("processor", self.percent, MOST_PERCENT, "% of a core"),
            ("connection", self.connection_seconds, LONGEST_CONNECTION_SECONDS, "s"),
        ]
        return "\n".join(
            f"{name:<11} {value:8.2f} {unit:<12} bar {bar:g}: {'kept' if value <= bar else 'MISSED'}"
            for name, value, bar, unit in rows
        )


def family(pid):
    """The process and those that it started, at this moment."""
    children = Path(f"/proc/{pid}/task/{pid}/children")
    found = [pid]
    with suppress(OSError):
        for child in children.read_text().split():
            found += family(int(child))
    return found


def megabytes_of(pid):
    """The memory that a process has resident; 0: it is gone."""
    with suppress(OSError, StopIteration):
        lines = Path(f"/proc/{pid}/status").read_text().splitlines()
        return int(next(line for line in lines if line.startswith("VmRSS")).split()[1]) / 1024
    return 0.0


def processor_seconds_of(pid):
    """What a process has used, with those of its children that have ended."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return sum(map(int, fields[11:15])) / TICKS_PER_SECOND


@contextmanager
def running_daemon(url):
    """Run the daemon while the block runs."""
    process = subprocess.Popen(
        [sys.executable, "-m", "worker"], cwd=PROJECT, env=clean_environment(url), stderr=subprocess.DEVNULL
    )
    try:
        yield process
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(timeout=60)


def wait_until_idle(conn, process):
    """Wait until it has done what was due."""
    deadline = time.monotonic() + SETTLE_SECONDS
    calm = 0
    while calm < 5:
        assert process.poll() is None, "the daemon ended"
        assert time.monotonic() < deadline, "the daemon did not come to rest"
        busy = conn.execute(AT_WORK).fetchone() != (0,) or conn.execute(DONE).fetchone() == (0,)
        calm = 0 if busy or len(family(process.pid)) > 1 else calm + 1
        time.sleep(0.5)


def watch(conn, process, seconds):
    """Look once a second for so long."""
    seen = Seen()
    began, used = time.monotonic(), processor_seconds_of(process.pid)
    while time.monotonic() - began < seconds:
        time.sleep(min(1.0, seconds))
        seen.megabytes = max(seen.megabytes, sum(map(megabytes_of, family(process.pid))))
        (age,) = conn.execute(OURS).fetchone()
        seen.connection_seconds = max(seen.connection_seconds, age or 0.0)
    seen.percent = 100 * (processor_seconds_of(process.pid) - used) / (time.monotonic() - began)
    return seen


@contextmanager
def database(here):
    """Give the address of a database to watch it on."""
    if here:
        yield os.environ["DATABASE_URL"]
        return
    folder = Path(tempfile.mkdtemp(prefix="growth-brain-idle-", dir="/var/tmp"))
    folder.chmod(0o755)  # as root the server runs as another user, who has to enter
    try:
        with embedded_server(folder / "server") as url:
            migrate_url(url)
            with psycopg.connect(url, autocommit=True) as conn:
                add_world(conn, 20, 24, datetime.now(tz=UTC))
            yield url
    finally:
        shutil.rmtree(folder)


@click.command(help=__doc__.replace("\n\n", "\n\n\b\n"))
@click.option("--minutes", type=click.FloatRange(min=0.01), default=10.0, help="How long to watch [10].")
@click.option("--here", is_flag=True, help="On the database of DATABASE_URL; its due work is done.")
def main(*, minutes, here):
    """See above."""
    with database(here) as url, psycopg.connect(url, autocommit=True) as conn, running_daemon(url) as process:
        wait_until_idle(conn, process)
        seen = watch(conn, process, 60 * minutes)
        click.echo(f"A daemon without work, watched for {minutes:g} minutes:\n{seen.table()}")


if __name__ == "__main__":
    main()
