"""Distinctive strings stand wherever secrets and personal data do; none of them is ever told."""

import json
import shutil
import signal
import socket
import sys
import tempfile
import time
import urllib.error
import urllib.request
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path

import pytest
from daemons import Daemon
from hardship import DAY, EARLIER, add_world
from psycopg.conninfo import make_conninfo
from support import run_worker, start_worker

from worker.growth_brain import NAMED
from worker.jobs import tone_distribution
from worker.settings import setting_fields

# nothing here depends on the server's version
one_server = pytest.mark.parametrize("server", ["embedded"], indirect=True)
CANARY = "Qanary"
PASSWORD = f"{CANARY}Password/7"
PERSONAL = """
UPDATE clients SET business_name = 'QanaryBusiness ' || id, contact_name = 'QanaryContact',
    email = 'qanary-' || id || '@example.com', api_key = 'QanaryKey' || id, password_hash = 'QanaryHash',
    smtp_password = 'QanarySmtp', smtp_username = 'QanaryUser', booking_link = 'https://qanary.example/x';
UPDATE lead_memory SET name = 'QanaryLead Doe', email = 'qanary@example.com', message = 'QanaryMessage, call me',
    ai_summary = 'QanarySummary', relationship_insight = 'QanaryInsight';
UPDATE lead_actions SET reversion_reason = 'Other: QanaryReason' WHERE conversion_outcome IS NOT NULL
"""
# SECURITY DEFINER: what the trigger tells is more than the worker may read
RAISING = """
CREATE OR REPLACE FUNCTION tell_all() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER AS $$
BEGIN
    RAISE EXCEPTION 'row % of %', NEW, (SELECT string_agg(name || email || message, ',') FROM lead_memory)
        USING ERRCODE = TG_ARGV[0], DETAIL = 'Key (name)=(QanaryDetail)', HINT = 'QanaryHint', COLUMN = 'insight_text';
END $$;
"""
REFUSED = "could not convert string to float: 'QanaryLead Doe'"  # not where it is raised: a traceback shows that line
LOGS = [("DEBUG", "json"), ("DEBUG", "console")]
COMMANDS = (
    ("all", "--as-of", EARLIER),
    ("all", "--as-of", DAY, "--json"),
    ("backfill", "urgency_trend", "--from", "2025-03-28", "--to", "2025-03-29"),
    ("backtest", "--from", "2025-01-01", "--to", "2025-02-01"),
    ("accuracy", "--as-of", DAY),
    ("models",),
    ("prune", "--dry-run"),
    ("check",),
    ("check", "--json"),
    ("status",),
    ("status", "--json"),
    ("health",),
)


def ensure_silent(*texts):
    for text in texts:
        at = text.lower().find(CANARY.lower())
        assert at < 0, text[max(0, at - 300) : at + 100]


def ensure_nothing_is_kept(conn):
    """The ledger and the models hold none, and growth_brain none but where a lead's name and a reason belong."""
    for table in ("runs", "models", "adoptions", "watermarks"):
        ensure_silent(*(row[0] for row in conn.execute(f"SELECT t::text FROM worker.{table} AS t")))
    rows = conn.execute("SELECT event_type, learning_snapshot, insight_text FROM growth_brain").fetchall()
    ensure_silent(*(json.dumps(unnamed(*row)) for row in rows))


def unnamed(event_type, content, insight):
    """What is in a snapshot beside the lead's name and the reason in the two types of events that may show them."""
    if event_type not in NAMED:
        return [content, insight]
    return {key: value for key, value in content.items() if key not in ("lead_name", "reason")}


@pytest.fixture
def url(database_url, worker_url, connect):
    """A database full of canaries, as the worker's role meets it, with a password of that kind."""
    conn = connect(database_url)
    add_world(conn, 6, 12)
    for statement in PERSONAL.split(";"):
        conn.execute(statement)
    return make_conninfo(worker_url, password=PASSWORD)


@one_server
@pytest.mark.parametrize(("level", "form"), LOGS)
def test_commands_that_go_well(url, database_url, connect, level, form):
    told = 0
    for command in COMMANDS:
        outcome = run_worker(url, *command, WORKER_LOG_LEVEL=level, WORKER_LOG_FORMAT=form)
        assert outcome.code in (0, 1, 3), outcome
        ensure_silent(outcome.out, outcome.err)
        told += len(outcome.out + outcome.err)
    assert told > 5000
    conn = connect(database_url)
    ensure_nothing_is_kept(conn)
    named = "SELECT count(*) FROM growth_brain WHERE learning_snapshot ->> 'lead_name' = 'QanaryLead Doe'"
    assert conn.execute(named).fetchone() > (0,)  # the canaries were there to be told


