"""The message catalogues: complete, compiled, alike in every language, and packed into the wheel only if so."""

import re
import runpy
import string
import subprocess
import sys
import tomllib
from functools import partial
from pathlib import Path
from types import ModuleType

import pytest
from babel.messages.pofile import read_po

from worker.insights.catalogue import FOLDER, LANGUAGES, load
from worker.locale.compile import compile_all, main, problems

ROOT = Path(__file__).resolve().parents[2]
DOMAINS = sorted({path.stem for path in FOLDER.rglob("*.po")})
EVERY = [(domain, language) for domain in DOMAINS for language in LANGUAGES]


def messages(domain, language):
    """Every message's forms by key, as its text file has them."""
    with (FOLDER / language / "LC_MESSAGES" / f"{domain}.po").open("rb") as file:
        found = [message for message in read_po(file, locale=language) if message.id]
    return {m.id[0] if m.pluralizable else m.id: m.string if m.pluralizable else (m.string,) for m in found}


def fields(form):
    return {name for _, name, _, _ in string.Formatter().parse(form) if name}


def words(domain, language):
    text = " ".join(
        re.sub(r"{\w+}", "", form).lower() for forms in messages(domain, language).values() for form in forms
    )
    return set(re.findall(r"[^\W\d_]{2,}", text))


def test_the_catalogues_are_complete_and_compiled():
    assert problems(FOLDER) == []
    assert DOMAINS
    assert main(["--check"]) == 0
    assert {path.parent.parent.name for path in FOLDER.rglob("*.po")} == set(LANGUAGES)


# What can go wrong with a catalogue, in a copy of one with a sentence and a plural

ENGLISH = """msgid ""
msgstr ""
"Content-Type: text/plain; charset=utf-8\\n"
"Plural-Forms: nplurals=2; plural=(n != 1);\\n"

msgid "hello"
msgstr "Good morning, {name}."

msgid "leads"
msgid_plural "leads"
msgstr[0] "the only lead of {name}"
msgstr[1] "{n} leads of {name}"
"""
FRENCH = """msgid ""
msgstr ""
"Content-Type: text/plain; charset=utf-8\\n"
"Plural-Forms: nplurals=2; plural=(n > 1);\\n"

#. en: Good morning, {name}.
msgid "hello"
msgstr "Bonjour, {name}."

#. en: the only lead of {name} | {n} leads of {name}
msgid "leads"
msgid_plural "leads"
msgstr[0] "le seul prospect de {name}"
msgstr[1] "{n} prospects de {name}"
"""


@pytest.fixture
def folder(tmp_path):
    for language, text in (("en", ENGLISH), ("fr", FRENCH)):
        path = tmp_path / language / "LC_MESSAGES" / "greetings.po"
        path.parent.mkdir(parents=True)
        path.write_text(text, encoding="utf-8")
    compile_all(tmp_path)
    assert problems(tmp_path) == []
    return tmp_path


def change(folder, language, old, new):
    path = folder / language / "LC_MESSAGES" / "greetings.po"
    text = path.read_text(encoding="utf-8")
    assert text.count(old) == 1
    path.write_text(text.replace(old, new), encoding="utf-8")


