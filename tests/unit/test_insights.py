"""The sentences and the advice: what is said of which finding, and never surer than the confidence."""

import re
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st
from insight_findings import (
    EVERY_KIND,
    PROMISING,
    conversion,
    engagement,
    finding,
    pattern,
    prediction,
    reversion,
    review,
    tone,
    urgency,
)

from worker.insights import insight_text, recommendation, recommended_actions
from worker.insights.speech import certainty, get_ready, speech, stated_confidence
from worker.vocabulary import TAG_NAMES, TONES, URGENCY_NAMES

LANGUAGES = ("en", "fr")
EXTREMES = (None, 0, 1, 2, 34, 1_234_567, 10**15, 0.0004, -5, float("nan"), float("inf"), True, "many")
SUBJECTS = ("urgency", "tone", "source", "volume", "intent", "language", "repeat_contact", "conversion_rate")
PATTERN_TYPES = tuple(f"{subject}_{direction}" for subject in SUBJECTS for direction in ("increasing", "decreasing"))
VALUES = {"urgency": "High", "tone": "Urgent", "source": "referral", "intent": "Quote Request", "language": "fr"}


def number_variants(make):
    """The same finding with each number in turn replaced by an extreme one."""
    base = make().content
    for key, value in base.items():
        if isinstance(value, str):
            continue
        for extreme in EXTREMES:
            if isinstance(value, dict):
                yield make(**{key: dict.fromkeys(value, extreme)})
                yield make(**{key: {}})
            yield make(**{key: extreme})


