"""Past predictions beside what came of them: `accuracy`."""

from datetime import datetime
from typing import Any

import click

from worker.commands.options import (
    client_ids,
    echo_found,
    json_option,
    option,
    parse_as_of,
    read_settings,
)


@click.command()
@option("--replicate", is_flag=True, help="Let half of each client's leads foretell the other half instead.")
@option("--as-of", help="Look back from this date or instant [now].")
@option("--client", "client", multiple=True, help="Only this client's claims, one by one; repeatable, or a comma list.")
@option(
    "--periods",
    type=click.IntRange(min=1),
    default=6,
    help="With --replicate: how many periods of 60 days to go back [6].",
)
@json_option("the tables")
def accuracy(*, replicate: bool, as_of: str | None, client: tuple[str, ...], periods: int, as_json: bool) -> int:
    """Show past predictions beside what came of them, the good and the bad.

    It writes nothing.
    """
    settings = read_settings()
    instant = parse_as_of(as_of, settings.timezone, datetime.now(tz=settings.timezone))
    wanted = client_ids(client)
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
    echo_found(found, as_json=as_json)
    return 0
