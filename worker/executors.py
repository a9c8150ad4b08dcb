"""
Where shards are worked on: in this process, in processes beside it, or on a Dask cluster. All are executors as of
concurrent.futures, and what comes out is the same to the last bit.

What an executor needs is imported when it is used.
"""

import contextlib
import os
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator
from concurrent.futures import Executor, Future, wait
from contextvars import copy_context
from functools import partial
from queue import Empty, SimpleQueue
from types import TracebackType
from typing import Any, Generic, Self, TypeVar

from worker.errors import WorkerError
from worker.settings import DASK, LOCAL, PROCESSES

LOST_SECONDS = 60  # with no worker left, shards are given up: longer than a machine takes to start another
POLL_SECONDS = 1.0
SWITCH_SECONDS = 0.0005  # a thread that has an answer of the server waits so long for one that calculates, not 5 ms
AHEAD = 4  # tasks handed out for each process: none waits for the next, and not all results wait at once

T = TypeVar("T")
R = TypeVar("R")


class LostShardsError(WorkerError):
    """Shards were lost with the processes that worked on them; what others did is kept, and a rerun does the rest."""


class LocalExecutor(Executor):
    """Does what it is given at once, in this process and thread."""

    def submit(self, fn: Callable[..., R], /, *args: Any, **kwargs: Any) -> Future[R]:
        """Call the function and give its result as a future; a signal passes through."""
        future: Future[R] = Future()
        try:
            future.set_result(fn(*args, **kwargs))
        except Exception as exc:  # noqa: BLE001 - it is the future's to raise
            future.set_exception(exc)
        return future


class OneThread(Executor):
    """
    Makes one call after the other in a thread beside the main one, which ends with the process.

    A ThreadPoolExecutor's would be waited for at the end: whoever is told to stop has no time for what nobody will use.
    """

    def __init__(self) -> None:
        self._closed = False
        self._switch_seconds = sys.getswitchinterval()
        self._calls: SimpleQueue[tuple[Future[Any], Callable[[], Any]] | None] = SimpleQueue()
        self._thread: threading.Thread | None = None

    def submit(self, fn: Callable[..., R], /, *args: Any, **kwargs: Any) -> Future[R]:
        """Call the function, after those submitted before, with the caller's context; RuntimeError once shut down."""
        if self._closed:
            raise RuntimeError("shut down")
        if self._thread is None:
            sys.setswitchinterval(min(self._switch_seconds, SWITCH_SECONDS))
            self._thread = threading.Thread(target=self._work, name="ahead", daemon=True)
            self._thread.start()
        future: Future[R] = Future()
        self._calls.put((future, partial(copy_context().run, fn, *args, **kwargs)))
        return future

    def _work(self) -> None:
        while (given := self._calls.get()) is not None:
            future, call = given
            if future.set_running_or_notify_cancel():
                try:
                    future.set_result(call())
                except BaseException as exc:  # noqa: BLE001 - it is the future's to raise
                    future.set_exception(exc)
            del given, future, call  # what they hold is not kept until the next one comes

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """Let the thread end, after what was submitted or, with cancel_futures, after what it is at; never waits."""
        del wait
        self._closed = True
        while cancel_futures:
            try:
                given = self._calls.get_nowait()
            except Empty:
                break
            if given is not None:
                given[0].cancel()
        self._calls.put(None)
        if self._thread is not None:
            self._thread = None
            sys.setswitchinterval(self._switch_seconds)


def results_ahead(
    executor: Executor,
    calls: Iterable[Callable[[], T]],
    most: int = 2,
    then: Callable[[], object] = lambda: None,
    begun: Iterable[Future[T]] = (),
) -> Generator[T, None, None]:
    """
    Give each call's result in turn; the next ones, `most` at a time, are called while the last one is put to use.

    then : called when the last of the calls was submitted. Calls that nobody waits for any more are called off.
    begun : calls that were submitted before, whose results come first.
    """
    rest, ahead = iter(calls), deque(begun)
    ended = False
    try:
        while True:
            while not ended and len(ahead) <= most:
                call = next(rest, None)
                if call is None:
                    ended = True
                    then()
                else:
                    ahead.append(executor.submit(call))
            if not ahead:
                return
            yield ahead.popleft().result()
    finally:
        for future in ahead:
            future.cancel()


