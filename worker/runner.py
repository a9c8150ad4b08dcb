"""One run of one job: claim, read, fit, then for each shard analyse and write, done. The hall of the house."""

import contextlib
import secrets
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future
from dataclasses import dataclass, field
from functools import partial
from typing import Any, cast

import numpy as np
from psycopg import Connection

from worker.calendar import local_day
from worker.database.catalogue import Catalogue
from worker.database.inspection import require_ready
from worker.database.pool import Database
from worker.errors import RunHeldError, WorkerError
from worker.executors import Hands, LocalExecutor, OneThread, results_ahead
from worker.growth_brain import NAMED, Snapshot, model_version, read_past
from worker.heartbeat import heartbeat
from worker.jobs import Job, LearnsFromPast, LearnsFromPeriods, ReviewsClaims, load_job
from worker.jobs.finding import Json
from worker.leads import Clients, Leads
from worker.ledger import Lease, finish_run, read_last_period, read_run, release_run, try_claim
from worker.logs import describe_error, get_logger
from worker.readings import History, Readings, reads_by_shard, rests_on
from worker.registry import (
    Choice,
    ScoredJob,
    choose_model,
    read_claims_with_models,
    read_last_model,
    store_choice,
    store_model,
)
from worker.request import Request, is_left, left_after, log_summary
from worker.sample import hashes
from worker.settings import Settings
from worker.shard_tasks import Command, ShardTask, run_shard, with_place
from worker.shards import Analysed, Assignment, Outcome, Workplace, add_counts
from worker.statistics import BoolArray
from worker.summary import JobSummary
from worker.watermark import Changes, Watermark, first_mark, read_changes, retrying, write_watermark

CLIENTS_PER_SHARD = 500  # looked at while those before are written; fewer would cost more than that gains
CLIENTS_PER_TASK = 500  # of shards that read their own leads: what bounds the memory
LOOKED_AT_AHEAD = 2  # shards that wait to be written: the writing is seldom held up, and few are kept
POLL_SECONDS = 0.5
NOT_FROM_LEADS_ALONE = ("LEARNS_FROM_PAST", "REVIEWS_CLAIMS", "INCREMENTAL")  # traits of jobs not to be fitted ahead
REVIEW = "accuracy_review"  # the job whose model says how stated probabilities are to be mended


@dataclass(frozen=True, slots=True)
class Outlets:
    """Where a run shows itself: each snapshot of a dry run, and the share of the work that is done."""

    snapshot: Callable[[Snapshot], None] = lambda _: None
    progress: Callable[[str, int, int], None] = lambda _job, _done, _all: None
    summary: Callable[[JobSummary], None] = lambda _: None  # of each job, however it ended


def run_jobs(
    database: Database,
    settings: Settings,
    request: Request,
    outlets: Outlets,
    history: History | None = None,
    *,
    hands: Hands | None = None,
) -> list[JobSummary]:
    """
    Run jobs one after the other on one reading of the leads, or on a history of them that was read before.

    Where the request names another executor, or there are very many clients, shards read their own leads instead.

    Raises DatabaseShapeError before anything is written when the database is not as needed; a job that fails is
    reported in its summary, and the next ones run. With if_due a job that another process works on leaves the later
    ones, which rest on it, to that process.

    hands : an executor that stays open for the next call; None: one of this call alone, as the request names it.
    """
    catalogue = require_ready(database)
    by_shard = history is None and reads_by_shard(database, catalogue, request.executor)
    readings = Readings(database, catalogue, request, history, by_shard=by_shard)
    summaries: list[JobSummary] = []
    with (
        contextlib.nullcontext(hands) if hands is not None else Hands(request.executor) as opened,
        contextlib.closing(_Run(database, settings, request, outlets, catalogue, readings, opened)) as run,
    ):
        for name in request.jobs:
            ahead = next((summary.job for summary in summaries if summary.status == "held"), None)
            if ahead is not None and request.if_due:
                summaries.append(left_after(name, ahead, request))
                outlets.summary(summaries[-1])
            else:
                summaries.append(run.job(name))
    return summaries


