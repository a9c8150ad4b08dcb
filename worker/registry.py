"""
Which model speaks: every fit is kept with its held-out scores, and a challenger takes over only if it does not lose.

A model fitted up to today cannot be scored on leads it has not seen. So the contest is held on the window before as_of:
the challenger is stood for by what the same code had learned when that window began (a stored model, or a fit made
for it), the champion by itself where it is that old, otherwise by the model that was in force then. All were made
without the window. Where the same code ran then and now, the two are one, and the newest data speak: a real contest is
held after a change of the code or of the data's past, or a choice by hand. The challenger takes over unless it has the
higher Brier score or the higher log loss there. A model chosen by hand stays for a window at least, and must then keep
winning.
"""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import cache
from pathlib import Path
from typing import Any, Protocol

from psycopg import Connection
from psycopg.rows import class_row

from worker import __version__
from worker.database.pool import Database
from worker.database.queries import query
from worker.errors import ConfigurationError
from worker.growth_brain import model_version, read_claims
from worker.jobs.finding import Json
from worker.leads import WINDOW_DAYS, Leads
from worker.logs import get_logger
from worker.plain_json import plain_json
from worker.review.claims import PastClaim

SCORED_BY = ("brier", "log_loss")  # lower is better
SAME_DAY = timedelta(days=1)  # a model that old when the window begins stands for one fitted at that instant
CODE = (  # what a fit depends on
    "jobs",
    "statistics",
    "actions.py",
    "arranging.py",
    "columns.py",
    "contacts.py",
    "episodes.py",
    "histories.py",
    "lead_ids.py",
    "leads.py",
    "lifecycle.py",
    "ordering.py",
    "packing.py",
    "reading.py",
    "sample.py",
    "vocabulary.py",
)


class ScoredJob(Protocol):
    """The shape of a job whose models contend."""

    NAME: str
    MODEL_FORMAT: int  # every model has it under the key "format"

    def fit(self, leads: Leads, as_of: datetime) -> Mapping[str, Json]:
        """Learn from what was known at as_of."""
        ...

    def evaluate(self, leads: Leads, model: Mapping[str, Json], as_of: datetime) -> Mapping[str, Json]:
        """Score a model's predictions as of as_of by the window that followed."""
        ...


@dataclass(frozen=True, slots=True)
class InForce:
    """The model that speaks in analyses after `since`; as_of is where its training span ends."""

    version: str
    as_of: datetime
    since: datetime
    by_hand: bool
    parameters: dict[str, Json]


@dataclass(frozen=True, slots=True)
class Choice:
    """The outcome of a contest: the model that speaks now, and what is to be stored of the challenger."""

    version: str
    model: Mapping[str, Json]
    adopted: bool
    scores: dict[str, Json]


@cache
def code_version() -> str:
    """Name the code that fits: the release, and a digest of the modules that a fit depends on."""
    digest = hashlib.sha256()
    home = Path(__file__).parent
    for name in CODE:
        place = home / name
        for path in sorted(place.glob("*.py")) if place.is_dir() else [place]:
            digest.update(path.read_bytes())
    return f"{__version__}+{digest.hexdigest()[:12]}"


def store_model(
    conn: Connection[Any],
    job: str,
    version: str,
    model: Mapping[str, Json],
    as_of: datetime,
    *,
    scores: Mapping[str, Json] | None = None,
) -> None:
    """Keep what a fit learned, under its version (growth_brain.model_version)."""
    conn.execute(
        query("store_model"),
        {
            "version": version,
            "job": job,
            "as_of": as_of,
            "trained_from": model.get("trained_from"),
            "parameters": plain_json(dict(model)),
            "scores": plain_json(dict(scores or {})),
            "code_version": code_version(),
        },
    )


def store_choice(
    conn: Connection[Any], job: str, challenger: Mapping[str, Json], as_of: datetime, choice: Choice
) -> None:
    """Keep the challenger with its scores, and, where it was adopted, that it speaks from as_of on."""
    version = model_version(job, challenger)
    store_model(conn, job, version, challenger, as_of, scores=choice.scores)
    if choice.adopted:
        adopt_model(conn, job, version, as_of)
    else:
        conn.execute(query("keep_champion"), {"job": job, "as_of": as_of})


