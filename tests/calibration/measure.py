"""
Measure how true confidence is: python tests/calibration/measure.py [--seeds N] [--svg FILE]

Runs the four window jobs' own fit and analyse, as a first run, in every simulated world, and prints a table in
Markdown: claims, mean said, share right, ECE. --svg also draws the reliability of all these claims together
(tests/calibration/reliability.svg is such a drawing); it needs matplotlib, of the extra `dev`.
"""

import argparse
import sys
from collections.abc import Mapping
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))  # a script finds what stands beside it, not the project

from worlds import JOBS, KINDS, Claims

from worker.statistics.calibration import Reliability

SIZES = ("pareto", "large")
CLIENTS = 1000
SEEDS = 10
FEWEST = 30  # claims of a bin that is drawn
INK, MARK = "#767676", "#0072B2"  # both stand out from white and from black; the blue is Okabe and Ito's (2008)
DRAWN = {
    "svg.hashsalt": "growth-brain",  # ids, and with them the bytes, are the same every time
    "svg.fonttype": "none",  # text as text
    "font.family": "sans-serif",
    "font.sans-serif": ["DejaVu Sans", "Arial"],
    "font.size": 9,
    **dict.fromkeys(("text.color", "axes.edgecolor", "axes.labelcolor", "xtick.color", "ytick.color"), INK),
}


def measure(seeds: int) -> dict[tuple[str, str], dict[str, Claims]]:
    """Gather the claims by world (kind, sizes) and job."""
    found: dict[tuple[str, str], dict[str, Claims]] = {}
    for kind in KINDS:
        for sizes in SIZES:
            found[kind, sizes] = {
                name: Claims.joined(claims(kind, sizes, seed, CLIENTS) for seed in range(seeds))
                for name, claims in JOBS.items()
            }
            sys.stderr.write(f"{kind}, {sizes}\n")
    return found


def markdown(found: Mapping[tuple[str, str], Mapping[str, Claims]]) -> str:
    """Write the table: a row a world, and for each job claims: said / right / ECE."""
    lines = [f"| world | leads a window | {' | '.join(JOBS)} |", "|---" * (len(JOBS) + 2) + "|"]
    for (kind, sizes), by_job in found.items():
        cells = [cell(by_job[name].table) for name in JOBS]
        leads = "most under 30" if sizes == "pareto" else "100"
        lines.append(f"| {kind.replace('_', ' ')} | {leads} | {' | '.join(cells)} |")
    return "\n".join(lines)


def cell(table: Reliability) -> str:
    """Write one job in one world."""
    if not table.n:
        return "no claim"
    return f"{table.n:,}: {table.mean_said:.2f} / {table.mean_right:.2f} / **{table.ece:.3f}**"


def draw(found: Mapping[tuple[str, str], Mapping[str, Claims]], path: Path) -> None:
    """Draw a panel a job: share right against said, with 90% intervals; a mark's area tells its share of claims."""
    import matplotlib as mpl

    mpl.use("svg")
    import matplotlib.pyplot as plt

    with plt.rc_context(DRAWN):
        figure, axes = plt.subplots(2, 2, figsize=(6.4, 6.6), sharex=True, sharey=True, layout="constrained")
        for name, axis in zip(JOBS, axes.flat, strict=True):
            table = Claims.joined(by_job[name] for by_job in found.values()).table
            bins = [row for row in table.bins if row.n >= FEWEST]
            said, right = [row.mean_said for row in bins], [row.share_right for row in bins]
            reach = [
                [row.share_right - row.interval_low for row in bins],
                [row.interval_high - row.share_right for row in bins],
            ]
            axis.plot([0, 1], [0, 1], color=INK, linewidth=0.8, linestyle=(0, (4, 3)))
            axis.errorbar(said, right, reach, fmt="none", ecolor=MARK, elinewidth=1.2, capsize=2.5)
            axis.scatter(said, right, [18 + 220 * row.n / table.n for row in bins], color=MARK, zorder=3, clip_on=False)
            axis.set_title(f"{name}\n{table.n:,} claims, ECE {table.ece:.3f}", fontsize=9)
            axis.set(xlim=(0, 1), ylim=(0, 1), aspect="equal")
            axis.patch.set_alpha(0)
        figure.supxlabel("confidence: how sure it said it was")
        figure.supylabel("how often it was right")
        about = {"Date": None, "Creator": None, "Title": "Said and right, by analysis"}
        figure.savefig(path, format="svg", transparent=True, metadata=about)
        plt.close(figure)
    lines = [line.strip() for line in path.read_text(encoding="utf-8").splitlines()]  # indents are a quarter of it
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")


def main() -> None:
    """Measure, print, draw."""
    parser = argparse.ArgumentParser(description=str(__doc__).strip().splitlines()[0])
    parser.add_argument("--seeds", type=int, default=SEEDS, help=f"worlds of {CLIENTS} clients of each kind and size")
    parser.add_argument("--svg", type=Path, help="draw the reliability of all claims into this file")
    arguments = parser.parse_args()
    found = measure(arguments.seeds)
    sys.stdout.write(markdown(found) + "\n")
    if arguments.svg:
        draw(found, arguments.svg)


if __name__ == "__main__":
    main()
