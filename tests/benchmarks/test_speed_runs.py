"""The benchmarks of the whole worker run, on a database that says nothing about speed, and what they check can fail."""

import os
import shutil
import tempfile
from importlib import import_module
from pathlib import Path

import peers
import psycopg
import pytest
from click.testing import CliRunner
from databases import SIZES, Size, load, opened, own_server
from floor import measure_floor, written
from processor import spent
from speed import ANALYSES, JOB_NAMES, Bench
from state import clear, digest, ensure_ours, keep, restore, rows_written
from zipf_leads import AS_OF

LEADS = "SELECT (l.*)::text FROM lead_memory AS l"
ACTIONS = 'SELECT a.lead_id, a.action_type, a.tag, a."timestamp" FROM lead_actions AS a'
RECENT = f"""SELECT count(*) FROM lead_memory WHERE "timestamp" >= '{AS_OF}'::timestamptz - interval '60 days'"""
ORDER = "SELECT correlation FROM pg_stats WHERE tablename = %s AND attname = 'timestamp'"  # on disk; 1: by time
INDEXES = "SELECT indexdef FROM pg_indexes WHERE tablename = %s ORDER BY 1"
RULES = """
SELECT pg_get_constraintdef(oid) FROM pg_constraint WHERE conrelid = %s::regclass AND contype <> 'n' ORDER BY 1
"""


@pytest.fixture(scope="module")
def directory():
    """A folder with a server that runs while these tests do, so that none has to wait for its start."""
    # not pytest's tmp_path: as root the server runs as another user, who may not enter there
    folder = Path(tempfile.mkdtemp(prefix="growth-brain-benchmarks-", dir="/var/tmp" if os.name == "posix" else None))
    folder.chmod(0o755)
    try:
        with own_server(folder / "server"):
            yield folder / "server"
    finally:
        shutil.rmtree(folder)


@pytest.fixture
def bench(directory):
    with opened(("XS",), directory) as urls, psycopg.connect(urls["XS"], autocommit=True) as conn:
        clear(conn)
        yield Bench("XS", urls["XS"], conn)


def run(name, *arguments, code=0):
    found = CliRunner().invoke(import_module(name).main, [str(word) for word in arguments], catch_exceptions=False)
    assert found.exit_code == code, found.output
    return found


def rows(url, statement, *values):
    with psycopg.connect(url) as conn:
        return conn.execute(statement, values).fetchall()


def test_a_database_is_loaded_once(directory):
    assert "XS4: loaded in" in run("databases", "--size", "XS4", "--dir", directory).stderr
    again = run("databases", "--size", "XS4", "--dir", directory)
    assert "loaded" not in again.stderr
    assert "20 clients, 4,000 leads, " in again.stdout


def test_the_longer_history_ends_with_the_shorter_one_row_for_row(directory):
    with opened(("XS", "XS4"), directory) as urls:
        for statement in (LEADS, ACTIONS):
            short, long = rows(urls["XS"], statement), set(rows(urls["XS4"], statement))
            assert short
            assert len(long) > 3 * len(set(short))
            assert set(short) <= long
        assert rows(urls["XS"], RECENT) == rows(urls["XS4"], RECENT)


def test_leads_lie_in_order_of_time_with_all_keys_and_indexes(bench, database_url):
    for table in ("lead_memory", "lead_actions"):
        assert bench.conn.execute(ORDER, [table]).fetchone()[0] > 0.99
        for statement in (INDEXES, RULES):
            assert rows(bench.url, statement, table) == rows(database_url, statement, table) != []


def test_the_largest_size_has_leads_alone(database_url):
    assert not SIZES["L"].actions
    load(database_url, Size("L", 5, 100, blocks=2, days_a_block=10, actions=False))
    assert rows(database_url, "SELECT count(*) FROM lead_memory") == [(200,)]
    assert rows(database_url, "SELECT count(*) FROM lead_actions") == [(0,)]
    ((span,),) = rows(database_url, """SELECT max("timestamp") - min("timestamp") FROM lead_memory""")
    assert 15 <= span.days < 20


def test_a_database_with_somebody_elses_rows_is_left_alone(database_url):
    with psycopg.connect(database_url, autocommit=True) as conn:
        conn.execute("INSERT INTO clients (business_name, email, api_key, password_hash) VALUES ('A', 'a', 'a', '!')")
        conn.execute("INSERT INTO growth_brain (event_type) VALUES ('conversion')")
        found = run("speed", "--size", "XS", "--database", database_url, code=1)
        assert "not a benchmark's" in found.output
        with pytest.raises(RuntimeError, match="nothing in it is touched"):
            ensure_ours(conn)
        for change in (clear, keep, restore):
            with pytest.raises(RuntimeError, match="nothing in it is touched"):
                change(conn)
        assert conn.execute("SELECT count(*) FROM growth_brain").fetchone() == (1,)


def test_an_empty_database_is_loaded_and_measured_in_place(database_url):
    scenes = ("--what", "analyses", "--what", "shards")
    said = run("speed", "--size", "XS", "--rounds", 1, "--database", database_url, *scenes).stdout
    assert "XS analyses: " in said
    assert "XS shards: " in said
    assert rows(database_url, "SELECT count(*) FROM lead_memory") == [(SIZES["XS"].n_leads,)]


