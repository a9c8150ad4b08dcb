"""The log: readable or JSON, and nothing of a lead or a password in it, not even in a traceback."""

import io
import json
import logging

import pytest
import structlog
from hypothesis import given
from hypothesis import strategies as st

from worker.errors import DatabaseUnavailableError
from worker.logs import MASK, Redaction, configure_logs, get_logger, redact_text, secrets_of

URL = "postgresql://worker:hunter2@db.example.com:5432/leads"


class Terminal(io.StringIO):
    def isatty(self):
        return True


@pytest.fixture(autouse=True)
def _put_back():
    handlers = list(logging.getLogger().handlers)
    yield
    structlog.reset_defaults()
    structlog.contextvars.clear_contextvars()
    logging.getLogger().handlers[:] = handlers


def lines(stream):
    return [json.loads(line) for line in stream.getvalue().splitlines()]


def test_one_json_object_a_line_where_there_is_no_terminal():
    stream = io.StringIO()
    configure_logs("INFO", stream)
    with structlog.contextvars.bound_contextvars(job="urgency_trend"):
        get_logger().info("shard.written", rows=12, share=float("nan"))
    (line,) = lines(stream)
    assert line.pop("timestamp").endswith("Z")
    assert line == {"event": "shard.written", "level": "info", "job": "urgency_trend", "rows": 12, "share": "nan"}


def test_readable_lines_at_a_terminal_and_colours_only_if_wanted(monkeypatch):
    monkeypatch.delenv("NO_COLOR", raising=False)
    coloured, plain = Terminal(), Terminal()
    configure_logs("INFO", coloured)
    get_logger().info("run.done", rows=12)
    monkeypatch.setenv("NO_COLOR", "1")
    configure_logs("INFO", plain)
    get_logger().info("run.done", rows=12)
    assert "\x1b[" in coloured.getvalue()
    assert "run.done" in plain.getvalue()
    assert "rows=12" in plain.getvalue()
    assert "\x1b[" not in plain.getvalue()


def test_the_format_can_be_asked_for():
    stream = Terminal()
    configure_logs("INFO", stream, "json")
    get_logger().info("run.done")
    assert lines(stream)[0]["event"] == "run.done"


def test_what_is_below_the_level_is_not_logged():
    stream = io.StringIO()
    configure_logs("WARNING", stream)
    get_logger().info("run.done")
    get_logger().warning("run.held")
    assert [line["event"] for line in lines(stream)] == ["run.held"]


@pytest.mark.parametrize(
    "key",
    ["name", "lead_name", "business_name", "email", "contact_email", "message", "summary", "ai_summary", "dsn",
     "conninfo", "password", "smtp_password", "password_hash_secret", "api_key", "database_url", "url", "Email"],
)  # fmt: skip
def test_values_under_telling_keys_are_masked(key):
    event = Redaction()(None, "info", {"event": "lead.read", key: "Sarah", "deep": [{key: "Sarah"}]})
    assert "Sarah" not in str(event)


def test_values_that_say_nothing_of_people_stay():
    event = {
        "event": "shard.written",
        "client_id": "c-1",
        "rows": 3,
        "seconds": 0.5,
        "job_name": "x",
        "ok": True,
        "none": None,
    }
    assert event == Redaction()(None, "info", dict(event))


SECRET_TEXTS = [
    f"cannot reach {URL}",
    "cannot reach postgres://worker:hun@ter/hunter2@db/leads now",
    "redis://:hunter2@cache:6379/0",
    "connection to host=db user=worker password=hunter2 failed",
    "conninfo: password = 'a hunter2 \\' b' user=x",
    "password='unclosed hunter2 text",
    "{'password': 'hunter2', 'host': 'db'}",
    '{"api_key": "hunter2"}',
    "WORKER_PASSWORD=hunter2",
    'missing "=" after "hunter2" in connection info string',
    'invalid port number: "hunter2"',
    "mail from hunter2@example.com arrived",
    "DETAIL:  Failing row contains (1, hunter2, x).\nnext hunter2",
    "DETAIL:  Key (email)=(hunter2) already exists.",
    'invalid input syntax for type numeric: "hunter2"\nLINE 1',
    'invalid input value for enum mood: "hunter2"',
    "CONTEXT:  JSON data, line 1: {hunter2",
    "CONTEXT:  COPY staging, line 3, column email: hunter2",
]


@pytest.mark.parametrize("text", SECRET_TEXTS)
def test_what_looks_like_a_secret_is_masked_in_any_text(text):
    redacted = redact_text(text)
    assert "hunter2" not in redacted
    assert MASK in redacted
    assert redact_text(redacted) == redacted


