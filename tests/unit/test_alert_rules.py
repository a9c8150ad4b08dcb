"""The alert rules of the README, and the dashboard for Grafana, speak of metrics that the worker has."""

import json
import re
from datetime import UTC, datetime, time
from pathlib import Path
from zoneinfo import ZoneInfo

from worker.calendar import Past
from worker.lateness import LedgerRow
from worker.metrics import Metrics
from worker.readiness import Reliability
from worker.status import find_status
from worker.summary import JobSummary

ROOT = Path(__file__).resolve().parents[2]
README = (ROOT / "README.md").read_text(encoding="utf-8")
DASHBOARD = (ROOT / ".grafana" / "growth-worker.json").read_text(encoding="utf-8")


def names_and_labels():
    """Each series that /metrics can have, with the names of its labels."""
    metrics = Metrics(["engagement_score"])
    metrics.observe(JobSummary("engagement_score", "2026-03-09"))
    then = datetime(2026, 3, 9, 3, tzinfo=UTC)
    row = LedgerRow("engagement_score", "2026-03-08", Past("done", then, then), succeeded_at=then)
    statuses = find_status(then, ZoneInfo("UTC"), {"engagement_score": time(3)}, [row])
    metrics.refresh(statuses, [Reliability("engagement_score", 1, 0.5, 0.5)])
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


def test_the_dashboard_shows_metrics_and_labels_that_exist_and_leaves_none_out():
    known = names_and_labels()
    panels = json.loads(DASHBOARD)["panels"]
    queries = [(target["expr"], target["legendFormat"]) for panel in panels for target in panel["targets"]]
    shown = set()
    for expression, legend in queries:
        names = re.findall(r"growth_worker_\w+", expression)
        assert set(names) <= set(known), expression
        labels = {label for name in names for label in known[name]}
        asked = {label.strip() for group in re.findall(r"by \(([^)]*)\)", expression) for label in group.split(",")}
        assert asked | set(re.findall(r"{{(\w+)}}", legend)) <= labels, (expression, legend)
        shown |= {name.removesuffix("_bucket") for name in names}
    assert shown == set(re.findall(r"`(growth_worker_\w+)", README.replace(rules(), "")))


def test_the_dashboard_is_one_that_grafana_takes():
    dashboard = json.loads(DASHBOARD)
    places = [panel["gridPos"] for panel in dashboard["panels"]]
    assert len({panel["id"] for panel in dashboard["panels"]}) == len(places)
    assert all(place["x"] + place["w"] <= 24 for place in places)  # a row has 24 columns
    cells = [(x, y) for p in places for x in range(p["x"], p["x"] + p["w"]) for y in range(p["y"], p["y"] + p["h"])]
    assert len(set(cells)) == len(cells)  # no panel lies on another
    (source,) = dashboard["templating"]["list"]
    assert (source["type"], source["query"]) == ("datasource", "prometheus")
    assert {panel["datasource"]["uid"] for panel in dashboard["panels"]} == {"${" + source["name"] + "}"}
