"""A PostgreSQL of a test's own that can be stopped in the middle of everything and started again."""

import secrets
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psycopg
from conftest import migrate_url
from psycopg import sql
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from worker.database import embedded


class CrashingServer:
    """Makes databases as the tests' shared server does, and can crash; what it said was committed it keeps."""

    def __init__(self, conninfo: str, server: Any) -> None:
        self.conninfo = conninfo
        self._server = server
        template = self.create_database("template0")
        migrate_url(template)
        self.template = str(conninfo_to_dict(template)["dbname"])

    def create_database(self, template: str) -> str:
        """Make a database as a copy of the template and return how to connect to it."""
        name = f"test_{secrets.token_hex(6)}"
        self._execute("CREATE DATABASE {} TEMPLATE {}", name, template)
        return make_conninfo(self.conninfo, dbname=name)

    def drop_database(self, conninfo: str) -> None:
        """Drop it, ending what a test left connected."""
        self._execute("DROP DATABASE {} WITH (FORCE)", str(conninfo_to_dict(conninfo)["dbname"]))

    def crash(self) -> None:
        """Stop it without letting anyone finish, as a power cut would."""
        self._pg_ctl("-m", "immediate", "stop")

    def start(self) -> None:
        """Start it again; it repairs itself before it lets anyone in."""
        self._pg_ctl("-l", str(self._server.data / "server.log"), "start")

    def _pg_ctl(self, *words: str) -> None:
        self._server.run("pg_ctl", "-D", str(self._server.data), "-w", "-t", "60", *words)

    def _execute(self, statement: str, *names: str) -> None:
        with psycopg.connect(self.conninfo, autocommit=True) as conn:
            conn.execute(sql.SQL(statement).format(*map(sql.Identifier, names)))


@contextmanager
def crashing_server() -> Iterator[CrashingServer]:
    """Run one while the block runs; its files are in memory where the machine has such a place."""
    memory = Path("/dev/shm")
    folder = Path(tempfile.mkdtemp(prefix="growth-brain-crash-", dir=memory if memory.is_dir() else "/var/tmp"))
    folder.chmod(0o755)  # as root the server runs as another user, who has to enter
    try:
        with embedded.embedded_server(folder / "server") as conninfo:
            yield CrashingServer(conninfo, embedded._prepare(folder / "server", None))
    finally:
        shutil.rmtree(folder)
