"""Every command of the README is run here, or stands in NOT_HERE with the reason why it cannot be."""

import os
import re
import shlex
import shutil
import subprocess
import sys
import tempfile
from datetime import UTC, datetime, timedelta
from pathlib import Path

import psycopg
import pytest
from readme_blocks import README, blocks
from support import PROJECT, add_client, add_simple_leads, clean_environment, counts, run_worker, snapshots

NOW = datetime.now(UTC)
NOT_HERE = {  # the beginning of a line in a block, or of a command in the text: why
    "python3 -m venv": "fetches packages; .ci/run does the second, and the demo is run by test_demo.py",
    "export DATABASE_URL=": "an address that is nobody's",
    "docker ": "wants a Docker daemon, and fetches an image",
    "crontab ": "replaces the crontab of whoever runs the tests; its lines are run by test_crontab_commands.py",
    ".venv/bin/python -m worker ": "runs until it is told to stop: test_daemon.py",
}
LINES = [line for block in blocks("sh") for line in block.splitlines()]
# The table of commands has no arguments to run them with: that each is there is for tests/unit/test_readme.py to say.
PROSE = re.sub(r"```.*?```|<!-- table: commands -->.*<!-- end of commands -->", "", README, flags=re.DOTALL)
IN_THE_TEXT = sorted(set(re.findall(r"`(python -m worker\.run [^`]+)`", PROSE)))
pytestmark = pytest.mark.parametrize("server", ["embedded"], indirect=True)  # nothing here asks which PostgreSQL it is


def is_run(line: str) -> bool:
    return not line.startswith(tuple(NOT_HERE))


@pytest.fixture(scope="module")
def database(server):
    """The address of a database with two months of leads, after all jobs, as a new one is after its first night."""
    url = server.create_database(server.template)
    with psycopg.connect(url, autocommit=True) as conn:
        client = add_client(conn, 1)
        add_simple_leads(conn, client, 1, 40, NOW - timedelta(days=1))
    for day in ("2025-03-30", "yesterday"):
        assert run_worker(url, "all", "--as-of", day).code == 0
    yield url, client
    server.drop_database(url)


@pytest.fixture(scope="module")
def folder():
    """A place that a server's own user may enter, unlike pytest's."""
    found = Path(tempfile.mkdtemp(prefix="growth-brain-readme-", dir="/var/tmp" if os.name == "posix" else None))
    found.chmod(0o755)
    yield found
    shutil.rmtree(found)


@pytest.mark.parametrize("beginning", NOT_HERE)
def test_what_is_not_run_is_still_in_the_readme(beginning, server):
    del server
    assert any(line.startswith(beginning) for line in (*LINES, *IN_THE_TEXT))


@pytest.mark.parametrize("line", [line for line in LINES if is_run(line)])
def test_a_line_of_a_block(line, server, folder, tmp_path):
    """As typed, in the project's folder; on an empty database for what makes the schema, else a migrated one."""
    if "psql" in line and shutil.which("psql") is None:
        pytest.skip("no psql on this machine")
    new = "migrate" in line or "psql" in line
    url = server.create_database() if new else server.create_database(server.template)
    leads = tmp_path / "my_leads.csv"
    leads.write_text("created,origin,urgency\n2025-03-01,referral,High\n2025-03-02,email,Low\n", encoding="utf-8")
    typed = line.replace(".venv/bin/python", shlex.quote(sys.executable)).replace("2026-03-31", "2025-03-31")
    environment = clean_environment(url, WORKER_EMBEDDED_DIR=str(folder / "demo"))
    done = subprocess.run(
        ["/bin/sh", "-c", typed.replace("my_leads.csv", shlex.quote(str(leads)))],
        cwd=PROJECT, env=environment, capture_output=True, text=True, check=False, timeout=180,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    if new:
        with psycopg.connect(url) as conn:
            assert counts(conn, "growth_brain_latest", "worker.runs") == (0, 0)
    server.drop_database(url)


def arguments_of(command: str, client: str, version: str) -> list[str]:
    """The words after `worker.run`, the README's placeholders and dates taken by others; of a choice the first."""
    words = shlex.split(command.replace("\\", "").split("|")[0].replace("2026-", "2025-"))[3:]
    found = {"JOB": "urgency_trend", "JOB...": "urgency_trend", "DAY": "2025-03-30", "D": "2025-03-30",
             "UUID": client, "VERSION": version}  # fmt: skip
    return [found.get(word, word) for word in words]


@pytest.mark.parametrize("command", [command for command in IN_THE_TEXT if is_run(command)])
def test_a_command_in_the_text(command, database):
    url, client = database
    with psycopg.connect(url) as conn:
        row = conn.execute("SELECT version FROM worker.models WHERE job = 'conversion_prediction' LIMIT 1").fetchone()
    assert row is not None
    outcome = run_worker(url, *arguments_of(command, client, row[0]))
    assert outcome.code == 0, outcome.out + outcome.err


FULL_DISK = """
    CREATE FUNCTION full_disk() RETURNS trigger LANGUAGE plpgsql AS
        $$ BEGIN RAISE EXCEPTION 'could not extend file' USING ERRCODE = 'disk_full'; END $$;
    CREATE TRIGGER full_disk BEFORE INSERT ON growth_brain FOR EACH ROW EXECUTE FUNCTION full_disk();
"""


def test_a_full_disk_reads_as_the_readme_says_and_what_was_done_is_kept(database_url, connect):
    assert "`DiskFull (53100)`" in README
    conn = connect(database_url)
    add_simple_leads(conn, add_client(conn, 1), 1, 20, datetime(2025, 3, 31, tzinfo=UTC))
    assert run_worker(database_url, "urgency_trend", "--as-of", "2025-03-29").code == 0
    before = snapshots(conn)
    conn.execute(FULL_DISK)
    outcome = run_worker(database_url, "urgency_trend", "--as-of", "2025-03-30")
    assert (outcome.code, "DiskFull (53100)" in outcome.out) == (1, True)
    assert snapshots(conn) == before
    conn.execute("DROP TRIGGER full_disk ON growth_brain")
    assert run_worker(database_url, "urgency_trend", "--as-of", "2025-03-30", "--if-due").code == 0
    assert len(snapshots(conn)) == 2 * len(before)
