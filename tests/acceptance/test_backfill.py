"""backfill: past days made later are what they would have been, are told as such, and can be resumed."""

from datetime import UTC, datetime, timedelta

import pytest
from support import (
    ANALYSES,
    add_action,
    add_client,
    add_simple_leads,
    finished,
    numbered,
    run_worker,
    snapshots,
    start_worker,
    without,
)

from worker import backfill
from worker.jobs import engagement_score

AS_OF = datetime(2025, 3, 31, tzinfo=UTC)


def add_company(conn):
    """Two clients with leads over 60 days, some of them converted."""
    for kind, n in ((1, 60), (2, 24)):
        client = add_client(conn, kind)
        add_simple_leads(conn, client, kind, n, AS_OF)
        for i in range(0, n, 6):
            lead, when = numbered(kind, i), AS_OF - timedelta(days=60 * (i + 0.5) / n - 2 - i % 7)
            if when < AS_OF:
                add_action(conn, client, lead, "tag", when, tag="Converted", conversion_outcome=True)
                conn.execute("UPDATE lead_memory SET current_tag = 'Converted' WHERE id = %s", [lead])


@pytest.fixture
def company(database_url, connect):
    conn = connect(database_url)
    add_company(conn)
    return conn


def run(url, *arguments, **environment):
    outcome = run_worker(url, *arguments, **environment)
    assert outcome.code == 0, outcome.err
    return outcome


def said(conn):
    return [without(row) for row in snapshots(conn)]


@pytest.fixture
def twin(server, connect):
    """Another database with the same company."""
    url = server.create_database(server.template)
    conn = connect(url)
    add_company(conn)
    yield url, conn
    conn.close()
    server.drop_database(url)


def test_days_made_later_are_the_days_made_one_by_one(worker_url, company, twin):
    run(worker_url, "backfill", "all", "--from", "2025-03-14", "--to", "2025-03-18", "--every", "2d")
    url, conn = twin
    for day in ("2025-03-14", "2025-03-16", "2025-03-18"):
        run(url, "all", "--as-of", day)
    assert said(company) == said(conn)
    periods = {
        row["learning_snapshot"]["period_key"] for row in snapshots(company) if row["event_type"] in ANALYSES[:3]
    }
    assert periods == {"2025-03-14", "2025-03-16", "2025-03-18"}


def test_a_day_made_later_is_what_it_was_on_its_day(worker_url, company, twin):
    """The other database knows no more than what was known when the day ended."""
    url, conn = twin
    midnight = datetime(2025, 3, 16, tzinfo=UTC)
    conn.execute("DELETE FROM lead_memory WHERE timestamp >= %s", [midnight])
    conn.execute("DELETE FROM lead_actions WHERE timestamp >= %s", [midnight])
    conn.execute(
        "UPDATE lead_memory AS l SET current_tag = DEFAULT WHERE NOT EXISTS"
        " (SELECT FROM lead_actions AS a WHERE a.lead_id = l.id AND a.tag = 'Converted')"
    )
    run(url, "all", "--as-of", "2025-03-15")
    run(worker_url, "backfill", "all", "--from", "2025-03-15", "--to", "2025-03-15")
    assert said(conn) == said(company)
    assert {row["event_type"] for row in snapshots(conn)} >= {"conversion", *ANALYSES[:3], "conversion_prediction"}


def test_days_are_dated_then_and_the_ledger_says_when_they_were_made(worker_url, company):
    run(worker_url, "backfill", "engagement_score", "--from", "2025-03-17", "--to", "2025-03-18")
    run(worker_url, "engagement_score", "--as-of", "2025-03-19")
    dates = {row["created_at"] for row in snapshots(company)}
    assert dates == {datetime(2025, 3, day, tzinfo=UTC) for day in (18, 19, 20)}
    rows = company.execute(
        "SELECT period_key, (counts ->> 'backfill')::boolean, finished_at::date = now()::date FROM worker.runs"
        " ORDER BY period_key"
    ).fetchall()
    assert rows == [("2025-03-17", True, True), ("2025-03-18", True, True), ("2025-03-19", False, True)]


def test_what_is_done_is_passed_over(worker_url, company):
    run(worker_url, "backfill", "tone_distribution", "--from", "2025-03-10", "--to", "2025-03-12")
    before = company.execute("SELECT xmin::text, id FROM growth_brain ORDER BY id").fetchall()
    again = run(
        worker_url, "backfill", "tone_distribution", "--from", "2025-03-10", "--to", "2025-03-14", "--json"
    ).json
    (job,) = again["jobs"]
    assert (job["done"], job["skipped"], job["failed"], job["held"]) == (2, 3, [], [])
    after = company.execute("SELECT xmin::text, id FROM growth_brain ORDER BY id").fetchall()
    assert set(before) < set(after)


