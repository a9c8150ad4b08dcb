"""Aggregates fetched by the caller's transaction and by a second one of the same instant, side by side."""

import contextlib
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, wait
from typing import Any

import psycopg
from psycopg import Connection, sql

from worker.executors import OneThread

CANCEL_SECONDS = 1.0
MOMENT_SECONDS = 0.02  # in which a thread ends that has nothing left to fetch

Row = deque[Any]
Beside = Callable[[Connection[Any]], contextlib.AbstractContextManager[Connection[Any] | None]]


class Fetching:
    """
    Statements of one row each, worked off by two transactions; each takes the next one when it is done with its last.

    Without a second transaction the first does them all.
    """

    def __init__(self, first: Connection[Any], second: Connection[Any] | None, thread: OneThread) -> None:
        self._first, self._second, self._thread = first, second, thread
        self._left = deque[tuple[sql.Composed, Mapping[str, Any], Future[Row]]]()
        self._failure: BaseException | None = None  # the second's first: what it says after that is only "aborted"

    def ask(
        self, statements: Iterable[sql.Composed], parameters: Mapping[str, Any], *, before_others: bool = False
    ) -> list[Future[Row]]:
        """Have rows fetched, after what was asked for earlier or before it; the second transaction begins at once."""
        asked: list[tuple[sql.Composed, Mapping[str, Any], Future[Row]]]
        asked = [(statement, dict(parameters), Future()) for statement in statements]
        if before_others:
            self._left.extendleft(reversed(asked))
        else:
            self._left.extend(asked)
        if self._second is not None:
            self._thread.submit(self._work_off, self._second)
        return [future for _, _, future in asked]

    def finished(self, asked: Sequence[Future[Row]]) -> Iterator[tuple[int, Row]]:
        """
        Give the rows as they come, each with its number among those asked for; until then the first helps.

        Raises what either transaction raised, of whatever was asked for, as soon as it is known.
        """
        waiting = dict(enumerate(asked))
        while waiting:
            if self._failure is not None:
                raise self._failure
            number = next((number for number, future in waiting.items() if future.done()), None)
            if number is not None:
                yield number, waiting.pop(number).result()
            elif not self._fetch_next(self._first):
                wait(waiting.values(), return_when=FIRST_COMPLETED)

    def forget(self) -> None:
        """Fetch nothing more of what was asked for."""
        self._left.clear()

    def _work_off(self, conn: Connection[Any]) -> None:
        try:
            while self._failure is None and self._fetch_next(conn):
                pass
        except BaseException as exc:
            self._failure = exc
            raise

    def _fetch_next(self, conn: Connection[Any]) -> bool:
        """Fetch what is next; False where nothing is left."""
        try:
            statement, parameters, future = self._left.popleft()
        except IndexError:
            return False
        future.set_running_or_notify_cancel()
        try:
            future.set_result(fetch_row(conn, statement, parameters))
        except BaseException as exc:
            future.set_exception(exc)
            raise
        return True


@contextlib.contextmanager
def fetching(conn: Connection[Any], beside: Beside | None) -> Iterator[Fetching]:
    """
    Fetch beside `conn` in a second transaction, as long as the block runs; None, or none to be had: by `conn` alone.

    beside : opens the second transaction.
    """
    with contextlib.nullcontext() if beside is None else beside(conn) as other, OneThread() as thread:
        result = Fetching(conn, other, thread)
        try:
            yield result
        finally:
            result.forget()
            if other is not None:
                _let_go(other, thread)


def _let_go(other: Connection[Any], thread: OneThread) -> None:
    """Wait until the thread has let go of the connection: after an error, or a signal, nobody waits for its row."""
    idle, patience = thread.submit(lambda: None), MOMENT_SECONDS
    while not wait([idle], timeout=patience).done:
        with contextlib.suppress(psycopg.Error):
            other.cancel_safe(timeout=CANCEL_SECONDS)
        patience = CANCEL_SECONDS  # and then again: it may have been between two statements


def fetch_row(conn: Connection[Any], statement: sql.Composed, parameters: Mapping[str, Any]) -> Row:
    """Run an aggregate, which has one row, its values as they are; whoever takes one out is the last to hold it."""
    with conn.cursor(binary=True) as cursor:
        row: tuple[Any, ...] | None = cursor.execute(statement, parameters).fetchone()
        assert row is not None  # noqa: S101 - an aggregate always has a row
        return deque(row)
