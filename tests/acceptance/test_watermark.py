"""Only what changed since the last run is looked at, and what is written is what a look at everything would write."""

from datetime import timedelta

import numpy as np
import psycopg
import pytest
from psycopg.types.json import Jsonb
from support import add_action, add_client, add_lead, insert, numbered, run_worker, snapshots, utc

from worker.database.queries import query
from worker.jobs import conversion_events

NOON = utc("03-10 12:00")
TAGS = ("Converted", "Converti", "Active", "High Priority", "Non Qualifié", None)
OUTCOMES = ("client_closed", "meeting_booked", "no_sale", None)
REVERT = {"tag": "Active", "conversion_outcome": False, "reversion_reason": "Placed in converted by accident"}


def run(url, as_of, *arguments, **environment):
    outcome = run_worker(url, "conversion_events", "--as-of", as_of.isoformat(), "--json", *arguments, **environment)
    assert outcome.code == 0, outcome.err
    (job,) = outcome.json["jobs"]
    return job, '"leads.read"' in outcome.err


def at(minutes):
    return NOON + timedelta(minutes=minutes)


def convert(conn, client, lead, when, **columns):
    add_action(conn, client, lead, "tag", when, tag="Converted", conversion_outcome=True, **columns)


def events(conn):
    found = [(row["event_type"], row["learning_snapshot"]["lead_id"], row["created_at"]) for row in snapshots(conn)]
    return [event for event in found if event[0] in ("conversion", "reversion")]


@pytest.fixture
def company(database_url, connect):
    """Two clients with three leads each, and a first run over everything."""
    conn = connect(database_url)
    clients = [add_client(conn, number) for number in (1, 2)]
    leads = [add_lead(conn, clients[i % 2], numbered(1, i), utc("02-01 10:00")) for i in range(6)]
    convert(conn, clients[0], leads[0], utc("03-01 10:00"))
    assert run(database_url, NOON)[1]
    assert len(events(conn)) == 1
    return conn, database_url, clients, leads


def test_what_changed_is_read_and_nothing_else(company):
    conn, url, clients, leads = company
    job, everything = run(url, at(5))
    assert (job["clients"], job["snapshots"], everything) == (0, 0, False)
    convert(conn, clients[1], leads[1], at(7))
    job, everything = run(url, at(10))
    assert (job["clients"], job["inserted"], everything) == (1, 1, False)
    assert events(conn)[-1] == ("conversion", leads[1], at(7))
    job, _ = run(url, at(15))
    assert (job["clients"], job["snapshots"]) == (0, 0)


def test_a_back_dated_action_is_found_by_the_next_run(company):
    conn, url, clients, leads = company
    convert(conn, clients[0], leads[2], utc("02-05 10:00"))
    assert run(url, at(5))[0]["inserted"] == 1
    assert ("conversion", leads[2], utc("02-05 10:00")) in events(conn)


def test_an_action_committed_late_is_found(company):
    """Its transaction had its number before the last run, and came to an end after it."""
    conn, url, clients, leads = company
    with psycopg.connect(url) as late:
        add_action(late, clients[0], leads[2], "tag", at(1), tag="Converted", conversion_outcome=True)
        assert run(url, at(5))[0]["snapshots"] == 0
        convert(conn, clients[1], leads[1], at(6))
        assert run(url, at(10))[0]["inserted"] == 1
        late.commit()
    assert run(url, at(15))[0]["inserted"] == 1
    assert len(events(conn)) == 3


def test_a_row_dated_ahead_counts_when_its_time_has_come(company):
    conn, url, clients, leads = company
    convert(conn, clients[0], leads[2], at(20))
    for minutes, inserted in ((5, 0), (10, 0), (20, 0), (21, 1), (25, 0)):
        job, everything = run(url, at(minutes))
        assert (job["inserted"], everything) == (inserted, False)


