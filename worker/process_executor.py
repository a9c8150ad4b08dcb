"""Shards worked on by processes beside this one, which end with it, however it ends."""

import contextlib
import multiprocessing
import multiprocessing.util
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Executor, Future, ProcessPoolExecutor
from types import FrameType
from typing import Any, TypeVar

GRACE_SECONDS = 5.0  # of a process that was told to end

R = TypeVar("R")


@contextlib.contextmanager
def open_processes(number: int) -> Iterator[Executor]:
    """Keep so many processes at work while the block runs; a signal, or an error in the block, ends them at once."""
    # spawned: a fork would share our connections, and what their locks guard
    context = multiprocessing.get_context("spawn")
    before = set(multiprocessing.active_children())
    executor = _ProcessExecutor(number, mp_context=context, initializer=_be_a_hand)
    try:
        yield executor
    except BaseException:
        executor.shutdown(wait=False, cancel_futures=True)
        _end([child for child in multiprocessing.active_children() if child not in before])
        raise
    executor.shutdown()


def _end(children: list[Any]) -> None:
    """Tell processes to end, and see that they do."""
    for child in children:
        child.terminate()
    until = time.monotonic() + GRACE_SECONDS
    for child in children:
        child.join(max(0.0, until - time.monotonic()))
        if child.is_alive():
            child.kill()
            child.join()


class _ProcessExecutor(ProcessPoolExecutor):
    def submit(self, fn: Callable[..., R], /, *args: Any, **kwargs: Any) -> Future[R]:
        return super().submit(_work_until_told, fn, *args, **kwargs)


class _Leave(KeyboardInterrupt):
    """We are told to end; a KeyboardInterrupt, for which psycopg cancels the statement that the server is at."""


_at_work = False  # a process has one task at a time


def _be_a_hand() -> None:
    """
    Prepare a process that works on shards: it ends when it is told to, and when the process that started it is gone.

    A Ctrl-C at the terminal reaches all of them; it is the other process's to pass on.
    """
    from worker.shard_tasks import close  # noqa: PLC0415 - this very process needs it next

    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, _leave)
    parent = multiprocessing.parent_process()
    if parent is not None:
        threading.Thread(target=_leave_after, args=(parent,), name="parent", daemon=True).start()
    multiprocessing.util.Finalize(None, close, exitpriority=10)


def _work_until_told(fn: Callable[..., R], *args: Any, **kwargs: Any) -> R:
    global _at_work  # noqa: PLW0603 - as the signal handler is
    _at_work = True
    try:
        return fn(*args, **kwargs)
    except _Leave:  # the pool would go on with the next task
        os._exit(128 + signal.SIGTERM)
    finally:
        _at_work = False


def _leave(number: int, _frame: FrameType | None) -> None:
    if not _at_work:
        os._exit(128 + number)
    raise _Leave(number)


def _leave_after(parent: Any) -> None:
    parent.join()
    os.kill(os.getpid(), signal.SIGTERM)
    time.sleep(GRACE_SECONDS)
    os._exit(128 + signal.SIGTERM)
