"""
pattern_detection: what has changed in a client's leads that chance does not explain?

Meaning. Every question that the leads can answer is asked of the two windows of 30 days before as_of: has the share of
a value (High urgency, a tone, an intent, a source, French, a second contact within a week, a conversion) or the number
of leads changed, against the client's own past, or beyond what the other clients saw in the same time
(worker/jobs/pattern_family.py)? What answers clearly enough is told, as one row that lasts as long as the pattern:
a pattern on record goes on for as long as it is more likely true than not, and is not news; one that turned, or came
back after a full window away, is a new row (worker/jobs/pattern_record.py).

Formula. Each answer is a z with its standard error (exact tests for small and unequal counts, errors wider by the
design effect of the subject, volumes overdispersed). Confidence = (1 - local false discovery rate) x P(sign), from two
groups, null and real, learned over all clients for every subject; what goes on keeps the confidence that earlier
windows gave it, as far as today's do not take it back. Effects are shrunk by the same model, so that the winner's
curse does not state them too large.

Which are told. All questions that no pattern on record answers are fresh, and compete within the run by weighted
Benjamini-Hochberg, those about all clients together among them. The run's level, at most 0.10, comes out of a budget
that is paid out over the days (`level_of_run` in worker/statistics/discovery.py): where nothing changes, the chance of
telling a client anything false in a year is at most 0.04 in the first year (the first run may spend a year's
allowance, and the days after it earn theirs on top) and 0.02 in each later one; each discovery earns a tenth of a
false one.

Check. Whether the half of the leads set aside shows the sign said, foretold from all leads, which selected the pattern.

Source. Benjamini & Hochberg with weights: Genovese, Roeder & Wasserman (2006), Ignatiadis et al. (2016). Local false
discovery rate: Efron (2010), Stephens (2017). Which questions are worth asking: Tarone (1990). Budget over time: alpha
investing, Foster & Stine (2008). worker/statistics/discovery.py and comparison.py.

Limits. What moves all leads of a client at once for a while (a campaign) is a change like any other. No cause is named.
Changes that take longer than two windows to show are not seen, nor is one that both windows share.
"""

import zlib
from collections.abc import Mapping, Sequence
from datetime import datetime

import numpy as np
from scipy.special import ndtr

from worker.calendar import local_day
from worker.jobs.finding import Check, Claim, Finding, HalfChecks, Json
from worker.jobs.pattern_course import Course
from worker.jobs.pattern_family import build_family, half_answers, learn_pool
from worker.jobs.pattern_questions import AGAINST, EVERYONE, GROUPS, OWN_PAST, Family, Groups
from worker.jobs.pattern_record import (
    Row,
    days_since,
    parse_claim_key,
    patterns_on_record,
    recent_discoveries,
    reconcile,
)
from worker.jobs.pattern_view import SUBJECTS, VOLUME, View
from worker.jobs.windows import PERIOD, interval_json, number
from worker.leads import Leads
from worker.statistics import BoolArray, FloatArray, IntArray
from worker.statistics.discovery import (
    EffectPosterior,
    TwoGroups,
    discoveries,
    effect_posterior,
    fit_two_groups,
    group_weights,
    level_of_run,
    two_sided_p,
)

__all__ = ["analyse", "fit", "half_checks", "reconcile"]

NAME = "pattern_detection"
EVENT_TYPE = "pattern_detected"
TITLE = "what has changed that chance does not explain?"
LOOK_BACK_DAYS: int | None = 60
PAST_EVENT_TYPES = ("pattern_detected",)
LEARNS_FROM_PAST = True  # fit takes the rows of PAST_EVENT_TYPES, and the last period that was run

FOLDS = 2
LEAST_CONFIDENCE = 0.5  # a pattern is told, and goes on, only while it is more likely true than not
LEAST_Z = 1.5  # and while it stands out by this many standard errors
ROUNDING = 1e-9  # of the largest p-value reported: the last bit must not decide whether it is
LEVELS = np.array([0.1, 0.9])  # ends of an 80% interval