def test_the_applications_row_alone_is_a_change(company):
    conn, url, _, leads = company
    insert(conn, "growth_brain", client_id=None, event_type="conversion", created_at=utc("03-01 11:00"),
           learning_snapshot={"lead_id": leads[0]})  # fmt: skip
    job, everything = run(url, at(5))
    assert (job["deleted"], job["passed_over"]["already_on_record"], everything) == (1, 1, False)


@pytest.mark.parametrize(
    "change",
    [
        "DELETE FROM worker.watermarks",
        "DELETE FROM worker.models",
        "TRUNCATE growth_brain",
        "ALTER TABLE lead_memory DROP COLUMN tone",
        "UPDATE worker.watermarks SET horizon = horizon + 1000000",  # another server's numbers
    ],
)
def test_what_cannot_be_told_from_rows_makes_everything_be_read(company, change):
    conn, url, clients, leads = company
    conn.execute(change)
    convert(conn, clients[0], leads[2], at(1))  # without a change nothing would need the model
    job, everything = run(url, at(5))
    assert everything
    assert job["snapshots"] == 2
    assert len(events(conn)) == 2
    assert run(url, at(10))[1] is False


@pytest.mark.parametrize("as_of", [NOON, at(-5), utc("03-11 00:00")])
def test_another_day_and_an_earlier_instant_read_everything(company, as_of):
    _, url, _, _ = company
    assert run(url, as_of)[1]


def test_the_settings_that_show_in_a_snapshot_count(company):
    _, url, _, _ = company
    assert run(url, at(5), WORKER_TIMEZONE="America/Toronto")[1]
    assert run(url, at(10), WORKER_TIMEZONE="America/Toronto", WORKER_STORE_LEAD_NAMES="false")[1]
    assert not run(url, at(15), WORKER_TIMEZONE="America/Toronto", WORKER_STORE_LEAD_NAMES="false")[1]


def test_runs_for_some_clients_and_dry_ones_leave_no_mark(company):
    conn, url, clients, leads = company
    before = conn.execute("SELECT * FROM worker.watermarks").fetchall()
    convert(conn, clients[0], leads[2], at(1))
    assert run(url, at(5), "--client", clients[1])[1]
    assert run_worker(url, "conversion_events", "--as-of", at(6).isoformat(), "--dry-run").code == 0
    assert conn.execute("SELECT * FROM worker.watermarks").fetchall() == before
    job, everything = run(url, at(10))
    assert (job["inserted"], everything) == (1, False)


def test_a_client_that_failed_is_looked_at_again(company, monkeypatch):
    conn, url, clients, leads = company
    for client, lead in zip(clients, leads[1:3][::-1], strict=True):
        convert(conn, client, lead, at(1))
    analyse = conversion_events.analyse

    def failing(part, *arguments):
        if clients[1] in part.clients.ids:
            raise ZeroDivisionError
        return analyse(part, *arguments)

    with monkeypatch.context() as patched:
        patched.setattr(conversion_events, "analyse", failing)
        outcome = run_worker(url, "conversion_events", "--as-of", at(5).isoformat(), "--json")
    assert outcome.code == 1
    assert outcome.json["jobs"][0]["failed_clients"] == [clients[1]]
    job, everything = run(url, at(10))
    assert (job["clients"], job["inserted"], everything) == (1, 1, False)
    assert run(url, at(15))[0]["clients"] == 0


def test_a_role_that_may_not_see_who_wrote_reads_everything(company, worker_url):
    conn, _, clients, leads = company
    assert run(worker_url, at(4))[1]  # it sees other columns than the role before
    assert not run(worker_url, at(5))[1]  # columns granted one by one, xmin among them
    conn.execute("REVOKE SELECT (xmin) ON lead_actions FROM growth_worker")
    convert(conn, clients[0], leads[2], at(1))
    job, everything = run(worker_url, at(10))
    assert (job["inserted"], everything) == (1, True)
    assert conn.execute("SELECT count(*) FROM worker.watermarks").fetchone() == (0,)


LEAD_OF_EVENT = ", 'conversion' AS event_type, jsonb_build_object('lead_id', x.number) AS learning_snapshot"


