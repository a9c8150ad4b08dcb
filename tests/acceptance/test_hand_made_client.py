"""A client of ten leads whose every number was worked out by hand, beside a second client who must not matter."""

import hashlib
from datetime import UTC, datetime, timedelta
from fractions import Fraction

import psycopg
import pytest
from support import (
    add_action,
    add_client,
    add_lead,
    add_simple_leads,
    by_type,
    numbered,
    run_worker,
    snapshots,
    utc,
    without,
)

AS_OF = datetime(2025, 3, 31, tzinfo=UTC)  # the window is March 2025 from the first on, the one before begins 01-30
DAY = "2025-03-30"
LEADS = 8  # kind of the lead ids
OPEN = (1, 2, 3, 4, 5, 8, 9, 10, 13, 14)  # numbers of the leads that are open at AS_OF, of any age
WEEKS = ("2025-02-09", "2025-02-16", "2025-02-23", "2025-03-02", "2025-03-09", "2025-03-16", "2025-03-23", "2025-03-30")


def lead_id(number):
    return numbered(LEADS, number)


def history(*entries):
    return [{"value": value, "timestamp": f"2025-{when}:00Z".replace(" ", "T")} for value, when in entries]


def add_hand_made_client(conn):
    """Ten leads that count, seven of them of the current window, and four that do not: deleted, test, and two old."""
    client = add_client(conn, 1, business_name="Érables & Fils", language="fr", industry_category="immobilier")

    def lead(number, arrival, **columns):
        add_lead(conn, client, lead_id(number), utc(arrival), name=f"Lead {number}", **columns)

    def action(number, kind, when, **columns):
        add_action(conn, client, lead_id(number), kind, utc(when), **columns)

    # the current window
    lead(1, "03-02 09:00", urgency="High", tone="Professional", confidence_score=0.90, source="referral")
    action(1, "note_added", "03-04 09:00", tag="Note Added")
    lead(2, "03-05 10:00", urgency="Élevée", tone="Amical", confidence_score=0.80, source=" organic_search ",
         current_tag="Suivi")  # fmt: skip
    lead(3, "03-08 11:00", urgency="Faible", tone="très urgente", source="organic_search", timestamp=utc("03-20 11:00"),
         urgency_history=history(("Moyenne", "03-08 11:00"), ("Faible", "03-20 11:00")),
         tone_history=history(("Neutre", "03-08 11:00"), ("très urgente", "03-20 11:00")))  # fmt: skip
    action(3, "insert", "03-20 11:00")  # wrote again after twelve days: too late to count as engaged
    lead(4, "03-12 12:00", urgency="HIGH", tone="Professional and direct", confidence_score=0.60, source="referral",
         timestamp=utc("03-15 12:00"),
         urgency_history=history(("Low", "03-12 12:00"), ("HIGH", "03-15 12:00")),
         confidence_history=history((0.4, "03-12 12:00"), (0.6, "03-15 12:00")))  # fmt: skip
    action(4, "insert", "03-15 12:00")  # and this one after three
    lead(5, "03-18 13:00", confidence_score=0.70, current_tag=None)
    lead(6, "03-22 10:00", urgency="ASAP!!", tone="Sarcastic", confidence_score=0.30, source="google_ads",
         current_tag="Converti")  # fmt: skip
    action(6, "note_added", "03-23 10:00", tag="Note Added")
    action(6, "tag", "03-24 12:00", tag="Converti", conversion_outcome=True)
    lead(7, "03-28 15:00", urgency="Low", tone="Frustré mais motivé", archived=True)
    # the previous window
    lead(8, "01-31 08:00", urgency="High", tone="Formal", confidence_score=0.60, source="referral")
    action(8, "contacted", "02-02 08:00")
    lead(9, "02-11 08:00", urgency="Medium", tone="professionnelle", confidence_score=0.40, source="organic_search")
    lead(10, "02-25 08:00", urgency="Moyen", tone="Hésitant", confidence_score=0.50)
    action(10, "note_added", "03-03 08:00", tag="Note Added")  # after that window's end, which must not know of it
    # what counts in no window
    lead(11, "03-10 08:00", urgency="High", tone="Formal", confidence_score=1, source="referral", deleted=True)
    lead(12, "03-11 08:00", urgency="High", tone="Formal", confidence_score=1, source="referral", is_test=True)
    lead(13, "2024-11-01 08:00", urgency="High", tone="Formal", confidence_score=1, source="referral")
    lead(14, "2024-12-01 08:00", urgency="Haute", tone="Formal", current_tag="Actif")
    action(14, "tag", "2024-12-10 07:00", tag="Converti", conversion_outcome=True)
    action(14, "tag", "2025-01-09 09:00", tag="Actif", conversion_outcome=False, reversion_reason="Autre: trop cher")
    return client


