"""The command line: `python -m worker.run JOB... | all`, and the commands around it."""

import signal
import sys
from collections.abc import Sequence

import click

from worker import __version__
from worker.commands import COMMANDS, JOBS, JOBS_COMMAND, load_command
from worker.errors import WorkerError, tell
from worker.standard_streams import ensure_standard_streams
from worker.stopping import Interrupted, Stop, stop_on_signals

EPILOG = """\b
Examples:
  python -m worker.run demo                          see it work, on a server of its own
  python -m worker.run check                         is this database as needed?
  python -m worker.run all                           every analysis, as of now
  python -m worker.run urgency_trend --as-of 2026-03-31
  python -m worker.run engagement_score --dry-run --client 550e8400-e29b-41d4-a716-446655440000

\b
DATABASE_URL says which database: postgresql://user:password@host:5432/database, or `embedded`.
Every option can be given as an environment variable, WORKER_ and its name: WORKER_AS_OF, WORKER_CLIENT ...

\b
Exit codes: 0 done, or nothing to do; 1 something failed, what is done is kept; 2 usage or configuration;
3 the database is not as needed; 128 + signal when interrupted."""


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

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        del ctx
        sections = {"Jobs": list(JOBS.items())}
        for name, entry in COMMANDS.items():
            if entry.section:
                sections.setdefault(entry.section, []).append((name, entry.line))
        for title, rows in sections.items():
            with formatter.section(title):
                formatter.write_dl(rows)


@click.group(
    cls=_Commands,
    epilog=EPILOG,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    subcommand_metavar="JOB... | all | COMMAND [OPTIONS]",
)
@click.version_option(__version__, prog_name="growth-brain-worker")
def cli() -> None:
    """Lead analytics whose confidence values are true: reads lead_memory, writes growth_brain."""


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line and give its exit code; errors become a sentence on stderr."""
    ensure_standard_streams()
    try:
        with stop_on_signals(lambda number: 128 + number) as stop:
            return _main(argv, stop)
    except Interrupted as exc:  # at the very beginning
        return 128 + exc.number


def _main(argv: Sequence[str] | None, stop: Stop) -> int:
    try:
        result = cli.main(args=None if argv is None else list(argv), prog_name="python -m worker.run",
                          standalone_mode=False, obj=stop)  # fmt: skip
    except (Interrupted, click.exceptions.Abort):  # click turns every KeyboardInterrupt into an Abort
        click.echo("Interrupted: what was written is kept; run the same command again to go on.", err=True)
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


if __name__ == "__main__":
    sys.exit(main())
