"""
pattern_detection: what has changed in a client's leads that chance does not explain?

The family of questions of a run: for every client, has the share of High urgency, of each tone, of each source, or the
number of leads changed between the previous and the current 30 days (against "own_past"), and has it changed more than
everyone's did (against "pool")? Questions that so few leads cannot answer are not asked; the rest are counted. Those
that pass Benjamini-Hochberg at q = 0.10 over the whole family are reported. Confidence = (1 - local false discovery
rate) x P(sign), from two groups (null, real) learned over the family (worker/statistics/discovery.py); effects are
shrunk by the same model, so that the winner's curse does not state them too large. Limits: leads are taken as
independent within a window; volumes are not (their dispersion is estimated from week to week).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date, datetime, timedelta

import numpy as np

from worker.jobs.finding import Check, Claim, Finding, Json
from worker.jobs.windows import (
    PERIOD,
    TwoWindows,
    interval_json,
    level_name,
    local_day,
    number,
    ratio,
    week_dates,
    week_of,
    weekly_counts,
)
from worker.leads import WINDOW_DAYS, Leads
from worker.statistics import BoolArray, FloatArray, IntArray
from worker.statistics.discovery import (
    EffectPosterior,
    TwoGroups,
    discoveries,
    effect_posterior,
    fit_two_groups,
    probability_half_agrees,
    two_sided_p,
)
from worker.vocabulary import TONE_UNKNOWN, TONES, URGENCY_HIGH, URGENCY_UNKNOWN

NAME = "pattern_detection"
EVENT_TYPE = "pattern_detected"
TITLE = "what has changed that chance does not explain?"
LOOK_BACK_DAYS: int | None = 60
SCHEDULE = "03:30"
PAST_EVENT_TYPES = ("pattern_detected",)

Q = 0.10
LEAST_LEADS = 5  # in each window: with fewer no difference could ever be reported
LEAST_CARRYING = 5  # leads of both windows together that carry the value
OWN_PAST, POOL = "own_past", "pool"
LARGEST_SHARE_ERROR = 0.10  # a change of 25 points, the least worth a pattern, must stand 2.5 errors out
LARGEST_VOLUME_ERROR = 0.30  # on the log scale: so must a doubling
Z80 = 1.2816  # normal quantile of an 80% interval


@dataclass(frozen=True, slots=True)
class Family:
    """All questions about some leads, as parallel arrays: who, what, and both windows' counts."""

    client: IntArray
    subject: Sequence[str]
    value: Sequence[str | None]
    against: Sequence[str]
    z: FloatArray
    effect: FloatArray  # change of a share, or log of the ratio of volumes
    error: FloatArray  # its standard error

    def __len__(self) -> int:
        return len(self.client)


@dataclass(frozen=True, slots=True)
class Subject:
    """One attribute to ask about: its code for each lead at either window's end, and the codes worth asking about."""

    name: str
    current: IntArray
    previous: IntArray
    names: Sequence[str]
    asked: Sequence[int]


def subjects(leads: Leads, two: TwoWindows) -> list[Subject]:
    """List the attributes whose shares are asked about."""
    w, n = two.windows, len(leads)

    def code(values: FloatArray) -> IntArray:
        return values.astype(np.int64)

    return [
        Subject(
            "urgency",
            code(leads.urgency.latest_before(w.end, n, URGENCY_UNKNOWN)),
            code(leads.urgency.latest_before(w.middle, n, URGENCY_UNKNOWN)),
            ("Low", "Medium", "High"),
            (URGENCY_HIGH,),
        ),
        Subject(
            "tone",
            code(leads.tone.latest_before(w.end, n, TONE_UNKNOWN)),
            code(leads.tone.latest_before(w.middle, n, TONE_UNKNOWN)),
            TONES,
            range(len(TONES)),
        ),
        Subject("source", leads.source, leads.source, leads.source_names, range(len(leads.source_names))),
    ]


@dataclass(frozen=True, slots=True)
class Cells:
    """For one subject, the pairs of client and value that occur in either window, sorted, and their counts."""

    client: IntArray
    code: IntArray
    k1: IntArray  # current window, carrying the value
    n1: IntArray  # current window, value known
    k0: IntArray
    n0: IntArray


