"""Retention keeps what its sentence says, to the row, and takes the models that nothing speaks of any more with it."""

import random
from collections import Counter
from collections.abc import Iterable
from datetime import UTC, date, datetime, time, timedelta

import psycopg
import pytest
from conftest import settings_for
from psycopg.types.json import Jsonb
from support import add_client, counts, run_worker, utc

from worker import prune
from worker.database.pool import open_pool
from worker.prune import DAILY_TYPES, Pruned, run_prune

NOW = utc("2025-07-16 09:00")  # a Wednesday
FOREVER = ("pattern_detected", "conversion", "reversion", "accuracy_review")
NO_DAYS = (
    None,
    "2023-02-31",
    "2023-13-01",
    "2023-00-10",
    "0000-01-01",
    "9999-99-99",
    "2023-W07",
    "",
    "2023-2-3",
    20230101,
)


def kept_by_the_sentence(days: Iterable[date], today: date, *, daily: int, weekly: int) -> set[date]:
    """The rule, day by day, in the words of the README."""
    everything, kept = sorted(days), set()
    for day in everything:
        week, month = day.isocalendar()[:2], (day.year, day.month)
        is_last_of_week = not any(other > day and other.isocalendar()[:2] == week for other in everything)
        is_last_of_month = not any(other > day and (other.year, other.month) == month for other in everything)
        age = (today - day).days
        if age <= daily or (is_last_of_week if age <= weekly else is_last_of_month):
            kept.add(day)
    return kept


def write(conn: psycopg.Connection, rows: Iterable[tuple[str | None, str, object]], version: str | None = None) -> None:
    """Write snapshots: client, event type and period_key of each."""
    with conn.cursor() as cursor:
        cursor.executemany(
            "INSERT INTO growth_brain (client_id, event_type, learning_snapshot, created_at) VALUES (%s, %s, %s, %s)",
            [
                (client, event_type, Jsonb({"period_key": key, "claim_key": "", "model_version": version}), NOW)
                for client, event_type, key in rows
            ],
        )


def rows_of(conn: psycopg.Connection) -> Counter[tuple[str | None, str, str | None]]:
    found = conn.execute("SELECT client_id::text, event_type, learning_snapshot ->> 'period_key' FROM growth_brain")
    return Counter(found.fetchall())


def pruned(url: str, now: datetime = NOW, **options) -> Pruned:
    environment = {name: str(options.pop(name)) for name in list(options) if name.startswith("WORKER_")}
    settings = settings_for(url, **environment)
    with open_pool(settings) as database:
        return run_prune(database, settings, now, **options)


def daily(day: date, until: date) -> list[str]:
    return [(day + timedelta(days=i)).isoformat() for i in range((until - day).days + 1)]


@pytest.mark.parametrize(("daily_days", "weekly_days"), [(35, 365), (40, 10), (1, 36_500)])
def test_exactly_the_rows_that_the_sentence_names_stay(
    database_url, worker_url, connect, daily_days, weekly_days, monkeypatch
):
    monkeypatch.setattr(prune, "CLIENTS_AT_ONCE", 2)
    monkeypatch.setattr(prune, "ROWS_AT_ONCE", 300)
    conn, draw = connect(database_url), random.Random(5)
    clients = [None, *(add_client(conn, number) for number in range(3))]
    share = dict(zip(clients, (1.0, 0.9, 0.3, 0.05), strict=True))  # one row a day; some days; once a fortnight or so
    days = [date.fromisoformat(day) for day in daily(date(2023, 3, 1), date(2025, 7, 16))]
    held = {
        (client, kind): [day for day in days if draw.random() < share[client]]
        for client in clients
        for kind in DAILY_TYPES
    }
    other = [(client, kind, key) for client in clients for kind in FOREVER for key in ("2023-03-07", "2023-03-08")]
    other += [(client, kind, key) for client in clients for kind in DAILY_TYPES for key in NO_DAYS]
    write(conn, [(client, kind, day.isoformat()) for (client, kind), found in held.items() for day in found])
    write(conn, other)
    conn.execute("INSERT INTO growth_brain (event_type, learning_snapshot) SELECT 'urgency_trend', s FROM"
                 " unnest(ARRAY['[]', '\"2023-03-07\"', 'null', '{}']::jsonb[]) AS s")  # fmt: skip
    before = rows_of(conn)

    limits = {"daily": daily_days, "weekly": weekly_days}
    gone = Counter(
        (client, kind, day.isoformat())
        for (client, kind), found in held.items()
        for day in set(found) - kept_by_the_sentence(found, NOW.date(), **limits)
    )
    settings = {"WORKER_KEEP_DAILY_DAYS": daily_days, "WORKER_KEEP_WEEKLY_DAYS": weekly_days}
    expected = Counter(kind for _, kind, _ in gone.elements())

    assert pruned(worker_url, dry_run=True, **settings).snapshots == expected
    assert rows_of(conn) == before
    assert pruned(worker_url, **settings).snapshots == expected
    assert rows_of(conn) == before - gone
    assert pruned(database_url, **settings).snapshots == Counter()  # the owner finds nothing left to do
    assert rows_of(conn) == before - gone


