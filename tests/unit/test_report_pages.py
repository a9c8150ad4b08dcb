"""A report's HTML: complete in itself, in two languages, and whatever names hold is text."""

import re
from datetime import UTC, datetime
from html.parser import HTMLParser
from zoneinfo import ZoneInfo

import pytest
from report_pages import (
    CLIENT_ID,
    EN,
    FR,
    STRANGE,
    client_html,
    engagement,
    holdings,
    lead,
    operator_html,
    pattern,
    prediction,
    row,
    tones,
    urgency,
)  # fmt: skip

from worker.report.page import Reason
from worker.report.reasons import reason_text
from worker.report.svg import Label, to_svg
from worker.report.words import Words

ATTACKS = [
    "<script>alert(1)</script>",
    '"><img src=x onerror=alert(1)>',
    "</title><b>x",
    "{{ 7*7 }} & co",
    "a\x01\ud800b",
]
NOT_CLOSED = {"meta", "link", "br", "img"}


class Read(HTMLParser):
    """The tags, attributes and texts of a page; scripts and styles apart."""

    def __init__(self, html):
        super().__init__()
        self.tags, self.attributes, self.texts, self.open = [], [], [], []
        self.feed(html)
        assert self.open == []

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.attributes += attrs
        if tag not in NOT_CLOSED:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.tags.append(tag)
        self.attributes += attrs

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if self.open and self.open[-1] != "style" and data.strip():
            self.texts.append(data)

    def values(self, name):
        return [value for key, value in self.attributes if key == name]


@pytest.mark.parametrize("make", [client_html, operator_html])
@pytest.mark.parametrize("words", [EN, FR], ids=["en", "fr"])
def test_a_page_asks_nothing_of_the_network_and_runs_nothing(make, words):
    html = make(words=words)
    read = Read(html)
    assert "script" not in read.tags
    assert not [name for name, _ in read.attributes if name.startswith("on")]
    assert not re.search(r"@import|url\((?!#)", html)
    targets = [value for name in ("src", "href", "xlink:href") for value in read.values(name)]
    assert [t for t in targets if not t.startswith(("#", "data:")) and t != f"{CLIENT_ID}.html"] == []
    assert "default-src 'none'; style-src 'unsafe-inline'; img-src data:" in read.values("content")
    assert len(html.encode()) < 1_000_000


def test_a_chart_has_a_text_in_its_place_its_data_and_ids_of_its_own():
    read = Read(client_html())
    charts = [value for value in read.values("class") if value == "chart"]
    assert len(charts) == 6
    ids = read.values("id")
    assert len(ids) == len(set(ids))
    for names in read.values("aria-labelledby"):
        assert set(names.split()) <= set(ids)
    assert read.values("role").count("img") == len(charts) == read.tags.count("details") == read.tags.count("desc")
    referred = {v[1:] for v in read.values("href") if v.startswith("#")} | set(
        re.findall(r"url\(#([^)]+)\)", client_html())
    )
    assert referred <= set(ids)
    assert not re.findall(r"#0([1-6])(?:0\1){2}", client_html())  # no placeholder of a colour is left


def test_the_same_rows_give_the_same_page_to_the_last_byte():
    assert client_html() == client_html()


def visible(html):
    """The texts, and the values of attributes that are read out."""
    read = Read(html)
    return [*read.texts, *(value for name in ("aria-label", "title") for value in read.values(name))]


@pytest.mark.parametrize("attack", ATTACKS)
def test_what_names_hold_is_text(attack):
    plain = Read(client_html(names={lead()["lead_id"]: "x"}))
    kinds = ("age", "source", "tone", "weekday", attack)
    reasons = [{"reason": name, "value": attack, "log_hazard": 1} for name in kinds]
    found = holdings(
        engagement(parts=[{"part": attack, "points": 1.0}]),
        urgency(),
        tones(),
        prediction(recommended_actions=[attack], high_value_leads=[lead(lead_id=attack, reasons=reasons)]),
        name=attack,
        patterns=[pattern(attack), row("pattern_detected", pattern().content, attack, 0.9)],
    )
    for words in (EN, FR):
        html = client_html(found, words, names={attack: attack})
        read = Read(html)
        assert set(read.tags) <= set(plain.tags)
        assert {name for name, _ in read.attributes} <= {name for name, _ in plain.attributes}
        assert any(
            attack.replace("\x01", "").replace("\ud800", "")[:8] in text.replace("\x01", "") for text in read.texts
        )
    index = Read(operator_html(name=attack))
    assert set(index.tags) == set(Read(operator_html()).tags)


def test_a_chart_escapes_what_is_written_in_it():
    from matplotlib.figure import Figure

    figure = Figure()
    figure.text(0.5, 0.5, "<script>", parse_math=False)
    svg = to_svg(figure, Label("x", ATTACKS[1], "a\x01$x^2$ & <b>"))
    assert "<script>" not in svg
    assert "<img" not in svg
    assert "a$x^2$ &amp; &lt;b&gt;" in svg


@pytest.mark.parametrize("strange", STRANGE, ids=repr)
def test_whatever_a_snapshot_holds_can_be_shown(strange):
    for make in (engagement, urgency, tones, prediction):
        html = client_html(holdings(make(**dict.fromkeys(make().content, strange))), FR)
        assert "nan" not in " ".join(Read(html).texts).split()


