"""A share of the clients: analysed and written in one transaction; halved where it fails, down to a single client."""

import itertools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from datetime import datetime
from typing import Any, cast

import numpy as np
import psycopg
from psycopg import Connection

from worker.database.catalogue import Catalogue
from worker.database.pool import Database
from worker.errors import DatabaseShapeError, WorkerError
from worker.growth_brain import (
    NAMED,
    Snapshot,
    SnapshotKey,
    Written,
    as_rows,
    delete_withdrawn,
    make_snapshot,
    read_known_events,
    withdraw_events,
    write_snapshots,
)
from worker.jobs import Job, Measuring, RecordsEvents, ReviewsClaims, load_job
from worker.jobs.finding import Finding, Json
from worker.jobs.measures import Measures
from worker.leads import Clients, Leads
from worker.ledger import Lease, note_shard, read_shard, renew_lease
from worker.logs import describe_error, get_logger
from worker.randomness import generator
from worker.reading import read_lead_names
from worker.vocabulary import fold

# SQLSTATE classes: cardinality, data, constraints, limits (a row too long for an index), RAISE, and those of no class
ROWS_AT_FAULT = ("21", "22", "23", "2F", "38", "39", "44", "54", "P0", "XX")
REASONS_TO_CHOOSE = ("other", "autre", "placed in converted by accident", "place dans convertis par erreur")


@dataclass(frozen=True, slots=True)
class Assignment:
    """What all shares of a run have in common; plain values without secrets, which may go to another machine."""

    job: str
    as_of: datetime  # aware and in WORKER_TIMEZONE
    model: Mapping[str, Json]
    version: str
    language: str  # of insights where a client's own is not known
    store_lead_names: bool
    lease: Lease | None = None  # None: partial or dry, nothing to protect
    lease_seconds: int = 60
    dry_run: bool = False


@dataclass(slots=True)
class Outcome:
    """What became of a share: counts by their names in the run's summary, who failed and why, a dry run's snapshots."""

    counts: dict[str, int] = field(default_factory=dict)
    failed: list[tuple[str, str]] = field(default_factory=list)  # client_id, and the error without what it quotes
    passed_over: dict[str, int] = field(default_factory=dict)
    shown: list[Snapshot] = field(default_factory=list)
    measures: list[Measures] = field(default_factory=list)  # of its pooled clients, where the job has any


@dataclass(frozen=True, slots=True)
class Analysed:
    """What there is to write, and of events what is known of them besides."""

    keys: Sequence[SnapshotKey]  # of the snapshots
    rows: str = ""  # themselves as they are written, which take a fraction of the memory; empty in a dry run
    shown: Sequence[Snapshot] = ()  # themselves, in a dry run
    on_record: Sequence[Finding] = ()  # events that the application recorded
    told: Sequence[Finding] = ()  # the others, whether they are written already or not
    known: int = 0  # how many of those are
    passed_over: Mapping[str, int] = field(default_factory=dict)
    measures: Measures | None = None  # of the pooled clients, for the row of all


def _may_be_the_rows(error: psycopg.Error) -> bool:
    """Whether an error may be due to what some client's rows hold; a full disk or a timeout is not."""
    return error.sqlstate is not None and error.sqlstate[:2] in ROWS_AT_FAULT


def add_counts(counts: dict[str, int], more: Mapping[str, int]) -> None:
    """Add counts by name."""
    for name, number in more.items():
        counts[name] = counts.get(name, 0) + number