class InOrder(Generic[T, R]):
    """Tasks handed out, the first of them at once; their results come in the tasks' order, None for a lost one."""

    def __init__(
        self, executor: Executor, work: Callable[[T], R], tasks: Iterable[T], ahead: int, alive: Callable[[], bool]
    ) -> None:
        self._executor, self._work, self._alive = executor, work, alive
        self._tasks, self._ahead = iter(tasks), ahead
        self._pending: deque[Future[R]] = deque()
        self.lost: list[str] = []  # why, for each lost task
        self._given_up = False  # no process was left for too long
        self._hand_out()

    def _hand_out(self) -> None:
        while len(self._pending) < self._ahead:
            task = next(self._tasks, None)
            if task is None:
                return
            try:
                self._pending.append(self._executor.submit(self._work, task))
            except RuntimeError as exc:  # a broken pool takes nothing more
                failed: Future[R] = Future()
                failed.set_exception(exc)
                self._pending.append(failed)

    def __iter__(self) -> Iterator[R | None]:
        """Wait for one result after the other, and hand out more."""
        try:
            while self._pending:
                yield self._result(self._pending.popleft())
                self._hand_out()
        finally:
            self.close()

    def _result(self, future: Future[R]) -> R | None:
        try:
            if self._ends(future):
                return future.result()
            self.lost.append("no process is left to work on it")
        except Exception as exc:  # noqa: BLE001 - tasks tell errors of their own in their result
            self.lost.append(type(exc).__name__)
        return None

    def _ends(self, future: Future[R]) -> bool:
        """Wait until a task has ended; False where no process is left to end it, nor then any that is not done yet."""
        alive_at = time.monotonic()
        while not self._given_up and not wait([future], POLL_SECONDS).done:
            alive_at = time.monotonic() if self._alive() else alive_at
            self._given_up = time.monotonic() - alive_at >= LOST_SECONDS
        return future.done()

    def close(self) -> None:
        """Call off what nobody has begun."""
        for future in self._pending:
            future.cancel()
        self._pending.clear()

    def ensure_none_lost(self) -> None:
        """Raise LostShardsError where any was."""
        if self.lost:
            raise LostShardsError(
                f"{len(self.lost)} share(s) of the clients were lost with the processes that worked on them"
                f" ({', '.join(sorted(set(self.lost)))}); run it again to do the rest"
            )


class Hands:
    """The executor that a word names, opened when the first shard is handed out, closed at the end of the block."""

    def __init__(self, word: str) -> None:
        self.word = word
        self._stack = contextlib.ExitStack()
        self._open: tuple[Executor, int, Callable[[], bool]] | None = None
        self._last: InOrder[Any, Any] | None = None

    @property
    def is_local(self) -> bool:
        """Whether shards are worked on in this process."""
        return self.word == LOCAL

    def processes(self) -> int:
        """Tell how many tasks are worked on at a time."""
        _, number, _ = self._opened()
        return number

    def hand_out(self, work: Callable[[T], R], tasks: Iterable[T]) -> InOrder[T, R]:
        """Have a function of a module work on tasks."""
        executor, number, alive = self._opened()
        self._last = InOrder(executor, work, tasks, 1 if self.is_local else AHEAD * number, alive)
        return self._last

    def _opened(self) -> tuple[Executor, int, Callable[[], bool]]:
        if self._last is not None and self._last.lost:  # a broken pool does nothing more: the next job has a new one
            self._stack.close()
            self._open, self._last = None, None
        if self._open is None:
            self._open = self._stack.enter_context(open_executor(self.word))
        return self._open

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stack.__exit__(kind, error, trace)


@contextlib.contextmanager
def open_executor(word: str) -> Iterator[tuple[Executor, int, Callable[[], bool]]]:
    """
    Open an executor while the block runs: itself, how many processes it has, and whether it is alive.

    Raises ConfigurationError where Dask is not installed, WorkerError where its scheduler does not answer.
    """
    kind, _, value = word.partition("=")
    if kind == DASK:
        from worker.dask_executor import open_dask  # noqa: PLC0415 - an extra, and slow to import

        with open_dask(value) as (executor, workers, alive):
            yield executor, workers, alive
    elif kind == PROCESSES:
        from worker.process_executor import open_processes  # noqa: PLC0415 - only where they are asked for

        number = int(value) if value else os.cpu_count() or 1
        with open_processes(number) as executor:
            yield executor, number, lambda: True
    else:
        yield LocalExecutor(), 1, lambda: True
