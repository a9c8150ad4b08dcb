"""Running jobs: twice, later, for some clients, dry, when due, two at once, interrupted, with rows vanishing."""

import json
import signal
import time
from datetime import UTC, datetime, timedelta

import psycopg
import pytest
from support import (
    ANALYSES,
    add_action,
    add_client,
    add_lead,
    add_simple_leads,
    counts,
    finished,
    numbered,
    run_python,
    run_worker,
    snapshots,
    start_worker,
    utc,
    without,
)

import worker.readings
from worker.jobs import urgency_trend

DAY = "2025-03-30"
AS_OF = datetime(2025, 3, 31, tzinfo=UTC)


def add_company(conn):
    """Three clients with leads, two English and one French, and a test client; give the ids."""
    clients = [
        add_client(conn, 1, industry_category="Legal"),
        add_client(conn, 2, language="fr", industry_category="juridique"),
        add_client(conn, 3),
        add_client(conn, 4, is_test=True),
    ]
    for kind, (client, n) in enumerate(zip(clients, (60, 24, 1, 12), strict=True), start=1):
        add_simple_leads(conn, client, kind, n, AS_OF)
        if n > 10:
            for i in range(3):
                when = AS_OF - timedelta(days=3 * i + 1)
                add_action(conn, client, numbered(kind, i), "tag", when, tag="Converted", conversion_outcome=True)
                conn.execute("UPDATE lead_memory SET current_tag = 'Converted' WHERE id = %s", [numbered(kind, i)])
    return clients


@pytest.fixture
def company(database_url, connect):
    """An open connection to a database with that company, and its clients' ids."""
    conn = connect(database_url)
    return conn, add_company(conn)


def everything(conn):
    """All rows as they are, with the transaction that wrote each."""
    return conn.execute("SELECT xmin::text, g::text FROM growth_brain g ORDER BY id").fetchall()


def ledger(conn):
    return dict(conn.execute("SELECT job, status FROM worker.runs WHERE shard = -1 ORDER BY job").fetchall())


def run(url, *arguments, **environment):
    outcome = run_worker(url, *arguments, **environment)
    assert outcome.code == 0, outcome.err
    return outcome


def test_running_twice_is_boring(database_url, company):
    conn, clients = company
    first = run(database_url, "all", "--as-of", DAY, "--json").json
    assert first["status"] == "done"
    written = everything(conn)
    assert len(written) == sum(job["inserted"] for job in first["jobs"]) > 20
    assert {row["client_id"] for row in snapshots(conn)} == {None, *clients}
    second = run(database_url, "all", "--as-of", DAY, "--json").json
    assert everything(conn) == written
    for before, job in zip(first["jobs"], second["jobs"], strict=True):
        assert (job["inserted"], job["updated"], job["deleted"]) == (0, 0, 0)
        assert job["unchanged"] == job["snapshots"] == before["snapshots"]
        assert job["status"] == "done"
    assert counts(conn, "worker.models") == (7,)


def test_from_scratch_the_same_rows_come_again(database_url, company):
    conn, _ = company
    run(database_url, "all", "--as-of", DAY)
    before = [without(row) for row in snapshots(conn)]
    conn.execute("TRUNCATE growth_brain, worker.runs, worker.models, worker.adoptions, worker.watermarks")
    run(database_url, *reversed(ANALYSES), "conversion_events", "accuracy_review", "--as-of", DAY)
    assert [without(row) for row in snapshots(conn)] == before


