"""
What the words in a lead's columns mean: urgency, tone, tags, outcomes, actions, intents, in English and French.

Installations hold these as free text, in either language, with and without accents, in any case; here each becomes
a small whole number or one agreed spelling. Pure functions: any value may come in (histories are JSON, so numbers,
lists and nulls do), none of them raises, and what is not recognised is said to be unknown, never guessed. Only the
first LONGEST_LABEL characters of a text are looked at: a label is short, and a megabyte is an accident.
"""

import re
import unicodedata
from collections.abc import Iterator, Mapping
from functools import lru_cache

UNKNOWN = -1  # the code of a value that was absent or not understood
LONGEST_LABEL = 200  # characters; the widest label column known is VARCHAR(100)
LONGEST_INTENT = 80  # characters; intents may be whole sentences, and one is shown in a line of a table

URGENCY_LOW, URGENCY_MEDIUM, URGENCY_HIGH = 0, 1, 2
URGENCY_UNKNOWN = UNKNOWN
URGENCY_NAMES = ("Low", "Medium", "High")  # index = code

TONES = (  # index = code
    "Professional",
    "Formal",
    "Casual",
    "Friendly",
    "Urgent",
    "Confident",
    "Hesitant",
    "Strategic",
    "Direct",
    "Curious",
    "Neutral",
    "Analytical",
    "Frustrated",
    "Enthusiastic",
    "Other",
)
TONE_OTHER = TONES.index("Other")
TONE_UNKNOWN = UNKNOWN

TAG_NAMES = (  # index = code
    "None",
    "New Lead",
    "Active",
    "Contacted",
    "Follow-Up",
    "High Priority",
    "High Value",
    "Qualified",
    "Referral",
    "Converted",
    "Not Qualified",
    "Archived",
    "Deleted",
    "Other",
)
TAG_NONE, TAG_NEW, TAG_ACTIVE, TAG_CONTACTED, TAG_FOLLOW_UP, TAG_HIGH_PRIORITY, TAG_HIGH_VALUE = range(7)
TAG_QUALIFIED, TAG_REFERRAL, TAG_CONVERTED, TAG_LOST, TAG_ARCHIVED, TAG_DELETED, TAG_OTHER = range(7, 14)

OUTCOME_NAMES = ("none", "contacted", "meeting_booked", "client_closed", "no_sale")  # index = code
OUTCOME_NONE, OUTCOME_CONTACTED, OUTCOME_MEETING_BOOKED, OUTCOME_CLIENT_CLOSED, OUTCOME_NO_SALE = range(5)

ACTION_NAMES = (  # index = code
    "other",
    "insert",
    "tag",
    "archive",
    "delete",
    "reactivate",
    "outcome_update",
    "note",
    "contacted",
    "revert",
    "update",
)
ACTION_OTHER, ACTION_INSERT, ACTION_TAG, ACTION_ARCHIVE, ACTION_DELETE, ACTION_REACTIVATE = range(6)
ACTION_OUTCOME_UPDATE, ACTION_NOTE, ACTION_CONTACTED, ACTION_REVERT, ACTION_UPDATE = range(6, 11)

_SEPARATORS = re.compile(r"[\W_]+")


@lru_cache(maxsize=16_384)  # columns repeat a few labels over very many rows
def _fold(text: str) -> str:
    # Twice without marks: case folding may yield characters that decompose again.
    plain = text.lower() if text.isascii() else _without_marks(_without_marks(text).casefold())
    return _SEPARATORS.sub(" ", plain).strip()


def _without_marks(text: str) -> str:
    return "".join(c for c in unicodedata.normalize("NFKD", text) if not unicodedata.category(c).startswith("M"))


def fold(text: str) -> str:
    """Reduce a label to its letters and digits, "Élevée !" to "elevee": no accents, no case, one blank for all else."""
    return _fold(text[:LONGEST_LABEL])


def _label(value: object) -> str:
    """Fold what may be a label; anything but text has none."""
    return _fold(value[:LONGEST_LABEL]) if isinstance(value, str) else ""


def _table(words: Mapping[int, str]) -> dict[str, int]:
    """Turn code -> "label | label" into folded label -> code."""
    return {fold(label): code for code, labels in words.items() for label in labels.split("|")}


_NULL_MARKERS = frozenset(
    _table(
        {
            UNKNOWN: "|n/a|na|n.a.|n.d.|s/o|none|null|nil|nan|undefined|unknown|inconnu|inconnue|aucun|aucune"
            "|unspecified|not specified|non spécifié|non spécifiée|not applicable|non applicable|sans objet"
            "|not available|non disponible|undetermined|indéterminé|indéterminée|non déterminé|non déterminée"
        }
    )
)