@dataclass(frozen=True, slots=True)
class _Run:
    """What the jobs of one command share."""

    database: Database
    settings: Settings
    request: Request
    outlets: Outlets
    catalogue: Catalogue
    readings: Readings
    hands: Hands
    beside: OneThread = field(default_factory=OneThread)
    fits: dict[str, Future[Mapping[str, Json]]] = field(default_factory=dict)  # by job, what is being learned ahead

    def close(self) -> None:
        """Call off what was begun ahead and nobody asked for."""
        self.beside.shutdown(cancel_futures=True)

    def fit_ahead(self, after: str) -> None:
        """Begin to learn for the job after the one named, if its leads are read and it looks at nothing else."""
        name = next(iter(self.request.jobs[self.request.jobs.index(after) + 1 :]), None)
        if name is None or name in self.fits or self.readings.by_shard:
            return
        job = load_job(name)
        if any(getattr(job, trait, False) for trait in NOT_FROM_LEADS_ALONE):
            return
        with contextlib.suppress(Exception):  # the job itself will meet it, and tell
            if self.readings.covers(job) and not self._is_begun(name):
                pooled, _ = self.readings.to_learn_from(job)
                self.fits[name] = self.beside.submit(self.fit, job, pooled)

    def _is_begun(self, name: str) -> bool:
        """Whether a run is on record, so that this one may have nothing to do."""
        period = local_day(self.request.as_of)
        return self.request.whole and (
            self.database.retrying(lambda conn: read_run(conn, name, period), read_only=True) is not None
        )

    def fit(self, job: Job, leads: Leads) -> Mapping[str, Json]:
        """Let a job learn from leads, and nothing else."""
        if getattr(job, "LEARNS_FROM_PERIODS", False):
            periods = self.readings.past_periods()
            return cast("LearnsFromPeriods", job).fit(leads, self.request.as_of, past_periods=periods)
        return job.fit(leads, self.request.as_of)

    def job(self, name: str) -> JobSummary:
        """Run one job, and tell how it went."""
        started = time.monotonic()
        summary = JobSummary(name, local_day(self.request.as_of))
        try:
            self._attempt(summary)
        except BrokenPipeError:  # nobody reads what a dry run prints any more
            summary.status = "interrupted"
            raise
        except Exception:
            raise
        except BaseException:  # a signal, perhaps while a failure was being noted
            summary.status = "interrupted"
            if self.request.whole:
                _call_off(self.database, summary)
            raise
        finally:
            summary.seconds = round(time.monotonic() - started, 3)
            summary.passed_over = {**self.readings.passed_over, **summary.passed_over}
            log_summary(summary)
            self.outlets.summary(summary)
        return summary

    def _attempt(self, summary: JobSummary) -> None:
        """Claim, work and finish; a failure is told in the summary, and the run ended with it."""
        database, lease = self.database, None
        try:
            if self.request.whole:
                lease = _claim(database, self.request, summary)
                if lease is None:
                    return
            work = _Work(self, load_job(summary.job), lease, summary)
            with heartbeat(database, lease, self.settings.lease_seconds):
                work.do()
            summary.status = "failed" if summary.failed_clients else "done"
            if summary.failed_clients:
                summary.error = f"{len(summary.failed_clients)} client(s) failed"
            if lease is not None:
                _finish(database, lease, summary, work, backfill=self.request.backfill)
        except RunHeldError as exc:
            summary.status, summary.error = "held", str(exc)
        except WorkerError as exc:
            summary.status, summary.error = "failed", str(exc)
            _release(database, lease, summary)
            if exc.exit_code > 1:
                raise
        except BrokenPipeError:
            raise
        except Exception as exc:  # one job's failure must not take the others with it
            summary.status, summary.error = "failed", describe_error(exc)
            log = get_logger().bind(job=summary.job, period=summary.period_key)
            log.exception("run.failed")
            _release(database, lease, summary)


