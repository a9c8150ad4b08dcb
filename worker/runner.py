"""One run of one job: claim, read, fit, then for each shard analyse and write, done. The hall of the house."""

import hashlib
import itertools
import time
import zlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from datetime import UTC
from typing import Any, cast

import numpy as np
import psycopg
from psycopg import Connection

from worker.calendar import local_day
from worker.database.catalogue import Catalogue
from worker.database.inspection import require_ready
from worker.database.pool import Database
from worker.errors import DatabaseShapeError, RunHeldError, WorkerError
from worker.growth_brain import (
    NAMED,
    Snapshot,
    Written,
    delete_withdrawn,
    make_snapshot,
    model_version,
    read_known_events,
    read_past,
    withdraw_events,
    write_snapshots,
)
from worker.heartbeat import heartbeat
from worker.jobs import Job, LearnsFromPast, ReviewsClaims, load_job, longest_look_back
from worker.jobs.finding import Finding, Json
from worker.leads import Leads
from worker.ledger import (
    Lease,
    finish_run,
    note_shard,
    read_last_period,
    read_run,
    read_shard,
    release_run,
    renew_lease,
    try_claim,
)
from worker.logs import describe_error, get_logger
from worker.reading import ReadingReport, ensure_clients_known, read_lead_names, read_leads, read_since
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
from worker.settings import Settings
from worker.statistics import BoolArray
from worker.summary import JobSummary
from worker.vocabulary import fold
from worker.watermark import (
    Changes,
    Horizon,
    Watermark,
    first_mark,
    read_changes,
    read_horizon,
    retrying,
    write_watermark,
)

CLIENTS_PER_SHARD = 1000
POLL_SECONDS = 0.5
REVIEW = "accuracy_review"  # the job whose model says how stated probabilities are to be mended
# SQLSTATE classes: cardinality, data, constraints, limits (a row too long for an index), RAISE, and those of no class
ROWS_AT_FAULT = ("21", "22", "23", "2F", "38", "39", "44", "54", "P0", "XX")
REASONS_TO_CHOOSE = ("other", "autre", "placed in converted by accident", "place dans convertis par erreur")


@dataclass(frozen=True, slots=True)
class Outlets:
    """Where a run shows itself: each snapshot of a dry run, and the share of the work that is done."""

    snapshot: Callable[[Snapshot], None] = lambda _: None
    progress: Callable[[str, int, int], None] = lambda _job, _done, _all: None
    summary: Callable[[JobSummary], None] = lambda _: None  # of each job, however it ended


@dataclass(frozen=True, slots=True)
class History:
    """Leads that were read before, far enough back for any as_of at hand, and what was passed over, by reason."""

    leads: Leads
    passed_over: dict[str, int]


def run_jobs(
    database: Database, settings: Settings, request: Request, outlets: Outlets, history: History | None = None
) -> list[JobSummary]:
    """
    Run jobs one after the other on one reading of the leads, or on a history of them that was read before.

    Raises DatabaseShapeError before anything is written when the database is not as needed; a job that fails is
    reported in its summary, and the next ones run. With if_due a job that another process works on leaves the later
    ones, which rest on it, to that process.
    """
    catalogue = require_ready(database)
    reading = _Reading(database, catalogue, request, history)
    summaries: list[JobSummary] = []
    for name in request.jobs:
        ahead = next((summary.job for summary in summaries if summary.status == "held"), None)
        if ahead is not None and request.if_due:
            summaries.append(left_after(name, ahead, request))
            outlets.summary(summaries[-1])
        else:
            summaries.append(
                _run_job(database, settings, request, outlets, catalogue=catalogue, reading=reading, name=name)
            )
    return summaries


class _Reading:
    """The leads, read once for the job with the longest look-back, when the first job needs them."""

    def __init__(self, database: Database, catalogue: Catalogue, request: Request, history: History | None) -> None:
        self._database, self._catalogue, self._as_of = database, catalogue, request.as_of
        self._wanted, self._rests_on = request.clients, _rests_on(database.settings, request)
        self._days = longest_look_back(request.jobs)
        self._whole = None if history is None else history.leads
        self._parts: dict[int | None, Leads] = {}
        self.passed_over = {} if history is None else history.passed_over
        self.horizon: Horizon | None = None  # what the reading may have missed; None: unknown

    def leads(self, days: int | None) -> Leads:
        """Give the leads with a look-back of `days`, out of the one reading."""
        if self._whole is None:
            since = read_since(self._as_of, self._days)

            def read(conn: Connection[Any]) -> tuple[Leads, ReadingReport]:
                self.horizon = read_horizon(conn, self._catalogue, *self._rests_on)
                return read_leads(conn, self._catalogue, since)

            self._whole, report = self._database.retrying(read, read_only=True)
            self.passed_over = report.passed_over()
            ensure_clients_known(self._whole, self._wanted)
            get_logger().info("leads.read", leads=report.leads, **self.passed_over)
        if days not in self._parts:
            since = read_since(self._as_of, days)
            self._parts[days] = self._whole.in_contact_since(since)
        return self._parts[days]


