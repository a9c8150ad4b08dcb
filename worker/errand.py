"""An errand: what a tick of the daemon has to run, done in a process of its own, whose memory goes back with it.

The daemon sends it out with one JSON line on its stdin; on its stdout comes a JSON line for each job that ended. What
kills it (out of memory, a crash in compiled code) leaves the daemon alive, and a lease that runs out.
"""

import contextlib
import ctypes
import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from worker.database.pool import Database, open_pool
from worker.errors import DatabaseShapeError, DatabaseUnavailableError, WorkerError
from worker.garbage import be_process_of
from worker.logs import configure_logs, get_logger
from worker.settings import Settings
from worker.standard_streams import ensure_standard_streams
from worker.stopping import Interrupted, stop_on_signals
from worker.summary import JobSummary
from worker.timetable import CHORES, PRUNE, REPORT

GRACE = 0.8  # of the daemon's own
DIE_WITH_PARENT = 1  # PR_SET_PDEATHSIG of prctl(2)

Tell = Callable[[JobSummary], None]


@dataclass(frozen=True, slots=True)
class Errand:
    """Jobs to run as of an instant (aware); backfill: a past day that is made good later."""

    jobs: tuple[str, ...]
    as_of: datetime
    if_due: bool
    backfill: bool = False


def do_errand(database: Database, settings: Settings, errand: Errand, tell: Tell) -> None:
    """Do it in this process, and tell of each job that ended."""
    from worker.prune import run_prune  # noqa: PLC0415 - numpy comes with these, and the daemon shall do without
    from worker.request import Request  # noqa: PLC0415
    from worker.runner import Outlets, run_jobs  # noqa: PLC0415

    as_of = errand.as_of.astimezone(settings.timezone)
    if PRUNE in errand.jobs:
        pruned = run_prune(database, settings, as_of, if_due=errand.if_due)
        gone = pruned.snapshots.total()
        tell(
            JobSummary(
                PRUNE, pruned.period_key, pruned.status, deleted=gone, seconds=pruned.seconds, error=pruned.error
            )
        )
    if REPORT in errand.jobs:
        from worker.report.daily import run_daily_report  # noqa: PLC0415 - as above

        told = run_daily_report(database, settings, as_of, if_due=errand.if_due)
        tell(JobSummary(REPORT, told.period_key, told.status, seconds=told.seconds, error=told.error))
    jobs = tuple(job for job in errand.jobs if job not in CHORES)
    if jobs:
        request = Request(
            jobs, as_of, if_due=errand.if_due, wait_seconds=0, executor=settings.executor, backfill=errand.backfill
        )
        run_jobs(database, settings, request, Outlets(summary=tell))


def send_out(errand: Errand, tell: Tell, on_retry: Callable[[], None]) -> None:
    """
    Have it done by a process of its own, configured by this one's environment.

    Interrupted is passed on to it, and raised when it has ended. Raises what keeps it from its work: WorkerError.
    """
    with _start(errand) as process:
        assert process.stdin is not None  # noqa: S101 - what PIPE means
        assert process.stdout is not None  # noqa: S101
        try:
            with contextlib.suppress(BrokenPipeError):  # it is gone already; its exit code tells
                process.stdin.write(_as_line(errand))
                process.stdin.close()
            _listen(process.stdout, tell, on_retry)
        except Interrupted:
            process.terminate()
            with contextlib.suppress(WorkerError):  # whatever it still says while it gives its run back: we stop
                _listen(process.stdout, tell, on_retry)
            raise
        code = process.wait()
    if code != 0:
        cause = signal.Signals(-code).name if code < 0 else f"exit code {code}"
        raise WorkerError(f"the process that ran {', '.join(errand.jobs)} ended by {cause}")


def _start(errand: Errand) -> subprocess.Popen[str]:
    try:
        return subprocess.Popen(  # noqa: S603 - our own module
            [sys.executable, *_import_flags(), "-m", "worker.errand"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            encoding="utf-8",
            start_new_session=True,  # a Ctrl-C at the terminal is the daemon's to pass on, once
        )
    except OSError as exc:  # no memory or no place for one more: it may pass
        raise WorkerError(f"no process could be started to run {', '.join(errand.jobs)}") from exc


def _import_flags() -> list[str]:
    """Give the flags that keep a foreign worker.py of the current folder out, where this process has them."""
    return ["-I"] if sys.flags.isolated else ["-P"] if sys.flags.safe_path else []


def _as_line(errand: Errand) -> str:
    values = {"jobs": errand.jobs, "as_of": errand.as_of.isoformat(), "if_due": errand.if_due}
    return json.dumps({**values, "backfill": errand.backfill}) + "\n"


def _listen(lines: Iterable[str], tell: Tell, on_retry: Callable[[], None]) -> None:
    for line in lines:
        try:
            message = json.loads(line)
        except ValueError:  # half a line: it was killed while it spoke, as its exit code tells
            continue
        if isinstance(message, Mapping):
            _hear(message, tell, on_retry)


def _hear(message: Mapping[str, Any], tell: Tell, on_retry: Callable[[], None]) -> None:
    if "job" in message:
        tell(JobSummary(**message))
    elif "retry" in message:
        on_retry()
    elif message["error"] == DatabaseShapeError.__name__:
        raise DatabaseShapeError(list(message["problems"]))
    elif message["error"] == DatabaseUnavailableError.__name__:
        raise DatabaseUnavailableError(*message["problems"])
    else:
        raise WorkerError(*message["problems"])


def main() -> int:
    """Do the errand that stdin says; the exit code is 0 also where jobs failed, which their summaries tell."""
    ensure_standard_streams()
    with contextlib.suppress(AttributeError, OSError):  # only Linux has it
        ctypes.CDLL(None).prctl(DIE_WITH_PARENT, signal.SIGKILL)
    with stop_on_signals(lambda number: 128 + number, once=True) as stop:
        try:
            line = sys.stdin.readline()
            if not line:  # the daemon was stopped before it could say what to do
                return 0
            settings = Settings.from_environment(os.environ)
            stop.grace_seconds = settings.grace_seconds * GRACE
            configure_logs(settings.log_level, log_format=settings.log_format, database_url=settings.database_url)
            values = json.loads(line)
            errand = Errand(
                tuple(values["jobs"]), datetime.fromisoformat(values["as_of"]), values["if_due"], values["backfill"]
            )
            with open_pool(settings) as database:
                database.on_retry = lambda: _say({"retry": 1})
                do_errand(database, settings, errand, lambda summary: _say(summary.as_json()))
        except Interrupted as exc:
            return 128 + exc.number
        except WorkerError as exc:
            problems = exc.problems if isinstance(exc, DatabaseShapeError) else [str(exc)]
            _say({"error": type(exc).__name__, "problems": problems})
        except Exception:  # noqa: BLE001 - the last place that can keep what an error quotes out of the output
            get_logger().exception("errand.failed")
            return 1
        return 0


def _say(message: Mapping[str, Any]) -> None:
    sys.stdout.write(json.dumps(message) + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    be_process_of(main)
