"""Says in a word, and for several kinds of claims in a sentence, how what was said fits what came of it."""

from collections.abc import Mapping

from worker.statistics.calibration import Reliability

FEWEST_CHECKS = 100  # claims or checks; fewer say next to nothing: the interval of their mean is wider than 15 points
TOLERANCE = 0.02  # said and right further apart than this are told apart, if chance does not explain it
SENTENCES = {
    "fits": "right as often as said",
    "too sure": "right less often than said",
    "too modest": "right more often than said",
    "too few": f"too few to judge (under {FEWEST_CHECKS})",
}


def judge(found: Reliability) -> str:
    """Say what the claims tell: too few, fits, too sure, too modest."""
    if found.n < FEWEST_CHECKS:
        return "too few"
    if found.gap_low > 0 and found.gap > TOLERANCE:
        return "too sure"
    return "too modest" if found.gap_high < 0 and found.gap < -TOLERANCE else "fits"


def in_short(tables: Mapping[str, Reliability]) -> str:
    """Put the kinds of claims under their verdicts, a line or more each, in at most 80 columns."""
    lines = ["In short:"]
    for verdict, said in SENTENCES.items():
        kinds = [kind for kind, found in tables.items() if judge(found) == verdict]
        if kinds:
            lines += [f"  {said:<28}  {kinds[0]}", *(f"{'':<32}{kind}" for kind in kinds[1:])]
    return "\n".join(lines)
