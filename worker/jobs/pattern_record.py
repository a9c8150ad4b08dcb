"""
What earlier runs said: which patterns are on record and going on, and how today's findings meet their rows.

A pattern is one row from the day it was first seen on; while it lasts, later runs renew that row. A row of the period
at hand is no record for it: the period is decided anew, however often it is run. So a renewed row keeps what it was at
its last run of an earlier period ("carried_from"), and a rerun starts from there, not from what the run itself said.
"""

import math
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, timedelta

from worker.calendar import local_day
from worker.jobs.finding import Claim, Finding, Json
from worker.leads import WINDOW_DAYS
from worker.statistics.discovery import carried_probability

NEW, CONTINUING = "new", "continuing"

_CLAIM_KEY = re.compile(r"(\w+)_(increasing|decreasing):(.*):(own_past|pool)", re.DOTALL)

# client_id, period_key (first seen), claim_key, last_seen, as_of (aware datetime), probability, z and carried_from
Row = Mapping[str, Json]
Key = tuple[str | None, str]  # client_id, claim_key


def patterns_on_record(past: Iterable[Row], as_of: datetime) -> dict[Key, str]:
    """
    Find the patterns that began before this period and are not over: (client_id, claim_key) -> when first seen.

    Over is one that was not seen for a full window, or whose opposite was seen since.
    """
    rows = _by_key(row for row in past if parse_claim_key(row["claim_key"] or "") is not None)
    day = local_day(as_of)
    result = {}
    for client_id, claim_key in rows:
        first_seen = _first_seen(rows, (client_id, claim_key), as_of)
        if first_seen is not None and first_seen < day:
            result[client_id, claim_key] = first_seen
    return result


def recent_discoveries(past: Iterable[Row], as_of: datetime) -> int:
    """Count the patterns first seen in the 30 days before this period."""
    day = date.fromisoformat(local_day(as_of))
    since = (day - timedelta(days=WINDOW_DAYS)).isoformat()
    return sum(since <= row["period_key"] < day.isoformat() for row in past if _is_day(row["period_key"]))


def days_since(last_period: str | None, as_of: datetime) -> float | None:
    """Count the days from the last period that was run to this one; None where there was none."""
    if last_period is None:
        return None
    return float((date.fromisoformat(local_day(as_of)) - date.fromisoformat(last_period)).days)


def reconcile(findings: Sequence[Finding], past: Sequence[Row], as_of: datetime) -> list[Finding]:
    """
    Fit today's findings to the rows that earlier runs left: what is on record goes on, what is not must be news.

    Findings come with the fact "news": whether the evidence is strong enough for a pattern never told before. One on
    record goes on without that, keeps its row and first_seen, and is said to continue. A return after a full window
    away, or after a turn of direction, is a new row; a row last seen later than as_of is never touched, and where such
    a row already covers this day nothing is written. What goes on keeps the confidence that earlier windows gave it,
    as far as today's do not take it back.
    """
    day = local_day(as_of)
    rows = _by_key(past)
    result = []
    for finding in findings:
        key = (finding.client_id, finding.claim_key)
        if any(_covers_from_later(row, day, as_of) for row in rows.get(key, ())):
            continue
        first_seen = _first_seen(rows, key, as_of) or day
        if first_seen == day and not finding.facts["news"]:
            continue
        status = NEW if first_seen == day else CONTINUING
        content = {**finding.content, "first_seen": first_seen, "last_seen": day, "status": status}
        before = None if status == NEW else _before(rows[key], as_of)
        content["carried_from"] = None if before is None else before.as_json()
        claim = finding.claim if before is None else _carried_on(finding, before, as_of)
        result.append(replace(finding, content=content, claim=claim, period_key=first_seen))
    return result


@dataclass(frozen=True, slots=True)
class _State:
    """How a row stood at its last run of an earlier period: how sure, by which z, as of when."""

    probability: float
    z: float
    as_of: datetime

    @classmethod
    def read(cls, probability: object, z: object, as_of: object) -> "_State | None":
        """Take it from a row, or from what JSON keeps of one; None where it is not as this job writes it."""
        sure, size, when = _number(probability), _number(z), _instant(as_of)
        if sure is None or size is None or when is None or not 0 <= sure <= 1:
            return None
        return cls(sure, size, when)

    def as_json(self) -> dict[str, Json]:
        """Keep it in the row that was carried on from it."""
        return {"probability": self.probability, "z": self.z, "as_of": self.as_of.astimezone(UTC).isoformat()}


