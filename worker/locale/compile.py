"""
Compile the message catalogues and refuse incomplete ones: python -m worker.locale.compile [--check].

English is the model: every other language must have its messages, each with the same placeholders and all its plural
forms, none fuzzy. The English text stands above each translation as a comment ("en: ..."); where it has changed since,
compiling renews the comment and marks the translation fuzzy, until a translator has looked and removed the mark.
Needs Babel alone, since packing a wheel runs it too.
"""

import io
import re
import string
import sys
from collections.abc import Iterator, Sequence
from gettext import GNUTranslations
from pathlib import Path

from babel.messages.catalog import Catalog, Message
from babel.messages.mofile import write_mo
from babel.messages.pofile import read_po, write_po

FOLDER = Path(__file__).resolve().parent
MODEL = "en"
MARK = "en: "


def main(arguments: list[str]) -> int:
    """Compile unless only asked to check; the exit code is 1 where something is amiss."""
    if arguments not in ([], ["--check"]):
        sys.stderr.write("usage: python -m worker.locale.compile [--check]\n")
        return 2
    if not arguments:
        compile_all(FOLDER)
    found = problems(FOLDER)
    sys.stderr.write("".join(f"{problem}\n" for problem in found))
    return 1 if found else 0


def compile_all(folder: Path) -> None:
    """Renew the English comments of every translation, and write each catalogue's compiled form beside it."""
    for po in _catalogues(folder):
        catalogue = _read(po)
        if po != _model(po) and _model(po).exists() and _renew_comments(catalogue, _read(_model(po))):
            with po.open("wb") as file:
                write_po(file, catalogue, width=0)
        po.with_suffix(".mo").write_bytes(_compiled(catalogue))


def problems(folder: Path) -> list[str]:
    """List all that keeps the catalogues from being used, each with its file and key; none is []."""
    pos = _catalogues(folder)
    languages = sorted(path.parent.name for path in folder.glob("*/LC_MESSAGES"))
    found = [] if pos else [f"{folder}: no catalogue"]
    for po in pos:
        name = po.relative_to(folder)
        found += [f"{name}: {problem}" for problem in _problems_of(po)]
        found += [
            f"{language}/LC_MESSAGES/{po.name}: missing"
            for language in languages
            if po == _model(po) and not (folder / language / "LC_MESSAGES" / po.name).exists()
        ]
    return found


def _problems_of(po: Path) -> Iterator[str]:
    catalogue, model = _read(po), _read(_model(po)) if _model(po).exists() else Catalog()
    mine, theirs = _messages(catalogue), _messages(model)
    if len(mine) != len(re.findall(r"^msgid ", po.read_text(encoding="utf-8"), re.MULTILINE)) - 1:  # less the header
        yield "a message stands there twice"
    yield from (f"{key}: missing" for key in theirs if key not in mine)
    yield from (f"{key}: not in the English catalogue" for key in mine if key not in theirs)
    yield from (f"{key}: obsolete" for key in catalogue.obsolete)
    for key, message in mine.items():
        if message.fuzzy:
            yield f"{key}: fuzzy, to be looked at by a translator"
        if len(_forms(message)) != (catalogue.num_plurals if message.pluralizable else 1) or not all(_forms(message)):
            yield f"{key}: empty, or a plural form is missing"
        elif key in theirs:
            yield from (f"{key}: {problem}" for problem in _differences(message, theirs[key], po == _model(po)))
    if not _is_compiled(catalogue, po.with_suffix(".mo")):
        yield "not compiled since it was changed: python -m worker.locale.compile"


def _differences(message: Message, model: Message, is_model: bool) -> Iterator[str]:
    if message.pluralizable != model.pluralizable:
        yield "a plural in one language alone"
    # {n} may be a word in some form of a plural ("the only lead") and is always offered.
    offered = {"n"} if model.pluralizable else set()
    try:
        same = {frozenset(_fields(form) - offered) for form in (*_forms(message), *_forms(model))}
    except ValueError as error:
        yield f"no template: {error}"
    else:
        if len(same) != 1:
            yield "other placeholders than in English"
    if not is_model and _english_above(message) != _as_comment(model):
        yield "the English text has changed: python -m worker.locale.compile"


def _renew_comments(catalogue: Catalog, model: Catalog) -> bool:
    """Write the English text above each translation; whether any was another."""
    renewed = False
    for key, message in _messages(catalogue).items():
        english = model.get(key)
        if english is not None and _english_above(message) != _as_comment(english):
            if _english_above(message):
                message.flags.add("fuzzy")
            message.auto_comments = [_as_comment(english)]
            renewed = True
    return renewed


def _as_comment(english: Message) -> str:
    return " ".join((MARK + " | ".join(_forms(english))).split())


def _english_above(message: Message) -> str:
    return " ".join(" ".join(message.auto_comments).split())


def _catalogues(folder: Path) -> list[Path]:
    return sorted(folder.glob("*/LC_MESSAGES/*.po"))


def _model(po: Path) -> Path:
    return po.parents[2] / MODEL / "LC_MESSAGES" / po.name


def _read(po: Path) -> Catalog:
    with po.open("rb") as file:
        return read_po(file, locale=po.parents[1].name, abort_invalid=True)


def _messages(catalogue: Catalog) -> dict[str, Message]:
    """Every message but the header, by key; a plural's two ids are the same key."""
    return {_texts(message.id)[0]: message for message in catalogue if message.id}


def _forms(message: Message) -> list[str]:
    return _texts(message.string)


def _texts(one_or_more: str | Sequence[str] | None) -> list[str]:
    return [one_or_more or ""] if isinstance(one_or_more, str | None) else list(one_or_more)


def _fields(form: str) -> set[str]:
    return {name for _, name, _, _ in string.Formatter().parse(form) if name is not None}


def _compiled(catalogue: Catalog) -> bytes:
    buffer = io.BytesIO()
    write_mo(buffer, catalogue)
    return buffer.getvalue()


def _is_compiled(catalogue: Catalog, mo: Path) -> bool:
    """Whether the compiled catalogue says what this one does; its header may name another version of Babel."""
    if not mo.exists():
        return False
    said, says = (_all_said(GNUTranslations(io.BytesIO(data))) for data in (mo.read_bytes(), _compiled(catalogue)))
    return said == says


def _all_said(translations: GNUTranslations) -> tuple[dict[object, str], list[int]]:
    catalogue = {key: text for key, text in vars(translations)["_catalog"].items() if key}
    return catalogue, [vars(translations)["plural"](n) for n in range(1000)]


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
