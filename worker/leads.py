"""Leads as arrays: clients x leads, with what was known of each at any instant. Plain data; reading.py fills it."""

from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from itertools import compress

import numpy as np

from worker.actions import Actions, at_places
from worker.lead_ids import Ids
from worker.ordering import rows_of
from worker.statistics import BoolArray, FloatArray, IntArray
from worker.vocabulary import (
    ACTION_ARCHIVE,
    ACTION_DELETE,
    ACTION_INSERT,
    ACTION_OUTCOME_UPDATE,
    ACTION_REACTIVATE,
    ACTION_TAG,
    OUTCOME_CLIENT_CLOSED,
    OUTCOME_NO_SALE,
    OUTCOME_NONE,
    TAG_ARCHIVED,
    TAG_CONVERTED,
    TAG_DELETED,
    TAG_LOST,
    TAG_NONE,
)

MICROSECONDS = 1_000_000
HOUR = 3600 * MICROSECONDS
DAY = 24 * HOUR
WINDOW_DAYS = 30
UNDATED = np.iinfo(np.int64).max  # an instant that nobody knows: later than every as_of
FIRST_LEAD = 946_684_800 * MICROSECONDS  # 2000-01-01 UTC: no lead is older; an earlier stamp is a slip
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)

OPEN, CONVERTED, LOST, ARCHIVED, DELETED = range(5)
STATE_NAMES = ("open", "converted", "lost", "archived", "deleted")


def to_microseconds(instant: datetime) -> int:
    """Count microseconds since 1970 UTC, exactly: the unit of every instant in the arrays."""
    return (instant - EPOCH) // timedelta(microseconds=1)


def from_microseconds(value: int) -> datetime:
    """Turn an array's instant back into an aware UTC datetime."""
    return EPOCH + timedelta(microseconds=int(value))


@dataclass(frozen=True, slots=True)
class Clients:
    """The clients, sorted by public id. `pooled` ones enter fits and the global snapshot (not test, not internal)."""

    ids: tuple[str | None, ...]
    language: tuple[str | None, ...]
    industry: tuple[str | None, ...]
    pooled: BoolArray

    def __len__(self) -> int:
        return len(self.ids)

    def only(self, keep: BoolArray) -> "Clients":
        """Keep some of the clients."""
        ids, language, industry = (tuple(compress(column, keep)) for column in (self.ids, self.language, self.industry))
        return Clients(ids, language, industry, self.pooled[keep])


EVERYONE = Clients((None,), (None,), (None,), np.ones(1, dtype=bool))  # all pooled ones as one


@dataclass(frozen=True, slots=True)
class Observations:
    """One attribute as it was seen over time: parallel arrays, sorted by lead and then by time."""

    lead: IntArray
    time: IntArray  # microseconds
    value: IntArray | FloatArray  # a code (unknown: -1) or a number (unknown: NaN)

    def latest_before(self, instant: int, n_leads: int, unknown: float) -> FloatArray:
        """Give each lead's last value seen strictly before instant, shape (n_leads,); `unknown` where none was."""
        seen = np.flatnonzero(self.time < instant)
        result = np.full(n_leads, unknown)
        result[self.lead[seen]] = self.value[seen]  # of repeated indices, the last one stays
        return result

    def last_time_before(self, instant: int, n_leads: int, otherwise: int) -> IntArray:
        """Give the time of each lead's last entry strictly before instant, shape (n_leads,)."""
        seen = np.flatnonzero(self.time < instant)
        result = np.full(n_leads, otherwise, dtype=np.int64)
        result[self.lead[seen]] = self.time[seen]
        return result

    def first_before(self, instant: int, n_leads: int, unknown: float) -> FloatArray:
        """Give each lead's first value, where it was seen before instant."""
        seen = np.flatnonzero(self.time < instant)[::-1]
        result = np.full(n_leads, unknown)
        result[self.lead[seen]] = self.value[seen]
        return result


