"""Asks the daemon's HTTP address how it is, for Docker's HEALTHCHECK: with nothing but the standard library."""

import http.client
import json

LOOPBACK = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104 - where to ask a daemon that listens everywhere
TIMEOUT_SECONDS = {"/healthz": 3.0, "/readyz": 6.0}  # /readyz itself may wait 4 s for the database
MOST_BYTES = 65_536


def ask(address: tuple[str, int], path: str) -> tuple[bool, str]:
    """Ask /healthz or /readyz at the address; whether all is well, and a line on it."""
    host, port = LOOPBACK.get(address[0], address[0]), address[1]
    connection = http.client.HTTPConnection(host, port, timeout=TIMEOUT_SECONDS[path])
    try:
        connection.request("GET", path)
        response = connection.getresponse()
        well, body = response.status == http.HTTPStatus.OK, response.read(MOST_BYTES)
    except (OSError, UnicodeError, http.client.HTTPException) as exc:
        return False, f"no answer from {host}, port {port}: {exc or type(exc).__name__}"
    finally:
        connection.close()
    return well, _line(path, response.status, body)


def _line(path: str, status: int, body: bytes) -> str:
    try:
        document = json.loads(body)
        late = ", ".join(f"{item['job']} {item['periods'][-1]}" for item in document.get("late", []))
        away = document.get("database") is False
    except (ValueError, TypeError, KeyError, IndexError, AttributeError):
        return f"{path}: {status}, which is no answer of the worker's"
    reasons = ["the database does not answer"] * away + [f"late: {late}"] * bool(late)
    return "; ".join([f"{path}: {'well' if status == http.HTTPStatus.OK else 'not well'}", *reasons])