@dataclass(frozen=True, slots=True)
class Workplace:
    """Where shares of a run are worked off: a database, and what the run has learned and read for all of them."""

    database: Database
    catalogue: Catalogue
    assignment: Assignment
    past: Sequence[Mapping[str, Any]] = ()  # earlier rows that findings are fitted to
    resolved: Any = None  # of a job that reviews claims: what became of them

    @property
    def _job(self) -> Job:
        return load_job(self.assignment.job)

    def look_at(self, leads: Leads) -> Analysed | None:
        """Find what is to be written about the clients of `leads`; None where it fails: work_off finds out for whom."""
        try:
            return self.analyse(leads)
        except WorkerError:
            raise
        except Exception:  # noqa: BLE001 - work_off meets it again, and tells
            return None

    def work_off(self, leads: Leads, number: int, outcome: Outcome, found: Analysed | None = None) -> None:
        """
        Analyse and write all clients of `leads`; those that fail alone are named in the outcome.

        number : of the share's first transaction in the ledger; it takes less than twice as many as there are clients.
        found : what look_at found for them before.
        """
        self._work_off(leads, np.arange(len(leads.clients)), itertools.count(number), outcome, found)

    def _work_off(
        self, leads: Leads, members: Any, numbers: Iterator[int], outcome: Outcome, found: Analysed | None = None
    ) -> None:
        keep = np.zeros(len(leads.clients), dtype=bool)
        keep[members] = True
        part = leads.of_clients(keep)
        measures: Measures | None = None
        number = next(numbers)  # drawn before anything can fail: a repeated task counts its halves as the first one did
        try:
            client_ids = [i for i in part.clients.ids if i is not None]
            found = found or self.analyse(part)
            measures = found.measures
            self.write(found, client_ids, number, outcome, with_global=False)
            add_counts(outcome.counts, {"clients": len(part.clients)})
            if measures is not None:
                outcome.measures.append(measures)
        except WorkerError:
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
            if len(members) == 1:
                outcome.failed.append((str(leads.clients.ids[members[0]]), describe_error(exc)))
                if measures is None and sums_up(self._job):
                    measures = self._measure_alone(part)
                if measures is not None:  # its leads are among all all the same
                    outcome.measures.append(measures)
                return
            for half in (members[: len(members) // 2], members[len(members) // 2 :]):
                self._work_off(leads, half, numbers, outcome)

    def analyse(self, leads: Leads) -> Analysed:
        """Find what is to be written about the clients of `leads`."""
        given, job, measured = self.assignment, self._job, None
        if self.resolved is not None:
            reviewing = cast("ReviewsClaims", job)
            findings = reviewing.analyse(leads, given.model, given.as_of, self._rng(), past=self.resolved)
        elif sums_up(job):
            measured = self._measure(leads)
            findings = cast("Measuring", job).analyse(measured, given.model, given.as_of, self._rng())
        else:
            findings = job.analyse(leads, given.model, given.as_of, self._rng())
        everything, findings = findings, self._reconciled(findings)
        if job.EVENT_TYPE not in NAMED:
            made = self._made(findings, leads.clients)
            return made if measured is None else replace(made, measures=measured.of_pooled(findings))
        kept = {(finding.event_type, finding.claim_key) for finding in findings}
        on_record = [f for f in everything if (f.event_type, f.claim_key) not in kept]
        new = self._without_known(findings, everything, leads)
        passed_over = {"already_on_record": len(on_record), **_undated(findings)}
        made = self._made(self._with_names(new), leads.clients)
        return replace(
            made, on_record=on_record, told=findings, known=len(findings) - len(new), passed_over=passed_over
        )

    def of_everyone(self, measures: Sequence[Measures]) -> Analysed:
        """Find what is to be written about all pooled clients together, whose sums were taken share by share."""
        given = self.assignment
        measured = type(measures[0]).together(measures)
        findings = cast("Measuring", self._job).analyse(measured, given.model, given.as_of, self._rng())
        return self._made(self._reconciled(findings), measured.clients)

    def _measure(self, leads: Leads) -> Measures:
        given = self.assignment
        return cast("Measuring", self._job).measure(leads, given.model, given.as_of, self._rng())

    def _measure_alone(self, leads: Leads) -> Measures | None:
        """Measure a client of whom nothing could be said; None where that fails as well, so that it is in no sum."""
        try:
            return self._measure(leads).of_pooled()
        except Exception:  # noqa: BLE001 - why was told when its analysis failed
            get_logger().warning("client.not_among_all", job=self.assignment.job, client_id=leads.clients.ids[0])
            return None

    def _reconciled(self, findings: list[Finding]) -> list[Finding]:
        """Fit findings to what is on record, where their job does so."""
        reconcile = getattr(self._job, "reconcile", None)
        return findings if reconcile is None else reconcile(findings, self.past, self.assignment.as_of)

    def _rng(self) -> np.random.Generator:
        """Begin the job's random numbers anew: every share, and everybody together, has the same ones."""
        return generator(self.assignment.job, self.assignment.as_of)

    def _made(self, findings: Sequence[Finding], clients: Clients) -> Analysed:
        given = self.assignment
        language = dict(zip(clients.ids, clients.language, strict=True))
        snapshots = [
            make_snapshot(finding, given.as_of, given.version, language.get(finding.client_id) or given.language)
            for finding in findings
        ]
        keys = [snapshot.key for snapshot in snapshots]
        return Analysed(keys, shown=snapshots) if given.dry_run else Analysed(keys, as_rows(snapshots))

    def _without_known(self, findings: list[Finding], everything: list[Finding], leads: Leads) -> list[Finding]:
        """
        Leave out the events that are written already, once written they stay, and those that repeat one of them.

        everything : the findings, and what of them the application recorded.
        """
        if not findings:
            return findings
        client_ids = [i for i in leads.clients.ids if i is not None]
        known = self.database.retrying(
            lambda conn: read_known_events(conn, client_ids, id_type=self._id_type), read_only=True
        )
        again = cast("RecordsEvents", self._job).repeated(everything, known, leads)
        if self.assignment.dry_run:
            known = set()
        return [
            f
            for f in findings
            if (f.client_id, f.event_type, f.claim_key) not in known
            and not (f.event_type == self._job.EVENT_TYPE and f.claim_key in again)
        ]

    @property
    def _id_type(self) -> str:
        return self.catalogue.type_of("growth_brain", "client_id") or "uuid"

    def _with_names(self, findings: Sequence[Finding]) -> list[Finding]:
        """Fill in lead_name where the setting allows it, for the two event types that show it."""
        ids = [finding.content["lead_id"] for finding in findings]
        names: dict[str, str] = {}
        if self.assignment.store_lead_names and ids:
            names = self.database.retrying(lambda conn: read_lead_names(conn, self.catalogue, ids), read_only=True)
        return [replace(f, content={**f.content, **self._personal(f, names)}) for f in findings]

    def _personal(self, finding: Finding, names: Mapping[str, str]) -> dict[str, Json]:
        personal: dict[str, Json] = {"lead_name": names.get(finding.content["lead_id"])}
        reason = finding.content.get("reason")
        if reason and not self.assignment.store_lead_names:
            # "Other: ..." is free text about a person; what the application offers to choose from is not.
            choice = str(reason).partition(":")[0].strip()
            personal["reason"] = choice if fold(choice) in REASONS_TO_CHOOSE else None
        return personal

    def write(
        self, found: Analysed, client_ids: Sequence[str], number: int, outcome: Outcome, *, with_global: bool
    ) -> None:
        """Write what was found in one transaction under the run's token, and count it."""
        if self.assignment.dry_run:
            outcome.shown += found.shown
            written = Written()
        else:
            written = self._write(found, client_ids, number, with_global=with_global)
        told = len(found.keys) + found.known
        unchanged = 0 if self.assignment.dry_run else told - written.inserted - written.updated
        add_counts(outcome.counts, {"snapshots": told, "unchanged": unchanged, **asdict(written)})
        add_counts(outcome.passed_over, found.passed_over)

    def _write(self, found: Analysed, client_ids: Sequence[str], number: int, *, with_global: bool) -> Written:
        lease, seconds, tries = self.assignment.lease, self.assignment.lease_seconds, itertools.count()

        def transaction(conn: Connection[Any]) -> Written:
            if lease is None:
                return write(conn)
            if next(tries) > 0:  # the COMMIT of the try before may still be going on: it holds the run's row
                renew_lease(conn, lease, seconds)
            # The connection may have been lost after the COMMIT, or the process that this share was first given to.
            known = read_shard(conn, lease, number)
            if known is not None:
                return Written(**known)
            written = write(conn)
            # Last, as it locks the run's row until the COMMIT: shares are written side by side, and none under an old
            # token all the same.
            renew_lease(conn, lease, seconds)
            note_shard(conn, lease, number, asdict(written))
            return written

        def write(conn: Connection[Any]) -> Written:
            withdrawn = self._withdraw(conn, found, client_ids, with_global=with_global)
            return withdrawn + write_snapshots(conn, found.keys, found.rows, id_type=self._id_type)

        return self.database.retrying(transaction, read_only=False)

    def _withdraw(
        self, conn: Connection[Any], found: Analysed, client_ids: Sequence[str], *, with_global: bool
    ) -> Written:
        as_of, event_type = self.assignment.as_of, self._job.EVENT_TYPE
        if event_type in NAMED:
            return withdraw_events(
                conn, client_ids, as_of, on_record=found.on_record, told=found.told, id_type=self._id_type
            )
        return delete_withdrawn(
            conn,
            event_type,
            as_of,
            client_ids,
            with_global=with_global,
            keys=found.keys,
            id_type=self._id_type,
        )


def sums_up(job: Job) -> bool:
    """Whether a job's row of all clients is told of the sums that their shares leave behind."""
    return hasattr(job, "measure")


def _undated(findings: Sequence[Finding]) -> dict[str, int]:
    """Count the conversions that nothing dates, and those that are over without anything telling since when."""
    return {
        "undated_conversions": sum(finding.content.get("dated") is False for finding in findings),
        "undated_reversions": sum(bool(finding.facts.get("lapsed")) for finding in findings),
    }