def test_pruning_every_day_keeps_each_day_what_the_sentence_names(database_url, worker_url, connect):
    conn, first, last = connect(database_url), date(2025, 1, 20), date(2025, 4, 5)
    settings = settings_for(worker_url, WORKER_KEEP_DAILY_DAYS="4", WORKER_KEEP_WEEKLY_DAYS="24")
    days, kept = [date.fromisoformat(day) for day in daily(first, last)], set()
    with open_pool(settings) as database:
        for day in days:
            write(conn, [(None, "urgency_trend", day.isoformat())])
            run_prune(database, settings, datetime.combine(day + timedelta(days=1), time(4), tzinfo=UTC))
            kept = kept_by_the_sentence({*kept, day}, day + timedelta(days=1), daily=4, weekly=24)
    assert rows_of(conn) == Counter((None, "urgency_trend", day.isoformat()) for day in kept)
    assert {(day.year, day.month) for day in kept} == {(2025, month) for month in (1, 2, 3, 4)}
    assert len(kept) < 15


def test_a_clock_that_runs_ahead_removes_no_more(database_url, worker_url, connect):
    """Years later nearly all of these would go."""
    conn, settings = connect(database_url), settings_for(worker_url)
    today = datetime.now(UTC).date()
    write(conn, [(None, "urgency_trend", (today - timedelta(days=n)).isoformat()) for n in range(1, 30)])
    with open_pool(settings) as database:
        run_prune(database, settings, datetime.now(UTC) + timedelta(days=1000))
    assert counts(conn, "growth_brain") == (29,)


def test_command_says_what_it_did_and_does_a_day_once(database_url, worker_url, connect):
    conn = connect(database_url)
    client = add_client(conn, 1)
    write(conn, [(client, "urgency_trend", f"2020-01-{day:02d}") for day in range(1, 32)])
    dry = run_worker(worker_url, "prune", "--dry-run", "--json")
    assert (dry.code, dry.json["snapshots"], dry.json["dry_run"]) == (0, {"urgency_trend": 30}, True)
    assert counts(conn, "growth_brain", "worker.runs") == (31, 0)

    first = run_worker(worker_url, "prune", "--if-due")
    assert first.code == 0
    assert "30 snapshots and 0 models removed" in first.out
    assert counts(conn, "growth_brain") == (1,)
    yesterday = (datetime.now(UTC) - timedelta(days=1)).date().isoformat()
    ledger = conn.execute("SELECT job, period_key, status, counts FROM worker.runs").fetchall()
    assert ledger == [("prune", yesterday, "done", {"snapshots": {"urgency_trend": 30}, "models": {}})]

    write(conn, [(client, "urgency_trend", "2020-01-01")])
    again = run_worker(worker_url, "prune", "--if-due")
    assert (again.code, again.out.split()) == (0, ["prune", yesterday, "already", "done"])
    assert counts(conn, "growth_brain") == (2,)
    assert run_worker(worker_url, "prune", "--json").json["snapshots"] == {"urgency_trend": 1}


def test_a_run_held_by_another_process_is_left_to_it(database_url, worker_url, connect):
    conn = connect(database_url)
    write(conn, [(None, "urgency_trend", f"2020-01-{day:02d}") for day in range(1, 11)])
    conn.execute(
        "INSERT INTO worker.runs (job, period_key, status, holder, lease_until)"
        " VALUES ('prune', %s, 'running', 'elsewhere:7', now() + interval '1 minute')",
        [(datetime.now(UTC) - timedelta(days=1)).date().isoformat()],
    )
    for options, code in (((), 1), (("--if-due",), 0)):
        found = run_worker(worker_url, "prune", *options)
        assert (found.code, "held by elsewhere:7" in found.out) == (code, True)
    assert counts(conn, "growth_brain") == (10,)


