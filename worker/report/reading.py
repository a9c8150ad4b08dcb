"""Reads what growth_brain holds for the reports, for many clients at once."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from psycopg import Connection, sql

from worker.database.catalogue import Catalogue
from worker.database.queries import query
from worker.jobs.finding import Json
from worker.reading import speakable
from worker.vocabulary import clean_text, language_code

NEWEST = ("engagement_score", "urgency_trend", "tone_distribution", "conversion_prediction", "accuracy_review")
LONGEST_NAME = 120  # characters of a client's name that a page shows


@dataclass(frozen=True, slots=True)
class Client:
    """Whom a page is about; client_id None: all clients together."""

    client_id: str | None
    name: str | None = None
    language: str | None = None  # en, fr, or None where the database does not say
    pooled: bool = True  # counts for all clients together


@dataclass(frozen=True, slots=True)
class Span:
    """The stretch of time that a report looks at; instants are aware, days are local."""

    since: datetime
    until: datetime
    first_day: str
    last_day: str


@dataclass(frozen=True, slots=True)
class Row:
    """One row of growth_brain, as the worker wrote it."""

    event_type: str
    created_at: datetime
    content: Mapping[str, Json]
    text: str | None
    confidence: float | None


@dataclass(frozen=True, slots=True)
class Score:
    """What the engagement was at one instant; score and previous are {raw, shrunken, interval} or anything at all."""

    at: datetime
    overall: Json
    score: Json
    previous: Json
    n: Json
    n_previous: Json


@dataclass(slots=True)
class Holdings:
    """Everything that is on record of one client in a stretch of time."""

    client: Client
    newest: dict[str, Row] = field(default_factory=dict)  # by event type
    scores: list[Score] = field(default_factory=list)  # oldest first
    patterns: list[Row] = field(default_factory=list)  # the surest first
    conversions: int = 0
    reversions: int = 0
    undated: int = 0  # of the conversions, those of which the days to convert are not known


def read_report_clients(conn: Connection[Any], catalogue: Catalogue) -> list[Client]:
    """Read every client that growth_brain can speak of, sorted by name; those without one come last."""

    def column(name: str, as_type: str) -> sql.Composable:
        there = sql.SQL("c.{}").format(sql.Identifier(name)) if catalogue.has("clients", name) else sql.SQL("NULL")
        return sql.SQL("{}::{}").format(there, sql.Identifier(as_type))

    statement = query(
        "report_clients",
        business_name=column("business_name", "text"),
        language=column("language", "text"),
        is_test=column("is_test", "bool"),
        is_internal=column("is_internal", "bool"),
    )
    can_hold = speakable(catalogue)
    clients = [
        Client(client_id, clean_text(name, LONGEST_NAME), language_code(language or ""), not (is_test or is_internal))
        for client_id, name, language, is_test, is_internal in conn.execute(statement).fetchall()
        if client_id and can_hold(client_id)
    ]
    return sorted(clients, key=lambda client: (client.name is None, (client.name or "").casefold(), client.client_id))


def read_holdings(conn: Connection[Any], catalogue: Catalogue, clients: Sequence[Client], span: Span) -> list[Holdings]:
    """Read what is on record of these clients (or of [Client(None)], all together), in their order: four statements."""
    found = {client.client_id: Holdings(client) for client in clients}
    everyone = [client.client_id for client in clients] == [None]
    slots = {
        "id_type": sql.Identifier(catalogue.type_of("growth_brain", "client_id") or "uuid"),
        "same_client": sql.SQL("n.client_id IS NULL" if everyone else "n.client_id = c.client_id"),
    }
    values = {
        "client_ids": list(found),
        "event_types": list(NEWEST),
        "since": span.since,
        "until": span.until,
        "first_day": span.first_day,
        "last_day": span.last_day,
    }

    def rows(name: str) -> list[tuple[Any, ...]]:
        return conn.execute(query(name, **slots), values).fetchall()

    for client_id, *row in rows("report_newest"):
        if isinstance(row[2], dict):
            found[client_id].newest[row[0]] = Row(*row)
    for client_id, *row in rows("report_scores"):
        found[client_id].scores.append(Score(*row))
    for client_id, *row in rows("report_patterns"):
        found[client_id].patterns.append(Row(*row))
    for client_id, conversions, reversions, undated in rows("report_events"):
        holdings = found[client_id]
        holdings.conversions, holdings.reversions, holdings.undated = conversions, reversions, undated
    return list(found.values())


def read_pattern_day(conn: Connection[Any], span: Span) -> str | None:
    """Find the newest day in which patterns were looked for; None where that never was."""
    row = conn.execute(query("report_pattern_day"), {"last_day": span.last_day}).fetchone()
    return None if row is None else row[0]


def read_reviewed_at(conn: Connection[Any], span: Span) -> datetime | None:
    """Find the instant of the newest review: judging claims as of it, a page says the same as the review's sentence."""
    row = conn.execute(query("report_reviewed_at"), {"until": span.until}).fetchone()
    return None if row is None else row[0]


def lead_ids_of(holdings: Sequence[Holdings]) -> list[str]:
    """List the open leads that these clients' predictions name."""
    found: dict[str, None] = {}
    for each in holdings:
        row = each.newest.get("conversion_prediction")
        leads = row.content.get("high_value_leads") if row is not None else None
        for lead in leads if isinstance(leads, list) else []:
            if isinstance(lead, dict) and isinstance(lead.get("lead_id"), str):
                found[lead["lead_id"]] = None
    return list(found)
