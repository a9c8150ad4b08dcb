"""The first peer: for each analysis and each client one query, and a loop over its rows in Python."""

import json
from collections import Counter

import psycopg
from plain_counts import COLUMNS, FAMILY_OF, KINDS, LEVELS, TABLE, URGENCY_OF, WON, ends_of, insight

READ = """
SELECT l."timestamp", {columns} FROM lead_memory AS l
WHERE l.client_id = %(client_id)s AND l."timestamp" >= %(start)s AND l."timestamp" < %(end)s
"""
WRITE = f"INSERT INTO {TABLE} ({COLUMNS}) VALUES (%s, %s, %s, %s, %s, %s)"


def engagement(now, before, _ends):
    hundredths = [round(100 * confidence) for _, confidence, *_ in now if confidence is not None]
    urgency = [URGENCY_OF[label] for _, _, label, *_ in now if label is not None]
    return {
        "total_leads": len(now),
        "active_leads": sum(not archived and tag not in WON for *_, tag, archived in now),
        "confidence_hundredths": sum(hundredths),
        "confidence_known": len(hundredths),
        "high": urgency.count("High"),
        "urgency_known": len(urgency),
        "previous_total": len(before),
    }


def urgency(now, before, _ends):
    found = []
    for rows in (now, before):
        counted = Counter("unknown" if label is None else URGENCY_OF[label] for _, label in rows)
        found.append({level: counted[level] for level in (*LEVELS, "unknown")})
    return {"counts": found[0], "previous": found[1]}


def tone(now, before, _ends):
    found = []
    for rows in (now, before):
        counted = Counter("unknown" if label is None else FAMILY_OF[label] for _, label in rows)
        found.append({kind: counted[kind] for kind in KINDS})
    return {"counts": found[0], "previous": found[1]}


def patterns(now, before, ends):
    sources = {}
    for place, rows in enumerate((now, before)):
        for _, source in rows:
            if source is not None:
                sources.setdefault(source, [0, 0])[place] += 1
    volume = [
        sum(when >= ends[name] for when, _ in rows) for name, rows in (("recent", now), ("recent_before", before))
    ]
    return {"sources": sources, "volume": volume}


ANALYSES = {
    "engagement_score": (engagement, "l.confidence_score, l.urgency, l.current_tag, l.archived"),
    "urgency_trend": (urgency, "l.urgency"),
    "tone_distribution": (tone, "l.tone"),
    "pattern_detection": (patterns, "l.source"),
}


def run(url, as_of):
    """Count and write, a transaction an analysis."""
    ends = ends_of(as_of)
    with psycopg.connect(url) as conn, conn.cursor(binary=True) as cursor:
        for name, (count, columns) in ANALYSES.items():
            rows, statement = [], READ.format(columns=columns)
            for (client_id,) in conn.execute("SELECT c.client_id FROM clients AS c").fetchall():
                found = cursor.execute(statement, {"client_id": client_id, **ends}).fetchall()
                now = [row for row in found if row[0] >= ends["middle"]]
                before = [row for row in found if row[0] < ends["middle"]]
                if now:
                    content, text = json.dumps(count(now, before, ends)), insight(len(now), len(before))
                    rows.append((client_id, name, content, text, 0.5, ends["end"]))
            cursor.executemany(WRITE, rows)
            conn.commit()