def _cells(leads: Leads, subject: Subject, two: TwoWindows, half: BoolArray) -> Cells:
    """Count one subject's values by client; only pairs that occur, since free text may have very many values."""
    size = len(subject.names)
    now, before = two.current & half & (subject.current >= 0), two.previous & half & (subject.previous >= 0)
    n1, n0 = leads.per_client(now), leads.per_client(before)
    flat = leads.client[now] * size + subject.current[now], leads.client[before] * size + subject.previous[before]
    pairs, place = np.unique(np.concatenate(flat), return_inverse=True)
    k1 = np.bincount(place[: len(flat[0])], minlength=len(pairs))
    k0 = np.bincount(place[len(flat[0]) :], minlength=len(pairs))
    client, code = pairs // max(size, 1), pairs % max(size, 1)
    return Cells(client, code, k1, n1[client], k0, n0[client])


@dataclass(frozen=True, slots=True)
class Change:
    """What two windows say about one kind of question, aligned over the clients (and values) it is asked for."""

    effect: FloatArray
    error: FloatArray
    slack: FloatArray  # continuity correction


@dataclass(frozen=True, slots=True)
class _Shift:
    """How much everyone changed, and how well that is known."""

    effect: float
    error: float


def build_family(leads: Leads, as_of: datetime, pool: Mapping[str, Json], half: BoolArray | None = None) -> Family:
    """Ask every question that the leads can answer; `pool` holds everyone's changes (fit's "pool")."""
    two = TwoWindows.of(leads, as_of)
    chosen = np.ones(len(leads), dtype=bool) if half is None else half
    families: list[Family] = []
    for subject in subjects(leads, two):
        cells = _cells(leads, subject, two, chosen)
        able = (
            np.isin(cells.code, subject.asked)
            & (cells.n1 >= LEAST_LEADS)
            & (cells.n0 >= LEAST_LEADS)
            & (cells.k1 + cells.k0 >= LEAST_CARRYING)
            & (cells.k1 + cells.k0 < cells.n1 + cells.n0)
        )
        change = share_change(cells.k1[able], cells.n1[able], cells.k0[able], cells.n0[able])
        values = [subject.names[code] for code in cells.code[able].tolist()]
        families += _ask(subject.name, cells.client[able], values, change, _pool_of(leads, pool))
    x1, x0 = leads.per_client(two.current & chosen), leads.per_client(two.previous & chosen)
    c = np.flatnonzero(x1 + x0 >= 2 * LEAST_LEADS)
    change = volume_change(x1[c], x0[c], float(pool.get("dispersion", 1.0)))
    families += _ask("volume", c, [None] * len(c), change, _pool_of(leads, pool))
    return _joined(families)


def _pool_of(leads: Leads, pool: Mapping[str, Json]) -> Mapping[str, Json]:
    """Everyone is not compared with everyone."""
    return {} if leads.clients.ids == (None,) else pool


def _ask(
    subject: str, client: IntArray, values: Sequence[str | None], change: Change, pool: Mapping[str, Json]
) -> list[Family]:
    # What cannot be answered is not asked: the error under "no change" does not depend on the change that was seen.
    able = np.flatnonzero(change.error <= (LARGEST_VOLUME_ERROR if subject == "volume" else LARGEST_SHARE_ERROR))
    families = []
    for against in (OWN_PAST, POOL):
        shifts = {i: _shift(subject, values[i], against, pool) for i in able.tolist()}
        asked = [(i, shift) for i, shift in shifts.items() if shift is not None]
        place = np.array([i for i, _ in asked], dtype=np.int64)
        moved = np.array([shift.effect for _, shift in asked], dtype=np.float64)
        error = np.sqrt(change.error[place] ** 2 + np.array([shift.error for _, shift in asked]) ** 2)
        effect: FloatArray = change.effect[place] - moved
        z = np.sign(effect) * np.maximum(np.abs(effect) - change.slack[place], 0) / error
        n = len(asked)
        families.append(
            Family(client[place], [subject] * n, [values[i] for i, _ in asked], [against] * n, z, effect, error)
        )
    return families


