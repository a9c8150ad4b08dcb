"""The command `report` on a real database: what it writes, for whom, and that it only reads."""

import re
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import psycopg
import pytest
from conftest import direct, settings_for
from support import run_worker
from test_accuracy import rows_of_all_tables

import worker.report.extra
from worker.daemon import Shift, tick
from worker.database.pool import Database, open_pool
from worker.demo_data import load_world
from worker.endpoint import Pulse
from worker.errand import do_errand
from worker.metrics import Metrics
from worker.readiness import read_statuses
from worker.simulate import company_world
from worker.timetable import timetable

DAY = "2025-03-30"
AS_OF = datetime(2025, 3, 31, tzinfo=UTC)
LATER = datetime(2025, 3, 31, 12, tzinfo=UTC)
STRANGER = "550e8400-e29b-41d4-a716-446655440000"
ATTACK = '"><img src=x onerror=alert(1)>'


@pytest.fixture(scope="module")
def filled(shared_url):
    """Six companies with their snapshots of two windows: the address, and the ids of two, the first in French."""
    world = company_world(np.random.default_rng(5), AS_OF, 6, 120, special_clients=False)
    ids = sorted(row.client_id for row in world.clients)
    with psycopg.connect(direct(shared_url), autocommit=True) as conn:
        load_world(conn, world)
        conn.execute("UPDATE clients SET language = CASE WHEN client_id = %s THEN 'fr' ELSE 'en' END", (ids[0],))
    for day in ("2025-02-28", DAY):
        assert run_worker(shared_url, "all", "--as-of", day).code == 0
    return shared_url, ids[:2]


@pytest.fixture
def companies(server, filled, database_url, connect):
    """The same companies in a database of this test alone: a connection, and those ids."""
    url, ids = filled
    server.copy_into(database_url, url)
    return connect(database_url), ids


def report(url, folder, *words, **environment):
    """As of the companies' last day, unless the words say another."""
    return run_worker(url, "report", "-o", str(folder), *words, **{"WORKER_TO": DAY, **environment})


def test_a_page_for_each_client_and_one_over_all(worker_url, companies, tmp_path, monkeypatch):
    """By a member of growth_worker, in transactions that cannot write; each page says what its client's rows say."""
    conn, (french, english) = companies
    before = rows_of_all_tables(conn)

    def refuse(*_):
        raise AssertionError("a transaction to write in")

    monkeypatch.setattr(Database, "write", refuse)
    monkeypatch.setattr(Database, "autocommit", refuse)
    found = report(worker_url, tmp_path / "out", "--json")
    assert found.code == 0, found.err
    told = found.json
    assert (told["kind"], told["folder"], told["index"]) == ("report", f"{tmp_path}/out", f"{tmp_path}/out/index.html")
    assert rows_of_all_tables(conn) == before
    files = sorted(path.name for path in (tmp_path / "out").iterdir())
    ids = [str(row[0]) for row in conn.execute("SELECT client_id FROM clients").fetchall()]
    assert files == sorted(["index.html", *(f"{client_id}.html" for client_id in ids)])
    assert {page["client_id"]: page["language"] for page in told["pages"]} == {
        client_id: "fr" if client_id == french else "en" for client_id in ids
    }
    for page in told["pages"]:
        html = Path(page["path"]).read_text()
        assert page["bytes"] == Path(page["path"]).stat().st_size < 1_000_000
        texts = conn.execute(
            "SELECT insight_text FROM growth_brain WHERE client_id = %s AND created_at = %s"
            " AND event_type NOT IN ('conversion', 'reversion', 'pattern_detected')", (page["client_id"], AS_OF),
        ).fetchall()  # fmt: skip
        assert len(texts) == 5
        assert [text for (text,) in texts if text not in html] == []
    index = (tmp_path / "out" / "index.html").read_text()
    assert all(f'href="{client_id}.html"' in index for client_id in ids)
    other = conn.execute("SELECT business_name FROM clients WHERE client_id = %s", (english,)).fetchone()[0]
    mine = (tmp_path / "out" / f"{french}.html").read_text()
    assert other not in mine
    assert english not in mine
    assert '<html lang="fr">' in mine


def test_windows_and_reliability_are_those_of_accuracy(database_url, companies, tmp_path):
    _, (_, client_id) = companies
    assert report(database_url, tmp_path, "--client", client_id).code == 0
    told = run_worker(database_url, "accuracy", "--as-of", DAY, "--client", client_id, "--json").json
    html = (tmp_path / f"{client_id}.html").read_text()
    windows = [claim for claim in told["claims"] if claim["event_type"] == "conversion_prediction"]
    assert {claim["state"] for claim in windows} & {"right", "wrong"}
    assert html.count("● in the range</td>") == sum(claim["state"] == "right" for claim in windows)
    assert html.count("✕ outside</td>") == sum(claim["state"] == "wrong" for claim in windows)
    assert f"Chart of {told['overall']['resolved']} statement" in html