def add_other_client(conn, n=30, **columns):
    other = add_client(conn, 2, **columns)
    add_simple_leads(conn, other, 7, n, AS_OF)
    return other


@pytest.fixture(scope="module")
def hand_made(server):
    """Both clients, after every job as of AS_OF; for looking only."""
    url = server.create_database(server.template)
    with psycopg.connect(url, autocommit=True) as conn:
        client = add_hand_made_client(conn)
        other = add_other_client(conn)
        outcome = run_worker(url, "all", "--as-of", DAY)
        assert outcome.code == 0, outcome.err
        yield conn, client, other
    server.drop_database(url)


@pytest.fixture
def rows(hand_made):
    conn, client, _ = hand_made
    return snapshots(conn, client)


@pytest.fixture
def analyses(rows):
    """The client's snapshots of the analyses that say one thing of each client."""
    return by_type([row for row in rows if row["event_type"] not in ("conversion", "reversion", "pattern_detected")])


def content_of(analyses, event_type):
    return analyses[event_type]["learning_snapshot"]


def assert_close(found, expected):
    """Compare numbers to the last few bits, and everything else exactly, all the way down."""
    if isinstance(expected, dict):
        assert set(found) == set(expected)
        for key, value in expected.items():
            assert_close(found[key], value)
    elif isinstance(expected, list):
        assert len(found) == len(expected)
        for one, other in zip(found, expected, strict=True):
            assert_close(one, other)
    elif isinstance(expected, float | Fraction):
        assert found == pytest.approx(float(expected), abs=1e-12)
    else:
        assert found == expected
        assert isinstance(found, bool) == isinstance(expected, bool)


def test_engagement(analyses):
    content = content_of(analyses, "engagement_score")
    # points of the leads 1 to 7: 96, 62, 0, 84, 40 (urgency unknown), 60 (the same), 0 (only its low urgency is known)
    raw, raw_before = Fraction(342, 7), Fraction(55)  # 84, 31 and 50 (too young to be called engaged or not)
    assert content["overall_score"] == 49
    assert content["period"] == "last_30_days"
    assert_close(
        content["metrics"],
        {"total_leads": 7, "active_leads": 5, "avg_confidence": 0.66, "high_urgency_pct": 0.6},
    )
    assert content["top_sources"] == ["organic_search", "referral", "google_ads"]
    assert content["top_industries"] == ["Real Estate"]
    assert_close(content["score"]["raw"], raw)
    assert_close(content["previous"]["raw"], raw_before)
    assert_close(
        content["parts"],
        [
            {"part": "confidence", "points": Fraction(1044, 49) - Fraction(160, 7)},
            {"part": "urgency", "points": Fraction(90, 7) - Fraction(155, 7)},
            {"part": "engaged", "points": Fraction(720, 49) - Fraction(10)},
        ],
    )
    change = content["score"]["raw"] - content["previous"]["raw"]
    assert sum(part["points"] for part in content["parts"]) == pytest.approx(change, abs=1e-12)
    for score in (content["score"], content["previous"]):
        assert score["interval"]["low"] < score["shrunken"] < score["interval"]["high"]
        assert score["interval"]["level"] == 0.8
    assert content["trend"] in ("increasing", "stable", "decreasing")


def test_urgency(analyses):
    content = content_of(analyses, "urgency_trend")
    assert_close(content["high_urgency_pct"], 0.6)
    assert_close(content["previous_high_urgency_pct"], Fraction(1, 3))
    assert_close(content["change"], Fraction(4, 15))
    assert content["counts"] == {"High": 3, "Medium": 0, "Low": 2, "unknown": 2}
    assert_close(content["distribution"], {"High": 0.6, "Medium": 0.0, "Low": 0.4})
    assert_close(
        content["data_points"],
        [
            {"date": date, "avg_urgency": level, "high_urgency_pct": share, "leads": leads}
            for date, (level, share, leads) in zip(
                WEEKS,
                [
                    (None, None, 0),  # lead 8 came before the first of these weeks
                    ("Medium", 0.0, 1),  # 9
                    (None, None, 0),
                    ("High", 0.5, 2),  # 10 and 1: midway between Medium and High, halves go up
                    ("Medium", 0.5, 2),  # 2 and 3
                    ("High", 1.0, 1),  # 4
                    (None, None, 2),  # 5 and 6, of unknown urgency
                    ("Low", 0.0, 1),  # 7
                ],
                strict=True,
            )
        ],
    )
    assert content["change_interval"]["low"] < content["change_interval"]["high"]


