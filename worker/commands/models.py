"""The fitted models on record: `models`."""

from datetime import datetime

import click

from worker.commands.command import command, json_option, option
from worker.commands.options import echo_json, read_settings


@command(
    "models",
    examples=(
        ("models", "which speaks, and how well did each do?"),
        ("models --use 3f2a", "go back to the one whose version begins so"),
    ),
    shapes={
        "": (
            "{job, models: [{version, job, trained_from, as_of, scores: {...}, code_version, created_at, in_force,"
            " by_hand}]}"
        )
    },
    kept="a model is put in force as a whole or not at all; `models` shows which speaks",
)
@option(
    "--use",
    "version",
    metavar="VERSION",
    help="From now on let this model speak; the beginning of its version will do.",
)
@option("--limit", type=click.IntRange(min=1), default=20, help="List so many of the newest [20].")
@json_option("the models")
def models(*, version: str | None, limit: int, as_json: bool) -> int:
    """List the fitted models and scores, or go back to one.

    They are those of conversion_prediction. With --use the one named speaks from the next run on.
    """
    settings = read_settings()
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
        echo_json({"job": job, "models": [model.as_json() for model in found]})
    elif version is None:
        click.echo(show_models(found))
    return 0
