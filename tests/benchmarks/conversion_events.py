"""
Time the job conversion_events on 100,000 leads with 500,000 actions, and above all when there is nothing new.

    python tests/benchmarks/conversion_events.py [--data-dir DIR]

On an embedded PostgreSQL. Runs of `python -m worker.run conversion_events`, each a process of its own: the first meets
everything; the next nothing new, while others write elsewhere on the server, as they always do; then nothing new on an
idle server, where not a single transaction passed since; then ten leads that were won. Of each:

    process   wall seconds of the process, with its start and its imports
    job       wall seconds of the job, as its own summary says
    database  milliseconds that the server spent on our statements: active_time of pg_stat_database, which counts from
              the arrival of a statement to the last row sent, and so also waits for a client that reads slowly
    execute   milliseconds that the worker waited in psycopg's Cursor.execute, and how many statements that were;
              without BEGIN and COMMIT

The leads are copied once, into a database that stays in DIR; every run of this script works on a fresh copy of it, by
this checkout's own schema.
"""

import json
import os
import subprocess
import sys
import tempfile
import time
from contextlib import contextmanager
from pathlib import Path

import click
import psycopg
from psycopg import sql
from psycopg.conninfo import make_conninfo

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "acceptance"))
sys.path.insert(0, str(Path(__file__).resolve().parents[2]))
from loading import SEED, add_clients, add_leads
from support import PROJECT, clean_environment
from zipf_leads import DAYS, draw_zipf_leads

from worker.database.embedded import embedded_server
from worker.database.migrations import migrate
from worker.database.pool import open_pool
from worker.settings import Settings

CHANGED = 10
WORDS = 12  # of a statement, to know it by
FIRST, NOTHING, IDLE, WON = "first run", "nothing new", "idle server", f"{CHANGED} leads won"
WIN = """
WITH chosen AS (
    SELECT l.id, l.client_id FROM lead_memory AS l
    WHERE NOT l.archived AND l.current_tag NOT IN ('Converted', 'Converti')
    ORDER BY l."timestamp" DESC, l.id LIMIT %(n)s
), won AS (
    UPDATE lead_memory AS l SET current_tag = 'Converted', last_updated = now() FROM chosen AS c WHERE l.id = c.id
)
INSERT INTO lead_actions (lead_id, client_id, action_type, tag)
SELECT c.id, c.client_id, 'tag', 'Converted' FROM chosen AS c
"""


def migrate_to_here(conninfo):
    """Apply this checkout's schema."""
    with open_pool(Settings.from_environment({"DATABASE_URL": conninfo})) as database:
        migrate(database)


def named(conninfo, database):
    """Give the same server's other database."""
    return make_conninfo(conninfo, dbname=database)


def drop(admin, database):
    """Drop a database, if it is there."""
    admin.execute(sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(sql.Identifier(database)))


def ensure_loaded(admin, conninfo, n_leads, n_clients):
    """Make the database that is copied, unless it is there, whole; give its name."""
    name = f"benchmark_{n_leads}_{n_clients}"
    if admin.execute("SELECT 1 FROM pg_database WHERE datname = %s AND datistemplate", [name]).fetchone():
        return name
    drop(admin, name)
    admin.execute(sql.SQL("CREATE DATABASE {} TEMPLATE template0").format(sql.Identifier(name)))
    migrate_to_here(named(conninfo, name))
    drawn = draw_zipf_leads(n_leads, n_clients)
    with psycopg.connect(named(conninfo, name), autocommit=True) as conn:
        with conn.transaction():
            add_clients(conn, n_clients, DAYS)
            add_leads(conn, drawn, 0, SEED, with_actions=True)
        conn.execute("VACUUM ANALYZE")
    admin.execute(sql.SQL("ALTER DATABASE {} IS_TEMPLATE true").format(sql.Identifier(name)))  # now it is whole
    return name


@contextmanager
def fresh_copy(admin, conninfo, template):
    """A copy of that database while the block runs, and its address."""
    name = f"{template}_run"
    drop(admin, name)
    admin.execute(sql.SQL("CREATE DATABASE {} TEMPLATE {}").format(sql.Identifier(name), sql.Identifier(template)))
    try:
        migrate_to_here(named(conninfo, name))
        yield named(conninfo, name)
    finally:
        drop(admin, name)


def active_milliseconds(admin, database):
    """Time that the server spent on statements in a database so far, once the last session's share is counted."""
    ours = "SELECT 1 FROM pg_stat_activity WHERE datname = %s AND backend_type = 'client backend'"
    while admin.execute(ours, [database]).fetchone():
        time.sleep(0.05)  # a session reports when it ends
    (spent,) = admin.execute("SELECT active_time FROM pg_stat_database WHERE datname = %s", [database]).fetchone()
    return spent


def count(conn, table):
    """Count a table's rows."""
    (found,) = conn.execute(sql.SQL("SELECT count(*) FROM {}").format(sql.Identifier(table))).fetchone()
    return found


