"""Snapshots: a finding made into a row of growth_brain, the bulk upsert, and reading earlier rows back."""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import Any, NamedTuple

import orjson
from psycopg import Connection, sql
from psycopg.rows import dict_row

from worker.calendar import local_day
from worker.database.queries import query
from worker.insights import insight_text, recommendation, recommended_actions
from worker.insights.speech import stated_confidence
from worker.jobs.finding import Finding, Json
from worker.leads import Leads, Windows
from worker.plain_json import ensure_finite, plain_json
from worker.review.claims import BY_ROW, BY_WINDOW, PastClaim
from worker.vocabulary import OUTCOME_CLIENT_CLOSED, TAG_CONVERTED

SCHEMA_VERSION = 1
REPEATS_CONFIDENCE = ("pattern_detected", "conversion_prediction")  # the seed has it inside these snapshots too
NAMED = ("conversion", "reversion")
PATTERN_MEMORY = timedelta(days=70)  # a pattern away for a window is a new one; the rest is margin for late runs


class SnapshotKey(NamedTuple):
    """What tells one snapshot from all others."""

    client_id: str | None
    event_type: str
    period_key: str
    claim_key: str


@dataclass(frozen=True, slots=True)
class Snapshot:
    """One row of growth_brain, its id left to the database."""

    client_id: str | None
    event_type: str
    learning_snapshot: dict[str, Json]
    insight_text: str
    confidence: float
    created_at: datetime

    @property
    def key(self) -> SnapshotKey:
        """Say which snapshot it is."""
        content = self.learning_snapshot
        return SnapshotKey(self.client_id, self.event_type, content["period_key"], content["claim_key"])

    def as_json(self) -> dict[str, Json]:
        """Give the row as JSON holds it."""
        return {
            "client_id": self.client_id,
            "event_type": self.event_type,
            "learning_snapshot": self.learning_snapshot,
            "insight_text": self.insight_text,
            "confidence": self.confidence,
            "created_at": self.created_at.isoformat(),
        }


@dataclass(frozen=True, slots=True)
class Written:
    """What a bulk write did to the table, in rows."""

    inserted: int = 0
    updated: int = 0
    deleted: int = 0

    def __add__(self, other: "Written") -> "Written":
        return Written(self.inserted + other.inserted, self.updated + other.updated, self.deleted + other.deleted)


def model_version(job: str, model: Mapping[str, Json]) -> str:
    """Name a model by its content: the same model has the same version everywhere."""
    return f"{job}-{hashlib.sha256(plain_json([job, model]).encode()).hexdigest()[:16]}"


def make_snapshot(finding: Finding, as_of: datetime, version: str, language: str) -> Snapshot:
    """Put a finding into the shape of the snapshot contract, with its text in the client's language."""
    confidence = stated_confidence(finding.claim.probability)
    content = dict(finding.content)
    if finding.event_type == "pattern_detected":
        content["recommendation"] = recommendation(content["pattern_type"], content["value"], language)
    if finding.event_type == "conversion_prediction":
        content["recommended_actions"] = recommended_actions(finding.facts, language)
    if finding.event_type in REPEATS_CONFIDENCE:
        content["confidence"] = confidence
    told = finding if len(content) == len(finding.content) else replace(finding, content=content)
    text = insight_text(told, language)
    created_at = finding.created_at or as_of
    period_key, window = _period(as_of, str(as_of.tzinfo))
    content |= {
        "schema_version": SCHEMA_VERSION,
        "as_of": created_at.astimezone(UTC).isoformat(),
        "period_key": finding.period_key or period_key,
        "claim_key": finding.claim_key,
        "window": finding.window or window,
        "n": finding.n,
        "n_previous": finding.n_previous,
        "claim": {
            "kind": finding.claim.kind,
            "probability": finding.claim.probability,
            "text": finding.claim.text,
            **finding.claim.parameters,
        },
        "check": {
            "resolver": finding.check.resolver,
            "resolve_at": finding.check.resolve_at.astimezone(UTC).isoformat(),
            "p": finding.check.p,
            **finding.check.parameters,
        },
        "model_version": version,
    }
    return Snapshot(finding.client_id, finding.event_type, content, text, confidence, created_at.astimezone(UTC))


@lru_cache(maxsize=4)  # the same for all snapshots of a run
def _period(as_of: datetime, _zone: str) -> tuple[str, Mapping[str, str]]:
    """Give the period and the current window of a run; equal instants of two zones may have different days."""
    return local_day(as_of), Windows.before(as_of).current_json()


def as_rows(snapshots: Sequence[Snapshot]) -> str:
    """Write snapshots as the JSON that write_snapshots takes; raises ValueError for NaN or infinity."""
    rows = [snapshot.as_json() for snapshot in snapshots]
    ensure_finite(rows)
    return orjson.dumps(rows).decode()


def write_snapshots(conn: Connection[Any], keys: Sequence[SnapshotKey], rows: str, *, id_type: str) -> Written:
    """
    Insert what is new and refresh what differs, in one statement; rows that are the same are not touched.

    keys, rows : which snapshots they are, and themselves by as_rows.
    id_type : what growth_brain.client_id is in this database: uuid, or text where clients has it so.
    """
    if not keys:
        return Written()
    event_clients = sorted({key.client_id for key in keys if key.event_type in NAMED and key.client_id is not None})
    found = conn.execute(
        query("write_snapshots", id_type=sql.Identifier(id_type)), {"rows": rows, "event_clients": event_clients}
    ).fetchone()
    assert found is not None  # noqa: S101 - an aggregate always has a row
    return Written(inserted=found[0], updated=found[1])


