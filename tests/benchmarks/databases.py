"""
Makes the databases that the benchmarks measure on, and keeps them: made-up leads of two years, Zipf-sized clients.

    python tests/benchmarks/databases.py --size S [--size M ...] [--dir DIR | --database URL] [--serve]

    S    1,000 clients, 100,000 leads, 500,000 actions
    S4   the same and three times as much history before it: the last two years are those of S, row for row
    M    10,000 clients, 2,000,000 leads, 10,000,000 actions
    L    100,000 clients, 10,000,000 leads, no actions
    XS   20 clients, 1,000 leads, to try the benchmarks themselves; XS4 as S4

On a PostgreSQL server of its own whose data stay in DIR, so that a second call has nothing to load; or in the database
of URL, which must hold no leads but those that this script loaded. With --serve the server runs until Ctrl-C.
"""

import os
import shutil
import subprocess
import sys
import threading
import time
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import click
import psycopg
from psycopg import sql
from psycopg.conninfo import make_conninfo

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))
from loading import SEED, WithoutIndexes, add_clients, add_leads
from zipf_leads import DAYS, draw_zipf_leads

from worker.database.embedded import default_folder, embedded_server
from worker.database.migrations import migrate
from worker.database.pool import open_pool
from worker.settings import Settings

MOST_SHARED_BUFFERS = 4096  # MB: what the largest database that is measured needs to be cached whole
WANTED_MAJOR = "15"
DEBIAN = Path("/usr/lib/postgresql")


@dataclass(frozen=True)
class Size:
    """How much is loaded: blocks of so many leads over so many days each, the newest block up to AS_OF."""

    name: str
    n_clients: int
    leads_a_block: int
    blocks: int = 1
    days_a_block: int = DAYS
    actions: bool = True

    @property
    def n_leads(self):
        return self.leads_a_block * self.blocks