def adopt_model(conn: Connection[Any], job: str, version: str, as_of: datetime, *, by_hand: bool = False) -> None:
    """Let a stored model speak from an instant on."""
    conn.execute(query("adopt_model"), {"job": job, "as_of": as_of, "version": version, "by_hand": by_hand})


def read_in_force(conn: Connection[Any], job: str, before: datetime) -> InForce | None:
    """Find the model that speaks in an analysis as of `before`."""
    with conn.cursor(row_factory=class_row(InForce)) as cursor:
        return cursor.execute(query("read_model_in_force"), {"job": job, "before": before}).fetchone()


def read_models(conn: Connection[Any], versions: list[str]) -> dict[str, dict[str, Json]]:
    """Read stored models: version -> parameters; versions that are not there are left out."""
    return dict(conn.execute(query("read_models"), {"versions": versions}).fetchall())


def read_claims_with_models(database: Database, as_of: datetime) -> tuple[list[PastClaim], dict[str, dict[str, Json]]]:
    """Read the claims on record as of an instant, and the models that made them by version."""
    claims = database.retrying(lambda conn: read_claims(conn, as_of), read_only=True)
    versions = sorted({claim.model_version for claim in claims if claim.model_version})
    return claims, database.retrying(lambda conn: read_models(conn, versions), read_only=True)


def read_last_model(conn: Connection[Any], job: str, before: datetime) -> tuple[str, dict[str, Json]] | None:
    """Read what a job learned last before an instant."""
    row = conn.execute(query("read_last_model"), {"job": job, "before": before}).fetchone()
    return None if row is None else (row[0], row[1])


@dataclass(frozen=True, slots=True)
class Listed:
    """A row of the registry without the parameters."""

    version: str
    job: str
    trained_from: datetime | None
    as_of: datetime
    scores: dict[str, Json]
    code_version: str | None
    created_at: datetime
    in_force: bool
    by_hand: bool

    def as_json(self) -> dict[str, Json]:
        """Give the entry of `models --json`; keys are only ever added."""
        entry: dict[str, Json] = {name: getattr(self, name) for name in self.__slots__}
        return {key: value.isoformat() if isinstance(value, datetime) else value for key, value in entry.items()}

    def __str__(self) -> str:
        """Write a line of at most 80 columns."""
        held_out = self.scores.get("held_out") or {}

        def number(key: str, form: str, width: int) -> str:
            value = held_out.get(key)
            return f"{'-' if value is None else format(value, form):>{width}}"

        mark = "<- chosen" if self.by_hand else "<- speaks" if self.in_force else ""
        return (
            f"{self.version.removeprefix(self.job + '-'):<16}  {self.as_of:%Y-%m-%d}"
            f" {number('conversions', 'd', 6)} {number('brier', '.5f', 8)} {number('log_loss', '.4f', 8)}"
            f" {number('auc', '.3f', 6)} {number('calibration_slope', '.2f', 6)}  {mark}"
        ).rstrip()


HEADER = "version           trained to   held  brier   log loss    AUC  slope"
MEANING = (
    "Scores on the 30 days before each fit, by a stand-in that had not seen them;\n"
    "held: the conversions in them. Lower is better for brier and log loss; a slope\n"
    "of 1 is best. A fit speaks from its day on, if it does no worse than the last."
)


def show_models(models: Sequence[Listed]) -> str:
    """Write the registry of one job for a terminal of 80 columns, newest first."""
    if not models:
        return "No model yet: the first run of conversion_prediction makes one."
    return "\n".join([MEANING, "", HEADER, *map(str, models)])


def list_models(conn: Connection[Any], job: str, limit: int) -> list[Listed]:
    """List a job's models, newest first."""
    with conn.cursor(row_factory=class_row(Listed)) as cursor:
        return cursor.execute(query("list_models"), {"job": job, "limit": limit}).fetchall()


