"""What the worker wrote: taken away or put back between rounds, so that each round begins with the same."""

from contextlib import suppress

import psycopg
from psycopg import sql

# What the schema's files keep track of, and what every run needs, stays.
OWN_TABLES = """
SELECT c.relname FROM pg_class AS c JOIN pg_namespace AS n ON n.oid = c.relnamespace
WHERE n.nspname = 'worker' AND c.relkind = 'r' AND c.relname <> 'migrations' ORDER BY c.relname
"""
WRITTEN = "SELECT n_tup_ins, n_tup_upd, n_tup_del FROM pg_stat_user_tables WHERE relid = 'growth_brain'::regclass"
DIGEST = """
SELECT count(*), md5(string_agg(r.digest, '' ORDER BY r.digest))
FROM (
    SELECT md5((g.client_id, g.event_type, g.learning_snapshot, g.insight_text, g.confidence, g.created_at)::text)
    FROM growth_brain AS g
) AS r (digest)
"""
SESSIONS = """
SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND application_name = 'growth-brain-worker'
"""


def _tables(conn):
    own = [("worker", name) for (name,) in conn.execute(OWN_TABLES)]
    return [(sql.Identifier(*place), sql.Identifier("benchmark", f"start_{place[1]}")) for place in
            [("public", "growth_brain"), *own]]  # fmt: skip


def ensure_ours(conn):
    """Refuse to touch a database that databases.py did not load: there growth_brain is somebody's."""
    with suppress(psycopg.errors.UndefinedTable):
        if conn.execute("SELECT FROM benchmark.loaded").fetchone() is not None:
            return
    raise RuntimeError("this database was not loaded by databases.py: nothing in it is touched")


def clear(conn):
    """Take away all that the worker wrote, and call this the start."""
    ensure_ours(conn)
    tables = sql.SQL(", ").join(table for table, _ in _tables(conn))
    conn.execute(sql.SQL("TRUNCATE {}").format(tables))
    keep(conn)


def keep(conn):
    """Call what there is the start."""
    ensure_ours(conn)
    for table, start in _tables(conn):
        conn.execute(sql.SQL("DROP TABLE IF EXISTS {}").format(start))
        conn.execute(sql.SQL("CREATE TABLE {} AS TABLE {}").format(start, table))


def restore(conn):
    """Put the start back, and let the planner know."""
    ensure_ours(conn)
    tables = _tables(conn)
    with conn.transaction():
        conn.execute(sql.SQL("TRUNCATE {}").format(sql.SQL(", ").join(table for table, _ in tables)))
        for table, start in tables:
            conn.execute(sql.SQL("INSERT INTO {} SELECT * FROM {}").format(table, start))
    for table, _ in tables:
        conn.execute(sql.SQL("VACUUM ANALYZE {}").format(table))


def rows_written(conn):
    """Give how many rows of growth_brain were ever inserted, updated and deleted, once every session has reported."""
    while conn.execute(SESSIONS).fetchone()[0]:
        conn.execute("SELECT pg_sleep(0.05)")  # a session reports when it ends
    conn.execute("SELECT pg_stat_clear_snapshot()")
    return conn.execute(WRITTEN).fetchone()


def digest(conn):
    """Give how many rows growth_brain holds and one short text for all of them, but their ids and their order."""
    return conn.execute(DIGEST).fetchone()
