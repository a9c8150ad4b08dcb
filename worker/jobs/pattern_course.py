"""How what a pattern speaks of went from week to week: the points that its snapshot shows."""

from datetime import datetime

import numpy as np

from worker.jobs.finding import Json
from worker.jobs.pattern_questions import Family
from worker.jobs.pattern_view import SUBJECTS, View
from worker.jobs.windows import N_WEEKS, level_names, number, week_dates, week_of
from worker.statistics import BoolArray, FloatArray, IntArray


class Course:
    """The weekly course of what the patterns speak of, counted for all of them at once."""

    def __init__(self, view: View, as_of: datetime, family: Family) -> None:
        self._family = family
        self._subjects = {subject.number: subject for subject in view.subjects}
        self._dates = week_dates(as_of, view.windows.end)
        leads, n = view.leads, len(family)
        client = np.maximum(family.client, 0)
        concerned = np.zeros(len(view.clients), dtype=bool)
        concerned[client] = True
        week = week_of(leads, view.windows.end)
        there = (view.window >= 0) & (week >= 0) & concerned[leads.client]
        rows, shape = np.flatnonzero(there), (len(view.clients), N_WEEKS)
        place = leads.client[rows] * N_WEEKS + week[rows]

        def count(of: BoolArray | slice, at: IntArray, size: int, weights: FloatArray | None = None) -> FloatArray:
            total = np.bincount(at[of], weights=weights, minlength=size * N_WEEKS)
            return total.astype(np.float64).reshape(size, N_WEEKS)

        self._leads = count(slice(None), place, shape[0])[client]
        self._share = np.full((n, N_WEEKS), np.nan)
        self._level = np.full((n, N_WEEKS), np.nan)
        for subject in view.subjects:
            mine = np.flatnonzero(family.subject == subject.number)
            if len(mine) == 0:
                continue
            code = subject.code[rows]
            known = code >= 0
            total = count(known, place, shape[0])[client[mine]]
            size = max(len(subject.names), 1)
            pair, which = np.unique(client[mine] * size + family.code[mine], return_inverse=True)
            key = leads.client[rows] * size + code
            at = np.minimum(np.searchsorted(pair, key), len(pair) - 1)
            carrying = known & (pair[at] == key)
            carried = count(carrying, at * N_WEEKS + week[rows], len(pair))[which]
            with np.errstate(invalid="ignore"):
                self._share[mine] = carried / total
                if SUBJECTS[subject.number] == "urgency":
                    level = count(known, place, shape[0], code[known].astype(np.float64))[client[mine]]
                    self._level[mine] = level / total + 1  # High 3, Medium 2, Low 1

    def value(self, h: int) -> str | None:
        """Name the value that a question is about."""
        subject = self._subjects.get(int(self._family.subject[h]))
        return subject.names[int(self._family.code[h])] if subject is not None and subject.named else None

    def points(self, h: int) -> list[dict[str, Json]]:
        """List the weeks, oldest first."""
        leads, shares, names = self._leads[h].tolist(), self._share[h].tolist(), level_names(self._level[h])
        subject = SUBJECTS[int(self._family.subject[h])]
        points: list[dict[str, Json]] = []
        for week, day in enumerate(self._dates):
            point: dict[str, Json] = {"date": day, "leads": int(leads[week])}
            if subject != "volume":
                point["share"] = number(shares[week])
            if subject == "urgency":
                point["avg_urgency"] = names[week]
            points.append(point)
        return points
