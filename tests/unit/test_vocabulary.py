"""What labels mean, in two languages, any case, with and without accents; and what is left unknown."""

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from worker import vocabulary as v

CODES = {
    v.urgency_code: range(-1, len(v.URGENCY_NAMES)),
    v.tone_code: range(-1, len(v.TONES)),
    v.tag_code: range(len(v.TAG_NAMES)),
    v.outcome_code: range(len(v.OUTCOME_NAMES)),
    v.action_code: range(len(v.ACTION_NAMES)),
}
NAMERS = (v.intent_name, v.industry_key, v.clean_text, v.language_code)


@pytest.mark.parametrize(
    ("code", "labels"),
    [
        (v.URGENCY_HIGH, "High HIGH high Haute Haut Élevée élevée Elevee elevee Élevé Élevés"),
        (v.URGENCY_MEDIUM, "Medium medium Moyenne Moyen"),
        (v.URGENCY_LOW, "Low Faible Basse Bas"),
        (v.URGENCY_UNKNOWN, "ASAP!! N/A unknown Urgent High/Low 3 - ? 😀 Highest"),
    ],
)
def test_urgency_levels(code, labels):
    assert [code] * len(labels.split()) == [v.urgency_code(label) for label in labels.split()]


def test_urgency_names_are_indexed_by_code():
    assert [v.urgency_code(name) for name in v.URGENCY_NAMES] == [0, 1, 2]


@pytest.mark.parametrize(
    "value", [None, "", "  ", 1, 0.5, float("nan"), True, [], {}, b"High", "not high", "very high"]
)
def test_an_urgency_that_is_no_level_is_unknown(value):
    assert v.urgency_code(value) == v.URGENCY_UNKNOWN


@pytest.mark.parametrize(
    ("family", "texts"),
    [
        ("Professional", ["professional", "Professionnel", "professionnelle", "Professional and direct"]),
        ("Formal", ["Formel", "formelle", "Formels"]),
        ("Casual", ["casual", "Décontracté", "decontracte", "décontractée", "informal"]),
        ("Friendly", ["Friendly", "Amical", "amicale", "friendly, casual"]),
        ("Urgent", ["urgent", "urgente", "tres urgente", "Très urgent!", "un peu urgent"]),
        ("Confident", ["Confident", "confiant", "Confiante"]),
        ("Hesitant", ["hesitant", "Hésitant", "hésitante", "un peu hésitante"]),
        ("Strategic", ["Strategic", "Stratégique", "strategique"]),
        ("Direct", ["direct", "Directe"]),
        ("Curious", ["curious", "curieux", "Curieuse"]),
        ("Neutral", ["Neutral", "neutre"]),
        ("Analytical", ["analytical", "Analytique"]),
        ("Frustrated", ["Frustrated but motivated", "frustré", "Frustrée"]),
        ("Enthusiastic", ["Enthusiastic", "Enthousiaste et engagé", "enthousiastes"]),
        ("Other", ["Other", "autre", "Sarcastic", "joyeux", "not urgent", "pas très formel", "non urgent", "日本語"]),
    ],
)
def test_tone_families(family, texts):
    assert {text: v.TONES[v.tone_code(text)] for text in texts} == dict.fromkeys(texts, family)


def test_every_tone_family_is_its_own_word():
    assert list(range(len(v.TONES))) == [v.tone_code(name) for name in v.TONES]


def test_a_denied_word_gives_way_to_an_affirmed_one():
    assert v.TONES.index("Friendly") == v.tone_code("not very formal but friendly")


@pytest.mark.parametrize("value", [None, "", "N/A", "none", "Unknown", "inconnu", "-", "?", "42", "😀", 7, [], "\x00"])
def test_a_tone_that_says_nothing_is_unknown(value):
    assert v.tone_code(value) == v.TONE_UNKNOWN


@pytest.mark.parametrize(
    ("code", "tags"),
    [
        (v.TAG_NONE, [None, "", "N/A", "none", 3]),
        (v.TAG_NEW, ["New Lead", "Nouveau Lead"]),
        (v.TAG_ACTIVE, ["Active", "Actif"]),
        (v.TAG_CONTACTED, ["Contacted", "Contacté"]),
        (v.TAG_FOLLOW_UP, ["Follow-Up", "Follow-up", "follow up", "Follow Up Required", "Suivi", "Suivi Requis"]),
        (v.TAG_HIGH_PRIORITY, ["High Priority", "Haute Priorité", "Priority", "Priorité", "Prioritaire"]),
        (v.TAG_HIGH_VALUE, ["High Value", "Haute Valeur"]),
        (v.TAG_QUALIFIED, ["Qualified", "Qualifié"]),
        (v.TAG_REFERRAL, ["Referral", "Référence"]),
        (v.TAG_CONVERTED, ["Converted", "Converti", "CONVERTIE", " converted "]),
        (v.TAG_LOST, ["Not Qualified", "Non Qualifié", "non qualifiee"]),
        (v.TAG_ARCHIVED, ["Archived", "Archivé"]),
        (v.TAG_DELETED, ["Deleted", "Supprimé", "supprimée"]),
        (v.TAG_OTHER, ["Hot Lead", "Unconverted", "Not converted"]),
    ],
)
def test_tags(code, tags):
    assert [code] * len(tags) == [v.tag_code(tag) for tag in tags]


