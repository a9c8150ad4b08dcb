"""Predictions made again from what was known then, beside what happened: `backtest`."""

from datetime import datetime
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import click

from worker.commands.command import command, json_option, option
from worker.commands.options import echo_found, parse_as_of, parse_date, read_settings


@command(
    "backtest",
    examples=(
        ("backtest --from 2025-01-01 --to 2026-01-01", "twelve months, month by month"),
        (
            "backtest --from 2025-01-01 --to 2026-01-01 --every 7d --leads leads.csv",
            "week by week, every lead's probability and outcome in a file",
        ),
    ),
    shapes={"": "{kind, window_days, cut_offs: [{as_of, ...}], all: {...}, pending}"},
)
@option("--from", "first", required=True, help="The first cut-off: the beginning of this day, or an instant.")
@option("--to", "last", required=True, help="The last cut-off.")
@option("--every", default="1month", help="From one cut-off to the next: 1d, 7d, 1month ... [1month].")
@option(
    "--leads",
    "leads_file",
    type=click.Path(path_type=Path, dir_okay=False),
    help="Write every open lead's probability and outcome to this CSV file.",
)
@json_option("the figures")
def backtest(*, first: str, last: str, every: str, leads_file: Path | None, as_json: bool) -> int:
    """Predict again from what was known, and compare.

    At each cut-off the model is fitted on what was known then, and judged by the 30 days that followed. It writes
    nothing to the database.
    """
    settings = read_settings()
    now = datetime.now(tz=settings.timezone)
    begin, end = (_cut_off(text, settings.timezone, now) for text in (first, last))
    from worker.backtest import cut_offs_between, run_backtest  # noqa: PLC0415 - numpy comes with it
    from worker.database.inspection import require_ready  # noqa: PLC0415
    from worker.database.pool import open_pool  # noqa: PLC0415
    from worker.progress import progress_bar  # noqa: PLC0415
    from worker.reading import read_leads  # noqa: PLC0415

    try:
        cut_offs = cut_offs_between(begin, end, every)
    except ValueError as exc:
        raise click.UsageError(str(exc)) from exc
    with open_pool(settings) as database, progress_bar("cut-offs") as progress:
        catalogue = require_ready(database)
        leads, _ = database.retrying(lambda conn: read_leads(conn, catalogue, None), read_only=True)
        found = run_backtest(leads, cut_offs, now, progress)
    if leads_file is not None:
        _write_leads(found, leads_file)
    echo_found(found, as_json=as_json)
    return 0


def _cut_off(text: str, zone: ZoneInfo, now: datetime) -> datetime:
    """Read an end of the backtest: a date is its first instant, so that cut-offs fall between two days."""
    day = parse_date(text, now.astimezone(zone))
    instant = parse_as_of(text if day is None else f"{day}T00:00:00", zone, now)
    return instant.astimezone(zone)


def _write_leads(found: Any, path: Path) -> None:
    """Write as_of, client, lead, probability and outcome of every open lead at every cut-off."""
    import csv  # noqa: PLC0415

    try:
        with path.open("w", encoding="utf-8", newline="") as file:
            writer = csv.writer(file)
            writer.writerow(("as_of", "client_id", "lead_id", "probability", "converted"))
            for cut in found.cut_offs:
                columns = (cut.client_ids, cut.lead_ids, cut.probability.tolist(), cut.converted.tolist())
                writer.writerows((cut.as_of.isoformat(), *row[:3], int(row[3])) for row in zip(*columns, strict=True))
    except OSError as exc:
        raise click.UsageError(f"--leads {path}: {exc.strerror}") from exc