def test_later_the_same_day_refreshes_in_place_and_a_new_day_adds(database_url, company):
    conn, clients = company
    jobs = ("engagement_score", "urgency_trend", "tone_distribution", "conversion_prediction")
    run(database_url, *jobs, "--as-of", "2025-03-30T08:00:00+00:00")
    morning = snapshots(conn)
    add_lead(conn, clients[0], numbered(5, 1), utc("03-30 10:00"), urgency="High", tone="Formal")
    run(database_url, *jobs, "--as-of", "2025-03-30T20:00:00+00:00")
    evening = snapshots(conn)
    assert [row["id"] for row in evening] == [row["id"] for row in morning]
    assert {row["created_at"] for row in evening} == {utc("03-30 20:00")}
    assert {row["learning_snapshot"]["period_key"] for row in evening} == {DAY}
    for before, after in zip(morning, evening, strict=True):
        if before["client_id"] in (clients[0], None):
            assert after["learning_snapshot"]["n"] >= before["learning_snapshot"]["n"]
    run(database_url, *jobs, "--as-of", "2025-03-31")
    both = snapshots(conn)
    assert [row for row in both if row["learning_snapshot"]["period_key"] == DAY] == evening
    assert {row["learning_snapshot"]["period_key"] for row in both} == {DAY, "2025-03-31"}


def test_a_period_is_a_local_day(database_url, company):
    conn, _ = company
    run(database_url, "urgency_trend", "--as-of", DAY, WORKER_TIMEZONE="America/Toronto")
    (row,) = snapshots(conn, None)
    assert row["created_at"] == utc("03-31 04:00")
    assert row["learning_snapshot"]["period_key"] == DAY
    assert row["learning_snapshot"]["data_points"][-1]["date"] == DAY
    run(database_url, "urgency_trend", "--as-of", "2025-03-31T00:00:00", WORKER_TIMEZONE="America/Toronto")
    (row,) = snapshots(conn, None)
    assert row["created_at"] == utc("03-31 04:00")


def test_what_is_no_longer_so_is_withdrawn(database_url, company):
    conn, clients = company
    run(database_url, "all", "--as-of", DAY)
    conn.execute("UPDATE lead_memory SET deleted = true WHERE client_id = %s", [clients[2]])
    summary = run(database_url, "urgency_trend", "--as-of", DAY, "--json").json["jobs"][0]
    assert summary["deleted"] == 1
    assert "urgency_trend" not in {row["event_type"] for row in snapshots(conn, clients[2])}
    assert "engagement_score" in {row["event_type"] for row in snapshots(conn, clients[2])}


def test_some_clients_only(database_url, company):
    conn, clients = company
    run(database_url, "all", "--as-of", DAY, "--client", clients[0])
    some = snapshots(conn)
    assert {row["client_id"] for row in some} == {clients[0]}
    assert ledger(conn) == {}  # the period's work is still to do
    run(database_url, "all", "--as-of", DAY, "--if-due")
    assert snapshots(conn, clients[0]) == some  # the model was that of all clients, the rows are the same
    for given in (["--client", ",".join(clients[1:3])], ["--client", clients[1], "--client", clients[2].upper()]):
        conn.execute("TRUNCATE growth_brain")
        run(database_url, *given, "tone_distribution", "--as-of", DAY)
        assert {row["client_id"] for row in snapshots(conn)} == set(clients[1:3])


def test_a_client_that_is_not_there(database_url, company):
    conn, _ = company
    outcome = run_worker(database_url, "urgency_trend", "--client", numbered(9, 77), "--as-of", DAY, "--json")
    assert snapshots(conn) == []
    assert outcome.code == 2
    assert numbered(9, 77) in outcome.err


def test_a_dry_run_shows_what_would_be_written_and_writes_nothing(database_url, company):
    conn, clients = company
    for choice in ([], ["--client", clients[1]]):
        # what accuracy_review looks at is written by conversion_events, which a dry run does not
        jobs = ("conversion_events", *ANALYSES)
        dry = run(database_url, *jobs, "--as-of", DAY, "--dry-run", *choice)
        assert counts(conn, "growth_brain", "worker.runs", "worker.models") == (0, 0, 0)
        run(database_url, *jobs, "--as-of", DAY, *choice)
        written = {
            (row["client_id"], row["event_type"], row["created_at"], row["learning_snapshot"]["claim_key"]): row
            for row in snapshots(conn)
        }
        assert len(dry.json_lines) == len(written)
        for line in dry.json_lines:
            assert list(line) == [
                "client_id", "event_type", "learning_snapshot", "insight_text", "confidence", "created_at",
            ]  # fmt: skip
            line["created_at"] = datetime.fromisoformat(line["created_at"])
            key = (line["client_id"], line["event_type"], line["created_at"], line["learning_snapshot"]["claim_key"])
            row = {k: v for k, v in written[key].items() if k != "id"}
            assert line == {**row, "confidence": float(row["confidence"])}
        conn.execute("TRUNCATE growth_brain, worker.runs, worker.models")


