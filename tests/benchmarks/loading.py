"""
Loads drawn leads (zipf_leads.py) into the application's tables, a million rows in some ten seconds.

Only small numbers travel, by binary COPY into temporary tables; the server makes ids, labels and texts of them. The
rows are as wide as real ones, of labels in English and French, some of them unknown, and lie on disk in order of time.
A lead's timestamp is its arrival, and its columns are as its last action left them.
"""

from datetime import timedelta

import numpy as np
from psycopg import sql
from zipf_leads import AS_OF, SOURCES, TOUCH, WIN
from zipf_leads import TONES as DRAWN_TONES

SEED = 1
UNKNOWN = 0  # of every code: SQL's arrays begin with 1, and give null where there is nothing
COPY_ROWS = 500_000
URGENCIES = ("Low", "Medium", "High", "Faible", "Moyenne", "Élevée")  # as drawn, in English and then in French
FAMILIES = tuple(DRAWN_TONES)
TONES = (
    *FAMILIES,
    *("Amical", "Formel", "Directe", "Urgente", "Curieux"),
    "Sarcastic",
)
ACTIVE, CONVERTED = 4, 5
TAGS = (
    *("Contacted", "Follow-Up", "High Priority", "Active", "Converted"),
    *("Contacté", "Suivi", "Haute Priorité", "Actif", "Converti"),
)
INTENTS = (
    *("Quote Request", "Service Request", "B2B Partnership", "Consultation", "General Information"),
    *("Demande de devis", "Demande de service", "Partenariat B2B", "Consultation", "Information générale"),
)
INDUSTRIES = ("Real Estate", "Legal", "Construction", "Home Services", "Technology", "Healthcare", "Insurance")
ACTION_TYPES = ("insert", "tag", "tag", "archive")
PEOPLE = ("Sarah Chen", "Marc Tremblay", "Priya Patel", "Jean-François Gagnon", "Olivia Martin", "Ahmed Benali")
TEXT = (
    "The sender runs a small company and asks what a first project would cost, how soon somebody could visit, and"
    " whether the offer includes maintenance. They compare three suppliers, name a budget for the quarter, and would"
    " like to talk by phone on a weekday morning. Earlier letters went unanswered elsewhere, so a quick reply matters"
    " more than the lowest price. Two colleagues will join the decision; references from the same trade would help. A"
    " follow-up call within the week is advised, with a short written summary of the options and their delivery times."
)

