"""What decides past claims: each resolver beside a slow and obvious one, and what is void, pending or not yet made."""

import json
from dataclasses import replace
from datetime import timedelta
from functools import cache

import numpy as np
import pytest
from lead_rows import AS_OF, CLIENT_IDS, action, analysed, arranged, days_before, fitted, lead, look_back, world
from test_jobs_laws import erased

from worker.growth_brain import make_snapshot
from worker.jobs import accuracy_review, load_job
from worker.leads import OPEN, to_microseconds
from worker.reading import arrange
from worker.review.claims import BY_ROW, BY_WINDOW, PastClaim
from worker.review.resolved import PENDING, REVIEW, RIGHT, TYPES, VOID, WRONG, base_rates
from worker.review.resolvers import differs, resolve_claims
from worker.simulate import PlantedChange

MINE = CLIENT_IDS[0]
NAMES = ("engagement_score", "urgency_trend", "tone_distribution", "pattern_detection", "conversion_prediction")
NOTHING = PastClaim(MINE, "conversion_prediction", AS_OF, "", *(None,) * 15)


def read_back(finding, as_of, version):
    """Give the claim of a finding as read_claims reads it from its snapshot."""
    row = json.loads(json.dumps(make_snapshot(finding, as_of, version, "en").as_json()))
    s = row["learning_snapshot"]
    interval, cohort, claim, check = (s.get(key, {}) for key in ("interval", "cohort", "claim", "check"))
    texts = (s["claim_key"], s["model_version"], s.get("lead_id"), check.get("class"), cohort.get("hash"))
    numbers = (
        s["n"], s["n_previous"], claim["probability"], claim.get("uncalibrated"),
        claim.get("low"), claim.get("high"), check["p"], s.get("expected_conversions"), interval.get("low"),
        interval.get("high"), cohort.get("size"),
    )  # fmt: skip
    text = json.dumps([*texts, *numbers])
    return PastClaim.read(row["client_id"], row["event_type"], finding.created_at or as_of, text)


def claims_of(name, leads, as_of):
    """Let a job speak of all clients and of the pool as of an instant; its claims, and its model by version."""
    model = fitted(name, leads, as_of)
    job = load_job(name)
    findings = analysed(name, leads, model, as_of)
    findings += job.analyse(look_back(job, leads, as_of).pool(), model, as_of, np.random.default_rng(1))
    version = f"{name}-{as_of:%Y%m%d}"
    return [read_back(finding, as_of, version) for finding in findings], {version: json.loads(json.dumps(model))}


@cache
def company():
    plan = {
        0: PlantedChange(high_share=(0.1, 0.8), leads_per_window=90),
        1: PlantedChange(volume=3.0, leads_per_window=60),
        2: PlantedChange(source=("referral", 0.5), leads_per_window=90),
    }
    return arrange(*world(7, n_clients=6, plan=plan, special_clients=False))


def counted(lead_id, n=1, **columns):
    """Make leads that arrived 80 days before AS_OF."""
    return [lead(f"{lead_id}-{i}", days_before(80), **columns) for i in range(n)]


def said(low, high, *, size=None, when=60, p=0.8, digest=None):
    """Claim a range of conversions."""
    return replace(
        NOTHING, as_of=days_before(when), probability=p, low=low, high=high, cohort_size=size, cohort_hash=digest,
        expected=(low + high) / 2, interval_low=low, interval_high=high,
    )  # fmt: skip


def states(leads, *claims, models=None, as_of=AS_OF):
    return resolve_claims(leads, list(claims), models or {}, as_of).state.tolist()


# --- counts of conversions -------------------------------------------------------------------------------------------


def test_a_count_is_of_the_leads_open_then_that_converted_in_the_thirty_days():
    rows = [*counted("open", 5), lead("late", days_before(50)), *counted("before")]
    actions = [
        action("open-0", "tag", days_before(60), tag="Converted"),  # at the very instant: after it
        action("open-1", "tag", days_before(31), tag="Converted"),
        action("open-2", "tag", days_before(30), tag="Converted"),  # at the end: after it
        action("late", "tag", days_before(40), tag="Converted"),  # had not arrived
        action("before-0", "tag", days_before(70), tag="Converted"),  # was no longer open
    ]
    leads = arranged(rows, actions)
    past = resolve_claims(
        leads, [said(2, 2, size=5), said(1, 3, size=5), said(0, 1, size=5), said(3, 9, size=5)], {}, AS_OF
    )
    assert past.actual.tolist() == [2, 2, 2, 2]
    assert past.state.tolist() == [RIGHT, RIGHT, WRONG, WRONG]