def test_a_dry_run_over_rows_that_are_there_changes_none(database_url, company):
    conn, _ = company
    run(database_url, "all", "--as-of", DAY)
    before = everything(conn), conn.execute("SELECT * FROM worker.runs ORDER BY job").fetchall()
    conn.execute("UPDATE lead_memory SET urgency = 'High'")
    run(database_url, "all", "--as-of", DAY, "--dry-run")
    assert (everything(conn), conn.execute("SELECT * FROM worker.runs ORDER BY job").fetchall()) == before


def test_if_due_does_what_is_not_done(database_url, company):
    conn, _ = company
    statuses = [
        [job["status"] for job in run(database_url, *given, "--as-of", DAY, "--json").json["jobs"]]
        for given in (
            ("urgency_trend", "--if-due"),
            ("urgency_trend", "tone_distribution", "--if-due"),
            ("urgency_trend", "tone_distribution", "--if-due"),
            ("urgency_trend", "tone_distribution"),
        )
    ]
    assert statuses == [["done"], ["skipped", "done"], ["skipped", "skipped"], ["done", "done"]]
    text = run(database_url, "urgency_trend", "--if-due", "--as-of", DAY)
    assert "already done" in text.out
    assert ledger(conn) == {"urgency_trend": "done", "tone_distribution": "done"}
    run(database_url, "urgency_trend", "--if-due", "--as-of", "2025-03-31")
    assert counts(conn, "worker.runs") == (3,)


def test_a_failing_client_is_named_and_the_others_are_kept(database_url, company, monkeypatch):
    conn, clients = company
    analyse = urgency_trend.analyse

    def fail_for_one(leads, model, as_of, rng):
        if clients[1] in leads.clients.ids:
            raise FloatingPointError("a client that no arithmetic survives")
        return analyse(leads, model, as_of, rng)

    monkeypatch.setattr(urgency_trend, "analyse", fail_for_one)
    outcome = run_worker(database_url, "urgency_trend", "tone_distribution", "--as-of", DAY, "--json")
    assert outcome.code == 1
    failed, fine = outcome.json["jobs"]
    assert (outcome.json["status"], failed["status"], fine["status"]) == ("failed", "failed", "done")
    assert failed["failed_clients"] == [clients[1]]
    found = {row["client_id"] for row in snapshots(conn) if row["event_type"] == "urgency_trend"}
    assert found == {None, *clients} - {clients[1]}
    monkeypatch.undo()
    again = run(database_url, "urgency_trend", "tone_distribution", "--as-of", DAY, "--json", "--if-due").json["jobs"]
    assert [(job["status"], job["inserted"], job["updated"]) for job in again] == [("done", 1, 0), ("skipped", 0, 0)]


def test_a_client_deleted_while_the_run_goes_on(database_url, company, connect, monkeypatch):
    conn, clients = company
    read_leads = worker.readings.read_leads

    def read_and_then_delete(*arguments, **named):
        found = read_leads(*arguments, **named)
        connect(database_url).execute("DELETE FROM clients WHERE client_id = %s", [clients[0]])
        return found

    monkeypatch.setattr(worker.readings, "read_leads", read_and_then_delete)
    summaries = run(database_url, "all", "--as-of", DAY, "--json").json["jobs"]
    assert {job["status"] for job in summaries} == {"done"}
    assert not any(job["failed_clients"] for job in summaries)
    assert {row["client_id"] for row in snapshots(conn)} == {None, *clients[1:]}


def test_leads_that_vanish_while_the_run_goes_on(database_url, company, connect, monkeypatch):
    conn, _ = company
    read_leads = worker.readings.read_leads

    def read_and_then_delete(*arguments, **named):
        found = read_leads(*arguments, **named)
        connect(database_url).execute("DELETE FROM lead_memory")
        return found

    monkeypatch.setattr(worker.readings, "read_leads", read_and_then_delete)
    run(database_url, "all", "--as-of", DAY)
    assert len(snapshots(conn)) > 20