def test_empty_pages_say_that_there_is_nothing():
    assert "There is nothing to report on this client" in client_html(holdings(scores=[]))
    assert "There is no client yet" in operator_html(empty=True)
    assert "Il n’y a rien à rapporter" in client_html(holdings(scores=[]), FR)


def test_what_is_not_known_is_said():
    text = " ".join(Read(client_html()).texts)
    for sentence in (
        "The urgency of 3 leads out of 103 is not known.",
        "The tone of 6 leads out of 96 is not known.",
        "they may bring about 8 conversions more (5 to 13)",
        "Of 2 conversions it is not known how long they took.",
        "2 statements cannot be checked yet. The next one can on December 1, 2026.",
        "1 statement can never be checked",
    ):
        assert sentence in text
    alone = " ".join(Read(client_html(holdings(engagement(n=1, previous={}), scores=[]))).texts)
    assert "Only 1 lead came in" in alone
    assert "no lead came in the 30 days before" in alone


def test_a_trend_that_nobody_can_tell_yet_is_not_shown_as_one():
    text = " ".join(Read(client_html()).texts)
    assert "→ steady" in text  # at 71%
    assert "↑ rising" not in text  # at 57%
    assert "too early to say, 57%" in text


def test_a_page_in_another_language_says_the_same_sentences_in_it():
    text = " ".join(Read(client_html(words=FR)).texts)
    assert "l’engagement se situe à 69 sur 100" in text
    assert "Environ 13 conversions sont attendues" in text
    assert "Reply soon" in text  # what was advised is on record in one language only ...
    assert 'lang="en">Reply soon' in client_html(words=FR)  # ... and says which


def test_french_is_set_as_french():
    pages = [client_html(words=FR), operator_html(FR), client_html(holdings(scores=[]), FR)]
    for text in (text for html in pages for text in visible(html) if "Reply" not in text):
        assert not re.search("(?<![\u00a0\u202f\\d])[:;!?%»](?!\\w)|«(?![\u00a0\u202f])", text), text
        assert not re.search(" [:;!?%»]|« ", text), text
        assert "'" not in text, text


def test_windows_tell_hits_from_misses_without_colour():
    text = " ".join(Read(client_html()).texts)
    assert "● in the range" in text
    assert "✕ outside" in text
    assert "not over yet" in text
    assert "1 of 2" in text


@pytest.mark.parametrize(
    ("name", "value", "english", "french"),
    [
        ("age", "5 days", "5 days old", "arrivé il y a 5 jours"),
        ("age", "1 days", "1 day old", "arrivé il y a 1 jour"),
        ("age", "0 days", "came today", "arrivé aujourd’hui"),
        ("touches", "2-3", "2 to 3 follow-ups", "2 à 3 suivis"),
        ("touches", "0", "no follow-up yet", "aucun suivi pour l’instant"),
        ("touches", "4 or more", "4 or more follow-ups", "4 suivis ou plus"),
        ("last touch", "< 3 days", "last follow-up under 3 days ago", "dernier suivi il y a moins de 3 jours"),
        ("last touch", ">= 90 days", "last follow-up 90 or more days ago", "dernier suivi il y a 90 jours ou plus"),
        ("last touch", "none", "not followed up yet", "pas encore relancé"),
        ("confidence", "0.50-0.69", "AI confidence 50% to 69%", "confiance de l’IA : 50 % à 69 %"),
        ("urgency", "High", "high urgency", "urgence élevée"),
        ("tone", "Friendly", "friendly tone", "ton amical"),
        ("language", "fr", "writes in French", "écrit en français"),
        ("weekday", "Thursday", "arrived on a Thursday", "arrivé un jeudi"),
        ("source", "unknown", "source not known", "provenance inconnue"),
        ("intent", "other", "a less common intent", "intention plus rare"),
        ("client", None, "the usual pace of this business", "le rythme habituel de cette entreprise"),
        ("arrival", "since 2026-10-01", "when it came", "période d’arrivée"),
        ("something new", "x", "something new: x", "something new: x"),
        ("something new", None, "something new", "something new"),
    ],
)
def test_reasons_in_words(name, value, english, french):
    assert reason_text(EN, Reason(name, value, helps=True)) == english
    assert reason_text(FR, Reason(name, value, helps=True)).replace("\u00a0", " ") == french


def test_a_day_is_that_of_the_time_zone():
    toronto = Words("en", ZoneInfo("America/Toronto"))
    instant = datetime(2026, 12, 1, 4, 59, tzinfo=UTC)
    assert toronto.long_day(instant) == "November 30, 2026"
    assert toronto.last_day(datetime(2026, 11, 30, 5, tzinfo=UTC)) == "November 29, 2026"


@pytest.mark.filterwarnings("error")  # matplotlib warns of an axis without extent
def test_a_score_that_nothing_moved_is_drawn_as_such():
    still = [{"part": part, "points": points} for part, points in (("confidence", 0.0), ("urgency", -0.04))]
    for parts in (still, still[:1]):
        html = client_html(holdings(engagement(parts=parts)))
        assert html.count('class="n">0.0</td>') >= len(parts)
        assert "\N{MINUS SIGN}0.0" not in html
        assert "+0.0" not in html
