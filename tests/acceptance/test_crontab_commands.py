"""The commands of crontab.example do the work, and run again they change nothing."""

import os
import re
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from support import ANALYSES, PROJECT, add_client, add_simple_leads, clean_environment, counts, snapshots

LINES = [
    line
    for line in (PROJECT / "crontab.example").read_text(encoding="utf-8").splitlines()
    if line.strip() and not line.startswith("#")
]
VARIABLES = dict(line.split("=", 1) for line in LINES if re.match(r"[A-Z_]+=", line))
COMMANDS = [line.split(None, 5)[5] for line in LINES if not re.match(r"[A-Z_]+=", line)]


def run_as_cron_does(command: str, environment: dict[str, str]) -> int:
    """A bare percent sign ends what cron gives to the shell, and an escaped one is one."""
    given = re.split(r"(?<!\\)%", command)[0].replace("\\%", "%")
    return subprocess.run([VARIABLES["SHELL"], "-c", given], env=environment, check=False, timeout=120).returncode


@pytest.mark.parametrize("server", ["embedded"], indirect=True)  # nothing here asks which PostgreSQL it is
@pytest.mark.skipif(os.name != "posix", reason="cron and its shell")
def test_commands_do_the_work_once(database_url, worker_url, connect, tmp_path: Path):
    conn, now = connect(database_url), datetime.now(UTC)
    client = add_client(conn, 1)
    add_simple_leads(conn, client, 1, 20, now - timedelta(days=1))
    conn.execute(
        "INSERT INTO growth_brain (client_id, event_type, learning_snapshot) SELECT %s, 'urgency_trend',"
        " jsonb_build_object('period_key', '2020-01-0' || i, 'claim_key', '') FROM generate_series(1, 9) AS i",
        [client],
    )
    log = tmp_path / "worker.log"
    environment = clean_environment(worker_url)
    environment |= {**VARIABLES, "DATABASE_URL": worker_url, "WORKER_TIMEZONE": "UTC", "LOG": str(log),
                    "WORKER_HOME": str(PROJECT), "PYTHON": sys.executable}  # fmt: skip

    assert [run_as_cron_does(command, environment) for command in COMMANDS] == [0] * len(COMMANDS), log.read_text()
    yesterday = (now - timedelta(days=1)).date().isoformat()
    done = conn.execute("SELECT job FROM worker.runs WHERE period_key = %s AND status = 'done'", [yesterday]).fetchall()
    assert {job for (job,) in done} >= {*ANALYSES, "accuracy_review", "conversion_events", "prune"}
    assert conn.execute(
        "SELECT count(*) FROM growth_brain WHERE learning_snapshot ->> 'period_key' < '2021'"
    ).fetchone() == (1,)

    before, ledger = snapshots(conn), counts(conn, "worker.runs")
    assert [run_as_cron_does(command, environment) for command in COMMANDS] == [0] * len(COMMANDS), log.read_text()
    assert (snapshots(conn), counts(conn, "worker.runs")) == (before, ledger)
    assert log.read_text().count("already done") == 8  # of yesterday: the five analyses, events, review and prune
