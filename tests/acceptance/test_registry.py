"""The registry of models: kept with scores, contended for, gone back to; what was said can be said again from it."""

from datetime import UTC, datetime, timedelta

import numpy as np
import pytest
from conftest import settings_for
from support import add_action, add_client, add_simple_leads, numbered, run_worker, snapshots

from worker.database.catalogue import read_catalogue
from worker.database.pool import open_pool
from worker.growth_brain import model_version
from worker.jobs import conversion_prediction
from worker.reading import read_leads
from worker.registry import adopt_model, choose_model, read_in_force, store_choice

AS_OF = datetime(2025, 3, 31, tzinfo=UTC)
JOB = "conversion_prediction"
DAY = timedelta(days=1)


class Contender:
    """A job whose model is one number: how far off it is."""

    NAME = JOB
    MODEL_FORMAT = 1

    def __init__(self, off):
        self.off = off

    def fit(self, _leads, as_of):
        return {"format": self.MODEL_FORMAT, "off": self.off, "fitted": as_of.isoformat()}

    def evaluate(self, _leads, model, _as_of):
        return {"brier": 0.1 + model["off"], "log_loss": 0.3 + model["off"]}


@pytest.fixture
def database(worker_url):
    with open_pool(settings_for(worker_url)) as opened:
        yield opened


def run_contest(database, off, as_of):
    """Let a fit contend as of an instant and keep what came of it, as a run does."""
    job = Contender(off)
    fitted = job.fit(None, as_of)
    choice = choose_model(database, job, None, fitted, as_of)
    database.retrying(lambda conn: store_choice(conn, JOB, fitted, as_of, choice), read_only=False)
    return choice


def in_force(database, before):
    found = database.retrying(lambda conn: read_in_force(conn, JOB, before), read_only=True)
    return None if found is None else found.parameters["off"]


def test_the_first_fit_speaks(database):
    assert in_force(database, AS_OF) is None
    choice = run_contest(database, 0.5, AS_OF)
    assert choice.adopted
    assert choice.scores["held_out"]["brier"] == 0.6
    assert choice.scores["rival"] is None
    assert in_force(database, AS_OF) is None  # what is learned as of an instant tells nothing of that instant's past
    assert in_force(database, AS_OF + DAY) == 0.5


def test_a_challenger_that_loses_stays_silent(database):
    run_contest(database, 0.1, AS_OF - 40 * DAY)
    worse = run_contest(database, 0.2, AS_OF)
    assert not worse.adopted
    assert worse.model["off"] == 0.1
    assert worse.scores["rival"]["brier"] == pytest.approx(0.2)
    assert in_force(database, AS_OF + DAY) == 0.1


@pytest.mark.parametrize("off", [0.1, 0.05])
def test_a_challenger_that_does_not_lose_takes_over(database, off):
    run_contest(database, 0.1, AS_OF - 40 * DAY)
    choice = run_contest(database, off, AS_OF)
    assert choice.adopted
    assert choice.model["fitted"] == AS_OF.isoformat()


@pytest.mark.parametrize("spoilt", ["brier", "log_loss"])
def test_losing_by_one_score_is_losing(database, monkeypatch, spoilt):
    run_contest(database, 0.1, AS_OF - 40 * DAY)

    def evaluate(_self, _leads, model, _as_of):
        scores = {"brier": 0.1, "log_loss": 0.3}
        return scores | ({spoilt: scores[spoilt] + 1e-6} if model["off"] == 0.0 else {})

    monkeypatch.setattr(Contender, "evaluate", evaluate)
    assert not run_contest(database, 0.0, AS_OF).adopted


def test_fits_of_each_day_follow_each_other_without_being_made_twice(database, monkeypatch):
    """The same code a window earlier is the rival itself: the newest data speak."""
    for number in range(35):
        assert run_contest(database, 0.1, AS_OF + number * DAY).adopted
    fits = []
    monkeypatch.setattr(
        Contender,
        "fit",
        lambda _self, _leads, as_of: fits.append(as_of) or {"format": 1, "off": 0.1, "fitted": as_of.isoformat()},
    )
    last = AS_OF + 35 * DAY
    choice = run_contest(database, 0.1, last)
    assert choice.adopted
    assert fits == [last]
    assert choice.scores["held_out"]["stand_in"] == choice.scores["rival"]["version"]


