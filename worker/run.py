"""The command line: `python -m worker.run JOB... | all`, and the commands around it."""

import json
import os
import signal
import sys
from collections.abc import Sequence
from dataclasses import replace
from datetime import date, datetime, time, timedelta
from pathlib import Path
from typing import Any
from uuid import UUID
from zoneinfo import ZoneInfo

import click

from worker import __version__
from worker.errors import DatabaseUnavailableError, WorkerError, tell
from worker.settings import Settings, warn_about_unknown
from worker.standard_streams import ensure_standard_streams
from worker.stopping import Interrupted, Stop, stop_on_signals

JOBS_COMMAND = "jobs"
EARLIEST_YEAR = 2000  # the reader takes no older stamp for a date
ALL = "all"
DAYS_BY_NAME = {"today": 0, "yesterday": 1}  # how many days ago; for crontabs, which have no date that works everywhere
WORLDS = (  # worker.simulate.CHANGE_KINDS, without importing numpy for every --help
    "still", "mostly_still", "small", "sparse", "shifted", "heavy_tails", "common_shock", "bursts", "duplicates"
)  # fmt: skip
EPILOG = """\b
Examples:
  python -m worker.run demo                          see it work, on a server of its own
  python -m worker.run check                         is this database as needed?
  python -m worker.run all                           every analysis, as of now
  python -m worker.run urgency_trend --as-of 2026-03-31
  python -m worker.run engagement_score --dry-run --client 550e8400-e29b-41d4-a716-446655440000

\b
DATABASE_URL says which database: postgresql://user:password@host:5432/database, or `embedded`.
Every option can be given as an environment variable, WORKER_ and its name: WORKER_AS_OF, WORKER_CLIENT ...

\b
Exit codes: 0 done, or nothing to do; 1 something failed, what is done is kept; 2 usage or configuration;
3 the database is not as needed; 128 + signal when interrupted."""


