"""How the jobs stand, and whether the daemon is well: `status` and `health`."""

import os
from dataclasses import replace
from datetime import datetime

import click

from worker.commands.command import command, json_option, option
from worker.commands.options import echo_json, read_settings
from worker.settings import Settings


@command(
    "status",
    examples=(
        ("status", "is everything done?"),
        ("status --json", "the same, for a monitor"),
    ),
    shapes={
        "": (
            "{status, now, jobs: [{job, schedule, state, period, due, attempts, running_since, holder, late,"
            " late_since, late_periods, dead, dead_periods, last_success, last_success_period, next, failure}]}"
        )
    },
)
@json_option("the jobs")
def status(as_json: bool) -> int:
    """Show how every job stands: due, late, last, next.

    Below the table it says why a job failed or is late, and what to do. Exit 1 if one is late or dead.

    Late is a daily job an hour after its time of day, and a job by interval after three of them (30 minutes at the
    least) without success. Dead is one that failed so often that it waits for a person.
    """
    settings = read_settings(quiet=True)
    from worker.database.inspection import require_ready  # noqa: PLC0415
    from worker.database.pool import open_pool  # noqa: PLC0415
    from worker.database.shortcomings import tell_clock  # noqa: PLC0415
    from worker.readiness import read_statuses  # noqa: PLC0415
    from worker.status_table import as_json as to_json  # noqa: PLC0415
    from worker.status_table import print_statuses  # noqa: PLC0415

    with open_pool(settings) as database:
        before = datetime.now(tz=settings.timezone)
        catalogue = require_ready(database)
        now = datetime.now(tz=settings.timezone)
        clock = tell_clock(catalogue.server.server_time, before, now)
        found = database.retrying(lambda conn: read_statuses(conn, settings, now), read_only=True)
    if as_json:
        echo_json(to_json(found, now))
    else:
        print_statuses(found, now)
        if clock.status != "ok":
            click.echo(f"{clock.message} {clock.fix}")
    return 1 if any(item.needs_a_person for item in found) else 0


@command(
    "health",
    examples=(
        ("health", "is the daemon alive?"),
        ("health --ready", "does the database answer, and is nothing late?"),
    ),
    shapes={"": "{healthy, message}"},
)
@option("--ready", is_flag=True, help="Ask /readyz (the database answers, nothing is late) instead of /healthz.")
@json_option("the answer")
def health(*, ready: bool, as_json: bool) -> int:
    """Ask the daemon how it is: exit 0 or 1, and a line.

    It asks at WORKER_HTTP, for Docker's HEALTHCHECK. Without WORKER_HTTP there is nobody to ask: then it looks for
    itself whether the database answers and nothing is late.
    """
    # Nothing else of the settings: their other mistakes are the daemon's to tell, and this runs every minute.
    address = Settings.from_environment({"WORKER_HTTP": os.environ.get("WORKER_HTTP", "")}).http
    if address is not None:
        from worker.health import ask  # noqa: PLC0415

        well, line = ask(address, "/readyz" if ready else "/healthz")
    else:
        settings = replace(read_settings(quiet=True), database_wait_seconds=3)
        from worker.database.inspection import require_ready  # noqa: PLC0415
        from worker.database.pool import open_pool  # noqa: PLC0415
        from worker.readiness import Readiness  # noqa: PLC0415

        with open_pool(settings) as database:
            require_ready(database)
            verdict = Readiness(database, settings)()
        well, line = verdict.ready, str(verdict)
    if as_json:
        echo_json({"healthy": well, "message": line})
    else:
        click.echo(line)
    return 0 if well else 1
