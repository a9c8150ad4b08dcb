"""Transactions on a real server: their limits, what is tried again and what is not, and errors without secrets."""

import time

import psycopg
import pytest
from conftest import settings_for
from psycopg import sql
from support import run_worker

from worker.database.pool import open_pool
from worker.errors import ConfigurationError, DatabaseUnavailableError


@pytest.fixture
def database(database_url):
    with open_pool(settings_for(database_url, WORKER_STATEMENT_TIMEOUT_SECONDS="7")) as opened:
        yield opened


def test_a_read_sees_one_instant_and_writes_nothing(database, database_url, connect):
    with database.read() as conn:
        assert conn.execute("SELECT count(*) FROM growth_brain").fetchone() == (0,)
        connect(database_url).execute("INSERT INTO growth_brain (event_type) VALUES ('x')")
        assert conn.execute("SELECT count(*) FROM growth_brain").fetchone() == (0,)
    with pytest.raises(psycopg.errors.ReadOnlySqlTransaction), database.read() as conn:
        conn.execute("INSERT INTO growth_brain (event_type) VALUES ('x')")
    with database.read() as conn:
        assert conn.execute("SELECT count(*) FROM growth_brain").fetchone() == (1,)


def test_a_write_is_whole_or_nothing(database):
    def fail_after_writing():
        with database.write() as conn:
            conn.execute("INSERT INTO growth_brain (event_type) VALUES ('x')")
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail_after_writing()
    with database.write() as conn:
        assert conn.execute("SELECT count(*) FROM growth_brain").fetchone() == (0,)
        assert conn.execute("SHOW transaction_isolation").fetchone() == ("read committed",)


def test_limits_hold_in_the_transaction_and_not_in_the_session(database):
    shown = ["statement_timeout", "lock_timeout", "TimeZone", "search_path", "application_name"]
    for transaction in (database.read, database.write):
        with transaction() as conn:
            assert [conn.execute(f"SHOW {name}").fetchone()[0] for name in shown] == [
                "7s",
                "10s",
                "UTC",
                "public, pg_temp",
                "growth-brain-worker",
            ]
    with database._pool.connection() as conn:
        assert conn.execute("SHOW statement_timeout").fetchone() == ("0",)


def test_a_lost_connection_is_tried_again_as_a_whole(database, database_url, connect):
    attempts = []

    def work(conn):
        attempts.append(conn.info.backend_pid)
        conn.execute("INSERT INTO growth_brain (event_type) VALUES ('x')")
        if len(attempts) == 1:
            connect(database_url).execute("SELECT pg_terminate_backend(%s, 5000)", attempts)
        return conn.execute("SELECT count(*) FROM growth_brain").fetchone()[0]

    assert database.retrying(work, read_only=False) == 1
    assert len(set(attempts)) == 2


def test_a_connection_that_died_in_the_pool_is_replaced(database, database_url, connect):
    with database.read() as conn:
        pid = conn.info.backend_pid
    connect(database_url).execute("SELECT pg_terminate_backend(%s, 5000)", [pid])
    with database.read() as conn:
        assert conn.info.backend_pid != pid


def test_what_does_not_pass_is_not_tried_again(database):
    attempts = []

    def work(conn):
        attempts.append(1)
        conn.execute("SELECT nonsense")

    with pytest.raises(psycopg.errors.UndefinedColumn):
        database.retrying(work, read_only=True)
    assert len(attempts) == 1


def test_a_foreign_key_error_is_tried_three_times(database):
    attempts = []

    def work(conn):
        attempts.append(1)
        conn.execute("INSERT INTO growth_brain (client_id, event_type) VALUES (gen_random_uuid(), 'x')")

    with pytest.raises(psycopg.errors.ForeignKeyViolation):
        database.retrying(work, read_only=False)
    assert len(attempts) == 3


def test_conflicts_are_tried_again(database):
    attempts = []

    def work(conn):
        attempts.append(1)
        if len(attempts) < 3:
            conn.execute("DO $$ BEGIN RAISE EXCEPTION 'conflict' USING ERRCODE = '40001'; END $$")
        return "done"

    assert database.retrying(work, read_only=False) == "done"
    assert len(attempts) == 3


@pytest.mark.parametrize(
    "url",
    [
        "postgresql://someone:hunter2secret@127.0.0.1:1/base",
        "postgresql://someone:hunter2secret@/base?host=/nowhere",
    ],
)
def test_an_absent_database_is_said_without_the_password(url):
    began = time.monotonic()
    with (
        pytest.raises(DatabaseUnavailableError, match="did not answer within 1 s") as caught,
        open_pool(settings_for(url, WORKER_DATABASE_WAIT_SECONDS="1")),
    ):
        pass
    assert time.monotonic() - began < 10
    assert "hunter2secret" not in str(caught.value)
    assert "database base" in str(caught.value)
    assert caught.value.__cause__ is None


@pytest.mark.parametrize("password", ["Tr0ub@dourSecret", "Tr0ub@dour/9Secret", "12/9Secret", "Tr0ub@12/9Secret@x"])
def test_a_password_that_is_not_escaped_is_told_at_once_and_without_a_piece_of_it(password):
    with (
        pytest.raises(ConfigurationError, match="not written as %2F or %40") as caught,
        open_pool(settings_for(f"postgresql://someone:{password}@127.0.0.1:1/base")),
    ):
        pass
    assert "Secret" not in str(caught.value)


@pytest.mark.parametrize("style", ["SQL, DMY", "German", "Postgres, MDY"])
def test_how_the_role_writes_dates_changes_nothing(database_url, connect, style):
    conn = connect(database_url)
    name = conn.info.dbname
    conn.execute(sql.SQL("ALTER DATABASE {} SET datestyle = {}").format(sql.Identifier(name), sql.Literal(style)))
    for words in (["check"], ["urgency_trend"], ["status"], ["prune"], ["migrate"]):
        outcome = run_worker(database_url, *words)
        assert outcome.code == 0, (words, outcome)


def test_a_locked_table_is_told(database_url, connect):
    conn = connect(database_url)
    with conn.transaction():
        conn.execute("LOCK TABLE growth_brain IN ACCESS EXCLUSIVE MODE")
        outcome = run_worker(database_url, "all", "--json", WORKER_LOCK_TIMEOUT_SECONDS="1")
    assert (outcome.code, outcome.json["status"]) == (1, "failed")
    assert "somebody else held a lock on it for longer than WORKER_LOCK_TIMEOUT_SECONDS" in outcome.err + outcome.out


def test_a_database_that_does_not_exist_is_said_at_once(database_url):
    began = time.monotonic()
    url = psycopg.conninfo.make_conninfo(database_url, dbname="nowhere")
    with (
        pytest.raises(DatabaseUnavailableError, match='"nowhere" does not exist'),
        open_pool(settings_for(url, WORKER_DATABASE_WAIT_SECONDS="60")),
    ):
        pass
    assert time.monotonic() - began < 10


def test_addresses_that_cannot_be_read():
    with pytest.raises(ConfigurationError, match=r"embedded"), open_pool(settings_for("")):
        pass
    for url in ("postgresql://user:hunter2secret@host:port:1/x", "nonsense=hunter2secret"):
        with pytest.raises(ConfigurationError) as caught, open_pool(settings_for(url)):
            pass
        assert "hunter2secret" not in str(caught.value)


def test_what_the_address_says_itself_stands(database_url):
    url = psycopg.conninfo.make_conninfo(database_url, application_name="mine")
    with open_pool(settings_for(url)) as database, database.read() as conn:
        assert conn.execute("SHOW application_name").fetchone() == ("mine",)
