"""What the tests of hardship share: a world of leads, what runs leave behind, commands as processes soon started."""

import json
import multiprocessing
import os
import random
import sys
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from multiprocessing.process import BaseProcess
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import psycopg
from psycopg.conninfo import conninfo_to_dict
from support import Outcome, clean_environment

from worker.timetable import JOB_NAMES

SLOW = ("conversion_prediction",)
DAY = "2025-03-30"
AS_OF = datetime(2025, 3, 31, tzinfo=UTC)
EARLIER = "2025-02-20"  # a day whose claims are old enough to be decided as of AS_OF

# Rows that differ from client to client, the same on every server: nothing here draws at random.
WORLD = """
INSERT INTO clients (client_id, business_name, email, api_key, password_hash, language, industry_category)
SELECT format('00000009-0000-4000-8000-%%s', lpad(c::text, 12, '0'))::uuid, 'Client ' || c,
    format('client-%%s@example.com', c), 'key-' || c, '!', (ARRAY['en', 'fr'])[1 + mod(c, 2)],
    (ARRAY['Legal', 'Dental', 'Roofing'])[1 + mod(c, 3)]
FROM generate_series(1, %(clients)s) AS c;

-- every sixth client hears other things in the last 30 days than before
INSERT INTO lead_memory
    (id, client_id, name, urgency, tone, confidence_score, source, current_tag, "timestamp", last_updated)
SELECT format('%%s-0000-4000-8000-%%s', lpad(c::text, 8, '0'), lpad(n::text, 12, '0'))::uuid,
    format('00000009-0000-4000-8000-%%s', lpad(c::text, 12, '0'))::uuid, format('Lead %%s of %%s', n, c),
    CASE WHEN changed THEN 'High' ELSE (ARRAY['Low', 'Medium', 'Low', NULL])[1 + mod(n * (mod(c, 3) + 1), 4)] END,
    CASE WHEN changed THEN 'Direct' ELSE (ARRAY['Friendly', 'Formal', 'Friendly'])[1 + mod(n + c, 3)] END,
    mod(n * 7 + c, 10) / 10.0, (ARRAY['referral', 'organic_search'])[1 + mod(n, 2)],
    CASE WHEN mod(n + c, 8) = 0 THEN 'Converted' ELSE 'Active' END, arrival, arrival
FROM generate_series(1, %(clients)s) AS c, generate_series(1, %(leads)s) AS n,
    LATERAL (SELECT %(as_of)s - make_interval(secs => 86400.0 * 90 * (n - 0.5) / %(leads)s) AS arrival) AS t,
    LATERAL (SELECT mod(c, 6) = 0 AND arrival > %(as_of)s - interval '30 days' AS changed) AS h;

INSERT INTO lead_actions (lead_id, client_id, action_type, "timestamp")
SELECT id, client_id, 'insert', "timestamp" FROM lead_memory;

INSERT INTO lead_actions (lead_id, client_id, action_type, tag, conversion_outcome, "timestamp")
SELECT id, client_id, 'tag', 'Converted', true, "timestamp" + interval '30 hours' FROM lead_memory
WHERE current_tag = 'Converted' AND "timestamp" < %(as_of)s - interval '3 days';
"""
SNAPSHOTS = "SELECT (to_jsonb(g) - 'id')::text FROM growth_brain AS g ORDER BY 1"
MODELS = """
SELECT m.version, m.job, m.as_of, md5(m.parameters::text), m.scores::text, a.as_of
FROM worker.models AS m LEFT JOIN worker.adoptions AS a USING (version) ORDER BY m.version, a.as_of
"""
LEDGER = "SELECT job, period_key, shard, status, lease_until IS NULL, error FROM worker.runs ORDER BY 1, 2, 3"


def rounds(few: int) -> int:
    """How often a test is to be repeated: few times, or as often as HARDSHIP_ROUNDS says."""
    return int(os.environ.get("HARDSHIP_ROUNDS") or few)


def many_jobs() -> tuple[str, ...]:
    """Name the jobs to run: all, or where only few rounds are asked for those that take no second of arithmetic."""
    return ("all",) if "HARDSHIP_ROUNDS" in os.environ else tuple(job for job in JOB_NAMES if job not in SLOW)


def chance(name: str) -> random.Random:
    """Give a generator for random moments; HARDSHIP_SEED draws others."""
    return random.Random(f"{name} {os.environ.get('HARDSHIP_SEED', '1')}")


def add_world(conn: psycopg.Connection[Any], n_clients: int, n_leads: int, as_of: datetime = AS_OF) -> None:
    """Add clients with so many leads each, over the 90 days before as_of, an eighth of them converted."""
    with psycopg.ClientCursor(conn) as cursor:  # on the server only single statements take parameters
        cursor.execute(WORLD, {"clients": n_clients, "leads": n_leads, "as_of": as_of})


@dataclass(frozen=True)
class Left:
    """What runs left in a database, in a form that two databases can be compared by."""

    snapshots: list[str]
    models: list[tuple[Any, ...]]
    ledger: list[tuple[Any, ...]]

    def ensure_like(self, undisturbed: "Left") -> None:
        """Fail where a row differs from those of an undisturbed run, is missing or doubled, or a run is not done."""
        assert len(set(self.snapshots)) == len(self.snapshots), "a snapshot is there twice"
        assert self.snapshots == undisturbed.snapshots, _difference(self.snapshots, undisturbed.snapshots)
        assert self.models == undisturbed.models, _difference(self.models, undisturbed.models)
        assert self.ledger == undisturbed.ledger, _difference(self.ledger, undisturbed.ledger)
        assert {row[2:] for row in self.ledger} == {(-1, "done", True, None)}, self.ledger