@pytest.mark.parametrize(
    ("made", "english", "french"),
    [
        (
            engagement(),
            (
                "Engagement is 62 out of 100 for 34 leads in the last 30 days, after 57 in the 30 days before. It"
                " is very likely (93%) that the score is rising."
            ),
            (
                "Au cours des 30 derniers jours, l’engagement se situe à 62 sur 100 pour 34 prospects, contre 57"
                " les 30 jours précédents. Il est très probable (93~%) que le score est en hausse."
            ),
        ),
        (
            engagement(0.9, trend="decreasing", previous={"raw": 71.2}),
            (
                "Engagement is 62 out of 100 for 34 leads in the last 30 days, after 71 in the 30 days before. It"
                " is very likely (90%) that the score is falling: get in touch with new leads within 7 days."
            ),
            (
                "Au cours des 30 derniers jours, l’engagement se situe à 62 sur 100 pour 34 prospects, contre 71"
                " les 30 jours précédents. Il est très probable (90~%) que le score est en baisse~: contactez les"
                " nouveaux prospects dans les 7 jours."
            ),
        ),
        (
            engagement(0.65, trend="decreasing"),
            (
                "Engagement is 62 out of 100 for 34 leads in the last 30 days, after 57 in the 30 days before. The"
                " signs are leaning this way (65%): the score is falling; see whether it lasts."
            ),
            (
                "Au cours des 30 derniers jours, l’engagement se situe à 62 sur 100 pour 34 prospects, contre 57"
                " les 30 jours précédents. Tendance possible (65~%)~: le score est en baisse~; voyez si cela se"
                " confirme."
            ),
        ),
        (
            engagement(0.45, trend="stable"),
            (
                "Engagement is 62 out of 100 for 34 leads in the last 30 days, after 57 in the 30 days before. It"
                " is too early to say whether the score is holding steady (45%): no action is needed yet."
            ),
            (
                "Au cours des 30 derniers jours, l’engagement se situe à 62 sur 100 pour 34 prospects, contre 57"
                " les 30 jours précédents. Quant à savoir si le score reste stable, il est trop tôt pour le dire"
                " (45~%)~: aucune action n’est nécessaire pour l’instant."
            ),
        ),
        (
            engagement(0.5, trend="stable", previous=None, metrics={"total_leads": 1}),
            (
                "Engagement is 62 out of 100 for 1 lead in the last 30 days. The 30 days before offer nothing to"
                " compare with."
            ),
            (
                "Au cours des 30 derniers jours, l’engagement se situe à 62 sur 100 pour 1 prospect. Les 30 jours"
                " précédents n’offrent aucun point de comparaison."
            ),
        ),
        (
            urgency(0.75),
            (
                "Among 20 leads of known urgency in the last 30 days, the share of high urgency is 25%, after 40%"
                " in the 30 days before. It is likely (75%) that high urgency is becoming less frequent."
            ),
            (
                "Au cours des 30 derniers jours, la part des urgences élevées est de 25~% parmi 20 prospects dont"
                " l’urgence est connue, contre 40~% les 30 jours précédents. Il est probable (75~%) que les urgences"
                " élevées deviennent moins fréquentes."
            ),
        ),
        (
            urgency(0.91, trend="increasing", high_urgency_pct=0.51, previous_high_urgency_pct=0.31),
            (
                "Among 20 leads of known urgency in the last 30 days, the share of high urgency is 51%, after 31%"
                " in the 30 days before. It is very likely (91%) that high urgency is becoming more frequent: answer"
                " the most urgent leads first."
            ),
            (
                "Au cours des 30 derniers jours, la part des urgences élevées est de 51~% parmi 20 prospects dont"
                " l’urgence est connue, contre 31~% les 30 jours précédents. Il est très probable (91~%) que les"
                " urgences élevées deviennent plus fréquentes~: répondez d’abord aux prospects les plus urgents."
            ),
        ),
        (
            urgency(0.78, trend="stable"),
            (
                "Among 20 leads of known urgency in the last 30 days, the share of high urgency is 25%, after 40%"
                " in the 30 days before. It is likely (78%) that high urgency is about as frequent as before: no"
                " action is needed."
            ),
            (
                "Au cours des 30 derniers jours, la part des urgences élevées est de 25~% parmi 20 prospects dont"
                " l’urgence est connue, contre 40~% les 30 jours précédents. Il est probable (78~%) que les urgences"
                " élevées restent à peu près aussi fréquentes qu’avant~: aucune action n’est nécessaire."
            ),
        ),
        (
            urgency(0.6, client_id=None, previous_high_urgency_pct=None),
            (
                "Among 20 leads of known urgency (all clients) in the last 30 days, the share of high urgency is"
                " 25%. The 30 days before offer nothing to compare with."
            ),
            (
                "Au cours des 30 derniers jours, la part des urgences élevées est de 25~% parmi 20 prospects dont"
                " l’urgence est connue (tous clients confondus). Les 30 jours précédents n’offrent aucun point de"
                " comparaison."
            ),
        ),
        (
            tone(),
            (
                "The leading tone in the last 30 days is formal, at an estimated 50%, judging by 20 leads of known"
                " tone. It is very likely (93%) that the estimated tone shares are right to within 10 points."
            ),
            (
                "Au cours des 30 derniers jours, le ton formel domine, avec une part estimée à 50~% d’après 20"
                " prospects dont le ton est connu. Il est très probable (93~%) que la répartition estimée des tons"
                " est juste à 10 points près."
            ),
        ),
        (
            tone(0.5, client_id=None, dominant_tone_probability=0.7),
            (
                "The leading tone in the last 30 days seems to be formal, at an estimated 50%, judging by 20 leads"
                " of known tone (all clients). It is too early to say whether the estimated tone shares are right to"
                " within 10 points (50%)."
            ),
            (
                "Au cours des 30 derniers jours, le ton formel semble dominer, avec une part estimée à 50~% d’après"
                " 20 prospects dont le ton est connu (tous clients confondus). Quant à savoir si la répartition"
                " estimée des tons est juste à 10 points près, il est trop tôt pour le dire (50~%)."
            ),
        ),
        (
            pattern(),
            (
                "It is very likely (93%) that leads whose tone is urgent are more frequent than before: about +12"
                " points (between -0.4 and +20), 23 leads concerned, first seen on May 1, 2025. Adapt replies to the"
                " urgent tone of these leads."
            ),
            (
                "Il est très probable (93~%) que les prospects au ton urgent sont plus fréquents qu’auparavant~:"
                " environ +12 points (entre -0,4 et +20), 23 prospects concernés, premier signe le 1er mai 2025."
                " Adaptez vos réponses au ton urgent de ces prospects."
            ),
        ),
        (
            pattern(status="continuing"),
            (
                "It is very likely (93%) that leads whose tone is urgent are more frequent than before: about +12"
                " points (between -0.4 and +20), 23 leads concerned, not new (first seen on May 1, 2025). Adapt"
                " replies to the urgent tone of these leads."
            ),
            (
                "Il est très probable (93~%) que les prospects au ton urgent sont plus fréquents qu’auparavant~:"
                " environ +12 points (entre -0,4 et +20), 23 prospects concernés, tendance déjà connue (premier"
                " signe le 1er mai 2025). Adaptez vos réponses au ton urgent de ces prospects."
            ),
        ),
        (
            pattern(0.65, affected_leads=0, effect=None, first_seen=None),
            (
                "The signs are leaning this way (65%): leads whose tone is urgent are more frequent than before; no"
                " lead concerned. See whether it lasts."
            ),
            (
                "Tendance possible (65~%)~: les prospects au ton urgent sont plus fréquents qu’auparavant~; aucun"
                " prospect concerné. Voyez si cela se confirme."
            ),
        ),
        (
            pattern(
                client_id=None,
                pattern_type="volume_decreasing",
                value=None,
                against="pool",
                affected_leads=1,
                effect={"estimate": 0.53, "interval": None, "unit": "ratio"},
                first_seen=None,
            ),
            (
                "It is very likely (93%) that new leads are less numerous than the trend of the other clients would"
                " suggest: about 0.53 times what that trend would suggest, 1 lead concerned (all clients)."
            ),
            (
                "Il est très probable (93~%) que les nouveaux prospects sont moins nombreux que ne le laissait"
                " attendre l’évolution des autres clients~: environ 0,53 fois ce que cette évolution laissait"
                " attendre, 1 prospect concerné (tous clients confondus)."
            ),
        ),
        (
            prediction(0.78),
            (
                "About 12 conversions are expected in the next 30 days from 140 open leads. It is likely (78%) that"
                " the actual number will be between 9 and 15: contact the 10 most promising leads first."
            ),
            (
                "Environ 12 conversions sont attendues au cours des 30 prochains jours, sur 140 prospects en cours."
                " Il est probable (78~%) que le nombre réel se situera entre 9 et 15~: contactez d’abord les 10"
                " prospects les plus prometteurs."
            ),
        ),
        (
            prediction(0.5),
            (
                "About 12 conversions are expected in the next 30 days from 140 open leads. It is too early to say"
                " whether the actual number will be between 9 and 15 (50%)."
            ),
            (
                "Environ 12 conversions sont attendues au cours des 30 prochains jours, sur 140 prospects en cours."
                " Quant à savoir si le nombre réel se situera entre 9 et 15, il est trop tôt pour le dire (50~%)."
            ),
        ),
        (
            prediction(0.97, predicted_conversions=1, low=0, high=2, n_open=6, high_value_leads=PROMISING[:6]),
            (
                "About 1 conversion is expected in the next 30 days from 6 open leads. It is very likely (97%) that"
                " the actual number will be between 0 and 2: contact the most promising leads first."
            ),
            (
                "Environ 1 conversion est attendue au cours des 30 prochains jours, sur 6 prospects en cours. Il"
                " est très probable (97~%) que le nombre réel se situera entre 0 et 2~: contactez d’abord les"
                " prospects les plus prometteurs."
            ),
        ),
        (
            prediction(0.99, predicted_conversions=0, low=0, high=0, n_open=1),
            (
                "No conversion is expected in the next 30 days from 1 open lead. It is very likely (99%) that the"
                " actual number will be exactly 0."
            ),
            (
                "Aucune conversion n’est attendue au cours des 30 prochains jours, sur 1 prospect en cours. Il est"
                " très probable (99~%) que le nombre réel sera de 0 exactement."
            ),
        ),
        (
            prediction(0.8, predicted_conversions=1, low=0, high=2, n_open=1200),
            (
                "About 1 conversion is expected in the next 30 days from 1,200 open leads. It is likely (80%) that"
                " the actual number will be between 0 and 2: contact the 10 most promising leads first."
            ),
            (
                "Environ 1 conversion est attendue au cours des 30 prochains jours, sur 1_200 prospects en cours."
                " Il est probable (80~%) que le nombre réel se situera entre 0 et 2~: contactez d’abord les 10"
                " prospects les plus prometteurs."
            ),
        ),
        (
            conversion(),
            (
                "Lead “Sarah Chen” converted in 7 days after 3 touch points, for a value of 5,000. It is very"
                " likely (95%) that this conversion will last at least 90 days."
            ),
            (
                "Le prospect «~Sarah Chen~» s’est converti en 7 jours après 3 points de contact, pour une valeur de"
                " 5_000. Il est très probable (95~%) que cette conversion tiendra au moins 90 jours."
            ),
        ),
        (
            conversion(lead_name=None, days_to_convert=0, touch_points=1, conversion_value=None),
            (
                "A lead converted on the day of first contact after 1 touch point. It is very likely (95%) that"
                " this conversion will last at least 90 days."
            ),
            (
                "Un prospect s’est converti le jour même du premier contact après 1 point de contact. Il est très"
                " probable (95~%) que cette conversion tiendra au moins 90 jours."
            ),
        ),
        (
            reversion(reason="Placé dans convertis par erreur", days_as_customer=1),
            (
                "Lead “Sarah Chen” is no longer a customer after 1 day, and is now tagged “Active”: the conversion"
                " had been recorded by mistake. It is very likely (95%) that this will still be so in 90 days."
            ),
            (
                "Le prospect «~Sarah Chen~» n’est plus client 1 jour après sa conversion et porte désormais"
                " l’étiquette «~Actif~»~: la conversion avait été enregistrée par erreur. Il est très probable"
                " (95~%) que ce sera encore le cas dans 90 jours."
            ),
        ),
        (
            reversion(lead_name=None, days_as_customer=None, reverted_to="VIP", reason="Other: Sarah asked"),
            (
                "A lead is no longer a customer, and is now tagged “VIP”. It is very likely (95%) that this will"
                " still be so in 90 days."
            ),
            (
                "Un prospect n’est plus client et porte désormais l’étiquette «~VIP~». Il est très probable (95~%)"
                " que ce sera encore le cas dans 90 jours."
            ),
        ),
        (
            review(0.96),
            (
                "Of 12 past statements that can be checked by now, 75% came true, where 76% was to be expected. It"
                " is very likely (96%) that over all clients, stated probabilities are right to within 5 points."
            ),
            (
                "Sur 12 affirmations passées vérifiables à ce jour, le taux d’exactitude est de 75~%, alors qu’on"
                " s’attendait à 76~%. Il est très probable (96~%) que les probabilités annoncées sont justes à 5"
                " points près, tous clients confondus."
            ),
        ),
        (
            review(0.38, client_id=None, overall={"resolved": 0, "pending": 1200, "mean_said": None}),
            (
                "It is not yet time to check any of the 1,200 statements made so far about all clients. It is too"
                " early to say whether over all clients, stated probabilities are right to within 5 points (38%)."
            ),
            (
                "Il est trop tôt pour vérifier les 1_200 affirmations faites jusqu’ici (tous clients confondus)."
                " Quant à savoir si les probabilités annoncées sont justes à 5 points près, tous clients confondus,"
                " il est trop tôt pour le dire (38~%)."
            ),
        ),
    ],
)
def test_what_is_said(made, english, french):
    assert insight_text(made, "en") == english
    # In the expectations ~ is a no-break space and _ the narrow one between thousands.
    assert insight_text(made, "fr") == french.replace("~", "\u00a0").replace("_", "\u202f")


