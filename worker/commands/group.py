"""The group that click knows: it finds commands in the table, takes other words for jobs, and tells how it ended."""

import os
import signal
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import click

from worker import __version__
from worker.commands import COMMANDS, JOBS, JOBS_COMMAND, load_command
from worker.commands.overview import SCRIPT, overview, program
from worker.errors import WorkerError, tell
from worker.stopping import Interrupted, Stop
from worker.terminal import colour_by_environment, wants_colour

if TYPE_CHECKING:
    from click.shell_completion import CompletionItem

COMPLETE_VARIABLE = "_GROWTH_BRAIN_WORKER_COMPLETE"


class _Commands(click.Group):
    """
    A group that imports a command only when it is called for.

    Whatever is no command is taken as job names; options may stand before or after the words.
    """

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        own = {"--help", "-h", "--version"}
        if args and args[0] not in own and args[0] not in COMMANDS:
            command = JOBS_COMMAND
            if args[0].startswith("-"):
                command = next((word for word in args if word in COMMANDS), JOBS_COMMAND)
            args = [command, *(word for word in args if word != command)]
        return super().parse_args(ctx, args)

    def list_commands(self, ctx: click.Context) -> list[str]:
        del ctx
        return [name for name in COMMANDS if name != JOBS_COMMAND]

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        del ctx
        return load_command(cmd_name) if cmd_name in COMMANDS else None

    def get_help(self, ctx: click.Context) -> str:
        """Give the page that is made from the table."""
        return overview(coloured=wants_colour(sys.stdout) if ctx.color is None else ctx.color)

    def shell_complete(self, ctx: click.Context, incomplete: str) -> list["CompletionItem"]:
        """Offer jobs and commands out of the table, and the group's own options."""
        from click.shell_completion import CompletionItem  # noqa: PLC0415 - a shell asks for it, no run does

        lines = {**JOBS, **{name: entry.line for name, entry in COMMANDS.items() if entry.section}}
        found = [CompletionItem(name, help=line) for name, line in lines.items() if name.startswith(incomplete)]
        options: list[CompletionItem] = click.Command.shell_complete(self, ctx, incomplete)
        return [*found, *options]


@click.group(
    cls=_Commands,
    context_settings={"help_option_names": ["-h", "--help"], "color": None, "max_content_width": 80},
    subcommand_metavar="JOB... | all | COMMAND [OPTIONS]",
)
@click.version_option(__version__, prog_name=SCRIPT)
def cli() -> None:
    """Lead analytics whose confidence values are true: reads lead_memory, writes growth_brain."""


def run_command(words: Sequence[str], stop: Stop) -> int:
    """Run what the words say and give the exit code; errors become a sentence on stderr."""
    try:
        result: Any = cli.main(
            list(words), program(), COMPLETE_VARIABLE, standalone_mode=False, obj=stop,
            color=colour_by_environment(os.environ),
        )  # fmt: skip
    except (Interrupted, click.exceptions.Abort):  # click turns every KeyboardInterrupt into an Abort
        click.echo(f"Interrupted: {stop.kept}.", err=True)
        return 128 + (stop.number or signal.SIGINT)
    except click.ClickException as exc:
        exc.show()
        return 2
    except WorkerError as exc:
        return tell(exc)
    except Exception as exc:  # noqa: BLE001 - the last place that can keep personal data and secrets out of the output
        from worker.logs import describe_error  # noqa: PLC0415 - only where it is needed

        click.echo(f"Error: {describe_error(exc)}", err=True)
        return 1
    return result if isinstance(result, int) else 0
