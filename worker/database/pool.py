"""Connections: a small pool, transactions with their own limits, and whole transactions tried again when that can help.

Safe behind a transaction pooler: no prepared statements, no session state, everything by SET LOCAL.
"""

import contextlib
import math
import random
import threading
import time
from collections.abc import Callable, Generator, Iterator
from typing import Any, TypeVar

import psycopg
from psycopg import IsolationLevel, sql
from psycopg.conninfo import conninfo_to_dict, make_conninfo
from psycopg.pq import TransactionStatus
from psycopg_pool import ConnectionPool, PoolClosed, PoolTimeout, TooManyRequests

from worker.database.embedded import embedded_server
from worker.errors import ConfigurationError, DatabaseUnavailableError
from worker.settings import Settings
from worker.stopping import ensure_not_stopping

T = TypeVar("T")
Connection = psycopg.Connection[Any]

APPLICATION_NAME = "growth-brain-worker"
SECOND_SECONDS = 2.0  # waited for a connection that only saves time
MAX_CONNECTIONS = 4  # a session pooler often has 15 places for everybody
CONNECT_TIMEOUT_SECONDS = 10
LONGEST_PAUSE_SECONDS = 5.0
ANSWER_SECONDS = 10  # how much later than its own limit a server may still answer

# Worth trying again as a whole: the server goes or comes, a conflict, no free place. 23503 is a client deleted between
# our read and our write: the next read does not see it any more, so few repetitions are enough.
AWAY = ("57P01", "57P02", "57P03", "53300")
CONFLICT = ("40001", "40P01")
FOREIGN_KEY = "23503"
FOREIGN_KEY_ATTEMPTS = 3

# How servers and poolers word what no waiting heals. libpq gives no code for a refused connection.
REFUSED_FOR_GOOD = (
    "password authentication failed",
    "no password supplied",
    "no pg_hba.conf entry",
    "is not permitted to log in",
    "Tenant or user not found",
    "session is read-only",
)

NOT_ESCAPED = "is a / or @ of the password not written as %2F or %40?"
UNREADABLE = "DATABASE_URL cannot be read as an address of a PostgreSQL database"

DEFAULTS: dict[str, str | int] = {
    "application_name": APPLICATION_NAME,
    "connect_timeout": CONNECT_TIMEOUT_SECONDS,
    "keepalives": 1,
    "keepalives_idle": 30,
    "keepalives_interval": 10,
    "keepalives_count": 3,
    "tcp_user_timeout": 30_000,
    "target_session_attrs": "read-write",
}

SET_LIMITS = """
    SELECT set_config('search_path', 'public, pg_temp', true),
           set_config('TimeZone', 'UTC', true),
           set_config('DateStyle', 'ISO', true),
           set_config('client_encoding', 'UTF8', true),
           set_config('jit', 'off', true),
           set_config('statement_timeout', %(statement)s, true),
           set_config('lock_timeout', %(lock)s, true),
           set_config('idle_in_transaction_session_timeout', %(idle)s, true)
"""


class PunctualConnection(psycopg.Connection[Any]):
    """
    Waits patience_seconds for an answer, then breaks, with an OperationalError as when the server has gone.

    The server itself ends a statement that takes too long (statement_timeout), and TCP notices a host that is away. But
    for a pooler or a proxy that is alive and passes nothing on, one would wait without end.
    """

    patience_seconds: float | None = None

    def wait(self, gen: Generator[Any, Any, T], interval: float = 0.1, timeout: float | None = None) -> T:
        """Wait for one answer of the server; as of the base class."""
        try:
            return super().wait(gen, interval, self.patience_seconds if timeout is None else timeout)
        except psycopg.OperationalError:
            if timeout is None and self.pgconn.transaction_status == TransactionStatus.ACTIVE:
                self.pgconn.finish()  # nobody knows what an answer that comes yet would belong to
            raise