@one_server
def test_a_dry_run_names_leads_in_their_events_only(url):
    outcome = run_worker(url, "all", "--as-of", DAY, "--dry-run", WORKER_LOG_LEVEL="DEBUG")
    assert outcome.code == 0
    ensure_silent(outcome.err)
    assert CANARY in outcome.out
    for line in outcome.json_lines:
        ensure_silent(json.dumps(unnamed(line["event_type"], line["learning_snapshot"], line["insight_text"])))
    hidden = run_worker(url, "all", "--as-of", DAY, "--dry-run", WORKER_STORE_LEAD_NAMES="false")
    ensure_silent(hidden.out, hidden.err)


@one_server
@pytest.mark.parametrize("table", ["growth_brain", "worker.models", "worker.runs"])
def test_what_the_database_says_when_it_refuses_a_row(url, database_url, connect, table):
    conn = connect(database_url)
    conn.execute(RAISING)
    for number, code in enumerate(("P0001", "23514", "53100", "42501", "40001", "57014")):
        conn.execute(f"DROP TRIGGER IF EXISTS tells ON {table}")
        conn.execute(f"CREATE TRIGGER tells BEFORE INSERT ON {table} FOR EACH ROW EXECUTE FUNCTION tell_all('{code}')")
        level, form = LOGS[number % 2]
        command = ("conversion_events", "tone_distribution", "--as-of", DAY, "--json")
        outcome = run_worker(
            url, *command, WORKER_LOG_LEVEL=level, WORKER_LOG_FORMAT=form, WORKER_DATABASE_WAIT_SECONDS="0"
        )
        assert outcome.code in (1, 3), outcome
        ensure_silent(outcome.out, outcome.err)
        ensure_nothing_is_kept(conn)
        status = run_worker(url, "status")
        ensure_silent(status.out, status.err)


@one_server
@pytest.mark.parametrize("stage", ["fit", "analyse"])
def test_what_python_says_of_a_value_that_it_cannot_take(url, database_url, connect, monkeypatch, stage):
    def fail(*_):
        raise ValueError(REFUSED)

    monkeypatch.setattr(tone_distribution, stage, fail)
    for level, form in LOGS:
        outcome = run_worker(url, "tone_distribution", "--as-of", DAY, WORKER_LOG_LEVEL=level, WORKER_LOG_FORMAT=form)
        assert outcome.code == 1
        ensure_silent(outcome.out, outcome.err)
    ensure_nothing_is_kept(connect(database_url))


@pytest.mark.parametrize(
    "address",
    [
        "postgresql://someone:QanaryPassword@127.0.0.1:1/base",
        "postgresql://someone:Qanary@Password@127.0.0.1:1/base",
        "postgresql://someone:Qanary/Password@127.0.0.1/base",
        "postgresql://someone:QanaryPassword@127.0.0.1:port/base",
        "host=127.0.0.1 port=1 password='Qanary Password' user=someone",
        "host=127.0.0.1 port=1 password=Qanary Password user=someone",
        "postgresql://someone:secret@127.0.0.1:1/base?password=QanaryPassword",
        "postgresql://someone:secret@127.0.0.1:1/base?QanaryOption=1",
        "mysql://someone:QanaryPassword@127.0.0.1/base",
        "QanaryPassword",
    ],
)
def test_addresses_that_lead_nowhere(address):
    for command in (("all",), ("check",), ("status",), ("check", "--json")):
        outcome = run_worker(address, *command, WORKER_LOG_LEVEL="DEBUG", WORKER_DATABASE_WAIT_SECONDS="0")
        assert outcome.code in (1, 2), outcome
        ensure_silent(outcome.out, outcome.err)


@pytest.mark.parametrize("name", [field.metadata["env"].replace("<JOB>", "ALL") for field in setting_fields()])
def test_an_address_that_was_put_into_the_wrong_variable(name):
    if name == "DATABASE_URL":
        pytest.skip("there it belongs")
    address = "postgresql://someone:QanaryPassword@db.example.com/base"
    if name == "WORKER_EMBEDDED_DIR":
        pytest.skip("any text is a path")
    outcome = run_worker(None, "status", **{name: address})
    assert outcome.code == 2
    ensure_silent(outcome.out, outcome.err)


