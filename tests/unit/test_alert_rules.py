"""The alert rules of the README speak of metrics that the worker has."""

import re
from pathlib import Path

from worker.metrics import Metrics
from worker.readiness import Reliability
from worker.summary import JobSummary

README = (Path(__file__).resolve().parents[2] / "README.md").read_text(encoding="utf-8")


def names_and_labels():
    """Each series that /metrics can have, with the names of its labels."""
    metrics = Metrics(["engagement_score"])
    metrics.observe(JobSummary("engagement_score", "2026-03-09"))
    metrics.refresh([], [Reliability("engagement_score", 1, 0.5, 0.5)])
    found = {}
    for family in metrics.registry.collect():
        found.setdefault(family.name, set())
        for sample in family.samples:
            found[sample.name] = set(sample.labels)
    return found


def rules():
    blocks = [text for text in re.findall(r"```yaml\n(.*?)```", README, re.DOTALL) if "growth_worker_" in text]
    assert len(blocks) == 1
    return blocks[0]


def test_every_metric_of_the_alert_rules_exists():
    named = set(re.findall(r"growth_worker_\w+", rules()))
    assert {"growth_worker_last_success_timestamp_seconds", "growth_worker_late_periods"} <= named
    assert named <= set(names_and_labels())


def test_every_metric_that_the_readme_lists_exists_and_none_is_left_out():
    listed = set(re.findall(r"`(growth_worker_\w+)", README.replace(rules(), "")))
    shown = {name for name in names_and_labels() if not name.endswith(("_bucket", "_count", "_sum"))}
    counters = {name.removesuffix("_total") for name in shown if name.endswith("_total")}
    shown -= counters | {"growth_worker_build"}
    assert listed == shown
