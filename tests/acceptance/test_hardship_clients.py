"""Clients that no run survives, and a database that changes meanwhile: the others' rows, whole or not at all."""

import json

import pytest
from daemons import BLOCKED, wait_for_backend
from hardship import AS_OF, DAY, add_world, started
from support import add_client, add_lead, numbered, run_worker

from worker.jobs import urgency_trend

pytestmark = pytest.mark.parametrize("server", ["embedded"], indirect=True)  # nothing here depends on the version
QUOTED = "no number: Lead 1 of 17"
POISONED = (17, 500, 993)


def poisoned_ids():
    return [numbered(9, number) for number in POISONED]


def trend_clients(conn):
    """The clients with an urgency_trend, the row of all clients together left out."""
    rows = conn.execute(
        "SELECT client_id::text FROM growth_brain WHERE event_type = 'urgency_trend' AND client_id IS NOT NULL"
    )
    return {row[0] for row in rows}


def on_insert(conn, body):
    """Let a trigger look at every row of growth_brain before it is inserted."""
    conn.execute("DROP TRIGGER IF EXISTS looks ON growth_brain")
    conn.execute(
        f"CREATE OR REPLACE FUNCTION look() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN {body}; RETURN NEW; END $$"
    )
    conn.execute("CREATE TRIGGER looks BEFORE INSERT ON growth_brain FOR EACH ROW EXECUTE FUNCTION look()")


def ledger(conn):
    return conn.execute("SELECT status, error FROM worker.runs WHERE job = 'urgency_trend' AND shard = -1").fetchone()


@pytest.fixture
def thousand(database_url, connect):
    conn = connect(database_url)
    add_world(conn, 1000, 4)
    return conn


def ensure_997_are_written(conn, outcome):
    assert outcome.code == 1
    (job,) = outcome.json["jobs"]
    assert (job["status"], job["clients"]) == ("failed", 997)
    assert sorted(job["failed_clients"]) == poisoned_ids()
    assert trend_clients(conn) == {numbered(9, number) for number in range(1, 1001)} - set(poisoned_ids())
    events = [json.loads(line) for line in outcome.err.splitlines()]
    assert sorted(event["client_id"] for event in events if event["event"] == "client.failed") == poisoned_ids()
    assert ledger(conn)[0] == "failed"
    for word in ("Client 17", "client-17@", "Lead 1 of 17"):
        assert word not in outcome.out + outcome.err


def test_three_clients_of_a_thousand_that_no_arithmetic_survives(database_url, thousand, monkeypatch):
    analyse = urgency_trend.analyse

    def fail_for_some(leads, model, as_of, rng):
        if set(poisoned_ids()) & set(leads.clients.ids):
            raise FloatingPointError(QUOTED)
        return analyse(leads, model, as_of, rng)

    monkeypatch.setattr(urgency_trend, "analyse", fail_for_some)
    ensure_997_are_written(thousand, run_worker(database_url, "urgency_trend", "--as-of", DAY, "--json"))
    monkeypatch.undo()
    again = run_worker(database_url, "urgency_trend", "--as-of", DAY, "--json", "--if-due")
    assert again.code == 0, again
    assert again.json["jobs"][0]["inserted"] == 3
    assert set(poisoned_ids()) <= trend_clients(thousand)


def test_three_clients_of_a_thousand_that_the_database_refuses(database_url, thousand):
    ids = ", ".join(f"'{client_id}'" for client_id in poisoned_ids())
    on_insert(thousand, f"IF NEW.client_id IN ({ids}) THEN RAISE EXCEPTION 'no, %', NEW; END IF")
    ensure_997_are_written(thousand, run_worker(database_url, "urgency_trend", "--as-of", DAY, "--json"))


@pytest.fixture
def dozen(database_url, connect):
    """Twelve clients in a few shards."""
    conn = connect(database_url)
    add_world(conn, 12, 16)
    return conn


@pytest.fixture
def held(database_url, dozen, connect):
    """A run of a job in three shards that has read its leads and waits; the function that lets it go on and end."""
    blocker = connect(database_url)
    blocker.execute("BEGIN")
    blocker.execute("LOCK TABLE worker.models IN SHARE MODE")  # what is learned is kept after reading, before writing
    command = ("urgency_trend", "--shards", 3, "--as-of", DAY, "--json")
    with started(
        database_url, *command, WORKER_STATEMENT_TIMEOUT_SECONDS="2", WORKER_LOCK_TIMEOUT_SECONDS="30"
    ) as worker:
        wait_for_backend(dozen, BLOCKED)

        def go_on():
            blocker.execute("COMMIT")
            return worker.outcome()

        yield go_on
    blocker.close()


