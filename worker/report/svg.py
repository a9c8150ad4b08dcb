"""
Makes what matplotlib draws fit for a page: no colour, id, size or style of its own, and a text in place of the picture.

Colours become the page's custom properties, so that a chart follows light and dark; ids are made unique, since many
charts stand in one document; texts take the page's typeface.
"""

import re
from dataclasses import dataclass
from io import StringIO
from xml.etree import ElementTree as ET

from matplotlib.figure import Figure

SVG, XLINK = "http://www.w3.org/2000/svg", "http://www.w3.org/1999/xlink"
# Placeholders that no chart means as colours, and the custom properties that stand for them in the page
INK, MUTED, ACCENT, GRID, SECOND, PAPER = (f"#0{n}0{n}0{n}" for n in range(1, 7))
COLOURS = {INK: "--ink", MUTED: "--muted", ACCENT: "--accent", GRID: "--line", SECOND: "--second", PAPER: "--card"}
_COLOUR = re.compile("|".join(COLOURS))
_URL = re.compile(r"url\(#([^)]+)\)")
_NOT_XML = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\ud800-\udfff\ufffe\uffff]")
_FONT = re.compile(r"font-family: [^;]*(?:; )?")


def plain(text: str) -> str:
    """Leave out the characters that XML cannot hold."""
    return _NOT_XML.sub("", text)


@dataclass(frozen=True, slots=True)
class Label:
    """What a chart is called; name begins its ids in the page, title and text stand for it where it is not seen."""

    name: str
    title: str
    text: str


def to_svg(figure: Figure, label: Label) -> str:
    """Write a figure as an <svg> element for a page."""
    name = label.name
    out = StringIO()
    nothing = dict.fromkeys(("Date", "Creator", "Format", "Type"))
    figure.savefig(out, format="svg", metadata=nothing)
    root = ET.fromstring(_without_doctype(out.getvalue()))  # noqa: S314 - it was drawn here, a moment ago
    _strip(root)
    _rename(root, name)
    for attribute in ("width", "height", "version"):
        root.attrib.pop(attribute, None)
    root.attrib |= {"role": "img", "aria-labelledby": f"{name}-title {name}-text", "class": "chart"}
    for place, (tag, text) in enumerate((("title", label.title), ("desc", label.text))):
        element = ET.Element(f"{{{SVG}}}{tag}", {"id": f"{name}-{'title' if tag == 'title' else 'text'}"})
        element.text = plain(text)
        root.insert(place, element)
    ET.register_namespace("", SVG)
    return ET.tostring(root, encoding="unicode")


def _without_doctype(text: str) -> str:
    return text[text.index("<svg") :]


def _strip(root: ET.Element) -> None:
    """Take out what would reach beyond the chart (styles, metadata), and white space."""
    for parent in list(root.iter()):
        for child in list(parent):
            if child.tag in (f"{{{SVG}}}style", f"{{{SVG}}}metadata"):
                parent.remove(child)
            child.tail = None
        if parent.text is not None and not parent.text.strip():
            parent.text = None


def _rename(root: ET.Element, name: str) -> None:
    """Keep only ids that something refers to, under this chart's name; replace colours and typefaces."""
    link = f"{{{XLINK}}}href"
    wanted: dict[str, str] = {}
    for element in root.iter():
        for value in element.attrib.values():
            for target in _URL.findall(value):
                wanted.setdefault(target, f"{name}-{len(wanted)}")
        target = element.attrib.get(link, "").removeprefix("#")
        if target:
            wanted.setdefault(target, f"{name}-{len(wanted)}")
    for element in root.iter():
        if link in element.attrib:
            element.attrib["href"] = "#" + wanted[element.attrib.pop(link)[1:]]
        own = element.attrib.pop("id", None)
        if own in wanted:
            element.attrib["id"] = wanted[own]
        for key in ("style", "fill", "stroke", "clip-path", "d"):
            if key in element.attrib:
                value = _URL.sub(lambda found: f"url(#{wanted[found[1]]})", element.attrib[key])
                value = _COLOUR.sub(lambda found: f"var({COLOURS[found[0]]})", value)
                element.attrib[key] = " ".join(_FONT.sub("", value).split())
