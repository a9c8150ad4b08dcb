"""
What the worker tells while it runs: structlog events on stderr, readable on a terminal, JSON lines elsewhere.

Events are dotted names with flat keys: get_logger().info("shard.written", rows=12). Whatever is logged passes a
redaction first, libraries' records and tracebacks included: no password, address or lead's text reaches a log line.
"""

import json
import logging
import math
import os
import re
import sys
import traceback
from collections.abc import Mapping
from numbers import Integral, Real
from typing import Any, TextIO, cast
from urllib.parse import unquote

from worker.errors import WorkerError
from worker.terminal import wants_colour

# structlog loads rich where there is any, which takes as long as itself, for tracebacks that are shown otherwise here.
_RICH = sys.modules.get("rich")
sys.modules["rich"] = None  # type: ignore[assignment] # as if there were none
try:
    import structlog
finally:
    del sys.modules["rich"]
    if _RICH is not None:
        sys.modules["rich"] = _RICH

MASK = "***"
LOCK_NOT_AVAILABLE = "55P03"
LOCKED = "somebody else held a lock on it for longer than WORKER_LOCK_TIMEOUT_SECONDS"
LONGEST_TEXT = 20_000  # characters of one value; of a longer one the middle is left out
DEEPEST = 6  # levels of nesting looked into; a log line has flat keys, deeper is an accident (or a cycle)
SHORTEST_SECRET = 4  # characters; masking every "a" would leave nothing to read

# Keys whose values are a person's data or a secret, whatever they look like.
_SECRET_KEY = re.compile(
    r"(?:.*_)?(?:name|email|message|summary|dsn|conninfo|password|passwd|api_?key|database_url|url|secret|authorization)",
    re.IGNORECASE,
)
# ... except names of our own things.
_OPEN_KEYS = frozenset(("event_name", "job_name", "table_name", "column_name", "index_name", "file_name"))
_EVENT = re.compile(
    r"[a-z_]+(?:\.[a-z_]+)+"
)  # written in the code, so it holds no secret, even one that is a plain word

# Each pattern can begin only where a word does, or a long word would cost its length squared.
_PATTERNS: tuple[tuple[re.Pattern[str], str], ...] = (
    # A PostgreSQL address as a whole: an unescaped @ or / in a password defeats any finer cut.
    (re.compile(r"\bpostgres(?:ql)?(?:\+\w+)?://\S+", re.IGNORECASE), f"postgresql://{MASK}"),
    (re.compile(r"(?<![a-z0-9+.-])([a-z][a-z0-9+.-]*://)\S*@", re.IGNORECASE), rf"\1{MASK}@"),
    # password=..., "api_key": "..."; a quoted value may hold blanks, and may have lost its closing quote.
    (
        re.compile(
            r"(?<!\w)(\w*(?:password|passwd|pwd|api_?key|secret)[\"']?\s*[=:]\s*)"
            r"(?:'(?:[^'\\]|\\.)*(?:'|$)|\"(?:[^\"\\]|\\.)*(?:\"|$)|[^\s,;)}\]]+)",
            re.IGNORECASE | re.DOTALL,
        ),
        rf"\1{MASK}",
    ),
    # libpq quotes a piece of the password where it holds a blank or a slash.
    (re.compile(r"(missing \"=\" after )\".*?\"( in connection info string)", re.DOTALL), rf'\1"{MASK}"\2'),
    (re.compile(r"(invalid (?:port number|integer value)[^\"]*)\".*?\"", re.DOTALL), rf'\1"{MASK}"'),
    # PostgreSQL quotes the row or the value that it refused.
    (re.compile(r"(Failing row contains \().*", re.DOTALL), rf"\1{MASK})"),
    (
        re.compile(r"(Key \((?![\w, ]*id\)=)[^)]*\)=\().*?(\) (?:already exists|is not present|conflicts))"),
        rf"\1{MASK}\2",
    ),
    (re.compile(r"(invalid input (?:syntax|value)[^:\n]*: )\".*?\"(?=\n|$)", re.DOTALL), rf'\1"{MASK}"'),
    (re.compile(r"(CONTEXT:\s+(?:JSON data|COPY \w+), line \d+)[^\n]*"), rf"\1: {MASK}"),
    # E-mail addresses, and user@host remains of anything above.
    (re.compile(r"(?<![^\s@'\"<>(),;=])[^\s@'\"<>(),;=]+@[^\s@'\"<>(),;]+"), MASK),
)

