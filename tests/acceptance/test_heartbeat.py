"""A run that takes longer than its lease keeps it; one whose lease was taken over is told, and stops renewing."""

import time
from datetime import UTC, datetime

from conftest import settings_for

from worker.database.pool import open_pool
from worker.heartbeat import heartbeat
from worker.ledger import claim_run

AS_OF = datetime(2025, 3, 31, tzinfo=UTC)
BEATS = "SELECT heartbeat_at, lease_until > now() FROM worker.runs WHERE job = 'urgency_trend'"


def wait_for_beats(conn, number):
    seen = set()
    deadline = time.monotonic() + 20
    while len(seen) <= number:
        assert time.monotonic() < deadline, "the lease was not renewed in time"
        beat, is_live = conn.execute(BEATS).fetchone()
        assert is_live
        seen.add(beat)
        time.sleep(0.02)


def test_lease_lasts_as_long_as_the_work(database_url, connect):
    conn = connect(database_url)
    with open_pool(settings_for(database_url)) as database:
        with database.write() as writing:
            lease = claim_run(writing, "urgency_trend", "2025-03-30", AS_OF, 1)
        with heartbeat(database, lease, 1):
            wait_for_beats(conn, 5)  # five thirds of the lease and more
            with database.write() as writing:
                assert claim_run(writing, "urgency_trend", "2025-03-30", AS_OF, 1) is None


def test_heart_that_lost_its_run_stops(database_url, connect):
    conn = connect(database_url)
    with open_pool(settings_for(database_url)) as database:
        with database.write() as writing:
            lease = claim_run(writing, "urgency_trend", "2025-03-30", AS_OF, 1)
        with heartbeat(database, lease, 1):
            wait_for_beats(conn, 1)
            conn.execute("UPDATE worker.runs SET token = token + 1, lease_until = now() + interval '1 hour'")
            (until,) = conn.execute("SELECT lease_until FROM worker.runs").fetchone()
        assert conn.execute("SELECT lease_until, token FROM worker.runs").fetchone() == (until, lease.token + 1)
