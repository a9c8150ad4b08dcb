"""`demo`: simulated companies, or a file of one's own leads, analysed on a database of its own and shown as a table."""

import sys
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import click
import numpy as np
from psycopg import Connection
from psycopg.rows import dict_row
from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from worker.accuracy import review
from worker.backfill import JobTally, run_backfill
from worker.database.migrations import migrate
from worker.database.pool import Database, open_pool
from worker.database.queries import query
from worker.demo_data import FileReport, ensure_demo_set, load_leads_file, load_world, read_demo_truth
from worker.leads import WINDOW_DAYS
from worker.leads_file import open_leads_file
from worker.progress import progress_bar
from worker.request import Request
from worker.runner import Outlets, run_jobs
from worker.settings import Settings
from worker.simulate import ChangeKind, company_world, demo_plan
from worker.summary import JobSummary
from worker.timetable import JOB_NAMES

ORIGIN = "simulated:v1"
SEED = 20_251_017
N_CLIENTS = 40
PREDICTION, MONTHS_BACK = "conversion_prediction", 6  # the job whose past the demo shows, and how much of it
DAYS = 365
PLANTED_LEADS = 120  # leads a window of the clients with a planted change
TABLE_WIDTH = 132  # where the output is no terminal
BAD_ROWS_SHOWN = 20
NOTHING_PLANTED = "nothing changes"
ARROWS = {"increasing": "↑", "decreasing": "↓", "stable": "→"}


def run_demo(
    settings: Settings,
    now: datetime,
    *,
    as_of: datetime | None,
    csv_file: Path | None,
    mapping: dict[str, str],
    split: int | None,
    world: ChangeKind | None,
) -> int:
    """Fill the embedded database once, run all jobs, print what they found; give the exit code."""
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
    if report is not None:
        _print_file_report(report)
    _print_table(rows, truth, request.as_of, simulated=leads_file is None)
    if leads_file is None:
        click.echo(f"\n{looked_back.windows_table()}")
    _print_closing(summaries, tallies, size, time.monotonic() - started, loaded=loaded)
    return 1 if any(summary.status == "failed" for summary in summaries) else 0


def _predict_past_months(database: Database, settings: Settings, as_of: datetime, tallies: list[JobTally]) -> None:
    """Make the predictions of the windows before this one, each from what was known then: there is something to see."""
    month = timedelta(days=WINDOW_DAYS)
    ends = [(as_of.astimezone(UTC) - number * month).astimezone(as_of.tzinfo) for number in range(MONTHS_BACK, 0, -1)]
    with progress_bar() as progress:
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


def _print_table(rows: list[dict[str, Any]], truth: dict[str, Any], as_of: datetime, *, simulated: bool) -> None:
    console = Console()
    if not console.is_terminal:
        console = Console(width=TABLE_WIDTH)
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, title=f"As of {as_of:%Y-%m-%d %H:%M %Z}", title_justify="left")
    table.add_column("client", no_wrap=True)
    for heading in ("score", "urgent", "main tone", "next 30 days"):
        table.add_column(heading, justify="right", no_wrap=True)
    table.add_column("patterns", justify="right", no_wrap=True)
    if simulated:
        table.add_column("planted truth")
    for row in rows:
        cells = [
            Text(row["name"] or "all clients", style="" if row["client_id"] else "bold"),
            _trend_cell(row, "engagement_score"),
            _trend_cell(row, "urgency_trend"),
            _tone_cell(row),
            _prediction_cell(row),
            Text(str(row["patterns"] or "")),
        ]
        if simulated:
            planted = (truth.get(row["client_id"] or "") or {}).get("planted") or ""
            cells.append(Text("" if planted == NOTHING_PLANTED else planted, style="cyan"))
        table.add_row(*cells)
    console.print(table)
    console.print(
        "score: 0 to 100; urgent: share of High; ↑ ↓ → what its true value did since the month before; next 30 days:"
        " predicted conversions and the range claimed; patterns: how many are on. Each percentage in dim type is how"
        " sure: the probability that the arrow, the shares of tones or the range is right.",
        style="dim",
        highlight=False,
    )


def _trend_cell(row: dict[str, Any], event_type: str) -> Text:
    if event_type not in row:
        return Text("")
    snapshot, confidence = row[event_type]
    if event_type == "engagement_score":
        value = "?" if snapshot["overall_score"] is None else str(snapshot["overall_score"])
    else:
        value = "?" if snapshot["high_urgency_pct"] is None else f"{100 * snapshot['high_urgency_pct']:.0f}%"
    return _sure(f"{value} {ARROWS[snapshot['trend']]}", confidence, bold=snapshot["trend"] != "stable")


def _tone_cell(row: dict[str, Any]) -> Text:
    if "tone_distribution" not in row:
        return Text("")
    snapshot, confidence = row["tone_distribution"]
    tone = snapshot["dominant_tone"]
    return _sure(f"{tone} {100 * snapshot['estimate'][tone]:.0f}%" if tone else "?", confidence)


def _prediction_cell(row: dict[str, Any]) -> Text:
    if "conversion_prediction" not in row:
        return Text("")
    snapshot, confidence = row["conversion_prediction"]
    claim = snapshot["claim"]
    return _sure(f"{snapshot['predicted_conversions']} ({claim['low']}-{claim['high']})", confidence)


def _sure(text: str, confidence: float, *, bold: bool = False) -> Text:
    return Text(text, style="bold" if bold else "").append(f" {100 * confidence:3.0f}%", style="dim not bold")


def _print_file_report(report: FileReport) -> None:
    click.echo(
        f"Loaded {report.n_leads:,} leads and {report.n_conversions:,} conversions"
        f" of {len(report.facts):,} client(s); {report.n_bad_rows:,} bad row(s) left out."
    )
    for bad in report.bad_rows[:BAD_ROWS_SHOWN]:
        click.echo(f"  line {bad.line_number}: {bad.reason}")
    if report.n_bad_rows > BAD_ROWS_SHOWN:
        click.echo(f"  ... and {report.n_bad_rows - BAD_ROWS_SHOWN:,} more")


def _print_closing(
    summaries: list[JobSummary],
    tallies: list[JobTally],
    size: tuple[int, int, int],
    seconds: float,
    *,
    loaded: bool,
) -> None:
    work: list[JobSummary | JobTally] = [*summaries, *tallies]
    inserted = sum(each.inserted for each in work)
    changed = sum(each.updated + each.deleted for each in work)
    clients, leads, snapshots = size
    source = "loaded now" if loaded else "there from before"
    click.echo(
        f"\n{clients} clients, {leads:,} leads ({source}); {snapshots:,} snapshots in growth_brain,"
        f" {inserted:,} new and {changed:,} changed by this run; {seconds:.1f} s in all."
    )
    for summary in summaries:
        if summary.status != "done":
            click.echo(f"{summary.job}: {summary.status}: {summary.error}")
    python = _this_python()
    click.echo(
        "\nGo on with:\n"
        f"  DATABASE_URL=embedded {python} -m worker.run check\n"
        f"  DATABASE_URL=embedded {python} -m worker.run accuracy\n"
        f"  DATABASE_URL=embedded {python} -m worker.run urgency_trend --dry-run\n"
        f"  DATABASE_URL=embedded {python} -m worker.run all --json\n"
        f"  {python} -m worker.run demo --csv your_leads.csv --map timestamp=created"
    )


def _this_python() -> str:
    """Name the interpreter as one would type it here."""
    path = Path(sys.executable)
    return str(path.relative_to(Path.cwd())) if path.is_relative_to(Path.cwd()) else "python"