@pytest.mark.parametrize("language", LANGUAGES)
@pytest.mark.parametrize("make", EVERY_KIND)
def test_any_number_may_be_missing_or_absurd(make, language):
    for made in number_variants(make):
        text = insight_text(made, language)
        assert text.endswith(".")
        assert not re.search(r"None|nan|inf\b|[{}]|  |\.\.|many", text), text


@pytest.mark.parametrize("language", LANGUAGES)
def test_no_content_at_all_still_makes_a_sentence(language):
    for make in EVERY_KIND:
        empty = finding(make().event_type, {}, 0.3, n=0)
        assert insight_text(empty, language).endswith(".")
        assert insight_text(finding(make().event_type, {}, float("nan"), client_id=None), language).endswith(".")


@pytest.mark.parametrize("language", LANGUAGES)
def test_without_leads_or_known_values_it_says_so(language):
    nothing = {"en": "No lead came in", "fr": "Aucun prospect n’est arrivé"}[language]
    unknown = {"en": "is not known", "fr": "n’est pas connu"}[language]
    assert insight_text(finding("urgency_trend", {"counts": {"High": 0}}, n=0), language).startswith(nothing)
    assert insight_text(finding("tone_distribution", {"counts": {}}, n=0, client_id=None), language).startswith(nothing)
    assert unknown in insight_text(urgency(counts={"unknown": 34}), language)
    assert unknown in insight_text(tone(counts={"unknown": 34}), language)