def run_job(admin, url):
    """Run the job in a process of its own and measure it."""
    database = psycopg.conninfo.conninfo_to_dict(url)["dbname"]
    before = active_milliseconds(admin, database)
    started = time.perf_counter()
    with tempfile.NamedTemporaryFile(suffix=".json") as told:
        done = subprocess.run(
            [sys.executable, __file__, "--statements-to", told.name],
            cwd=PROJECT, env=clean_environment(url, WORKER_LOG_LEVEL="WARNING"), check=False, capture_output=True,
            text=True,
        )  # fmt: skip
        process = time.perf_counter() - started
        if done.returncode:
            raise click.ClickException(f"the job ended with {done.returncode}: {done.stdout}{done.stderr}")
        statements = json.loads(Path(told.name).read_text())
    (summary,) = json.loads(done.stdout)["jobs"]
    return {
        "process_seconds": process,
        "job_seconds": summary["seconds"],
        "database_ms": active_milliseconds(admin, database) - before,
        "execute_ms": sum(spent for spent, _ in statements),
        "statements": len(statements),
        "snapshots": summary["snapshots"],
        "inserted": summary["inserted"],
        "updated": summary["updated"],
        "longest": sorted(statements, reverse=True)[:5],
    }


def fastest(admin, url, repeat, *, idle):
    """Run the job several times and keep the one that cost the database least."""

    def once():
        if not idle:
            admin.execute("SELECT pg_current_xact_id()")  # a transaction that has nothing to do with leads
        return run_job(admin, url)

    return min((once() for _ in range(repeat)), key=lambda run: run["database_ms"])


def run_worker_counting(path):
    """Be the worker's command, and write down how long each statement took and its first words."""
    from worker.run import main as worker

    statements, execute = [], psycopg.Cursor.execute

    def counted(self, query, *arguments, **options):
        started = time.perf_counter()
        try:
            return execute(self, query, *arguments, **options)
        finally:
            text = query.as_string(self) if isinstance(query, sql.Composable) else str(query)
            statements.append((1000 * (time.perf_counter() - started), " ".join(text.split()[:WORDS])))

    psycopg.Cursor.execute = counted
    code = worker(["conversion_events", "--json"])
    path.write_text(json.dumps(statements))
    return code


@click.command()
@click.option("--leads", "n_leads", type=click.IntRange(100), default=100_000, help="How many leads [100,000].")
@click.option("--clients", "n_clients", type=click.IntRange(1), default=1_000, help="Of how many clients [1,000].")
@click.option("--repeat", type=click.IntRange(1), default=3, help="Runs with nothing new; the fastest counts [3].")
@click.option("--data-dir", type=click.Path(path_type=Path), help="Where the server keeps its data, to be used again.")
@click.option("--programs", type=click.Path(path_type=Path), help="Folder of another PostgreSQL's programs.")
@click.option("--statements", is_flag=True, help="Show the longest statements of each run as well.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object instead.")
@click.option("--statements-to", type=click.Path(path_type=Path), hidden=True)
def main(n_leads, n_clients, repeat, data_dir, programs, statements_to, *, statements, as_json):
    """Prints how long conversion_events takes, and the database, at first, with nothing new and with ten leads won."""
    if statements_to is not None:
        sys.exit(run_worker_counting(statements_to))
    with tempfile.TemporaryDirectory(dir="/var/tmp" if os.name == "posix" else None) as folder:
        Path(folder).chmod(0o755)  # as root the server runs as another user
        with (
            embedded_server(data_dir or Path(folder) / "server", programs=programs) as conninfo,
            psycopg.connect(conninfo, autocommit=True) as admin,
        ):
            template = ensure_loaded(admin, conninfo, n_leads, n_clients)
            (version,) = admin.execute("SHOW server_version").fetchone()
            with fresh_copy(admin, conninfo, template) as url:
                with psycopg.connect(url) as conn:
                    sizes = [count(conn, table) for table in ("lead_memory", "lead_actions")]
                found = {
                    FIRST: run_job(admin, url),
                    NOTHING: fastest(admin, url, repeat, idle=False),
                    IDLE: fastest(admin, url, repeat, idle=True),
                }
                with psycopg.connect(url) as application:
                    application.execute(WIN, {"n": CHANGED})
                found[WON] = run_job(admin, url)
    if as_json:
        click.echo(json.dumps({"server": version, "leads": sizes[0], "actions": sizes[1], "runs": found}))
        return
    click.echo(f"{sizes[0]:,} leads and {sizes[1]:,} actions of {n_clients:,} clients, PostgreSQL {version}\n")
    click.echo(
        "                   process s    job s  database ms  execute ms  statements  snapshots      new  changed"
    )
    for scene, run in found.items():
        click.echo(
            f"{scene:<19}{run['process_seconds']:9.2f}{run['job_seconds']:9.2f}{run['database_ms']:13.1f}"
            f"{run['execute_ms']:12.1f}{run['statements']:12}{run['snapshots']:11,}{run['inserted']:9,}"
            f"{run['updated']:9,}"
        )
    if statements:
        for scene, run in found.items():
            click.echo(f"\n{scene}")
            for spent, text in run["longest"]:
                click.echo(f"{spent:10.1f} ms  {text} ...")


if __name__ == "__main__":
    main()
