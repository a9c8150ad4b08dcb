"""`demo`: simulated companies, or a file of one's own leads, analysed on a database of its own and shown as a table."""

import json
import sys
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import click
import numpy as np
from psycopg import Connection
from psycopg.rows import dict_row

from worker.accuracy import review
from worker.backfill import JobTally, run_backfill
from worker.database.migrations import migrate
from worker.database.pool import Database, open_pool
from worker.database.queries import query
from worker.demo_data import ensure_demo_set, load_leads_file, load_world, read_demo_truth
from worker.demo_screen import Demo, show_demo
from worker.errors import WorkerError
from worker.leads import WINDOW_DAYS
from worker.leads_file import open_leads_file
from worker.progress import progress_bar
from worker.request import Request
from worker.review.resolved import Resolved
from worker.runner import Outlets, run_jobs
from worker.settings import Settings
from worker.simulate import ChangeKind, company_world, demo_plan
from worker.timetable import JOB_NAMES

ORIGIN = "simulated:v1"
SEED = 20_251_017
N_CLIENTS = 40
PREDICTION, MONTHS_BACK = "conversion_prediction", 6  # the job whose past the demo shows, and how much of it
DAYS = 365
PAGES = 3  # of clients in the report: a second or so each
PLANTED_LEADS = 120  # leads a window of the clients with a planted change


def run_demo(
    settings: Settings,
    now: datetime,
    *,
    as_of: datetime | None,
    csv_file: Path | None,
    mapping: dict[str, str],
    split: int | None,
    world: ChangeKind | None,
    folder: Path,
    as_json: bool = False,
) -> int:
    """Fill the embedded database once, run all jobs, print what they found, write a report; give the exit code."""
    started = time.monotonic()
    say = _Steps()
    # Opening the file first: a wrong name should not wait for a server to start.
    leads_file = None
    if csv_file is not None:
        leads_file = open_leads_file(
            csv_file, mapping, timezone=settings.timezone, language=settings.language, clients=split
        )
    say.step("starting PostgreSQL")
    with open_pool(settings) as database:
        say.step("creating the schema")
        migrate(database)
        if leads_file is None:
            loaded = _load_simulation(database, now, say, world)
            report = None
        else:
            say.step(f"loading {leads_file.path.name}")
            report = None

            def build(conn: Connection[Any]) -> Any:
                nonlocal report
                report = load_leads_file(conn, leads_file)
                return report.facts

            with database.write() as conn:
                loaded = ensure_demo_set(conn, leads_file.origin, build)
        instant = as_of or _end_of_data(database, now)
        request = Request(jobs=JOB_NAMES, as_of=instant.astimezone(settings.timezone))
        tallies: list[JobTally] = []
        if leads_file is None:
            say.step("predicting conversions as of past months")
            _predict_past_months(database, settings, request.as_of, tallies)
        say.step("running the jobs")
        with progress_bar() as progress:
            summaries = run_jobs(database, settings, request, Outlets(progress=progress))
        say.done()
        with database.read() as conn:
            truth = read_demo_truth(conn)
            rows = _read_rows(conn, request.as_of)
        size = _sizes(database)
        looked_back = review(database, request.as_of)
        say.step("writing a report")
        index, about_it = _write_report(database, settings, request.as_of, looked_back.past, rows=rows, folder=folder)
        say.done()
    seconds = time.monotonic() - started
    shown = Demo(
        as_of=request.as_of,
        rows=rows,
        truth=truth,
        looked_back=looked_back,
        summaries=summaries,
        tallies=tallies,
        size=size,
        seconds=seconds,
        loaded=loaded,
        file=report,
    )
    if as_json:
        document = {**shown.as_json(), "report": None if index is None else str(index)}
        click.echo(json.dumps(document, ensure_ascii=False, allow_nan=False))
    else:
        show_demo(shown)
        click.echo(f"\n{about_it}")
    return 1 if shown.status == "failed" else 0