_URGENCIES = _table(
    {
        URGENCY_HIGH: "High|Haute|Haut|Élevée|Élevé|Élevées|Élevés",
        URGENCY_MEDIUM: "Medium|Moyenne|Moyen",
        URGENCY_LOW: "Low|Faible|Basse|Bas",
    }
)


def urgency_code(text: object) -> int:
    """
    Read an urgency level: URGENCY_LOW, URGENCY_MEDIUM, URGENCY_HIGH, or URGENCY_UNKNOWN for all else.

    The whole text must be the level: "ASAP!!", "not high", 3 and null are unknown.
    """
    return _URGENCIES.get(_label(text), URGENCY_UNKNOWN)


_TONE_FORMS = _table(
    {
        TONES.index("Professional"): "professional|professionally|professionnel|professionnelle|professionnalisme",
        TONES.index("Formal"): "formal|formally|formel|formelle",
        TONES.index("Casual"): "casual|informal|décontracté|décontractée|informel|informelle",
        TONES.index("Friendly"): "friendly|amical|amicale|amicaux",
        TONES.index("Urgent"): "urgent|urgently|urgency|urgente|urgence",
        TONES.index("Confident"): "confident|confidently|confiant|confiante",
        TONES.index("Hesitant"): "hesitant|hesitating|hésitant|hésitante",
        TONES.index("Strategic"): "strategic|strategical|stratégique",
        TONES.index("Direct"): "direct|directe",
        TONES.index("Curious"): "curious|curieux|curieuse|curiosity|curiosité",
        TONES.index("Neutral"): "neutral|neutre",
        TONES.index("Analytical"): "analytical|analytic|analytique",
        TONES.index("Frustrated"): "frustrated|frustration|frustré|frustrée",
        TONES.index("Enthusiastic"): "enthusiastic|enthusiasm|enthousiaste|enthousiasme",
        TONE_OTHER: "other|autre",
    }
)
_TONE_WORDS = _TONE_FORMS | {word + "s": code for word, code in _TONE_FORMS.items() if not word.endswith(("s", "x"))}
_NEGATIONS = frozenset(("not", "non", "pas", "peu", "without", "sans", "ni", "nor"))
_INTENSIFIERS = frozenset(
    ("very", "too", "so", "really", "particularly", "overly", "trop", "tres", "si", "vraiment", "particulierement")
)


def tone_code(text: object) -> int:
    """
    Read a tone as an index into TONES, or TONE_UNKNOWN.

    A phrase takes its first known word in either language: "Professional and direct" is Professional, "Frustrated but
    motivated" Frustrated, "très urgente" Urgent. A word that is denied ("not urgent", "pas très formel") is not known.
    A text with letters but no known word is a tone that belongs to no family, TONE_OTHER ("Sarcastic"); what
    says that nothing is known (null, "", "N/A", "inconnu", "-", "?", a number, an emoji) is TONE_UNKNOWN.
    """
    label = _label(text)
    if label in _NULL_MARKERS:
        return TONE_UNKNOWN
    for word in _affirmed_words(label):
        if word in _TONE_WORDS:
            return _TONE_WORDS[word]
    return TONE_OTHER if any(character.isalpha() for character in label) else TONE_UNKNOWN


def _affirmed_words(label: str) -> Iterator[str]:
    denied = False
    # "peu formel" is hardly formal, "un peu formel" somewhat formal.
    for word in label.replace("un peu ", "").split():
        if word in _NEGATIONS:
            denied = True
        elif word not in _INTENSIFIERS:
            if not denied:
                yield word
            denied = False


_TAGS = _table(
    {
        TAG_NEW: "New Lead|New|Nouveau Lead|Nouveau|Nouvelle piste",
        TAG_ACTIVE: "Active|Actif|Activé",
        TAG_CONTACTED: "Contacted|Contacté|Contactée",
        TAG_FOLLOW_UP: "Follow-Up|Followup|Follow Up Required|Suivi|Suivi Requis|À suivre",
        TAG_HIGH_PRIORITY: "High Priority|Priority|Haute Priorité|Priorité|Prioritaire",
        TAG_HIGH_VALUE: "High Value|Haute Valeur",
        TAG_QUALIFIED: "Qualified|Qualifié|Qualifiée",
        TAG_REFERRAL: "Referral|Référence|Référé|Référée",
        TAG_CONVERTED: "Converted|Converti|Convertie",
        TAG_LOST: "Not Qualified|Non Qualifié|Non Qualifiée",
        TAG_ARCHIVED: "Archived|Archivé|Archivée",
        TAG_DELETED: "Deleted|Supprimé|Supprimée",
    }
)


