"""The daemon's HTTP address for monitors: /healthz (this process), /readyz (its work), /metrics (figures of both)."""

import contextlib
import json
import socket
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler
from socketserver import TCPServer, ThreadingMixIn
from typing import Any
from urllib.parse import urlsplit

from prometheus_client import CollectorRegistry
from prometheus_client.exposition import choose_encoder

from worker.database.pool import Database
from worker.errors import ConfigurationError
from worker.logs import get_logger
from worker.metrics import Metrics
from worker.readiness import Readiness, Verdict
from worker.settings import Settings

SILENCE_SECONDS = 180.0  # three ticks of the clock
IDLE_SECONDS = 5.0  # for a client that sends or takes nothing
REQUEST_SECONDS = 10.0  # for a whole request, however slowly it drips in
MOST_REQUESTS = 16  # at once; monitors are few
JSON_TYPE = "application/json; charset=utf-8"


class Pulse:
    """Signs of life of the daemon: when its clock last ticked, and whether it is at work."""

    def __init__(self, silence_seconds: float = SILENCE_SECONDS) -> None:
        self._silence_seconds = silence_seconds
        self._lock = threading.Lock()
        self._last = time.monotonic()
        self._working = 0

    def beat(self) -> None:
        """Note that the clock ticked."""
        self._last = time.monotonic()

    @contextlib.contextmanager
    def working(self) -> Iterator[None]:
        """Note that a job is being run, during which the clock may stand still."""
        with self._lock:
            self._working += 1
        try:
            yield
        finally:
            self.beat()
            with self._lock:
                self._working -= 1

    def is_alive(self) -> bool:
        """Whether the process does its work or waits for it."""
        return self._working > 0 or time.monotonic() - self._last < self._silence_seconds


@dataclass(frozen=True, slots=True)
class Answer:
    """What is sent back."""

    status: HTTPStatus
    body: bytes
    content_type: str = "text/plain; charset=utf-8"
    allow: str | None = None


Route = Callable[[str], Answer]  # from the request's Accept header


@contextlib.contextmanager
def start_endpoint(
    settings: Settings, database: Database, pulse: Pulse, metrics: Metrics
) -> Iterator[tuple[str, int] | None]:
    """Answer at the settings' address until the block ends, and give it; without one, listen nowhere."""
    if settings.http is None:
        yield None
        return
    with serve(settings.http, health=pulse.is_alive, ready=Readiness(database, settings), registry=metrics.registry):
        get_logger().info("http.listening", host=settings.http[0], port=settings.http[1])
        yield settings.http


@contextlib.contextmanager
def serve(
    address: tuple[str, int], *, health: Callable[[], bool], ready: Callable[[], Verdict], registry: CollectorRegistry
) -> Iterator[int]:
    """
    Answer at the address, from threads that end with the process, and give the port (0 takes any that is free).

    ConfigurationError where the address is taken or not one of this machine.
    """

    def metrics(accept: str) -> Answer:
        encode, content_type = choose_encoder(accept)
        return Answer(HTTPStatus.OK, encode(registry), content_type)

    routes: Mapping[str, Route] = {
        "/healthz": lambda _: _as_json(well=(alive := health()), document={"healthy": alive}),
        "/readyz": lambda _: _as_json(well=(verdict := ready()).ready, document=verdict.as_json()),
        "/metrics": metrics,
    }
    try:
        server = _Server(address, routes)
    except (OSError, UnicodeError) as exc:
        reason = getattr(exc, "strerror", None) or exc
        raise ConfigurationError(
            [f"WORKER_HTTP: the worker cannot listen at {address[0]}, port {address[1]}: {reason}"]
        ) from exc
    thread = threading.Thread(target=server.serve_forever, name="http", daemon=True)
    thread.start()
    try:
        yield server.server_address[1]
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def _as_json(*, well: bool, document: Mapping[str, Any]) -> Answer:
    status = HTTPStatus.OK if well else HTTPStatus.SERVICE_UNAVAILABLE
    return Answer(status, json.dumps(document).encode() + b"\n", JSON_TYPE)