def _may_be_the_rows(error: psycopg.Error) -> bool:
    """Whether an error may be due to what some client's rows hold; a full disk or a timeout is not."""
    return error.sqlstate is not None and error.sqlstate[:2] in ROWS_AT_FAULT


def _rests_on(settings: Settings, request: Request) -> tuple[object, ...]:
    """List what, beside rows and code, decides what is written: a run that goes on from another must share it."""
    return settings.store_lead_names, settings.language, request.as_of.tzinfo


def _run_job(
    database: Database,
    settings: Settings,
    request: Request,
    outlets: Outlets,
    *,
    catalogue: Catalogue,
    reading: _Reading,
    name: str,
) -> JobSummary:
    started = time.monotonic()
    summary = JobSummary(name, local_day(request.as_of))
    try:
        _attempt(database, settings, request, outlets, catalogue=catalogue, reading=reading, summary=summary)
    except BrokenPipeError:  # nobody reads what a dry run prints any more
        summary.status = "interrupted"
        raise
    except Exception:
        raise
    except BaseException:  # a signal, perhaps while a failure was being noted
        summary.status = "interrupted"
        if request.whole:
            _call_off(database, summary)
        raise
    finally:
        summary.seconds = round(time.monotonic() - started, 3)
        summary.passed_over = {**reading.passed_over, **summary.passed_over}
        log_summary(summary)
        outlets.summary(summary)
    return summary


