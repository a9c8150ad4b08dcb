"""Past predictions beside what came of them: `accuracy`."""

from datetime import datetime
from typing import Any

import click

from worker.commands.command import as_of_option, command, json_option, option
from worker.commands.options import client_ids, echo_found, parse_as_of, read_settings


@command(
    "accuracy",
    examples=(
        ("accuracy", "how often was what was said at 0.8 right?"),
        ("accuracy --client 550e8400-e29b-41d4-a716-446655440000", "one client's claims, one by one"),
        ("accuracy --replicate", "does half of the leads foretell the other half?"),
    ),
    shapes={
        "": (
            "{kind, as_of, clients, overall: {...}, jobs: {...}, windows: [{as_of, ...}], next_due, recalibration,"
            " evidence: {...}}"
        ),
        "--client ID": "the same, and claims: [{client_id, event_type, as_of, said, state, ...}]",
        "--replicate": "{kind, as_of, periods, step_days, leads, jobs: [{job, verdict, ...}]}",
    },
)
@option("--replicate", is_flag=True, help="Let half of each client's leads foretell the other half instead.")
@as_of_option
@option("--client", "client", multiple=True, help="Only this client's claims, one by one; repeatable, or a comma list.")
@option(
    "--periods",
    type=click.IntRange(min=1),
    default=6,
    help="With --replicate: how many periods of 60 days to go back [6].",
)
@json_option("the tables")
def accuracy(*, replicate: bool, as_of: str | None, client: tuple[str, ...], periods: int, as_json: bool) -> int:
    """Show past predictions beside what came of them.

    Hits and misses alike, by what was said. It writes nothing.
    """
    settings = read_settings()
    instant = parse_as_of(as_of, settings.timezone, datetime.now(tz=settings.timezone))
    wanted = client_ids(client)
    from worker.accuracy import replicate as replicate_halves  # noqa: PLC0415 - numpy comes with it
    from worker.accuracy import review  # noqa: PLC0415
    from worker.database.pool import open_pool  # noqa: PLC0415
    from worker.progress import progress_bar  # noqa: PLC0415

    found: Any
    with open_pool(settings) as database, progress_bar("periods") as progress:
        if replicate:
            found = replicate_halves(database, instant, clients=wanted, periods=periods, progress=progress)
        else:
            found = review(database, instant, clients=wanted)
    echo_found(found, as_json=as_json)
    return 0