@pytest.mark.parametrize(
    ("language", "old", "new", "said"),
    [
        ("fr", 'msgid "hello"\nmsgstr "Bonjour, {name}."', "", "hello: missing"),
        ("en", 'msgid "hello"\nmsgstr "Good morning, {name}."', "", "hello: not in the English catalogue"),
        ("fr", 'msgid "hello"\n', '#, fuzzy\nmsgid "hello"\n', "hello: fuzzy"),
        ("fr", 'msgid "hello"\n', '#~ msgid "old"\n#~ msgstr "vieux"\n\nmsgid "hello"\n', "old: obsolete"),
        ("fr", "Bonjour, {name}.", "", "hello: empty"),
        ("fr", "Bonjour, {name}.", "Bonjour, {nom}.", "hello: other placeholders"),
        ("fr", "Bonjour, {name}.", "Bonjour.", "hello: other placeholders"),
        ("fr", "Bonjour, {name}.", "Bonjour, {name}, {n} fois.", "hello: other placeholders"),
        ("fr", "Bonjour, {name}.", "Bonjour, {name.", "hello: no template"),
        ("fr", "{n} prospects de {name}", "{n} prospects", "leads: other placeholders"),
        ("fr", "{n} prospects de {name}", "", "leads: empty, or a plural form is missing"),
        ("fr", '\nmsgstr[1] "{n} prospects de {name}"', "", "leads: empty, or a plural form is missing"),
        (
            "fr",
            'msgid_plural "leads"\nmsgstr[0] "le seul prospect de {name}"\nmsgstr[1]',
            "msgstr",
            "leads: a plural",
        ),
        ("en", "Good morning", "Good evening", "hello: the English text has changed"),
        ("fr", 'msgid "leads"\n', 'msgid "hello"\nmsgstr "Salut, {name}."\n\nmsgid "leads"\n', "stands there twice"),
    ],
)
def test_an_incomplete_catalogue_is_refused_compiled_or_not(folder, language, old, new, said):
    change(folder, language, old, new)
    assert any(said in problem for problem in problems(folder)), problems(folder)
    if said not in ("hello: the English text has changed", "stands there twice"):  # these it makes fuzzy
        compile_all(folder)
        assert any(said in problem for problem in problems(folder)), problems(folder)


def test_a_compiled_catalogue_that_says_something_else_is_refused(folder):
    change(folder, "fr", "Bonjour", "Bonsoir")
    assert [problem.partition(": ")[2] for problem in problems(folder)] == [
        "not compiled since it was changed: python -m worker.locale.compile"
    ]
    compile_all(folder)
    assert problems(folder) == []
    (folder / "fr" / "LC_MESSAGES" / "greetings.mo").unlink()
    assert len(problems(folder)) == 1


def test_other_plural_rules_are_another_catalogue(folder):
    change(folder, "fr", "plural=(n > 1)", "plural=(n != 1)")
    assert any("not compiled" in problem for problem in problems(folder))


def test_a_language_or_a_folder_without_catalogues_is_refused(folder, tmp_path_factory):
    (folder / "fr" / "LC_MESSAGES" / "greetings.po").unlink()
    assert problems(folder) == ["fr/LC_MESSAGES/greetings.po: missing"]
    assert len(problems(tmp_path_factory.mktemp("empty"))) == 1


def test_a_reworded_english_text_makes_its_translations_fuzzy_until_somebody_looked(folder):
    change(folder, "en", "Good morning", "Good evening")
    compile_all(folder)
    assert [problem.partition(", ")[0] for problem in problems(folder)][:1] == [
        "fr/LC_MESSAGES/greetings.po: hello: fuzzy"
    ]
    change(folder, "fr", "#, fuzzy\n", "")
    change(folder, "fr", "Bonjour", "Bonsoir")
    compile_all(folder)
    assert problems(folder) == []


def test_compiling_again_changes_nothing(folder):
    def contents():
        return {path: path.read_bytes() for path in folder.rglob("*.[mp]o")}

    before = contents()
    compile_all(folder)
    assert contents() == before


def test_the_command_names_what_is_amiss(folder, monkeypatch, capsys):
    monkeypatch.setattr("worker.locale.compile.FOLDER", folder)
    change(folder, "fr", "Bonjour, {name}.", "")
    assert main(["--check"]) == main([]) == 1
    assert "fr/LC_MESSAGES/greetings.po: hello: empty" in capsys.readouterr().err
    assert main(["--what"]) == 2


# Reading them