def _shift(subject: str, value: str | None, against: str, pool: Mapping[str, Json]) -> _Shift | None:
    """Find what a change is compared with: none for one's own past, everyone's where that is known."""
    if against == OWN_PAST:
        return _Shift(0.0, 0.0)
    known = pool.get(_pool_key(subject, value))
    return None if known is None else _Shift(float(known["effect"]), float(known["error"]))


def _pool_key(subject: str, value: str | None) -> str:
    return f"{subject}:{value or ''}"


def share_change(k1: IntArray, n1: IntArray, k0: IntArray, n0: IntArray) -> Change:
    """
    Change of a share, its standard error under "no change" (hypergeometric), and Yates' continuity correction.

    With the correction the normal test is about as careful as Fisher's exact one (Yates 1934).
    """
    n, k = n1 + n0, k1 + k0
    variance = k / n * (n - k) / np.maximum(n - 1, 1) * (1 / n1 + 1 / n0)
    return Change(k1 / n1 - k0 / n0, np.sqrt(np.maximum(variance, 1e-12)), 0.5 * (1 / n1 + 1 / n0))


def volume_change(x1: IntArray, x0: IntArray, dispersion: float) -> Change:
    """Log ratio of two counts, its standard error for overdispersed counts, and half a lead's worth of correction."""
    inverse = 1 / (x1 + 0.5) + 1 / (x0 + 0.5)
    return Change(np.log((x1 + 0.5) / (x0 + 0.5)), np.sqrt(dispersion * inverse), 0.5 * inverse)


def _joined(families: Sequence[Family]) -> Family:
    return Family(
        np.concatenate([family.client for family in families]),
        [subject for family in families for subject in family.subject],
        [value for family in families for value in family.value],
        [against for family in families for against in family.against],
        np.concatenate([family.z for family in families]),
        np.concatenate([family.effect for family in families]),
        np.concatenate([family.error for family in families]),
    )


def _dispersion(leads: Leads, two: TwoWindows) -> float:
    """Variance over mean of weekly counts, each client's window about its own mean; at least 1 (McCullagh 1983)."""
    weekly = weekly_counts(leads, np.zeros(len(leads), dtype=np.int64), 1, two.both, two.windows.end)[:, :, 0]
    squares, degrees = 0.0, 0
    for weeks in (weekly[:, :4], weekly[:, 4:]):
        mean = weeks.mean(axis=1)
        enough = mean >= 1
        squares += float((((weeks - mean[:, None]) ** 2).sum(axis=1) / np.maximum(mean, 1e-9))[enough].sum())
        degrees += 3 * int(enough.sum())
    return max(1.0, (squares + 10.0) / (degrees + 10))


def fit(leads: Leads, as_of: datetime) -> Mapping[str, Json]:
    """Learn everyone's changes, the two groups, and the p-value up to which the whole family is reported."""
    two = TwoWindows.of(leads, as_of)
    pool: dict[str, Json] = {"dispersion": _dispersion(leads, two)}
    everyone = leads.pool()
    two_pool = TwoWindows.of(everyone, as_of)
    all_leads = np.ones(len(everyone), dtype=bool)
    for subject in subjects(everyone, two_pool):
        cells = _cells(everyone, subject, two_pool, all_leads)
        known = (cells.n1 >= LEAST_LEADS) & (cells.n0 >= LEAST_LEADS) & (cells.k1 + cells.k0 >= LEAST_CARRYING)
        change = share_change(cells.k1[known], cells.n1[known], cells.k0[known], cells.n0[known])
        for i, code in enumerate(cells.code[known].tolist()):
            name = _pool_key(subject.name, subject.names[code])
            pool[name] = {"effect": float(change.effect[i]), "error": float(change.error[i])}
    x1, x0 = everyone.per_client(two_pool.current), everyone.per_client(two_pool.previous)
    if x1[0] + x0[0] >= 2 * LEAST_LEADS:
        change = volume_change(x1, x0, pool["dispersion"])
        pool[_pool_key("volume", None)] = {"effect": float(change.effect[0]), "error": float(change.error[0])}
    family = build_family(leads, as_of, pool)
    p = two_sided_p(family.z)
    reported = discoveries(p, Q)
    groups = fit_two_groups(family.z)
    return {
        "pool": pool,
        "hypotheses": len(family),
        "largest_p": float(p[reported].max()) if reported.any() else 0.0,
        "groups": groups.weights.tolist(),
        "q": Q,
    }


