"""Leads as pattern_detection sees them: in which window each arrived, and what was known of it at that window's end."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property

import numpy as np

from worker.jobs.windows import TwoWindows
from worker.leads import DAY, Leads, Windows
from worker.statistics import BoolArray, FloatArray, IntArray
from worker.statistics.dependence import (
    design_effect,
    estimate_serial_correlation,
    half_design_effect,
    sample_of_neighbours,
)
from worker.vocabulary import TONE_UNKNOWN, TONES, URGENCY_HIGH, URGENCY_UNKNOWN

SUBJECTS = ("urgency", "tone", "intent", "source", "language", "repeat_contact", "conversion_rate", "volume")
VOLUME = SUBJECTS.index("volume")
REPEAT_DAYS = 7
VOLUME_WEEKS = 4  # the newest of each window: whole weeks, so that each day of the week counts alike
SAMPLED_LEADS = 16000  # for the likeness of neighbours: enough to know each correlation to .01
SAMPLED_VALUES = 6  # the most frequent ones tell how alike neighbours are
LARGEST_TABLE = 4_000_000  # client x value cells counted directly; sorted beyond that


@dataclass(frozen=True, slots=True)
class Subject:
    """One attribute: its code for each lead at the end of the lead's own window; -1 unknown, or in neither window."""

    number: int  # in SUBJECTS
    names: Sequence[str]
    asked: Sequence[int]  # codes worth asking about
    named: bool  # whether a pattern says which value it speaks of
    code: IntArray


@dataclass(frozen=True, slots=True)
class Cells:
    """The pairs of client and value that occur, both windows known, sorted; counts, and what the counts are worth."""

    client: IntArray
    code: IntArray
    k1: IntArray  # current window, carrying the value
    n1: IntArray  # current window, value known
    k0: IntArray
    n0: IntArray
    deff: FloatArray  # how many times as wide as for independent leads the variance of the difference is

    @property
    def unit_variance(self) -> FloatArray:
        """Variance of the difference of shares where that of a single lead is 1."""
        variance: FloatArray = self.deff * (1 / self.n1 + 1 / self.n0)
        return variance

    @property
    def lead_variance(self) -> FloatArray:
        """Variance of a single lead's carrying the value (hypergeometric, so that few leads are not underrated)."""
        n, k = self.n1 + self.n0, self.k1 + self.k0
        variance: FloatArray = k / n * (n - k) / np.maximum(n - 1, 1)
        return variance

    @property
    def change(self) -> FloatArray:
        """Difference of the shares."""
        difference: FloatArray = self.k1 / self.n1 - self.k0 / self.n0
        return difference

    def only(self, keep: BoolArray | IntArray) -> "Cells":
        """Keep some of the cells."""
        return Cells(*(getattr(self, name)[keep] for name in Cells.__slots__))


