"""Shards worked on here, in processes and on a Dask cluster: the same rows to the last bit, and nothing secret sent."""

import contextlib
import json
import os
import pickle
import signal
import socket
import subprocess
import sys
import time
from datetime import timedelta

import psycopg
import pytest
from hardship import AS_OF, DAY, EARLIER, add_world, ensure_no_traceback, left_in, started
from psycopg.conninfo import conninfo_to_dict, make_conninfo
from support import PROJECT, add_client, add_lead, clean_environment, numbered, run_worker

import worker.reading
import worker.readings
import worker.runner
import worker.sample
import worker.shard_tasks
from worker.jobs import load_job

pytestmark = pytest.mark.parametrize("server", ["embedded"], indirect=True)  # nothing here depends on the version
ALL = ("all", "--as-of", DAY, "--json")
HANDED_OUT = ("engagement_score", "urgency_trend", "conversion_prediction", "--as-of", DAY, "--json")
TREND = ("urgency_trend", "--as-of", DAY, "--json")
SECRET = "correct-horse-battery"


def add_clients(conn):
    """Nine clients, English and French by turns, one that is a test, one with a single lead, one without any."""
    add_world(conn, 9, 16)
    for number, columns in ((21, {"is_test": True}), (22, {"language": "fr"}), (23, {})):
        client = add_client(conn, number, **columns)
        for n in range({21: 12, 22: 1, 23: 0}[number]):
            arrival = AS_OF - timedelta(days=4 * n + 1)
            add_lead(conn, client, numbered(number, n), arrival, urgency="High", tone="Formal", source="organic_search")


@pytest.fixture(scope="module")
def template(server):
    """A database in which an earlier day was run, so that there are claims to review and patterns that go on."""
    url = server.create_database(server.template)
    with psycopg.connect(url, autocommit=True) as conn:
        add_clients(conn)
    assert run_worker(url, "all", "--as-of", EARLIER).code == 0
    yield str(conninfo_to_dict(url)["dbname"])
    server.drop_database(url)


@pytest.fixture
def fresh(server, template):
    """A function that gives one copy of that database after the other."""
    made = []

    def copy():
        made.append(server.create_database(template))
        return made[-1]

    yield copy
    for url in made:
        server.drop_database(url)


@pytest.fixture(scope="module")
def expected(server, template):
    """What the usual way leaves: one reading, cut into shards in memory."""
    url = server.create_database(template)
    outcome = run_worker(url, *ALL)
    assert outcome.code == 0, outcome
    found = left_in(url)
    server.drop_database(url)
    assert len(found.snapshots) > 60
    return found


@pytest.fixture
def by_shard(monkeypatch):
    """Let shards read their own leads, as they do where clients are very many."""
    monkeypatch.setattr(worker.readings, "CLIENTS_IN_MEMORY", 0)