def find_version(conn: Connection[Any], job: str, start: str) -> str:
    """Find the one version that begins so; ConfigurationError where there is none, or more than one."""
    found = [row[0] for row in conn.execute(query("find_models"), {"job": job, "start": start}).fetchall()]
    if start in found:
        return start
    if len(found) != 1:
        what = "no model's version begins" if not found else "the versions of several models begin"
        raise ConfigurationError([f"{what} with {start!r}; `models` lists them"])
    return str(found[0])


def ensure_readable(conn: Connection[Any], job: ScoredJob, version: str) -> None:
    """Raise ConfigurationError where a stored model is of another format than this code asks: it would never speak."""
    parameters = read_models(conn, [version]).get(version)
    if not isinstance(parameters, Mapping) or parameters.get("format") != job.MODEL_FORMAT:
        raise ConfigurationError([f"{version} was made by another version of this program, which cannot read it"])


def choose_model(
    database: Database, job: ScoredJob, leads: Leads, challenger: Mapping[str, Json], as_of: datetime
) -> Choice:
    """
    Hold the contest on the window before as_of. Reads the registry, writes nothing.

    leads : of all pooled clients.
    """
    version = model_version(job.NAME, challenger)
    begins = (as_of.astimezone(UTC) - timedelta(days=WINDOW_DAYS)).astimezone(as_of.tzinfo)
    champion = _readable(job, database.retrying(lambda conn: read_in_force(conn, job.NAME, as_of), read_only=True))
    rival = champion
    if champion is not None and champion.as_of > begins:
        just_after = begins + timedelta(microseconds=1)  # the analysis as of that instant spoke by its own fit
        spoke = database.retrying(lambda conn: read_in_force(conn, job.NAME, just_after), read_only=True)
        rival = _readable(job, spoke)
        rival = None if rival is None or rival.as_of > begins else rival
    stand_in_version, stand_in = _stand_in(database, job, leads, begins)
    held_out = dict(job.evaluate(leads, stand_in, begins))
    scores: dict[str, Json] = {
        "held_out": {"from": begins.isoformat(), "to": as_of.isoformat(), "stand_in": stand_in_version, **held_out},
        "rival": None,
    }
    wins = True
    if rival is not None:
        same = rival.version == stand_in_version
        theirs = held_out if same else dict(job.evaluate(leads, rival.parameters, begins))
        scores["rival"] = {"version": rival.version, **theirs}
        wins = not loses(held_out, theirs)
    if champion is not None and champion.by_hand and champion.since > begins:
        wins = False  # it was chosen for a reason; what happened since is too little to overrule it
    get_logger().info("model.contest", job=job.NAME, version=version, adopted=wins, rival=rival and rival.version)
    if wins or champion is None:
        return Choice(version, challenger, adopted=True, scores=scores)
    return Choice(champion.version, champion.parameters, adopted=False, scores=scores)


def _readable(job: ScoredJob, stored: InForce | None) -> InForce | None:
    """Pass over a model that code of another format made: there is nothing to be asked of it."""
    if stored is None or stored.parameters.get("format") == job.MODEL_FORMAT:
        return stored
    get_logger().warning("model.unreadable", job=job.NAME, version=stored.version)
    return None


def loses(ours: Mapping[str, Json], theirs: Mapping[str, Json]) -> bool:
    """Say whether our score is worse than theirs in any that both have."""
    return any(
        ours[name] > theirs[name] for name in SCORED_BY if ours.get(name) is not None and theirs.get(name) is not None
    )


def _stand_in(
    database: Database, job: ScoredJob, leads: Leads, begins: datetime
) -> tuple[str | None, Mapping[str, Json]]:
    """Give what this code had learned when the window began: a stored model, or else a fit made now."""
    parameters = {"job": job.NAME, "code_version": code_version(), "after": begins - SAME_DAY, "until": begins}
    row = database.retrying(
        lambda conn: conn.execute(query("read_model_of_code"), parameters).fetchone(), read_only=True
    )
    if row is not None:
        return row[0], row[1]
    return None, job.fit(leads, begins)