_LEVELS = ("DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL")


def redact_text(text: str, secrets: tuple[str, ...] = ()) -> str:
    """Mask what looks like a credential, an e-mail address or a refused row in a text; secrets are masked literally."""
    for secret in secrets:
        text = text.replace(secret, MASK)
    if len(text) > LONGEST_TEXT:
        text = f"{text[: LONGEST_TEXT // 2]} ... {text[-LONGEST_TEXT // 2 :]}"
    for pattern, replacement in _PATTERNS:
        text = pattern.sub(replacement, text)
    return text


def describe_error(error: BaseException) -> str:
    """Name an error and its causes for a person, without what they may quote."""
    return "; caused by ".join(_describe_one(found) for found in _with_causes(error))


def _describe_one(error: BaseException) -> str:
    """
    Name one error: its kind and its place.

    PostgreSQL's messages repeat the rows and values that it refused, so of its errors only the code and the place in
    the schema are told. Python's quote what they stumble on ("could not convert string to float: ..."), so of these
    only the kind and the line. Our own, and those of the system, are told in full.
    """
    kind, diag = type(error).__name__, getattr(error, "diag", None)
    if diag is not None:
        places = (diag.table_name, diag.column_name, diag.constraint_name)
        where = " ".join(place for place in places if place)
        told = f"{kind} ({diag.sqlstate or 'no code'}{f', {where}' if where else ''})"
        return f"{told}: {LOCKED}" if diag.sqlstate == LOCK_NOT_AVAILABLE else told
    if isinstance(error, WorkerError | OSError):
        return f"{kind}: {redact_text(str(error))}"
    frames = traceback.extract_tb(error.__traceback__)
    ours = [frame for frame in frames if f"{os.sep}worker{os.sep}" in frame.filename] or frames
    return f"{kind} ({os.path.basename(ours[-1].filename)}:{ours[-1].lineno})" if ours else kind  # noqa: PTH119


def _with_causes(error: BaseException) -> list[BaseException]:
    """List an error, what it was raised from or while handling, and so on."""
    found: list[BaseException] = []
    following: BaseException | None = error
    while following is not None and following not in found:
        found.append(following)
        following = following.__cause__ or (None if following.__suppress_context__ else following.__context__)
    return found


def secrets_of(database_url: str | None) -> tuple[str, ...]:
    """Find the password of an address or a conninfo string in the spellings in which an error text may repeat it."""
    if not database_url:
        return ()
    in_address = re.match(r"\w+://[^:/]*:(.*)@", database_url, re.DOTALL)
    conninfo = "" if "://" in database_url else database_url
    in_conninfo = re.search(r"password\s*=\s*(?:'((?:[^'\\]|\\.)*)'|(\S+))", conninfo)
    in_query = re.search(r"[?&]password=([^&]*)", database_url)
    found = [group for match in (in_address, in_conninfo, in_query) if match for group in match.groups() if group]
    spellings = {spelling for secret in found for spelling in (secret, unquote(secret))}
    return tuple(sorted((s for s in spellings if len(s) >= SHORTEST_SECRET), key=len, reverse=True))