STAGE = """
CREATE TEMPORARY TABLE staged_leads (number int, client int, arrival int, changed int, urgency int2, tone int2,
    source int2, intent int2, confidence int2, tag int2, french int2, archived int2) ON COMMIT DROP;
CREATE TEMPORARY TABLE staged_actions (number int8, lead int, client int, moment int, kind int2, tag int2)
    ON COMMIT DROP
"""
CLIENTS = """
INSERT INTO clients (client_id, business_name, email, api_key, password_hash, language, industry_category, created_at)
SELECT md5('client ' || n)::uuid, 'Client ' || n, 'client-' || n || '@example.com', 'key-' || n, '!',
    CASE WHEN n %% 10 IN (1, 4, 7) THEN 'fr' ELSE 'en' END,
    (%(industries)s::text[])[1 + n %% %(n_industries)s], %(start)s
FROM generate_series(0, %(n_clients)s - 1) AS n
"""
LEADS = """
INSERT INTO lead_memory (id, client_id, name, email, message, language, ai_summary, intent, tone, urgency,
    confidence_score, current_tag, archived, source, "timestamp", last_updated)
SELECT md5('lead ' || s.number)::uuid, md5('client ' || s.client)::uuid,
    (%(people)s::text[])[1 + s.number %% %(n_people)s], 'lead-' || s.number || '@example.com',
    substr(%(text)s, 1 + s.number %% 300, 76 + s.number %% 121), CASE s.french WHEN 1 THEN 'fr' ELSE 'en' END,
    substr(%(text)s, 1 + s.number %% 211, 250 + s.number %% 101), (%(intents)s::text[])[s.intent],
    (%(tones)s::text[])[s.tone], (%(urgencies)s::text[])[s.urgency], nullif(s.confidence, -1) / 100.0,
    (%(tags)s::text[])[s.tag], s.archived = 1, (%(sources)s::text[])[s.source],
    %(as_of)s - s.arrival * interval '1 second', %(as_of)s - s.changed * interval '1 second'
FROM staged_leads AS s
"""
ACTIONS = """
INSERT INTO lead_actions (id, lead_id, client_id, action_type, tag, "timestamp", created_at)
SELECT md5('action ' || s.number)::uuid, md5('lead ' || s.lead)::uuid, md5('client ' || s.client)::uuid,
    (%(action_types)s::text[])[s.kind], (%(tags)s::text[])[s.tag], t.moment, t.moment
FROM staged_actions AS s
CROSS JOIN LATERAL (SELECT %(as_of)s - s.moment * interval '1 second') AS t (moment)
"""
RULES = """
SELECT format('%I.%I', n.nspname, c.relname), quote_ident(k.conname), pg_get_constraintdef(k.oid)
FROM pg_constraint AS k JOIN pg_class AS c ON c.oid = k.conrelid JOIN pg_namespace AS n ON n.oid = c.relnamespace
WHERE k.contype IN ('p', 'f') AND k.conrelid = ANY (ARRAY['lead_memory'::regclass, 'lead_actions'::regclass])
ORDER BY k.contype DESC, k.conname
"""
INDEXES = """
SELECT x.indexrelid::regclass::text, pg_get_indexdef(x.indexrelid) FROM pg_index AS x
WHERE x.indrelid = ANY (ARRAY['lead_memory'::regclass, 'lead_actions'::regclass])
    AND NOT EXISTS (SELECT FROM pg_constraint AS k WHERE k.conindid = x.indexrelid AND k.contype IN ('p', 'u'))
"""


def add_clients(conn, n_clients, days):
    """Insert the clients; three in ten write French."""
    values = {"industries": list(INDUSTRIES), "n_industries": len(INDUSTRIES), "n_clients": n_clients}
    start = AS_OF - timedelta(days=days)
    conn.execute(CLIENTS, {**values, "start": start})


def add_leads(conn, drawn, first, seed, *, with_actions):
    """Insert drawn leads, numbered from `first` on, and what was done with them; one transaction."""
    rng = np.random.default_rng([seed, first])
    n = len(drawn.client)
    number = first + np.arange(n, dtype=np.int32)
    french = np.where(rng.random(n) < 0.9, np.isin(drawn.client % 10, (1, 4, 7)), rng.random(n) < 0.3)
    values = {
        "urgencies": list(URGENCIES), "tones": list(TONES), "sources": SOURCES.tolist(), "intents": list(INTENTS),
        "tags": list(TAGS), "people": list(PEOPLE), "n_people": len(PEOPLE), "text": TEXT, "as_of": AS_OF,
        "action_types": list(ACTION_TYPES),
    }  # fmt: skip
    with conn.transaction(), conn.cursor() as cursor:
        cursor.execute(STAGE)
        copy_arrays(cursor, "staged_leads", number=number, **lead_columns(drawn, french, rng))
        cursor.execute(LEADS, values)
        if with_actions:
            copy_arrays(cursor, "staged_actions", **action_columns(drawn, french, first))
            cursor.execute(ACTIONS, values)


