"""The jobs, once: `python -m worker.run JOB... | all`."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any

import click

from worker.commands import ALL, JOBS_COMMAND
from worker.commands.command import (
    WorkerCommand,
    as_of_option,
    command,
    executor_option,
    jobs_argument,
    json_option,
    option,
)
from worker.commands.options import client_ids, echo_json, executor_word, jobs_named, parse_as_of, read_settings
from worker.settings import Settings
from worker.terminal import fit


class _Jobs(WorkerCommand):
    """The jobs' command, which nobody types, shows itself as what is typed."""

    def make_context(self, info_name: str | None, *rest: Any, **extra: Any) -> click.Context:
        del info_name
        return super().make_context(ALL, *rest, **extra)

    def format_usage(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        program = ctx.parent.command_path if ctx.parent is not None else ctx.command_path
        formatter.write_usage(program, "JOB... | all [OPTIONS]")


@command(
    JOBS_COMMAND,
    cls=_Jobs,
    hidden=True,
    examples=(
        ("all", "every analysis, as of now"),
        ("urgency_trend --as-of 2026-03-31", "one, as of the end of that day"),
        ("all --if-due --as-of yesterday", "what cron asks each hour: nothing happens where it is done"),
        (
            "engagement_score --dry-run --client 550e8400-e29b-41d4-a716-446655440000",
            "look at one client's, writing nothing",
        ),
    ),
    shapes={
        "": (
            "{status, as_of, dry_run, jobs: [{job, period_key, status, clients, snapshots, inserted, updated, deleted,"
            " unchanged, seconds, failed_clients, error, passed_over: {...}}]}"
        )
    },
    kept="snapshots written so far are kept; the same command does the rest",
)
@jobs_argument
@as_of_option
@option(
    "--client",
    "client",
    multiple=True,
    metavar="ID",
    help="Write only this client's snapshots; repeatable, or a comma list.",
)
@option("--dry-run", is_flag=True, help="Print the snapshots as JSON lines and write nothing.")
@option("--if-due", is_flag=True, help="Do nothing if this period is done, or held by another process.")
@option(
    "--wait", type=click.FloatRange(min=0), help="Seconds to wait for a run that another process holds [lease + 5]."
)
@option("--shards", type=click.IntRange(min=1), help="Cut the clients into this many shares [one per 500 clients].")
@executor_option
@json_option("the run's summary", "; with --dry-run: on stderr")
def jobs(
    names: tuple[str, ...],
    *,
    as_of: str | None,
    client: tuple[str, ...],
    dry_run: bool,
    if_due: bool,
    wait: float | None,
    shards: int | None,
    executor: str | None,
    as_json: bool,
) -> int:
    """Run jobs once, now or as of a past instant.

    Each looks back from --as-of and refreshes that day's snapshots: run twice, it writes the same. A run with --client
    or --dry-run leaves the day's own run to do.
    """
    settings = read_settings()
    wanted = jobs_named(names)
    from worker.request import Request  # noqa: PLC0415 - `--help` needs no database

    request = Request(
        jobs=wanted,
        as_of=parse_as_of(as_of, settings.timezone, datetime.now(tz=settings.timezone)),
        clients=client_ids(client),
        dry_run=dry_run,
        if_due=if_due,
        wait_seconds=settings.lease_seconds + 5 if wait is None else wait,
        shards=shards,
        executor=executor_word(executor, settings),
    )
    return _run(settings, request, as_json=as_json)


def _run(settings: Settings, request: Any, *, as_json: bool) -> int:
    from worker.database.inspection import require_ready  # noqa: PLC0415 - as above
    from worker.database.pool import open_pool  # noqa: PLC0415
    from worker.executors import OneThread  # noqa: PLC0415
    from worker.progress import progress_bar  # noqa: PLC0415
    from worker.request import tell_nothing_to_do  # noqa: PLC0415
    from worker.summary import JobSummary  # noqa: PLC0415

    def print_snapshot(snapshot: Any) -> None:
        echo_json(snapshot.as_json())

    summaries: list[JobSummary] = []
    cut_short = ""  # before any job could tell of it
    try:
        with open_pool(settings) as database, progress_bar() as progress, OneThread() as beside:
            if not tell_nothing_to_do(database, request, summaries.append):
                catalogue = beside.submit(require_ready, database)  # while numpy is loaded, which comes with the next
                from worker.runner import Outlets, run_jobs  # noqa: PLC0415

                outlets = Outlets(print_snapshot, progress, summaries.append)
                run_jobs(database, settings, request, outlets, catalogue=catalogue)
    except Exception:
        cut_short = "failed"
        raise
    except KeyboardInterrupt:
        cut_short = "interrupted"
        raise
    finally:  # also when a signal or an error ends the run: what was done until then is told
        if summaries or (as_json and cut_short):
            _print_summaries(summaries, request, cut_short, as_json=as_json)
    return 0 if _verdict(summaries, request) == "done" else 1


def _verdict(summaries: Sequence[Any], request: Any, cut_short: str = "") -> str:
    """Say how the run as a whole went: done, failed or interrupted; a run held elsewhere is fine with --if-due."""
    found = {cut_short, *(summary.status for summary in summaries)}
    if "interrupted" in found:
        return "interrupted"
    return "failed" if "failed" in found or ("held" in found and not request.if_due) else "done"


def _print_summaries(summaries: Sequence[Any], request: Any, cut_short: str, *, as_json: bool) -> None:
    if as_json:
        document = {
            "status": _verdict(summaries, request, cut_short),
            "as_of": request.as_of.isoformat(),
            "dry_run": request.dry_run,
            "jobs": [summary.as_json() for summary in summaries],
        }
        echo_json(document, err=request.dry_run)
    elif not request.dry_run:
        for summary in summaries:
            click.echo(fit(_line(summary), first="", indent=" " * 35))


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
