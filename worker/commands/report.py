"""Pages to look at: `report`."""

from datetime import date, datetime
from pathlib import Path

import click
from click.core import ParameterSource

from worker.commands.command import READS_ONLY, command, json_option, option
from worker.commands.options import EARLIEST_YEAR, client_ids, echo_found, parse_date, read_settings
from worker.settings import Settings

FOLDER = Path("report")


@command(
    "report",
    examples=(
        ("report", "a page for each client, and index.html over all, in ./report"),
        ("report --client 550e8400-e29b-41d4-a716-446655440000 -o page.html --language fr", "one page, in French"),
        ("report --if-due", "what cron asks: today's pages into WORKER_REPORT_DIR, once"),
    ),
    shapes={
        "": "{kind, as_of, folder, index, pages: [{client_id, path, bytes, language}], seconds}",
        "--if-due": "{job, period_key, status, pages, seconds, error}",
    },
    kept=f"{READS_ONLY} in the database; the pages that were written stay",
)
@option("--client", multiple=True, metavar="ID", help="Only this client's page; repeatable, or a comma list.")
@option("--all", "everyone", is_flag=True, help="A page for every client and one over all [unless --client is given].")
@option("--from", "first", metavar="DATE", help="Look at the snapshots from this day on [a year back].")
@option("--to", "last", metavar="DATE", help="Look at what was known by the end of this day [now].")
@click.option(
    "--language",
    type=click.Choice(("en", "fr")),
    envvar="WORKER_REPORT_LANGUAGE",  # WORKER_LANGUAGE is a setting: what clients without a language of their own get
    show_envvar=True,
    help="The language of all pages [each client's own].",
)
@option("--names", is_flag=True, help="Name the open leads beside their ids.")
@option(
    "--output",
    "-o",
    "target",
    type=click.Path(path_type=Path),
    default=FOLDER,
    help="A folder, or for one client FILE.html [./report].",
)
@option("--if-due", is_flag=True, help="Write the day's pages into WORKER_REPORT_DIR unless that is done.")
@json_option("what was written")
def report(
    *,
    client: tuple[str, ...],
    everyone: bool,
    first: str | None,
    last: str | None,
    language: str | None,
    names: bool,
    target: Path,
    if_due: bool,
    as_json: bool,
) -> int:
    """Write pages to look at, one a client and one of all.

    A page shows what the worker says of a client, how sure it is, and how often it was right. Every file is complete in
    itself: it opens from the disk, asks the network for nothing, and prints.
    """
    settings = read_settings()
    if if_due:
        _ensure_alone("if_due", "as_json")
        return _write_daily(settings, as_json=as_json)
    clients = client_ids(client)
    if clients and everyone:
        raise click.UsageError("--client and --all exclude each other")
    if target.suffix == ".html" and len(clients) != 1:
        raise click.UsageError(f"-o {target} is one file: name one --client, or a folder for many pages")
    now = datetime.now(tz=settings.timezone)
    days = [_day(text, name, now) for text, name in ((first, "--from"), (last, "--to"))]
    if days[0] is not None and days[0] > (days[1] or now.date()):
        raise click.UsageError(f"--from {days[0]} lies after --to {days[1] or now.date()}")
    from worker.database.pool import open_pool  # noqa: PLC0415 - numpy comes with these
    from worker.progress import progress_bar  # noqa: PLC0415
    from worker.report.extra import ensure_extra  # noqa: PLC0415
    from worker.report.writing import Order, write_reports  # noqa: PLC0415

    ensure_extra()
    order = Order(target, clients, days[0], days[1], language, names)
    with open_pool(settings) as database, progress_bar("clients") as progress:
        found = write_reports(database, settings, order, now, progress=progress)
    echo_found(found, as_json=as_json)
    return 0


def _ensure_alone(*names: str) -> None:
    """Refuse other options beside these: the daily pages are what the settings say, and not less than was asked for."""
    context = click.get_current_context()
    for parameter in context.command.params:
        typed = context.get_parameter_source(parameter.name or "") is ParameterSource.COMMANDLINE
        if typed and parameter.name not in names:
            raise click.UsageError(f"{parameter.opts[0]} does not go together with --if-due, which writes every page")


def _write_daily(settings: Settings, *, as_json: bool) -> int:
    """Write what the daemon writes once a day, and note it in the ledger."""
    from worker.database.pool import open_pool  # noqa: PLC0415 - as above
    from worker.report.daily import run_daily_report  # noqa: PLC0415
    from worker.report.extra import ensure_extra  # noqa: PLC0415

    ensure_extra()
    with open_pool(settings) as database:
        told = run_daily_report(database, settings, datetime.now(tz=settings.timezone), if_due=True)
    echo_found(told, as_json=as_json)
    return 1 if told.status == "failed" else 0


def _day(text: str | None, name: str, now: datetime) -> date | None:
    """Read a day that has begun; yesterday and today are days too."""
    if text is None:
        return None
    day = parse_date(text, now)
    if day is None or day.year < EARLIEST_YEAR:
        raise click.BadParameter(f"{text!r} is no day such as 2026-03-31", param_hint=name)
    if day > now.date():
        raise click.BadParameter(f"{text} has not begun yet", param_hint=name)
    return day