def fit(leads: Leads, as_of: datetime, past: Sequence[Row] = (), last_period: str | None = None) -> Mapping[str, Json]:
    """
    Learn everyone's changes, the two groups by subject, and how small a p-value must be to be told.

    past : earlier pattern rows, as pattern_record.reconcile takes them; last_period : the last one before this that
    was run, None for the first run. Rows of this period itself count for nothing.
    """
    view = View(leads, as_of)
    learned, family = learn_pool(view)
    named = Groups.of(view, family)
    group, fold = named.number(view, family), _fold(view, family)

    def learn(rows: BoolArray) -> FloatArray:
        part = family.z[rows], family.error[rows], group[rows]
        return fit_two_groups(*part, named.parent, len(GROUPS)).weights

    believed = learn(np.ones(len(family), dtype=bool))
    fresh = ~_going_on(view, family, believed[group], past, as_of)
    # what one half of the clients shows decides how the other half's questions are weighed
    others = np.stack([learn(fold != number) for number in range(FOLDS)], axis=1)
    p, group = two_sided_p(family.z[fresh]), (group * FOLDS + fold)[fresh]
    weights = group_weights(TwoGroups(others.reshape(-1, others.shape[2])), family.error[fresh], group)
    n_clients = len(np.unique(family.client[family.client != EVERYONE]))
    ours = {*view.clients.ids, None}
    recent = recent_discoveries([row for row in past if row["client_id"] in ours], as_of)
    level = level_of_run(max(n_clients, 1), days_since(last_period, as_of), recent)
    _, cut = discoveries(p, level, weights[group])
    largest = np.minimum(cut * weights * (1 + ROUNDING), 1.0).reshape(-1, FOLDS)
    return {
        **learned,
        "hypotheses": len(family),
        "fresh": int(fresh.sum()),
        "level": level,
        "largest_p": dict(zip(named.names, largest.tolist(), strict=True)),
        "groups": dict(zip(named.names, believed.tolist(), strict=True)),
    }


def _fold(view: View, family: Family) -> IntArray:
    """Tell which half of the clients each question is about, by a hash of the id; everyone counts to the first."""
    of_client = np.array([zlib.crc32(str(client_id).encode()) % FOLDS for client_id in view.clients.ids] + [0])
    return of_client[family.client]  # EVERYONE, -1, is the last place


def _going_on(view: View, family: Family, weights: FloatArray, past: Sequence[Row], as_of: datetime) -> BoolArray:
    """Mark the questions that a pattern on record already answers, in the direction still seen."""
    going_on = np.zeros(len(family), dtype=bool)
    place = {client_id: number for number, client_id in enumerate(view.clients.ids)} | {None: EVERYONE}
    codes = {
        SUBJECTS[subject.number]: {name: code for code, name in enumerate(subject.names)}
        if subject.named
        else {"": subject.asked[0]}
        for subject in view.subjects
    } | {SUBJECTS[VOLUME]: {"": 0}}
    size = int(family.code.max(initial=0)) + 1
    on_record = []  # both directions of one question may be: key and sign together
    for client_id, claim_key in patterns_on_record(past, as_of):
        parts = parse_claim_key(claim_key)
        if parts is None or client_id not in place:
            continue
        subject, direction, value, against = parts
        code = codes.get(subject, {}).get(value, size)
        if code < size:
            group = 2 * SUBJECTS.index(subject) + AGAINST.index(against)
            key = ((place[client_id] + 1) * len(GROUPS) + group) * size + code
            on_record.append(2 * key + (direction == "increasing"))
    if on_record:
        rows = np.flatnonzero(np.isin(2 * family.key + (family.z > 0), on_record))
        part = family.only(rows)
        going_on[rows] = _likely(part.z, effect_posterior(part.z, part.error, weights[rows]))
    return going_on


def _likely(z: FloatArray, posterior: EffectPosterior) -> BoolArray:
    likely: BoolArray = (np.abs(z) >= LEAST_Z) & (posterior.same_sign >= LEAST_CONFIDENCE)
    return likely


def _by_group(view: View, family: Family, kept: Mapping[str, Json]) -> FloatArray:
    """Look up what the model keeps by group for each question, shape (questions, ...)."""
    group = Groups(tuple(kept)).number(view, family)
    values: FloatArray = np.array(list(kept.values()), dtype=np.float64)[group]
    return values


