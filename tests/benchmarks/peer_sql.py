"""A peer: one INSERT ... SELECT an analysis, as a scheduled statement in the database would do it."""

import psycopg
from plain_counts import COLUMNS, FAMILY_OF, KINDS, LEVELS, TABLE, URGENCY_OF, WON, ends_of

NOW, BEFORE = 'l."timestamp" >= %(middle)s', 'l."timestamp" < %(middle)s'


def _count(condition, window=NOW):
    return f"count(*) FILTER (WHERE {window} AND {condition})"


def _labels(labels_of, name):
    return "(" + ", ".join(f"'{label}'" for label, meaning in labels_of.items() if meaning == name) + ")"


def _table(column, labels_of, names):
    """Count names, and what is not known, in both windows."""
    windows = []
    for window in (NOW, BEFORE):
        counts = [f"'{name}', " + _count(f"l.{column} IN {_labels(labels_of, name)}", window) for name in names]
        counts.append("'unknown', " + _count(f"l.{column} IS NULL", window))
        windows.append(f"jsonb_build_object({', '.join(counts)})")
    return f"jsonb_build_object('counts', {windows[0]}, 'previous', {windows[1]})"


ENGAGEMENT = f"""jsonb_build_object(
    'total_leads', {_count("true")},
    'active_leads', {_count(f"NOT l.archived AND l.current_tag NOT IN {WON}")},
    'confidence_hundredths', coalesce((100 * sum(l.confidence_score) FILTER (WHERE {NOW}))::bigint, 0),
    'confidence_known', count(l.confidence_score) FILTER (WHERE {NOW}),
    'high', {_count(f"l.urgency IN {_labels(URGENCY_OF, 'High')}")},
    'urgency_known', count(l.urgency) FILTER (WHERE {NOW}),
    'previous_total', {_count("true", BEFORE)})"""
CONTENT = {
    "engagement_score": ENGAGEMENT,
    "urgency_trend": _table("urgency", URGENCY_OF, LEVELS),
    "tone_distribution": _table("tone", FAMILY_OF, KINDS[:-1]),
}
COUNT = """
INSERT INTO {table} ({columns})
SELECT l.client_id, '{name}', {content},
    count(*) FILTER (WHERE {now}) || ' leads in the last 30 days, ' || count(*) FILTER (WHERE {before})
    || ' in the 30 days before.', 0.5, %(end)s
FROM lead_memory AS l
WHERE l."timestamp" >= %(start)s AND l."timestamp" < %(end)s
GROUP BY l.client_id HAVING count(*) FILTER (WHERE {now}) > 0
"""
PATTERNS = f"""
INSERT INTO {TABLE} ({COLUMNS})
SELECT s.client_id, 'pattern_detection', jsonb_build_object(
        'sources', coalesce(jsonb_object_agg(s.source, jsonb_build_array(s.n, s.n_before))
            FILTER (WHERE s.source IS NOT NULL), '{{}}'),
        'volume', jsonb_build_array(sum(s.recent), sum(s.recent_before))),
    sum(s.n) || ' leads in the last 30 days, ' || sum(s.n_before) || ' in the 30 days before.', 0.5, %(end)s
FROM (
    SELECT l.client_id, l.source, {_count("true")} AS n, {_count("true", BEFORE)} AS n_before,
        {_count('l."timestamp" >= %(recent)s')} AS recent,
        {_count('l."timestamp" >= %(recent_before)s', BEFORE)} AS recent_before
    FROM lead_memory AS l
    WHERE l."timestamp" >= %(start)s AND l."timestamp" < %(end)s
    GROUP BY l.client_id, l.source
) AS s
GROUP BY s.client_id HAVING sum(s.n) > 0
"""


def run(url, as_of):
    """Count and write, a transaction an analysis."""
    ends = ends_of(as_of)
    with psycopg.connect(url, autocommit=True) as conn:
        for name, content in CONTENT.items():
            words = {"table": TABLE, "columns": COLUMNS, "now": NOW, "before": BEFORE}
            conn.execute(COUNT.format(name=name, content=content, **words), ends)
        conn.execute(PATTERNS, ends)
