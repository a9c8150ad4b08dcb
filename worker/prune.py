"""
Retention: growth_brain stays near the size that the product expects, and what is worth keeping stays.

Of the snapshots that are made every day, per client and type, by their period: every day for WORKER_KEEP_DAILY_DAYS;
of what is older, the last of each ISO week for WORKER_KEEP_WEEKLY_DAYS; of what is older still, the last of each month.
The last is the last there is, whichever rule keeps it. Patterns, conversions, reversions and reviews stay, and so does
every row without a period_key, which the application wrote.
"""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from psycopg import Connection, sql

from worker.calendar import end_of_day, local_day
from worker.chore import run_chore
from worker.database.catalogue import Catalogue
from worker.database.inspection import require_ready
from worker.database.pool import Database
from worker.database.queries import query
from worker.jobs.finding import Json
from worker.ledger import Lease, renew_lease
from worker.reading import as_array
from worker.settings import Settings

NAME = "prune"
DAILY_TYPES = ("engagement_score", "urgency_trend", "tone_distribution", "conversion_prediction")
CLIENTS_AT_ONCE = 20  # after two years without pruning they have 58,000 daily rows, looked at in one short statement
ROWS_AT_ONCE = 5_000  # of one deletion: done in well under a second, so that it stands in nobody's way
LEAST_MODEL_DAYS = 35  # the contest of models asks for one that is 30 days old, and a run may come late


@dataclass(slots=True)
class Pruned:
    """How it went: status is done, skipped, held, failed or interrupted; rows by event type, models by job."""

    period_key: str
    dry_run: bool
    status: str = "done"
    snapshots: Counter[str] = field(default_factory=Counter)
    models: Counter[str] = field(default_factory=Counter)
    seconds: float = 0.0
    error: str | None = None

    def as_json(self) -> dict[str, Json]:
        """Give the document that `prune --json` prints; keys are only ever added."""
        return {
            "job": NAME,
            "period_key": self.period_key,
            "status": self.status,
            "dry_run": self.dry_run,
            "snapshots": dict(sorted(self.snapshots.items())),
            "models": dict(sorted(self.models.items())),
            "seconds": self.seconds,
            "error": self.error,
        }

    def __str__(self) -> str:
        start = f"{NAME:<22} {self.period_key}  "
        if self.status == "skipped":
            return f"{start}already done"
        if self.status != "done":
            return f"{start}{self.status}: {self.error or 'by a signal'}"
        verb = "would go" if self.dry_run else "removed"
        parts = [
            f"{what:<22} {n:>8} {noun} {verb}"
            for counts, noun in ((self.snapshots, "snapshots"), (self.models, "models"))
            for what, n in sorted(counts.items())
        ]
        total = f"{self.snapshots.total()} snapshots and {self.models.total()} models {verb}"
        return "\n".join([*parts, f"{start}{self.status}: {total} in {self.seconds:.2f} s"])


def run_prune(
    database: Database,
    settings: Settings,
    now: datetime,
    *,
    dry_run: bool = False,
    if_due: bool = False,
    progress: Callable[[str, int, int], None] = lambda _what, _done, _all: None,
) -> Pruned:
    """
    Remove what retention does not keep, in short transactions: wherever it is stopped, what is done is kept.

    It is a day's work like the daily jobs: its period is the local day before that of now. With if_due nothing is done
    where that is done already. A dry run counts, and writes nothing. Raises DatabaseShapeError when the database is not
    as needed; where another process holds the run, or it fails half-way, the status says so.

    The day is never later than by the database's clock: by one that runs ahead too much would go, and for good.
    """
    catalogue = require_ready(database)
    today = min(now, catalogue.server.server_time).astimezone(settings.timezone).date()
    as_of = end_of_day(today - timedelta(days=1), settings.timezone)
    result = Pruned(local_day(as_of), dry_run)

    def work(lease: Lease | None) -> Mapping[str, Json]:
        _Pruning(database, settings, catalogue, as_of, lease, result).do(progress)
        return {"snapshots": dict(result.snapshots), "models": dict(result.models)}

    run_chore(
        database, NAME, as_of, result, work, lease_seconds=settings.lease_seconds, claim=not dry_run, if_due=if_due
    )
    return result


