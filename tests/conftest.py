"""PostgreSQL for the tests: the embedded server, a PostgreSQL 15 where there is one, and a fresh database per test."""

import os
import secrets
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

import psycopg
import pytest
from psycopg import sql
from psycopg.conninfo import make_conninfo

from worker.database.embedded import embedded_server
from worker.database.migrations import migrate
from worker.database.pool import open_pool
from worker.settings import Settings

# For the processes that tests start, hundreds of them: none is to compile the worker anew, and of several at a time
# none gains by threads for matrices as small as ours.
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

POSTGRESQL_15 = Path("/usr/lib/postgresql/15/bin")
MEMORY, MEMORY_FREE = Path("/dev/shm"), 4 * 2**30
LOGIN_ROLE = "test_worker_login"
DIRECT: dict[str, str] = {}  # a pooler's port: the server behind it
NOT_BEHIND_A_POOLER = {  # what tests do there beside the worker, and a pooler has no way for
    "test_a_lost_connection_is_tried_again_as_a_whole": "ends the server's process, of which PgBouncer gives no number",
    "test_a_connection_that_died_in_the_pool_is_replaced": "ends the server's process, as above",
    "test_between_ticks_no_connection_is_held": "counts the server's connections, and PgBouncer keeps some",
    "test_ready_asks_the_ledger_on_a_connection_that_does_not_stay": "counts the server's connections, as above",
    "test_rows_of_some_clients_only_are_a_warning": "PgBouncer takes no `options` in an address",
    "test_the_owner_runs_with_more_rights_than_it_needs": "drops roles of which PgBouncer keeps connections",
}

NOT_AS_A_MEMBER = {
    "test_a_role_that_may_not_see_who_wrote_reads_everything": "sets the owner beside the member",
    "test_hidden_rows_stop_the_check_and_the_jobs": "sets the owner beside the member",
    "test_an_empty_database": "nobody is a member of anything there",
}


# What stands in these says little of the server's version: on the older one, too, when long tests are asked for.
ALIKE_ON_EVERY_SERVER = {
    "test_accuracy", "test_accuracy_review", "test_backfill", "test_backtest_command", "test_canaries",
    "test_command_line", "test_conversion_values", "test_crontab_commands", "test_daemon", "test_demo_data",
    "test_endpoint", "test_hand_made_client", "test_heartbeat", "test_json_shapes", "test_lost_log", "test_olist",
    "test_registry", "test_report", "test_snapshot_schemas", "test_status_command", "test_watermark",
}  # fmt: skip


def pytest_xdist_auto_num_workers() -> int:
    """Run one test more at a time than there are processors: each waits for servers and processes half of its time."""
    return (os.cpu_count() or 1) + 1


@pytest.hookimpl(tryfirst=True)  # before those that are not asked for are left out
def pytest_collection_modifyitems(items: list[pytest.Function]) -> None:
    """Call some slow; behind a pooler, or as a member of growth_worker, skip what cannot be tried there."""
    for item in items:
        server = getattr(item, "callspec", None) and item.callspec.params.get("server")
        if server == "postgresql-15" and item.path.stem in ALIKE_ON_EVERY_SERVER:
            item.add_marker(pytest.mark.slow)
    for variable, skipped in (("ACCEPTANCE_POOLER", NOT_BEHIND_A_POOLER), ("ACCEPTANCE_MEMBER", NOT_AS_A_MEMBER)):
        for item in items if os.environ.get(variable) else []:
            reason = skipped.get(getattr(item, "originalname", ""))
            if reason is not None:
                item.add_marker(pytest.mark.skip(reason=reason))


@dataclass
class TestServer:
    """A server of the test session, and the databases made on it."""

    __test__ = False
    conninfo: str
    admin: psycopg.Connection[Any]
    template: str = ""
    databases: list[str] = field(default_factory=list)
    pooler: Any = None  # the door by which tests reach a database instead of the server's own, where that is asked for

    def create_database(self, template: str = "template0") -> str:
        """Make a database as a copy of the template and return how to connect to it."""
        name = f"test_{secrets.token_hex(6)}"
        self._create(name, template)
        self.databases.append(name)
        return make_conninfo(self.conninfo, dbname=name)

    def copy_into(self, conninfo: str, filled: str) -> None:
        """Make a database anew as a copy of one that is filled and that nobody is connected to."""
        self._drop(name_of(conninfo))
        self._create(name_of(conninfo), name_of(filled))

    def drop_database(self, conninfo: str) -> None:
        """Drop it, ending what a test left connected."""
        self._drop(name_of(conninfo))
        self.databases.remove(name_of(conninfo))

    def _create(self, name: str, template: str) -> None:
        self.admin.execute(
            sql.SQL("CREATE DATABASE {} TEMPLATE {}").format(sql.Identifier(name), sql.Identifier(template))
        )

    def _drop(self, name: str) -> None:
        self.admin.execute(sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(sql.Identifier(name)))


def name_of(conninfo: str) -> str:
    """Give the name of the database of an address."""
    return str(psycopg.conninfo.conninfo_to_dict(conninfo)["dbname"])


def place_for_servers() -> str | None:
    """
    Give the folder where servers are made: in memory where that is large, as making a database is making 300 files.

    Not pytest's tmp_path: as root a server runs as another user, who may not enter there.
    """
    if MEMORY.is_dir() and os.access(MEMORY, os.W_OK) and shutil.disk_usage(MEMORY).free > MEMORY_FREE:
        return str(MEMORY)
    return "/var/tmp" if os.name == "posix" else None


