"""What every command is made with: options with their environment twins, and help that ends in examples and shapes."""

import textwrap
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import click

from worker.commands import JOBS
from worker.commands.overview import program
from worker.stopping import Stop

READS_ONLY = "this command only reads, and nothing was changed"
if TYPE_CHECKING:
    from click.shell_completion import CompletionItem

INDENT = "  "
Decorator = Callable[[Any], Any]


class WorkerCommand(click.Command):
    """
    A command that says by what words it is called, what --json prints, and what is kept when it is interrupted.

    examples : words after the program's name, and why one would type them.
    shapes : the document of --json, alone ("") and with an option, as its keys: {a, b: {c}, d: [{e, ...}]}; ... stands
        for more of them.
    kept : what is said after "Interrupted: ".
    """

    def __init__(
        self,
        *given: Any,
        examples: Sequence[tuple[str, str]] = (),
        shapes: Mapping[str, str] | None = None,
        kept: str = READS_ONLY,
        **more: Any,
    ) -> None:
        super().__init__(*given, **more)
        self.examples, self.shapes, self.kept = examples, shapes or {}, kept

    def invoke(self, ctx: click.Context) -> Any:
        """Run it; a signal from here on tells what is kept of this command."""
        stop = ctx.find_object(Stop)
        if stop is not None:
            stop.kept = self.kept
        return super().invoke(ctx)

    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the examples and the shape."""
        super().format_epilog(ctx, formatter)
        if self.examples:
            formatter.write("\nExamples:\n")
            for words, why in self.examples:
                formatter.write(f"{INDENT}{program()} {words}\n{INDENT}    {why}\n")
        for with_option, shape in self.shapes.items():
            words = (
                f"and with {with_option}" if with_option else "With --json, one object, to which keys are only added"
            )
            formatter.write(f"\n{words}:\n")
            lines = textwrap.wrap(shape, 76, break_long_words=False, break_on_hyphens=False)
            formatter.write("".join(f"{INDENT}{line}\n" for line in lines))


def command(name: str, *, cls: type[WorkerCommand] = WorkerCommand, **how: Any) -> Callable[[Any], WorkerCommand]:
    """Declare a command; `how` as of WorkerCommand and click.Command."""
    return click.command(name, cls=cls, **how)


def option(name: str, *more: str, **how: Any) -> Decorator:
    """Declare an option whose environment twin is WORKER_ and its name."""
    twin = f"WORKER_{name.removeprefix('--').replace('-', '_').upper()}"
    return click.option(name, *more, envvar=twin, show_envvar=True, **how)


def _complete_jobs(ctx: click.Context, _param: click.Parameter, incomplete: str) -> list["CompletionItem"]:
    """Offer the jobs that are not named yet."""
    from click.shell_completion import CompletionItem  # noqa: PLC0415 - a shell asks for it, no run does

    named = ctx.params.get("names") or ()
    return [
        CompletionItem(job, help=line) for job, line in JOBS.items() if job.startswith(incomplete) and job not in named
    ]


jobs_argument = click.argument("names", nargs=-1, required=True, metavar="JOB... | all", shell_complete=_complete_jobs)
as_of_option = option(
    "--as-of", metavar="DATE", help="Look back from this date (also: yesterday, today) or instant [now]."
)


executor_option = option(
    "--executor", metavar="WHERE", help="Work on shards here (local), in processes=N, or on dask=tcp://... [local]."
)


def json_option(what: str, more: str = "") -> Decorator:
    """Declare --json, which prints `what` as one JSON object."""
    return option("--json", "as_json", is_flag=True, help=f"Print {what} as one JSON object{more}.")
