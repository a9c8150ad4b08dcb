"""The snapshots of past days: `backfill`."""

from datetime import datetime, time, timedelta
from zoneinfo import ZoneInfo

import click

from worker.commands.command import command, executor_option, jobs_argument, json_option, option
from worker.commands.options import EARLIEST_YEAR, echo_json, executor_word, jobs_named, parse_date, read_settings
from worker.terminal import fit


@command(
    "backfill",
    examples=(
        ("backfill all --from 2026-01-01", "every day until yesterday"),
        ("backfill conversion_prediction --from 2025-01-01 --every 7d", "one job, one day in seven"),
    ),
    shapes={
        "": (
            "{status, from, to, every, jobs: [{job, done, skipped, failed, held, snapshots, inserted, updated,"
            " deleted}]}"
        )
    },
    kept="days that are done are kept; the same command passes over them and goes on",
)
@jobs_argument
@option("--from", "first", required=True, metavar="DATE", help="The first day.")
@option("--to", "last", metavar="DATE", help="The last day [yesterday].")
@option("--every", default="1d", help="From one day to the next that is made: 1d, 7d, 1month ... [1d].")
@executor_option
@json_option("what was done")
def backfill(
    names: tuple[str, ...], *, first: str, last: str | None, every: str, executor: str | None, as_json: bool
) -> int:
    """Make past days' snapshots from what was known then.

    Days that are done are passed over, so it can be stopped and called again.
    """
    settings = read_settings()
    wanted, where = jobs_named(names), executor_word(executor, settings)
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
    outcome = "failed"
    try:
        with open_pool(settings) as database, progress_bar("days") as progress:
            run_backfill(database, settings, wanted, instants, executor=where, progress=progress, tallies=tallies)
        outcome = "failed" if any(tally.failed or tally.held for tally in tallies) else "done"
    except KeyboardInterrupt:
        outcome = "interrupted"
        raise
    finally:  # also when a signal or an error ends it: what was done until then is told
        if as_json and tallies:
            jobs = [tally.as_json() for tally in tallies]
            period = {"from": days[0].date().isoformat(), "to": days[1].date().isoformat(), "every": every}
            echo_json({"status": outcome, **period, "jobs": jobs})
        elif tallies:
            click.echo("\n".join(fit(str(tally), first="", indent=" " * 23) for tally in tallies))
    return 0 if outcome == "done" else 1


def _whole_day(text: str, name: str, zone: ZoneInfo, now: datetime) -> datetime:
    """Read a day that is over, as its first instant."""
    day = parse_date(text, now.astimezone(zone))
    if day is None or day.year < EARLIEST_YEAR:
        raise click.BadParameter(f"{text!r} is no day such as 2026-03-31", param_hint=name)
    if day >= now.astimezone(zone).date():
        raise click.BadParameter(f"{text} is not over yet", param_hint=name)
    return datetime.combine(day, time(), tzinfo=zone)


def _end_of(day: datetime) -> datetime:
    return datetime.combine(day.date() + timedelta(days=1), time(), tzinfo=day.tzinfo)