def _write_report(
    database: Database,
    settings: Settings,
    as_of: datetime,
    past: Resolved,
    *,
    rows: list[dict[str, Any]],
    folder: Path,
) -> tuple[Path | None, str]:
    """Write the page over all clients and those of a few with something to see; say where, or how to get it."""
    from worker.report.extra import HOW_TO_INSTALL, has_extra  # noqa: PLC0415

    if not has_extra():
        return None, f"For a report to look at: {HOW_TO_INSTALL}, then run it again."
    from worker.report.writing import Order, write_reports  # noqa: PLC0415 - only where it can be written

    of_interest = sorted((row for row in rows if row["client_id"]), key=lambda row: -row["patterns"])[:PAGES]
    order = Order(folder, frozenset(row["client_id"] for row in of_interest), index=True)
    try:
        written = write_reports(database, settings, order, as_of, past=past)
    except WorkerError as exc:
        return None, f"No report was written: {exc}"
    names = ", ".join(row["name"] for row in of_interest if row["name"])
    return written.index, f"A report to look at, with pages of {names}:\n  {written.index}"


def _predict_past_months(database: Database, settings: Settings, as_of: datetime, tallies: list[JobTally]) -> None:
    """Make the predictions of the windows before this one, each from what was known then: there is something to see."""
    month = timedelta(days=WINDOW_DAYS)
    ends = [(as_of.astimezone(UTC) - number * month).astimezone(as_of.tzinfo) for number in range(MONTHS_BACK, 0, -1)]
    with progress_bar("months") as progress:
        run_backfill(database, settings, [PREDICTION], ends, progress=progress, tallies=tallies)


class _Steps:
    """Says on stderr what is going on; on a terminal the line disappears when the table comes."""

    def __init__(self) -> None:
        self._live = sys.stderr.isatty()

    def step(self, what: str) -> None:
        click.echo(f"\r\x1b[2K{what} ..." if self._live else f"{what} ...", err=True, nl=not self._live)

    def done(self) -> None:
        if self._live:
            click.echo("\r\x1b[2K", err=True, nl=False)


def _load_simulation(database: Database, now: datetime, say: _Steps, kind: ChangeKind | None) -> bool:
    """Load companies of which a few have planted changes, or a world in which all change as this kind does."""
    midnight = now.astimezone(UTC).replace(hour=0, minute=0, second=0, microsecond=0)

    def build(conn: Connection[Any]) -> Any:
        say.step(f"simulating {N_CLIENTS} companies and a year of their leads")
        rng = np.random.default_rng(SEED)
        if kind is None:
            return load_world(conn, company_world(rng, midnight, N_CLIENTS, DAYS, demo_plan(PLANTED_LEADS)))
        return load_world(conn, company_world(rng, midnight, N_CLIENTS, DAYS, kind=kind))

    with database.write() as conn:
        return ensure_demo_set(conn, ORIGIN if kind is None else f"{ORIGIN}:{kind}", build)


def _end_of_data(database: Database, now: datetime) -> datetime:
    """Find the midnight after the newest lead or action: looking back from it, a rerun changes nothing."""
    with database.read() as conn:
        row = conn.execute(query("read_end_of_data"), {"now": now}).fetchone()
    if row is None or row[0] is None:
        return now
    newest: datetime = row[0]
    midnight = newest.replace(hour=0, minute=0, second=0, microsecond=0)
    end = midnight if midnight == newest else midnight + timedelta(days=1)
    return min(end, now)


def _sizes(database: Database) -> tuple[int, int, int]:
    with database.read() as conn:
        row = conn.execute(query("count_rows")).fetchone()
    assert row is not None  # noqa: S101 - counts always come back
    return row[0], row[1], row[2]


def _read_rows(conn: Connection[Any], as_of: datetime) -> list[dict[str, Any]]:
    with conn.cursor(row_factory=dict_row) as cursor:
        found = cursor.execute(query("read_demo_snapshots"), {"as_of": as_of}).fetchall()
    by_client: dict[str | None, dict[str, Any]] = {}
    for row in found:
        entry = by_client.setdefault(
            row["client_id"], {"client_id": row["client_id"], "name": row["business_name"], "patterns": 0}
        )
        if row["event_type"] == "pattern_detected":
            entry["patterns"] += 1
        else:
            entry[row["event_type"]] = (row["learning_snapshot"], float(row["confidence"]))
    return sorted(by_client.values(), key=lambda row: (row["client_id"] is not None, row["name"] or ""))