class Database:
    """The database as the rest of the worker sees it: transactions to read in, transactions to write in."""

    def __init__(self, settings: Settings, conninfo: str) -> None:
        self._conninfo = conninfo
        self._pool: ConnectionPool[Connection] | None = None
        self._opening = threading.Lock()  # a run's heart beats in a thread of its own
        self.settings = settings
        self.on_retry: Callable[[], None] = lambda: None  # told of each transaction that is tried again

    @contextlib.contextmanager
    def read(self) -> Iterator[Connection]:
        """Open one REPEATABLE READ, READ ONLY transaction: every statement in it sees the same instant."""
        with self._transaction(IsolationLevel.REPEATABLE_READ, read_only=True) as conn:
            yield conn

    @contextlib.contextmanager
    def write(self) -> Iterator[Connection]:
        """Open one READ COMMITTED transaction, committed when the block ends well and undone when it does not."""
        with self._transaction(IsolationLevel.READ_COMMITTED, read_only=False) as conn:
            yield conn

    @contextlib.contextmanager
    def read_beside(self, first: Connection) -> Iterator[Connection | None]:
        """
        Open a second transaction that sees the same instant as `first`, one of read(), does.

        None where no second connection is to be had soon (a pooler may let one in and never answer), or it does not
        lead to the same server. Until the block ends each may wait for the other: the server does not call that idle.
        """
        row = first.execute("SELECT pg_export_snapshot()").fetchone()
        assert row is not None  # noqa: S101 - a SELECT without a table has a row
        with contextlib.ExitStack() as stack:
            second: Connection | None = None
            with contextlib.suppress(psycopg.Error):
                second = stack.enter_context(self._transaction_beside(str(row[0])))
                for conn in (first, second):
                    conn.execute("SELECT set_config('idle_in_transaction_session_timeout', '0', true)")
            yield second

    @contextlib.contextmanager
    def _transaction_beside(self, snapshot: str) -> Iterator[Connection]:
        """Open a transaction on a connection of its own, not of the pool, which a heartbeat may need."""
        with PunctualConnection.connect(
            self._conninfo, prepare_threshold=None, connect_timeout=math.ceil(SECOND_SECONDS)
        ) as conn:
            conn.patience_seconds = SECOND_SECONDS
            conn.isolation_level, conn.read_only = IsolationLevel.REPEATABLE_READ, True
            with conn.transaction():
                # before anything looks at a row
                conn.execute(sql.SQL("SET TRANSACTION SNAPSHOT {}").format(snapshot))
                conn.execute(SET_LIMITS, self._limits())
                self._make_punctual(conn)
                yield conn

    @contextlib.contextmanager
    def autocommit(self, patience_seconds: float | None = None) -> Iterator[Connection]:
        """
        Open a connection of its own without a transaction, for scripts that begin and commit by themselves.

        patience_seconds : how long to wait for each answer of the server; None: without end.
        """
        with (
            _naming_the_absent(self._conninfo),
            PunctualConnection.connect(self._conninfo, autocommit=True, prepare_threshold=None) as conn,
        ):
            conn.patience_seconds = patience_seconds
            yield conn

    def rest(self) -> None:
        """Close every connection; the next transaction opens one again."""
        with self._opening:
            pool, self._pool = self._pool, None
        if pool is not None:
            pool.close()

    def retrying(self, work: Callable[[Connection], T], read_only: bool) -> T:
        """
        Run work in a transaction, and the whole of it again after an error that may pass.

        For at most database_wait_seconds from the first such error on. When a connection is lost at COMMIT nobody can
        say whether it was committed: work has to be harmless when done twice, or to ask the ledger first.
        """
        deadline = math.inf
        attempt = 0
        while True:
            attempt += 1
            ensure_not_stopping()
            try:
                with self.read() if read_only else self.write() as conn:
                    return work(conn)
            except (psycopg.Error, DatabaseUnavailableError) as exc:
                pause = pause_seconds(attempt)
                deadline = min(deadline, time.monotonic() + self.settings.database_wait_seconds)
                if not _may_pass(exc, attempt) or time.monotonic() + pause > deadline:
                    raise
                self.on_retry()
            time.sleep(pause)

    @contextlib.contextmanager
    def _transaction(self, isolation: IsolationLevel, *, read_only: bool) -> Iterator[Connection]:
        with _naming_the_absent(self._conninfo), self._open().connection() as conn:
            conn.isolation_level = isolation
            conn.read_only = read_only
            with conn.transaction():
                conn.execute(SET_LIMITS, self._limits())
                yield conn

    def _limits(self) -> dict[str, str]:
        settings = self.settings
        return {
            "statement": f"{settings.statement_timeout_seconds}s",
            "lock": f"{settings.lock_timeout_seconds}s",
            # The analysis between two statements of a transaction is short; a process that hangs must not hold locks.
            "idle": f"{max(60, settings.statement_timeout_seconds)}s",
        }

    def _open(self) -> ConnectionPool[Connection]:
        with self._opening:
            if self._pool is None:
                self._pool = ConnectionPool(
                    self._conninfo,
                    connection_class=PunctualConnection,
                    kwargs={"prepare_threshold": None},
                    min_size=0,
                    max_size=MAX_CONNECTIONS,
                    timeout=max(1.0, self.settings.database_wait_seconds),
                    max_idle=60,
                    num_workers=1,
                    check=ConnectionPool.check_connection,
                    configure=self._make_punctual,
                    open=True,
                )
            return self._pool

    def _make_punctual(self, conn: Connection) -> None:
        assert isinstance(conn, PunctualConnection)  # noqa: S101 - the pool makes no others
        conn.patience_seconds = self.settings.statement_timeout_seconds + ANSWER_SECONDS


@contextlib.contextmanager
def open_pool(settings: Settings) -> Iterator[Database]:
    """
    Connect to the database of the settings, starting the embedded server where that is asked for.

    Waits for a database that is away, up to database_wait_seconds.
    """
    if settings.database_url is None:
        raise ConfigurationError(
            [
                (
                    "DATABASE_URL is not set: give the address of a PostgreSQL 15 or newer"
                    " (postgresql://user:password@host:5432/database), or DATABASE_URL=embedded for a server of its own"
                )
            ]
        )
    with contextlib.ExitStack() as stack:
        if settings.database_url == "embedded":
            url = stack.enter_context(embedded_server(settings.embedded_dir))
        else:
            url = settings.database_url
        conninfo = _complete(url)
        _wait_for_server(conninfo, settings.database_wait_seconds)
        database = Database(settings, conninfo)
        stack.callback(database.rest)
        yield database