class View:
    """
    Some leads seen through two windows: who arrived in which, and with which values.

    leads : only those that arrived in either window and were there at its end; `window` is 1 for the current one.
    """

    def __init__(self, leads: Leads, as_of: datetime) -> None:
        w = Windows.before(as_of)
        inside = leads.arrived(w.start, w.end)
        recent = leads if inside.all() else leads.only(inside)
        self.two = TwoWindows.of(recent, as_of)
        self.windows = w
        self.leads = recent
        self.clients = leads.clients
        self.everyone = leads.clients.ids == (None,)
        self.window = np.where(self.two.current, 1, np.where(self.two.previous, 0, -1))

    @cached_property
    def subjects(self) -> list[Subject]:
        """Look up each lead's values, as they were known at the end of its window."""
        leads, w, n = self.leads, self.windows, len(self.leads)
        current = self.two.current

        def at_end(now: FloatArray | IntArray, then: FloatArray | IntArray) -> IntArray:
            return np.where(self.window < 0, -1, np.where(current, now, then)).astype(np.int64)

        own_end = np.where(current, w.end, w.middle)
        urgency = at_end(*(leads.urgency.latest_before(end, n, URGENCY_UNKNOWN) for end in (w.end, w.middle)))
        tone = at_end(*(leads.tone.latest_before(end, n, TONE_UNKNOWN) for end in (w.end, w.middle)))
        intent = at_end(leads.intent_at(w.end), leads.intent_at(w.middle))
        source, language = at_end(leads.source, leads.source), at_end(leads.language, leads.language)
        converted = at_end(*(leads.converted_at(end).astype(np.int64) for end in (w.end, w.middle)))
        again = np.where(leads.arrival + REPEAT_DAYS * DAY <= own_end, self._written_again(own_end), -1)
        return [
            Subject(0, ("Low", "Medium", "High"), (URGENCY_HIGH,), True, urgency),
            Subject(1, TONES, range(len(TONES)), True, tone),
            Subject(2, leads.intent_names, range(len(leads.intent_names)), True, intent),
            Subject(3, leads.source_names, range(len(leads.source_names)), True, source),
            Subject(4, ("en", "fr"), (1,), True, language),  # of two languages, one tells all
            Subject(5, ("once", "again"), (1,), False, np.where(self.window < 0, -1, again)),
            Subject(6, ("open", "converted"), (1,), False, converted),
        ]

    @property
    def n_current(self) -> IntArray:
        """Leads of the current window, shape (clients,)."""
        return self.leads.per_client(self.window == 1)

    def _written_again(self, own_end: IntArray) -> IntArray:
        """Mark the leads with a second contact within REPEAT_DAYS of the first, before own_end; shape (leads,)."""
        contacts, arrival = self.leads.contacts, self.leads.arrival
        since = contacts.time - arrival[contacts.lead]
        again = np.zeros(len(self.leads), dtype=np.int64)
        known = contacts.time < own_end[contacts.lead]
        again[contacts.lead[(since > 0) & (since <= REPEAT_DAYS * DAY) & known]] = 1
        return again

    def cells(self, subject: Subject, correlation: FloatArray, chosen: BoolArray | None, *, halve: bool) -> Cells:
        """
        Count one subject's values by client; only pairs that occur, since free text may have very many values.

        halve : correlation is that of all leads in a row, and `chosen` a half of them.
        """
        who = self.leads.owner if self.everyone else self.leads.client
        n_who = len(self.leads.owner_industry) if self.everyone else len(self.clients)
        used = subject.code >= 0 if chosen is None else chosen & (subject.code >= 0)
        who, code, window = who[used], subject.code[used], self.window[used]
        size = max(len(subject.names), 1)
        n = np.bincount(who * 2 + window, minlength=2 * n_who).reshape(-1, 2)
        flat = who * size + code
        if n_who * size <= LARGEST_TABLE:
            table = np.bincount(flat * 2 + window, minlength=2 * n_who * size).reshape(-1, 2)
            pairs = np.flatnonzero(table.sum(axis=1))
            k = table[pairs]
        else:
            pairs, place = np.unique(flat, return_inverse=True)
            k = np.bincount(place * 2 + window, minlength=2 * len(pairs)).reshape(-1, 2)
        client, code = pairs // size, pairs % size
        keep = (n[client] > 0).all(axis=1)
        if len(subject.asked) < len(subject.names):
            keep &= np.isin(code, subject.asked)
        client, code, k = client[keep], code[keep], k[keep]
        deff = design_effect(n, correlation)
        if halve:
            deff = half_design_effect(design_effect(2 * n, correlation))
        size_1, size_0 = np.maximum(n[:, 1], 1), np.maximum(n[:, 0], 1)
        widened = (deff[:, 1] / size_1 + deff[:, 0] / size_0) / (1 / size_1 + 1 / size_0)
        return Cells(client, code, k[:, 1], n[client, 1], k[:, 0], n[client, 0], widened[client])

    def weekly(self, chosen: BoolArray | None = None) -> IntArray:
        """Count leads by client, window and week of that window, shape (clients, 2, VOLUME_WEEKS), newest first."""
        used = self.window >= 0 if chosen is None else chosen & (self.window >= 0)
        end = np.where(self.two.current, self.windows.end, self.windows.middle)
        week = (end - 1 - self.leads.arrival) // (7 * DAY)
        used = used & (week < VOLUME_WEEKS)
        flat = (self.leads.client[used] * 2 + self.window[used]) * VOLUME_WEEKS + week[used]
        n = len(self.clients)
        return np.bincount(flat, minlength=n * 2 * VOLUME_WEEKS).reshape(n, 2, VOLUME_WEEKS)

    def serial_correlation(self) -> dict[str, list[float]]:
        """Learn by subject how alike neighbours in time are, from a sample of each client's windows."""
        rows = np.flatnonzero(self.window >= 0)
        cell = self.leads.client[rows] * 2 + self.window[rows]
        order = np.lexsort((self.leads.arrival[rows], cell))
        order = order[sample_of_neighbours(cell[order], SAMPLED_LEADS)]
        rows, cell = rows[order], cell[order]
        result = {}
        for subject in self.subjects:
            known = subject.code[rows] >= 0
            code = subject.code[rows][known]
            counts = np.bincount(code, minlength=max(len(subject.names), 1))[: len(subject.names)]
            asked = np.array(subject.asked, dtype=np.int64)
            frequent = asked[np.argsort(-counts[asked], kind="stable")[:SAMPLED_VALUES]]
            levels = (code[:, None] == frequent).astype(np.float64)
            result[SUBJECTS[subject.number]] = estimate_serial_correlation(levels, cell[known]).tolist()
        return result
