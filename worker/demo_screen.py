"""What `demo` shows: what the jobs found of each company beside what was planted, past predictions, how to go on."""

import sys
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import click
from rich import box
from rich.table import Table
from rich.text import Text

from worker.backfill import JobTally
from worker.demo_data import FileReport
from worker.review.report import Review
from worker.summary import JobSummary
from worker.terminal import WIDTH, screen

BAD_ROWS_SHOWN = 20
NOTHING_PLANTED = "nothing changes"
ARROWS = {"increasing": "↑", "decreasing": "↓", "stable": "→"}
HEADINGS = ("client", "score", "urgent", "tone", "next 30 days", "new")
LEAST_NAME = 12  # columns
LEGEND = (
    "score: 0 to 100. urgent: the share of leads that are High. ↑ ↓ →: what the true\n"
    "value did since the month before. tone: the one most used. next 30 days: how\n"
    "many open leads will convert, and the range claimed. new: patterns that are on.\n"
    "The percentage after a value is how sure the worker is of its arrow or range."
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Demo:
    """What a demo did and found; of each row client_id, name, patterns, and (snapshot, confidence) by event type."""

    as_of: datetime
    rows: list[dict[str, Any]]
    truth: dict[str, Any]
    looked_back: Review
    summaries: list[JobSummary]
    tallies: list[JobTally]
    size: tuple[int, int, int]  # clients, leads, snapshots
    seconds: float
    loaded: bool  # now, and not there from before
    file: FileReport | None  # None: simulated companies

    @property
    def status(self) -> str:
        """Whether every job did its work: done or failed."""
        return "failed" if any(summary.status == "failed" for summary in self.summaries) else "done"

    @property
    def inserted(self) -> int:
        """How many snapshots are new."""
        return sum(each.inserted for each in self.summaries) + sum(each.inserted for each in self.tallies)

    @property
    def changed(self) -> int:
        """How many snapshots were changed or withdrawn."""
        work: list[JobSummary | JobTally] = [*self.summaries, *self.tallies]
        return sum(each.updated + each.deleted for each in work)

    def planted(self, row: dict[str, Any]) -> str | None:
        """Say what was planted in a company; None: nothing, or nobody knows."""
        found = (self.truth.get(row["client_id"] or "") or {}).get("planted")
        return None if found in (None, "", NOTHING_PLANTED) else str(found)

    def as_json(self) -> dict[str, Any]:
        """Give the document that `demo --json` prints; keys are only ever added."""
        clients, leads, snapshots = self.size
        return {
            "status": self.status,
            "as_of": self.as_of.isoformat(),
            "loaded": self.loaded,
            "clients": clients,
            "leads": leads,
            "snapshots": snapshots,
            "inserted": self.inserted,
            "changed": self.changed,
            "seconds": round(self.seconds, 3),
            "results": [self._result(row) for row in self.rows],
            "jobs": [summary.as_json() for summary in self.summaries],
            "windows": self.looked_back.as_json()["windows"] if self.file is None else [],
            "file": None if self.file is None else self.file.as_json(),
        }

    def _result(self, row: dict[str, Any]) -> dict[str, Any]:
        told = {
            event_type: {"learning_snapshot": found[0], "confidence": found[1]}
            for event_type, found in row.items()
            if isinstance(found, tuple)
        }
        known = {"client_id": row["client_id"], "business_name": row["name"], "patterns": row["patterns"]}
        return {**known, "planted": self.planted(row), **told}


def show_demo(demo: Demo) -> None:
    """Print it all, in 80 columns."""
    if demo.file is not None:
        _print_file_report(demo.file)
    _print_table(demo)
    if demo.file is None:
        click.echo(f"\n{demo.looked_back.windows_table()}")
    _print_closing(demo)


def _print_table(demo: Demo) -> None:
    console = screen()
    title = f"As of {demo.as_of:%Y-%m-%d %H:%M %Z}"
    table = Table(box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False, padding=0, title=title, title_justify="left")
    top_first = sorted(demo.rows, key=lambda row: row["client_id"] is not None and demo.planted(row) is None)
    rows = [_cells(row) for row in top_first]
    columns = list(zip(map(Text, HEADINGS), *rows, strict=True))
    widths = [max(cell.cell_len for cell in column) for column in columns]
    widths[0] = min(widths[0], max(LEAST_NAME, WIDTH - sum(widths[1:]) - len(widths) + 1))  # the names give way
    for heading, width in zip(HEADINGS, widths, strict=True):
        table.add_column(heading, width=width, justify="left" if heading == "client" else "right", no_wrap=True)
    for row in rows:
        table.add_row(*row)
    console.print(table)
    console.print(f"\n{LEGEND}", style="dim")
    _print_planted({row["name"]: what for row in demo.rows if (what := demo.planted(row))})


def _print_planted(planted: dict[str, str]) -> None:
    if not planted:
        return
    click.echo("\nWhat was planted in the companies on top; the worker is not told:")
    width = max(map(len, planted))
    for name, what in planted.items():
        for number, each in enumerate(what.split("; ")):
            click.echo(f"  {'' if number else name:<{width}}  {each}")


def _cells(row: dict[str, Any]) -> tuple[Text, ...]:
    """Give a company's line of the table, under HEADINGS."""
    return (
        Text(row["name"] or "all clients", style="" if row["client_id"] else "bold"),
        _trend_cell(row, "engagement_score"),
        _trend_cell(row, "urgency_trend"),
        _tone_cell(row),
        _prediction_cell(row),
        Text(str(row["patterns"] or "")),
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
    snapshot, _ = row["tone_distribution"]
    tone = snapshot["dominant_tone"]
    return Text(f"{tone} {100 * snapshot['estimate'][tone]:.0f}%" if tone else "?")


def _prediction_cell(row: dict[str, Any]) -> Text:
    if "conversion_prediction" not in row:
        return Text("")
    snapshot, confidence = row["conversion_prediction"]
    claim = snapshot["claim"]
    return _sure(f"{snapshot['predicted_conversions']} ({claim['low']}-{claim['high']})", confidence)


def _sure(text: str, confidence: float, *, bold: bool = False) -> Text:
    return Text(text, style="bold" if bold else "").append(f" {100 * confidence:.0f}%", style="dim not bold")


def _print_file_report(report: FileReport) -> None:
    click.echo(
        f"Loaded {report.n_leads:,} leads and {report.n_conversions:,} conversions"
        f" of {len(report.facts):,} client(s); {report.n_bad_rows:,} bad row(s) left out."
    )
    for bad in report.bad_rows[:BAD_ROWS_SHOWN]:
        click.echo(f"  line {bad.line_number}: {bad.reason}")
    if report.n_bad_rows > BAD_ROWS_SHOWN:
        click.echo(f"  ... and {report.n_bad_rows - BAD_ROWS_SHOWN:,} more")
    if report.unused_columns:
        names = ", ".join(report.unused_columns)
        click.echo(f"Columns that were not read: {names} (--map COLUMN=NAME says what one of them is)")


def _print_closing(demo: Demo) -> None:
    clients, leads, snapshots = demo.size
    source = "loaded now" if demo.loaded else "there from before"
    click.echo(
        f"\n{clients} clients, {leads:,} leads ({source}).\n{snapshots:,} snapshots in growth_brain,"
        f" {demo.inserted:,} new and {demo.changed:,} changed now; {demo.seconds:.1f} s in all."
    )
    for summary in demo.summaries:
        if summary.status != "done":
            click.echo(f"{summary.job}: {summary.status}: {summary.error}")
    python = _this_python()
    click.echo(
        "\nGo on with:\n"
        f"  DATABASE_URL=embedded {python} -m worker.run check\n"
        f"  DATABASE_URL=embedded {python} -m worker.run accuracy\n"
        f"  DATABASE_URL=embedded {python} -m worker.run urgency_trend --dry-run\n"
        f"  DATABASE_URL=embedded {python} -m worker.run all --json\n"
        f"  DATABASE_URL=embedded {python} -m worker.run report\n"
        f"  {python} -m worker.run demo --csv leads.csv --map timestamp=created"
    )


def _this_python() -> str:
    """Name the interpreter as one would type it here."""
    path = Path(sys.executable)
    return str(path.relative_to(Path.cwd())) if path.is_relative_to(Path.cwd()) else "python"
