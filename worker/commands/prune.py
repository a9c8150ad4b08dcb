"""Old daily snapshots removed: `prune`."""

from datetime import datetime

from worker.commands.command import command, json_option, option
from worker.commands.options import echo_found, read_settings


@command(
    "prune",
    examples=(
        ("prune --dry-run", "how many would go?"),
        ("prune --if-due", "what cron asks: nothing happens where it is done today"),
    ),
    shapes={"": "{job, period_key, status, dry_run, snapshots: {...}, models: {...}, seconds, error}"},
    kept="what is removed stays removed, the rest is untouched; the same command goes on",
)
@option("--dry-run", is_flag=True, help="Say how many rows would go, and remove none.")
@option("--if-due", is_flag=True, help="Do nothing if it is done today, or held by another process.")
@json_option("what was removed")
def prune(*, dry_run: bool, if_due: bool, as_json: bool) -> int:
    """Remove old daily snapshots; weekly and monthly stay.

    Every day stays for WORKER_KEEP_DAILY_DAYS, the last of each week for WORKER_KEEP_WEEKLY_DAYS, the last of each
    month for ever. Patterns, conversions and reviews stay.
    """
    settings = read_settings()
    from worker.database.pool import open_pool  # noqa: PLC0415 - numpy comes with these
    from worker.progress import progress_bar  # noqa: PLC0415
    from worker.prune import run_prune  # noqa: PLC0415

    now = datetime.now(tz=settings.timezone)
    with open_pool(settings) as database, progress_bar("steps") as progress:
        found = run_prune(database, settings, now, dry_run=dry_run, if_due=if_due, progress=progress)
    echo_found(found, as_json=as_json)
    return 1 if found.status == "failed" or (found.status == "held" and not if_due) else 0
