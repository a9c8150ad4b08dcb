"""Reports as a browser shows them: no request, no error, nothing wider than a telephone, and axe-core is content."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from chromium import CHROMIUM, chromium

sys.path.append(str(Path(__file__).resolve().parents[1] / "unit"))
from report_pages import FR, client_html, full, operator_html, pattern

pytestmark = [
    pytest.mark.skipif(not CHROMIUM, reason="no Chromium (Debian: apt-get install chromium)"),
]
AXE = "axe-core@4"
VIEWS = {
    "desk": {},
    "dark": {"dark": True},
    "telephone": {"width": 390},
    "narrow and dark": {"width": 390, "dark": True},
}
TEXT_SIZE = """
Math.min(...[...document.querySelectorAll('svg text')].map(t =>
    parseFloat(getComputedStyle(t).fontSize) * t.ownerSVGElement.clientWidth / t.ownerSVGElement.viewBox.baseVal.width))
"""
OUTSIDE = """
[...document.querySelectorAll('svg.chart')].flatMap(svg => [...svg.querySelectorAll('text')].filter(text => {
    const inner = text.getBoundingClientRect(), outer = svg.parentElement.getBoundingClientRect();
    return inner.left < outer.left - 1 || inner.right > outer.right + 1;
}).map(text => text.textContent))
"""


@pytest.fixture(scope="module")
def browser():
    with chromium() as found:
        yield found


@pytest.fixture(scope="module")
def axe(tmp_path_factory):
    """The source of axe-core, fetched by npm into a folder that does not stay."""
    npm = shutil.which("npm")
    if npm is None:
        pytest.skip("no npm to fetch axe-core with")
    folder = tmp_path_factory.mktemp("axe")
    command = [npm, "install", "--silent", "--no-save", "--ignore-scripts", "--prefix", str(folder), AXE]
    if subprocess.run(command, capture_output=True, check=False, timeout=120).returncode != 0:
        pytest.skip("npm could not fetch axe-core")
    return (folder / "node_modules" / "axe-core" / "axe.min.js").read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def pages(tmp_path_factory):
    folder = tmp_path_factory.mktemp("pages")
    long_name = "Société-québécoise-d’aménagement-intérieur-et-extérieur " * 2
    crowded = full(name=long_name, patterns=[pattern("High"), pattern("Low", last_seen="2026-11-01")])
    made = {
        "client": client_html(),
        "french": client_html(crowded, FR, names={"f2d248b9-9952-4da5-b93a-000000000000": "<script>alert(1)</script>"}),
        "index": operator_html(),
        "french index": operator_html(FR, name=long_name),
        "nothing": operator_html(empty=True),
    }
    for name, html in made.items():
        (folder / f"{name}.html").write_text(html, encoding="utf-8")
    return {name: folder / f"{name}.html" for name in made}


@pytest.mark.parametrize("view", VIEWS)
@pytest.mark.parametrize("name", ["client", "french", "index", "french index", "nothing"])
def test_no_error_no_request_and_no_scrolling_sideways(browser, pages, name, view):
    browser.open(pages[name], **VIEWS[view])
    browser.run("document.querySelectorAll('details').forEach(each => each.open = true)")
    asked = [e["params"]["request"]["url"] for e in browser.events if e["method"] == "Network.requestWillBeSent"]
    assert [url for url in asked if not url.startswith("data:")] == [pages[name].resolve().as_uri()]
    wrong = ("Log.entryAdded", "Runtime.exceptionThrown", "Runtime.consoleAPICalled", "Page.javascriptDialogOpening")
    assert [event for event in browser.events if event["method"] in wrong] == []
    width = VIEWS[view].get("width", 1200)
    assert browser.run("document.documentElement.scrollWidth") <= width
    assert browser.run(OUTSIDE) == []
    if name != "nothing":
        assert browser.run(TEXT_SIZE) >= 8.5


def test_light_and_dark_differ_and_charts_follow(browser, pages):
    colours = []
    for dark in (False, True):
        browser.open(pages["client"], dark=dark)
        body = browser.run("getComputedStyle(document.body).backgroundColor")
        text = browser.run("getComputedStyle(document.querySelector('svg text')).fill")
        colours.append((body, text))
    assert colours[0][0] != colours[1][0]
    assert colours[0][1] != colours[1][1]


def test_in_print_it_is_black_on_white_and_the_tables_stay_folded(browser, pages):
    browser.open(pages["client"], dark=True, media="print")
    assert browser.run("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"
    assert browser.run("getComputedStyle(document.querySelector('details')).display") == "none"


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
@pytest.mark.parametrize("name", ["client", "french", "index", "nothing"])
def test_axe_finds_nothing_serious(browser, pages, axe, name, dark):
    browser.open(pages[name], dark=dark)
    browser.run("document.querySelectorAll('details').forEach(each => each.open = true)")
    browser.run(axe + "; undefined")
    found = browser.run("axe.run().then(found => ({passes: found.passes.length, violations: found.violations.map(v => "
                        "[v.impact, v.id, v.nodes.map(n => n.html.slice(0, 120)).slice(0, 3)])}))")  # fmt: skip
    assert found["passes"] > 10
    assert [violation for violation in found["violations"] if violation[0] in ("serious", "critical")] == []