def delete_withdrawn(
    conn: Connection[Any],
    event_type: str,
    as_of: datetime,
    client_ids: Sequence[str],
    *,
    with_global: bool,
    keys: Sequence[SnapshotKey],
    id_type: str,
) -> Written:
    """Remove what an earlier run of this period wrote for these clients and this one, which wrote `keys`, does not."""
    cursor = conn.execute(
        query("delete_withdrawn_snapshots", id_type=sql.Identifier(id_type)),
        {
            "event_type": event_type,
            "period_key": local_day(as_of),
            "client_ids": list(client_ids),
            "with_global": with_global,
            "as_of": as_of,
            "keys": plain_json([key._asdict() for key in keys]),
        },
    )
    return Written(deleted=cursor.rowcount)


def withdraw_events(
    conn: Connection[Any],
    client_ids: Sequence[str],
    as_of: datetime,
    *,
    on_record: Sequence[Finding],
    told: Sequence[Finding],
    id_type: str,
) -> Written:
    """
    Remove our own rows of events that would be told twice.

    on_record : events that the application's own rows tell, since when ours were written or before.
    told : all events of these clients as they are known now; an undated row of a lead whose conversion is dated by
        now, and that is not among them, was that conversion. Undated rows of a later as_of are left alone.
    """
    if not on_record and not told:
        return Written()
    dated = {str(finding.content["lead_id"]) for finding in told if finding.content.get("dated")}
    cursor = conn.execute(
        query("withdraw_events", id_type=sql.Identifier(id_type)),
        {
            "client_ids": list(client_ids),
            "as_of": as_of,
            "on_record": [f"{finding.event_type} {finding.claim_key}" for finding in on_record],
            "dated_leads": sorted(dated),
            "said": [f"{finding.event_type} {finding.claim_key}" for finding in told],
        },
    )
    return Written(deleted=cursor.rowcount)


def read_known_events(
    conn: Connection[Any], client_ids: Sequence[str], *, id_type: str
) -> set[tuple[str, str, str | None]]:
    """Read which events of these clients are written already: client_id, event type and claim_key of each."""
    statement = query("read_known_events", id_type=sql.Identifier(id_type))
    return set(conn.execute(statement, {"client_ids": list(client_ids)}).fetchall())


def read_past(
    conn: Connection[Any],
    event_types: Sequence[str],
    as_of: datetime,
    of: Leads | None = None,
    *,
    id_type: str = "uuid",
) -> list[dict[str, Any]]:
    """
    Read the rows that today's findings must be fitted to: the last patterns, or the application's own events.

    of : only what concerns the clients of these leads, by the client that a row names or the lead that it speaks of.
    """
    ids = None if of is None else [i for i in of.clients.ids if i is not None]
    mine: dict[str, Any] = {"client_ids": ids}
    some: sql.Composable = sql.SQL("")
    if of is not None:
        some = sql.SQL("AND g.client_id = ANY (%(client_ids)s::{}[])").format(sql.Identifier(id_type))
    with conn.cursor(row_factory=dict_row) as cursor:
        if "pattern_detected" in event_types:
            since = as_of - PATTERN_MEMORY
            return cursor.execute(query("read_past_patterns", some=some), {"since": since, **mine}).fetchall()
        found = cursor.execute(query("read_foreign_events", some=some), mine).fetchall()
    return found if of is None else [*found, *read_foreign_events_of(conn, of)]


def read_foreign_events_of(conn: Connection[Any], leads: Leads) -> list[dict[str, Any]]:
    """Read the application's own rows of those leads that may have an event at all."""
    telling = (leads.tag == TAG_CONVERTED) | (leads.outcome == OUTCOME_CLIENT_CLOSED)
    if leads.actions is not None:
        a = leads.actions
        deeds = a.deeds
        telling[a.lead[a.that(deeds.winning_by_tag | deeds.winning_by_outcome | deeds.excused)]] = True
    with conn.cursor(row_factory=dict_row) as cursor:
        ids = leads.id[telling].tolist()
        return cursor.execute(query("read_foreign_events_of_leads"), {"lead_ids": ids}).fetchall()


def read_claims(conn: Connection[Any], as_of: datetime) -> list[PastClaim]:
    """
    Read the claims made before as_of that are to be decided, sorted: which ones, see worker/review/claims.py.

    Claims of one client and event type share no row of the user's, so that each counts once.
    """
    instants = conn.execute(
        query("read_claim_instants"),
        {
            "as_of": as_of,
            "types": [kind.event_type for kind in BY_WINDOW],
            "apart": [kind.apart_days for kind in BY_WINDOW],
            "matures": [kind.matures_days for kind in BY_WINDOW],
            "most": [kind.most for kind in BY_WINDOW],
        },
    ).fetchall()
    rows = conn.execute(
        query("read_claims"),
        {
            "as_of": as_of,
            "instant_types": [event_type for event_type, _ in instants],
            "instants": [created_at for _, created_at in instants],
            "row_types": [kind.event_type for kind in BY_ROW],
            "row_since": [as_of - timedelta(hours=24 * (kind.back_days + kind.matures_days)) for kind in BY_ROW],
        },
    ).fetchall()
    claims = [PastClaim.read(*row) for row in rows]
    return sorted(claims, key=lambda claim: (claim.event_type, claim.as_of, claim.client_id or "", claim.claim_key))
