"""A TCP door to a PostgreSQL that can hold, lose and cut what passes through it, at a COMMIT if asked to."""

import contextlib
import socket
import threading
import time
from collections.abc import Iterator
from typing import Any

from psycopg.conninfo import conninfo_to_dict, make_conninfo

QUERY_COMMIT = b"Q\x00\x00\x00\x0bCOMMIT\x00"  # the whole message by which psycopg commits
ANSWER_COMMIT = b"C\x00\x00\x00\x0bCOMMIT\x00"  # and the server's word that it has
CHUNK_BYTES = 65536


class Proxy:
    """Passes everything on, until told otherwise; one plan at a time, for all connections together."""

    def __init__(self, conninfo: str) -> None:
        self._conninfo = conninfo
        parts = conninfo_to_dict(conninfo)
        self._upstream = f"{parts['host']}/.s.PGSQL.{parts['port']}"
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._lock = threading.Lock()
        self._open = threading.Event()
        self._open.set()
        self._sockets: set[socket.socket] = set()
        self.delay_seconds = 0.0
        self.commits = 0  # that clients sent since the last plan
        self._cut_before = self._cut_after = self._hole_at = 0
        self._hole_seconds = 0.0
        self.done = threading.Event()  # the plan came to pass
        threading.Thread(target=self._accept, daemon=True).start()

    @property
    def url(self) -> str:
        """The database's address through this door."""
        host, port = self._listener.getsockname()
        return make_conninfo(self._conninfo, host=host, port=port, sslmode="disable", gssencmode="disable")

    def cut_before_commit(self, number: int) -> None:
        """Cut the connection instead of passing the COMMIT with that number on: it is not committed."""
        self._plan(_cut_before=number)

    def cut_after_commit(self, number: int) -> None:
        """Cut the connection instead of passing on the answer to the COMMIT with that number: it is committed."""
        self._plan(_cut_after=number)

    def hole_at_commit(self, number: int, seconds: float) -> None:
        """Let nothing pass, in either direction, for so long from the COMMIT with that number on; nothing is lost."""
        self._plan(_hole_at=number, _hole_seconds=seconds)

    def cut_all(self) -> None:
        """Cut every connection there is at this moment."""
        with self._lock:
            sockets = list(self._sockets)
        for one in sockets:
            _shut(one)

    def close(self) -> None:
        """Let nobody in any more."""
        self._open.set()
        self._listener.close()
        self.cut_all()

    def _plan(self, **plan: Any) -> None:
        with self._lock:
            self.commits = self._cut_before = self._cut_after = self._hole_at = 0
            self.done.clear()
            self.__dict__.update(plan)

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            server = socket.socket(socket.AF_UNIX)
            try:
                server.connect(self._upstream)
            except OSError:  # a server that is away: as the client would have seen it
                client.close()
                continue
            with self._lock:
                self._sockets |= {client, server}
            state = _Connection(client, server)
            for source, target, look in ((client, server, self._to_server), (server, client, self._to_client)):
                threading.Thread(target=self._pump, args=(source, target, look, state), daemon=True).start()

    def _pump(self, source: socket.socket, target: socket.socket, look: Any, state: "_Connection") -> None:
        try:
            while chunk := source.recv(CHUNK_BYTES):
                if not look(chunk, state):
                    break
                if self.delay_seconds:
                    time.sleep(self.delay_seconds)
                self._open.wait()
                target.sendall(chunk)
        except OSError:
            pass
        finally:
            _shut(source)
            _shut(target)
            with self._lock:
                self._sockets -= {source, target}

    def _to_server(self, chunk: bytes, state: "_Connection") -> bool:
        if QUERY_COMMIT not in chunk:
            return True
        with self._lock:
            self.commits += 1
            number = self.commits
        state.loses_answer = number == self._cut_after
        if number == self._hole_at:
            self._open.clear()
            threading.Timer(self._hole_seconds, self._open.set).start()
            self.done.set()
        if number == self._cut_before:
            self.done.set()
            return False
        return True

    def _to_client(self, chunk: bytes, state: "_Connection") -> bool:
        if state.loses_answer and ANSWER_COMMIT in chunk:
            self.done.set()
            return False
        return True


class _Connection:
    """A client's connection and the one to the server that belongs to it."""

    def __init__(self, client: socket.socket, server: socket.socket) -> None:
        self.client, self.server, self.loses_answer = client, server, False


def _shut(one: socket.socket) -> None:
    with contextlib.suppress(OSError):
        one.shutdown(socket.SHUT_RDWR)
    one.close()


@contextlib.contextmanager
def proxied(conninfo: str) -> Iterator[Proxy]:
    """Open a door to a server that listens on a socket, for as long as the block runs."""
    proxy = Proxy(conninfo)
    try:
        yield proxy
    finally:
        proxy.close()
