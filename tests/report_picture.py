"""
The picture of the README: two charts of a report's page, side by side, with the colours that the page gives them.

`python tests/report_picture.py report/<client_id>.html` writes tests/report.svg; the page is one that the demo writes.
"""

import re
import sys
from pathlib import Path

PICTURE = Path(__file__).resolve().parent / "report.svg"
CHARTS = ("weeks", "windows")
WIDTH, HEIGHT, GAP, TITLE = 400, 260, 28, 34


def picture_of(page: str) -> str:
    """Put the charts of a page into one SVG that needs nothing else."""
    light, dark = re.findall(r":root\s*\{(.*?)\}", page, flags=re.DOTALL)[:2]
    found = [re.search(rf'<svg[^>]*aria-labelledby="{name}-title.*?</svg>', page, flags=re.DOTALL) for name in CHARTS]
    charts = [match[0] for match in found if match is not None]
    if len(charts) < len(CHARTS):
        raise SystemExit(f"the page lacks one of the charts {', '.join(CHARTS)}")
    placed = []
    for place, chart in enumerate(charts):
        x = GAP + place * (WIDTH + GAP)
        title = re.search(r"<title[^>]*>(.*?)</title>", chart)
        inner = re.sub(r"<svg ", f'<svg x="{x}" y="{GAP + TITLE}" width="{WIDTH}" height="{HEIGHT}" ', chart, count=1)
        placed += [f'<text class="heading" x="{x}" y="{GAP + 12}">{title[1] if title else ""}</text>', inner]
    width, height = GAP + len(charts) * (WIDTH + GAP), HEIGHT + TITLE + 2 * GAP
    style = (
        f":root {{{light}}} @media (prefers-color-scheme: dark) {{ :root {{{dark}}} }}"
        " text { font-family: system-ui, sans-serif; } svg { color: var(--ink); }"
        " .heading { font-size: 15px; font-weight: 600; fill: var(--ink); }"
    )
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}" height="{height}">'
        f"<style>{style}</style>"
        f'<rect width="{width}" height="{height}" rx="12" style="fill: var(--card)"/>{"".join(placed)}</svg>\n'
    )


if __name__ == "__main__":
    PICTURE.write_text(picture_of(Path(sys.argv[1]).read_text(encoding="utf-8")), encoding="utf-8")
