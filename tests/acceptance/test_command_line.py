"""The command as a person, a script or cron meets it: words, exit codes, and what goes to stdout and to stderr."""

import json
import secrets

import pytest
from conftest import as_role
from psycopg import sql
from support import ANALYSES, add_client, add_simple_leads, counts, run_process, run_worker, snapshots, utc
from test_schema import OLD_GROWTH_BRAIN, picture

from worker.commands import COMMANDS

DAY = "2025-03-30"
JOBS = ("conversion_events", *ANALYSES, "accuracy_review")


@pytest.fixture
def client(database_url, connect):
    """A client with leads in a migrated database."""
    conn = connect(database_url)
    found = add_client(conn, 1)
    add_simple_leads(conn, found, 1, 20, utc("03-31 00:00"))
    return found


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["urgency_trnd"], "Did you mean urgency_trend?"),
        (["engagement_score", "conversion_event", "--as-of", DAY], "Did you mean conversion_events?"),
        (["chek"], "Did you mean check?"),
        (["urgency_trend", "--as-of", "tomorrow"], "'tomorrow' is neither a date (2026-03-31) nor an instant"),
        (["urgency_trend", "--as-of", "2025-02-30"], "is neither a date"),
        (["urgency_trend", "--as-of", "2999-01-01"], "2999-01-01 has not begun yet"),
        (["urgency_trend", "--as-of", "2999-01-01T00:00:00+00:00"], "lies in the future"),
        (["urgency_trend", "--as-of", "9999-12-31"], "has not begun yet"),
        (["urgency_trend", "--client", "Maple"], "a client is named by its client_id, a UUID"),
        (["urgency_trend", "--client", "550e8400-e29b-41d4-a716-446655440000,Maple"], "a UUID"),
        (["urgency_trend", "--shards", "0"], "--shards"),
        (["urgency_trend", "--wait", "-1"], "--wait"),
        (["urgency_trend", "--as-off", DAY], "--as-of"),
        (["--as-of", DAY], "Missing argument"),
        (["check", "urgency_trend"], "unexpected extra argument"),
        (["demo", "--map", "timestamp"], "is not COLUMN=NAME"),
    ],
)
def test_slips_are_explained_before_anything_is_done(words, said):
    outcome = run_worker("postgresql://nobody@127.0.0.1:1/nowhere", *words)
    assert outcome.code == 2
    assert said in outcome.err
    assert outcome.out == ""


def test_the_help_names_every_command_and_job():
    for words in (["--help"], ["-h"]):
        outcome = run_worker(None, *words)
        assert outcome.code == 0
        for name in (*JOBS, *(set(COMMANDS) - {"jobs"}), "DATABASE_URL", "Exit codes"):
            assert name in outcome.out
    outcome = run_worker(None, "urgency_trend", "--help")
    assert outcome.code == 0
    for name in ("--as-of", "--client", "--dry-run", "--if-due", "--wait", "--shards", "--json", "WORKER_AS_OF"):
        assert name in outcome.out
    assert run_worker(None, "--version").code == 0


@pytest.mark.parametrize("words", [["all"], ["check"], ["migrate"], ["urgency_trend", "--dry-run"]])
def test_without_a_database_both_ways_are_named(words):
    outcome = run_worker(None, *words)
    assert outcome.code == 2
    assert "DATABASE_URL is not set" in outcome.err
    assert "postgresql://" in outcome.err
    assert "DATABASE_URL=embedded" in outcome.err
    assert outcome.out == ""


def test_all_problems_of_the_settings_at_once():
    outcome = run_worker("hunter2secret", "all", WORKER_TIMEZONE="Toronto", WORKER_LEASE_SECONDS="soon")
    assert outcome.code == 2
    assert [line.split()[1] for line in outcome.err.splitlines() if line.startswith("Error")] == [
        "DATABASE_URL",
        "WORKER_TIMEZONE",
        "WORKER_LEASE_SECONDS",
    ]
    assert "hunter2secret" not in outcome.err


@pytest.mark.parametrize("words", [["all", "--as-of", DAY], ["check"], ["migrate"]])
def test_a_database_that_does_not_answer(words):
    url = "postgresql://me:hunter2secret@127.0.0.1:1/leads"
    outcome = run_worker(url, *words, WORKER_DATABASE_WAIT_SECONDS="0")
    assert outcome.code == 1
    assert "127.0.0.1, port 1, database leads" in outcome.err
    assert "hunter2secret" not in outcome.err + outcome.out
    assert "Traceback" not in outcome.err


def test_a_database_that_does_not_answer_a_process():
    outcome = run_process("postgresql://me:hunter2secret@127.0.0.1:1/leads", "all", WORKER_DATABASE_WAIT_SECONDS="0")
    assert (outcome.code, outcome.out) == (1, "")
    assert "hunter2secret" not in outcome.err
    assert "Traceback" not in outcome.err


def refused(url, said):
    """`check` and the jobs both end with 3, and say it; the check in one sentence for each thing."""
    check = run_worker(url, "check")
    assert check.code == 3
    failures = [line for line in check.out.splitlines() if line.startswith("FAILURE")]
    assert failures
    assert all(line.endswith(".") and ". " not in line for line in failures)
    assert said in check.out
    document = run_worker(url, "check", "--json")
    assert (document.code, document.json["status"]) == (3, "failure")
    for words in (["all", "--as-of", DAY], ["urgency_trend", "--dry-run"], ["tone_distribution", "--if-due"]):
        outcome = run_worker(url, *words)
        assert (outcome.code, outcome.out) == (3, "")
        assert said in outcome.err
        assert "Traceback" not in outcome.err