def test_nobody_is_there(database_url, connect):
    for _ in range(2):
        summaries = run(database_url, "all", "--as-of", DAY, "--json").json["jobs"]
        assert [(job["status"], job["snapshots"]) for job in summaries] == [("done", 0)] * 7
    conn = connect(database_url)
    add_client(conn, 1)
    summaries = run(database_url, "all", "--as-of", DAY, "--json").json["jobs"]
    assert [(job["status"], job["snapshots"]) for job in summaries] == [("done", 0)] * 7


def test_as_a_member_of_growth_worker_under_row_level_security(database_url, worker_url, company):
    conn, clients = company
    (protected,) = conn.execute(
        "SELECT bool_and(relrowsecurity) FROM pg_class WHERE relname IN ('clients', 'lead_memory', 'lead_actions',"
        " 'growth_brain', 'runs', 'models') AND relkind = 'r'"
    ).fetchone()
    assert protected
    owner = run(database_url, "all", "--as-of", DAY, "--dry-run").out
    assert run(worker_url, "check").code == 0
    assert run(worker_url, "all", "--as-of", DAY, "--dry-run").out == owner
    run(worker_url, "all", "--as-of", DAY)
    assert {row["client_id"] for row in snapshots(conn)} == {None, *clients}
    written = everything(conn)
    run(worker_url, "all", "--as-of", DAY)
    assert everything(conn) == written
    conn.execute("UPDATE lead_memory SET deleted = true WHERE client_id = %s", [clients[2]])
    summary = run(worker_url, "urgency_trend", "--as-of", DAY, "--json").json["jobs"][0]
    assert summary["deleted"] == 1  # it may withdraw, too


def test_two_processes_at_once(database_url, company):
    conn, clients = company
    processes = [start_worker(database_url, "all", "--as-of", DAY, "--json") for _ in range(2)]
    outcomes = [finished(process) for process in processes]
    assert [outcome.code for outcome in outcomes] == [0, 0], outcomes
    inserted = sum(job["inserted"] for outcome in outcomes for job in outcome.json["jobs"])
    assert counts(conn, "growth_brain") == (inserted,)
    keys = [
        (row["client_id"], row["event_type"], *(row["learning_snapshot"][k] for k in ("period_key", "claim_key")))
        for row in snapshots(conn)
    ]
    assert len(set(keys)) == len(keys)
    assert {row["client_id"] for row in snapshots(conn)} == {None, *clients}
    assert set(ledger(conn).values()) == {"done"}


def hold_run(conn, job, seconds):
    conn.execute(
        "INSERT INTO worker.runs (job, period_key, status, token, holder, lease_until, as_of, started_at)"
        " VALUES (%s, %s, 'running', 7, 'elsewhere:1', now() + make_interval(secs => %s), now(), now())",
        [job, DAY, seconds],
    )


def test_a_run_that_another_process_holds(database_url, company):
    conn, _ = company
    hold_run(conn, "urgency_trend", 3600)
    started = time.monotonic()
    held = run_worker(database_url, "urgency_trend", "--as-of", DAY, "--wait", 0, "--json")
    assert (held.code, held.json["jobs"][0]["status"]) == (1, "held")
    assert "elsewhere:1" in held.json["jobs"][0]["error"]
    due = run_worker(database_url, "urgency_trend", "--as-of", DAY, "--if-due", "--json")
    assert (due.code, due.json["jobs"][0]["status"]) == (0, "held")
    assert time.monotonic() - started < 10
    assert snapshots(conn) == []
    run(database_url, "urgency_trend", "--as-of", DAY, "--dry-run")  # needs no lease


@pytest.mark.usefixtures("company")
def test_a_single_run_loads_no_library_that_it_can_do_without(database_url):
    code = (
        "import sys; from worker.run import main; code = main(sys.argv[1:]);"
        " print({'rich', 'scipy', 'numpy.ma', 'sklearn'} & set(sys.modules)); sys.exit(code)"
    )
    done = run_python(database_url, "-c", code, "engagement_score", "--as-of", DAY)
    assert done.code == 0, done.err
    assert done.out.splitlines()[-1] == "set()"