def analyse(leads: Leads, model: Mapping[str, Json], as_of: datetime, rng: np.random.Generator) -> list[Finding]:
    """Write one finding for each reported pattern; see reconcile for how it meets the rows already there."""
    del rng  # nothing here is simulated
    two = TwoWindows.of(leads, as_of)
    family = build_family(leads, as_of, model["pool"])
    groups = TwoGroups(np.array(model["groups"]))
    reported = np.flatnonzero(two_sided_p(family.z) <= float(model["largest_p"]))
    if len(reported) == 0:
        return []
    posterior = effect_posterior(family.z, groups)
    halves = _half_checks(leads, as_of, model, groups)
    affected = _affected(leads, two)
    n, n_previous = leads.per_client(two.current), leads.per_client(two.previous)
    points = _Points(leads, two, as_of)
    period = local_day(as_of)
    findings = []
    for h in reported.tolist():
        c = int(family.client[h])
        if n[c] == 0:
            continue
        subject, value, against = family.subject[h], family.value[h], family.against[h]
        pattern_type = f"{subject}_{'increasing' if family.z[h] > 0 else 'decreasing'}"
        confidence = float(posterior.same_sign[h])
        key = (c, subject, value, against)
        content = {
            "pattern_type": pattern_type,
            "affected_leads": int(n[c]) if value is None else affected.get((subject, c, value), 0),
            "time_period": PERIOD,
            "data_points": points.of(c, subject, value),
            "value": value,
            "against": against,
            "effect": _effect(family, posterior, h),
            "first_seen": period,
            "last_seen": period,
            "hypotheses_tested": int(model["hypotheses"]),
        }
        what = subject if value is None else f"{subject} {value}"
        past = "the client's own past" if against == OWN_PAST else "the change of all clients"
        claim = Claim(
            "effect_sign",
            confidence,
            f"The change of {what} against {past} is real and {pattern_type.rsplit('_', 1)[1]}.",
            {"sign": 1 if family.z[h] > 0 else -1},
        )
        sign, p = halves.get(key, (0, None))
        check = Check("split_half", as_of, p, {"sign": sign})
        findings.append(
            Finding(
                leads.clients.ids[c],
                EVENT_TYPE,
                content,
                claim,
                check,
                int(n[c]),
                int(n_previous[c]),
                claim_key=":".join((pattern_type, value or "", against)),
            )
        )
    return findings


def _effect(family: Family, posterior: EffectPosterior, h: int) -> dict[str, Json]:
    """Shrunken size with its interval, on the scale people read: points of a share, or a ratio of volumes."""
    mean = posterior.mean[h] * family.error[h]
    spread = np.sqrt(max(posterior.second_moment[h] - posterior.mean[h] ** 2, 0.0)) * family.error[h]
    low, high = mean - Z80 * spread, mean + Z80 * spread
    if family.subject[h] == "volume":
        interval = interval_json(np.exp(low), np.exp(high))
        return {"estimate": float(np.exp(mean)), "raw": float(np.exp(family.effect[h])), "interval": interval,
                "unit": "ratio"}  # fmt: skip
    return {"estimate": float(mean), "raw": float(family.effect[h]), "interval": interval_json(low, high),
            "unit": "share"}  # fmt: skip


def _half_checks(
    leads: Leads, as_of: datetime, model: Mapping[str, Json], groups: TwoGroups
) -> dict[tuple[int, str, str | None, str], tuple[int, float]]:
    """Ask one half of the leads which sign the other half will show: (client, subject, value, against) -> sign, p."""
    family = build_family(leads, as_of, model["pool"], ~leads.half())
    agree = probability_half_agrees(family.z, groups)
    return {
        (int(family.client[h]), family.subject[h], family.value[h], family.against[h]): (
            1 if family.effect[h] > 0 else -1,
            float(agree[h]),
        )
        for h in range(len(family))
    }