def _before(own: Sequence[Row], as_of: datetime) -> _State | None:
    """Find what a pattern is carried on from: what was said of it before this period, by whichever run came last."""
    last = _last(own, as_of)
    if last is None:
        return None
    if _period(last, as_of) < local_day(as_of):
        return _State.read(last.get("probability"), last.get("z"), last["as_of"])
    kept = last.get("carried_from")  # this period's own run wrote the row: what it says itself is no evidence
    if not isinstance(kept, Mapping):
        return None
    state = _State.read(kept.get("probability"), kept.get("z"), kept.get("as_of"))
    return state if state is not None and state.as_of < as_of else None


def _carried_on(finding: Finding, before: _State, as_of: datetime) -> Claim:
    """Say how sure the pattern is by all that was seen of it, not by today's windows alone."""
    sign, effect = finding.claim.parameters["sign"], finding.content["effect"]
    days = (as_of - before.as_of) / timedelta(days=1)
    if days >= WINDOW_DAYS:  # nothing of what was seen then is among today's windows
        return finding.claim
    carried = carried_probability(before.probability, sign * before.z, sign * effect["z"], effect["shrink"], days)
    return replace(finding.claim, probability=max(finding.claim.probability, carried))


def _last(own: Sequence[Row], as_of: datetime) -> Row | None:
    """Find the row that was written as of the latest instant up to as_of."""
    earlier = [row for row in own if row["as_of"] <= as_of]
    return max(earlier, key=lambda row: (row["as_of"], row["period_key"]), default=None)


def _period(row: Row, as_of: datetime) -> str:
    """Name the period of the run that wrote the row last, in the time zone of this one."""
    return local_day(row["as_of"].astimezone(as_of.tzinfo))


def _instant(value: object) -> datetime | None:
    try:
        instant = value if isinstance(value, datetime) else datetime.fromisoformat(str(value))
    except ValueError:
        return None
    return None if instant.tzinfo is None else instant


def _number(text: object) -> float | None:
    try:
        value = float(str(text))
    except ValueError:
        return None
    return value if math.isfinite(value) else None


def parse_claim_key(claim_key: str) -> tuple[str, str, str, str] | None:
    """Take a key apart: subject, direction, value ("" for none) and against; None where it is no pattern's."""
    found = _CLAIM_KEY.fullmatch(claim_key)
    return None if found is None else (found[1], found[2], found[3], found[4])


def _by_key(past: Iterable[Row]) -> dict[Key, list[Row]]:
    rows: dict[Key, list[Row]] = {}
    for row in past:
        if not (_is_day(row["period_key"]) and _is_day(row["last_seen"]) and row["as_of"] and row["claim_key"]):
            continue  # not as this job writes them
        rows.setdefault((row["client_id"], row["claim_key"]), []).append(row)
    return rows


def _is_day(text: object) -> bool:
    try:
        return date.fromisoformat(str(text)).isoformat() == text
    except ValueError:
        return False


def _covers_from_later(row: Row, day: str, as_of: datetime) -> bool:
    return bool(row["period_key"] <= day <= row["last_seen"] and row["as_of"] > as_of)


def _first_seen(rows: Mapping[Key, Sequence[Row]], key: Key, as_of: datetime) -> str | None:
    """Tell when the row began that this pattern goes on with, this period's own included; None where there is none."""
    day = local_day(as_of)
    own = rows.get(key, ())
    covering = [row for row in own if _covers_from_later(row, day, as_of)]
    if covering:
        return str(covering[0]["period_key"])
    last = _last(own, as_of)
    if last is None:
        return None
    away = date.fromisoformat(day) - date.fromisoformat(last["last_seen"])
    turned = rows.get((key[0], opposite(key[1])), ())
    if away >= timedelta(days=WINDOW_DAYS) or any(_turned_since(row, last, as_of) for row in turned):
        return None
    return str(last["period_key"])


def _turned_since(row: Row, last: Row, as_of: datetime) -> bool:
    """
    Tell whether a row of the other direction was seen after `last` was, in an earlier period than this.

    What an earlier run of this period said is no turn, as the period is decided anew; but a row that began before it
    is one, however often this period's runs have renewed it.
    """
    if row["as_of"] > as_of:
        return False
    day = local_day(as_of)
    began_since = last["last_seen"] < row["period_key"] < day
    return bool(began_since or (last["as_of"] < row["as_of"] and _period(row, as_of) < day))


def opposite(claim_key: str) -> str:
    """Name the same pattern in the other direction."""
    pattern_type, rest = claim_key.split(":", 1)
    subject, direction = pattern_type.rsplit("_", 1)
    return f"{subject}_{'decreasing' if direction == 'increasing' else 'increasing'}:{rest}"
