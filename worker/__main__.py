"""`python -m worker`: the daemon."""

import os
import sys
from collections.abc import Sequence

import click

from worker.errors import WorkerError, tell
from worker.settings import Settings, warn_about_unknown
from worker.standard_streams import ensure_standard_streams
from worker.stopping import Interrupted, Stop, stop_on_signals


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.pass_obj
def daemon(stop: Stop) -> int:
    """Run the daemon: yesterday's analyses from 03:00 local time on, conversion events every 5 minutes.

    It is configured by environment variables only, DATABASE_URL first of all. Single runs, checks and the demo are
    commands of `python -m worker.run`; see its --help.
    """
    settings = Settings.from_environment(os.environ)
    stop.grace_seconds = settings.grace_seconds
    from worker.daemon import run_daemon  # noqa: PLC0415 - wrong settings are told before numpy is loaded
    from worker.logs import configure_logs, get_logger  # noqa: PLC0415

    configure_logs(settings.log_level, log_format=settings.log_format, database_url=settings.database_url)
    for warning in warn_about_unknown(os.environ):
        get_logger().warning("settings.unknown", hint=warning)
    return run_daemon(settings)


def main(argv: Sequence[str] | None = None) -> int:
    """Start the daemon with the environment's settings and give its exit code; being asked to stop is no failure."""
    ensure_standard_streams()
    try:
        with stop_on_signals(lambda _number: 0) as stop:
            return _main(argv, stop)
    except Interrupted:  # at the very beginning
        return 0


def _main(argv: Sequence[str] | None, stop: Stop) -> int:
    try:
        result = daemon.main(
            args=None if argv is None else list(argv), prog_name="python -m worker", standalone_mode=False, obj=stop
        )
    except (Interrupted, click.exceptions.Abort):  # asked to stop before it had begun
        return 0
    except click.ClickException as exc:
        exc.show()
        return 2
    except WorkerError as exc:
        return tell(exc)
    except Exception as exc:  # noqa: BLE001 - the last place that can keep what an error quotes out of the output
        from worker.logs import describe_error  # noqa: PLC0415 - only where it is needed

        sys.stderr.write(f"Error: {describe_error(exc)}\n")
        return 1
    return result if isinstance(result, int) else 0


if __name__ == "__main__":
    sys.exit(main())
