"""PgBouncer in transaction mode before a test's server, where the machine has one."""

import os
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path

import psycopg
from psycopg.conninfo import conninfo_to_dict, make_conninfo

PGBOUNCER = Path("/usr/sbin/pgbouncer")
START_SECONDS = 10
CONFIGURATION = """
[databases]
* = host={host} port={port}

[pgbouncer]
listen_addr = 127.0.0.1
listen_port = {listen_port}
unix_socket_dir =
pool_mode = transaction
default_pool_size = {pool_size}
max_client_conn = 200
server_idle_timeout = 5
auth_type = trust
auth_file = {folder}/users.txt
auth_user = {user}
auth_query = SELECT rolname, '' FROM pg_catalog.pg_roles WHERE rolname = $1
logfile = {folder}/pgbouncer.log
"""


class Pooler:
    """A running PgBouncer: the same databases by another door."""

    def __init__(self, port: int) -> None:
        self.port = port

    def through(self, url: str) -> str:
        """Give the database's address through the pooler."""
        return make_conninfo(url, host="127.0.0.1", port=self.port, sslmode="disable", gssencmode="disable")


def _free_port() -> int:
    with closing(socket.socket()) as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


@contextmanager
def pooled(conninfo: str, *, pool_size: int = 20) -> Iterator[Pooler]:
    """Run a pooler before the server while the block runs; it lets every role in."""
    parts = conninfo_to_dict(conninfo)
    folder = Path(tempfile.mkdtemp(prefix="growth-brain-pooler-", dir="/var/tmp"))
    folder.chmod(0o777)  # as root it runs as another user, who writes its log here
    port = _free_port()
    settings = CONFIGURATION.format(
        host=parts["host"], port=parts["port"], listen_port=port, user=parts["user"], folder=folder, pool_size=pool_size
    )
    (folder / "pgbouncer.ini").write_text(settings)
    (folder / "users.txt").write_text(f'"{parts["user"]}" ""\n')
    user = ["-u", "nobody"] if os.geteuid() == 0 else []
    process = subprocess.Popen(
        [str(PGBOUNCER), "-q", *user, str(folder / "pgbouncer.ini")],
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    try:
        pooler = Pooler(port)
        _wait_for(pooler.through(conninfo), process, folder / "pgbouncer.log")
        yield pooler
    finally:
        process.kill()
        process.wait()
        shutil.rmtree(folder)


def _wait_for(url: str, process: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + START_SECONDS
    while True:
        with suppress(psycopg.OperationalError):
            psycopg.connect(url, prepare_threshold=None).close()
            return
        if process.poll() is not None or time.monotonic() > deadline:
            raise RuntimeError(f"PgBouncer does not answer: {log.read_text() if log.exists() else 'no log'}")
        time.sleep(0.02)
