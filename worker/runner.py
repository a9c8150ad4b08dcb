"""One run of one job: claim, read, fit, then for each shard analyse and write, done. The hall of the house."""

import hashlib
import time
import zlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Any, cast

import numpy as np
import psycopg
from psycopg import Connection

from worker.database.catalogue import Catalogue, read_catalogue
from worker.database.inspection import ensure_ready, ensure_rows_visible
from worker.database.pool import Database
from worker.errors import ConfigurationError, DatabaseShapeError, RunHeldError, WorkerError
from worker.growth_brain import (
    NAMED,
    Snapshot,
    Written,
    delete_withdrawn,
    make_snapshot,
    model_version,
    read_past,
    withdraw_events,
    write_snapshots,
)
from worker.heartbeat import heartbeat
from worker.jobs import Job, LearnsFromPast, load_job
from worker.jobs.finding import Finding, Json
from worker.jobs.windows import local_day
from worker.leads import Leads
from worker.ledger import Lease, claim_run, finish_run, read_last_period, read_run, renew_lease, store_model
from worker.logs import get_logger
from worker.reading import read_lead_names, read_leads, read_since
from worker.settings import Settings
from worker.statistics import BoolArray
from worker.vocabulary import fold

CLIENTS_PER_SHARD = 1000
POLL_SECONDS = 0.5
REASONS_TO_CHOOSE = ("other", "autre", "placed in converted by accident", "place dans convertis par erreur")


@dataclass(frozen=True, slots=True)
class Request:
    """What the person asked for; as_of is aware and in WORKER_TIMEZONE."""

    jobs: tuple[str, ...]
    as_of: datetime
    clients: frozenset[str] = frozenset()  # empty: all of them and the global snapshot
    dry_run: bool = False
    if_due: bool = False
    wait_seconds: float = 65.0
    shards: int | None = None

    @property
    def whole(self) -> bool:
        """Whether this run does the period's work; a partial or dry one leaves it to do."""
        return not self.clients and not self.dry_run


@dataclass(slots=True)
class JobSummary:
    """How one job went: status is done, skipped, held, failed or interrupted."""

    job: str
    period_key: str
    status: str = "done"
    clients: int = 0
    snapshots: int = 0
    inserted: int = 0
    updated: int = 0
    deleted: int = 0
    unchanged: int = 0
    seconds: float = 0.0
    failed_clients: list[str] = field(default_factory=list)
    error: str | None = None
    passed_over: dict[str, int] = field(default_factory=dict)

    def as_json(self) -> dict[str, Json]:
        """Give the summary as `--json` prints it."""
        return {name: getattr(self, name) for name in self.__slots__}


@dataclass(frozen=True, slots=True)
class Outlets:
    """Where a run shows itself: each snapshot of a dry run, and the share of the work that is done."""

    snapshot: Callable[[Snapshot], None] = lambda _: None
    progress: Callable[[str, int, int], None] = lambda _job, _done, _all: None
    summary: Callable[["JobSummary"], None] = lambda _: None  # of each job, however it ended


def run_jobs(database: Database, settings: Settings, request: Request, outlets: Outlets) -> list[JobSummary]:
    """
    Run jobs one after the other on one reading of the leads.

    Raises DatabaseShapeError before anything is written when the database is not as needed; a job that fails is
    reported in its summary, and the next ones run.
    """
    catalogue = database.retrying(read_catalogue, read_only=True)
    ensure_ready(catalogue)
    database.retrying(lambda conn: ensure_rows_visible(catalogue, conn), read_only=True)
    reading = _Reading(database, catalogue, request)
    return [
        _run_job(database, settings, request, outlets, catalogue=catalogue, reading=reading, name=name)
        for name in request.jobs
    ]