def test_a_young_champion_is_not_judged_by_what_it_has_seen(database):
    """Its training span reaches into the window: whoever spoke when that began is the rival."""
    run_contest(database, 0.1, AS_OF - 40 * DAY)
    run_contest(database, 0.0, AS_OF - 5 * DAY)
    assert run_contest(database, 0.05, AS_OF).scores["rival"]["brier"] == pytest.approx(0.2)


def test_a_model_chosen_by_hand_stays_for_a_window_and_must_then_win(database):
    for number in range(3):
        run_contest(database, 0.1, AS_OF + number * DAY)
    old = model_version(JOB, Contender(0.1).fit(None, AS_OF))
    chosen = AS_OF + 3 * DAY
    database.retrying(lambda conn: adopt_model(conn, JOB, old, chosen, by_hand=True), read_only=False)
    for number in (5, 20, 32):
        choice = run_contest(database, 0.0, AS_OF + number * DAY)
        assert (choice.adopted, choice.version) == (False, old)
    assert run_contest(database, 0.2, AS_OF + 34 * DAY).version == old
    assert run_contest(database, 0.05, AS_OF + 35 * DAY).adopted


def test_a_champion_of_another_format_is_passed_over(database, monkeypatch):
    """What newer code cannot read neither speaks nor wins."""
    run_contest(database, 0.0, AS_OF - 40 * DAY)
    monkeypatch.setattr(Contender, "MODEL_FORMAT", 2)
    choice = run_contest(database, 0.3, AS_OF)
    assert (choice.adopted, choice.scores["rival"]) == (True, None)


def test_a_rerun_decides_the_same(database):
    run_contest(database, 0.1, AS_OF - 40 * DAY)
    first = run_contest(database, 0.05, AS_OF)
    assert run_contest(database, 0.05, AS_OF) == first


@pytest.fixture
def company(database_url, connect):
    """Three clients with leads over 60 days, a tenth of them converted."""
    conn = connect(database_url)
    for kind, n in ((1, 60), (2, 24), (3, 40)):
        client = add_client(conn, kind)
        add_simple_leads(conn, client, kind, n, AS_OF)
        for i in range(0, n, 9):
            lead = numbered(kind, i)
            when = AS_OF - timedelta(days=60 * (i + 0.5) / n) + timedelta(days=2 + i % 7)
            if when < AS_OF:
                add_action(conn, client, lead, "tag", when, tag="Converted", conversion_outcome=True)
                conn.execute("UPDATE lead_memory SET current_tag = 'Converted' WHERE id = %s", [lead])
    return conn


def run(url, *arguments, **environment):
    outcome = run_worker(url, *arguments, **environment)
    assert outcome.code == 0, outcome.err
    return outcome


def versions(conn):
    rows = conn.execute(
        "SELECT DISTINCT learning_snapshot ->> 'period_key', learning_snapshot ->> 'model_version' FROM growth_brain"
        " WHERE event_type = %s", [JOB]
    ).fetchall()  # fmt: skip
    return dict(rows)


def test_from_the_stored_json_alone_the_same_predictions_come_out(database_url, worker_url, company):
    run(worker_url, JOB, "--as-of", AS_OF.isoformat())
    said = {row["client_id"]: row for row in snapshots(company) if row["client_id"]}
    version = versions(company)["2025-03-30"]
    stored = company.execute("SELECT parameters FROM worker.models WHERE version = %s", [version]).fetchone()[0]
    assert model_version(JOB, stored) == version
    with open_pool(settings_for(database_url)) as opened:
        leads, _ = opened.retrying(
            lambda conn: read_leads(conn, read_catalogue(conn), None), read_only=True
        )  # fmt: skip
    seen = []
    with pytest.MonkeyPatch.context() as patch:
        analyse = conversion_prediction.analyse
        patch.setattr(
            conversion_prediction, "analyse", lambda *args: seen.append(args[3].bit_generator.state) or analyse(*args)
        )
        run(worker_url, JOB, "--as-of", AS_OF.isoformat(), "--dry-run")
    rng = np.random.default_rng()
    rng.bit_generator.state = seen[0]
    for finding in conversion_prediction.analyse(leads, stored, AS_OF, rng):
        content = said[finding.client_id]["learning_snapshot"]
        assert content["expected_conversions"] == finding.content["expected_conversions"]
        assert content["high_value_leads"] == finding.content["high_value_leads"]
        assert content["claim"]["probability"] == finding.claim.probability


