"""The database's shape: `migrate` makes what is missing, `check` says what is not as needed."""

import click

from worker.commands.options import echo_json, json_option, read_settings
from worker.errors import DatabaseUnavailableError


@click.command()
def migrate() -> int:
    """Create what is missing of the schema; alters nothing of yours.

    It is safe to repeat.
    """
    settings = read_settings()
    from worker.database.migrations import migrate as apply  # noqa: PLC0415
    from worker.database.pool import open_pool  # noqa: PLC0415

    with open_pool(settings) as database:
        for sentence in apply(database):
            click.echo(sentence)
    return 0


@click.command()
@json_option("the findings")
def check(as_json: bool) -> int:
    """Say whether this database is as needed, and how to mend what is not."""
    settings = read_settings()
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
        echo_json({"status": worst, "checks": items})
    else:
        marks = {"ok": click.style("ok      ", fg="green"), "warning": click.style("warning ", fg="yellow"),
                 "failure": click.style("FAILURE ", fg="red", bold=True)}  # fmt: skip
        for item in found:
            click.echo(f"{marks[item.status]} {item.message}")
            if item.fix and item.status != "ok":
                click.echo(f"         -> {item.fix}")
    return 3 if worst == "failure" else 0
