"""Holdings of a made-up client, as growth_brain has them, for tests of the report."""

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

from worker.report.arrange import arrange, line_of
from worker.report.reading import Client, Holdings, Row, Score
from worker.report.record import Record, Window
from worker.report.render import Listed, render_client, render_operator
from worker.report.words import Words
from worker.vocabulary import TONES

AS_OF = datetime(2026, 11, 30, tzinfo=UTC)
UTC_ZONE = ZoneInfo("UTC")
EN, FR = Words("en", UTC_ZONE), Words("fr", UTC_ZONE)
CLIENT_ID = "5dbc5c03-8d31-4555-b9b7-e9dfe44e9658"


def interval(low, high):
    return {"level": 0.8, "low": low, "high": high}


def claimed(probability=0.71, **parameters):
    return {"kind": "change_class", "probability": probability, "text": "", **parameters}


SCORE = {"raw": 68.7, "shrunken": 68.2, "interval": interval(65.6, 70.7)}
PREVIOUS = {"raw": 60.1, "shrunken": 61.4, "interval": interval(58.9, 63.8)}


def engagement(**changes):
    content = {
        "overall_score": 69, "trend": "stable", "score": SCORE, "previous": PREVIOUS, "n": 103, "n_previous": 123,
        "parts": [{"part": "confidence", "points": 2.1}, {"part": "urgency", "points": 7.5},
                  {"part": "engaged", "points": -1.0}],
        "metrics": {"total_leads": 103}, "claim": claimed(**{"class": "stable"}),
    }  # fmt: skip
    return row("engagement_score", {**content, **changes}, "Engagement is 69 out of 100.", 0.71)


def urgency(**changes):
    weeks = [
        {"date": f"2026-11-{day:02}", "leads": 28, "avg_urgency": "Medium", "high_urgency_pct": share}
        for day, share in ((8, 0.5), (15, 0.0), (22, 1.0))
    ]
    weeks.append({"date": "2026-11-29", "leads": 0, "avg_urgency": None, "high_urgency_pct": None})
    content = {
        "trend": "increasing", "high_urgency_pct": 0.54, "previous_high_urgency_pct": 0.28, "change": 0.26,
        "change_interval": interval(0.0, 0.3), "counts": {"High": 54, "Medium": 26, "Low": 20, "unknown": 3},
        "data_points": weeks, "n": 103, "claim": claimed(0.57, **{"class": "increasing"}),
    }  # fmt: skip
    return row("urgency_trend", {**content, **changes}, "The share of high urgency is 54%.", 0.57)


def tones(**changes):
    shares = {tone: (15 - i) / 120 for i, tone in enumerate(TONES)}
    content = {
        "estimate": shares, "intervals": {tone: interval(share / 2, share * 1.5) for tone, share in shares.items()},
        "previous": {"estimate": {tone: share * 0.9 for tone, share in shares.items()}, "n": 110},
        "counts": {**dict.fromkeys(TONES, 6), "unknown": 6}, "n": 103, "dominant_tone": "Professional",
        "dominant_tone_probability": 0.95, "claim": {**claimed(0.28), "kind": "within_distance", "distance": 0.1},
    }  # fmt: skip
    return row("tone_distribution", {**content, **changes}, "Professional leads.", 0.28)


def lead(number=0, **changes):
    reasons = [("age", "5 days", 2.5), ("source", "referral", 0.5), ("urgency", "High", 0.4), ("client", None, -0.2)]
    content = {
        "lead_id": f"f2d248b9-9952-4da5-b93a-00000000000{number}", "probability": 0.32, "estimated_value": None,
        "reasons": [{"reason": name, "value": value, "log_hazard": size} for name, value, size in reasons],
    }  # fmt: skip
    return {**content, **changes}


def prediction(**changes):
    content = {
        "predicted_conversions": 13, "expected_conversions": 12.8, "interval": interval(8, 18), "n": 765,
        "claim": {**claimed(0.66), "kind": "count_in_range", "low": 10, "high": 16}, "cohort": {"size": 765},
        "new_arrivals": {"expected": 8.4, "interval": interval(5, 13)},
        "recommended_actions": ["Reply soon"], "high_value_leads": [lead(0), lead(1)],
    }  # fmt: skip
    return row("conversion_prediction", {**content, **changes}, "About 13 conversions.", 0.66)


def pattern(value="High", status="new", last_seen="2026-11-29", **changes):
    content = {
        "pattern_type": "urgency_increasing", "value": value, "against": "own_past", "status": status,
        "first_seen": "2026-11-20", "last_seen": last_seen, "affected_leads": 54,
        "effect": {"estimate": 0.22, "unit": "share", "interval": interval(0.14, 0.31)},
        "claim": {**claimed(0.98), "kind": "effect_sign", "sign": 1},
    }  # fmt: skip
    return row("pattern_detected", {**content, **changes}, f"More of {value}.", 0.98)


def row(event_type, content, text, confidence):
    return Row(event_type, AS_OF, content, text, confidence)


def score(days_ago):
    return Score(AS_OF - timedelta(days=days_ago), 69, SCORE, PREVIOUS, 103, 123)


def holdings(*rows, name="Maple Ridge Realty", language="en", patterns=(), scores=None):
    client = Client(CLIENT_ID, name, language)
    newest = {each.event_type: each for each in rows}
    course = [score(30), score(0)] if scores is None else scores
    return Holdings(client, newest, course, list(patterns), conversions=5, reversions=1, undated=2)


def full(**options):
    rows = (engagement(), urgency(), tones(), prediction())
    return holdings(*rows, **{"patterns": [pattern()], **options})


def record(*states):
    ends = [AS_OF - timedelta(days=30 * number) for number in range(len(states), 0, -1)]
    actual = {"right": 12.0, "wrong": 2.0}
    windows = tuple(
        Window(end - timedelta(days=30), end, 12.8, 10.0, 16.0, 0.66, actual.get(state), state)
        for end, state in zip(ends, states, strict=True)
    )
    band = {"low": 0.6, "high": 0.7, "n": 6, "mean_said": 0.65, "mean_right": 0.5, "interval": {**interval(0.2, 0.8)}}
    figures = {"resolved": 6, "pending": 2, "void": 1, "mean_said": 0.65, "mean_right": 0.5, "bands": [band]}
    return Record(windows, figures, {"conversion_prediction": figures}, AS_OF + timedelta(days=1))


# In place of what a snapshot holds
STRANGE = [None, [], {}, "x", True, float("nan"), -1, 1e300, [None], [{}], {"low": "x"}]


def page_of(found, past=None, *, names=None, pattern_day="2026-11-29", now=AS_OF):
    return arrange(found, past, names or {}, pattern_day=pattern_day, now=now)


def client_html(found=None, words=EN, past=None, **options):
    return render_client(page_of(found or full(), past or record("right", "wrong", "pending"), **options), words, "en")


def operator_html(words=EN, name="Maple Ridge Realty", *, empty=False):
    everyone = Holdings(Client(None)) if empty else full()
    everyone.client = Client(None)
    page = page_of(everyone, record("right"))
    lines = [] if empty else [Listed(line_of(page_of(full(name=name))), f"{CLIENT_ID}.html")]
    sums = [
        {"as_of": AS_OF.isoformat(), "claims": 3, "expected": 12.5, "actual": 11, "mean_said": 0.8, "mean_right": 0.7}
    ]
    return render_operator(page, lines, [] if empty else sums, words, "en")