SAYS = {
    "en": {
        "very_likely": "very likely",
        "likely": "is likely",
        "leaning": "are leaning",
        "too_early": "too early to say",
    },
    "fr": {
        "very_likely": "très probable",
        "likely": "est probable",
        "leaning": "Tendance possible",
        "too_early": "trop tôt pour le dire",
    },
}


@pytest.mark.parametrize(
    ("probability", "word"),
    [(1.0, "very_likely"), (0.9, "very_likely"), (0.894, "likely"), (0.75, "likely"), (0.744, "leaning"),
     (0.6, "leaning"), (0.594, "too_early"), (0.0, "too_early"), (float("nan"), "too_early")],
)  # fmt: skip
@pytest.mark.parametrize("language", LANGUAGES)
@pytest.mark.parametrize("make", EVERY_KIND)
def test_the_words_follow_the_scale_and_only_one_of_them_is_said(make, language, probability, word):
    text = insight_text(make(probability), language)
    assert [word] == [name for name, said in SAYS[language].items() if said in text]
    assert speech(language).percent(stated_confidence(probability)) in text


@given(st.floats(min_value=0, max_value=1))
def test_certainty_is_never_above_the_confidence_that_is_shown(probability):
    least = {"very_likely": 0.9, "likely": 0.75, "leaning": 0.6, "too_early": 0.0}
    assert least[certainty(probability)] <= stated_confidence(probability) <= 0.99