@dataclass(slots=True)
class _Pruning:
    """The work itself, under its lease (None: a dry run, which changes nothing)."""

    database: Database
    settings: Settings
    catalogue: Catalogue
    as_of: datetime  # the midnight that ends the last day
    lease: Lease | None
    result: Pruned
    named: set[str] = field(default_factory=set)  # models that a snapshot which stays was made by

    def do(self, progress: Callable[[str, int, int], None]) -> None:
        """Go through the clients, some at once, the snapshots of all clients together first; then the models."""
        statement = query("read_clients_remembered")
        rows = self.database.retrying(lambda conn: conn.execute(statement).fetchall(), read_only=True)
        client_ids = [row[0] for row in rows]
        starts = range(0, max(1, len(client_ids)), CLIENTS_AT_ONCE)
        for done, start in enumerate(starts):
            self._prune_clients(client_ids[start : start + CLIENTS_AT_ONCE], with_global=start == 0)
            progress(NAME, done + 1, len(starts) + 1)
        self._prune_models()
        progress(NAME, len(starts) + 1, len(starts) + 1)

    def _prune_clients(self, client_ids: Sequence[str], *, with_global: bool) -> None:
        """Find what goes of these clients, and delete it by id; what stays names the models that are needed."""
        id_type = self.catalogue.type_of("growth_brain", "client_id") or "uuid"
        statement = query("find_prunable", id_type=sql.Identifier(id_type))
        parameters = {
            "client_ids": list(client_ids),
            "with_global": with_global,
            "event_types": list(DAILY_TYPES),
            "daily_from": self._days_ago(self.settings.keep_daily_days).date(),
            "weekly_from": self._days_ago(self.settings.keep_weekly_days).date(),
        }
        found = self.database.retrying(lambda conn: conn.execute(statement, parameters).fetchall(), read_only=True)
        self.named.update(version for _, version, _, stays in found if stays and version is not None)
        if self.lease is None:
            for event_type, _, ids, _ in found:
                self.result.snapshots[event_type] += len(ids)
            return
        everything = [snapshot_id for _, _, ids, _ in found for snapshot_id in ids]
        for start in range(0, len(everything), ROWS_AT_ONCE):
            self._delete(everything[start : start + ROWS_AT_ONCE])

    def _delete(self, snapshot_ids: Sequence[str]) -> None:
        ids, array = as_array(snapshot_ids, self.catalogue.type_of("growth_brain", "id"))
        statement = query("delete_snapshots", id_array=array)
        rows = self._write(lambda conn: conn.execute(statement, {"ids": ids}).fetchall())
        self.result.snapshots.update(row[0] for row in rows)

    def _prune_models(self) -> None:
        """Remove old models that nothing speaks of any more."""
        parameters = {
            "named": sorted(self.named),
            "before": self._days_ago(max(self.settings.keep_daily_days, LEAST_MODEL_DAYS)),
            "started": self.catalogue.server.server_time,
        }
        found = self.database.retrying(
            lambda conn: conn.execute(query("find_prunable_models"), parameters).fetchall(), read_only=True
        )
        versions = [row[0] for row in found]
        if self.lease is not None and versions:
            statement = query("delete_models")
            found = self._write(lambda conn: conn.execute(statement, {"versions": versions}).fetchall())
        self.result.models.update(row[1] for row in found)

    def _write(self, work: Callable[[Connection[Any]], list[Any]]) -> list[Any]:
        """Write in one transaction, which a run that another process took over meanwhile cannot."""
        lease = self.lease
        assert lease is not None  # noqa: S101 - a dry run does not come here

        def transaction(conn: Connection[Any]) -> list[Any]:
            renew_lease(conn, lease, self.settings.lease_seconds)
            return work(conn)

        return self.database.retrying(transaction, read_only=False)

    def _days_ago(self, days: int) -> datetime:
        """Give the local midnight at which the last so many days began."""
        return end_of_day(self.as_of.date() - timedelta(days=days + 1), self.settings.timezone)
