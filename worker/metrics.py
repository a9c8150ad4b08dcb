"""What the daemon counts, for Prometheus: names and labels of the program, never a client, a lead or a secret."""

from collections.abc import Iterable, Sequence

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, Info, disable_created_metrics

from worker import __version__
from worker.readiness import Reliability
from worker.status import JobStatus
from worker.summary import JobSummary

PREFIX = "growth_worker"
STATUSES = ("done", "skipped", "held", "failed", "interrupted")
KINDS = ("inserted", "updated", "deleted", "unchanged")
BUCKETS = (0.1, 0.3, 1, 3, 10, 30, 60, 180, 600, 1800, 3600)  # seconds

# A second series beside each counter, which says nothing new.
disable_created_metrics()  # type: ignore[no-untyped-call]


class Metrics:
    """
    Counters of this process since its start, and gauges of the ledger, the same on every replica.

    jobs : their counters are there from the start, with 0: of a series that begins at 1 no increase is seen.
    """

    def __init__(self, jobs: Iterable[str]) -> None:
        self.registry = CollectorRegistry()
        self._runs = self._counter("runs", "Runs of a job that ended, by how they ended.", "job", "status")
        self._seconds = Histogram(
            "run_seconds",
            "How long the runs of a job took that were neither skipped nor held elsewhere.",
            ["job"],
            namespace=PREFIX,
            registry=self.registry,
            buckets=BUCKETS,
        )
        self._clients = self._gauge("clients", "Clients that the last run of a job looked at.", "job")
        self._snapshots = self._counter("snapshots", "Snapshots by what became of them.", "job", "kind")
        self._retries = self._counter("retries", "Transactions tried again after an error that may pass.")
        self._late = self._gauge("late_periods", "Periods of a job that are late; 0 is well.", "job")
        self._last = self._gauge(
            "last_success_timestamp_seconds", "When a run of a job last did all of its work, by any process.", "job"
        )
        self._ratio = self._gauge(
            "reliability", "Share of a job's decided claims that was right, over what was said: 1 is true.", "job"
        )
        self._gap = self._gauge(
            "reliability_gap", "Mean of what was said less the share that was right: above 0 is too sure.", "job"
        )
        self._decided = self._gauge("claims_decided", "Claims of a job that reliability rests on.", "job")
        Info("build", "The worker's version.", namespace=PREFIX, registry=self.registry).info({"version": __version__})
        for job in jobs:
            self._seconds.labels(job)
            for status in STATUSES:
                self._runs.labels(job, status)
            for kind in KINDS:
                self._snapshots.labels(job, kind)

    def _counter(self, name: str, meaning: str, *labels: str) -> Counter:
        return Counter(name, meaning, labels, namespace=PREFIX, registry=self.registry)

    def _gauge(self, name: str, meaning: str, *labels: str) -> Gauge:
        return Gauge(name, meaning, labels, namespace=PREFIX, registry=self.registry)

    def observe(self, summary: JobSummary) -> None:
        """Count a run that ended."""
        self._runs.labels(summary.job, summary.status).inc()
        if summary.status in ("skipped", "held"):
            return
        self._seconds.labels(summary.job).observe(summary.seconds)
        self._clients.labels(summary.job).set(summary.clients)
        for kind in KINDS:
            self._snapshots.labels(summary.job, kind).inc(getattr(summary, kind))

    def retry(self) -> None:
        """Count a transaction that is tried again."""
        self._retries.inc()

    def refresh(self, statuses: Iterable[JobStatus], reliability: Sequence[Reliability] = ()) -> None:
        """Set the gauges to what the ledger and the newest review say."""
        for status in statuses:
            self._late.labels(status.job).set(len(status.late_periods))
            if status.last_success is not None and status.state != "off":  # its success need not be missed
                self._last.labels(status.job).set(status.last_success.timestamp())
        for found in reliability:
            self._decided.labels(found.job).set(found.decided)
            self._gap.labels(found.job).set(found.said - found.right)
            if found.said > 0:
                self._ratio.labels(found.job).set(found.right / found.said)