def test_counts_equal_a_slow_count_lead_by_lead():
    leads = company()
    for when in (40, 75, 100):
        instant = days_before(when)
        claims, models = claims_of("conversion_prediction", leads, instant)
        past = resolve_claims(leads, claims, models, AS_OF)
        assert len(past) == 7
        for row, claim in enumerate(past.claims):
            slow = slow_count(leads, instant, claim.client_id)
            assert past.actual[row] == slow
            assert past.state[row] == (RIGHT if claim.low <= slow <= claim.high else WRONG)
            assert past.said[row] == claim.probability
        assert not past.altered.any()  # the leads are, by their hash, those that the claims were made of
        assert np.isfinite(past.crps).all()


def slow_count(leads, instant, client_id):
    start, end = to_microseconds(instant), to_microseconds(instant + timedelta(days=30))
    state, actions, n = leads.state_at(start), leads.actions, 0
    for i in range(len(leads)):
        mine = client_id is None or leads.clients.ids[leads.client[i]] == client_id
        if not mine or leads.arrival[i] >= start or state[i] != OPEN:
            continue
        wins = actions.that(actions.deeds.winning_by_tag | actions.deeds.winning_by_outcome) & (actions.lead == i)
        n += bool((wins & (actions.time >= start) & (actions.time < end)).any())
    return n


def test_a_conversion_that_nothing_dates_makes_the_count_void():
    rows = [*counted("open", 5), lead("undated", days_before(80), tag="Converted", updated=days_before(45))]
    assert states(arranged(rows), said(0, 9, size=6)) == [VOID]
    # it may have been in those days as well where it came to be known later, unless that is yet to come
    later = [*counted("open", 5), lead("undated", days_before(80), tag="Converted", updated=days_before(10))]
    assert states(arranged(later), said(0, 9, size=6)) == [VOID]
    assert states(arranged(later), said(0, 9, size=6), as_of=days_before(10)) == [RIGHT]
    excused = action("open-0", "tag", days_before(10), tag="Follow-Up", converted=False, reason="other")
    assert states(arranged(counted("open", 6), [excused]), said(0, 9, size=6)) == [VOID]
    known_before = [*counted("open", 5), lead("undated", days_before(80), tag="Converted", updated=days_before(65))]
    assert states(arranged(known_before), said(0, 9, size=5)) == [RIGHT]


@pytest.mark.parametrize(
    ("then", "now", "void"), [(5, 6, False), (5, 7, True), (40, 44, False), (40, 45, True), (40, 35, True)]
)
def test_leads_imported_or_erased_in_bulk_make_the_count_void(then, now, void):
    expected = VOID if void else RIGHT
    assert states(arranged(counted("open", now)), said(0, 2, size=then, digest="another")) == [expected]


def test_the_same_leads_are_the_same_whatever_their_number_is_said_to_be():
    leads = arranged(counted("open", 5))
    (claim, _), _ = claims_of("conversion_prediction", leads, days_before(60))
    past = resolve_claims(leads, [replace(claim, cohort_size=50.0), claim], {}, AS_OF)
    assert past.state.tolist() == [RIGHT, RIGHT]
    assert not past.altered.any()
    other = arranged([*counted("open", 4), *counted("swapped")])
    assert resolve_claims(other, [claim], {}, AS_OF).altered.tolist() == [True]


def test_the_pools_count_leaves_out_test_clients():
    rows = [*counted("a", 3), *counted("b", 3, client=CLIENT_IDS[1])]
    actions = [action(f"{name}-0", "tag", days_before(50), tag="Converted") for name in ("a", "b")]
    leads = arranged(rows, actions, n_clients=2, pooled=(True, False))
    past = resolve_claims(
        leads, [replace(said(0, 2, size=3), client_id=c) for c in (MINE, CLIENT_IDS[1], None)], {}, AS_OF
    )
    assert past.actual.tolist() == [1, 1, 1]
    assert past.pooled.tolist() == [True, False, False]


