"""
Shards worked on by a Dask cluster: whoever starts its workers gives them this package and DATABASE_URL.

A worker that dies has its shards done by others, as often as the cluster's own settings say; after that they are lost.
"""

import contextlib
import logging
from collections.abc import Callable, Iterator
from concurrent.futures import Executor
from typing import Any

from worker.errors import ConfigurationError, WorkerError

CONNECT_SECONDS = 10  # for the scheduler to answer, and again for the first worker to be there


@contextlib.contextmanager
def open_dask(address: str) -> Iterator[tuple[Executor, int, Callable[[], bool]]]:
    """
    Connect to a scheduler while the block runs: the executor, how many workers there are, and whether any is left.

    Raises ConfigurationError where Dask is not installed, WorkerError where the scheduler or its workers are away.
    """
    try:
        import distributed  # noqa: PLC0415 - an extra
    except ImportError as exc:
        raise ConfigurationError(["--executor dask=... needs Dask: pip install 'growth-brain-worker[dask]'"]) from exc
    make_client: Callable[..., Any] = distributed.Client
    _let_our_log_tell()
    with contextlib.ExitStack() as stack:
        try:
            client = stack.enter_context(make_client(address, timeout=CONNECT_SECONDS, set_as_default=False))
        except (OSError, ValueError) as exc:
            raise WorkerError(f"The Dask scheduler at {address} did not answer") from exc
        try:
            client.wait_for_workers(1, timeout=CONNECT_SECONDS)
        except TimeoutError as exc:
            raise WorkerError(f"The Dask scheduler at {address} has no workers") from exc
        executor = client.get_executor(pure=False)
        stack.callback(executor.shutdown, wait=False)

        def workers() -> int:
            found = client.sync(client.scheduler.identity, callback_timeout=CONNECT_SECONDS)
            return sum(worker["nthreads"] for worker in found["workers"].values())

        def alive() -> bool:
            try:
                return workers() > 0
            except (OSError, TimeoutError):
                return False

        yield executor, max(1, workers()), alive


def _let_our_log_tell() -> None:
    """Let Dask's warnings pass through our log, which redacts and formats them, instead of to stderr as they are."""
    for name in [name for name in logging.root.manager.loggerDict if name.partition(".")[0] in ("distributed", "dask")]:
        logger = logging.getLogger(name)
        logger.handlers.clear()
        logger.propagate = True