class _Reading:
    """The leads, read once for the job with the longest look-back, when the first job needs them."""

    def __init__(self, database: Database, catalogue: Catalogue, request: Request) -> None:
        self._database, self._catalogue, self._as_of = database, catalogue, request.as_of
        self._wanted = request.clients
        look_backs = [load_job(name).LOOK_BACK_DAYS for name in request.jobs]
        self._days = None if None in look_backs else max(days for days in look_backs if days is not None)
        self._whole: Leads | None = None
        self._parts: dict[int | None, Leads] = {}
        self.passed_over: dict[str, int] = {}

    def leads(self, days: int | None) -> Leads:
        """Give the leads with a look-back of `days`, out of the one reading."""
        if self._whole is None:
            since = read_since(self._as_of, self._days)
            self._whole, report = self._database.retrying(
                lambda conn: read_leads(conn, self._catalogue, since), read_only=True
            )
            self.passed_over = report.passed_over()
            strangers = sorted(self._wanted.difference(i for i in self._whole.clients.ids if i is not None))
            if strangers:
                raise ConfigurationError([f"no client has the client_id {client_id}" for client_id in strangers])
            get_logger().info("leads.read", leads=report.leads, **self.passed_over)
        if days not in self._parts:
            since = read_since(self._as_of, days)
            self._parts[days] = self._whole if days == self._days else self._whole.in_contact_since(since)
        return self._parts[days]


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
    log = get_logger().bind(job=name, period=summary.period_key)
    lease: Lease | None = None
    try:
        if request.whole:
            lease = _claim(database, settings, request, summary)
            if lease is None:
                return summary
        work = _Work(database, settings, request, outlets, catalogue, load_job(name), lease, summary)
        with heartbeat(database, lease, settings.lease_seconds):
            work.do(reading)
        summary.status = "failed" if summary.failed_clients else "done"
        if summary.failed_clients:
            summary.error = f"{len(summary.failed_clients)} client(s) failed"
        if lease is not None:
            _finish(database, lease, summary)
    except RunHeldError as exc:
        summary.status, summary.error = "held", str(exc)
    except WorkerError as exc:
        summary.status, summary.error = "failed", str(exc)
        _release(database, lease, summary)
        if exc.exit_code > 1:
            raise
    except BrokenPipeError:  # nobody reads what a dry run prints any more
        summary.status = "interrupted"
        raise
    except Exception as exc:  # one job's failure must not take the others with it
        summary.status, summary.error = "failed", f"{type(exc).__name__}"
        log.exception("run.failed")
        _release(database, lease, summary)
    except BaseException:
        summary.status = "interrupted"
        _release(database, lease, summary)
        raise
    finally:
        summary.seconds = round(time.monotonic() - started, 3)
        summary.passed_over = {**reading.passed_over, **summary.passed_over}
        facts = {key: value for key, value in summary.as_json().items() if key not in ("job", "period_key")}
        log.info("run.finished", **facts)
        outlets.summary(summary)
    return summary


def _claim(database: Database, settings: Settings, request: Request, summary: JobSummary) -> Lease | None:
    """Take the run, waiting for another process if asked to; None (and the summary says why) where it is not ours."""
    deadline = time.monotonic() + request.wait_seconds
    while True:
        state = database.retrying(lambda conn: read_run(conn, summary.job, summary.period_key), read_only=True)
        if request.if_due and state is not None and state.is_done(request.as_of):
            summary.status = "skipped"
            return None
        if request.if_due and state is not None and state.held:
            summary.status, summary.error = "held", f"held by {state.holder}"
            return None
        if state is None or not state.held:
            lease = _try_claim(database, settings, request, summary)
            if lease is not None:
                return lease
        if request.if_due:
            summary.status, summary.error = "held", "claimed by another process just now"
            return None
        if time.monotonic() >= deadline:
            holder = state.holder if state is not None else "another process"
            raise RunHeldError(f"{summary.job} {summary.period_key} is held by {holder}; try again or raise --wait")
        time.sleep(POLL_SECONDS)


def _try_claim(database: Database, settings: Settings, request: Request, summary: JobSummary) -> Lease | None:
    try:
        return database.retrying(
            lambda conn: claim_run(conn, summary.job, summary.period_key, request.as_of, settings.lease_seconds),
            read_only=False,
        )
    except psycopg.errors.LockNotAvailable:  # another process is writing under this run's lease at this moment
        return None


def _finish(database: Database, lease: Lease, summary: JobSummary) -> None:
    counts = {
        "clients": summary.clients,
        "snapshots": summary.snapshots,
        "inserted": summary.inserted,
        "updated": summary.updated,
        "deleted": summary.deleted,
        "failed_clients": summary.failed_clients,
    }
    database.retrying(lambda conn: finish_run(conn, lease, summary.status, counts, summary.error), read_only=False)