@contextlib.contextmanager
def cluster(url, n_workers=2):
    """Run a Dask scheduler and workers as processes of their own; give its address and all of them."""
    pytest.importorskip("distributed", reason="Dask is an extra, and not installed here")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    address = f"tcp://127.0.0.1:{port}"
    quiet = clean_environment(url, PYTHONPATH=str(PROJECT), DASK_LOGGING__DISTRIBUTED="error")
    places = ("--host", "127.0.0.1", "--no-dashboard")
    commands = [["dask_scheduler", "--port", str(port), *places]]
    commands += [["dask_worker", address, "--nthreads", "1", "--no-nanny", *places]] * n_workers
    with contextlib.ExitStack() as stack:
        running = []
        for name, *words in commands:
            code = [sys.executable, "-m", f"distributed.cli.{name}", *words]
            process = stack.enter_context(
                subprocess.Popen(code, env=quiet, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
            )
            stack.callback(process.kill)
            running.append(process)
        yield address, running


@pytest.mark.parametrize("shards", [1, 2, 7])
def test_shards_of_one_reading_change_nothing(fresh, expected, shards):
    url = fresh()
    assert run_worker(url, *ALL, "--shards", shards).code == 0
    left_in(url).ensure_like(expected)


def test_tables_read_piece_by_piece_change_nothing(fresh, expected, monkeypatch):
    monkeypatch.setattr(worker.reading, "PIECE_PAGES", 1)
    url = fresh()
    assert run_worker(url, *ALL).code == 0
    left_in(url).ensure_like(expected)


@pytest.mark.usefixtures("by_shard")
@pytest.mark.parametrize("shards", [1, 2, 7])
def test_shards_that_read_their_own_leads_change_nothing(fresh, expected, shards):
    url = fresh()
    outcome = run_worker(url, *ALL, "--shards", shards)
    assert outcome.code == 0, outcome
    left_in(url).ensure_like(expected)
    again = run_worker(url, *ALL, "--shards", 3).json["jobs"]
    assert {(job["status"], job["inserted"], job["updated"], job["deleted"]) for job in again} == {("done", 0, 0, 0)}


@pytest.mark.usefixtures("by_shard")
@pytest.mark.parametrize("word", ["local", "processes=2"])
def test_shards_whose_leads_are_read_together_change_nothing(fresh, expected, word, monkeypatch):
    monkeypatch.setattr(worker.runner, "CLIENTS_PER_SHARD", 2)
    readings, read = [], worker.shard_tasks.read_leads
    monkeypatch.setattr(worker.shard_tasks, "read_leads", lambda *a, **k: readings.append(a[3]) or read(*a, **k))
    url = fresh()
    outcome = run_worker(url, *ALL, "--executor", word)
    assert outcome.code == 0, outcome
    left_in(url).ensure_like(expected)
    if word == "local":  # where they can be seen
        assert min(map(len, readings)) > 2


def test_processes_change_nothing(fresh, expected):
    url = fresh()
    outcome = run_worker(url, *ALL, "--shards", 4, "--executor", "processes=2")
    assert outcome.code == 0, outcome
    left_in(url).ensure_like(expected)


@pytest.mark.slow
def test_a_dask_cluster_changes_nothing(fresh, expected):
    url = fresh()
    with cluster(url) as (address, _):
        outcome = run_worker(url, *ALL, "--shards", 7, WORKER_EXECUTOR=f"dask={address}")
        assert outcome.code == 0, outcome
    left_in(url).ensure_like(expected)


def test_a_sample_is_the_same_however_the_work_is_split(fresh, monkeypatch):
    """And a client outside of it is judged by it, as one that was not learned from."""
    sampled, found = ("conversion_prediction", "engagement_score", "tone_distribution", "urgency_trend"), []
    for limit in (0, 10**9):
        for name in sampled:
            monkeypatch.setattr(load_job(name), "LEARNS_FROM_SAMPLE", 5)
        monkeypatch.setattr(load_job("conversion_prediction"), "LEARNS_FROM_LEADS", 1)
        monkeypatch.setattr(worker.sample, "FEWEST_CLIENTS", 4)
        monkeypatch.setattr(worker.readings, "CLIENTS_IN_MEMORY", limit)
        url = fresh()
        assert run_worker(url, *ALL, "--shards", 3).code == 0
        found.append(left_in(url))
    found[0].ensure_like(found[1])
    with psycopg.connect(url) as conn:
        rows = conn.execute(
            "SELECT job, (parameters -> 'learned_up_to')::bigint FROM worker.models"
            " WHERE parameters ? 'learned_up_to' ORDER BY job"
        ).fetchall()
    assert [job for job, _ in rows] == list(sampled)
    limits = dict(rows)
    assert limits["conversion_prediction"] < limits["engagement_score"]  # four clients have leads enough


def test_many_clients_need_fewer_past_periods_and_the_same_ones_whatever_else_is_read(fresh, monkeypatch):
    """Alone, beside jobs that read everything, and by shard."""
    monkeypatch.setattr(worker.sample, "LEARN_PAIRS", 15)
    alone = fresh()
    outcome = run_worker(alone, "engagement_score", "--as-of", DAY, "--json")
    assert outcome.code == 0, outcome
    beside = fresh()
    assert run_worker(beside, *ALL).code == 0
    monkeypatch.setattr(worker.readings, "CLIENTS_IN_MEMORY", 0)
    by_shard = fresh()
    assert run_worker(by_shard, *ALL).code == 0
    learned = []
    for url in (alone, beside, by_shard):
        with psycopg.connect(url) as conn:
            learned.append(
                conn.execute(
                    "SELECT m.version, m.parameters -> 'learned_from' FROM worker.models AS m"
                    " WHERE m.job = 'engagement_score' AND m.as_of = %s", (AS_OF,)
                ).fetchall()
            )  # fmt: skip
    assert learned[0] == learned[1] == learned[2]
    ((_, pairs),) = learned[0]
    assert len(pairs) == 2
    assert sum(pairs) >= 15 > pairs[0]


@pytest.mark.usefixtures("by_shard")
def test_some_clients_only_and_a_dry_run(fresh, monkeypatch):
    url = fresh()
    some = ("--client", numbered(9, 2), "--client", numbered(9, 22))
    with psycopg.connect(url, autocommit=True) as conn:
        before = set(left_in(url).snapshots)
        assert run_worker(url, *ALL, *some, "--shards", 5).code == 0
        new = [json.loads(row) for row in set(left_in(url).snapshots) - before]
        assert {row["client_id"] for row in new} == {numbered(9, 2), numbered(9, 22)}
        assert conn.execute("SELECT count(*) FROM worker.runs WHERE period_key = %s", [DAY]).fetchone() == (0,)
    assert "no client has the client_id" in run_worker(url, *TREND, "--client", numbered(9, 77)).err
    dry = fresh()
    before = left_in(dry)
    told = [run_worker(dry, "all", "--as-of", DAY, "--dry-run", "--shards", n).out for n in (1, 4)]
    monkeypatch.undo()
    told.append(run_worker(dry, "all", "--as-of", DAY, "--dry-run").out)
    assert sorted(told[0].splitlines()) == sorted(told[1].splitlines()) == sorted(told[2].splitlines())
    assert len(told[0].splitlines()) > 60
    assert left_in(dry) == before


def refuse(conn, client_id):
    """Let the database refuse a client's rows."""
    conn.execute(
        "CREATE FUNCTION look() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN"
        f" IF NEW.client_id = '{client_id}' THEN RAISE EXCEPTION 'no, %%', NEW; END IF; RETURN NEW; END $$".replace(
            "%%", "%"
        )
    )
    conn.execute("CREATE TRIGGER looks BEFORE INSERT ON growth_brain FOR EACH ROW EXECUTE FUNCTION look()")


def test_a_client_that_the_database_refuses_is_named(fresh):
    url = fresh()
    with psycopg.connect(url, autocommit=True) as conn:
        refuse(conn, numbered(9, 5))
        outcome = run_worker(url, *TREND, "--shards", 2, "--executor", "processes=2")
        assert outcome.code == 1
        (job,) = outcome.json["jobs"]
        assert (job["status"], job["failed_clients"]) == ("failed", [numbered(9, 5)])
        (event,) = [line for line in map(json.loads, outcome.err.splitlines()) if line["event"] == "client.failed"]
        assert event["client_id"] == numbered(9, 5)
        assert "Lead " not in outcome.out + outcome.err
        conn.execute("DROP TRIGGER looks ON growth_brain")
    (job,) = run_worker(url, *TREND, "--if-due").json["jobs"]
    assert (job["status"], job["inserted"], job["updated"]) == ("done", 1, 0)


def test_nothing_secret_travels_in_a_task(fresh, monkeypatch):
    """Another server's address has a password; what an executor is given is pickled here as it would be there."""
    url = make_conninfo(fresh(), password=SECRET)
    sent, run_shard = [], worker.shard_tasks.run_shard

    def pickled(task):
        sent.append(pickle.dumps(task))
        assert "learned" not in repr(task)
        assert numbered(9, 1) not in repr(task)
        return run_shard(pickle.loads(sent[-1]))

    monkeypatch.setattr(worker.readings, "CLIENTS_IN_MEMORY", 0)
    monkeypatch.setattr(worker.shard_tasks, "run_shard", pickled)
    assert run_worker(url, *ALL, "--shards", 2).code == 0
    host = conninfo_to_dict(url)["host"]
    assert len(sent) >= 10
    for secret in (SECRET, "DATABASE_URL", str(host), "password"):
        assert all(secret.encode() not in task for task in sent), secret


def test_a_task_for_another_database_or_version_is_refused(fresh, monkeypatch):
    url, other = fresh(), fresh()
    with psycopg.connect(other, autocommit=True) as conn:
        conn.execute("UPDATE worker.migrations SET applied_at = applied_at - interval '1 day'")
    with cluster(other, n_workers=1) as (address, _):
        outcome = run_worker(url, *TREND, "--executor", f"dask={address}")
        assert outcome.code == 2
        assert "names another database" in outcome.err
        monkeypatch.setattr("worker.shard_tasks.code_version", lambda: "1.0+abc")
        outcome = run_worker(url, *TREND, "--executor", f"dask={address}")
        assert outcome.code == 2
        assert "another version of this program" in outcome.err


@pytest.mark.parametrize(
    ("word", "said"),
    [
        ("proceses", "did you mean processes?"),
        ("processes=0", "from 1 to 1024"),
        ("processes=many", "from 1 to 1024"),
        ("dask", "dask=tcp://scheduler:8786"),
        ("dask=scheduler:8786", "dask=tcp://scheduler:8786"),
        ("local=2", "not one of local, processes"),
    ],
)
def test_a_word_that_names_no_executor(database_url, word, said):
    for given, environment in ((("--executor", word), {}), ((), {"WORKER_EXECUTOR": word})):
        outcome = run_worker(database_url, *TREND, *given, **environment)
        assert outcome.code == 2
        assert said in outcome.err


def test_a_scheduler_that_does_not_answer_and_dask_that_is_not_there(database_url, monkeypatch):
    pytest.importorskip("distributed", reason="Dask is an extra, and not installed here")
    monkeypatch.setattr("worker.dask_executor.CONNECT_SECONDS", 1)
    with psycopg.connect(database_url, autocommit=True) as conn:
        add_world(conn, 2, 6)
        outcome = run_worker(database_url, *TREND, "--executor", "dask=tcp://127.0.0.1:9")
        assert outcome.code == 1
        assert outcome.json["jobs"][0]["error"] == "The Dask scheduler at tcp://127.0.0.1:9 did not answer"
        assert conn.execute("SELECT status FROM worker.runs WHERE shard = -1").fetchone() == ("failed",)
    monkeypatch.setitem(sys.modules, "distributed", None)
    outcome = run_worker(database_url, *TREND, "--executor", "dask=tcp://127.0.0.1:9")
    assert outcome.code == 2
    assert "pip install 'growth-brain-worker[dask]'" in outcome.err


PATIENT = {"WORKER_LOCK_TIMEOUT_SECONDS": "60"}
BARRED = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"


def wait_for(condition, seconds=60):
    """Wait until the condition holds."""
    until = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < until, "it did not come to pass"
        time.sleep(0.05)


@contextlib.contextmanager
def barred(url, n_waiting):
    """Let nobody write snapshots; give the connection, and a function that waits until so many want to."""
    with psycopg.connect(url, autocommit=True) as conn, psycopg.connect(url) as blocker:
        blocker.execute("LOCK TABLE growth_brain IN SHARE ROW EXCLUSIVE MODE")
        yield blocker, lambda: wait_for(lambda: conn.execute(BARRED).fetchone()[0] >= n_waiting)


def children_of(pid):
    """The processes that a process has started and that still run."""
    found = subprocess.run(["ps", "-o", "pid=", "--ppid", str(pid)], capture_output=True, text=True, check=False)
    return [int(line) for line in found.stdout.split()]


def is_running(pid):
    state = subprocess.run(["ps", "-o", "stat=", "-p", str(pid)], capture_output=True, text=True, check=False).stdout
    return bool(state.strip()) and not state.startswith("Z")


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_processes_end_with_the_one_that_started_them(fresh, number):
    """Told to stop it gives its run back; killed it cannot, but leaves nobody behind either."""
    url = fresh()
    command = (*TREND, "--shards", 4, "--executor", "processes=2")
    with (
        psycopg.connect(url, autocommit=True) as conn,
        barred(url, 2) as (blocker, ensure_waiting),
        started(url, *command, WORKER_LOCK_TIMEOUT_SECONDS="60", WORKER_LEASE_SECONDS="3") as worker,
    ):
        ensure_waiting()
        children = children_of(worker.pid)
        assert len(children) >= 2
        worker.signal(number)
        outcome = worker.outcome()
        ensure_no_traceback(outcome.err)
        wait_for(lambda: not any(map(is_running, children)), 20)
        wait_for(lambda: conn.execute(BARRED).fetchone() == (0,), 20)
        blocker.rollback()
        status = conn.execute("SELECT status FROM worker.runs WHERE shard = -1 AND period_key = %s", [DAY]).fetchone()
        assert status == ("released" if number == signal.SIGTERM else "running",)
        if number == signal.SIGTERM:
            assert outcome.code == 128 + number
    (job,) = run_worker(url, *TREND, "--shards", 3).json["jobs"]
    assert (job["status"], job["updated"]) == ("done", 0)


def test_a_process_that_is_killed_takes_only_its_shards_with_it(fresh):
    url = fresh()
    command = (*TREND, "--shards", 4, "--executor", "processes=2")
    with (
        barred(url, 2) as (blocker, ensure_waiting),
        started(url, *command, WORKER_LOCK_TIMEOUT_SECONDS="60") as worker,
    ):
        ensure_waiting()
        os.kill(children_of(worker.pid)[-1], signal.SIGKILL)
        blocker.rollback()
        outcome = worker.outcome()
        assert outcome.code == 1
        ensure_no_traceback(outcome.err)
        (job,) = json.loads(outcome.out)["jobs"]
        assert job["status"] == "failed"
        assert "were lost with the processes that worked on them" in job["error"]
    (job,) = run_worker(url, *TREND).json["jobs"]
    assert (job["status"], job["updated"]) == ("done", 0)


def ensure_nothing_doubled(url):
    """Run it all again, here: what was written stays as it is, and only what is missing is added."""
    outcome = run_worker(url, *ALL)
    assert outcome.code == 0, outcome
    assert all(job["updated"] == job["deleted"] == 0 for job in outcome.json["jobs"])


@pytest.mark.slow
def test_a_dask_worker_that_is_killed_has_its_shards_done_by_another(fresh, expected):
    url = fresh()
    with (
        cluster(url) as (address, (_, first, _)),
        barred(url, 2) as (blocker, ensure_waiting),
        started(url, *HANDED_OUT, "--shards", 5, WORKER_EXECUTOR=f"dask={address}", **PATIENT) as worker,
    ):
        ensure_waiting()
        first.kill()
        blocker.rollback()
        outcome = worker.outcome()
        assert outcome.code == 0, outcome
    ensure_nothing_doubled(url)
    left_in(url).ensure_like(expected)


@pytest.mark.slow
def test_a_dask_scheduler_that_is_killed_leaves_a_run_to_be_done_again(fresh, expected):
    url = fresh()
    with (
        cluster(url) as (address, (scheduler, *_)),
        barred(url, 2) as (blocker, ensure_waiting),
        started(url, *HANDED_OUT, "--shards", 5, WORKER_EXECUTOR=f"dask={address}", **PATIENT) as worker,
    ):
        ensure_waiting()
        scheduler.kill()
        blocker.rollback()
        outcome = worker.outcome(240)
        assert outcome.code == 1, outcome
        ensure_no_traceback(outcome.err)
    ensure_nothing_doubled(url)
    left_in(url).ensure_like(expected)