# --- what half of the leads shows -------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", NAMES[:3])
def test_a_check_is_decided_as_the_job_itself_would(name):
    leads = company()
    instant = days_before(20)
    claims, models = claims_of(name, leads, instant)
    past = resolve_claims(leads, claims, models, AS_OF)
    seen = look_back(load_job(name), leads, instant)
    decided = 0
    for part in (seen, seen.pool()):
        checks = load_job(name).half_checks(part, next(iter(models.values())), instant, np.random.default_rng(2))
        for client, agreed, p in zip(checks.client, checks.agreed, checks.p, strict=True):
            client_id = part.clients.ids[client]
            row = next(i for i, claim in enumerate(past.claims) if claim.client_id == client_id)
            expected = VOID if not np.isfinite(p) else RIGHT if agreed else WRONG
            assert past.state[row] == expected
            decided += expected != VOID
    assert decided >= 5
    assert past.said[past.decided].tolist() == [c.check_p for c, d in zip(past.claims, past.decided, strict=True) if d]


def test_urgency_is_decided_by_the_shares_of_the_half_set_aside():
    leads, instant = company(), days_before(20)
    claims, models = claims_of("urgency_trend", leads, instant)
    past = resolve_claims(leads, claims, models, AS_OF)
    for row, claim in enumerate(past.claims):
        shares = []
        for first, last in ((80, 50), (50, 20)):
            end = to_microseconds(days_before(last))
            code = leads.urgency.latest_before(end, len(leads), -1)
            there = leads.in_half & leads.arrived(to_microseconds(days_before(first)), end) & (code >= 0)
            if claim.client_id is not None:
                there &= leads.client == leads.clients.ids.index(claim.client_id)
            shares.append((code[there] == 2).mean() if there.any() else np.nan)
        change = shares[1] - shares[0]
        shown = "increasing" if change > 0.05 + 1e-9 else "decreasing" if change < -0.05 - 1e-9 else "stable"
        assert past.state[row] == (VOID if np.isnan(change) else RIGHT if shown == claim.check_states else WRONG)


def test_a_pattern_is_decided_by_the_sign_that_the_half_set_aside_shows():
    leads = company()
    claims, models = claims_of("pattern_detection", leads, AS_OF - timedelta(microseconds=1))
    high = [c for c in claims if c.client_id and c.claim_key == "urgency_increasing:High:own_past"]
    assert high
    against = [replace(high[0], claim_key="urgency_decreasing:High:own_past")]
    past = resolve_claims(leads, [*claims, *against], models, AS_OF)
    assert past.state[past.claims.index(high[0])] == RIGHT  # .1 became .8
    assert past.state[-1] == VOID  # nothing of the kind is said today
    assert (past.state[:-1] >= WRONG).sum() >= 3


def test_a_model_that_is_gone_or_of_another_program_makes_the_check_void():
    leads, instant = company(), days_before(20)
    claims, models = claims_of("urgency_trend", leads, instant)
    version = next(iter(models))
    assert set(states(leads, *claims)) == {VOID}
    assert set(states(leads, *claims, models={version: {"prior": None}})) == {VOID}
    assert RIGHT in states(leads, *claims, models=models)


def test_leads_imported_since_make_the_check_void():
    leads, instant = company(), days_before(20)
    claims, models = claims_of("urgency_trend", leads, instant)
    more = [replace(claim, n=claim.n * 0.8) for claim in claims]
    before = [replace(claim, n_previous=claim.n_previous * 1.2 + 2) for claim in claims]
    assert set(states(leads, *more, *before, models=models)) == {VOID}


def test_a_check_without_a_probability_is_void():
    leads, instant = company(), days_before(20)
    claims, models = claims_of("urgency_trend", leads, instant)
    assert set(states(leads, *(replace(c, check_p=None) for c in claims), models=models)) == {VOID}


@pytest.mark.parametrize(
    ("then", "now", "other"), [(0, 1, False), (0, 2, True), (30, 33, False), (30, 34, True), (np.nan, 1, True)]
)
def test_groups_of_leads_may_differ_by_one_or_by_a_tenth(then, now, other):
    assert differs(np.array([float(then)]), np.array([float(now)])).tolist() == [other]


# --- events, time, and what is nobody's ------------------------------------------------------------------------------


