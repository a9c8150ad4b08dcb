"""What to do about a finding: one recommendation per pattern, and up to four actions beside a prediction."""

from collections.abc import Mapping

from worker import vocabulary
from worker.insights.content import number_at
from worker.jobs.finding import Json

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
    from worker.insights.naming import split_pattern, value_name  # noqa: PLC0415 - Babel, only when something is said
    from worker.insights.speech import speech  # noqa: PLC0415

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
    from worker.insights.naming import quoted  # noqa: PLC0415 - as above
    from worker.insights.speech import speech  # noqa: PLC0415

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