@pytest.mark.parametrize(
    "scene", ["one-off", *(pytest.param(name, marks=pytest.mark.slow) for name in ("all", "history", "prediction"))]
)
def test_a_scene_is_told_beside_its_bar(scene, directory):
    said = run("speed", "--size", "XS", "--rounds", 1, "--dir", directory, "--what", scene).stdout
    assert f"XS {scene}: " in said
    assert "[bar " in said


def test_nothing_new_writes_nothing(directory):
    said = run("speed", "--size", "XS", "--rounds", 1, "--dir", directory, "--what", "rerun").stdout
    assert "XS rerun: 0 rows written" in said
    assert "the server counts 0 inserted, 0 updated, 0 deleted in 1 runs" in said


def test_executors_are_compared_where_there_are_any(directory):
    assert (
        "XS executors: "
        in run("speed", "--size", "XS", "--rounds", 1, "--dir", directory, "--what", "executors").stdout
    )


def test_time_a_client_is_compared_with_fewer_clients(directory):
    assert " x the time a client of XS" in run(
        "speed", "--size", "XS4", "--rounds", 1, "--dir", directory, "--what", "clients"
    ).stdout  # fmt: skip


def test_a_scene_without_a_second_database_is_refused():
    found = CliRunner().invoke(import_module("speed").main, ["--size", "L", "--what", "history"])
    assert found.exit_code == 2
    assert "is for --size S or XS" in found.output


def test_what_a_run_writes_is_counted_copied_and_taken_back(bench):
    before = rows_written(bench.conn)
    found = bench.run(ANALYSES)
    inserted, *others = (now - then for now, then in zip(rows_written(bench.conn), before, strict=True))
    assert inserted == found["inserted"] > 40
    assert others == [0, 0]
    floor = measure_floor(bench.conn, AS_OF, written(bench.conn))
    assert floor.rows == found["inserted"]
    assert min(floor.scan, floor.window, floor.copy) > 0
    expected = digest(bench.conn)
    bench.run(ANALYSES, shards=3)
    assert digest(bench.conn) == expected
    restore(bench.conn)
    assert digest(bench.conn) == (0, None)
    assert written(bench.conn) == b""
    assert bench.conn.execute("SELECT count(*) FROM growth_brain").fetchone() == (0,)


@pytest.mark.skipif(not Path("/proc/self/schedstat").exists(), reason="no /proc that tells CPU seconds")
def test_the_servers_own_seconds_are_told(bench):
    def ask(statement):
        return spent(bench.conn, lambda: bench.conn.execute(statement).fetchone())[1]

    idle, busy = (
        ask("SELECT pg_sleep(0.3)"),
        ask("SELECT count(*) FROM generate_series(1, 3000000) AS n WHERE n % 7 = 1"),
    )
    assert 0 <= idle < busy
    assert busy > 0.1
    _, of_another_session = spent(bench.conn, lambda: bench.again(ANALYSES[:1]))
    assert of_another_session > 0.01  # which has ended by now


def test_a_day_like_others_begins_with_what_the_days_before_left(bench):
    bench.again(JOB_NAMES[:2])
    keep(bench.conn)
    kept = bench.conn.execute("SELECT count(*), count(DISTINCT created_at) FROM growth_brain").fetchone()
    bench.conn.execute("DELETE FROM growth_brain")
    bench.conn.execute("UPDATE worker.runs SET status = 'failed'")
    restore(bench.conn)
    assert bench.conn.execute("SELECT count(*), count(DISTINCT created_at) FROM growth_brain").fetchone() == kept
    assert bench.conn.execute("SELECT DISTINCT status FROM worker.runs").fetchall() == [("done",)]


def test_peers_and_worker_hold_the_same_numbers(directory):
    said = run("peers", "--size", "XS", "--rounds", 1, "--dir", directory).stdout
    assert "the same from all peers" in said
    for name in ("loops", "sql"):
        assert f" x as fast as {name}" in said


def test_a_peer_that_counts_otherwise_is_found_out(bench):
    """Of a lead that was taken away after the worker looked."""
    bench.run(ANALYSES)
    for name in ("loops", "sql"):
        peers.measure_peer(bench, peers.PEERS[name])
        counts = peers.counts_of(bench.conn)
        assert peers.ensure_worker_agrees(bench.conn, counts) > 30
    key = next(key for key in counts if key[1] == "tone_distribution")
    content, text = counts[key]
    wrong = {**counts, key: ({**content, "counts": {**content["counts"], "Direct": 10**6}}, text)}
    with pytest.raises(AssertionError, match="1000000"):
        peers.ensure_worker_agrees(bench.conn, wrong)
    with pytest.raises(AssertionError, match="1 rows"):
        peers.ensure_same({"loops": counts, "sql": wrong})
    with pytest.raises(AssertionError, match="of the peers alone"):
        peers.ensure_worker_agrees(bench.conn, {other: counts[other] for other in counts if other != key})