def _claim(database: Database, request: Request, summary: JobSummary) -> Lease | None:
    """Take the run, waiting for another process if asked to; None (and the summary says why) where it is not ours."""
    deadline = time.monotonic() + request.wait_seconds
    while True:
        state = database.retrying(lambda conn: read_run(conn, summary.job, summary.period_key), read_only=True)
        if is_left(state, request, summary):
            return None
        if state is None or not state.held:
            lease = try_claim(database, summary.job, summary.period_key, request.as_of)
            if lease is not None:
                return lease
        if request.if_due and not request.backfill:
            summary.status, summary.error = "held", "claimed by another process just now"
            return None
        if time.monotonic() >= deadline:
            holder = state.holder if state is not None else "another process"
            raise RunHeldError(f"{summary.job} {summary.period_key} is held by {holder}; try again or raise --wait")
        time.sleep(POLL_SECONDS)


def _finish(database: Database, lease: Lease, summary: JobSummary, work: "_Work", *, backfill: bool) -> None:
    counts = {
        "clients": summary.clients,
        "snapshots": summary.snapshots,
        "inserted": summary.inserted,
        "updated": summary.updated,
        "deleted": summary.deleted,
        "failed_clients": summary.failed_clients,
        "backfill": backfill,
    }

    def finish(conn: Connection[Any]) -> None:
        finish_run(conn, lease, summary.status, counts, summary.error)
        if work.leaves_mark:
            write_watermark(conn, lease.job, work.mark and retrying(work.mark, summary.failed_clients))

    database.retrying(finish, read_only=False)


def _release(database: Database, lease: Lease | None, summary: JobSummary) -> None:
    """End a run that failed, so that whoever comes next need not wait for the lease; best effort."""
    if lease is None:
        return
    try:
        with database.write() as conn:
            finish_run(conn, lease, "failed", {"failed_clients": summary.failed_clients}, summary.error)
    except Exception:  # noqa: BLE001 - the lease runs out by itself, and the first error is the one to report
        get_logger().warning("run.not_released", job=lease.job, period=lease.period_key)


def _call_off(database: Database, summary: JobSummary) -> None:
    """Give back a run that a signal ended, also one that was being claimed at that moment; best effort, as above."""
    try:
        with database.write() as conn:
            release_run(conn, summary.job, summary.period_key)
    except Exception:  # noqa: BLE001 - as above
        get_logger().warning("run.not_released", job=summary.job, period=summary.period_key)