@contextmanager
def run_server(programs: Path | None) -> Iterator[TestServer]:
    """Run a throw-away server; what it holds need not survive anything, so it writes no more carefully than that."""
    folder = Path(tempfile.mkdtemp(prefix="growth-brain-tests-", dir=place_for_servers()))
    folder.chmod(0o755)
    try:
        with ExitStack() as stack:
            conninfo = stack.enter_context(embedded_server(folder / "server", programs=programs))
            admin = stack.enter_context(psycopg.connect(conninfo, autocommit=True))
            for setting in ("fsync", "synchronous_commit", "full_page_writes"):
                admin.execute(sql.SQL("ALTER SYSTEM SET {} = off").format(sql.Identifier(setting)))
            admin.execute("ALTER SYSTEM SET max_wal_size = '128MB'")  # it may be memory
            admin.execute("SELECT pg_reload_conf()")
            yield TestServer(conninfo, admin)
    finally:
        shutil.rmtree(folder)


@contextmanager
def door_of(server: TestServer) -> Iterator[None]:
    """With ACCEPTANCE_POOLER set, let the addresses that tests are given lead through PgBouncer."""
    if not os.environ.get("ACCEPTANCE_POOLER"):
        yield
        return
    from pooler import PGBOUNCER, pooled

    if not PGBOUNCER.exists():
        pytest.skip(f"no PgBouncer: {PGBOUNCER}")
    with pooled(server.conninfo) as server.pooler:
        DIRECT[str(server.pooler.port)] = server.conninfo
        yield


def direct(url: str) -> str:
    """Give the address of a database at the server itself, for what tests do there beside the worker."""
    parts = psycopg.conninfo.conninfo_to_dict(url)
    if str(parts.get("port")) not in DIRECT:
        return url
    return make_conninfo(DIRECT[str(parts["port"])], dbname=name_of(url), user=str(parts["user"]))


def settings_for(url: str, **environment: str) -> Settings:
    """Settings as the environment of a test would give them: that database, and no long waits."""
    return Settings.from_environment({"DATABASE_URL": url, "WORKER_DATABASE_WAIT_SECONDS": "10", **environment})


def migrate_url(url: str) -> list[str]:
    """Apply the schema to a database and return what was said."""
    with open_pool(settings_for(url)) as database:
        return migrate(database)


@contextmanager
def prepared_server(programs: Path | None) -> Iterator[TestServer]:
    """Run such a server with a migrated database to copy, and the role that tests log in as."""
    with run_server(programs) as running:
        template = running.create_database()
        migrate_url(template)
        running.admin.execute(f"CREATE ROLE {LOGIN_ROLE} LOGIN IN ROLE growth_worker")
        running.template = name_of(template)
        with door_of(running):
            yield running


@pytest.fixture(scope="session")
def servers() -> Iterator[Callable[[Path | None], TestServer]]:
    """A function from programs to a server of theirs, started when first asked for, there until the session ends."""
    with ExitStack() as stack:
        yield cache(lambda programs: stack.enter_context(prepared_server(programs)))


@pytest.fixture(scope="session", params=["embedded", "postgresql-15"])
def server(request: pytest.FixtureRequest, servers: Callable[[Path | None], TestServer]) -> TestServer:
    """A running server of each kind that this machine has; not stopped when tests of the other kind come between."""
    if request.param == "postgresql-15" and not POSTGRESQL_15.is_dir():
        pytest.skip(f"no PostgreSQL 15 in {POSTGRESQL_15}")
    return servers(POSTGRESQL_15 if request.param == "postgresql-15" else None)


@contextmanager
def lent_database(server: TestServer, template: str = "template0") -> Iterator[str]:
    """Lend a database that is a copy of the template, and give the address by which tests reach it."""
    conninfo = server.create_database(template)
    yield server.pooler.through(conninfo) if server.pooler else conninfo
    server.drop_database(conninfo)


@pytest.fixture
def database_url(server: TestServer) -> Iterator[str]:
    """A migrated database without rows, of this test alone."""
    with lent_database(server, server.template) as url:
        yield url


@pytest.fixture(scope="module")
def shared_url(server: TestServer) -> Iterator[str]:
    """A migrated database without rows, of all tests of a module: for what is filled once, and then read or copied."""
    with lent_database(server, server.template) as url:
        yield url


@pytest.fixture
def empty_database_url(server: TestServer) -> Iterator[str]:
    """A database without anything in it, of this test alone."""
    with lent_database(server) as url:
        yield url


@pytest.fixture
def worker_url(database_url: str) -> str:
    """The database of database_url as a login role that is a member of growth_worker, and nothing more, meets it."""
    return as_role(database_url, LOGIN_ROLE)


def as_role(url: str, role: str) -> str:
    """Give the same database for another role."""
    return make_conninfo(url, user=role)


@pytest.fixture
def connect() -> Iterator[Callable[[str], psycopg.Connection[Any]]]:
    """A function from an address to an open connection in autocommit mode, closed when the test ends."""
    with ExitStack() as stack:

        def open_connection(url: str) -> psycopg.Connection[Any]:
            return stack.enter_context(psycopg.connect(direct(url), autocommit=True))

        yield open_connection