def _attempt(
    database: Database,
    settings: Settings,
    request: Request,
    outlets: Outlets,
    *,
    catalogue: Catalogue,
    reading: _Reading,
    summary: JobSummary,
) -> None:
    """Claim, work and finish; a failure is told in the summary, and the run ended with it."""
    lease: Lease | None = None
    try:
        if request.whole:
            lease = _claim(database, request, summary)
            if lease is None:
                return
        work = _Work(database, settings, request, outlets, catalogue, load_job(summary.job), lease, summary)
        with heartbeat(database, lease, settings.lease_seconds):
            work.do(reading)
        summary.status = "failed" if summary.failed_clients else "done"
        if summary.failed_clients:
            summary.error = f"{len(summary.failed_clients)} client(s) failed"
        if lease is not None:
            _finish(database, lease, summary, work, backfill=request.backfill)
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

    database: Database
    settings: Settings
    request: Request
    outlets: Outlets
    catalogue: Catalogue
    job: Job
    lease: Lease | None
    summary: JobSummary
    model: Mapping[str, Json] = field(default_factory=dict)
    version: str = ""
    past: list[dict[str, Any]] = field(default_factory=list)
    resolved: Any = None  # of a job that reviews claims: what became of them
    on_record: list[Finding] = field(default_factory=list)  # of the shard at hand: events the application recorded
    told: list[Finding] = field(default_factory=list)  # likewise: the others, whether they are written already or not
    known: int = 0  # likewise: how many of those are
    written: int = 0  # how many shares of the run were written, or tried to
    mark: Watermark | None = None  # up to where everything is seen once this run is done

    @property
    def leaves_mark(self) -> bool:
        """Whether the next run of this job may go on from where this one ends."""
        return self.request.whole and getattr(self.job, "INCREMENTAL", False)

    def do(self, reading: _Reading) -> None:
        """Fit once, then analyse and write shard by shard, the global snapshot last."""
        changes = self._changes()
        if changes is not None:
            self._catch_up(changes)
            return
        leads = reading.leads(self.job.LOOK_BACK_DAYS)
        types = getattr(self.job, "PAST_EVENT_TYPES", ())
        if types:
            self.past = self.database.retrying(lambda conn: read_past(conn, types, self.request.as_of), read_only=True)
        if getattr(self.job, "REVIEWS_CLAIMS", False):
            self.resolved = self._resolve(leads)
        self._learn(leads.of_clients(leads.clients.pooled))
        shards = self._shards(leads)
        for done, keep in enumerate(shards):
            self._shard(leads, keep)
            self.outlets.progress(self.job.NAME, done + 1, len(shards) + 1)
        if not self.request.clients and leads.clients.pooled.any():
            self._write(self._analyse(leads.pool()), [], with_global=True)
        if self.leaves_mark and reading.horizon is not None:
            self.mark = first_mark(leads, reading.horizon, self.request.as_of, self.version)
        self.outlets.progress(self.job.NAME, len(shards) + 1, len(shards) + 1)

    def _changes(self) -> Changes | None:
        """Read what was written since this job's last run; None: everything has to be read."""
        if not self.leaves_mark or self.request.backfill:
            return None
        name, as_of, rests_on = self.job.NAME, self.request.as_of, _rests_on(self.settings, self.request)
        return self.database.retrying(
            lambda conn: read_changes(conn, self.catalogue, name, as_of, *rests_on), read_only=True
        )

    def _catch_up(self, changes: Changes) -> None:
        """Analyse and write the clients whose rows changed, by the model that the last full pass learned."""
        self.model, self.version, self.past = changes.model, changes.mark.model_version, changes.past
        shards = [] if changes.leads is None else self._shards(changes.leads)
        for done, keep in enumerate(shards):
            assert changes.leads is not None  # noqa: S101 - there are shards of it
            self._shard(changes.leads, keep)
            self.outlets.progress(self.job.NAME, done + 1, len(shards))
        self.summary.passed_over = {**changes.passed_over, **self.summary.passed_over}
        self.mark = changes.mark

    def _learn(self, pooled: Leads) -> None:
        """Fit, let the fit contend with the model in force where its job scores models, and keep what came of it."""
        name, as_of = self.job.NAME, self.request.as_of
        fitted = self._fit(pooled)
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
            return self.job.fit(leads, self.request.as_of)
        name, as_of = self.job.NAME, self.request.as_of
        last = self.database.retrying(lambda conn: read_last_period(conn, name, as_of), read_only=True)
        learner = cast("LearnsFromPast", self.job)
        return learner.fit(leads, as_of, past=self.past, last_period=last)

    def _shards(self, leads: Leads) -> list[BoolArray]:
        """Cut the clients into fixed shares by a hash of their id."""
        ids = leads.clients.ids
        wanted = np.array([not self.request.clients or i in self.request.clients for i in ids], dtype=bool)
        n = self.request.shards or max(1, -(-len(ids) // CLIENTS_PER_SHARD))
        share = np.array([zlib.crc32(str(i).encode()) % n for i in ids], dtype=np.int64)
        masks = [wanted & (share == number) for number in range(n)]
        return [mask for mask in masks if mask.any()]

    def _shard(self, leads: Leads, keep: BoolArray) -> None:
        """Analyse and write some clients; where that fails, halve until the failing client is alone and named."""
        part = leads.of_clients(keep)
        try:
            self._write(self._analyse(part), [i for i in part.clients.ids if i is not None], with_global=False)
            self.summary.clients += len(part.clients)
        except (WorkerError, BrokenPipeError):
            raise
        except (
            psycopg.errors.UndefinedTable,
            psycopg.errors.UndefinedColumn,
            psycopg.errors.InsufficientPrivilege,
        ) as exc:
            # no client's fault: the database changed under the run
            raise DatabaseShapeError(
                [f"The database changed during the run ({type(exc).__name__}): run check."]
            ) from exc
        except Exception as exc:
            if isinstance(exc, psycopg.Error) and not _may_be_the_rows(exc):
                raise
            # The other clients' snapshots must not be lost with this one's.
            members = np.flatnonzero(keep)
            if len(members) == 1:
                client_id = str(leads.clients.ids[members[0]])
                get_logger().error("client.failed", job=self.job.NAME, client_id=client_id, error=describe_error(exc))
                self.summary.failed_clients.append(client_id)
                return
            for half in (members[: len(members) // 2], members[len(members) // 2 :]):
                mask = np.zeros(len(keep), dtype=bool)
                mask[half] = True
                self._shard(leads, mask)

    def _analyse(self, leads: Leads) -> list[Snapshot]:
        as_of = self.request.as_of
        if self.resolved is not None:
            reviewing = cast("ReviewsClaims", self.job)
            findings = reviewing.analyse(leads, self.model, as_of, self._generator(), past=self.resolved)
        else:
            findings = self.job.analyse(leads, self.model, as_of, self._generator())
        reconcile = getattr(self.job, "reconcile", None)
        if reconcile is not None:
            everything = findings
            findings = reconcile(findings, self.past, as_of)
            if self.job.EVENT_TYPE in NAMED:
                kept = {(finding.event_type, finding.claim_key) for finding in findings}
                self.on_record = [f for f in everything if (f.event_type, f.claim_key) not in kept]
                counted = self.summary.passed_over.get("already_on_record", 0)
                self.summary.passed_over["already_on_record"] = counted + len(self.on_record)
                self._count_undated(findings)
                self.told, findings = findings, self._without_known(findings, leads)
        findings = self._with_names(findings)
        language = dict(zip(leads.clients.ids, leads.clients.language, strict=True))
        return [
            make_snapshot(finding, as_of, self.version, language.get(finding.client_id) or self.settings.language)
            for finding in findings
        ]

    def _count_undated(self, findings: Sequence[Finding]) -> None:
        """Count the conversions that nothing dates, and those that are over without anything telling since when."""
        passed_over = self.summary.passed_over
        for name, number in (
            ("undated_conversions", sum(finding.content.get("dated") is False for finding in findings)),
            ("undated_reversions", sum(bool(finding.facts.get("lapsed")) for finding in findings)),
        ):
            passed_over[name] = passed_over.get(name, 0) + number

    def _without_known(self, findings: list[Finding], leads: Leads) -> list[Finding]:
        """Leave out the events that are written already: once written they stay."""
        self.known = 0
        if self.request.dry_run or not findings:
            return findings
        client_ids = [i for i in leads.clients.ids if i is not None]
        known = self.database.retrying(
            lambda conn: read_known_events(conn, client_ids, id_type=self._id_type), read_only=True
        )
        new = [f for f in findings if (f.client_id, f.event_type, f.claim_key) not in known]
        self.known = len(findings) - len(new)
        return new

    @property
    def _id_type(self) -> str:
        return self.catalogue.type_of("growth_brain", "client_id") or "uuid"

    def _generator(self) -> np.random.Generator:
        """Seed by job and as_of alone: never by shard, worker or process."""
        as_of = self.request.as_of.astimezone(UTC).isoformat()
        digest = hashlib.sha256(f"{self.job.NAME}|{as_of}".encode()).digest()
        return np.random.default_rng(int.from_bytes(digest[:8], "big"))

    def _with_names(self, findings: Sequence[Finding]) -> list[Finding]:
        """Fill in lead_name where the setting allows it, for the two event types that show it."""
        ids = [finding.content["lead_id"] for finding in findings if finding.event_type in NAMED]
        if not ids:
            return list(findings)
        names: dict[str, str] = {}
        if self.settings.store_lead_names:
            names = self.database.retrying(lambda conn: read_lead_names(conn, self.catalogue, ids), read_only=True)
        return [
            replace(finding, content={**finding.content, **self._personal(finding, names)})
            if finding.event_type in NAMED
            else finding
            for finding in findings
        ]

    def _personal(self, finding: Finding, names: Mapping[str, str]) -> dict[str, Json]:
        personal: dict[str, Json] = {"lead_name": names.get(finding.content["lead_id"])}
        reason = finding.content.get("reason")
        if reason and not self.settings.store_lead_names:
            # "Other: ..." is free text about a person; what the application offers to choose from is not.
            choice = str(reason).partition(":")[0].strip()
            personal["reason"] = choice if fold(choice) in REASONS_TO_CHOOSE else None
        return personal

    def _write(self, snapshots: Sequence[Snapshot], client_ids: Sequence[str], *, with_global: bool) -> None:
        if self.request.dry_run:
            for snapshot in snapshots:
                self.outlets.snapshot(snapshot)
            self.summary.snapshots += len(snapshots)
            return

        id_type = self._id_type
        self.written, number, tries = self.written + 1, self.written, itertools.count()

        def transaction(conn: Connection[Any]) -> Written:
            if self.lease is not None:
                renew_lease(conn, self.lease, self.settings.lease_seconds)
                if next(tries) > 0:  # the connection may have been lost after the COMMIT
                    known = read_shard(conn, self.lease, number)
                    if known is not None:
                        return Written(**known)
            written = write(conn)
            if self.lease is not None:
                note_shard(conn, self.lease, number, asdict(written))
            return written

        def write(conn: Connection[Any]) -> Written:
            if self.job.EVENT_TYPE in NAMED:
                withdrawn = withdraw_events(
                    conn, client_ids, self.request.as_of, on_record=self.on_record, told=self.told, id_type=id_type
                )
            else:
                withdrawn = delete_withdrawn(
                    conn,
                    self.job.EVENT_TYPE,
                    self.request.as_of,
                    client_ids,
                    with_global=with_global,
                    snapshots=snapshots,
                    id_type=id_type,
                )
            return withdrawn + write_snapshots(conn, snapshots, id_type=id_type)

        written = self.database.retrying(transaction, read_only=False)
        self.summary.snapshots += len(snapshots) + self.known
        self.summary.inserted += written.inserted
        self.summary.updated += written.updated
        self.summary.deleted += written.deleted
        self.summary.unchanged += len(snapshots) + self.known - written.inserted - written.updated
        self.told, self.on_record, self.known = [], [], 0