def test_an_empty_database(empty_database_url, connect):
    refused(empty_database_url, "The database has none of the tables the worker reads.")
    assert picture(connect(empty_database_url)) == []
    migrated = run_worker(empty_database_url, "migrate")
    assert migrated.code == 0
    assert "Created the table public.growth_brain." in migrated.out
    again = run_worker(empty_database_url, "migrate")
    assert again.code == 0
    assert "Created" not in again.out
    check = run_worker(empty_database_url, "check")
    assert check.code == 0
    found = run_worker(empty_database_url, "check", "--json").json
    assert found["status"] == "warning"  # of the rights, which are the owner's
    assert [item["name"] for item in found["checks"] if item["status"] != "ok"] == ["rights"]
    assert run_worker(empty_database_url, "all", "--as-of", DAY).code == 0


def test_an_old_growth_brain(empty_database_url, connect):
    conn = connect(empty_database_url)
    conn.execute(OLD_GROWTH_BRAIN)
    before = picture(conn)
    refused(empty_database_url, "growth_brain is here in another shape")
    migrated = run_worker(empty_database_url, "migrate")
    assert migrated.code == 3
    assert "RENAME TO" in migrated.err
    assert picture(conn) == before


def test_too_few_rights(server, database_url, client):
    assert client
    role = f"test_{secrets.token_hex(6)}"
    server.admin.execute(sql.SQL("CREATE ROLE {} LOGIN").format(sql.Identifier(role)))
    try:
        refused(as_role(database_url, role), "GRANT growth_worker TO")
    finally:
        server.admin.execute(sql.SQL("DROP ROLE {}").format(sql.Identifier(role)))


def test_a_job_as_a_process(database_url, client, connect):
    outcome = run_process(database_url, "--as-of", DAY, "engagement_score", "urgency_trend", "--json")
    assert outcome.code == 0, outcome.err
    summary = json.loads(outcome.out)
    assert (summary["status"], summary["dry_run"]) == ("done", False)
    assert summary["as_of"] == "2025-03-31T00:00:00+00:00"
    assert [job["job"] for job in summary["jobs"]] == ["engagement_score", "urgency_trend"]
    for job in summary["jobs"]:
        assert (job["status"], job["period_key"], job["clients"], job["error"]) == ("done", DAY, 1, None)
        assert job["snapshots"] == job["inserted"] == 2
    events = [json.loads(line) for line in outcome.err.splitlines()]  # JSON away from a terminal
    assert [event["event"] for event in events if event["event"] == "run.finished"] == ["run.finished"] * 2
    assert {row["client_id"] for row in snapshots(connect(database_url))} == {None, client}


def test_a_dry_run_as_a_process(database_url, client, connect):
    outcome = run_process(database_url, "all", "--dry-run", "--as-of", DAY)
    assert outcome.code == 0, outcome.err
    assert {(line["client_id"], line["event_type"]) for line in outcome.json_lines} == {
        (who, event_type)
        for who in (None, client)
        for event_type in ("engagement_score", "urgency_trend", "tone_distribution", "conversion_prediction")
    }
    assert counts(connect(database_url), "growth_brain", "worker.runs", "worker.models") == (0, 0, 0)
    both = run_worker(database_url, "all", "--dry-run", "--json", "--as-of", DAY)
    assert both.out == outcome.out  # the summary does not mix with the snapshots


def test_the_text_summary(database_url, client):
    assert client
    outcome = run_worker(database_url, "all", "--as-of", DAY)
    assert outcome.code == 0
    lines = outcome.out.splitlines()
    assert [line.split()[0] for line in lines] == list(JOBS)
    assert "2025-03-30  done: 2 snapshots (2 new, 0 changed, 0 unchanged)" in lines[1]


def test_options_from_the_environment(database_url, client, connect):
    outcome = run_worker(
        database_url, "urgency_trend", WORKER_AS_OF=DAY, WORKER_CLIENT=client, WORKER_JSON="1", WORKER_DRY_RUN="0"
    )
    assert outcome.code == 0
    assert outcome.json["jobs"][0]["inserted"] == 1
    (row,) = snapshots(connect(database_url))
    assert (row["client_id"], row["created_at"]) == (client, utc("03-31 00:00"))


def test_repeated_names_run_once_in_their_order(database_url, client):
    assert client
    outcome = run_worker(database_url, "urgency_trend", "conversion_events", "urgency_trend", "--as-of", DAY, "--json")
    assert [job["job"] for job in outcome.json["jobs"]] == ["conversion_events", "urgency_trend"]


def test_no_log_line_holds_anything_of_a_lead(database_url, client, connect):
    conn = connect(database_url)
    conn.execute("UPDATE lead_memory SET name = 'Zebulon Quux', email = 'zq@quux.example', message = 'Zebulon says hi'")
    outcome = run_worker(database_url, "all", "--as-of", DAY, WORKER_LOG_LEVEL="DEBUG")
    assert outcome.code == 0
    assert client
    assert "uux" not in outcome.err + outcome.out
    assert "Zebulon" not in outcome.err + outcome.out


def test_a_run_that_ends_before_its_first_job_is_told_all_the_same(empty_database_url):
    away = ("postgresql://nobody@127.0.0.1:1/nowhere", 1, {"WORKER_DATABASE_WAIT_SECONDS": "0"})
    for url, code, environment in (away, (empty_database_url, 3, {})):
        outcome = run_worker(url, "all", "--as-of", DAY, "--json", **environment)
        assert outcome.code == code
        assert (outcome.json["status"], outcome.json["jobs"]) == ("failed", [])