@given(st.floats(min_value=0, max_value=1), st.floats(min_value=0, max_value=1))
def test_more_probable_is_never_said_with_a_weaker_word(one, other):
    order = ["too_early", "leaning", "likely", "very_likely"]
    low, high = sorted((one, other))
    assert order.index(certainty(low)) <= order.index(certainty(high))


@pytest.mark.parametrize(
    ("dominance", "confidence", "said"),
    [(0.95, 0.93, " is formal"), (0.95, 0.7, " seems to be formal"), (0.7, 0.93, " seems to be formal"),
     (0.5, 0.93, "No tone clearly leads"), (None, 0.93, "No tone clearly leads")],
)  # fmt: skip
def test_a_tone_leads_only_as_surely_as_it_does(dominance, confidence, said):
    assert said in insight_text(tone(confidence, dominant_tone_probability=dominance), "en")


@pytest.mark.parametrize("language", LANGUAGES)
def test_a_name_is_said_only_of_conversions_and_reversions(language):
    for make in EVERY_KIND:
        text = insight_text(make(lead_name="Zoë Quux"), language)
        assert ("Zoë Quux" in text) == (make in (conversion, reversion))


@pytest.mark.parametrize("language", LANGUAGES)
def test_a_name_may_hold_anything(language):
    text = insight_text(conversion(lead_name="{n} %s\x00 <b>" + "x" * 1000), language)
    assert "{n} %s <b>xxx" in text
    assert len(text) < 400


