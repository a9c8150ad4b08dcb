"""
A large made-up database for benchmarks: Zipf-sized clients, their leads over two years, some five actions a lead.

The same seed gives the same leads; loading.py puts them into a database, and here they become Leads through the
reader's own door.
"""

import sys
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "unit"))
from lead_rows import action, lead

from worker.leads import Clients
from worker.reading import arrange

AS_OF = datetime(2026, 3, 31, tzinfo=UTC)
DAYS = 730
TOUCHES = 4.0  # of an open lead, on average, within a month or so; with its insert and its end that makes five actions
EVER, DELAY_SHAPE, DELAY_SCALE = 0.25, 0.8, 18.0  # share that converts in the end, and its Weibull delay in days
EXIT_RATE = 0.002  # archived, a day
URGENCIES = np.array(["Low", "Medium", "High"], dtype=object)
TONES = np.array(["Friendly", "Formal", "Direct", "Urgent", "Curious"], dtype=object)
SOURCES = np.array(["referral", "organic_search", "paid_search", "social"], dtype=object)
TAGS = np.array(["Contacted", "Follow-Up", "High Priority"], dtype=object)
ON_LOG_ODDS = {"urgency": np.array([-0.5, 0.0, 0.6]), "source": np.array([0.8, 0.0, 0.3, -0.7])}
INSERT, TOUCH, WIN, ARCHIVE = range(4)


@dataclass(frozen=True, slots=True)
class ZipfLeads:
    """Columns of shape (leads,) and (actions,); leads are numbered in order of arrival, actions in order of time."""

    n_clients: int
    client: np.ndarray
    arrival: np.ndarray  # seconds before AS_OF, as are all instants here
    urgency: np.ndarray
    tone: np.ndarray
    source: np.ndarray
    confidence: np.ndarray
    won: np.ndarray  # bool, by AS_OF
    archived: np.ndarray
    action_lead: np.ndarray
    action_time: np.ndarray
    action_kind: np.ndarray
    action_tag: np.ndarray


def draw_zipf_leads(n_leads, n_clients, seed=1, *, since=DAYS, until=0):
    """
    Draw them; the largest of 1,000 clients has some 13 % of the leads, the median one 27 of 100,000.

    since, until : days before AS_OF between which they arrive; what becomes of them is drawn up to AS_OF.
    """
    rng = np.random.default_rng(seed)
    share = 1 / np.arange(1, n_clients + 1)
    client = rng.choice(n_clients, n_leads, p=share / share.sum())
    arrival = np.sort(rng.uniform(until * 86400, since * 86400, n_leads))[::-1].astype(np.int64) + 1
    urgency, source = rng.integers(0, 3, n_leads), rng.integers(0, 4, n_leads)
    own = rng.normal(0, 0.5, n_clients)[client]
    odds = np.log(EVER / (1 - EVER)) + own + ON_LOG_ODDS["urgency"][urgency] + ON_LOG_ODDS["source"][source]
    will = rng.random(n_leads) < 1 / (1 + np.exp(-odds))
    age = arrival / 86400
    win = np.where(will, DELAY_SCALE * rng.weibull(DELAY_SHAPE, n_leads), np.inf)
    leave = rng.exponential(1 / EXIT_RATE, n_leads)
    won, archived = (win < leave) & (win < age), (leave < win) & (leave < age)
    end = np.minimum(np.minimum(win, leave), age)

    # an insert at arrival, touches in the first weeks until the end, and the end
    n_touches = rng.poisson(TOUCHES, n_leads)
    touched = np.repeat(np.arange(n_leads), n_touches)
    after = rng.exponential(12.0, len(touched))
    kept = after < end[touched]
    touched, after = touched[kept], after[kept]
    ended = np.flatnonzero(won | archived)
    who = np.concatenate([np.arange(n_leads), touched, ended])
    when = arrival[who] - (np.concatenate([np.zeros(n_leads), after, end[ended]]) * 86400).astype(np.int64)
    kind = np.concatenate([np.full(n_leads, INSERT), np.full(len(touched), TOUCH), np.where(won[ended], WIN, ARCHIVE)])
    tag = np.concatenate([np.full(n_leads, -1), rng.integers(0, len(TAGS), len(touched)), np.full(len(ended), -1)])
    order = np.lexsort((kind, -when))
    return ZipfLeads(
        n_clients, client, arrival, urgency, rng.integers(0, len(TONES), n_leads), source,
        np.round(rng.beta(6, 3, n_leads), 2), won, archived,
        who[order], np.maximum(when[order], 1), kind[order], tag[order],
    )  # fmt: skip


def uuid_of(kind, numbers):
    """Give ids that a person can recognise."""
    return [f"{kind:08d}-0000-4000-8000-{number:012d}" for number in numbers]


def _instants(seconds):
    return [AS_OF - timedelta(seconds=second) for second in seconds.tolist()]


def _tags(drawn):
    """The lead's tag as it stands: Converted, or the last touch's."""
    tag = np.full(len(drawn.client), None, dtype=object)
    touches = np.flatnonzero(drawn.action_kind == TOUCH)
    tag[drawn.action_lead[touches]] = TAGS[drawn.action_tag[touches]]  # of repeated leads, the last one stays
    tag[drawn.won] = "Converted"
    return tag


def _actions(drawn):
    """Yield (lead, kind, tag) of each action."""
    kinds = np.array(["insert", "tag", "tag", "archive"], dtype=object)[drawn.action_kind]
    tags = np.where(drawn.action_kind == TOUCH, TAGS[drawn.action_tag], None)
    tags[drawn.action_kind == WIN] = "Converted"
    return zip(drawn.action_lead.tolist(), kinds, tags, strict=True)


def as_leads(drawn):
    """Make Leads of them, as the worker's reader would."""
    clients, ids = uuid_of(9, range(drawn.n_clients)), uuid_of(1, range(len(drawn.client)))
    columns = zip(
        ids, _instants(drawn.arrival), drawn.client.tolist(), URGENCIES[drawn.urgency], TONES[drawn.tone],
        drawn.confidence.tolist(), SOURCES[drawn.source], _tags(drawn), drawn.archived.tolist(), strict=True,
    )  # fmt: skip
    rows = [
        lead(
            lead_id, when, clients[client], urgency=urgency, tone=tone, confidence=confidence, source=source, tag=tag,
            archived=archived,
        )
        for lead_id, when, client, urgency, tone, confidence, source, tag, archived in columns
    ]  # fmt: skip
    when = _instants(drawn.action_time)
    actions = [
        action(ids[of], kind, instant, tag=tag) for (of, kind, tag), instant in zip(_actions(drawn), when, strict=True)
    ]
    about = Clients(tuple(clients), ("en",) * len(clients), (None,) * len(clients), np.ones(len(clients), dtype=bool))
    return arrange(about, rows, actions)
