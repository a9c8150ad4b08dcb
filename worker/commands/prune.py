"""Old daily snapshots removed: `prune`."""

from datetime import datetime

import click

from worker.commands.options import echo_found, json_option, option, read_settings


@click.command()
@option("--dry-run", is_flag=True, help="Say how many rows would go, and remove none.")
@option("--if-due", is_flag=True, help="Do nothing if it is done today, or held by another process.")
@json_option("what was removed")
def prune(*, dry_run: bool, if_due: bool, as_json: bool) -> int:
    """Remove old daily snapshots, all but the last of each week and month.

    WORKER_KEEP_DAILY_DAYS and WORKER_KEEP_WEEKLY_DAYS say for how long all of them stay, and the last of each week.
    """
    settings = read_settings()
    from worker.database.pool import open_pool  # noqa: PLC0415 - numpy comes with these
    from worker.progress import progress_bar  # noqa: PLC0415
    from worker.prune import run_prune  # noqa: PLC0415

    now = datetime.now(tz=settings.timezone)
    with open_pool(settings) as database, progress_bar() as progress:
        found = run_prune(database, settings, now, dry_run=dry_run, if_due=if_due, progress=progress)
    echo_found(found, as_json=as_json)
    return 1 if found.status == "failed" or (found.status == "held" and not if_due) else 0