def test_interrupted_keeps_what_is_done_and_gives_the_run_back(database_url, worker_url, connect, monkeypatch):
    monkeypatch.setattr(prune, "CLIENTS_AT_ONCE", 1)
    conn = connect(database_url)
    clients = [add_client(conn, number) for number in range(3)]
    write(conn, [(c, "urgency_trend", f"2020-01-{day:02d}") for c in clients for day in range(1, 11)])

    def interrupt(_what: str, _done: int, _all: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        pruned(worker_url, progress=interrupt)
    assert counts(conn, "growth_brain") == (21,)
    ((status, lease),) = conn.execute("SELECT status, lease_until FROM worker.runs").fetchall()
    assert (status, lease) == ("released", None)
    assert pruned(worker_url, if_due=True).snapshots == {"urgency_trend": 18}


def test_failure_is_told_and_noted(database_url, worker_url, connect):
    conn = connect(database_url)
    write(conn, [(None, "urgency_trend", f"2020-01-{day:02d}") for day in range(1, 11)])
    conn.execute("CREATE FUNCTION no() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE 'secret of a row'; END $$")
    conn.execute("CREATE TRIGGER no BEFORE DELETE ON growth_brain FOR EACH ROW EXECUTE FUNCTION no()")
    found = run_worker(worker_url, "prune")
    assert (found.code, "failed" in found.out) == (1, True)
    assert "secret" not in found.out + found.err
    assert conn.execute("SELECT status, lease_until FROM worker.runs").fetchall() == [("failed", None)]
    assert counts(conn, "growth_brain") == (10,)


def test_a_zombie_whose_run_was_taken_over_removes_nothing_more(database_url, worker_url, connect, monkeypatch):
    monkeypatch.setattr(prune, "CLIENTS_AT_ONCE", 1)
    conn = connect(database_url)
    clients = [add_client(conn, number) for number in range(2)]
    write(conn, [(c, "urgency_trend", f"2020-01-{day:02d}") for c in clients for day in range(1, 11)])
    taken = lambda *_: conn.execute("UPDATE worker.runs SET token = token + 1, holder = 'elsewhere:7'")  # noqa: E731
    assert pruned(worker_url, progress=taken).status == "failed"
    assert counts(conn, "growth_brain") == (11,)
    assert conn.execute("SELECT status FROM worker.runs").fetchall() == [("running",)]  # it is the other's


@pytest.mark.parametrize("kind", ["text", "varchar"])
def test_ids_that_are_text(database_url, worker_url, connect, kind):
    conn = connect(database_url)
    conn.execute("DROP VIEW growth_brain_latest")
    conn.execute(f"ALTER TABLE growth_brain ALTER id DROP DEFAULT, ALTER id TYPE {kind},"
                 " ALTER id SET DEFAULT 'brain-' || gen_random_uuid()")  # fmt: skip
    write(conn, [(None, "tone_distribution", f"2020-01-{day:02d}") for day in range(1, 11)])
    assert pruned(worker_url).snapshots == {"tone_distribution": 9}
    assert counts(conn, "growth_brain") == (1,)


def test_old_models_go_that_nothing_speaks_of(database_url, worker_url, connect):
    conn = connect(database_url)

    def model(version: str, as_of: str, job: str = "tone_distribution") -> None:
        conn.execute("INSERT INTO worker.models (version, job, as_of, parameters) VALUES (%s, %s, %s, '{}')",
                     [version, job, utc(as_of)])  # fmt: skip

    model("forgotten", "02-03 00:00")
    model("of-a-snapshot-that-goes", "02-04 00:00")
    write(conn, [(None, "tone_distribution", "2025-02-03")], "of-a-snapshot-that-goes")
    model("of-a-snapshot-that-stays", "02-05 00:00")
    write(conn, [(None, "tone_distribution", "2025-02-28")], "of-a-snapshot-that-stays")
    model("of-a-pattern", "02-05 00:00", "pattern_detection")
    model("newest-pattern-model", "02-06 00:00", "pattern_detection")
    write(conn, [(None, "pattern_detected", "2025-02-04")], "of-a-pattern")
    model("in-force", "02-06 00:00")
    conn.execute("INSERT INTO worker.adoptions (job, as_of, version) VALUES ('tone_distribution', now(), 'in-force')")
    model("gone-on-from", "02-07 00:00")
    conn.execute("INSERT INTO worker.watermarks (job, as_of, horizon, state, model_version)"
                 " VALUES ('tone_distribution', now(), 1, '', 'gone-on-from')")  # fmt: skip
    model("young", "06-12 00:00")
    model("newest", "07-15 00:00")
    model("review-before", "02-01 00:00", "accuracy_review")
    model("newest-review", "02-02 00:00", "accuracy_review")
    goes = {"forgotten", "of-a-snapshot-that-goes", "review-before"}

    def there() -> set[str]:
        return {row[0] for row in conn.execute("SELECT version FROM worker.models").fetchall()}

    everything = there()
    running = ("tone_distribution", "2025-02-02", "running", utc("02-03 00:00"))
    conn.execute("INSERT INTO worker.runs (job, period_key, status, as_of, lease_until)"
                 " VALUES (%s, %s, %s, %s, now() + interval '1 minute')", running)  # fmt: skip
    assert pruned(worker_url, dry_run=True).models == {"accuracy_review": 1}  # a past day is being made just now
    conn.execute("DELETE FROM worker.runs")
    short = {
        "WORKER_KEEP_DAILY_DAYS": 1,
        "WORKER_KEEP_WEEKLY_DAYS": 1,
    }  # the models of the last 35 days stay all the same
    assert pruned(worker_url, dry_run=True, **short).models == {"tone_distribution": 2, "accuracy_review": 1}
    assert there() == everything
    assert pruned(worker_url, **short).models == {"tone_distribution": 2, "accuracy_review": 1}
    assert there() == everything - goes