def test_months_have_their_last_day_where_they_are_too_short(worker_url, company):
    run(worker_url, "backfill", "engagement_score", "--from", "2025-01-31", "--to", "2025-03-31", "--every", "1month",
        WORKER_TIMEZONE="America/Toronto")  # fmt: skip
    days = company.execute("SELECT period_key, as_of FROM worker.runs ORDER BY period_key").fetchall()
    assert [period for period, _ in days] == ["2025-01-31", "2025-02-28", "2025-03-31"]
    assert [as_of.astimezone(UTC).hour for _, as_of in days] == [5, 5, 4]  # local midnights, before and in summer time


def test_a_day_that_fails_is_named_and_the_others_are_made(worker_url, company, monkeypatch):
    fit = engagement_score.fit

    def fails_once(leads, as_of, **rest):
        if as_of.day == 12:
            raise ValueError("no")
        return fit(leads, as_of, **rest)

    monkeypatch.setattr(engagement_score, "fit", fails_once)
    outcome = run_worker(worker_url, "backfill", "engagement_score", "--from", "2025-03-10", "--to", "2025-03-12")
    assert outcome.code == 1
    assert "2 days written" in outcome.out
    assert "failed: 2025-03-11" in outcome.out
    monkeypatch.undo()
    outcome = run(worker_url, "backfill", "engagement_score", "--from", "2025-03-10", "--to", "2025-03-12")
    assert "1 day written, 2 already done" in outcome.out
    assert len({row["created_at"] for row in snapshots(company)}) == 3


def hold(conn, job, period, seconds):
    """Leave a run as a process that died leaves it, its lease still good for so long."""
    conn.execute(
        "INSERT INTO worker.runs (job, period_key, status, token, holder, lease_until, as_of)"
        " VALUES (%s, %s, 'running', 1, 'gone:1', now() + make_interval(secs => %s), now())",
        [job, period, seconds],
    )


def test_a_day_that_a_dead_process_holds_is_waited_for(worker_url, company, twin):
    """The days after it rest on it: they are what they would have been without the interruption."""
    hold(company, "conversion_prediction", "2025-03-14", 3)
    days = ("--from", "2025-03-14", "--to", "2025-03-16")
    outcome = run(worker_url, "backfill", "all", *days, "--json", WORKER_LEASE_SECONDS="3")
    assert all((job["done"], job["held"]) == (3, []) for job in outcome.json["jobs"])
    run(twin[0], "backfill", "all", *days)
    assert said(company) == said(twin[1])


@pytest.mark.slow
def test_two_at_once_make_what_one_makes(worker_url, company, twin):
    days = ("--from", "2025-03-10", "--to", "2025-03-16", "--json")
    both = [start_worker(worker_url, "backfill", "all", *days) for _ in range(2)]
    outcomes = [finished(process, 120) for process in both]
    assert [outcome.code for outcome in outcomes] == [0, 0], outcomes
    for one, other in zip(*(outcome.json["jobs"] for outcome in outcomes), strict=True):
        assert (one["done"] + other["done"], one["held"] + other["held"]) == (7, [])
    run(twin[0], "backfill", "all", *days)
    assert said(company) == said(twin[1])


def test_no_day_is_made_before_one_that_is_held(worker_url, company, monkeypatch):
    monkeypatch.setattr(backfill, "LEASE_MARGIN_SECONDS", -2)
    hold(company, "engagement_score", "2025-03-11", 60)
    outcome = run_worker(worker_url, "backfill", "engagement_score", "--from", "2025-03-10", "--to", "2025-03-13",
                         "--json", WORKER_LEASE_SECONDS="3")  # fmt: skip
    assert outcome.code == 1
    (job,) = outcome.json["jobs"]
    assert (job["done"], job["held"], job["failed"]) == (1, ["2025-03-11"], [])


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (("--from", "2999-01-01"), "not over yet"),
        (("--from", "2025-03-10", "--to", "2999-01-01"), "not over yet"),
        (("--from", "2025-03-10", "--to", "2025-03-09"), "comes after"),
        (("--from", "2025-03-10T10:00:00", "--to", "2025-03-11"), "no day"),
        (("--from", "tomorrow"), "no day"),
        (("--from", "2025-03-10", "--every", "fortnight"), "no step"),
        ((), "--from"),
    ],
)
def test_days_that_cannot_be_are_refused(worker_url, arguments, complaint):
    outcome = run_worker(worker_url, "backfill", "engagement_score", *arguments)
    assert outcome.code == 2
    assert complaint in outcome.err
