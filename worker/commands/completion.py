"""Completion of words by the shell: `completion` prints the script that bash, zsh or fish is to read."""

import os
from pathlib import PurePath

import click
from click.shell_completion import get_completion_class

from worker.commands.command import command
from worker.commands.overview import SCRIPT

SHELLS = ("bash", "zsh", "fish")


@command(
    "completion",
    examples=(
        ("completion bash >> ~/.bashrc", "bash 4.4 or newer; then open a new shell"),
        ("completion zsh >> ~/.zshrc", "zsh, after its compinit"),
        ("completion fish > ~/.config/fish/completions/growth-brain-worker.fish", "fish"),
    ),
)
@click.argument("shell", type=click.Choice(SHELLS), required=False)
def completion(shell: str | None) -> int:
    """Print what makes your shell complete words with Tab.

    Jobs, commands and options are completed after growth-brain-worker, the script that comes with the installed
    package. No shell can complete words after `python -m worker.run`. Without a name it is the shell of $SHELL.
    """
    from worker.commands.group import COMPLETE_VARIABLE, cli  # noqa: PLC0415 - the group finds this module

    chosen = shell or PurePath(os.environ.get("SHELL", "")).name
    found = get_completion_class(chosen) if chosen in SHELLS else None
    if found is None:
        raise click.UsageError(f"Which shell? {chosen or 'SHELL'} is none of {', '.join(SHELLS)}: name one.")
    click.echo(found(cli, {}, SCRIPT, COMPLETE_VARIABLE).source())
    return 0
