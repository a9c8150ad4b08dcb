"""The worker in process, as child.py runs it: connect, run jobs, commit; imports come before."""

import contextlib
import inspect
import os
import time
from dataclasses import fields
from datetime import datetime

import structlog

from worker.database.pool import open_pool
from worker.jobs import load_job
from worker.runner import Outlets, Request, run_jobs
from worker.settings import Settings

_told = []


def prepare(jobs, **_):
    """Import the jobs, and keep the log events to ourselves, with their time."""
    with contextlib.suppress(ImportError):  # an earlier checkout, which did not
        from worker.garbage import collect_seldom

        collect_seldom()  # as the command and the daemon's errands do
    for name in jobs:
        load_job(name)

    def keep(_logger, _method, event):
        _told.append((time.perf_counter(), event))
        raise structlog.DropEvent

    structlog.configure(processors=[structlog.contextvars.merge_contextvars, keep])


def run(url, jobs, as_of, shards=None, executor=None):
    """Run jobs; rows inserted, updated and deleted, seconds of each job, and when each log event came."""
    settings = Settings.from_environment({"DATABASE_URL": url, "WORKER_STATEMENT_TIMEOUT_SECONDS": "3600"})
    chosen = {} if executor is None else {"executor": executor}
    os.environ["DATABASE_URL"] = url  # where shards run in other processes they look for it there
    request = Request(jobs=tuple(jobs), as_of=datetime.fromisoformat(as_of), shards=shards, **chosen)
    started = time.perf_counter()
    with open_pool(settings) as database:
        summaries = run_jobs(database, settings, request, Outlets())
    failed = [f"{summary.job}: {summary.status} {summary.error}" for summary in summaries if summary.status != "done"]
    if failed:
        raise RuntimeError("; ".join(failed))
    return {
        "jobs": {summary.job: summary.seconds for summary in summaries},
        **{name: sum(getattr(summary, name) for summary in summaries) for name in ("inserted", "updated", "deleted")},
        "snapshots": sum(summary.snapshots for summary in summaries),
        "events": [(when - started, event["event"], event.get("job")) for when, event in _told],
    }


def takes_executor():
    """Whether this checkout's run can be spread over processes."""
    return "executor" in {field.name for field in fields(Request)} | set(inspect.signature(run_jobs).parameters)