def everybody():
    return {numbered(9, number) for number in range(1, 13)}


def test_a_client_deleted_meanwhile(dozen, held):
    dozen.execute("DELETE FROM clients WHERE client_id = %s", [numbered(9, 5)])
    outcome = held()
    assert outcome.code == 0, outcome
    assert trend_clients(dozen) == everybody() - {numbered(9, 5)}
    assert ledger(dozen) == ("done", None)


def test_a_lead_retagged_and_leads_that_arrive_meanwhile(dozen, held, database_url):
    """The run speaks of what it read; the next one of what is there now."""
    dozen.execute(
        "UPDATE lead_memory SET current_tag = 'Converted', urgency = 'High' WHERE client_id = %s", [numbered(9, 5)]
    )
    client = add_client(dozen, 77)
    for number in range(10):
        add_lead(dozen, client, numbered(70, number), AS_OF.replace(day=20), urgency="High")
    outcome = held()
    assert outcome.code == 0, outcome
    assert trend_clients(dozen) == everybody()
    again = run_worker(database_url, "urgency_trend", "--as-of", DAY, "--json").json["jobs"][0]
    assert again["inserted"] == 1
    assert again["updated"] >= 1
    assert trend_clients(dozen) == {*everybody(), client}


def test_a_column_that_is_dropped_meanwhile(dozen, held, database_url):
    dozen.execute("DROP VIEW growth_brain_latest")
    dozen.execute("ALTER TABLE growth_brain DROP COLUMN insight_text")
    outcome = held()
    assert outcome.code == 3, outcome
    assert "run check" in outcome.err
    assert trend_clients(dozen) == set()
    status, error = ledger(dozen)
    assert status == "failed"
    assert "changed during the run" in error
    assert run_worker(database_url, "check").code == 3


def test_a_column_of_the_leads_that_is_dropped_meanwhile(dozen, held, database_url):
    """What was read before is written; the next run says what is missing."""
    dozen.execute("ALTER TABLE lead_memory DROP COLUMN urgency")
    outcome = held()
    assert outcome.code == 0, outcome
    assert trend_clients(dozen) == everybody()
    assert run_worker(database_url, "urgency_trend", "--as-of", DAY).code in (0, 3)


def ensure_whole_shards(conn, outcome):
    """The run failed, says as what, and of each shard either all is there or nothing."""
    assert outcome.code == 1, outcome
    (job,) = json.loads(outcome.out)["jobs"]
    assert job["status"] == "failed"
    shards = conn.execute(
        "SELECT xmin::text, array_agg(client_id::text) FROM growth_brain WHERE client_id IS NOT NULL GROUP BY xmin"
    ).fetchall()
    assert job["inserted"] == sum(len(members) for _, members in shards)
    assert job["failed_clients"] == []  # it was no client's fault
    assert job["clients"] == len(trend_clients(conn))
    return job["error"], len(shards)


def test_a_disk_that_is_full(dozen, held, database_url):
    """The first shard still finds room, the second is refused half-way."""
    dozen.execute("CREATE SEQUENCE room")
    dozen.execute("GRANT USAGE ON SEQUENCE room TO PUBLIC")
    on_insert(
        dozen, "IF nextval('room') > 6 THEN RAISE EXCEPTION 'could not extend file' USING ERRCODE = '53100'; END IF"
    )
    error, n_shards = ensure_whole_shards(dozen, held())
    assert "53100" in error
    assert n_shards == 1
    assert ledger(dozen)[0] == "failed"
    dozen.execute("DROP TRIGGER looks ON growth_brain")
    again = run_worker(database_url, "urgency_trend", "--as-of", DAY, "--if-due")
    assert again.code == 0, again
    assert trend_clients(dozen) == everybody()


def test_a_statement_that_takes_too_long(dozen, held):
    on_insert(dozen, f"IF NEW.client_id = '{numbered(9, 5)}' THEN PERFORM pg_sleep(60); END IF")
    error, n_shards = ensure_whole_shards(dozen, held())
    assert "57014" in error
    assert n_shards < 3
    assert numbered(9, 5) not in trend_clients(dozen)