def test_tone(analyses):
    content = content_of(analyses, "tone_distribution")
    families = dict.fromkeys(content["distribution"], 0)
    assert len(families) == 15
    known = {"Professional": 2, "Friendly": 1, "Urgent": 1, "Other": 1, "Frustrated": 1}
    assert content["counts"] == {**families, **known, "unknown": 1}
    assert_close(
        content["distribution"], {tone: Fraction(n, 6) if n else 0.0 for tone, n in {**families, **known}.items()}
    )
    assert content["previous"]["n"] == 3
    third = {"Formal": Fraction(1, 3), "Professional": Fraction(1, 3), "Hesitant": Fraction(1, 3)}
    assert_close(content["previous"]["distribution"], {**dict.fromkeys(families, 0.0), **third})
    for shares in (content["distribution"], content["estimate"], content["previous"]["estimate"]):
        assert sum(shares.values()) == pytest.approx(1, abs=1e-12)
    distance = sum(abs(content["estimate"][t] - content["previous"]["estimate"][t]) for t in families) / 2
    assert content["shift"] == pytest.approx(distance, abs=1e-12)
    assert content["dominant_tone"] == max(content["estimate"], key=content["estimate"].__getitem__)
    assert 0 < content["dominant_tone_probability"] < 1


def test_conversion_prediction(analyses):
    content = content_of(analyses, "conversion_prediction")
    ids = sorted(lead_id(number) for number in OPEN)
    assert content["cohort"] == {"size": 10, "hash": hashlib.sha256("\n".join(ids).encode()).hexdigest()[:16]}
    assert content["prediction_window"] == "next_30_days"
    mean = content["expected_conversions"]
    m = content["predicted_conversions"]
    assert m == int(mean + 0.5)
    assert isinstance(m, int)
    k = max(1, int(m / 4 + 0.5))
    claim = content["claim"]
    assert (claim["low"], claim["high"]) == (max(0, m - k), m + k)
    listed = content["high_value_leads"]
    assert sorted(lead["lead_id"] for lead in listed) == ids
    assert [lead["probability"] for lead in listed] == sorted((lead["probability"] for lead in listed), reverse=True)
    assert all(0 < lead["probability"] < 1 and lead["estimated_value"] is None for lead in listed)
    assert content["interval"]["low"] <= mean <= content["interval"]["high"]
    assert content["recommended_actions"]
    assert all(isinstance(sentence, str) for sentence in content["recommended_actions"])


def test_the_leads_probabilities_add_up_to_the_expected_conversions(analyses):
    content = content_of(analyses, "conversion_prediction")  # all ten leads of the cohort are listed
    total = sum(lead["probability"] for lead in content["high_value_leads"])
    assert total == pytest.approx(content["expected_conversions"], rel=0.05)


def test_conversions_and_reversions(rows):
    events = [row for row in rows if row["event_type"] in ("conversion", "reversion")]
    assert [(row["event_type"], row["created_at"]) for row in events] == [
        ("conversion", utc("2024-12-10 07:00")),
        ("conversion", utc("2025-03-24 12:00")),
        ("reversion", utc("2025-01-09 09:00")),
    ]
    first, second, reversion = (row["learning_snapshot"] for row in events)
    seed_keys = ("lead_id", "lead_name", "conversion_value", "days_to_convert", "touch_points", "initial_urgency")
    assert [first[key] for key in (*seed_keys, "final_tag")] == [
        lead_id(14), "Lead 14", None, 8, 1, "High", "Converted",  # 8 days and 23 hours
    ]  # fmt: skip
    assert [second[key] for key in (*seed_keys, "final_tag")] == [
        lead_id(6), "Lead 6", None, 2, 2, None, "Converted",  # its arrival and the note
    ]  # fmt: skip
    assert (second["period_key"], second["claim_key"]) == ("2025-03-24", f"{lead_id(6)}@2025-03-24T12:00:00+00:00")
    assert [reversion[key] for key in ("lead_id", "lead_name", "reason", "reverted_to", "days_as_customer")] == [
        lead_id(14), "Lead 14", "Autre: trop cher", "Active", 30,
    ]  # fmt: skip
    for row in events:
        content = row["learning_snapshot"]
        assert content["claim"]["kind"] == "stays"
        assert content["claim"]["days"] == 90
        assert content["check"]["resolver"] == "outcome"
        due = datetime.fromisoformat(content["check"]["resolve_at"])
        assert due == row["created_at"] + timedelta(days=90)