def _difference(found: list[Any], expected: list[Any]) -> str:
    """Show a few of the rows that only one of the two has, the kinds of all of them counted."""
    extra, lost = ([row for row in one if row not in other] for one, other in ((found, expected), (expected, found)))
    kinds = Counter(json.loads(row)["event_type"] for row in (*extra, *lost) if isinstance(row, str))
    return f"{len(lost)} rows are missing, {len(extra)} too many {dict(kinds)}: {lost[:2]} ... {extra[:2]}"


def left_in(url: str) -> Left:
    """Read what runs left in a database."""
    with psycopg.connect(url, autocommit=True) as conn:
        snapshots = [row[0] for row in conn.execute(SNAPSHOTS)]
        return Left(snapshots, conn.execute(MODELS).fetchall(), conn.execute(LEDGER).fetchall())


# A process with everything imported, from which each command is forked: it saves a second of imports a command.
FORGE = multiprocessing.get_context("forkserver")
FORGE.set_forkserver_preload(
    [
        "hardship",
        "worker.run",
        "worker.commands.group",
        "worker.commands.jobs",
        "worker.runner",
        "worker.registry",
        "worker.progress",
    ]
    + [f"worker.jobs.{name}" for name in ("conversion_events", "pattern_detection", "conversion_prediction")]
    + [f"worker.jobs.{name}" for name in ("engagement_score", "urgency_trend", "tone_distribution", "accuracy_review")]
)


def _be_a_worker(arguments: list[str], environment: dict[str, str], folder: str) -> None:
    """Be what `python -m worker.run ...` is after its imports."""
    os.environ.clear()
    os.environ.update(environment)
    for number, name in ((1, "out"), (2, "err")):
        os.dup2(os.open(Path(folder, name), os.O_WRONLY | os.O_CREAT | os.O_APPEND), number)
    from worker.run import main

    code = main(arguments)
    sys.stdout.flush()
    sys.stderr.flush()
    sys.exit(code)


@dataclass
class Worker:
    """A command in a process of its own."""

    process: BaseProcess
    folder: Path
    began: float = field(default_factory=time.monotonic)

    @property
    def pid(self) -> int:
        """Its process number."""
        assert self.process.pid is not None
        return self.process.pid

    def signal(self, number: int) -> None:
        """Send it a signal; one that has ended by then does not mind."""
        if self.process.is_alive():
            os.kill(self.pid, number)

    def outcome(self, timeout_seconds: float = 120) -> Outcome:
        """Wait for its end."""
        self.process.join(timeout_seconds)
        assert self.process.exitcode is not None, f"still running after {timeout_seconds} s: {self._said('err')}"
        return Outcome(self.process.exitcode, self._said("out"), self._said("err"))

    def _said(self, name: str) -> str:
        path = self.folder / name
        return path.read_text() if path.exists() else ""


@contextmanager
def started(url: str, *arguments: object, **environment: str) -> Iterator[Worker]:
    """Run `worker.run ...` as a process while the block runs; what still runs at its end is killed."""
    with TemporaryDirectory() as folder:
        words = [str(word) for word in arguments]
        process = FORGE.Process(target=_be_a_worker, args=(words, clean_environment(url, **environment), folder))
        process.start()
        try:
            yield Worker(process, Path(folder))
        finally:
            process.kill()
            process.join()
            process.close()


def run_to_the_end(url: str, *arguments: object, **environment: str) -> Outcome:
    """Run a command as a process and wait for its end."""
    with started(url, *arguments, **environment) as worker:
        return worker.outcome()


def ensure_no_traceback(text: str) -> None:
    """Fail, with the place, where an error was told as a programmer's instead of in words."""
    assert "Traceback" not in text, text[max(0, text.index("Traceback") - 300) :][:2500]


def statuses(outcome: Outcome) -> list[str]:
    """Read from the summary that --json prints how each job ended."""
    return [job["status"] for job in json.loads(outcome.out)["jobs"]]


@dataclass
class Trial:
    """A database ready to be run on, made over and over, and what an undisturbed run leaves in it."""

    server: Any
    template: str
    undisturbed: Left
    seconds: float = 0.0  # how long an undisturbed run takes
    inserted: int = 0  # how many rows it adds

    @contextmanager
    def fresh(self) -> Iterator[str]:
        """Give a fresh database."""
        url = self.server.create_database(self.template)
        try:
            yield url
        finally:
            self.server.drop_database(url)


def prepare_trial(server: Any, command: tuple[object, ...], n_clients: int = 60, n_leads: int = 20) -> Trial:
    """Fill a database, run an earlier day in it, and see what the command leaves in a copy of it."""
    prepared = server.create_database(server.template)
    with psycopg.connect(prepared, autocommit=True) as conn:
        add_world(conn, n_clients, n_leads)
    jobs = [word for word in command if word == "all" or word in JOB_NAMES]
    earlier = run_to_the_end(prepared, *jobs, "--as-of", EARLIER)
    assert earlier.code == 0, earlier.err
    trial = Trial(server, str(conninfo_to_dict(prepared)["dbname"]), left_in(prepared))
    with trial.fresh() as url:
        began = time.monotonic()
        outcome = run_to_the_end(url, *command)
        assert outcome.code == 0, outcome.err
        before, trial.undisturbed, trial.seconds = trial.undisturbed, left_in(url), time.monotonic() - began
    trial.inserted = len(trial.undisturbed.snapshots) - len(before.snapshots)
    return trial