@pytest.mark.parametrize(
    ("table", "column", "others"),
    [
        ("lead_memory", "client_id", ""),
        ("lead_actions", "lead_id", ""),
        ("clients", "client_id", ""),
        ("growth_brain", "lead_id", LEAD_OF_EVENT),
    ],
)
def test_rows_of_very_long_ago_are_not_taken_for_new_ones(database_url, connect, table, column, others):
    """
    Numbers of transactions go round at 2^32, and age() tells the past from what is to come only up to half of that.

    Views stand for tables whose rows were written that long ago: of a view xmin is a column like any other.
    """
    conn = connect(database_url)
    now = conn.execute("SELECT txid_current()").fetchone()[0]
    numbers = {"new": now - 5, "old": now - 1000, "very old": (now - 2**31 - 1000) % 2**32}
    conn.execute("CREATE SCHEMA stand_in")
    values = ", ".join(f"('{name}', '{number}'::xid)" for name, number in numbers.items())
    conn.execute(
        f"CREATE VIEW stand_in.{table} AS SELECT x.number AS {column}, x.xmin{others} FROM (VALUES {values})"
        " AS x (number, xmin)"
    )
    conn.execute("SET search_path = stand_in")
    names = {"lead_memory": "leads", "lead_actions": "actions", "clients": "clients", "growth_brain": "events"}
    parameters = {"horizon": str(now - 100), "most": 10}
    assert conn.execute(query(f"read_changed_{names[table]}"), parameters).fetchall() == [("new",)]


class _History:
    """Random changes to a company, the same in every database they are made in."""

    def __init__(self, seed, *, orderly):
        self.rng, self.orderly, self.now, self.n = np.random.default_rng(seed), orderly, utc("03-03 08:00"), 0
        self.leads: dict[str, int] = {}  # id -> client

    def choice(self, values):
        return values[int(self.rng.integers(len(values)))]

    def until(self, end, n):
        """Give n changes with instants up to end, as functions of (conn, clients)."""
        whens = np.sort(self.rng.uniform(0, (end - self.now).total_seconds(), n))
        changes = [self._change(self.now + timedelta(seconds=float(seconds))) for seconds in whens]
        self.now = end
        return [change for change in changes if change is not None]

    def _change(self, when):
        kinds = ["lead", "tag", "tag", "tag", "outcome", "note", "contact"]
        if not self.orderly:
            kinds += ["double", "column", "theirs", "soft_delete", "move", "undated"]
        kind = "lead" if len(self.leads) < 4 else self.choice(kinds)
        self.n += 1
        if kind == "lead":
            lead, client = numbered(5, self.n), int(self.rng.integers(3))
            self.leads[lead] = client
            return lambda conn, clients: add_lead(conn, clients[client], lead, when, urgency="High")
        lead = self.choice(sorted(self.leads))
        # late to the record, or dated ahead of the clock
        if not self.orderly and self.rng.random() < 0.4:
            when += timedelta(hours=self.choice((-500, -30, -3, 1, 30)))
        tag, outcome, silent = self.choice(TAGS), self.choice(OUTCOMES), not self.orderly and self.rng.random() < 0.3
        columns = {"id": numbered(6, self.n), "tag": tag, "conversion_outcome": True if tag in TAGS[:2] else None}
        if tag == "Active" and self.rng.random() < 0.7:
            columns |= REVERT

        def change(conn, clients):
            who = clients[self.leads[lead]]

            def set_columns(**values):
                for name, value in values.items():
                    conn.execute(f"UPDATE lead_memory SET {name} = %s WHERE id = %s", [value, lead])

            if kind in ("tag", "double", "undated"):
                if kind != "undated":
                    add_action(conn, who, lead, "tag", when, **columns)
                if kind == "double":
                    add_action(conn, who, lead, "tag", when, **columns | {"id": numbered(7, int(columns["id"][-12:]))})
                if not silent:
                    set_columns(current_tag=columns["tag"])
            elif kind == "outcome":
                add_action(conn, who, lead, "outcome_update", when, id=columns["id"], tag=outcome)
                if not silent:
                    set_columns(outcome_status=outcome, last_updated=when)
                    if outcome == "client_closed":
                        set_columns(client_closed_at=when)
            elif kind == "note":
                add_action(conn, who, lead, "note_added", when, id=columns["id"])
            elif kind == "contact":
                add_action(conn, who, lead, "insert", when, id=columns["id"])
                set_columns(timestamp=when)
            elif kind == "column":
                set_columns(outcome_status="client_closed", client_closed_at=when)
            elif kind == "theirs":
                insert(conn, "growth_brain", client_id=None, event_type=("conversion", "reversion")[len(lead) % 2],
                       created_at=when, learning_snapshot={"lead_id": lead})  # fmt: skip
            elif kind == "soft_delete":
                set_columns(deleted=bool(len(columns["tag"] or "") % 2))
            else:
                conn.execute("UPDATE lead_memory SET client_id = %s WHERE id = %s", [clients[0], lead])

        return change