def test_every_snapshot_keeps_the_contract(hand_made, analyses):
    claims = {
        "engagement_score": ("change_class", "split_half", AS_OF),
        "urgency_trend": ("change_class", "split_half", AS_OF),
        "tone_distribution": ("within_distance", "split_half", AS_OF),
        "conversion_prediction": ("count_in_range", "outcome", AS_OF + timedelta(days=30)),
        "accuracy_review": ("within_distance", "outcome", AS_OF + timedelta(days=30)),
    }
    assert set(analyses) == set(claims)
    for event_type, row in analyses.items():
        content = row["learning_snapshot"]
        kind, resolver, resolve_at = claims[event_type]
        assert (content["claim"]["kind"], content["check"]["resolver"]) == (kind, resolver)
        assert datetime.fromisoformat(content["check"]["resolve_at"]) == resolve_at
        assert content["check"]["p"] is None or 0 <= content["check"]["p"] <= 1
        assert row["created_at"] == AS_OF
        assert datetime.fromisoformat(content["as_of"]) == AS_OF
        assert (content["period_key"], content["claim_key"]) == (DAY, "")
        assert content["schema_version"] == 1
        assert content["model_version"]
        if event_type == "accuracy_review":  # its window is that of the claims, and n counts claims: see below
            continue
        assert {k: datetime.fromisoformat(v) for k, v in content["window"].items()} == {
            "from": AS_OF - timedelta(days=30),
            "to": AS_OF,
        }
        n, n_previous = (10, None) if event_type == "conversion_prediction" else (7, 3)
        assert (content["n"], content["n_previous"]) == (n, n_previous)
    content = content_of(analyses, "accuracy_review")
    jobs = content["jobs"].values()
    assert (content["n"], content["n_previous"]) == (sum(job["resolved"] for job in jobs), None)
    assert datetime.fromisoformat(content["window"]["to"]) == AS_OF
    assert content_of(analyses, "conversion_prediction")["confidence"] == float(
        analyses["conversion_prediction"]["confidence"]
    )
    assert content_of(analyses, "engagement_score")["claim"]["dead_band"] == 3
    assert content_of(analyses, "urgency_trend")["claim"]["dead_band"] == 0.05
    assert content_of(analyses, "tone_distribution")["claim"]["distance"] == 0.10
    for event_type in ("engagement_score", "urgency_trend"):
        assert content_of(analyses, event_type)["claim"]["class"] == content_of(analyses, event_type)["trend"]
    conn, *_ = hand_made
    for row in snapshots(conn):
        probability = row["learning_snapshot"]["claim"]["probability"]
        assert 0 <= probability <= 1
        assert float(row["confidence"]) == round(min(0.99, max(0.01, probability)), 2)
        assert row["insight_text"].strip()
        assert row["learning_snapshot"]["claim"]["text"].endswith(".")


def test_texts_are_in_the_clients_language(hand_made, rows):
    conn, _, other = hand_made
    french = " ".join(row["insight_text"] for row in rows)
    english = " ".join(row["insight_text"] for row in snapshots(conn, other))
    assert " the " not in french
    assert " the " in english
    assert "Lead 6" in french  # the conversion's text names the lead, as the seed's example does
    named = [row["event_type"] for row in rows if "Lead " in str(row["learning_snapshot"]) + row["insight_text"]]
    assert set(named) == {"conversion", "reversion"}


def test_the_global_snapshot_speaks_of_both(hand_made):
    conn, *_ = hand_made
    everyone = by_type([row for row in snapshots(conn, None) if row["event_type"] != "pattern_detected"])
    assert set(everyone) == {
        "engagement_score", "urgency_trend", "tone_distribution", "conversion_prediction", "accuracy_review",
    }  # fmt: skip
    content = content_of(everyone, "engagement_score")
    assert content["metrics"]["total_leads"] == 7 + 15
    assert (content["n"], content["n_previous"]) == (22, 18)
    assert content["top_industries"] == ["Real Estate"]  # the other client has none
    assert content_of(everyone, "conversion_prediction")["cohort"]["size"] == 10 + 30


