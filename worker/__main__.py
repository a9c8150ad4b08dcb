"""`python -m worker`: the daemon."""

import os
import sys

import click

from worker.errors import ConfigurationError, WorkerError
from worker.settings import Settings, warn_about_unknown


def main() -> int:
    """Start the daemon with the settings of the environment and give its exit code."""
    try:
        settings = Settings.from_environment(os.environ)
        from worker.daemon import run_daemon  # noqa: PLC0415 - wrong settings are told before numpy is loaded
        from worker.logs import configure_logs, get_logger  # noqa: PLC0415

        configure_logs(settings.log_level, log_format=settings.log_format, database_url=settings.database_url)
        for warning in warn_about_unknown(os.environ):
            get_logger().warning("settings.unknown", hint=warning)
        return run_daemon(settings)
    except ConfigurationError as exc:
        for problem in exc.problems:
            click.echo(f"Error: {problem}", err=True)
        return exc.exit_code
    except WorkerError as exc:
        click.echo(f"Error: {exc}", err=True)
        return exc.exit_code


if __name__ == "__main__":
    sys.exit(main())