@dataclass(slots=True)
class _Work:
    """The middle of a run, under its lease (None: partial or dry, nothing to protect)."""

    run: _Run
    job: Job
    lease: Lease | None
    summary: JobSummary
    model: Mapping[str, Json] = field(default_factory=dict)
    version: str = ""
    past: list[dict[str, Any]] = field(default_factory=list)
    resolved: Any = None  # of a job that reviews claims: what became of them
    mark: Watermark | None = None  # up to where everything is seen once this run is done

    @property
    def request(self) -> Request:
        """What was asked for."""
        return self.run.request

    @property
    def database(self) -> Database:
        """Where it is read and written."""
        return self.run.database

    @property
    def leaves_mark(self) -> bool:
        """Whether the next run of this job may go on from where this one ends."""
        return self.request.whole and getattr(self.job, "INCREMENTAL", False)

    def do(self) -> None:
        """Fit once, then analyse and write shard by shard, the global snapshot last."""
        changes = self._changes()
        if changes is not None:
            self._catch_up(changes)
            return
        types = getattr(self.job, "PAST_EVENT_TYPES", ())
        if types:
            self.past = self.database.retrying(lambda conn: read_past(conn, types, self.request.as_of), read_only=True)
        reviews = getattr(self.job, "REVIEWS_CLAIMS", False)
        if self.run.readings.by_shard and not reviews and not getattr(self.job, "ONE_READING", False):
            self._hand_out()
            return
        leads = self.run.readings.leads(self.run.readings.look_back(self.job))
        if reviews:
            self.resolved = self._resolve(leads)
        self._learn()
        self._cut(leads, with_global=not self.request.clients)
        horizon = self.run.readings.horizon
        if self.leaves_mark and horizon is not None:
            self.mark = first_mark(leads, horizon, self.request.as_of, self.version)

    def _changes(self) -> Changes | None:
        """Read what was written since this job's last run; None: everything has to be read."""
        if not self.leaves_mark or self.request.backfill:
            return None
        name, as_of, settings = self.job.NAME, self.request.as_of, rests_on(self.run.settings, self.request)
        return self.database.retrying(
            lambda conn: read_changes(conn, self.run.catalogue, name, as_of, *settings), read_only=True
        )

    def _catch_up(self, changes: Changes) -> None:
        """Analyse and write the clients whose rows changed, by the model that the last full pass learned."""
        self.model, self.version, self.past = changes.model, changes.mark.model_version, changes.past
        if changes.leads is not None:
            self._cut(changes.leads, with_global=False)
        self.summary.passed_over = {**changes.passed_over, **self.summary.passed_over}
        self.mark = changes.mark

    def _cut(self, leads: Leads, *, with_global: bool) -> None:
        """Cut the shards out of one reading, analyse and write them here, and everybody together last."""
        place = Workplace(self.database, self.run.catalogue, self._assignment(), self.past, self.resolved)
        shards, number = self._shards(leads.clients, CLIENTS_PER_SHARD), 0

        def look(keep: BoolArray) -> tuple[Leads, Analysed | None]:
            part = leads.of_clients(keep)
            return part, place.look_at(part)

        calls: list[Callable[[], Any]] = [partial(look, keep) for keep in shards]
        if with_global and leads.clients.pooled.any():
            calls.append(lambda: place.analyse(leads.pool()))
        # events ask the database while they are looked at, and a signal can only stop what the main thread asks
        executor, most = (LocalExecutor(), 0) if self.job.EVENT_TYPE in NAMED else (self.run.beside, LOOKED_AT_AHEAD)
        then = partial(self.run.fit_ahead, self.job.NAME)
        with contextlib.closing(results_ahead(executor, calls, most, then)) as results:
            for done, result in enumerate(results):
                with self._counted() as outcome:
                    if done == len(shards):
                        place.write(result, [], number, outcome, with_global=True)
                    else:
                        part, found = result
                        place.work_off(part, number, outcome, found)
                        number += 2 * len(part.clients)
                self._progress(done + 1, len(calls))

    def _hand_out(self) -> None:
        """Hand out the shards, which read their own leads; meanwhile look at everybody together, to write that last."""
        self._learn()
        clients, given = self.run.readings.clients(), self._assignment()
        command = Command.here(self.database, secrets.token_hex(8))
        tasks, number = [], 0
        for keep in self._shards(clients, CLIENTS_PER_TASK):
            ids = tuple(str(clients.ids[i]) for i in np.flatnonzero(keep))
            tasks.append(ShardTask(command, given, ids, number))
            number += 2 * len(ids)
        place = Workplace(self.database, self.run.catalogue, given, self.past)
        with_global = not self.request.clients and bool(clients.pooled.any())
        with (
            self._here(command),
            contextlib.closing(self.run.hands.hand_out(run_shard, tasks)) as results,
        ):
            everybody = LocalExecutor().submit(self._analyse_everybody, place) if with_global else None
            for done, result in enumerate(results):
                if result is not None:
                    self._count(result.outcome)
                    result.ensure_well()
                self._progress(done + 1, len(tasks) + with_global)
        results.ensure_none_lost()
        if everybody is not None:
            with self._counted() as outcome:
                place.write(everybody.result(), [], number, outcome, with_global=True)
            self._progress(len(tasks) + 1, len(tasks) + 1)

    def _here(self, command: Command) -> contextlib.AbstractContextManager[None]:
        """Let tasks that are worked off in this process use what it has opened."""
        if self.run.hands.is_local:
            return with_place(command, self.database, self.run.catalogue)
        return contextlib.nullcontext()

    def _analyse_everybody(self, place: Workplace) -> Analysed:
        days = getattr(self.job, "ANALYSES_DAYS", self.job.LOOK_BACK_DAYS)
        found = place.analyse(self.run.readings.leads(days).pool())
        self.run.readings.make_room()
        return found

    def _assignment(self) -> Assignment:
        settings = self.run.settings
        return Assignment(
            self.job.NAME,
            self.request.as_of,
            self.model,
            self.version,
            settings.language,
            settings.store_lead_names,
            self.lease,
            settings.lease_seconds,
            self.request.dry_run,
        )

    @contextlib.contextmanager
    def _counted(self) -> Iterator[Outcome]:
        """Count what becomes of a share, also of one that was not finished."""
        outcome = Outcome()
        try:
            yield outcome
        finally:
            self._count(outcome)

    def _count(self, outcome: Outcome) -> None:
        summary = self.summary
        for name, number in outcome.counts.items():
            setattr(summary, name, getattr(summary, name) + number)
        for client_id, error in outcome.failed:
            get_logger().error("client.failed", job=self.job.NAME, client_id=client_id, error=error)
            summary.failed_clients.append(client_id)
        add_counts(summary.passed_over, outcome.passed_over)
        for snapshot in outcome.shown:
            self.run.outlets.snapshot(snapshot)

    def _progress(self, done: int, of: int) -> None:
        self.run.outlets.progress(self.job.NAME, done, of)

    def _shards(self, clients: Clients, most: int) -> list[BoolArray]:
        """Cut the clients into fixed shares by a hash of their id, of about `most` clients if nothing else is asked."""
        wanted = np.array([not self.request.clients or i in self.request.clients for i in clients.ids], dtype=bool)
        n = self.request.shards or max(1, -(-len(clients) // most))
        share = hashes(clients) % n
        order = np.argsort(share[wanted], kind="stable")
        members = np.flatnonzero(wanted)[order]
        masks = []
        for group in np.split(members, np.flatnonzero(np.diff(share[members])) + 1):
            masks.append(np.zeros(len(clients), dtype=bool))
            masks[-1][group] = True
        return [mask for mask in masks if mask.any()]

    def _learn(self) -> None:
        """Fit, let the fit contend with the model in force where its job scores models, and keep what came of it."""
        name, as_of = self.job.NAME, self.request.as_of
        pooled, limit = self.run.readings.to_learn_from(self.job)
        ahead = self.run.fits.pop(name, None)
        fitted = self._fit(pooled) if ahead is None else ahead.result()
        if limit is not None:
            fitted = {**fitted, "learned_up_to": limit}
        self.model, self.version = fitted, model_version(name, fitted)
        choice: Choice | None = None
        if hasattr(self.job, "evaluate"):
            choice = choose_model(self.database, cast("ScoredJob", self.job), pooled, fitted, as_of)
            self.model, self.version = choice.model, choice.version

        def keep(conn: Connection[Any]) -> None:
            if choice is None:
                store_model(conn, name, self.version, fitted, as_of)
            else:
                store_choice(conn, name, fitted, as_of, choice)

        if not self.request.dry_run:
            self.database.retrying(keep, read_only=False)
        if getattr(self.job, "LEARNS_FROM_REVIEW", False):
            last = self.database.retrying(lambda conn: read_last_model(conn, REVIEW, as_of), read_only=True)
            self.model = {**self.model, "recalibration": None if last is None else last[1].get("recalibration")}

    def _resolve(self, leads: Leads) -> Any:
        """Let the job decide the claims on record by what the leads tell since."""
        claims, models = read_claims_with_models(self.database, self.request.as_of)
        return cast("ReviewsClaims", self.job).resolve(leads, claims, models, self.request.as_of)

    def _fit(self, leads: Leads) -> Mapping[str, Json]:
        if self.resolved is not None:
            return cast("ReviewsClaims", self.job).fit(leads, self.request.as_of, past=self.resolved)
        if not getattr(self.job, "LEARNS_FROM_PAST", False):
            return self.run.fit(self.job, leads)
        name, as_of = self.job.NAME, self.request.as_of
        last = self.database.retrying(lambda conn: read_last_period(conn, name, as_of), read_only=True)
        learner = cast("LearnsFromPast", self.job)
        return learner.fit(leads, as_of, past=self.past, last_period=last)