RAW = {
    "engagement_score": ("overall_score", "period", "metrics", "top_sources", "top_industries", "parts"),
    "urgency_trend": (
        "high_urgency_pct", "previous_high_urgency_pct", "change", "counts", "distribution", "data_points",
    ),
    "tone_distribution": ("counts", "distribution"),
    "conversion_prediction": ("cohort",),
    "accuracy_review": (),
    "conversion": ("lead_id", "days_to_convert", "touch_points", "initial_urgency", "final_tag"),
    "reversion": ("lead_id", "reason", "reverted_to", "days_as_customer"),
}  # fmt: skip


def raw_numbers(rows):
    """What the snapshots say of the client's own leads, before anything is borrowed from the others."""
    common = ("n", "n_previous", "window", "period_key", "claim_key", "as_of")
    found = []
    for row in rows:
        if row["event_type"] == "pattern_detected":
            continue
        content = row["learning_snapshot"]
        found.append((row["event_type"], {key: content[key] for key in (*common, *RAW[row["event_type"]])}))
        if row["event_type"] == "engagement_score":
            found.append(("raw", [content["score"]["raw"], content["previous"]["raw"]]))
    return found


def test_the_other_clients_leads_change_no_raw_number(rows, database_url, connect):
    conn = connect(database_url)
    client = add_hand_made_client(conn)
    other = add_other_client(conn, n=3)
    steps = (
        "UPDATE lead_memory SET urgency = 'High', tone = 'Curious', confidence_score = 1 WHERE client_id = %(other)s",
        "UPDATE lead_memory SET timestamp = timestamp - interval '9 days' WHERE client_id = %(other)s",
        "DELETE FROM lead_memory WHERE client_id = %(other)s",
        "DELETE FROM clients WHERE client_id = %(other)s",
    )
    for step in ("SELECT 1", *steps):
        conn.execute(step, {"other": other})
        assert run_worker(database_url, "all", "--as-of", DAY, "--client", client).code == 0
        mine = snapshots(conn)
        assert {row["client_id"] for row in mine} == {client}
        assert raw_numbers(mine) == raw_numbers(rows)


def test_a_client_outside_the_pool_changes_nothing_at_all(database_url, connect):
    conn = connect(database_url)
    client = add_hand_made_client(conn)
    add_other_client(conn)
    outsider = add_client(conn, 3, is_test=True)
    assert run_worker(database_url, "all", "--as-of", DAY).code == 0
    before = snapshots(conn)
    add_simple_leads(conn, outsider, 6, 40, AS_OF, source="elsewhere", urgency="High")
    add_action(conn, outsider, numbered(6, 3), "tag", utc("03-29 12:00"), tag="Converted", conversion_outcome=True)
    assert run_worker(database_url, "all", "--as-of", DAY).code == 0
    after = snapshots(conn)
    assert [row for row in after if row["client_id"] != outsider] == before
    assert {row["event_type"] for row in after if row["client_id"] == outsider} >= {"engagement_score", "conversion"}
    assert client in {row["client_id"] for row in before}


def test_however_the_work_is_split_the_snapshots_are_the_same(rows, hand_made, database_url, connect):
    conn = connect(database_url)
    client = add_hand_made_client(conn)
    add_other_client(conn)
    expected = [without(row) for row in snapshots(hand_made[0])]
    assert run_worker(database_url, "all", "--as-of", DAY, "--shards", 7).code == 0
    assert [without(row) for row in snapshots(conn)] == expected
    conn.execute("DELETE FROM growth_brain")
    assert run_worker(database_url, "all", "--as-of", DAY, "--client", client).code == 0
    assert [without(row) for row in snapshots(conn)] == [without(row) for row in rows]


def test_a_later_fact_does_not_leak_into_an_earlier_day(rows, database_url, connect):
    conn = connect(database_url)
    client = add_hand_made_client(conn)
    add_other_client(conn)
    add_lead(conn, client, lead_id(20), AS_OF, urgency="High", tone="Formal", confidence_score=1, source="later")
    add_action(conn, client, lead_id(1), "tag", AS_OF, tag="Converted", conversion_outcome=True)
    conn.execute("UPDATE lead_memory SET current_tag = 'Converted' WHERE id = %s", [lead_id(1)])
    add_action(conn, client, lead_id(2), "delete", AS_OF)
    conn.execute("UPDATE lead_memory SET deleted = true WHERE id = %s", [lead_id(2)])
    add_action(conn, client, lead_id(5), "note_added", AS_OF, tag="Note Added")
    assert run_worker(database_url, "all", "--as-of", DAY).code == 0
    assert [without(row) for row in snapshots(conn, client)] == [without(row) for row in rows]