def test_one_client_into_a_file_and_again_over_it(database_url, companies, tmp_path):
    _, (french, _) = companies
    path = tmp_path / "sub" / "page.html"
    first = run_worker(database_url, "report", "--client", french, "-o", str(path), "--language", "en", "--to", DAY)
    assert first.code == 0, first.err
    assert str(path) in first.out
    html = path.read_text()
    assert '<html lang="en">' in html
    path.write_text("old")
    assert run_worker(
        database_url, "report",
        WORKER_CLIENT=french, WORKER_OUTPUT=str(path), WORKER_REPORT_LANGUAGE="en", WORKER_TO=DAY, WORKER_JSON="1",
    ).json["pages"][0]["path"] == str(path)  # fmt: skip
    assert path.read_text() == html  # the same rows, the same bytes
    assert [each.name for each in path.parent.iterdir()] == ["page.html"]


def test_names_of_open_leads_only_where_asked_for_and_only_as_text(database_url, companies, tmp_path):
    conn, (_, client_id) = companies
    conn.execute("UPDATE lead_memory SET name = %s", (ATTACK,))
    conn.execute("UPDATE clients SET business_name = '<script>alert(1)</script>'")
    assert report(database_url, tmp_path, "--client", client_id).code == 0
    page = tmp_path / f"{client_id}.html"
    assert "onerror" not in page.read_text()
    assert report(database_url, tmp_path, "--names").code == 0
    assert "&gt;&lt;img src=x onerror=alert(1)&gt;" in page.read_text()
    for path in tmp_path.iterdir():
        html = path.read_text()
        assert "<script" not in html
        assert "<img" not in html
        assert "&lt;script&gt;alert(1)&lt;/script&gt;" in html


def test_a_past_day_is_told_from_what_was_known_then(database_url, companies, tmp_path):
    _, (_, client_id) = companies
    words = ("--client", client_id, "--from", "2025-02-01", "--to", "2025-02-28")
    assert report(database_url, tmp_path, *words).code == 0
    html = (tmp_path / f"{client_id}.html").read_text()
    assert "February 28, 2025" in html
    assert "March 30" not in html


def test_the_number_of_statements_does_not_grow_with_the_clients(database_url, companies, tmp_path, monkeypatch):
    import worker.report.reading as reading

    _, ids = companies
    asked = []
    real = reading.query
    monkeypatch.setattr(reading, "query", lambda name, **slots: asked.append(name) or real(name, **slots))
    assert report(database_url, tmp_path, "--client", ids[0]).code == 0
    one = len(asked)
    asked.clear()
    assert report(database_url, tmp_path, "--client", ",".join(ids)).code == 0
    assert len(asked) == one


def test_an_empty_database_and_a_client_of_which_nothing_is_known(database_url, connect, tmp_path):
    assert report(database_url, tmp_path).code == 0
    assert "There is no client yet" in (tmp_path / "index.html").read_text()
    from support import add_client

    client_id = add_client(connect(database_url), 1)
    assert report(database_url, tmp_path, "--all").code == 0
    assert "There is nothing to report on this client" in (tmp_path / f"{client_id}.html").read_text()
    assert f'href="{client_id}.html"' in (tmp_path / "index.html").read_text()


def test_clients_that_growth_brain_cannot_speak_of_keep_nobody_from_a_page(empty_database_url, connect, tmp_path):
    """Their ids are texts, and its column is of uuids: the jobs pass them over, and so does the report."""
    conn = connect(empty_database_url)
    conn.execute("CREATE TABLE clients (client_id text PRIMARY KEY, business_name text)")
    conn.execute('CREATE TABLE lead_memory (id text PRIMARY KEY, client_id text, "timestamp" timestamptz)')
    conn.execute(
        "CREATE TABLE growth_brain (id uuid PRIMARY KEY DEFAULT gen_random_uuid(), client_id uuid, event_type text"
        " NOT NULL, learning_snapshot jsonb, insight_text text, confidence numeric(3,2), created_at timestamptz)"
    )
    for client_id in (STRANGER, "internal-client", STRANGER.upper().replace("A7", "A8"), ""):
        conn.execute("INSERT INTO clients VALUES (%s, 'Maple')", [client_id])
    assert run_worker(empty_database_url, "migrate").code == 0
    found = run_worker(empty_database_url, "report", "-o", str(tmp_path), "--json")
    assert found.code == 0, found.err
    assert [page["client_id"] for page in found.json["pages"]] == [STRANGER]


