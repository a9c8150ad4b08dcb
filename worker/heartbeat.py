"""Keeps a run's lease alive while its process works, from a thread of its own."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager

from worker.database.pool import Database
from worker.errors import LeaseLostError
from worker.ledger import Lease, renew_lease
from worker.logs import get_logger

LAST_BEAT_SECONDS = 1.0


@contextmanager
def heartbeat(database: Database, lease: Lease | None, lease_seconds: int) -> Iterator[None]:
    """
    Renew the lease at a third of its length until the block ends; with no lease there is nothing to do.

    A renewal that fails is only logged: writing asks for the lease again in its own transaction, and that is what
    protects the rows.
    """
    if lease is None:
        yield
        return
    stop = threading.Event()
    thread = threading.Thread(
        target=_beat, args=(database, lease, lease_seconds, stop), name=f"heartbeat {lease.job}", daemon=True
    )
    thread.start()
    try:
        yield
    finally:
        stop.set()
        # A beat that waits for the server, or comes too late, harms nothing: it renews only what is still running.
        thread.join(timeout=LAST_BEAT_SECONDS)


def _beat(database: Database, lease: Lease, lease_seconds: int, stop: threading.Event) -> None:
    while not stop.wait(lease_seconds / 3):
        try:
            with database.write() as conn:
                renew_lease(conn, lease, lease_seconds)
        except LeaseLostError:
            get_logger().warning("lease.lost", job=lease.job, period=lease.period_key)
            return
        except Exception as exc:  # noqa: BLE001 - the work itself will meet the same trouble and report it
            get_logger().warning("lease.not_renewed", job=lease.job, error=type(exc).__name__)
