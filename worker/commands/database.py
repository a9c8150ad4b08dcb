"""The database's shape: `migrate` makes what is missing, `check` says what is not as needed."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import click

from worker.commands.command import command, json_option
from worker.commands.options import echo_json, read_settings
from worker.errors import DatabaseUnavailableError
from worker.terminal import fit

if TYPE_CHECKING:
    from worker.database.verdict import Inspection

INDENT = " " * 9
MARKS: dict[str, tuple[str, dict[str, Any]]] = {
    "ok": ("ok", {"fg": "green"}),
    "warning": ("warning", {"fg": "yellow"}),
    "failure": ("FAILURE", {"fg": "red", "bold": True}),
}


@command(
    "migrate",
    examples=(("migrate", "as the owner of the tables"),),
    shapes={"": "{status, messages}"},
    kept="each file of the schema is applied as a whole or not at all; run migrate again",
)
@json_option("what was said")
def migrate(*, as_json: bool) -> int:
    """Create what the schema lacks; alter nothing of yours.

    It is safe to repeat, and says of each thing whether it made it or found it.
    """
    settings = read_settings()
    from worker.database.migrations import migrate as apply  # noqa: PLC0415
    from worker.database.pool import open_pool  # noqa: PLC0415

    with open_pool(settings) as database:
        said = apply(database)
    if as_json:
        echo_json({"status": "ok", "messages": said})
    else:
        click.echo("\n".join(said))
    return 0


@command(
    "check",
    examples=(("check", "before the first run, and when something is odd"),),
    shapes={"": "{status, checks: [{name, status, message, fix}]}"},
)
@json_option("the findings")
def check(as_json: bool) -> int:
    """Say if this database is as needed, and how to mend it.

    It tries what the jobs do in a transaction that it undoes. Exit 3 where something is missing that they need.
    """
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
        _show(found)
    return 3 if worst == "failure" else 0


def _show(found: Sequence["Inspection"]) -> None:
    """Print each finding with its fix, wrapped at a terminal and a line each elsewhere, and how many are bad."""
    for item in found:
        label, style = MARKS[item.status]
        _, _, rest = fit(item.message, indent=INDENT).partition(INDENT)
        click.echo(f"{click.style(label.ljust(len(INDENT)), **style)}{rest}")
        if item.fix and item.status != "ok":
            click.echo(fit(item.fix, first=f"{INDENT}-> ", indent=f"{INDENT}   "))
    failures, warnings = (sum(item.status == status for item in found) for status in ("failure", "warning"))
    if failures:
        click.echo("\nThe jobs cannot run here: mend what is marked FAILURE, then run check again.")
    elif warnings:
        click.echo("\nThe jobs can run here; look at what is marked warning when there is time.")
    else:
        click.echo("\nAll is well: the jobs can run here.")
