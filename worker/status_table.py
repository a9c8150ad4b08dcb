"""What the command `status` shows: a table of 80 columns, and what to do about whatever is not well."""

from collections.abc import Iterator, Sequence
from datetime import datetime
from typing import Any

from rich import box
from rich.table import Table
from rich.text import Text

from worker.logs import redact_text
from worker.status import JobStatus
from worker.terminal import screen
from worker.timetable import PRUNE, REPORT

CLIENTS_SHOWN = 5
LONGEST_REASON = 300  # characters
LONG_AGO_DAYS = 300  # then the year says more than the hour
STYLES = {"running": "cyan", "off": "dim", "never ran": "yellow", "dead": "bold red", "late": "red", "due": "cyan",
          "waiting": "yellow", "done": "green"}  # fmt: skip


def as_json(statuses: Sequence[JobStatus], now: datetime) -> dict[str, Any]:
    """Give the document that `status --json` prints; keys are only ever added, instants are in the worker's zone."""
    well = not any(status.needs_a_person for status in statuses)
    jobs = [status.as_json() for status in statuses]
    for job in jobs:
        if job["failure"]:
            job["failure"]["reason"] = _reason(job["failure"]["reason"])
    return {"status": "ok" if well else "late", "now": now.isoformat(timespec="seconds"), "jobs": jobs}


def print_statuses(statuses: Sequence[JobStatus], now: datetime) -> None:
    """Print the table; below it each job that is not well, why, and what to do."""
    console = screen()
    zone = " ".join(dict.fromkeys((str(now.tzinfo), now.tzname() or "")))  # UTC is its own name
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, padding=0, title_justify="left",
                  title=f"{now:%Y-%m-%d %H:%M:%S} {zone}")  # fmt: skip
    for heading in ("job", "schedule", "state", "last success", "next"):
        table.add_column(heading, no_wrap=True)
    for status in statuses:
        style = "late" if status.late_periods and not status.dead_periods else status.state
        table.add_row(
            status.job,
            status.schedule,
            Text(status.state, STYLES[style]),
            _instant(status.last_success, now),
            "now" if status.due else _instant(status.next_run, now),
        )
    console.print(table)
    told = [line for status in statuses for line in _told(status)]
    for line in told or ["Nothing is late and nothing failed."]:
        console.print(line, soft_wrap=True, markup=False)


def _instant(instant: datetime | None, now: datetime) -> str:
    """Write an instant without what the title says: the zone, and the year unless it is long ago."""
    if instant is None:
        return "-"
    if abs((now - instant).days) >= LONG_AGO_DAYS:
        return f"{instant:%Y-%m-%d}"
    return f"{instant:%m-%d %H:%M}" if instant.utcoffset() == now.utcoffset() else f"{instant:%m-%d %H:%M%z}"


def _told(status: JobStatus) -> Iterator[str]:
    """Tell what is not well with a job, in lines."""
    failure = status.failure
    if status.running_since is not None and (status.late_periods or failure):
        yield f"{status.job} {status.period_key}: running since {status.running_since:%H:%M:%S%z} by {status.holder}"
    if status.late_since is not None:
        periods = status.late_periods
        more = f" and {len(periods) - 1} before it" if len(periods) > 1 else ""
        yield f"{status.job} {periods[-1]}{more}: late since {status.late_since:%Y-%m-%d %H:%M%z}"
    if failure is not None:
        times = f"{failure.attempts} attempt{'s' * (failure.attempts != 1)}"
        yield f"{status.job} {failure.period_key}: failed after {times}: {_reason(failure.reason)}"
        for client_id in failure.failed_clients[:CLIENTS_SHOWN]:
            yield f"  client {client_id}"
        if len(failure.failed_clients) > CLIENTS_SHOWN:
            yield f"  and {len(failure.failed_clients) - CLIENTS_SHOWN} more (status --json lists all)"
    if status.late_periods or failure is not None:
        yield f"  -> {_advice(status)}"


def _advice(status: JobStatus) -> str:
    failure = status.failure
    again = f"python -m worker.run {status.job}"
    if status.job == REPORT:
        again += " --if-due"
    elif status.job != PRUNE and failure is not None and status.schedule.count(":"):
        again += f" --as-of {failure.period_key}"
    if status.dead_periods:
        return f"No more attempts are made. Mend the cause, then run: {again}"
    if failure is not None:
        when = "now" if status.due else f"at {status.next_run:%H:%M%z}" if status.next_run is not None else "later"
        trial = f". To see it fail: {again} --dry-run --client ID" if failure.failed_clients else ""
        return f"It is tried again {when}; the log says more (run.finished){trial}"
    if status.running_since is not None:
        return "It is being worked on; a process that dies gives it up when its lease ends"
    return "Nobody runs it: is the daemon (python -m worker), or cron, running on this database?"


def _reason(text: str) -> str:
    """Write what the ledger noted, without what a message may quote."""
    text = " ".join(redact_text(text).split())
    return text if len(text) <= LONGEST_REASON else f"{text[:LONGEST_REASON]} ..."