def rows(conn, *, confidence):
    """Give what is written, with or without what rests on all clients' experience."""
    found = []
    for row in snapshots(conn):
        content = row["learning_snapshot"]
        if "period_key" in content and not confidence:
            content = {**content, "claim": None, "check": None, "model_version": None}
        told = (row["insight_text"], row["confidence"]) if confidence else ()
        found.append((row["client_id"], row["event_type"], row["created_at"], content, *told))
    return found


STEPS = [utc("03-03 12:00") + timedelta(hours=h) for h in (0, 2, 5, 11, 24, 25, 30, 36, 200, 201, 206)]


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("orderly", [True, False])
def test_going_on_from_the_last_run_writes_what_a_look_at_everything_writes(server, connect, seed, orderly):
    """
    Orderly: all that happens is on record at once, and one run at the end says the same too, to the last bit.

    Otherwise with back-dated, doubled, silent, undated, ahead of the clock, deleted and moved leads and the
    application's own rows: each event must be the same; the confidence may rest on another look at the past weeks.
    """
    urls = [server.create_database(server.template) for _ in range(3)]
    try:
        going_on, whole, once = conns = [connect(url) for url in urls]
        clients, _, _ = ([add_client(conn, number) for number in range(3)] for conn in conns)
        history, shortcuts = _History(seed, orderly=orderly), 0
        for as_of in STEPS:
            changes = history.until(as_of, 6)
            for conn in conns:
                for change in changes:
                    change(conn, clients)
            shortcuts += not run(urls[0], as_of)[1]
            whole.execute("DELETE FROM worker.watermarks")
            assert run(urls[1], as_of)[1]
            assert rows(going_on, confidence=orderly) == rows(whole, confidence=orderly)
        assert shortcuts == len(STEPS) - len({step.date() for step in STEPS}) == 6
        assert len(rows(whole, confidence=orderly)) > 5
        if orderly:
            run(urls[2], STEPS[-1], "--shards", "2")
            at_once, step_by_step = rows(once, confidence=True), rows(whole, confidence=True)
            for row in (*at_once, *step_by_step):
                del row[3]["model_version"]
            for one, other in zip(at_once, step_by_step, strict=True):
                assert {**dict(enumerate(one)), **one[3]} == {**dict(enumerate(other)), **other[3]}
    finally:
        for conn in conns:
            conn.close()
        for url in urls:
            server.drop_database(url)


def test_what_was_deleted_is_found_by_the_next_days_first_run(company):
    """A deleted row leaves nothing behind: what it said is taken back when everything is read."""
    conn, url, _, leads = company
    conn.execute(
        "INSERT INTO growth_brain (event_type, created_at, learning_snapshot) VALUES ('conversion', %s, %s)",
        [utc("03-01 10:30"), Jsonb({"lead_id": leads[0]})],
    )
    assert run(url, at(5))[0]["deleted"] == 1
    conn.execute("DELETE FROM growth_brain WHERE learning_snapshot ->> 'period_key' IS NULL")
    assert run(url, at(10))[0]["inserted"] == 0
    assert run(url, utc("03-11 00:10"))[0]["inserted"] == 1
