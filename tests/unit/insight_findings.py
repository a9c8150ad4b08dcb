"""Findings to make sentences of: one of each event type, with any part of it replaced."""

from datetime import UTC, datetime

from worker.jobs.finding import Check, Claim, Finding


def finding(event_type, content, probability=0.93, *, parameters=None, facts=None, client_id="c-1", n=34):
    return Finding(
        client_id=client_id,
        event_type=event_type,
        content=content,
        claim=Claim("kind", probability, "", parameters or {}),
        check=Check("next_window", datetime(2026, 1, 1, tzinfo=UTC), None),
        n=n,
        facts=facts or {},
    )


PARTS = [{"part": "confidence", "points": -2.5}, {"part": "urgency", "points": 1}, {"part": "engaged", "points": -9}]


def engagement(probability=0.93, *, client_id="c-1", **changes):
    content = {
        "overall_score": 62,
        "trend": "increasing",
        "metrics": {"total_leads": 34},
        "previous": {"raw": 57.4},
        "parts": PARTS,
    }
    return finding("engagement_score", content | changes, probability, client_id=client_id)


def urgency(probability=0.93, *, client_id="c-1", **changes):
    content = {
        "trend": "decreasing",
        "high_urgency_pct": 0.25,
        "previous_high_urgency_pct": 0.4,
        "counts": {"High": 5, "Medium": 5, "Low": 10, "unknown": 14},
    }
    return finding("urgency_trend", content | changes, probability, client_id=client_id)


def tone(probability=0.93, *, client_id="c-1", **changes):
    content = {
        "counts": {"Urgent": 9, "Formal": 11, "unknown": 14},
        "estimate": {"Urgent": 0.448, "Formal": 0.5},
        "dominant_tone": "Formal",
        "dominant_tone_probability": 0.95,
    }
    return finding(
        "tone_distribution", content | changes, probability, parameters={"distance": 0.1}, client_id=client_id
    )


def pattern(probability=0.93, *, client_id="c-1", **changes):
    content = {
        "pattern_type": "tone_increasing",
        "value": "Urgent",
        "against": "own_past",
        "affected_leads": 23,
        "effect": {"estimate": 0.12, "interval": {"level": 0.9, "low": -0.004, "high": 0.2}, "unit": "share"},
        "first_seen": "2025-05-01",
    }
    return finding("pattern_detected", content | changes, probability, client_id=client_id)


PROMISING = [{"lead_id": f"lead-{n}", "probability": 0.9 - n / 20} for n in range(10)]


def prediction(probability=0.93, *, low=9, high=15, n_open=140, client_id="c-1", **changes):
    return finding(
        "conversion_prediction",
        {"predicted_conversions": 12, "high_value_leads": PROMISING} | changes,
        probability,
        parameters={"low": low, "high": high},
        facts={"n_open": n_open},
        client_id=client_id,
    )


def conversion(probability=0.95, **changes):
    content = {"lead_name": "Sarah Chen", "days_to_convert": 7, "touch_points": 3, "conversion_value": 5000}
    return finding("conversion", content | changes, probability, parameters={"days": 90})


def reversion(probability=0.95, **changes):
    content = {"lead_name": "Sarah Chen", "reason": None, "reverted_to": "Actif", "days_as_customer": 12}
    return finding("reversion", content | changes, probability, parameters={"days": 90})


def review(probability=0.93, *, client_id="c-1", **changes):
    content = {"overall": {"resolved": 12, "pending": 3, "mean_said": 0.76, "mean_right": 0.75}}
    parameters = {"distance": 0.05}
    return finding("accuracy_review", content | changes, probability, parameters=parameters, client_id=client_id)


EVERY_KIND = (engagement, urgency, tone, pattern, prediction, conversion, reversion, review)