def test_a_free_reason_is_not_repeated():
    assert "secret" not in insight_text(reversion(reason="Other: secret"), "en")


@pytest.mark.parametrize("language", LANGUAGES)
@pytest.mark.parametrize("against", ["own_past", "pool"])
@pytest.mark.parametrize("pattern_type", [*PATTERN_TYPES, "weather_increasing", "odd", None])
def test_every_pattern_has_a_sentence_and_a_recommendation(pattern_type, against, language):
    subject = str(pattern_type).rpartition("_")[0]
    values = {"tone": TONES, "urgency": URGENCY_NAMES}.get(subject, [VALUES.get(subject)])
    for value in [*values, None]:
        made = pattern(pattern_type=pattern_type, value=value, against=against)
        assert insight_text(made, language).endswith(".")
        advice = recommendation(str(pattern_type), value, language)
        assert advice
        assert not re.search(r"None|[{}]|“”|  ", advice)


def test_patterns_in_words():
    english = {
        ("urgency_increasing", "High"): "leads of high urgency are more frequent",
        ("tone_decreasing", "Other"): "leads whose tone is “other” are less frequent",
        ("source_increasing", "referral"): "leads from “referral” are more frequent",
        ("intent_increasing", "Demande de devis"): "leads whose intent is “Quote Request” are more frequent",
        ("language_increasing", "fr"): "leads who write in French are more frequent",
        ("repeat_contact_decreasing", None): "leads write again less often",
        ("conversion_rate_increasing", None): "leads convert more often",
        ("weather_increasing", None): "the pattern “weather_increasing” is real",
    }
    for (pattern_type, value), said in english.items():
        assert said in insight_text(pattern(pattern_type=pattern_type, value=value), "en")
    french = insight_text(pattern(pattern_type="intent_increasing", value="Quote Request"), "fr")
    assert "les prospects dont l’intention est «\u00a0Demande de devis\u00a0»" in french


def test_recommendations_in_words():
    assert recommendation("source_decreasing", "referral", "en") == (
        "Check why leads from “referral” make up a smaller share"
    )
    assert recommendation("language_increasing", "en", "fr") == "Préparez des réponses en anglais"
    more_low = recommendation("urgency_increasing", "Low", "en")
    assert more_low == recommendation("urgency_decreasing", "High", "en")
    assert recommendation("source_increasing", None, "en") == recommendation("other", None, "en")


def test_actions_follow_from_what_is_there():
    facts = {"follow_up_open": 5, "high_urgency_open": 1, "young_open": 1200, "stale_open": 2, "n_open": 1300}
    assert recommended_actions(facts, "en") == [
        "Reply first to the only open lead of high urgency",
        "Follow up with the 5 leads tagged “Follow-Up”",
        "Contact the 1,200 leads that came in this past week while they are fresh",
        "Revive or archive the 2 leads open for more than 90 days",
    ]
    assert recommended_actions({"stale_open": 1, "top_source": "referral"}, "fr") == [
        "Relancez ou archivez le seul prospect en cours depuis plus de 90 jours",
        "Gardez un œil sur «\u00a0referral\u00a0», la principale source de prospects",
    ]