class Redaction:
    """The processor that every event passes before it is rendered."""

    def __init__(self, secrets: tuple[str, ...] = ()) -> None:
        self._secrets = secrets

    def __call__(
        self, _logger: object, _method: str, event_dict: structlog.typing.EventDict
    ) -> structlog.typing.EventDict:
        """Mask secrets by key and by look, and turn an exception into redacted text."""
        event_dict = self._with_exception_text(event_dict)
        return {str(key): self._value(value, str(key), 0) for key, value in event_dict.items()}

    def _with_exception_text(self, event_dict: structlog.typing.EventDict) -> structlog.typing.EventDict:
        exc_info = event_dict.pop("exc_info", None)
        if exc_info is True:
            exc_info = sys.exc_info()
        exception = exc_info[1] if isinstance(exc_info, tuple) else exc_info
        if isinstance(exception, BaseException):
            # Never the values of local variables, which a prettier traceback would show, nor what the error quotes.
            event_dict["exception"] = "\nwhich came of:\n".join(
                f"{''.join(traceback.format_tb(found.__traceback__))}{_describe_one(found)}"
                for found in _with_causes(exception)
            )
        return event_dict

    def _value(self, value: Any, key: str, depth: int) -> Any:
        if value is None or isinstance(value, bool) or (key == "event" and _EVENT.fullmatch(str(value))):
            return value
        if _SECRET_KEY.fullmatch(key) and key not in _OPEN_KEYS:
            return MASK
        if depth >= DEEPEST:
            return "..."
        if isinstance(value, Mapping):
            # Keys may be data too (counts by e-mail address).
            return {
                redact_text(str(k), self._secrets): self._value(item, str(k), depth + 1) for k, item in value.items()
            }
        if isinstance(value, list | tuple | set | frozenset):
            return [self._value(item, "", depth + 1) for item in value]
        if isinstance(value, Integral):
            return int(value)
        if isinstance(value, Real):
            return float(value) if math.isfinite(value) else str(value)  # JSON has no NaN
        if isinstance(value, BaseException):
            return redact_text(describe_error(value), self._secrets)
        return redact_text(str(value), self._secrets)


class _FromLibraries(logging.Handler):
    """Passes the warnings of libraries (scheduler, pool) on to our log, to be redacted and rendered alike."""

    def emit(self, record: logging.LogRecord) -> None:
        try:
            text = record.getMessage()
        except (TypeError, ValueError):  # a library's slip in its own format string
            text = str(record.msg)
        level = min(max(record.levelno // 10, 1), len(_LEVELS)) * 10  # a level between two has no name of its own
        get_logger().log(level, text, logger=record.name, exc_info=record.exc_info)


def configure_logs(
    level: str = "INFO", stream: TextIO | None = None, log_format: str = "auto", database_url: str | None = None
) -> None:
    """
    Send events of this level and above to the stream (stderr), as console lines on a terminal and JSON otherwise.

    database_url is only used to mask its password wherever it turns up. Calling again replaces what was set before.
    """
    stream = stream if stream is not None else sys.stderr
    at_terminal = stream.isatty()
    renderer: structlog.typing.Processor
    if log_format == "console" or (log_format == "auto" and at_terminal):
        renderer = structlog.dev.ConsoleRenderer(
            colors=wants_colour(stream), exception_formatter=structlog.dev.plain_traceback
        )
    else:
        renderer = structlog.processors.JSONRenderer(serializer=json.dumps)
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            Redaction(secrets_of(database_url)),
            renderer,
        ],
        wrapper_class=structlog.make_filtering_bound_logger(getattr(logging, level)),
        logger_factory=structlog.PrintLoggerFactory(stream),
        cache_logger_on_first_use=False,
    )
    root = logging.getLogger()
    for handler in [handler for handler in root.handlers if isinstance(handler, _FromLibraries)]:
        root.removeHandler(handler)
    # Libraries' chatter below WARNING is theirs to read, not the operator's.
    root.addHandler(_FromLibraries(level=max(logging.WARNING, getattr(logging, level))))


def get_logger() -> structlog.typing.FilteringBoundLogger:
    """Give the worker's logger; bind job, run and shard with structlog.contextvars.bound_contextvars."""
    return cast("structlog.typing.FilteringBoundLogger", structlog.get_logger())