def lead_columns(drawn, french, rng):
    """Code the labels of each lead, in its language; a few are not known."""
    n = len(drawn.client)

    def label(code, n_codes, unknown):
        return np.where(rng.random(n) < unknown, UNKNOWN, 1 + code + french * n_codes).astype(np.int16)

    tag, changed = np.full(n, ACTIVE), drawn.arrival.copy()
    touches = np.flatnonzero(drawn.action_kind == TOUCH)
    tag[drawn.action_lead[touches]] = 1 + drawn.action_tag[touches]  # of repeated leads, the last one stays
    tag[drawn.won] = CONVERTED
    changed[drawn.action_lead] = drawn.action_time
    tone = label(drawn.tone, len(FAMILIES), 0.03)
    tone[rng.random(n) < 0.01] = len(TONES)
    confidence = np.where(rng.random(n) < 0.02, -1, np.rint(100 * drawn.confidence))
    return {
        "client": drawn.client.astype(np.int32), "arrival": drawn.arrival.astype(np.int32),
        "changed": changed.astype(np.int32), "urgency": label(drawn.urgency, 3, 0.03), "tone": tone,
        "source": np.where(rng.random(n) < 0.05, UNKNOWN, 1 + drawn.source).astype(np.int16),
        "intent": label(rng.integers(0, 5, n), 5, 0.03), "confidence": confidence.astype(np.int16),
        "tag": (tag + french * (len(TAGS) // 2)).astype(np.int16), "french": french.astype(np.int16),
        "archived": drawn.archived.astype(np.int16),
    }  # fmt: skip


def action_columns(drawn, french, first):
    """Code the actions; their tags are in the lead's language."""
    lead = drawn.action_lead
    tag = np.where(drawn.action_kind == TOUCH, 1 + drawn.action_tag, UNKNOWN)
    tag[drawn.action_kind == WIN] = CONVERTED
    tag = np.where(tag == UNKNOWN, UNKNOWN, tag + french[lead] * (len(TAGS) // 2))
    return {
        "number": first * 100 + np.arange(len(lead), dtype=np.int64), "lead": (first + lead).astype(np.int32),
        "client": drawn.client[lead].astype(np.int32), "moment": drawn.action_time.astype(np.int32),
        "kind": (1 + drawn.action_kind).astype(np.int16), "tag": tag.astype(np.int16),
    }  # fmt: skip


def copy_arrays(cursor, table, **columns):
    """Copy arrays of whole numbers, of one length, into the table's columns in their order."""
    fields = [("n_fields", ">i2")]
    for name, values in columns.items():
        fields += [(f"{name} bytes", ">i4"), (name, values.dtype.newbyteorder(">"))]
    with cursor.copy(sql.SQL("COPY {} FROM STDIN (FORMAT binary)").format(sql.Identifier(table))) as copy:
        copy.write(b"PGCOPY\n\xff\r\n\0" + bytes(8))
        for start in range(0, len(next(iter(columns.values()))), COPY_ROWS):
            part = {name: values[start : start + COPY_ROWS] for name, values in columns.items()}
            rows = np.empty(len(next(iter(part.values()))), dtype=fields)
            rows["n_fields"] = len(columns)
            for name, values in part.items():
                rows[f"{name} bytes"], rows[name] = values.dtype.itemsize, values
            copy.write(rows.tobytes())
        copy.write(b"\xff\xff")


class WithoutIndexes:
    """While the block runs leads and actions have no keys and indexes; they are built anew when it ends well."""

    def __init__(self, conn):
        self.conn = conn

    def __enter__(self):
        self.rules = self.conn.execute(RULES).fetchall()
        self.indexes = self.conn.execute(INDEXES).fetchall()
        for table, name, _ in sorted(self.rules, key=lambda rule: not rule[2].startswith("FOREIGN")):
            self.conn.execute(f"ALTER TABLE {table} DROP CONSTRAINT {name}")
        for name, _ in self.indexes:
            self.conn.execute(f"DROP INDEX {name}")

    def __exit__(self, kind, error, traceback):
        if error is not None:
            return
        for table, name, definition in self.rules:  # primary keys first
            self.conn.execute(f"ALTER TABLE {table} ADD CONSTRAINT {name} {definition}")
        for _, definition in self.indexes:
            self.conn.execute(definition)