def test_actions_follow_from_the_reasons_first():
    """What a reason said is not said again of all open leads, and nothing is advised that a reason speaks against."""
    facts = {"high_urgency_open": 9, "young_open": 3, "stale_open": 2, "top_source": "Web", "follow_up_open": 1}
    reasons = {"reason_high_urgency": 2, "reason_ageing": 1, "reason_source": "Web"}
    assert recommended_actions(facts | reasons, "en") == [
        "Reply soon to 2 promising leads of high urgency: such leads tend to convert more often",
        "Do not let one promising lead wait: its odds tend to be better now than later",
        "Look after leads from “Web”: they tend to convert more often",
        "Follow up with the only lead tagged “Follow-Up”",
    ]
    against = recommended_actions(facts | {"reason_high_urgency_against": 1, "reason_touch_due": 10}, "fr")
    assert against[0].startswith("Reprenez contact avec 10 prospects prometteurs\u00a0:")
    assert not any("urgence" in action for action in against)


@pytest.mark.parametrize("language", LANGUAGES)
@pytest.mark.parametrize("nothing", [None, 0, -1, float("nan"), float("inf"), "5", True])
def test_no_action_follows_from_nothing(nothing, language):
    counts = ("follow_up_open", "high_urgency_open", "young_open", "stale_open")
    assert recommended_actions(dict.fromkeys(counts, nothing) | {"top_source": None, "n_open": 3}, language) == []
    reasons = [f"reason_{name}" for name in ("high_urgency", "touch_due", "ageing", "recent_touch", "source")]
    assert recommended_actions(dict.fromkeys(reasons[:4], nothing) | {"reason_source": None}, language) == []
    assert recommended_actions({"top_source": "unknown", "reason_source": "inconnu"}, language) == []
    assert recommended_actions({}, language) == []


def test_another_language_or_event_type_is_refused():
    with pytest.raises(ValueError, match="en, fr"):
        insight_text(engagement(), "de")
    with pytest.raises(ValueError, match="weather"):
        insight_text(finding("weather", {}), "en")


@pytest.mark.parametrize("language", LANGUAGES)
def test_shares_next_to_nothing_and_nearly_all_are_not_rounded_away(language):
    says = speech(language)
    assert says.percent(0) == says.percent(0.0) != says.percent(0.001)
    assert says.percent(1) != says.percent(0.9999)
    assert says.percent(0.001) in insight_text(urgency(high_urgency_pct=0.001), language)


def test_french_writes_numbers_dates_and_percents_its_way():
    says = speech("fr")
    assert says.percent(0.34) == "34\u00a0%"
    assert says.number(1_234_567) == "1\u202f234\u202f567"
    assert says.number(1.83) == "1,8"
    assert says.points(0.005) == "+0,5 point"
    assert [says.date(datetime(2025, 3, day, tzinfo=UTC).date()) for day in (1, 11)] == [
        "1er mars 2025",
        "11 mars 2025",
    ]
    assert speech("en").date(datetime(2025, 3, 1, tzinfo=UTC).date()) == "March 1, 2025"


@pytest.mark.parametrize("language", LANGUAGES)
def test_every_tone_urgency_tag_and_pattern_has_a_name(language):
    says = speech(language)
    names = [f"tone.{tone}" for tone in TONES] + [f"urgency.{urgency}" for urgency in URGENCY_NAMES]
    names += [f"tag.{tag}" for tag in TAG_NAMES if tag not in ("None", "Other")]
    names += [f"recommendation.{pattern_type}" for pattern_type in PATTERN_TYPES]
    assert [name for name in names if not says.has(name)] == []


def test_getting_ready_loads_every_language():
    speech.cache_clear()
    get_ready()
    assert speech.cache_info().currsize == len(LANGUAGES)