def test_it_stops_as_the_other_commands_do(database_url, empty_database_url, tmp_path, monkeypatch):
    strange = report(database_url, tmp_path, "--client", STRANGER)
    assert strange.code == 2
    assert STRANGER in strange.err
    assert report(database_url, tmp_path, "--client", "Maple").code == 2
    assert report(database_url, tmp_path, "--client", STRANGER, "--all").code == 2
    assert report(database_url, tmp_path / "page.html").code == 2
    assert report(database_url, tmp_path, "--from", "2025-03-02", "--to", "2025-03-01").code == 2
    assert report(database_url, tmp_path, "--to", "2999-01-01").code == 2
    assert report(database_url, tmp_path, "--language", "de").code == 2
    assert run_worker(None, "report").code == 2
    assert report(empty_database_url, tmp_path).code == 3
    (tmp_path / "file").write_text("")
    taken = report(database_url, tmp_path / "file" / "folder")
    assert (taken.code, "cannot be made" in taken.err) == (1, True)
    (tmp_path / "index.html").mkdir()
    held = report(database_url, tmp_path)
    assert (held.code, "index.html cannot be written" in held.err) == (1, True)
    assert [path.name for path in tmp_path.iterdir() if path.name.startswith(".")] == []
    monkeypatch.setattr(worker.report.extra, "find_spec", lambda name: None if name == "jinja2" else object())
    without = report(database_url, tmp_path)
    assert without.code == 2
    assert "pip install 'growth-brain-worker[report]'" in without.err


def shift_for(database, **environment):
    settings = settings_for(
        database.settings.database_url or "", WORKER_SCHEDULE_CONVERSION_EVENTS="off", **environment
    )
    metrics = Metrics(timetable(settings.schedules))
    return Shift(
        database, settings, Pulse(60), metrics, lambda errand, tell, _: do_errand(database, settings, errand, tell)
    )


def test_the_daemon_writes_them_once_a_day_behind_the_jobs(database_url, companies, tmp_path):
    conn, _ = companies
    folder = tmp_path / "pages"
    with open_pool(settings_for(database_url)) as database:
        jobs = {(each.job, each.as_of) for each in tick(shift_for(database), lambda: LATER)}
        assert "report" not in {job for job, _ in jobs}  # off without a folder
        shift = shift_for(database, WORKER_REPORT_DIR=str(folder))
        early = datetime(2025, 3, 31, 4, 14, tzinfo=UTC)
        assert tick(shift, lambda: early) == []
        assert [each.job for each in tick(shift, lambda: LATER)] == ["report"]
        assert (folder / "index.html").exists()
        assert tick(shift, lambda: LATER) == []
    row = conn.execute("SELECT period_key, status, counts FROM worker.runs WHERE job = 'report'").fetchone()
    assert row == (DAY, "done", {"pages": 6})


def test_a_folder_that_cannot_be_written_to_fails_the_day_and_status_says_so(database_url, companies, tmp_path):
    conn, _ = companies
    (tmp_path / "file").write_text("")
    environment = {"WORKER_REPORT_DIR": str(tmp_path / "file" / "pages")}
    with open_pool(settings_for(database_url)) as database:
        tick(shift_for(database, **environment), lambda: LATER)
    row = conn.execute("SELECT status, error FROM worker.runs WHERE job = 'report'").fetchone()
    assert row[0] == "failed"
    assert "cannot be made" in row[1]
    with open_pool(settings_for(database_url, **environment)) as database:
        statuses = database.retrying(lambda conn: read_statuses(conn, database.settings, LATER), read_only=True)
    (told,) = [each for each in statuses if each.job == "report"]
    assert (told.schedule, told.period_key) == ("04:15", DAY)
    without = run_worker(database_url, "status", "--json")
    assert "report" not in {job["job"] for job in without.json["jobs"]}


@pytest.mark.usefixtures("companies")
def test_by_hand_or_cron_the_day_is_done_once(database_url, tmp_path):
    environment = {"WORKER_REPORT_DIR": str(tmp_path)}
    first = run_worker(database_url, "report", "--if-due", "--json", **environment)
    assert (first.code, first.json["status"], first.json["pages"]) == (0, "done", 6)
    assert "already done" in run_worker(database_url, "report", "--if-due", **environment).out
    assert run_worker(database_url, "report", "--if-due").code == 2
    for words in (("--client", STRANGER), ("-o", str(tmp_path / "elsewhere")), ("--names",)):
        refused = run_worker(database_url, "report", "--if-due", *words, **environment)
        assert (refused.code, "--if-due, which writes every page" in refused.err) == (2, True)


def test_help_says_what_it_does():
    text = run_worker(None, "report", "--help").out
    for word in ("--client", "--from", "--language", "--names", "--output", "--if-due", "WORKER_OUTPUT", "Examples"):
        assert word in text
    assert re.search(r"report\s+Write pages to look at", run_worker(None, "--help").out)