@pytest.mark.parametrize(("domain", "language"), EVERY)
@pytest.mark.parametrize("n", [None, 0, 1, 1.5, 2, 10**6, 10**9, -3])
def test_every_message_can_be_said_of_any_count(domain, language, n):
    says = load(domain, language)
    for key, forms in messages(domain, language).items():
        assert says.has(key)
        values = dict.fromkeys(set().union(*map(fields, forms)) - {"n"}, "x")
        if len(forms) > 1 and n is None:
            continue
        text = says.say(key, n if len(forms) > 1 else None, **values)
        assert text.strip()
        assert "{" not in text


@pytest.mark.parametrize("language", LANGUAGES)
def test_fractions_and_none_at_all_have_the_form_of_their_language(language):
    say = partial(load("insights", language).say, "leads")
    expected = {
        "en": ["no leads", "1 lead", "1.5 leads", "2 leads", "1,000,000 leads"],
        "fr": ["aucun prospect", "1 prospect", "1,5 prospect", "2 prospects", "1_000_000 prospects"],
    }[language]
    assert [say(n) for n in (0, 1, 1.5, 2, 1e6)] == [text.replace("_", "\u202f") for text in expected]


@pytest.mark.parametrize("language", LANGUAGES)
def test_a_missing_message_is_an_error_and_no_text(language):
    says = load("insights", language)
    assert not says.has("nothing of the kind")
    with pytest.raises(KeyError, match="nothing of the kind"):
        says.say("nothing of the kind")
    with pytest.raises(KeyError, match="nothing of the kind"):
        says.say("nothing of the kind", 3)
    with pytest.raises(KeyError, match="share"):
        says.say("urgency.share", leads="3 leads")


def test_another_language_or_domain_is_refused():
    with pytest.raises(ValueError, match="en, fr"):
        load("insights", "de")
    with pytest.raises(FileNotFoundError):
        load("weather", "en")


# What is in them


@pytest.mark.parametrize("domain", DOMAINS)
def test_french_typography(domain):
    """A no-break space before : ; ! ? % and inside « », no straight quote or apostrophe; none where none belongs."""
    for key, forms in messages(domain, "fr").items():
        for form in forms:
            assert not re.search("(?<![\u00a0\u202f])[:;!?%»]|«(?![\u00a0\u202f])", form), key
            assert not re.search("['\"“”]|[\u00a0\u202f][.,)]| [.,)]|  |\\( ", form), key


@pytest.mark.parametrize("domain", DOMAINS)
def test_english_typography(domain):
    for key, forms in messages(domain, "en").items():
        for form in forms:
            assert not re.search("['\"«»\u00a0\u202f]|  | [.,:;!?%)]|\\( ", form), key


def test_no_english_word_stays_in_french():
    # Words that are the same in both languages, and the French tag « Nouveau lead ».
    same = {
        "score", "engagement", "point", "points", "contact", "conversion", "conversions", "client", "clients", "urgent",
        "direct", "source", "action", "on", "lead", "support", "information", "consultation", "service",
    }  # fmt: skip
    assert words("insights", "en") & words("insights", "fr") - same == set()


def test_asking_for_the_functions_does_not_load_babel():
    code = "import sys, worker.growth_brain; sys.exit('babel' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_a_wheel_is_packed_with_complete_catalogues_only(folder, monkeypatch):
    packing = ModuleType("hatchling.builders.hooks.plugin.interface")  # hatchling itself is there only while packing
    packing.BuildHookInterface = object
    monkeypatch.setitem(sys.modules, packing.__name__, packing)
    monkeypatch.setattr(sys, "path", list(sys.path))
    hook = runpy.run_path(str(ROOT / ".ci" / "hatch_build.py"))["CompleteCatalogues"]()
    hook.root = str(ROOT)
    hook.initialize("standard", {})
    monkeypatch.setattr("worker.locale.compile.FOLDER", folder)
    change(folder, "fr", "Bonjour, {name}.", "")
    with pytest.raises(RuntimeError, match="hello: empty"):
        hook.initialize("standard", {})
    assert "custom" in tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["hatch"]["build"]["hooks"]