def test_a_model_with_a_short_history_still_speaks_when_there_is_more(worker_url, company):
    run(worker_url, JOB, "--as-of", (AS_OF - 30 * DAY).isoformat())
    early = versions(company)["2025-02-28"]
    late = AS_OF + 65 * DAY
    run(worker_url, "models", "--use", early)
    company.execute("UPDATE worker.adoptions SET as_of = %s WHERE by_hand", [late - DAY])
    run(worker_url, JOB, "--as-of", late.isoformat())
    assert versions(company)["2025-06-03"] == early


def test_models_lists_them_and_goes_back(worker_url, company):
    assert "No model yet" in run(worker_url, "models").out
    for day in ("2025-03-10", "2025-03-29"):
        run(worker_url, JOB, "--as-of", day)
    found = run(worker_url, "models", "--json").json["models"]
    assert [model["in_force"] for model in found] == [True, False]
    assert found[0]["scores"]["held_out"]["leads"] > 0
    assert found[0]["trained_from"] < found[0]["as_of"] == "2025-03-30T00:00:00+00:00"
    older = found[1]["version"]
    short = older.removeprefix(f"{JOB}-")[:6]
    assert "speaks from the next run on" in run(worker_url, "models", "--use", short).out
    table = run(worker_url, "models").out
    assert all(len(line) <= 80 for line in table.splitlines())
    assert [line.split()[0] for line in table.splitlines() if line.endswith("<- chosen")] == [
        older.removeprefix(f"{JOB}-")
    ]
    assert versions(company)["2025-03-29"] == found[0]["version"]


@pytest.mark.parametrize("parameters", ['{"format": 0}', "{}", "[]", "null"])
def test_a_model_that_this_code_cannot_read_is_refused(worker_url, company, parameters):
    """It would be passed over by every run, though the command said that it speaks."""
    run(worker_url, JOB, "--as-of", "2025-03-10")
    company.execute(
        "INSERT INTO worker.models (version, job, as_of, parameters) VALUES (%s, %s, '2024-01-01', %s)",
        [f"{JOB}-ffff", JOB, parameters],
    )
    before = company.execute("SELECT * FROM worker.adoptions").fetchall()
    outcome = run_worker(worker_url, "models", "--use", "ffff")
    assert (outcome.code, outcome.out) == (2, "")
    assert "another version of this program" in outcome.err
    assert company.execute("SELECT * FROM worker.adoptions").fetchall() == before


def test_a_choice_says_from_when_on_it_holds(worker_url, company):
    for day in ("2025-03-10", "2025-03-29"):
        run(worker_url, JOB, "--as-of", day)
    newest, older = (model["version"] for model in run(worker_url, "models", "--json").json["models"])
    said = run(worker_url, "models", "--use", older).out
    assert f"that looks back from {datetime.now(tz=UTC):%Y-%m-%d}" in said
    run(worker_url, JOB, "--as-of", "2025-03-29")  # a day that was over when the choice was made
    assert versions(company)["2025-03-29"] == newest


@pytest.mark.parametrize("version", ["zzz", "", "conversion_prediction-0; DROP TABLE worker.models"])
@pytest.mark.usefixtures("company")
def test_a_version_that_is_none_is_refused(worker_url, version):
    for day in ("2025-03-10", "2025-03-29"):
        run(worker_url, JOB, "--as-of", day)
    outcome = run_worker(worker_url, "models", "--use", version)
    assert outcome.code == 2
    assert "begin" in outcome.err