def _release(database: Database, lease: Lease | None, summary: JobSummary) -> None:
    """Give the run back, so that whoever comes next need not wait for the lease; best effort."""
    if lease is None:
        return
    status = "released" if summary.status == "interrupted" else "failed"
    try:
        with database.write() as conn:
            finish_run(conn, lease, status, {}, summary.error)
    except Exception:  # noqa: BLE001 - the lease runs out by itself, and the first error is the one to report
        get_logger().warning("run.not_released", job=lease.job, period=lease.period_key)


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
    on_record: list[Finding] = field(default_factory=list)  # of the shard at hand: events the application recorded

    def do(self, reading: _Reading) -> None:
        """Fit once, then analyse and write shard by shard, the global snapshot last."""
        leads = reading.leads(self.job.LOOK_BACK_DAYS)
        types = getattr(self.job, "PAST_EVENT_TYPES", ())
        if types:
            self.past = self.database.retrying(lambda conn: read_past(conn, types, self.request.as_of), read_only=True)
        self.model = self._fit(leads.of_clients(leads.clients.pooled))
        self.version = model_version(self.job.NAME, self.model)
        if not self.request.dry_run:
            self.database.retrying(
                lambda conn: store_model(conn, self.job.NAME, self.version, self.model, self.request.as_of),
                read_only=False,
            )
        shards = self._shards(leads)
        for done, keep in enumerate(shards):
            self._shard(leads, keep)
            self.outlets.progress(self.job.NAME, done + 1, len(shards) + 1)
        if not self.request.clients and leads.clients.pooled.any():
            self._write(self._analyse(leads.pool()), [], with_global=True)
        self.outlets.progress(self.job.NAME, len(shards) + 1, len(shards) + 1)

    def _fit(self, leads: Leads) -> Mapping[str, Json]:
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
        except Exception as exc:  # noqa: BLE001 - the other clients' snapshots must not be lost with this one's
            members = np.flatnonzero(keep)
            if len(members) == 1:
                client_id = str(leads.clients.ids[members[0]])
                get_logger().error("client.failed", job=self.job.NAME, client_id=client_id, error=type(exc).__name__)
                self.summary.failed_clients.append(client_id)
                return
            for half in (members[: len(members) // 2], members[len(members) // 2 :]):
                mask = np.zeros(len(keep), dtype=bool)
                mask[half] = True
                self._shard(leads, mask)

    def _analyse(self, leads: Leads) -> list[Snapshot]:
        findings = self.job.analyse(leads, self.model, self.request.as_of, self._generator())
        reconcile = getattr(self.job, "reconcile", None)
        if reconcile is not None:
            everything = findings
            findings = reconcile(findings, self.past, self.request.as_of)
            if self.job.EVENT_TYPE in NAMED:
                kept = {(finding.event_type, finding.claim_key) for finding in findings}
                self.on_record = [f for f in everything if (f.event_type, f.claim_key) not in kept]
                counted = self.summary.passed_over.get("already_on_record", 0)
                self.summary.passed_over["already_on_record"] = counted + len(self.on_record)
        findings = self._with_names(findings)
        language = dict(zip(leads.clients.ids, leads.clients.language, strict=True))
        return [
            make_snapshot(
                finding, self.request.as_of, self.version, language.get(finding.client_id) or self.settings.language
            )
            for finding in findings
        ]

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

        id_type = self.catalogue.type_of("growth_brain", "client_id") or "uuid"

        def transaction(conn: Connection[Any]) -> Written:
            if self.lease is not None:
                renew_lease(conn, self.lease, self.settings.lease_seconds)
            if self.job.EVENT_TYPE in NAMED:
                withdrawn = withdraw_events(
                    conn, client_ids, on_record=self.on_record, snapshots=snapshots, id_type=id_type
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
        self.summary.snapshots += len(snapshots)
        self.summary.inserted += written.inserted
        self.summary.updated += written.updated
        self.summary.deleted += written.deleted
        self.summary.unchanged += len(snapshots) - written.inserted - written.updated