def test_nothing_to_do_is_told_as_the_run_tells_it_without_its_libraries(database_url, company, monkeypatch):
    """A cron line that finds its work done, or in other hands, does not wait for numpy; what it says is the same."""
    conn, _ = company
    words = ("conversion_events", "urgency_trend", "tone_distribution", "--if-due", "--as-of", DAY, "--json")
    run(database_url, "conversion_events", "--as-of", DAY)
    hold_run(conn, "urgency_trend", 3600)
    code = "import sys; from worker.run import main; sys.exit(main(sys.argv[1:]) or 99 * ('numpy' in sys.modules))"
    light = run_python(database_url, "-c", code, *words)
    assert light.code == 0, light.err
    monkeypatch.setattr("worker.request.tell_nothing_to_do", lambda *_: False)
    whole = run_worker(database_url, *words)

    def without_times(jobs):
        return [{key: value for key, value in job.items() if key not in ("seconds", "timestamp")} for job in jobs]

    assert [job["status"] for job in light.json["jobs"]] == ["skipped", "held", "held"]
    assert without_times(light.json["jobs"]) == without_times(whole.json["jobs"])
    logged = [[json.loads(line) for line in outcome.err.splitlines()] for outcome in (light, whole)]
    assert without_times(logged[0]) == without_times(logged[1])
    assert [event["job"] for event in logged[0]] == ["conversion_events", "urgency_trend"]


def test_a_run_whose_holder_died_is_taken_over(database_url, company):
    conn, _ = company
    hold_run(conn, "urgency_trend", -1)
    run(database_url, "urgency_trend", "--as-of", DAY, "--if-due")
    assert ledger(conn) == {"urgency_trend": "done"}
    assert conn.execute("SELECT token FROM worker.runs").fetchone() == (8,)


def test_a_zombie_cannot_commit(database_url, company, connect, monkeypatch):
    """Its lease ran out and another process took the run over: what it computed is not written any more."""
    conn, _ = company
    read_leads = worker.readings.read_leads

    def read_and_be_overtaken(*arguments, **named):
        connect(database_url).execute("UPDATE worker.runs SET token = token + 1, holder = 'elsewhere:1'")
        return read_leads(*arguments, **named)

    monkeypatch.setattr(worker.readings, "read_leads", read_and_be_overtaken)
    outcome = run_worker(database_url, "urgency_trend", "--as-of", DAY)
    assert outcome.code == 1
    assert "took over" in outcome.out
    assert snapshots(conn) == []
    assert conn.execute("SELECT status, holder FROM worker.runs").fetchone() == ("running", "elsewhere:1")


def wait_for_a_blocked_backend(conn, process):
    """Until a statement in this database waits for a lock."""
    deadline = time.monotonic() + 30
    while not conn.execute(
        "SELECT 1 FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"
    ).fetchone():
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < deadline
        time.sleep(0.02)


@pytest.mark.parametrize("table", ["worker.models", "growth_brain"])
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_interrupted(database_url, company, table, number):
    """After it read, and while it writes: it leaves at once, gives the run back, and the next one does the work."""
    conn, clients = company
    with psycopg.connect(database_url) as blocker:
        blocker.execute(f"LOCK TABLE {table} IN SHARE MODE")
        process = start_worker(database_url, "urgency_trend", "--as-of", DAY)
        wait_for_a_blocked_backend(conn, process)
        process.send_signal(number)
        started = time.monotonic()
        outcome = finished(process)
        took = time.monotonic() - started
        assert outcome.code == 128 + number, outcome
        assert took < 5
        assert ledger(conn) == {"urgency_trend": "released"}
        assert "Traceback" not in outcome.err
        blocker.rollback()
    assert snapshots(conn) == []
    run(database_url, "urgency_trend", "--as-of", DAY, "--wait", 0)
    assert {row["client_id"] for row in snapshots(conn)} == {None, *clients}