class _Commands(click.Group):
    """A group in which whatever is no command is taken as job names; options may stand before or after the words."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        own = {"--help", "-h", "--version"}
        if args and args[0] not in own and args[0] not in self.commands:
            command = JOBS_COMMAND
            if args[0].startswith("-"):
                command = next((word for word in args if word in self.commands), JOBS_COMMAND)
            args = [command, *(word for word in args if word != command)]
        return super().parse_args(ctx, args)


class _Jobs(click.Command):
    """The jobs' command, which nobody types, shows itself as what is typed."""

    def make_context(self, info_name: str | None, *rest: Any, **extra: Any) -> click.Context:
        del info_name
        return super().make_context(ALL, *rest, **extra)

    def format_usage(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        program = ctx.parent.command_path if ctx.parent is not None else ctx.command_path
        formatter.write_usage(program, "JOB... | all [OPTIONS]")


@click.group(
    cls=_Commands,
    epilog=EPILOG,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    subcommand_metavar="JOB... | all | COMMAND [OPTIONS]",
)
@click.version_option(__version__, prog_name="growth-brain-worker")
def cli() -> None:
    """Lead analytics whose confidence values are true: reads lead_memory, writes growth_brain.

    \b
    Jobs:
      conversion_events       record conversions and reversions
      engagement_score        how engaged are this month's leads, from 0 to 100, and is that changing?
      urgency_trend           is the share of urgent leads rising, falling or stable?
      tone_distribution       in which tones do leads write?
      pattern_detection       what has changed that chance does not explain?
      conversion_prediction   how many open leads will convert in the next 30 days, and which?
      accuracy_review         what became of past claims, and what is learned from it?
      all                     all of them, in this order
    """  # noqa: D301 - click wants the character \b itself


def _settings(*, quiet: bool = False) -> Settings:
    """Read the settings and set the logs up; quiet shows only warnings unless the environment asks for more."""
    settings = Settings.from_environment(os.environ)
    if quiet and not os.environ.get("WORKER_LOG_LEVEL"):
        settings = replace(settings, log_level="WARNING")
    from worker.logs import configure_logs, get_logger  # noqa: PLC0415 - `--help` needs no logs

    configure_logs(settings.log_level, log_format=settings.log_format, database_url=settings.database_url)
    stop = click.get_current_context().find_object(Stop)
    if stop is not None:
        stop.grace_seconds = settings.grace_seconds
    for warning in warn_about_unknown(os.environ):
        get_logger().warning("settings.unknown", hint=warning)
    return settings


def _job_names(names: Sequence[str]) -> tuple[str, ...]:
    """Put `all` and repeated names into the jobs to run, in the order in which they depend on each other."""
    from worker.timetable import JOB_NAMES  # noqa: PLC0415

    unknown = [name for name in names if name not in (*JOB_NAMES, ALL)]
    if unknown:
        import difflib  # noqa: PLC0415

        if unknown[0] in cli.commands:
            raise click.UsageError(
                f"{unknown[0]} is a command of its own, and does not go together with jobs. See --help."
            )
        known = [*JOB_NAMES, ALL, *(name for name in cli.commands if name != JOBS_COMMAND)]
        near = difflib.get_close_matches(unknown[0], known, n=1)
        hint = f" Did you mean {near[0]}?" if near else ""
        raise click.UsageError(f"{unknown[0]!r} is neither a job nor a command.{hint} See --help.")
    return tuple(name for name in JOB_NAMES if ALL in names or name in names)


def parse_as_of(text: str | None, zone: ZoneInfo, now: datetime) -> datetime:
    """
    Read --as-of: a date means that whole day, an instant without an offset is local, and neither lies in the future.

    Returns an aware datetime in `zone`. Raises click.BadParameter for text that is neither, or for the future.
    """
    here = now.astimezone(zone)
    if text is None:
        return here
    day = _date(text, here)
    try:
        if day is not None:
            if day.year < EARLIEST_YEAR:
                raise click.BadParameter(f"{text} is no day on which there were leads", param_hint="--as-of")
            if day > here.date():
                raise click.BadParameter(f"{text} has not begun yet", param_hint="--as-of")
            return min(datetime.combine(day + timedelta(days=1), time(), tzinfo=zone), here)
        instant = datetime.fromisoformat(text)
    except (ValueError, OverflowError) as exc:
        raise click.BadParameter(
            f"{text!r} is neither a date (2026-03-31) nor an instant (2026-03-31T06:00:00+02:00)",
            param_hint="--as-of",
        ) from exc
    if not EARLIEST_YEAR <= instant.year < 9999:  # clocks of time zones end there
        raise click.BadParameter(f"{text} is no time at which there were leads", param_hint="--as-of")
    instant = instant.astimezone(zone) if instant.tzinfo else instant.replace(tzinfo=zone)
    if instant > here:
        raise click.BadParameter(f"{text} lies in the future", param_hint="--as-of")
    return instant


def _date(text: str, here: datetime) -> date | None:
    """Read a date, which yesterday and today are too; None for anything else."""
    if text in DAYS_BY_NAME:
        return here.date() - timedelta(days=DAYS_BY_NAME[text])
    try:
        return date.fromisoformat(text)
    except ValueError:
        return None


def _client_ids(values: Sequence[str]) -> frozenset[str]:
    ids = [part.strip() for value in values for part in value.split(",") if part.strip()]
    if values and not ids:  # an empty shell variable must not mean "all of them"
        raise click.BadParameter("it names no client; leave it out to run all of them", param_hint="--client")
    try:
        return frozenset(str(UUID(text)) for text in ids)
    except ValueError as exc:
        raise click.BadParameter(f"{exc}: a client is named by its client_id, a UUID", param_hint="--client") from exc


@cli.command(JOBS_COMMAND, cls=_Jobs, hidden=True, epilog=EPILOG)
@click.argument("names", nargs=-1, required=True, metavar="JOB... | all")
@click.option("--as-of", envvar="WORKER_AS_OF", show_envvar=True,
              help="Look back from this date (also: yesterday, today) or instant [now].")  # fmt: skip
@click.option(
    "--client", "client", multiple=True, envvar="WORKER_CLIENT", show_envvar=True,
    help="Write only this client's snapshots; repeatable, or a comma list.",
)  # fmt: skip
@click.option("--dry-run", is_flag=True, envvar="WORKER_DRY_RUN", show_envvar=True,
              help="Print the snapshots as JSON lines and write nothing.")  # fmt: skip
@click.option("--if-due", is_flag=True, envvar="WORKER_IF_DUE", show_envvar=True,
              help="Do nothing if this period is done, or held by another process.")  # fmt: skip
@click.option("--wait", type=click.FloatRange(min=0), envvar="WORKER_WAIT", show_envvar=True,
              help="Seconds to wait for a run that another process holds [lease + 5].")  # fmt: skip
@click.option("--shards", type=click.IntRange(min=1), envvar="WORKER_SHARDS", show_envvar=True,
              help="Cut the clients into this many shares [one per 1,000 clients].")  # fmt: skip
@click.option("--json", "as_json", is_flag=True, envvar="WORKER_JSON", show_envvar=True,
              help="Print the run's summary as one JSON object (with --dry-run: on stderr).")  # fmt: skip
def jobs(
    names: tuple[str, ...],
    *,
    as_of: str | None,
    client: tuple[str, ...],
    dry_run: bool,
    if_due: bool,
    wait: float | None,
    shards: int | None,
    as_json: bool,
) -> int:
    """Run jobs once, now or as of a past instant, and refresh that day's snapshots."""
    settings = _settings()
    job_names = _job_names(names)
    from worker.runner import Request  # noqa: PLC0415 - as above

    request = Request(
        jobs=job_names,
        as_of=parse_as_of(as_of, settings.timezone, datetime.now(tz=settings.timezone)),
        clients=_client_ids(client),
        dry_run=dry_run,
        if_due=if_due,
        wait_seconds=settings.lease_seconds + 5 if wait is None else wait,
        shards=shards,
    )
    return _run(settings, request, as_json=as_json)


def _run(settings: Settings, request: Any, *, as_json: bool) -> int:
    from worker.database.pool import open_pool  # noqa: PLC0415 - as above
    from worker.progress import progress_bar  # noqa: PLC0415
    from worker.runner import Outlets, run_jobs  # noqa: PLC0415
    from worker.summary import JobSummary  # noqa: PLC0415

    def print_snapshot(snapshot: Any) -> None:
        click.echo(json.dumps(snapshot.as_json(), ensure_ascii=False, allow_nan=False))

    summaries: list[JobSummary] = []
    try:
        with open_pool(settings) as database, progress_bar() as progress:
            run_jobs(database, settings, request, Outlets(print_snapshot, progress, summaries.append))
    finally:  # also when a signal or an error ends the run: what was done until then is told
        if summaries:
            _print_summaries(summaries, request, as_json=as_json)
    return 0 if _verdict(summaries, request) == "done" else 1


def _verdict(summaries: Sequence[Any], request: Any) -> str:
    """Say how the run as a whole went: done, failed or interrupted; a run held elsewhere is fine with --if-due."""
    found = {summary.status for summary in summaries}
    if "interrupted" in found:
        return "interrupted"
    return "failed" if "failed" in found or ("held" in found and not request.if_due) else "done"


def _print_summaries(summaries: Sequence[Any], request: Any, *, as_json: bool) -> None:
    if as_json:
        document = {
            "status": _verdict(summaries, request),
            "as_of": request.as_of.isoformat(),
            "dry_run": request.dry_run,
            "jobs": [summary.as_json() for summary in summaries],
        }
        click.echo(json.dumps(document, ensure_ascii=False), err=request.dry_run)
    elif not request.dry_run:
        for summary in summaries:
            click.echo(_line(summary))


def _line(summary: Any) -> str:
    if summary.status == "skipped":
        return f"{summary.job:<22} {summary.period_key}  already done"
    if summary.status in ("held", "interrupted"):
        return f"{summary.job:<22} {summary.period_key}  {summary.status}: {summary.error or 'by a signal'}"
    text = (
        f"{summary.job:<22} {summary.period_key}  {summary.status}: {summary.snapshots} snapshots"
        f" ({summary.inserted} new, {summary.updated} changed, {summary.unchanged} unchanged"
        f"{f', {summary.deleted} withdrawn' if summary.deleted else ''}) in {summary.seconds:.2f} s"
    )
    failed = ", ".join(summary.failed_clients[:10])
    return f"{text}; failed: {failed}" if failed else f"{text}; {summary.error}" if summary.error else text


@cli.command()
def migrate() -> int:
    """Create what is missing of the schema; alters nothing of yours. Safe to repeat."""
    settings = _settings()
    from worker.database.migrations import migrate as apply  # noqa: PLC0415
    from worker.database.pool import open_pool  # noqa: PLC0415

    with open_pool(settings) as database:
        for sentence in apply(database):
            click.echo(sentence)
    return 0


@cli.command()
@click.option("--json", "as_json", is_flag=True, envvar="WORKER_JSON", show_envvar=True,
              help="Print the findings as one JSON object.")  # fmt: skip
def check(as_json: bool) -> int:
    """Say whether this database is as needed, and how to mend what is not."""
    settings = _settings()
    from worker.database.address import explain_refusal  # noqa: PLC0415
    from worker.database.inspection import inspect  # noqa: PLC0415
    from worker.database.pool import open_pool  # noqa: PLC0415

    try:
        with open_pool(settings) as database:
            found = inspect(database, settings)
    except DatabaseUnavailableError:
        for hint in explain_refusal(settings.database_url or ""):
            click.echo(hint, err=True)
        raise
    worst = next((status for status in ("failure", "warning") if any(item.status == status for item in found)), "ok")
    if as_json:
        items = [{"name": item.name, "status": item.status, "message": item.message, "fix": item.fix} for item in found]
        click.echo(json.dumps({"status": worst, "checks": items}, ensure_ascii=False))
    else:
        marks = {"ok": click.style("ok      ", fg="green"), "warning": click.style("warning ", fg="yellow"),
                 "failure": click.style("FAILURE ", fg="red", bold=True)}  # fmt: skip
        for item in found:
            click.echo(f"{marks[item.status]} {item.message}")
            if item.fix and item.status != "ok":
                click.echo(f"         -> {item.fix}")
    return 3 if worst == "failure" else 0


@cli.command()
@click.option("--csv", "csv_file", type=click.Path(path_type=Path, dir_okay=False), envvar="WORKER_CSV",
              show_envvar=True, help="A file of your own leads.")  # fmt: skip
@click.option("--map", "mapping", multiple=True, metavar="COLUMN=NAME", envvar="WORKER_MAP", show_envvar=True,
              help="Our column is called NAME in the file; repeatable.")  # fmt: skip
@click.option("--split", type=click.IntRange(min=1), envvar="WORKER_SPLIT", show_envvar=True,
              help="Cut the file's leads into this many clients by a hash.")  # fmt: skip
@click.option("--world", type=click.Choice(WORLDS), envvar="WORKER_WORLD", show_envvar=True,
              help="Simulate companies that all change in this way [a few planted changes].")  # fmt: skip
@click.option("--as-of", envvar="WORKER_AS_OF", show_envvar=True, help="Look back from this date or instant [now].")
def demo(csv_file: Path | None, mapping: tuple[str, ...], split: int | None, world: Any, as_of: str | None) -> int:
    """See it work: simulated companies (or a file of your leads) on a database of its own."""
    if csv_file is not None and world is not None:
        raise click.UsageError("--csv and --world exclude each other: the leads are from the file, or simulated")
    settings = replace(_settings(quiet=True), database_url="embedded")
    from worker.demo import run_demo  # noqa: PLC0415

    pairs = dict(_pair(text) for text in mapping)
    now = datetime.now(tz=settings.timezone)
    instant = parse_as_of(as_of, settings.timezone, now)
    return run_demo(
        settings, now, as_of=instant if as_of else None, csv_file=csv_file, mapping=pairs, split=split, world=world
    )


@cli.command()
@click.option("--replicate", is_flag=True, envvar="WORKER_REPLICATE", show_envvar=True,
              help="Let half of each client's leads foretell the other half instead.")  # fmt: skip
@click.option("--as-of", envvar="WORKER_AS_OF", show_envvar=True, help="Look back from this date or instant [now].")
@click.option("--client", "client", multiple=True, envvar="WORKER_CLIENT", show_envvar=True,
              help="Only this client's claims, one by one; repeatable, or a comma list.")  # fmt: skip
@click.option("--periods", type=click.IntRange(min=1), default=6, envvar="WORKER_PERIODS", show_envvar=True,
              help="With --replicate: how many periods of 60 days to go back [6].")  # fmt: skip
@click.option("--json", "as_json", is_flag=True, envvar="WORKER_JSON", show_envvar=True,
              help="Print the tables as one JSON object.")  # fmt: skip
def accuracy(*, replicate: bool, as_of: str | None, client: tuple[str, ...], periods: int, as_json: bool) -> int:
    """Show past predictions beside what came of them, the good and the bad; writes nothing."""
    settings = _settings()
    instant = parse_as_of(as_of, settings.timezone, datetime.now(tz=settings.timezone))
    wanted = _client_ids(client)
    from worker.accuracy import replicate as replicate_halves  # noqa: PLC0415 - numpy comes with it
    from worker.accuracy import review  # noqa: PLC0415
    from worker.database.pool import open_pool  # noqa: PLC0415
    from worker.progress import progress_bar  # noqa: PLC0415

    found: Any
    with open_pool(settings) as database, progress_bar() as progress:
        if replicate:
            found = replicate_halves(database, instant, clients=wanted, periods=periods, progress=progress)
        else:
            found = review(database, instant, clients=wanted)
    if as_json:
        click.echo(json.dumps(found.as_json(), ensure_ascii=False, allow_nan=False))
    else:
        click.echo(str(found))
    return 0


@cli.command()
@click.option("--from", "first", required=True, envvar="WORKER_FROM", show_envvar=True,
              help="The first cut-off: the beginning of this day, or an instant.")  # fmt: skip
@click.option("--to", "last", required=True, envvar="WORKER_TO", show_envvar=True, help="The last cut-off.")
@click.option("--every", default="1month", envvar="WORKER_EVERY", show_envvar=True,
              help="From one cut-off to the next: 1d, 7d, 1month ... [1month].")  # fmt: skip
@click.option("--leads", "leads_file", type=click.Path(path_type=Path, dir_okay=False), envvar="WORKER_LEADS",
              show_envvar=True, help="Write every open lead's probability and outcome to this CSV file.")  # fmt: skip
@click.option("--json", "as_json", is_flag=True, envvar="WORKER_JSON", show_envvar=True,
              help="Print the figures as one JSON object.")  # fmt: skip
def backtest(*, first: str, last: str, every: str, leads_file: Path | None, as_json: bool) -> int:
    """Compare past predictions, from what was known then, with what happened."""
    settings = _settings()
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
    with open_pool(settings) as database, progress_bar() as progress:
        catalogue = require_ready(database)
        leads, _ = database.retrying(lambda conn: read_leads(conn, catalogue, None), read_only=True)
        found = run_backtest(leads, cut_offs, now, progress)
    if leads_file is not None:
        _write_leads(found, leads_file)
    click.echo(json.dumps(found.as_json(), ensure_ascii=False, allow_nan=False) if as_json else str(found))
    return 0


def _cut_off(text: str, zone: ZoneInfo, now: datetime) -> datetime:
    """Read an end of the backtest: a date is its first instant, so that cut-offs fall between two days."""
    day = _date(text, now.astimezone(zone))
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


@cli.command()
@click.argument("names", nargs=-1, required=True, metavar="JOB... | all")
@click.option("--from", "first", required=True, metavar="DATE", envvar="WORKER_FROM", show_envvar=True,
              help="The first day.")  # fmt: skip
@click.option("--to", "last", metavar="DATE", envvar="WORKER_TO", show_envvar=True, help="The last day [yesterday].")
@click.option("--every", default="1d", envvar="WORKER_EVERY", show_envvar=True,
              help="From one day to the next that is made: 1d, 7d, 1month ... [1d].")  # fmt: skip
@click.option("--json", "as_json", is_flag=True, envvar="WORKER_JSON", show_envvar=True,
              help="Print what was done as one JSON object.")  # fmt: skip
def backfill(names: tuple[str, ...], *, first: str, last: str | None, every: str, as_json: bool) -> int:
    """Make the snapshots of past days, each from what was known then; days that are done are passed over."""
    settings = _settings()
    job_names = _job_names(names)
    zone, now = settings.timezone, datetime.now(tz=settings.timezone)
    days = [_whole_day(text, name, zone, now) for text, name in ((first, "--from"), (last, "--to")) if text is not None]
    if last is None:
        days.append(datetime.combine(now.date() - timedelta(days=1), time(), tzinfo=zone))
    from worker.backfill import JobTally, run_backfill  # noqa: PLC0415 - numpy comes with it
    from worker.backtest import cut_offs_between  # noqa: PLC0415
    from worker.database.pool import open_pool  # noqa: PLC0415
    from worker.progress import progress_bar  # noqa: PLC0415

    try:
        instants = [_end_of(day) for day in cut_offs_between(days[0], days[1], every)]
    except ValueError as exc:
        raise click.UsageError(str(exc)) from exc
    tallies: list[JobTally] = []
    try:
        with open_pool(settings) as database, progress_bar() as progress:
            run_backfill(database, settings, job_names, instants, progress=progress, tallies=tallies)
    finally:  # also when a signal or an error ends it: what was done until then is told
        document = {"from": days[0].date().isoformat(), "to": days[1].date().isoformat(), "every": every,
                    "jobs": [tally.as_json() for tally in tallies]}  # fmt: skip
        if tallies:
            click.echo(json.dumps(document, ensure_ascii=False) if as_json else "\n".join(map(str, tallies)))
    return 1 if any(tally.failed or tally.held for tally in tallies) else 0


def _whole_day(text: str, name: str, zone: ZoneInfo, now: datetime) -> datetime:
    """Read a day that is over, as its first instant."""
    day = _date(text, now.astimezone(zone))
    if day is None or day.year < EARLIEST_YEAR:
        raise click.BadParameter(f"{text!r} is no day such as 2026-03-31", param_hint=name)
    if day >= now.astimezone(zone).date():
        raise click.BadParameter(f"{text} is not over yet", param_hint=name)
    return datetime.combine(day, time(), tzinfo=zone)


def _end_of(day: datetime) -> datetime:
    return datetime.combine(day.date() + timedelta(days=1), time(), tzinfo=day.tzinfo)


@cli.command()
@click.option("--dry-run", is_flag=True, envvar="WORKER_DRY_RUN", show_envvar=True,
              help="Say how many rows would go, and remove none.")  # fmt: skip
@click.option("--if-due", is_flag=True, envvar="WORKER_IF_DUE", show_envvar=True,
              help="Do nothing if it is done today, or held by another process.")  # fmt: skip
@click.option("--json", "as_json", is_flag=True, envvar="WORKER_JSON", show_envvar=True,
              help="Print what was removed as one JSON object.")  # fmt: skip
def prune(*, dry_run: bool, if_due: bool, as_json: bool) -> int:
    """Remove old daily snapshots, all but the last of each week and month (WORKER_KEEP_... days)."""
    settings = _settings()
    from worker.database.pool import open_pool  # noqa: PLC0415 - numpy comes with these
    from worker.progress import progress_bar  # noqa: PLC0415
    from worker.prune import run_prune  # noqa: PLC0415

    now = datetime.now(tz=settings.timezone)
    with open_pool(settings) as database, progress_bar() as progress:
        found = run_prune(database, settings, now, dry_run=dry_run, if_due=if_due, progress=progress)
    click.echo(json.dumps(found.as_json(), ensure_ascii=False) if as_json else str(found))
    return 1 if found.status == "failed" or (found.status == "held" and not if_due) else 0


@cli.command()
@click.option("--use", "version", metavar="VERSION", envvar="WORKER_USE", show_envvar=True,
              help="From now on let this model speak; the beginning of its version will do.")  # fmt: skip
@click.option("--limit", type=click.IntRange(min=1), default=20, envvar="WORKER_LIMIT", show_envvar=True,
              help="List so many of the newest [20].")  # fmt: skip
@click.option("--json", "as_json", is_flag=True, envvar="WORKER_JSON", show_envvar=True,
              help="Print the models as one JSON object.")  # fmt: skip
def models(*, version: str | None, limit: int, as_json: bool) -> int:
    """List the fitted models of conversions with their held-out scores, or go back to one."""
    settings = _settings()
    from worker.database.catalogue import read_catalogue  # noqa: PLC0415 - numpy comes with these
    from worker.database.inspection import ensure_ready  # noqa: PLC0415
    from worker.database.pool import open_pool  # noqa: PLC0415
    from worker.jobs import conversion_prediction  # noqa: PLC0415
    from worker.registry import adopt_model, ensure_readable, find_version, list_models, show_models  # noqa: PLC0415

    job = conversion_prediction.NAME
    with open_pool(settings) as database:
        ensure_ready(database.retrying(read_catalogue, read_only=True))
        if version is not None:
            start = version if version.startswith(job) else f"{job}-{version}"
            chosen = database.retrying(lambda conn: find_version(conn, job, start), read_only=True)
            database.retrying(lambda conn: ensure_readable(conn, conversion_prediction, chosen), read_only=True)
            now = datetime.now(tz=settings.timezone)
            database.retrying(lambda conn: adopt_model(conn, job, chosen, now, by_hand=True), read_only=False)
            click.echo(
                f"{chosen} speaks from the next run on that looks back from {now:%Y-%m-%d %H:%M} or later. A newer fit"
                " may take over once 30 days have passed, if it does no worse on them.", err=as_json,
            )  # fmt: skip
        found = database.retrying(lambda conn: list_models(conn, job, limit), read_only=True)
    if as_json:
        click.echo(json.dumps({"job": job, "models": [model.as_json() for model in found]}, ensure_ascii=False))
    elif version is None:
        click.echo(show_models(found))
    return 0


@cli.command()
@click.option("--json", "as_json", is_flag=True, envvar="WORKER_JSON", show_envvar=True,
              help="Print the jobs as one JSON object.")  # fmt: skip
def status(as_json: bool) -> int:
    """Show how every job stands: due, running, late, last success, next; why it failed. Exit 1 if one is late or dead.

    Late is a daily job an hour after its time of day, and a job by interval after three of them (30 minutes at the
    least) without success. Dead is one that failed so often that it waits for a person.
    """
    settings = _settings(quiet=True)
    from worker.database.inspection import require_ready  # noqa: PLC0415
    from worker.database.pool import open_pool  # noqa: PLC0415
    from worker.readiness import read_statuses  # noqa: PLC0415
    from worker.status_table import as_json as to_json  # noqa: PLC0415
    from worker.status_table import print_statuses  # noqa: PLC0415

    now = datetime.now(tz=settings.timezone)
    with open_pool(settings) as database:
        require_ready(database)
        found = database.retrying(lambda conn: read_statuses(conn, settings, now), read_only=True)
    if as_json:
        click.echo(json.dumps(to_json(found, now), ensure_ascii=False))
    else:
        print_statuses(found, now)
    return 1 if any(item.needs_a_person for item in found) else 0


@cli.command()
@click.option("--ready", is_flag=True, envvar="WORKER_READY", show_envvar=True,
              help="Ask /readyz (the database answers, nothing is late) instead of /healthz.")  # fmt: skip
def health(ready: bool) -> int:
    """Ask the daemon at WORKER_HTTP how it is, for Docker's HEALTHCHECK: exit 0 or 1, and a line.

    Without WORKER_HTTP there is nobody to ask: then it looks for itself whether the database answers and nothing is
    late.
    """
    # Nothing else of the settings: their other mistakes are the daemon's to tell, and this runs every minute.
    address = Settings.from_environment({"WORKER_HTTP": os.environ.get("WORKER_HTTP", "")}).http
    if address is not None:
        from worker.health import ask  # noqa: PLC0415

        well, line = ask(address, "/readyz" if ready else "/healthz")
    else:
        settings = replace(_settings(quiet=True), database_wait_seconds=3)
        from worker.database.inspection import require_ready  # noqa: PLC0415
        from worker.database.pool import open_pool  # noqa: PLC0415
        from worker.readiness import Readiness  # noqa: PLC0415

        with open_pool(settings) as database:
            require_ready(database)
            verdict = Readiness(database, settings)()
        well, line = verdict.ready, str(verdict)
    click.echo(line)
    return 0 if well else 1


def _pair(text: str) -> tuple[str, str]:
    column, equals, name = text.partition("=")
    if not equals or not column.strip() or not name.strip():
        raise click.BadParameter(f"{text!r} is not COLUMN=NAME, such as timestamp=created", param_hint="--map")
    return column.strip(), name.strip()


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line and give its exit code; errors become a sentence on stderr."""
    ensure_standard_streams()
    try:
        with stop_on_signals(lambda number: 128 + number) as stop:
            return _main(argv, stop)
    except Interrupted as exc:  # at the very beginning
        return 128 + exc.number


def _main(argv: Sequence[str] | None, stop: Stop) -> int:
    try:
        result = cli.main(args=None if argv is None else list(argv), prog_name="python -m worker.run",
                          standalone_mode=False, obj=stop)  # fmt: skip
    except (Interrupted, click.exceptions.Abort):  # click turns every KeyboardInterrupt into an Abort
        click.echo("Interrupted: what was written is kept; run the same command again to go on.", err=True)
        return 128 + (stop.number or signal.SIGINT)
    except click.ClickException as exc:
        exc.show()
        return 2
    except WorkerError as exc:
        return tell(exc)
    except Exception as exc:  # noqa: BLE001 - the last place that can keep personal data and secrets out of the output
        from worker.logs import describe_error  # noqa: PLC0415 - only where it is needed

        click.echo(f"Error: {describe_error(exc)}", err=True)
        return 1
    return result if isinstance(result, int) else 0


if __name__ == "__main__":
    sys.exit(main())