def test_events_stay_ninety_days_or_not():
    tags = {"stays": "Converted", "leaves": None, "erased": "Converted", "young": "Converted"}
    rows = [lead(name, days_before(200), tag=tag) for name, tag in tags.items()]
    when = {"stays": 150, "leaves": 140, "erased": 130, "young": 60}
    actions = [action(name, "tag", days_before(day), tag="Converted") for name, day in when.items()]
    actions.append(action("leaves", "revert", days_before(100)))
    leads = arranged(rows, actions)
    claims, _ = claims_of("conversion_events", leads, AS_OF)
    events = {(c.event_type, c.lead_id): c for c in claims}
    assert len(events) == 5
    without = arranged([row for row in rows if row[0] != "erased"], [row for row in actions if row[0] != "erased"])
    past = resolve_claims(without, list(events.values()), {}, AS_OF)
    found = {(c.event_type, c.lead_id): state for c, state in zip(past.claims, past.state.tolist(), strict=True)}
    assert found == {
        ("conversion", "stays"): RIGHT,
        ("conversion", "leaves"): WRONG,
        ("conversion", "erased"): VOID,
        ("conversion", "young"): PENDING,
        ("reversion", "leaves"): RIGHT,
    }


def test_a_claim_is_pending_until_its_very_last_day_is_over():
    leads = arranged(counted("open", 5))
    claim = said(0, 1, size=5, when=30)
    assert states(leads, claim) == [RIGHT]
    assert states(leads, claim, as_of=AS_OF - timedelta(microseconds=1)) == [PENDING]


def test_what_happens_from_the_review_on_decides_nothing():
    about, rows, actions = world(7, n_clients=6, special_clients=False)
    leads, then = arrange(about, rows, actions), days_before(35)
    told = [claims_of(name, leads, days_before(70)) for name in NAMES]
    claims, models = [c for some, _ in told for c in some], {k: v for _, some in told for k, v in some.items()}
    cut = arrange(about, *erased(rows, actions, then))
    whole, part = (resolve_claims(which, claims, models, then) for which in (leads, cut))
    assert (whole.state >= WRONG).sum() > 20
    for name in ("state", "said", "actual", "base", "crps"):
        assert getattr(whole, name).tolist() == pytest.approx(getattr(part, name).tolist(), nan_ok=True)


def test_claims_made_later_of_unknown_clients_or_kinds_are_left_out():
    leads = arranged(counted("open", 5))
    strange = [
        replace(said(0, 1, size=5), client_id="gone"),
        replace(said(0, 1, size=5), event_type="weather"),
        said(0, 1, size=5, when=0),
    ]
    assert len(resolve_claims(leads, strange, {}, AS_OF)) == 0


def test_no_claim_at_all_makes_no_finding():
    leads = arranged(counted("open", 2))
    past = accuracy_review.resolve(leads, [], {}, AS_OF)
    model = accuracy_review.fit(leads, AS_OF, past=past)
    rng = np.random.default_rng(1)
    assert accuracy_review.analyse(leads, model, AS_OF, rng, past=past) == []
    assert accuracy_review.analyse(leads.pool(), model, AS_OF, rng, past=past) == []
    assert 0 < model["probability"] < 0.5


def test_a_review_is_right_where_the_next_months_claims_came_as_said():
    leads = arranged([row for c in range(4) for row in counted(f"c{c}", 5, client=CLIENT_IDS[c])], n_clients=4)
    review = replace(NOTHING, client_id=None, event_type="accuracy_review", as_of=days_before(55), check_p=0.7)
    for low, p, expected in ((0, 0.97, RIGHT), (0, 0.9, WRONG), (3, 0.03, RIGHT)):
        next_ones = [replace(said(low, 4, size=5, p=p), client_id=CLIENT_IDS[c]) for c in range(4)]
        past = resolve_claims(leads, [review, *next_ones], {}, AS_OF)
        assert past.state[past.kind == REVIEW].tolist() == [expected]
    before = said(0, 4, size=5, p=0.97, when=90)
    assert resolve_claims(leads, [review, before], {}, AS_OF).state[0] == VOID


def test_base_rates_are_those_of_the_other_windows():
    kind, window = np.array([0, 0, 0, 1, 1, 0]), np.array([1, 1, 2, 1, 1, 3])
    right, pooled = np.array([True, False, True, True, True, True]), np.array([True, True, True, True, True, False])
    slow = [(1 + 0.5) / 2, (1 + 0.5) / 2, (1 + 0.5) / 3, 2.5 / 3, 2.5 / 3, (2 + 0.5) / 4]
    assert base_rates(kind, window, pooled, right) == pytest.approx(slow)


def test_every_kind_that_is_read_is_decided():
    assert {kind.event_type for kind in (*BY_WINDOW, *BY_ROW)} == set(TYPES)