def pause_seconds(attempt: int) -> float:
    """How long to wait after the given failed attempt: doubling, with jitter so that replicas do not come in step."""
    return min(LONGEST_PAUSE_SECONDS, 0.1 * 2.0 ** min(attempt - 1, 10)) * random.uniform(0.5, 1.0)  # noqa: S311


def describe_server(conninfo: str) -> str:
    """Name a server by host, port and database: what a message may say, without user and password."""
    parts = conninfo_to_dict(conninfo)
    host = parts.get("host") or parts.get("hostaddr") or "the local socket"
    return f"{host}, port {parts.get('port') or 5432}, database {parts.get('dbname') or 'of the user’s name'}"


def is_transient(error: psycopg.Error) -> bool:
    """Whether the same transaction may succeed when it is tried again."""
    state = error.sqlstate
    if state is None:
        # The connection broke: the server had no time to send a code.
        return isinstance(error, psycopg.OperationalError)
    return state.startswith("08") or state in (*AWAY, *CONFLICT, FOREIGN_KEY)


def _may_pass(error: psycopg.Error | DatabaseUnavailableError, attempt: int) -> bool:
    cause = error if isinstance(error, psycopg.Error) else error.__cause__
    if not isinstance(cause, psycopg.Error) or isinstance(cause, PoolTimeout):
        return False  # the pool has already waited as long as we may
    if cause.sqlstate == FOREIGN_KEY and attempt >= FOREIGN_KEY_ATTEMPTS:
        return False
    return is_transient(cause)


@contextlib.contextmanager
def _naming_the_absent(conninfo: str) -> Iterator[None]:
    """Turn errors that mean an absent server into ours; the others pass as they are."""
    try:
        yield
    except (PoolTimeout, PoolClosed, TooManyRequests) as exc:
        raise DatabaseUnavailableError(f"The database ({describe_server(conninfo)}) did not answer in time") from exc
    except psycopg.OperationalError as exc:
        if exc.sqlstate is None or exc.sqlstate.startswith("08") or exc.sqlstate in AWAY:
            raise DatabaseUnavailableError(
                f"The connection to the database ({describe_server(conninfo)}) was lost"
            ) from exc
        raise


def _complete(url: str) -> str:
    """Add what a long-lived worker wants of a connection, wherever the address does not say it itself."""
    try:
        given = conninfo_to_dict(url)
    except (psycopg.ProgrammingError, UnicodeError):
        # Not `from` the error: its text repeats the address, and with it the password.
        raise ConfigurationError([UNREADABLE]) from None
    if any(not part.isdecimal() for part in str(given.get("port") or 5432).split(",")):
        raise ConfigurationError([f"The port in DATABASE_URL is not a number; {NOT_ESCAPED}"])
    if _has_stray_at(url):  # what is taken for a host or database then is a piece of the password, and would be told
        raise ConfigurationError([f"DATABASE_URL has an @ where none belongs; {NOT_ESCAPED}"])
    return make_conninfo("", **{**DEFAULTS, **{name: value for name, value in given.items() if value is not None}})


def _has_stray_at(url: str) -> bool:
    """Whether an address has an @ besides the one between user and host."""
    _, is_url, rest = url.partition("://")
    authority, _, path = rest.partition("?")[0].partition("/")
    return bool(is_url) and (authority.count("@") > 1 or "@" in path)


def _wait_for_server(conninfo: str, wait_seconds: float) -> None:
    """Connect once, so that an absent server or a wrong password is told at once and in one sentence."""
    deadline = time.monotonic() + wait_seconds
    attempt = 0
    while True:
        attempt += 1
        try:
            psycopg.connect(conninfo, prepare_threshold=None).close()
        except (psycopg.ProgrammingError, UnicodeError):  # a timeout that is no number, a host that no name can be
            raise ConfigurationError([UNREADABLE]) from None
        except psycopg.OperationalError as exc:
            reason = _reason(exc, conninfo)
            pause = pause_seconds(attempt)
            if any(words in reason for words in REFUSED_FOR_GOOD) or ("does not exist" in reason and "FATAL" in reason):
                raise DatabaseUnavailableError(
                    f"The database ({describe_server(conninfo)}) refuses the connection: {reason}"
                ) from None
            if time.monotonic() + pause > deadline:
                raise DatabaseUnavailableError(
                    f"The database ({describe_server(conninfo)}) did not answer within {wait_seconds:g} s: {reason}"
                ) from None
        else:
            return
        time.sleep(pause)


def _reason(error: psycopg.Error, conninfo: str) -> str:
    """Give the last line of the error's text, without the password should it ever be in it."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    told = [line for line in lines if "FATAL" in line or "failed" in line or "error" in line]
    text = (told or lines or ["no reason given"])[-1]
    password = conninfo_to_dict(conninfo).get("password")
    return text.replace(str(password), "...") if password else text