SIZES = {
    size.name: size
    for size in (
        Size("XS", 20, 1_000),
        Size("XS4", 20, 1_000, blocks=4),
        Size("S", 1_000, 100_000),
        Size("S4", 1_000, 100_000, blocks=4),
        Size("M", 10_000, 2_000_000),
        Size("L", 100_000, 2_000_000, blocks=5, days_a_block=DAYS // 5, actions=False),
    )
}


def default_directory():
    """Where the server's data stay unless told otherwise."""
    return default_folder().with_name("growth-brain-benchmarks")


def settings_of(conninfo):
    """Settings for a database as large as these."""
    return Settings.from_environment({"DATABASE_URL": conninfo, "WORKER_STATEMENT_TIMEOUT_SECONDS": "3600"})


def find_programs():
    """Find the folder of PostgreSQL's programs, version 15 rather than another; None: those of the Python package."""
    places = [found.parent for name in ("initdb", "postgres") if (found := _which(name))]
    if config := _which("pg_config"):
        places.append(
            Path(subprocess.run([config, "--bindir"], capture_output=True, text=True, check=True).stdout.strip())
        )
    places += sorted(DEBIAN.glob("*/bin"), reverse=True)
    usable = [place for place in places if (place / "initdb").exists() and (place / "postgres").exists()]
    return min(usable, key=lambda place: _major(place) != WANTED_MAJOR, default=None)


def _which(name):
    found = shutil.which(name)
    return Path(found).resolve() if found else None


def _major(place):
    told = subprocess.run([place / "postgres", "--version"], capture_output=True, text=True, check=True).stdout
    return told.split()[2].split(".")[0]


def server_settings():
    """How the server is set up: everything cached, nothing cleaned up meanwhile; durable as usual."""
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // 2**20
    return {
        "shared_buffers": f"{max(128, min(MOST_SHARED_BUFFERS, memory // 6))}MB",
        "work_mem": "64MB",
        "maintenance_work_mem": "1GB",
        "max_wal_size": "8GB",
        "random_page_cost": "1.1",
        "autovacuum": "off",
    }


@contextmanager
def own_server(directory):
    """Run the server of a folder, set up as above, and yield its address."""
    programs = find_programs()
    with embedded_server(directory, programs=programs) as conninfo:
        set_up(conninfo)
    with embedded_server(directory, programs=programs) as conninfo:  # another start: some settings need one
        yield conninfo


def set_up(conninfo):
    """Write the settings down."""
    with psycopg.connect(conninfo, autocommit=True) as conn:
        for name, value in server_settings().items():
            conn.execute(sql.SQL("ALTER SYSTEM SET {} = {}").format(sql.Identifier(name), sql.Literal(value)))


@contextmanager
def opened(sizes, directory=None, database=None):
    """Yield the address of each size's database, by its name, loaded where it was not yet."""
    if database is not None:
        if len(sizes) > 1:
            raise click.UsageError("--database is of one size")
        (size,) = sizes
        ensure_loaded(database, size)
        yield {size: database}
        return
    with own_server(directory or default_directory()) as conninfo:
        urls = {}
        with psycopg.connect(conninfo, autocommit=True) as admin:
            for size in sizes:
                urls[size] = make_conninfo(conninfo, dbname=f"benchmark_{size.lower()}")
                ensure_database(admin, urls[size], f"benchmark_{size.lower()}")
                ensure_loaded(urls[size], size)
        yield urls


def ensure_database(admin, url, name):
    """Make the database, or make it anew where a load was broken off."""
    known = admin.execute("SELECT 1 FROM pg_database WHERE datname = %s", [name]).fetchone()
    if known and loaded_as(url) is None:
        admin.execute(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(sql.Identifier(name)))
        known = None
    if not known:
        admin.execute(sql.SQL("CREATE DATABASE {} TEMPLATE template0").format(sql.Identifier(name)))


def loaded_as(url):
    """Tell which size was loaded whole; None: none was."""
    with psycopg.connect(url) as conn:
        if conn.execute("SELECT to_regclass('benchmark.loaded')").fetchone()[0] is None:
            return None
        return conn.execute("SELECT size FROM benchmark.loaded WHERE seed = %s", [SEED]).fetchone()[0]


def ensure_loaded(url, name):
    """Bring a database to this checkout's schema and load it, unless it is; never beside other leads."""
    found = loaded_as(url)
    if found is None:
        refuse_strangers(url)
    elif found != name:
        raise click.ClickException(f"the database holds the leads of size {found}, not {name}")
    with open_pool(settings_of(url)) as database:
        migrate(database)
    if found is None:
        load(url, SIZES[name])


def refuse_strangers(url):
    """Raise ClickException where anybody else's rows are."""
    with psycopg.connect(url) as conn:
        for table in ("clients", "lead_memory", "growth_brain"):
            there = conn.execute("SELECT to_regclass(%s)", [f"public.{table}"]).fetchone()[0]
            if there and conn.execute(f"SELECT 1 FROM public.{table} LIMIT 1").fetchone():
                raise click.ClickException(f"{table} holds rows that are not a benchmark's: the database is left alone")


def load(url, size):
    """Load leads and actions, oldest first."""
    started = time.monotonic()
    with psycopg.connect(url, autocommit=True) as conn:
        add_clients(conn, size.n_clients, size.blocks * size.days_a_block)
        with WithoutIndexes(conn):
            for block in reversed(range(size.blocks)):
                days = {"since": (block + 1) * size.days_a_block, "until": block * size.days_a_block}
                drawn = draw_zipf_leads(size.leads_a_block, size.n_clients, SEED + block, **days)
                add_leads(conn, drawn, block * size.leads_a_block, SEED, with_actions=size.actions)
        conn.execute("VACUUM (ANALYZE)")
        conn.execute("CREATE SCHEMA benchmark")
        conn.execute("CREATE TABLE benchmark.loaded AS SELECT %s::text AS size, %s::int AS seed", [size.name, SEED])
    click.echo(f"{size.name}: loaded in {time.monotonic() - started:.0f} s", err=True)


def describe(url):
    """Say what a database holds."""
    with psycopg.connect(url) as conn:
        counts = [
            conn.execute(f"SELECT count(*) FROM {table}").fetchone()[0]
            for table in ("clients", "lead_memory", "lead_actions")
        ]
        width = conn.execute("SELECT pg_relation_size('lead_memory')").fetchone()[0] / counts[1]
    return "{:,} clients, {:,} leads, {:,} actions".format(*counts) + f", {width:.0f} bytes a lead on disk"


@click.command()
@click.option("--size", "sizes", type=click.Choice(tuple(SIZES)), multiple=True, default=("S",), help="[S]")
@click.option("--dir", "directory", type=click.Path(path_type=Path), help="Where the server keeps its data.")
@click.option("--database", help="Use this database instead; it must be empty, or loaded by this script.")
@click.option("--serve", is_flag=True, help="Keep the server running until Ctrl-C.")
def main(sizes, directory, database, *, serve):
    """Prints the address of each database and what it holds, after loading it where needed."""
    with opened(sizes, directory, database) as urls:
        for size, url in urls.items():
            click.echo(f"{size}: {describe(url)}\n   DATABASE_URL='{url}'")
        if serve:
            click.echo("Ctrl-C stops the server", err=True)
            try:
                threading.Event().wait()
            except KeyboardInterrupt:
                click.echo("stopped", err=True)


if __name__ == "__main__":
    main()