class _Server(ThreadingMixIn, TCPServer):
    """A thread for each request, of which there are few at once, and each is over in REQUEST_SECONDS."""

    allow_reuse_address = True  # a restart need not wait for the last one's connections to be forgotten
    allow_reuse_port = False
    daemon_threads = True

    def __init__(self, address: tuple[str, int], routes: Mapping[str, Route]) -> None:
        family, *_, found = socket.getaddrinfo(*address, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)[0]
        self.address_family = family
        self.routes = routes
        self._open: dict[Any, float] = {}  # by socket: until when it may stay open
        super().__init__((str(found[0]), int(found[1])), _Handler)

    def verify_request(self, request: Any, client_address: Any) -> bool:
        """Let no more in than there is room for."""
        del client_address
        if len(self._open) >= MOST_REQUESTS:
            return False
        self._open[request] = time.monotonic() + REQUEST_SECONDS
        return True

    def shutdown_request(self, request: Any) -> None:
        """End a request."""
        self._open.pop(request, None)
        super().shutdown_request(request)

    def service_actions(self) -> None:
        """Twice a second: cut off whoever takes too long."""
        for request, until in list(self._open.items()):
            if time.monotonic() > until and self._open.pop(request, None) is not None:
                with contextlib.suppress(OSError):  # it has just ended by itself
                    request.shutdown(socket.SHUT_RDWR)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Note that a connection broke; there is nobody left to tell."""
        del request, client_address
        get_logger().debug("http.broke", exc_info=True)


class _Handler(BaseHTTPRequestHandler):
    """Answers one request and closes; says nothing of what it runs on."""

    timeout = IDLE_SECONDS
    server: _Server

    def do_GET(self) -> None:
        """Answer with a body."""
        self._send(self._answer(), with_body=True)

    def do_HEAD(self) -> None:
        """Answer without one."""
        self._send(self._answer(), with_body=False)

    def _answer(self) -> Answer:
        try:
            path = urlsplit(self.path).path
        except ValueError:  # http://[x/
            return _plain(HTTPStatus.BAD_REQUEST)
        route = self.server.routes.get(path)
        if route is None:
            return _plain(HTTPStatus.NOT_FOUND)
        try:
            return route(self.headers.get("Accept", ""))
        except Exception as exc:  # noqa: BLE001 - a monitor is told that it failed, and the log why
            get_logger().error("http.failed", path=path, error=type(exc).__name__, exc_info=True)
            return _plain(HTTPStatus.INTERNAL_SERVER_ERROR)

    def _send(self, answer: Answer, *, with_body: bool) -> None:
        self.send_response_only(answer.status)  # send_response would name the server and its version
        self.send_header("Content-Type", answer.content_type)
        self.send_header("Content-Length", str(len(answer.body)))
        self.send_header("Cache-Control", "no-store")
        self.send_header("Connection", "close")
        if answer.allow is not None:
            self.send_header("Allow", answer.allow)
        self.end_headers()
        if with_body:
            self.wfile.write(answer.body)

    def send_error(self, code: int, message: str | None = None, explain: str | None = None) -> None:
        """Answer what is no request of ours, without repeating any of it."""
        del message, explain
        self.close_connection = True
        # The library says 501 of a method that it finds no function for.
        status = HTTPStatus.METHOD_NOT_ALLOWED if code == HTTPStatus.NOT_IMPLEMENTED else HTTPStatus(code)
        self._send(_plain(status), with_body=getattr(self, "command", None) != "HEAD")

    def log_message(self, *_: Any) -> None:
        """Keep silent: a monitor asks all day."""


def _plain(status: HTTPStatus) -> Answer:
    allow = "GET, HEAD" if status == HTTPStatus.METHOD_NOT_ALLOWED else None
    return Answer(status, f"{status.phrase}\n".encode(), allow=allow)