@pytest.mark.parametrize(
    "text",
    [
        'password authentication failed for user "worker"',
        "Key (client_id)=(550e8400-e29b-41d4-a716-446655440000) is not present in table",
        "relation growth_brain does not exist",
        "see https://example.com/docs",
    ],
)
def test_what_helps_to_find_a_fault_stays(text):
    assert redact_text(text) == text


def test_a_traceback_shows_the_errors_types_and_places_and_nothing_that_they_quote():
    stream = io.StringIO()
    configure_logs("INFO", stream, database_url=URL)
    what = "no answer for sarah@example.com, hunter2 refused by Rosalind Canary"

    def fail():
        try:
            float("Rosalind Canary")
        except ValueError as exc:
            raise RuntimeError(what) from exc

    try:
        fail()
    except RuntimeError:
        get_logger().exception("run.failed")
    (line,) = lines(stream)
    assert "RuntimeError (test_logs.py:" in line["exception"]
    assert "ValueError (test_logs.py:" in line["exception"]
    assert "line 1" in line["exception"]
    assert "hunter2" not in stream.getvalue()
    assert "sarah" not in stream.getvalue()
    assert stream.getvalue().count("Rosalind") == 1  # in our own line of code, which a traceback shows


def test_a_traceback_tells_our_own_errors_in_full():
    stream = io.StringIO()
    configure_logs("INFO", stream, database_url=URL)
    get_logger().error("run.failed", exc_info=DatabaseUnavailableError(f"The database did not answer at {URL}"))
    (line,) = lines(stream)
    assert "DatabaseUnavailableError: The database did not answer at postgresql://***" in line["exception"]


def test_a_traceback_at_a_terminal_shows_no_local_variables():
    stream = Terminal()
    configure_logs("INFO", stream)

    def fail(secret):
        raise RuntimeError(f"{len(secret)} characters")

    try:
        fail("hunter" + "2")  # the line itself is shown, as in any traceback
    except RuntimeError as exc:
        get_logger().error("run.failed", exc_info=exc)
    assert "RuntimeError (test_logs.py:" in stream.getvalue()
    assert "hunter2" not in stream.getvalue()


def test_an_error_as_a_value_shows_its_type_and_redacted_text():
    event = Redaction()(None, "info", {"event": "shard.failed", "error": OSError(f"no route to {URL}")})
    assert event["error"] == "OSError: no route to postgresql://***"


def test_libraries_warnings_take_the_same_way():
    stream = io.StringIO()
    configure_logs("INFO", stream)
    configure_logs("INFO", stream)  # a second time replaces the first
    logging.getLogger("psycopg.pool").warning("error connecting: %s", URL)
    logging.getLogger("apscheduler").info("looking for jobs")
    logging.getLogger("odd").log(35, "a level of its own")
    unformattable = {"name": "odd", "levelno": logging.ERROR, "msg": "%d", "args": ("not a number",)}
    logging.getLogger().handlers[-1].handle(logging.makeLogRecord(unformattable))  # pytest's own handler would raise
    events = [(line.get("logger"), line["level"], line["event"]) for line in lines(stream)]
    assert events == [
        ("psycopg.pool", "warning", "error connecting: postgresql://***"),
        ("odd", "warning", "a level of its own"),
        ("odd", "error", "%d"),
    ]


@pytest.mark.parametrize(
    ("database_url", "expected"),
    [
        (None, ()),
        ("embedded", ()),
        (URL, ("hunter2",)),
        ("postgres://u:p%40ss@h/d", ("p%40ss", "p@ss")),
        ("postgres://u:hun@ter2@h/d", ("hun@ter2",)),
        ("postgres://h/d?user=u&password=hunter2&x=y", ("hunter2",)),
        ("host=h password='hunter 2' user=u", ("hunter 2",)),
        ("host=h password=abc", ()),  # too short to mask without making the rest unreadable
    ],
)
def test_the_passwords_spellings_are_found(database_url, expected):
    assert secrets_of(database_url) == expected


def test_an_event_keeps_its_name_even_if_the_password_is_a_plain_word():
    event = Redaction(("worker",))(None, "info", {"event": "worker.started", "text": "worker"})
    assert event == {"event": "worker.started", "text": MASK}


def test_a_cycle_and_a_megabyte_are_cut_short():
    cycle = {}
    cycle["again"] = cycle
    event = Redaction()(
        None, "info", {"event": "x.y", "cycle": cycle, "long": "a" * 1_000_000 + " hunter2@example.com"}
    )
    assert len(event["long"]) < 25_000
    assert "hunter2" not in event["long"]


@given(st.text())
def test_redaction_never_fails(text):
    assert isinstance(redact_text(text), str)
