"""Rows as the two queries of reading.py give them, made by hand: the unit tests' way to Leads without a database."""

import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import numpy as np

from worker.jobs import load_job
from worker.leads import Clients, Leads, to_microseconds
from worker.reading import arrange, read_since

AS_OF = datetime(2025, 3, 31, tzinfo=UTC)
CLIENT_IDS = tuple(f"00000000-0000-4000-8000-{number:012d}" for number in range(1, 10))
ALL_JOBS = (
    "conversion_events",
    "engagement_score",
    "urgency_trend",
    "tone_distribution",
    "pattern_detection",
    "conversion_prediction",
)


def days_before(days, as_of=AS_OF):
    return as_of - timedelta(days=days)


def micro(instant):
    return instant if instant is None or isinstance(instant, int) else to_microseconds(instant)


def history(*entries):
    """Write entries of (value, instant) as the application does."""
    return json.dumps([{"value": value, "timestamp": when.isoformat()} for value, when in entries])


def lead(
    lead_id,
    when,
    client=CLIENT_IDS[0],
    *,
    urgency=None,
    tone=None,
    confidence=None,
    source=None,
    intent=None,
    language="en",
    tag=None,
    archived=False,
    deleted=False,
    is_test=False,
    updated=None,
    closed_at=None,
    outcome=None,
    urgency_history=None,
    tone_history=None,
    confidence_history=None,
    no_sale_at=None,
):
    """Make a row of read_leads; instants are datetimes, microseconds or None."""
    return (
        lead_id, client, micro(when), urgency, tone, confidence, source, intent, language, tag, archived, deleted,
        is_test, micro(updated), micro(closed_at), outcome, urgency_history, tone_history, confidence_history,
        micro(no_sale_at),
    )  # fmt: skip


def action(lead_id, kind, when, *, tag=None, converted=None, reason=None, action_id=None):
    """Make a row of read_lead_actions."""
    return (lead_id, micro(when), action_id or f"{lead_id}-{kind}-{micro(when)}", kind, tag, converted, reason)


def clients(n=1, *, pooled=None, industry=None, language=None):
    return Clients(
        CLIENT_IDS[:n],
        language or ("en",) * n,
        industry or (None,) * n,
        np.ones(n, dtype=bool) if pooled is None else np.array(pooled, dtype=bool),
    )


def arranged(rows, actions=(), n_clients=1, **about_clients) -> Leads:
    return arrange(clients(n_clients, **about_clients), rows, actions)


def generator():
    return np.random.default_rng(20250331)


def look_back(job, leads, as_of=AS_OF):
    """Give the leads that the runner would hand to this job."""
    return leads.in_contact_since(read_since(as_of, job.LOOK_BACK_DAYS))


def fitted(name, leads, as_of=AS_OF):
    job = load_job(name)
    seen = look_back(job, leads, as_of)
    return job.fit(seen.of_clients(seen.clients.pooled), as_of)


def analysed(name, leads, model, as_of=AS_OF):
    job = load_job(name)
    return job.analyse(look_back(job, leads, as_of), model, as_of, generator())


def run(name, leads, as_of=AS_OF):
    return analysed(name, leads, fitted(name, leads, as_of), as_of)


def world(seed, as_of=AS_OF, n_clients=4, **plan):
    """Draw a small company world as clients, lead rows and action rows; also whatever lies at or after as_of."""
    from worker.simulate import company_world

    return rows_of(company_world(np.random.default_rng(seed), as_of, n_clients, 200, **plan))


def rows_of(drawn):
    """Give a simulated world's clients, lead rows and action rows as the queries read them."""
    from worker.vocabulary import industry_key

    rows = [
        lead(
            row.id, row.timestamp, row.client_id, urgency=row.urgency, tone=row.tone, confidence=row.confidence_score,
            source=row.source, intent=row.intent, language=row.language, tag=row.current_tag, archived=row.archived,
            deleted=row.deleted, is_test=row.is_test, updated=row.last_updated, closed_at=row.client_closed_at,
            outcome=row.outcome_status, urgency_history=row.urgency_history, tone_history=row.tone_history,
            confidence_history=row.confidence_history, no_sale_at=row.no_sale_at,
        )
        for row in drawn.leads
    ]  # fmt: skip
    actions = [
        action(
            row.lead_id, row.action_type, row.timestamp, tag=row.tag, converted=row.conversion_outcome,
            reason=row.reversion_reason, action_id=row.id,
        )
        for row in drawn.actions
    ]  # fmt: skip
    who = sorted(drawn.clients, key=lambda row: row.client_id)
    about = Clients(
        tuple(row.client_id for row in who),
        tuple(row.language for row in who),
        tuple(industry_key(row.industry_category) for row in who),
        np.array([not (row.is_test or row.is_internal) for row in who], dtype=bool),
    )
    return about, [row for row in rows if not row[12]], actions


def only_clients(about, keep):
    """Keep some clients as if the database held no others."""
    chosen = [i for i, wanted in enumerate(keep) if wanted]
    return replace(
        about,
        ids=tuple(about.ids[i] for i in chosen),
        language=tuple(about.language[i] for i in chosen),
        industry=tuple(about.industry[i] for i in chosen),
        pooled=about.pooled[chosen],
    )