@dataclass(frozen=True, slots=True)
class Leads:
    """
    All leads that a job looks at; arrays of shape (leads,) sorted by client and lead id.

    Columns that the database does not have are all unknown; `actions` is None where there is no such table.
    """

    clients: Clients
    client: IntArray  # index into clients
    owner: IntArray  # the client as read, which the pool's leads keep; index into owner_industry
    owner_industry: tuple[str | None, ...]
    id: Ids  # text when asked for one
    in_half: BoolArray  # by a hash of the id: the same half on every machine and in every run
    arrival: IntArray  # microseconds, the first contact; UNDATED where nothing tells
    last_contact: IntArray  # the row's timestamp; UNDATED where null
    urgency: Observations
    tone: Observations
    confidence: Observations
    contacts: Observations  # value unused: one entry a contact, the first included
    source: IntArray  # index into source_names, -1 unknown
    source_names: tuple[str, ...]
    intent: IntArray
    intent_names: tuple[str, ...]
    language: IntArray  # 0 en, 1 fr, -1 unknown
    tag: IntArray  # TAG_* code of current_tag
    outcome: IntArray  # OUTCOME_* code of outcome_status
    closed_at: IntArray  # client_closed_at, UNDATED where null
    lost_at: IntArray  # no_sale_at, UNDATED where null
    archived: BoolArray
    deleted: BoolArray
    last_change: IntArray  # the latest of last_updated and last contact: when the columns were surely as they are
    actions: Actions | None

    def __len__(self) -> int:
        return len(self.client)

    def arrived(self, start: int, end: int) -> BoolArray:
        """Mark the leads whose first contact lies in [start, end)."""
        return (self.arrival >= start) & (self.arrival < end)

    def in_contact_since(self, since: datetime | None) -> "Leads":
        """Keep the leads that a reading with this look-back would have read."""
        if since is None:
            return self
        # a last contact before all leads is a slip, such as a zero epoch: other signs tell when the lead came
        slip = self.last_contact < FIRST_LEAD
        return self.only(slip | (self.last_contact >= to_microseconds(since)))

    def only(self, keep: BoolArray) -> "Leads":
        """Keep some of the leads; the clients stay."""
        if keep.all():
            return self
        chosen = np.flatnonzero(keep)  # places, not a mask: every array is gone through once, and not twice
        within = rows_of(chosen, len(keep))
        seen: dict[tuple[int, int], tuple[IntArray, IntArray, IntArray]] = {}  # attributes are seen at the same times

        def observations(o: Observations) -> Observations:
            key = id(o.lead), id(o.time)
            if key not in seen:
                there, lead = within(o.lead)
                seen[key] = there, lead, o.time[there]
            place, lead, time = seen[key]
            return Observations(lead, time, o.value[place])

        actions = self.actions
        if actions is not None:
            actions = actions.only(*within(actions.lead))
        return replace(
            self,
            client=(client := self.client[chosen]),
            owner=client if self.owner is self.client else self.owner[chosen],
            id=self.id[chosen],
            in_half=self.in_half[chosen],
            arrival=self.arrival[chosen],
            last_contact=self.last_contact[chosen],
            urgency=observations(self.urgency),
            tone=observations(self.tone),
            confidence=observations(self.confidence),
            contacts=observations(self.contacts),
            source=self.source[chosen],
            intent=self.intent[chosen],
            language=self.language[chosen],
            tag=self.tag[chosen],
            outcome=self.outcome[chosen],
            closed_at=self.closed_at[chosen],
            lost_at=self.lost_at[chosen],
            archived=self.archived[chosen],
            deleted=self.deleted[chosen],
            last_change=self.last_change[chosen],
            actions=actions,
        )

    def of_clients(self, keep: BoolArray) -> "Leads":
        """
        Only the clients marked, shape (clients,), renumbered, and their leads.

        What is then computed does not tell, by the last digit of a sum, whether there were others before.
        """
        if keep.all():
            return self
        index = np.cumsum(keep) - 1
        part = self.only(keep[self.client])
        client = index[part.client]
        return replace(
            part,
            clients=self.clients.only(keep),
            client=client,
            owner=client if part.owner is part.client else index[part.owner],
            owner_industry=tuple(compress(self.owner_industry, keep)),
        )

    def pool(self) -> "Leads":
        """All pooled clients' leads as those of one client, whose id is None: what the global snapshot speaks of."""
        part = self.of_clients(self.clients.pooled)
        return replace(
            part,
            clients=EVERYONE,
            client=np.zeros(len(part), dtype=np.int64),
        )

    def per_client(self, mask: BoolArray) -> IntArray:
        """Count the marked leads of each client, shape (clients,)."""
        return np.bincount(self.client[mask], minlength=len(self.clients))

    def counts(self, codes: IntArray, n_codes: int, mask: BoolArray) -> IntArray:
        """Count codes 0..n_codes-1 by client among the marked leads, shape (clients, n_codes); -1 is left out."""
        used = mask & (codes >= 0)
        flat = self.client[used] * n_codes + codes[used]
        return np.bincount(flat, minlength=len(self.clients) * n_codes).reshape(len(self.clients), n_codes)

    def half(self) -> BoolArray:
        """Mark one half of the leads, which a check sets aside."""
        return self.in_half

    def intent_at(self, instant: int) -> IntArray:
        """Give each lead's intent; unknown where a contact at or after instant overwrote it (it has no history)."""
        overwritten = np.zeros(len(self), dtype=bool)
        overwritten[self.contacts.lead[self.contacts.time >= instant]] = True
        return np.where(overwritten, -1, self.intent)

    def tag_at(self, instant: int) -> IntArray:
        """
        Give each lead's TAG_* code as it stood at instant; TAG_CONVERTED also where conversion_outcome said so.

        Where a tag action follows instant, those before it tell, and before all of them there was no tag. Where none
        follows and the column is as the last one left it, that one tells. Where they differ the column was set by
        something unrecorded, and is taken to hold since that action or `last_change`, whichever is later.
        """
        a = self.actions
        if a is None:
            return np.where(self.last_change < instant, self.tag, TAG_NONE)
        deeds = a.deeds
        won, reverting = deeds.winning_by_tag, deeds.reverting
        last, later = self._last_action((deeds.kind == ACTION_TAG) | won | reverting, instant)
        left_at = np.where(reverting & (deeds.tag == TAG_CONVERTED), TAG_NONE, deeds.tag)
        acted = a.looked_up(np.where(won, TAG_CONVERTED, left_at), last, TAG_NONE)
        agrees = (self.tag == acted) | (self.tag == a.looked_up(deeds.tag, last, TAG_NONE))
        since = np.maximum(self.last_change, at_places(a.time, last, 0))
        return np.where(~later & ~agrees & (since < instant), self.tag, acted)

    def outcome_at(self, instant: int) -> IntArray:
        """
        Give each lead's OUTCOME_* code as it stood at instant, by the same rule as tag_at.

        client_closed_at and no_sale_at date the column where no action does, and none came later. A column that says
        closed since before the last revert is stale.
        """
        since = np.where(self.outcome == OUTCOME_CLIENT_CLOSED, self.closed_at, UNDATED)
        since = np.where(self.outcome == OUTCOME_NO_SALE, self.lost_at, since)
        stamped = since != UNDATED
        since = np.where(stamped, since, self.last_change)
        a = self.actions
        if a is None:
            return np.where(since < instant, self.outcome, OUTCOME_NONE)
        deeds = a.deeds
        won, reverting = deeds.winning_by_outcome, deeds.reverting
        last, later = self._last_action((deeds.kind == ACTION_OUTCOME_UPDATE) | reverting, instant)
        left_at = np.where(reverting, OUTCOME_NONE, deeds.outcome)
        acted = a.looked_up(np.where(won, OUTCOME_CLIENT_CLOSED, left_at), last, OUTCOME_NONE)
        agrees = (self.outcome == acted) | (self.outcome == a.looked_up(left_at, last, OUTCOME_NONE))
        acted_at = at_places(a.time, last, 0)
        stale = a.looked_up(reverting, last, 0).astype(bool) & (since <= acted_at)
        # a stamp from before the last action dates an earlier stay in that outcome, not what the column says since
        since = np.where(stamped & (since > acted_at), since, np.maximum(self.last_change, acted_at))
        return np.where(~later & ~agrees & ~stale & (since < instant), self.outcome, acted)

    def converted_at(self, instant: int) -> BoolArray:
        """Mark the leads that were customers at instant, archived and deleted ones included."""
        by_tag, by_outcome = self.tag_at(instant) == TAG_CONVERTED, self.outcome_at(instant) == OUTCOME_CLIENT_CLOSED
        result: BoolArray = by_tag | by_outcome
        return result

    def state_at(self, instant: int) -> IntArray:
        """
        Tell each lead's state as it stood at instant: OPEN, CONVERTED, LOST, ARCHIVED or DELETED.

        Tags and outcomes as tag_at and outcome_at tell them. The columns archived and deleted hold unless an action at
        or after instant set them; then the last such action before instant tells, and before all of them the lead
        was there.
        """
        tag, outcome = self.tag_at(instant), self.outcome_at(instant)
        state = np.full(len(self), OPEN, dtype=np.int64)
        state[(tag == TAG_LOST) | (outcome == OUTCOME_NO_SALE)] = LOST
        state[(tag == TAG_CONVERTED) | (outcome == OUTCOME_CLIENT_CLOSED)] = CONVERTED
        state[self._flag_at(self.archived, ACTION_ARCHIVE, instant) | (tag == TAG_ARCHIVED)] = ARCHIVED
        state[self._flag_at(self.deleted, ACTION_DELETE, instant) | (tag == TAG_DELETED)] = DELETED
        return state

    def deleted_at(self, instant: int) -> BoolArray:
        """Mark the leads that were deleted at instant, those that state_at calls DELETED, and ask for no more."""
        result = self._flag_at(self.deleted, ACTION_DELETE, instant)
        a = self.actions
        if (self.tag == TAG_DELETED).any() or (a is not None and (a.deeds.tag == TAG_DELETED).any()):
            result = result | (self.tag_at(instant) == TAG_DELETED)
        return result

    def _flag_at(self, column: BoolArray, setting: int, instant: int) -> BoolArray:
        a = self.actions
        if a is None:
            return column
        kind = a.deeds.kind
        last, later = self._last_action((kind == setting) | (kind == ACTION_REACTIVATE), instant)
        return np.where(later, a.looked_up(kind, last, ACTION_REACTIVATE) == setting, column)

    def _last_action(self, relevant: BoolArray, instant: int) -> tuple[IntArray, BoolArray]:
        """Find each lead's last action before instant of relevant deeds (its place, or -1), and whether one follows."""
        a = self.actions
        last, later = np.full(len(self), -1, dtype=np.int64), np.zeros(len(self), dtype=bool)
        if a is not None:
            k = np.flatnonzero(a.that(relevant))
            before = a.time[k] < instant
            last[a.lead[k[before]]] = k[before]  # of repeated indices, the last one stays
            later[a.lead[k[~before]]] = True
        return last, later

    def recorded(self, start: int, end: int) -> BoolArray:
        """Mark the leads whose client has any action on record before `end`, on leads that arrived in [start, end)."""
        owners = np.zeros(len(self.owner_industry), dtype=bool)
        if self.actions is not None:
            a = self.actions
            seen = a.lead[(a.time < end) & self.arrived(start, end)[a.lead]]
            owners[self.owner[seen]] = True
        return owners[self.owner]

    def engaged(self, instant: int, within_days: int, recorded: BoolArray) -> FloatArray:
        """
        Tell whether each lead was touched within some days of its arrival, as seen at instant: 1, 0 or NaN (unknown).

        Touched: an action other than its first insert, or a repeat contact. Unknown while a lead is younger than
        that and untouched, and where no actions are `recorded`.
        """
        # UNDATED plus a week would overflow; such a lead belongs to no window, so its deadline never matters.
        deadline = np.where(self.arrival == UNDATED, 0, self.arrival) + within_days * DAY
        touched = np.zeros(len(self), dtype=bool)
        if self.actions is not None:
            a = self.actions
            inserts = np.flatnonzero(a.that(a.deeds.kind == ACTION_INSERT))
            counts = (a.time < instant) & (a.time >= self.arrival[a.lead]) & (a.time <= deadline[a.lead])
            _, first = np.unique(a.lead[inserts], return_index=True)
            counts[inserts[first]] = False
            touched[a.lead[counts]] = True
        c = self.contacts
        repeat = (c.time < instant) & (c.time > self.arrival[c.lead]) & (c.time <= deadline[c.lead])
        touched[c.lead[repeat]] = True
        result = np.where(touched, 1.0, np.where(deadline <= instant, 0.0, np.nan))
        return np.where(recorded, result, np.nan)


@dataclass(frozen=True, slots=True)
class Windows:
    """The current and the previous window's ends in microseconds: [middle, end) and [start, middle)."""

    start: int
    middle: int
    end: int

    @classmethod
    def before(cls, as_of: datetime, days: int = WINDOW_DAYS) -> "Windows":
        """Lay the two windows back from as_of."""
        end = to_microseconds(as_of)
        return cls(end - 2 * days * DAY, end - days * DAY, end)

    def earlier(self, periods: int) -> "Windows":
        """Give the two windows as they lay that many windows ago: neighbours share one window."""
        away = periods * (self.end - self.middle)
        return Windows(self.start - away, self.middle - away, self.end - away)

    def current_json(self) -> dict[str, str]:
        """Write the current window as the snapshot shows it."""
        return {"from": from_microseconds(self.middle).isoformat(), "to": from_microseconds(self.end).isoformat()}
