"""How the things that findings speak of are called in a language: tones, urgencies, tags, intents, patterns' levels."""

from worker import vocabulary
from worker.insights.speech import Speech

DIRECTIONS = ("increasing", "decreasing")


def split_pattern(pattern_type: str) -> tuple[str, str]:
    """Split "urgency_increasing" into subject and direction; the direction is "" where there is none."""
    subject, _, direction = pattern_type.rpartition("_")
    return (subject, direction) if direction in DIRECTIONS else (pattern_type, "")


def quoted(speech: Speech, text: str) -> str:
    """Quote text of the client's own, which is in whatever language they wrote it."""
    return speech.say("quoted", text=text)


def tone_name(speech: Speech, tone: str) -> str:
    """Name a tone family."""
    return speech.say(f"tone.{tone}") if tone in vocabulary.TONES else quoted(speech, tone)


def tag_name(speech: Speech, tag: str) -> str:
    """Name a tag: a known one in the language, one of the client's own as written."""
    code = vocabulary.tag_code(tag)
    return quoted(speech, tag) if code == vocabulary.TAG_OTHER else speech.say(f"tag.{vocabulary.TAG_NAMES[code]}")


def value_name(speech: Speech, subject: str, value: object) -> str | None:
    """Name the level that a pattern speaks of (which tone, source, intent ...), None where it names none."""
    text = vocabulary.clean_text(value, vocabulary.LONGEST_INTENT)
    if text is None:
        return None
    if subject == "tone":
        return tone_name(speech, text)
    if subject == "urgency" and text in vocabulary.URGENCY_NAMES:
        return speech.say(f"urgency.{text}")
    if subject == "language" and (code := vocabulary.language_code(text)):
        return speech.say(f"language.{code}")
    intent = vocabulary.intent_name(text) if subject == "intent" else None
    return speech.say(f"intent.{intent}") if intent and speech.has(f"intent.{intent}") else quoted(speech, text)
