"""One run of one job: claim, read, fit, then for each shard analyse and write, done. The hall of the house."""

import contextlib
import secrets
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
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
from worker.database.shortcomings import LARGEST_CLOCK_SKEW_SECONDS
from worker.errors import RunHeldError, WorkerError
from worker.executors import Hands, LocalExecutor, OneThread, results_ahead
from worker.garbage import give_back
from worker.growth_brain import NAMED, Snapshot, model_version, read_past
from worker.heartbeat import heartbeat
from worker.insights.speech import get_ready
from worker.jobs import Job, ReviewsClaims, load_job
from worker.jobs.finding import Json
from worker.jobs.measures import Measures
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
from worker.shards import Analysed, Assignment, Outcome, Workplace, add_counts, sums_up
from worker.statistics import BoolArray
from worker.summary import JobSummary
from worker.watermark import Changes, Watermark, first_mark, read_changes, retrying, write_watermark

CLIENTS_PER_SHARD = 500  # looked at while those before are written; fewer would cost more than that gains
LEADS_PER_TASK = 400_000  # of shards that read their own leads: what bounds the memory
TASKS_PER_PROCESS = 2  # at least: one that has done its own takes over some of another's
LOOKED_AT_AHEAD = 2  # shards that wait to be written: the writing is seldom held up, and few are kept
POLL_SECONDS = 0.5
NOT_BEGUN_AHEAD = ("REVIEWS_CLAIMS", "INCREMENTAL")  # traits of jobs that rest on what the one before may yet write
NOT_LOOKED_AT_AHEAD = ("evaluate", "LEARNS_FROM_REVIEW")  # of those whose model is more than what was fitted
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
    catalogue: Future[Catalogue] | None = None,
) -> list[JobSummary]:
    """
    Run jobs one after the other on one reading of the leads, or on a history of them that was read before.

    Where the request names another executor, or there are very many clients, shards read their own leads instead.

    Raises DatabaseShapeError before anything is written when the database is not as needed; a job that fails is
    reported in its summary, and the next ones run. With if_due a job that another process works on leaves the later
    ones, which rest on it, to that process.

    hands : an executor that stays open for the next call; None: one of this call alone, as the request names it.
    catalogue : what require_ready finds, where it was asked before; None: it is asked now.
    """
    found = require_ready(database) if catalogue is None else catalogue.result()
    too_early = (request.as_of - found.server.server_time).total_seconds()
    if too_early > LARGEST_CLOCK_SKEW_SECONDS:  # days end early, and rows of the future hide those of tomorrow
        get_logger().warning("clock.ahead", seconds=round(too_early))
    by_shard = history is None and reads_by_shard(database, found, request.executor)
    readings = Readings(database, found, request, history, by_shard=by_shard)
    summaries: list[JobSummary] = []
    with (
        contextlib.nullcontext(hands) if hands is not None else Hands(request.executor) as opened,
        contextlib.closing(_Run(database, settings, request, outlets, found, readings, opened)) as run,
    ):
        for name in request.jobs:
            ahead = next((summary.job for summary in summaries if summary.status == "held"), None)
            if ahead is not None and request.if_due:
                summaries.append(left_after(name, ahead, request))
                outlets.summary(summaries[-1])
            else:
                summaries.append(run.job(name))
    return summaries


def named(job: Job, fitted: Mapping[str, Json], limit: int | None) -> tuple[Mapping[str, Json], str]:
    """Give a model with what it was learned from, if that was a sample, and its version."""
    model = fitted if limit is None else {**fitted, "learned_up_to": limit}
    return model, model_version(job.NAME, model)


def _has_any(job: Job, traits: Iterable[str]) -> bool:
    return any(getattr(job, trait, False) for trait in traits)


_Look = tuple[Leads, Analysed | None]  # a shard, and what is to be written about it


