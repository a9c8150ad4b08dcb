"""What can go wrong, by name: each error says what happened, what to do, and with which exit code the command ends."""

import sys


class WorkerError(Exception):
    """Something the person who runs the worker has to know; `exit_code` is what the command returns."""

    exit_code = 1


class ConfigurationError(WorkerError):
    """The settings or the command's words are wrong; `problems` lists everything found, not only the first."""

    exit_code = 2

    def __init__(self, problems: list[str]) -> None:
        self.problems = problems
        super().__init__("; ".join(problems))


class DatabaseUnavailableError(WorkerError):
    """The database did not answer in the time allowed."""


class DatabaseShapeError(WorkerError):
    """The database is there but not as needed: shape, rights, or rows that row-level security hides."""

    exit_code = 3

    def __init__(self, problems: list[str]) -> None:
        self.problems = problems
        super().__init__("; ".join(problems))


class RunHeldError(WorkerError):
    """Another process holds the lease on this run and did not give it up in the time we were ready to wait."""


class LeaseLostError(WorkerError):
    """Another process took over this run while we worked on it: nothing more may be written under our token."""


class LeadsFileError(WorkerError):
    """A file of leads cannot be read at all (single bad rows are listed, not raised)."""

    exit_code = 2


def tell(error: WorkerError) -> int:
    """Write an error to stderr, a line for each problem it found, and give the exit code to end with."""
    problems = error.problems if isinstance(error, ConfigurationError | DatabaseShapeError) else [str(error)]
    for problem in problems:
        sys.stderr.write(f"Error: {problem}\n")
    return error.exit_code
