"""
The floor: what the database alone needs for reading the leads once and writing as many snapshots.

Three parts, each as the client sees it, on the same server and in the same run as what is measured against it:

    scan     leads by client, by a sequential scan of lead_memory: one process, no JIT
    window   five measures by client of the leads of the last 60 days, by whatever plan the server chooses
    copy     COPY of real snapshots, from one buffer to the commit, into a table that has what the schema of the
             application gives growth_brain: its keys, check, four btrees and the GIN index; not the worker's own two
             indexes, which are part of what the worker costs
"""

import time
from dataclasses import dataclass
from datetime import timedelta
from statistics import median

from processor import spent

SNAPSHOT_COLUMNS = "id, client_id, event_type, learning_snapshot, insight_text, confidence, created_at"
SCAN = "SELECT l.client_id, count(*) FROM lead_memory AS l GROUP BY l.client_id"
WINDOW = """
SELECT l.client_id, count(*) FILTER (WHERE l."timestamp" >= %(middle)s), count(*),
    count(*) FILTER (WHERE l.urgency IN ('High', 'Élevée')), avg(l.confidence_score),
    count(*) FILTER (WHERE NOT l.archived)
FROM lead_memory AS l
WHERE l."timestamp" >= %(start)s AND l."timestamp" < %(as_of)s
GROUP BY l.client_id
"""
COPIED = "benchmark.copied"
ONE_PROCESS = """
SELECT set_config('jit', 'off', true), set_config('max_parallel_workers_per_gather', '0', true),
    set_config('enable_indexscan', %(indexes)s, true), set_config('enable_indexonlyscan', %(indexes)s, true),
    set_config('enable_bitmapscan', %(indexes)s, true)
"""


@dataclass(frozen=True)
class Floor:
    """Seconds of each part, how many snapshots of how many bytes were copied, the server's CPU seconds of all."""

    scan: float
    window: float
    copy: float
    rows: int
    megabytes: float
    server: float | None = None

    @property
    def seconds(self):
        return self.scan + self.window + self.copy

    @classmethod
    def middle(cls, found):
        """The median of each part over rounds."""
        names = ("scan", "window", "copy", "rows", "megabytes")
        return cls(*(median(getattr(one, name) for one in found) for name in names))

    def __str__(self):
        return (
            f"floor {self.seconds:.3f} s: scan {self.scan:.3f}, window {self.window:.3f},"
            f" copy of {self.rows:,.0f} snapshots ({self.megabytes:.1f} MB) {self.copy:.3f}"
        )


def application_table(name):
    """Give the statements that make a table, empty, as the schema of the application makes growth_brain."""
    return f"""
    DROP TABLE IF EXISTS {name};
    CREATE TABLE {name} (
        id                UUID PRIMARY KEY DEFAULT gen_random_uuid(),
        client_id         UUID REFERENCES clients(client_id) ON DELETE CASCADE,
        event_type        TEXT NOT NULL,
        learning_snapshot JSONB,
        insight_text      TEXT,
        confidence        NUMERIC(3,2) CHECK (confidence >= 0 AND confidence <= 1),
        created_at        TIMESTAMPTZ DEFAULT NOW()
    );
    CREATE INDEX ON {name} (client_id);
    CREATE INDEX ON {name} (event_type);
    CREATE INDEX ON {name} (created_at DESC);
    CREATE INDEX ON {name} (confidence DESC);
    CREATE INDEX ON {name} USING GIN (learning_snapshot)
    """


def measure_floor(conn, as_of, snapshots):
    """Time the three parts; snapshots is what `written` gives. The connection is in autocommit mode."""
    conn.execute(application_table(COPIED))
    days = timedelta(days=1)
    ends = {"start": as_of - 60 * days, "middle": as_of - 30 * days, "as_of": as_of}

    def all_parts():
        yield _timed_query(conn, SCAN, {}, indexes="off")
        yield _timed_query(conn, WINDOW, ends, indexes="on")
        yield _timed_copy(conn, snapshots)

    seconds, server = spent(conn, lambda: tuple(all_parts()))
    (rows,) = conn.execute(f"SELECT count(*) FROM {COPIED}").fetchone()
    return Floor(*seconds, rows, len(snapshots) / 2**20, server)


def _timed_copy(conn, snapshots):
    started = time.perf_counter()
    with conn.cursor() as cursor, cursor.copy(f"COPY {COPIED} ({SNAPSHOT_COLUMNS}) FROM STDIN") as copy:
        copy.write(snapshots)
    return time.perf_counter() - started


def _timed_query(conn, statement, values, *, indexes):
    with conn.transaction():
        conn.execute(ONE_PROCESS, {"indexes": indexes})
        started = time.perf_counter()
        conn.execute(statement, values).fetchall()
        return time.perf_counter() - started


def written(conn, before="benchmark.start_growth_brain"):
    """Give the rows of growth_brain that are new or other than before, as COPY has them: real ones, to be copied."""
    query = f"SELECT {SNAPSHOT_COLUMNS} FROM growth_brain EXCEPT ALL SELECT {SNAPSHOT_COLUMNS} FROM {before}"
    with conn.cursor() as cursor, cursor.copy(f"COPY ({query}) TO STDOUT") as copy:
        return b"".join(bytes(part) for part in copy)