def _affected(leads: Leads, two: TwoWindows) -> dict[tuple[str, int, str], int]:
    """Count the leads of the current window by subject, client and value."""
    every = np.ones(len(leads), dtype=bool)
    result: dict[tuple[str, int, str], int] = {}
    for subject in subjects(leads, two):
        cells = _cells(leads, subject, two, every)
        for client, code, count in zip(cells.client.tolist(), cells.code.tolist(), cells.k1.tolist(), strict=True):
            result[subject.name, client, subject.names[code]] = count
    return result


class _Points:
    """The weekly course of one client's subject; made for reported patterns only."""

    def __init__(self, leads: Leads, two: TwoWindows, as_of: datetime) -> None:
        self._two = two
        self._bounds = np.searchsorted(leads.client, np.arange(len(leads.clients) + 1))
        self._week = week_of(leads, two.windows.end)
        self._dates = week_dates(as_of, two.windows.end)
        self._subjects = {subject.name: subject for subject in subjects(leads, two)}

    def of(self, client: int, subject: str, value: str | None) -> list[dict[str, Json]]:
        mine = slice(int(self._bounds[client]), int(self._bounds[client + 1]))
        week, weeks = self._week[mine], len(self._dates)
        there = self._two.both[mine] & (week >= 0)
        points: list[dict[str, Json]] = [
            {"date": day, "leads": count}
            for day, count in zip(self._dates, np.bincount(week[there], minlength=weeks).tolist(), strict=True)
        ]
        if value is None:
            return points
        about = self._subjects[subject]
        code = about.current[mine]
        known = there & (code >= 0)
        total = np.bincount(week[known], minlength=weeks)
        carrying = known & (code == about.names.index(value))
        share = ratio(np.bincount(week[carrying], minlength=weeks), total)
        for i, point in enumerate(points):
            point["share"] = number(share[i])
        if subject == "urgency":
            level = np.bincount(week[known], weights=code[known] + 1.0, minlength=weeks)
            for i, point in enumerate(points):
                point["avg_urgency"] = level_name(float(ratio(level, total)[i]))
        return points


def reconcile(findings: Sequence[Finding], past: Sequence[Mapping[str, Json]], as_of: datetime) -> list[Finding]:
    """
    Fit today's patterns to the rows that earlier runs left: a pattern that goes on keeps its row and first_seen.

    past : client_id, period_key, claim_key, as_of (aware datetime) and last_seen of the pattern rows already there.
    A return after a full window away, or after a turn of direction, is a new row; a row last seen later than as_of is
    never touched, and where such a row already covers this day nothing is written.
    """
    day = local_day(as_of)
    rows: dict[tuple[str | None, str], list[Mapping[str, Json]]] = {}
    for row in past:
        rows.setdefault((row["client_id"], row["claim_key"]), []).append(row)
    result = []
    for finding in findings:
        own = rows.get((finding.client_id, finding.claim_key), [])
        if any(row["period_key"] <= day <= row["last_seen"] and row["as_of"] > as_of for row in own):
            continue
        earlier = [row for row in own if row["as_of"] <= as_of]
        turned = [
            row for row in rows.get((finding.client_id, _opposite(finding.claim_key)), ()) if row["as_of"] < as_of
        ]
        first_seen = day
        if earlier:
            last = max(earlier, key=lambda row: (row["as_of"], row["period_key"]))
            away = date.fromisoformat(day) - date.fromisoformat(last["last_seen"])
            turn = any(row["as_of"] > last["as_of"] for row in turned)
            if away < timedelta(days=WINDOW_DAYS) and not turn:
                first_seen = last["period_key"]
        content = {**finding.content, "first_seen": first_seen, "last_seen": day}
        result.append(replace(finding, content=content, period_key=first_seen))
    return result


def _opposite(claim_key: str) -> str:
    pattern_type, rest = claim_key.split(":", 1)
    subject, direction = pattern_type.rsplit("_", 1)
    return f"{subject}_{'decreasing' if direction == 'increasing' else 'increasing'}:{rest}"
