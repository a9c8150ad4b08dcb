"""What the commands share: reading settings, jobs, days and clients that are given, printing what is found."""

import os
import sys
from collections.abc import Sequence
from dataclasses import replace
from datetime import date, datetime, time, timedelta
from typing import Any
from uuid import UUID
from zoneinfo import ZoneInfo

import click

from worker.commands import ALL, COMMANDS, JOBS_COMMAND
from worker.settings import Settings, parse_executor, warn_about_unknown
from worker.stopping import Stop

EARLIEST_YEAR = 2000  # the reader takes no older stamp for a date
DAYS_BY_NAME = {"today": 0, "yesterday": 1}  # how many days ago; for crontabs, which have no date that works everywhere


def executor_word(text: str | None, settings: Settings) -> str:
    """Read --executor; without it the settings tell."""
    try:
        return settings.executor if text is None else parse_executor(text)
    except ValueError as exc:
        raise click.BadParameter(str(exc), param_hint="--executor") from exc


def echo_json(document: Any, *, err: bool = False) -> None:
    """Print a document on a line of its own: strict JSON, which has no NaN."""
    import json  # noqa: PLC0415 - `--help` needs none of it

    click.echo(json.dumps(document, ensure_ascii=False, allow_nan=False), err=err)


def echo_found(found: Any, *, as_json: bool) -> None:
    """Print what a command found, as its text or as its document."""
    if as_json:
        echo_json(found.as_json())
    else:
        click.echo(str(found))


def read_settings(*, quiet: bool = False) -> Settings:
    """
    Read the settings and set the logs up.

    quiet : log only warnings unless the environment asks for more; so it is at a terminal, where the command itself
        tells what it did.
    """
    settings = Settings.from_environment(os.environ)
    if (quiet or sys.stderr.isatty()) and not os.environ.get("WORKER_LOG_LEVEL"):
        settings = replace(settings, log_level="WARNING")
    from worker.logs import configure_logs, get_logger  # noqa: PLC0415 - `--help` needs no logs

    configure_logs(settings.log_level, log_format=settings.log_format, database_url=settings.database_url)
    context = click.get_current_context()
    stop = context.find_object(Stop)
    if stop is not None:
        stop.grace_seconds = settings.grace_seconds
    twins = [param.envvar for param in context.command.params if isinstance(param.envvar, str)]
    for warning in warn_about_unknown(os.environ, twins=twins):
        get_logger().warning("settings.unknown", hint=warning)
    return settings


def jobs_named(names: Sequence[str]) -> tuple[str, ...]:
    """Put `all` and repeated names into the jobs to run, in the order in which they depend on each other."""
    from worker.timetable import JOB_NAMES  # noqa: PLC0415 - `--help` needs none of it

    unknown = [name for name in names if name not in (*JOB_NAMES, ALL)]
    if unknown:
        import difflib  # noqa: PLC0415

        if unknown[0] in COMMANDS:
            raise click.UsageError(
                f"{unknown[0]} is a command of its own, and does not go together with jobs. See --help."
            )
        known = [*JOB_NAMES, ALL, *(name for name in COMMANDS if name != JOBS_COMMAND)]
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
    day = parse_date(text, here)
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


def parse_date(text: str, here: datetime) -> date | None:
    """Read a date, which yesterday and today are too; None for anything else."""
    if text in DAYS_BY_NAME:
        return here.date() - timedelta(days=DAYS_BY_NAME[text])
    try:
        return date.fromisoformat(text)
    except ValueError:
        return None


def client_ids(values: Sequence[str]) -> frozenset[str]:
    """Read --client, repeated or a comma list; empty: all of them."""
    ids = [part.strip() for value in values for part in value.split(",") if part.strip()]
    if values and not ids:  # an empty shell variable must not mean "all of them"
        raise click.BadParameter("it names no client; leave it out to run all of them", param_hint="--client")
    try:
        return frozenset(str(UUID(text)) for text in ids)
    except ValueError as exc:
        raise click.BadParameter(f"{exc}: a client is named by its client_id, a UUID", param_hint="--client") from exc