def test_tag_names_read_as_their_own_code():
    assert list(range(len(v.TAG_NAMES) - 1)) == [v.tag_code(name) for name in v.TAG_NAMES[:-1]]


def test_outcomes():
    assert list(range(5)) == [v.outcome_code(name) for name in v.OUTCOME_NAMES]
    assert {v.OUTCOME_NONE} == {v.outcome_code(value) for value in (None, "", "lost?", 1)}
    assert v.outcome_code("Client Closed") == v.OUTCOME_CLIENT_CLOSED


def test_actions():
    assert list(range(len(v.ACTION_NAMES))) == [v.action_code(name) for name in v.ACTION_NAMES]
    assert {v.ACTION_NOTE} == {v.action_code(kind) for kind in ("note_added", "note_edited", "note_deleted")}
    assert v.action_code("created") == v.ACTION_INSERT
    assert v.action_code("tagged") == v.ACTION_TAG
    assert {v.ACTION_OTHER} == {v.action_code(kind) for kind in (None, "", "permanent_delete", 4)}


def test_languages():
    assert [v.language_code(text) for text in ("fr-CA", "Français", "FR", "en_US", "English", "es", None)] == [
        "fr",
        "fr",
        "fr",
        "en",
        "en",
        None,
        None,
    ]


def test_free_text_is_kept_but_tidied():
    assert v.clean_text(" paid \t search\n") == "paid search"
    assert v.clean_text("unknown") == "unknown"  # another source than none at all
    assert [v.clean_text(value) for value in (None, "", " \x00 ", 3, "\ud800")] == [None] * 5
    assert v.clean_text("a\x00b") == "a b"
    assert len(v.clean_text("x" * 1_000_000)) == v.LONGEST_LABEL


def test_intents_are_named_in_english_whichever_language_they_came_in():
    pairs = {
        "Demande de devis": "Quote Request",
        "DEMANDE DE SERVICE": "Service Request",
        "Partenariat B2B": "B2B Partnership",
        "consultation": "Consultation",
        "information generale": "General Information",
        "Support technique": "Technical Support",
        "technical support": "Technical Support",
        "wants a tour of the house": "wants a tour of the house",
    }
    assert list(pairs.values()) == [v.intent_name(text) for text in pairs]
    assert [v.intent_name(value) for value in (None, "", "N/A", "Unknown", "—", 5)] == [None] * 6
    assert len(v.intent_name("word " * 1000)) <= v.LONGEST_INTENT


def test_industries_are_named_in_english_others_kept_as_written():
    pairs = {
        "technologie": "Technology",
        "Immobilier": "Real Estate",
        "real estate": "Real Estate",
        "Juridique": "Legal",
        "Services a domicile": "Home Services",
        "AI & Automation": "AI & Automation",
        " Bee  keeping ": "Bee keeping",
    }
    assert list(pairs.values()) == [v.industry_key(text) for text in pairs]
    assert [v.industry_key(value) for value in (None, "", "N/A", 1)] == [None] * 4


KNOWN_LABELS = st.sampled_from(
    ["Élevée", "Haute", "moyenne", "Low", "professionnelle", "Très hésitante", "Non Qualifié", "Suivi Requis"]
)


@st.composite
def disguises(draw):
    """A label, and the same in another case, with or without its accents, composed or not, with blanks around it."""
    label = draw(KNOWN_LABELS)
    text = draw(st.sampled_from([str.upper, str.lower, str.title, str.swapcase]))(label)
    text = unicodedata.normalize(draw(st.sampled_from(["NFC", "NFD", "NFKC", "NFKD"])), text)
    if draw(st.booleans()):
        text = "".join(c for c in unicodedata.normalize("NFD", text) if not unicodedata.combining(c))
    blanks = st.text(alphabet=" \t\n\u00a0\u202f", max_size=3)
    return label, draw(blanks) + text.replace(" ", " " + draw(blanks)) + draw(blanks)


@given(disguises())
def test_case_accents_and_blanks_do_not_matter(pair):
    label, disguised = pair
    assert v.fold(label) == v.fold(disguised)
    for code in CODES:
        assert code(label) == code(disguised)


ANYTHING = st.one_of(
    st.text(alphabet=st.characters()),  # surrogates and NUL included
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(),
    st.binary(),
    st.lists(st.text()),
    st.dictionaries(st.text(), st.integers()),
)


@given(ANYTHING)
def test_any_value_has_a_code_in_range(value):
    for code, allowed in CODES.items():
        assert code(value) in allowed


@given(ANYTHING)
def test_any_value_has_a_name_that_postgres_can_store_or_none(value):
    for name in NAMERS:
        text = name(value)
        assert text is None or (text == text.strip() != "" and "\x00" not in text and text.encode())


@given(st.text())
def test_folding_twice_changes_nothing(text):
    assert v.fold(v.fold(text)) == v.fold(text)


@given(st.text())
def test_cleaning_twice_changes_nothing(text):
    once = v.clean_text(text)
    assert v.clean_text(once) == once


def test_a_megabyte_is_looked_at_only_at_its_start():
    assert v.tone_code("Direct " + "x" * 1_000_000) == v.TONES.index("Direct")
    assert v.urgency_code("High" + " " * 1_000_000) == v.URGENCY_HIGH
    assert len(v.fold("é" * 1_000_000)) <= v.LONGEST_LABEL
