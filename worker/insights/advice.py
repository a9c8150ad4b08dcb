"""
What to do about a finding: one recommendation per pattern, up to four actions beside a prediction, and the few words
that end a sentence.

Those words advise the client, so the texts on all clients together go without; below a confidence of 0.60 nothing is
advised, and below 0.75 no more than to see whether a change lasts.
"""

from collections.abc import Mapping

from worker import vocabulary
from worker.insights.content import number_at, value_at
from worker.insights.naming import quoted, split_pattern, value_name
from worker.insights.speech import Speech, certainty, speech
from worker.jobs.finding import Finding, Json

MOST_ACTIONS = 4  # more would not be read

# What the reasons of the most promising leads share and can be acted on, the most pressing first.
_REASONS = ("reason_high_urgency", "reason_touch_due", "reason_ageing", "reason_recent_touch")
# The facts that call for an action, the most pressing first, and the reason that says as much or the contrary.
_COUNTED = {
    "high_urgency_open": ("reason_high_urgency", "reason_high_urgency_against"),
    "follow_up_open": (),
    "young_open": ("reason_ageing",),
    "stale_open": (),
}


def recommendation(pattern_type: str, value: str | None, language: str) -> str:
    """
    Say in one imperative sentence what to do about a pattern ("source_increasing", "referral").

    A pattern without a level to name, or of a kind unknown here, gets general advice. ValueError for a language
    other than en and fr.
    """
    says = speech(language)
    subject, direction = split_pattern(pattern_type)
    level = value_name(says, subject, value)
    if subject == "urgency" and value in vocabulary.URGENCY_NAMES[: vocabulary.URGENCY_HIGH]:
        # More leads of low urgency call for the same as fewer of high urgency; of medium ones nothing follows.
        opposite = {"increasing": "decreasing", "decreasing": "increasing"}.get(direction, "")
        pattern_type = f"urgency_{opposite}" if value == "Low" else "other"
    if subject in ("tone", "source", "intent", "language") and level is None:
        pattern_type = "other"
    key = f"recommendation.{pattern_type}"
    return says.say(key if says.has(key) else "recommendation.other", value=level or "")


def recommended_actions(facts: Mapping[str, Json], language: str) -> list[str]:
    """
    List short imperative sentences that follow from the facts; none follows from a fact that is zero or unknown.

    What the reasons of the most promising leads share comes first: reason_high_urgency, reason_touch_due,
    reason_ageing, reason_recent_touch, each a number of those leads, and reason_source, the source that speaks for most
    of them. Then what is open: high_urgency_open, follow_up_open, young_open (less than 7 days old), stale_open (older
    than 90 days), each a number of open leads, but for what a reason said already or speaks against; top_source, the
    source most leads come from. Others are ignored.
    """
    says = speech(language)

    def count(fact: str) -> float:
        return number_at(facts, fact) or 0

    def name(fact: str) -> str | None:
        source = vocabulary.clean_text(facts.get(fact), vocabulary.LONGEST_INTENT)
        return None if source is None or vocabulary.fold(source) in ("", "unknown", "inconnu") else source

    actions = [says.say(f"action.{fact}", count(fact)) for fact in _REASONS if count(fact) > 0]
    best = name("reason_source")
    if best is not None:
        actions.append(says.say("action.reason_source", source=quoted(says, best)))
    actions += [
        says.say(f"action.{fact}", count(fact))
        for fact, reasons in _COUNTED.items()
        if count(fact) > 0 and not any(count(reason) > 0 for reason in reasons)
    ]
    most = name("top_source")
    if most is not None and most != best:
        actions.append(says.say("action.top_source", source=quoted(says, most)))
    return actions[:MOST_ACTIONS]


def trend_step(finding: Finding, speech: Speech, change: str) -> str:
    """
    Say what follows from a trend ("urgency_increasing"), as a clause; "" where nothing does.

    Falling engagement asks for what would mend the part of the score that lost the most points.
    """
    if finding.client_id is None:
        return ""
    sure = certainty(finding.claim.probability)
    stable = change.endswith("_stable")
    if sure == "too_early" or (stable and sure == "leaning"):
        return speech.say("do.nothing_yet")
    if stable:
        return speech.say("do.nothing")
    if not speech.has(f"do.{change}"):
        return ""
    if sure == "leaning":
        return speech.say("do.watch")
    key = f"do.{change}.{_worst_part(finding.content.get('parts'))}"
    return speech.say(key if speech.has(key) else f"do.{change}")


def _worst_part(parts: Json) -> Json:
    """Name the part of the score that lost the most points, None where none lost any."""
    entries = parts if isinstance(parts, list) else []
    worst = min(entries, key=lambda entry: number_at(entry, "points") or 0, default=None)
    return value_at(worst, "part") if (number_at(worst, "points") or 0) < 0 else None


def pattern_step(finding: Finding, speech: Speech) -> str:
    """Say what follows from a pattern, as a sentence; "" where nothing does."""
    sure = certainty(finding.claim.probability)
    if finding.client_id is None or sure == "too_early":
        return ""
    if sure == "leaning":
        return speech.say("do.watch.sentence")
    content = finding.content
    return f"{recommendation(str(content.get('pattern_type')), content.get('value'), speech.language)}."


def prediction_step(finding: Finding, speech: Speech, n_open: float) -> str:
    """Say whom to contact first of n_open leads, as a clause; "" where there is no choice or no telling."""
    listed = finding.content.get("high_value_leads")
    n = len(listed) if isinstance(listed, list) else 0
    if finding.client_id is None or n == 0 or n_open < 2 or certainty(finding.claim.probability) == "too_early":
        return ""
    return speech.say("do.contact_first", n) if n < n_open else speech.say("do.contact_best")