def _candidates(view: View, family: Family, model: Mapping[str, Json]) -> tuple[Family, FloatArray, EffectPosterior]:
    """Keep the questions whose answer is a pattern if it is news or on record; with their groups' weights."""
    family = family.only(np.abs(family.z) >= LEAST_Z)
    weights = _by_group(view, family, model["groups"])
    likely = _likely(family.z, effect_posterior(family.z, family.error, weights))
    family, weights = family.only(likely), weights[likely]
    return family, weights, effect_posterior(family.z, family.error, weights)


def analyse(leads: Leads, model: Mapping[str, Json], as_of: datetime, rng: np.random.Generator) -> list[Finding]:
    """
    Write one finding for each pattern that would go on if it were on record.

    The fact "news" tells which are strong enough to be told for the first time; pattern_record.reconcile, which knows
    the record, keeps those and what goes on. The check is whether the half set aside shows the sign said, foretold from
    all leads, by which the pattern was selected (`half_shows`); half_checks selects by one half and foretells the
    other from it.
    """
    del rng  # nothing here is simulated
    view = View(leads, as_of)
    family, _, posterior = _candidates(view, build_family(view, model), model)
    if len(family) == 0:
        return []
    largest_p = _by_group(view, family, model["largest_p"])[np.arange(len(family)), _fold(view, family)]
    news = two_sided_p(family.z) <= largest_p
    shown = half_shows(view, model, family)
    n, n_previous = view.n_current, view.leads.per_client(view.window == 0)
    sizes, sure = _sizes(family, posterior), posterior.same_sign
    course = Course(view, as_of, family)
    period = local_day(as_of)
    findings = []
    for h, client in enumerate(family.client.tolist()):
        c = max(client, 0)
        if n[c] == 0:
            continue
        number_of, against = int(family.subject[h]), AGAINST[family.group[h] % 2]
        subject, value = SUBJECTS[number_of], course.value(h)
        pattern_type = _pattern_type(family, h)
        content = {
            "pattern_type": pattern_type,
            "affected_leads": int(family.carrying[h]),
            "time_period": PERIOD,
            "data_points": course.points(h),
            "value": value,
            "against": against,
            "effect": sizes[h],
            "first_seen": period,
            "last_seen": period,
            "status": "new",
            "carried_from": None,
            "hypotheses_tested": int(model["hypotheses"]),
        }
        sign = 1 if family.z[h] > 0 else -1
        what = subject if value is None else f"{subject} {value}"
        past = "the client's own past" if against == OWN_PAST else "the change of the other clients"
        claim = Claim(
            "effect_sign",
            float(sure[h]),
            f"The change of {what} against {past} is real and {pattern_type.rsplit('_', 1)[1]}.",
            {"sign": sign},
        )
        check = Check("split_half", as_of, number(float(shown[h])), {"sign": sign})
        findings.append(
            Finding(
                view.clients.ids[c],
                EVENT_TYPE,
                content,
                claim,
                check,
                int(n[c]),
                int(n_previous[c]),
                claim_key=_claim_key(family, course, h),
                facts={"news": bool(news[h])},
            )
        )
    return findings


def half_checks(leads: Leads, model: Mapping[str, Json], as_of: datetime, rng: np.random.Generator) -> HalfChecks:
    """
    Say of every pattern that one half of the leads makes likely whether the other half changes in the same direction.

    The patterns are those that the first half alone would let go on, the probabilities those of the first half alone
    (not those in the snapshots, whose patterns all leads selected: `half_shows`); the other half says nothing where it
    has no change to see (no leads in a window, or exactly the same share).
    """
    del rng
    view = View(leads, as_of)
    aside = view.leads.half()
    family, weights, _ = _candidates(view, build_family(view, model, ~aside), model)
    signs, p = _half_agreement(view, model, family, weights)
    other = half_answers(view, model, aside, family).raw
    silent = ~np.isfinite(other) | (other == 0)
    return HalfChecks(np.maximum(family.client, 0), np.where(silent, np.nan, p), np.sign(other) == signs)