@dataclass(frozen=True, slots=True)
class _Begun:
    """What is done of a job while the one before is written."""

    fit: Future[Mapping[str, Json]]
    past: list[dict[str, Any]] | None  # as _Run.past gave it; None: nothing rests on it yet
    more: dict[str, Any]  # as _Run.learns_from did
    looks: list[Future[_Look]] = field(default_factory=list)  # at its first shards

    def call_off(self) -> None:
        """Do nothing more of it."""
        self.fit.cancel()
        for look in self.looks:
            look.cancel()


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
    begun: dict[str, _Begun] = field(default_factory=dict)  # by job, what is done ahead

    def close(self) -> None:
        """Call off what was begun ahead and nobody asked for."""
        self.beside.shutdown(cancel_futures=True)

    def begin_ahead(self, after: str) -> None:
        """
        Begin with the job after the one named, if its leads are read and it rests on nothing that is yet to be written.

        It is learned for, and its first shards are looked at, while the job before is written.
        """
        name = next(iter(self.request.jobs[self.request.jobs.index(after) + 1 :]), None)
        if name is None or name in self.begun or self.readings.by_shard:
            return
        job = load_job(name)
        if _has_any(job, NOT_BEGUN_AHEAD):
            return
        with contextlib.suppress(Exception):  # the job itself will meet it, and tell
            if self.readings.covers(job) and not self._is_begun(name):
                self._begin(job)

    def _begin(self, job: Job) -> None:
        pooled, limit = self.readings.to_learn_from(job)
        looked_at = not _has_any(job, NOT_LOOKED_AT_AHEAD)
        past = self.past(job) if looked_at or _has_any(job, ["LEARNS_FROM_PAST"]) else None
        more = self.learns_from(job, past or [])
        fit = self.beside.submit(self.fit, job, pooled, more)
        self.begun[job.NAME] = begun = _Begun(fit, past, more)
        if not looked_at:
            return
        leads = self.readings.leads(self.readings.look_back(job))

        def look(keep: BoolArray) -> _Look:
            given = self.assignment(job, *named(job, fit.result(), limit), lease=None)
            return self.look(Workplace(self.database, self.catalogue, given, past or []), leads, keep)

        first = self.shards(leads.clients, CLIENTS_PER_SHARD)[:LOOKED_AT_AHEAD]
        begun.looks.extend(self.beside.submit(look, keep) for keep in first)

    def past(self, job: Job) -> list[dict[str, Any]]:
        """Read the earlier rows that a job's findings are fitted to."""
        types = getattr(job, "PAST_EVENT_TYPES", ())
        if not types:
            return []
        return self.database.retrying(lambda conn: read_past(conn, types, self.request.as_of), read_only=True)

    def learns_from(self, job: Job, past: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
        """Give what a job's fit takes besides leads and the instant, by name."""
        name, as_of = job.NAME, self.request.as_of
        if getattr(job, "LEARNS_FROM_PERIODS", False):
            return {"past_periods": self.readings.past_periods()}
        if getattr(job, "LEARNS_FROM_PAST", False):
            last = self.database.retrying(lambda conn: read_last_period(conn, name, as_of), read_only=True)
            return {"past": past, "last_period": last}
        return {}

    def look(self, place: Workplace, leads: Leads, keep: BoolArray) -> _Look:
        """Cut some clients out of a reading, and find what is to be written about them."""
        part = leads.of_clients(keep)
        return part, place.look_at(part)

    def assignment(self, job: Job, model: Mapping[str, Json], version: str, lease: Lease | None) -> Assignment:
        """Say what all shards of a job have in common."""
        return Assignment(
            job.NAME,
            self.request.as_of,
            model,
            version,
            self.settings.language,
            self.settings.store_lead_names,
            lease,
            self.settings.lease_seconds,
            self.request.dry_run,
        )

    def shards(self, clients: Clients, most: int) -> list[BoolArray]:
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

    def _is_begun(self, name: str) -> bool:
        """Whether a run is on record, so that this one may have nothing to do."""
        period = local_day(self.request.as_of)
        return self.request.whole and (
            self.database.retrying(lambda conn: read_run(conn, name, period), read_only=True) is not None
        )

    def fit(self, job: Job, leads: Leads, more: Mapping[str, Any]) -> Mapping[str, Json]:
        """Let a job learn from leads and what learns_from gives, and nothing else."""
        return job.fit(leads, self.request.as_of, **more)

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
            if name in self.begun:  # it was done by others, or failed before
                self.begun.pop(name).call_off()
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
    measures: list[Measures] = field(default_factory=list)  # of the pooled clients worked on so far

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
        reviews = getattr(self.job, "REVIEWS_CLAIMS", False)
        if self.run.readings.by_shard and not reviews and not getattr(self.job, "ONE_READING", False):
            if not sums_up(self.job):  # for everybody's row; shards read what concerns them
                self.past = self.run.past(self.job)
            self._hand_out()
            return
        self.past = self.run.past(self.job)
        begun = self._begun()
        if not self.run.readings.covers(self.job):  # while the server reads, nobody waits for this
            self.run.beside.submit(get_ready)
        leads = self.run.readings.leads(self.run.readings.look_back(self.job))
        if reviews:
            self.resolved = self._resolve(leads)
        self._learn(begun)
        give_back(len(leads))
        self._cut(leads, [] if begun is None else begun.looks, with_global=not self.request.clients)
        horizon = self.run.readings.horizon
        if self.leaves_mark and horizon is not None:
            self.mark = first_mark(leads, horizon, self.request.as_of, self.version)

    def _begun(self) -> _Begun | None:
        """Give what was done ahead; None where there is nothing, or another run has written since what it rests on."""
        begun = self.run.begun.pop(self.job.NAME, None)
        if begun is None:
            return None
        past = self.past if begun.past is not None else None
        if (begun.past, begun.more) == (past, self.run.learns_from(self.job, self.past)):
            return begun
        begun.call_off()
        return None

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
            self._cut(changes.leads, [], with_global=False)
        self.summary.passed_over = {**changes.passed_over, **self.summary.passed_over}
        self.mark = changes.mark

    def _cut(self, leads: Leads, begun: list[Future[Any]], *, with_global: bool) -> None:
        """
        Cut the shards out of one reading, analyse and write them here, and everybody together last.

        begun : looks at the first of them, which are taken out of it.
        """
        place = Workplace(self.database, self.run.catalogue, self._assignment(), self.past, self.resolved)
        shards, number = self.run.shards(leads.clients, CLIENTS_PER_SHARD), 0
        calls: list[Callable[[], Any]] = [partial(self.run.look, place, leads, keep) for keep in shards[len(begun) :]]
        with_global = with_global and bool(leads.clients.pooled.any())
        if with_global and not sums_up(self.job):
            calls.append(lambda: place.analyse(leads.pool()))
        of = len(begun) + len(calls)
        # events ask the database while they are looked at, and a signal can only stop what the main thread asks
        executor, most = (LocalExecutor(), 0) if self.job.EVENT_TYPE in NAMED else (self.run.beside, LOOKED_AT_AHEAD)
        then = partial(self.run.begin_ahead, self.job.NAME)
        taken = (begun.pop(0) for _ in range(len(begun)))  # what was looked at is not kept until the last is written
        with contextlib.closing(results_ahead(executor, calls, most, then, taken)) as results:
            for done, result in enumerate(results):
                if done == len(shards):
                    self._write_of_everyone(place, result, number)
                else:
                    with self._counted() as outcome:
                        part, found = result
                        place.work_off(part, number, outcome, found)
                        number += 2 * len(part.clients)
                give_back(len(leads))  # what looks at one shard leave behind is not where the next one's find room
                self._progress(done + 1, of)
        if with_global and self.measures:
            self._write_of_everyone(place, place.of_everyone(self.measures), number)

    def _write_of_everyone(self, place: Workplace, found: Analysed, number: int) -> None:
        with self._counted() as outcome:
            place.write(found, [], number, outcome, with_global=True)

    def _hand_out(self) -> None:
        """
        Hand out the shards, which read their own leads; what is said of everybody together is written last.

        Where it does not follow from the shards' sums, everybody is looked at meanwhile.
        """
        from worker.shard_tasks import Command, ShardTask, Share, run_shard, with_place  # noqa: PLC0415 - seldom needed

        leads_a_client = self._learn()
        clients, given = self.run.readings.clients(), self._assignment()
        command = Command.here(self.database, secrets.token_hex(8))
        shares, number = [], 0
        for keep in self.run.shards(clients, CLIENTS_PER_SHARD):
            ids = tuple(str(clients.ids[i]) for i in np.flatnonzero(keep))
            shares.append(Share(ids, number))
            number += 2 * len(ids)
        n_leads = leads_a_client * sum(len(share.clients) for share in shares)
        together = self._read_together(len(shares), n_leads)
        tasks = [ShardTask(command, given, tuple(shares[i] for i in group)) for group in together]
        place = Workplace(self.database, self.run.catalogue, given, self.past)
        with_global = not self.request.clients and bool(clients.pooled.any())
        is_local, none = self.run.hands.is_local, contextlib.nullcontext()
        with (  # tasks that are worked off in this process use what it has opened
            with_place(command, self.database, self.run.catalogue) if is_local else none,
            contextlib.closing(self.run.hands.hand_out(run_shard, tasks)) as results,
        ):
            everybody: Future[Analysed] | None = None
            if with_global and not sums_up(self.job):
                everybody = LocalExecutor().submit(self._analyse_everybody, place)
            for done, result in enumerate(results):
                if result is not None:
                    self._count(result.outcome)
                    result.ensure_well()
                self._progress(done + 1, len(tasks) + with_global)
        results.ensure_none_lost()
        if with_global and (everybody is not None or self.measures):
            found = place.of_everyone(self.measures) if everybody is None else everybody.result()
            self._write_of_everyone(place, found, number)
            self._progress(len(tasks) + 1, len(tasks) + 1)

    def _read_together(self, n_shards: int, n_leads: float) -> list[list[int]]:
        """
        Share the shards out among tasks, each of which reads its clients' leads at once.

        A reading goes through all actions, and most pages of the leads, however few clients it is of: so there are no
        more than memory and the processes ask for. n_leads : of all shards, more or less.
        """
        if self.request.shards:  # what whoever asks wants to be in memory at a time
            return [[i] for i in range(n_shards)]
        n = self.run.hands.processes()
        wanted = max(-(-int(n_leads) // LEADS_PER_TASK), TASKS_PER_PROCESS * n)
        groups = np.array_split(np.arange(n_shards), min(n_shards, -(-wanted // n) * n) or 1)
        return [group.tolist() for group in groups if len(group)]

    def _analyse_everybody(self, place: Workplace) -> Analysed:
        days = getattr(self.job, "ANALYSES_DAYS", self.job.LOOK_BACK_DAYS)
        found = place.analyse(self.run.readings.leads(days).pool())
        self.run.readings.make_room()
        return found

    def _assignment(self) -> Assignment:
        return self.run.assignment(self.job, self.model, self.version, self.lease)

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
        self.measures += [part for part in outcome.measures if len(part.clients)]
        for snapshot in outcome.shown:
            self.run.outlets.snapshot(snapshot)

    def _progress(self, done: int, of: int) -> None:
        self.run.outlets.progress(self.job.NAME, done, of)

    def _learn(self, begun: _Begun | None = None) -> float:
        """
        Fit, let the fit contend with the model in force where its job scores models, and keep what came of it.

        Gives how many leads those who were learned from have each, on an average.
        """
        name, as_of = self.job.NAME, self.request.as_of
        pooled, limit = self.run.readings.to_learn_from(self.job)
        fitted, self.version = named(self.job, self._fit(pooled) if begun is None else begun.fit.result(), limit)
        self.model = fitted
        choice: Choice | None = None
        if hasattr(self.job, "evaluate"):
            give_back(len(pooled))
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
        return len(pooled) / max(1, len(pooled.clients))

    def _resolve(self, leads: Leads) -> Any:
        """Let the job decide the claims on record by what the leads tell since."""
        claims, models = read_claims_with_models(self.database, self.request.as_of)
        return cast("ReviewsClaims", self.job).resolve(leads, claims, models, self.request.as_of)

    def _fit(self, leads: Leads) -> Mapping[str, Json]:
        more = {"past": self.resolved} if self.resolved is not None else self.run.learns_from(self.job, self.past)
        return self.run.fit(self.job, leads, more)