def command_line_of(pid):
    return Path(f"/proc/{pid}/cmdline").read_text().replace("\0", " ")


@one_server
@pytest.mark.skipif(sys.platform != "linux", reason="no /proc")
def test_the_list_of_processes(url):
    process = start_worker(url, "all", "--as-of", DAY, "--json")
    seen = set()
    while process.poll() is None:
        with suppress(OSError):
            seen.add(command_line_of(process.pid))
        time.sleep(0.05)
    out, err = process.communicate()
    assert process.returncode == 0, err
    assert any("worker.run" in line for line in seen)
    ensure_silent(*seen, out, err)


def get(port, path):
    """Ask the daemon; the answer's text, also where it is no good news."""
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=5) as answer:
            return answer.read().decode()
    except urllib.error.HTTPError as exc:
        with exc:
            return exc.read().decode()


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@one_server
def test_what_the_daemon_tells(url, database_url, connect):
    """Its log, its pages and its numbers, while one job of it fails with all its rows in the error."""
    conn = connect(database_url)
    conn.execute("TRUNCATE clients CASCADE")
    add_world(conn, 6, 12, datetime.now(tz=UTC))
    for statement in (*PERSONAL.split(";"), RAISING):
        conn.execute(statement)
    conn.execute(
        "CREATE TRIGGER tells BEFORE INSERT ON growth_brain FOR EACH ROW WHEN (NEW.event_type = 'tone_distribution')"
        " EXECUTE FUNCTION tell_all('P0001')"
    )
    port = free_port()
    daemon = Daemon(url, WORKER_HTTP=f"127.0.0.1:{port}", WORKER_LOG_LEVEL="DEBUG")
    try:
        deadline = time.monotonic() + 60
        done = "SELECT count(*) FROM worker.runs WHERE shard = -1 AND status IN ('done', 'failed', 'dead')"
        while conn.execute(done).fetchone() < (5,):
            assert daemon.process.poll() is None, daemon.process.communicate()
            assert time.monotonic() < deadline, conn.execute("SELECT job, status FROM worker.runs").fetchall()
            time.sleep(0.05)
        pages = [get(port, path) for path in ("/healthz", "/readyz", "/metrics", "/QanaryPath")]
        assert "growth_worker_" in pages[2]
        pages[3] = pages[3].replace("QanaryPath", "")
        ensure_silent(*pages, command_line_of(daemon.process.pid))
    finally:
        daemon.process.send_signal(signal.SIGTERM)
        out, err = daemon.process.communicate(timeout=30)
    assert "failed" in err
    ensure_silent(out, err)
    ensure_nothing_is_kept(conn)


def test_a_file_with_rows_that_cannot_be_read(tmp_path):
    """Of a bad row its line is told and what is wrong with its date, not what else it holds."""
    file, folder = tmp_path / "leads.csv", Path(tempfile.mkdtemp(prefix="growth-brain-demo-", dir="/var/tmp"))
    folder.chmod(0o755)  # as root the server runs as another user, who has to enter
    header, rest = "timestamp,urgency,tone,name,email,message", "QanaryUrgency,QanaryTone,QanaryLead,qanary@x.org"
    lines = [header, *(f'{date},{rest},"Qanary, call"' for date in ("someday", "2025-13-45", "", "1825-01-01"))]
    try:
        for good in (0, 20):
            lines += [f"2025-03-{day:02d},High,Formal,QanaryLead,qanary@x.org,Qanary" for day in range(1, good)]
            file.write_text("\n".join([*lines, "2025-03-02,too,few", f"2025-03-03,{rest},,,,,,QanaryMore"]))
            words = ("demo", "--csv", file, "--as-of", "2025-03-28")
            environment = {"WORKER_EMBEDDED_DIR": str(folder / "data"), "WORKER_OUTPUT": str(tmp_path / "report")}
            outcome = run_worker(None, *words, **environment, WORKER_LOG_LEVEL="DEBUG")
            assert outcome.code in (0, 2), outcome
            assert "line 2" in outcome.out + outcome.err
            ensure_silent(outcome.out, outcome.err)
    finally:
        shutil.rmtree(folder)