def claim_checks(leads: Leads, model: Mapping[str, Json], as_of: datetime, rng: np.random.Generator) -> HalfChecks:
    """
    Look whether the half set aside shows the sign of each pattern that `analyse` tells, as the check beside it said.

    With the same leads and model they are the same patterns, named by their claim_key.
    """
    del rng
    view = View(leads, as_of)
    family, _, _ = _candidates(view, build_family(view, model), model)
    if len(family) == 0:
        return HalfChecks(family.client, family.z, np.zeros(0, dtype=np.bool_))
    raw = half_answers(view, model, view.leads.half(), family).raw
    course = Course(view, as_of, family)
    states = tuple(_claim_key(family, course, h) for h in range(len(family)))
    shown = half_shows(view, model, family)
    return HalfChecks(np.maximum(family.client, 0), shown, np.sign(raw) == np.sign(family.z), states)


def _pattern_type(family: Family, h: int) -> str:
    return f"{SUBJECTS[int(family.subject[h])]}_{'increasing' if family.z[h] > 0 else 'decreasing'}"


def _claim_key(family: Family, course: Course, h: int) -> str:
    return ":".join((_pattern_type(family, h), course.value(h) or "", AGAINST[family.group[h] % 2]))


def half_shows(view: View, model: Mapping[str, Json], family: Family) -> FloatArray:
    """
    Say how surely the half set aside shows the sign that all leads show, shape (questions,).

    Patterns are selected by all leads, so one half alone foretells the other too cautiously: it forgets that both
    together stood out. Given all, nothing needs to be believed of the effect. With halves alike and a correlation r of
    their noise, x_half - x_all is independent of x_all, and has (1 - r) / (1 + r) of its variance; so the half has the
    sign of z with probability ndtr(|z| sqrt((1 + r) / (1 - r))), whatever was selected by z.

    NaN where the half set aside has no change to see: it lacks leads, or carriers, in the windows.
    """
    half = half_answers(view, model, view.leads.half(), family)
    # the others' change is the same for both halves, and with it the error of it
    r = half.of_others + (1 - half.of_others) * half.resemblance
    shows: FloatArray = ndtr(np.abs(family.z) * np.sqrt((1 + r) / np.maximum(1 - r, 1e-9)))
    return np.where(np.isfinite(half.raw), shows, np.nan)


def _half_agreement(
    view: View, model: Mapping[str, Json], family: Family, weights: FloatArray
) -> tuple[IntArray, FloatArray]:
    """
    Foretell from the half not set aside which sign the other half will show, and how surely.

    Returns the sign (0 where that half cannot tell) and the probability (NaN there), shape (questions,).
    """
    half = half_answers(view, model, ~view.leads.half(), family)
    told = np.isfinite(half.z) & (half.z != 0)
    z = np.where(told, half.z, 0.0)
    agrees = effect_posterior(z, half.error, weights).half_agrees(half.resemblance)
    return np.sign(z).astype(np.int64), np.where(told, agrees, np.nan)


def _sizes(family: Family, posterior: EffectPosterior) -> list[dict[str, Json]]:
    """
    Shrunken sizes with their intervals, on the scale people read: points of a share, or a ratio of volumes.

    z is how many standard errors the change stands out by, shrink what part of it is taken for effect, not luck.
    """
    # z counts the exact evidence and raw what was seen: so many points are a standard error here
    unit = np.abs(family.raw) / np.abs(family.z) / family.error
    mean, ends = posterior.expectation() * unit, posterior.quantiles(LEVELS) * unit[:, None]
    shrink = np.clip(np.abs(mean / family.raw), 0.01, 1.0)
    of_volume = family.subject == VOLUME
    sizes = np.stack([mean, family.raw, ends[:, 0], ends[:, 1]], axis=1)
    sizes = np.where(of_volume[:, None], np.exp(np.where(of_volume[:, None], sizes, 0.0)), np.clip(sizes, -1, 1))
    return [
        {
            "estimate": estimate,
            "raw": raw,
            "interval": interval_json(low, high),
            "unit": "ratio" if ratio else "share",
            "z": z,
            "shrink": part,
        }
        for (estimate, raw, low, high), ratio, z, part in zip(
            sizes.tolist(), of_volume.tolist(), family.z.tolist(), shrink.tolist(), strict=True
        )
    ]
