"""How one run of one job went, for whoever asked for it: the command line, the daemon, the metrics."""

from dataclasses import dataclass, field
from typing import Any


@dataclass(slots=True)
class JobSummary:
    """How one job went: status is done, skipped, held, failed or interrupted."""

    job: str
    period_key: str
    status: str = "done"
    clients: int = 0
    snapshots: int = 0
    inserted: int = 0
    updated: int = 0
    deleted: int = 0
    unchanged: int = 0
    seconds: float = 0.0
    failed_clients: list[str] = field(default_factory=list)
    error: str | None = None
    passed_over: dict[str, int] = field(default_factory=dict)

    def as_json(self) -> dict[str, Any]:
        """Give the summary as `--json` prints it."""
        return {name: getattr(self, name) for name in self.__slots__}