def tag_code(text: object) -> int:
    """
    Read a tag as one of the TAG_ codes: TAG_NONE where there is none, TAG_OTHER for a tag of the client's own.

    TAG_DELETED, TAG_ARCHIVED, TAG_CONVERTED and TAG_LOST decide a lead's state; every other tag leaves it open.
    """
    label = _label(text)
    return TAG_NONE if label in _NULL_MARKERS else _TAGS.get(label, TAG_OTHER)


_OUTCOMES = _table(
    {
        OUTCOME_CONTACTED: "contacted|contacté|contactée",
        OUTCOME_MEETING_BOOKED: "meeting_booked|rendez-vous pris",
        OUTCOME_CLIENT_CLOSED: "client_closed|client conclu",
        OUTCOME_NO_SALE: "no_sale|aucune vente|pas de vente",
    }
)


def outcome_code(text: object) -> int:
    """Read outcome_status (or the tag of an outcome_update action); OUTCOME_NONE for null and for anything else."""
    return _OUTCOMES.get(_label(text), OUTCOME_NONE)


_ACTIONS = _table(
    {
        ACTION_INSERT: "insert|inserted|create|created",
        ACTION_TAG: "tag|tagged",
        ACTION_ARCHIVE: "archive|archived",
        ACTION_DELETE: "delete|deleted",
        ACTION_REACTIVATE: "reactivate|reactivated",
        ACTION_OUTCOME_UPDATE: "outcome_update",
        ACTION_NOTE: "note|note_added|note_edited|note_deleted",
        ACTION_CONTACTED: "contact|contacted",
        ACTION_REVERT: "revert|reverted|revert_outcome",
        ACTION_UPDATE: "update|updated",
    }
)


def action_code(text: object) -> int:
    """Read lead_actions.action_type as one of the ACTION_ codes; any `note_...` is a note, the unknown ACTION_OTHER."""
    label = _label(text)
    return ACTION_NOTE if label.startswith("note ") else _ACTIONS.get(label, ACTION_OTHER)


_LANGUAGES = {
    "en": "en",
    "eng": "en",
    "english": "en",
    "anglais": "en",
    "fr": "fr",
    "fra": "fr",
    "fre": "fr",
    "french": "fr",
    "francais": "fr",
}


def language_code(text: object) -> str | None:
    """Read a language as "en" or "fr" ("fr-CA", "Français", "EN_us"), None for any other."""
    return _LANGUAGES.get(_label(text).partition(" ")[0])


def clean_text(text: object, longest: int = LONGEST_LABEL) -> str | None:
    """
    Tidy free text that is kept as written, such as a source: blanks collapsed, None when nothing is left.

    "unknown" stays: a source that says so is another than one that says nothing. Control characters and halves of
    surrogate pairs go, because PostgreSQL stores neither.
    """
    if not isinstance(text, str):
        return None
    kept = "".join(
        " " if unicodedata.category(character) in ("Cc", "Cs") else character for character in text[: 4 * longest]
    )
    return " ".join(kept.split())[:longest].rstrip() or None


_INTENTS = {
    fold(label): english
    for english, french in (
        ("Quote Request", "Demande de devis"),
        ("Service Request", "Demande de service"),
        ("B2B Partnership", "Partenariat B2B"),
        ("Consultation", "Consultation"),
        ("General Information", "Information générale"),
        ("Technical Support", "Support technique"),
    )
    for label in (english, french)
} | {"demande de services": "Service Request", "informations generales": "General Information"}


def intent_name(text: object) -> str | None:
    """Name an intent: the prompt's six categories in English whichever language they came in, other text as written."""
    label = _label(text)
    if label in _NULL_MARKERS:
        # Folding leaves nothing of an emoji or a dash, and neither is an intent.
        return None
    return _INTENTS.get(label) or clean_text(text, LONGEST_INTENT)


_INDUSTRIES = {
    fold(label): labels.split("|")[0]
    for labels in (
        "Technology|Technologie|Technologies",
        "Real Estate|Immobilier",
        "Construction",
        "Legal|Juridique|Legal Services|Services juridiques",
        "Marketing",
        "Home Services|Services à domicile",
        "AI & Automation|IA et automatisation|IA & automatisation|AI and Automation",
        "Healthcare|Health|Santé|Soins de santé",
        "Finance|Finances",
        "Education|Éducation",
        "Insurance|Assurance|Assurances",
        "Consulting|Conseil|Services-conseils",
        "Retail|Commerce de détail",
        "Other|Autre",
    )
    for label in labels.split("|")
}


def industry_key(text: object) -> str | None:
    """Name an industry: known ones in English whichever language or case they came in, others as written."""
    label = _label(text)
    return None if label in _NULL_MARKERS else _INDUSTRIES.get(label) or clean_text(text)
