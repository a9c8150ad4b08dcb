"""The rows of a company world: clients, lead_memory and lead_actions, with the habits of real databases."""

import json
import unicodedata
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from worker.simulate.habits import (
    CONFIDENCE_PRECISION,
    EXITS,
    FIRST_NAMES,
    INDUSTRIES,
    INTENT_SHARES,
    INTENTS,
    LAST_NAMES,
    OTHER_LANGUAGE_RATE,
    PHRASE_RATE,
    PLACES,
    REVERSION_REASONS,
    SOURCES,
    TAGS,
    TONE_FAMILIES,
    TONES,
    UNKNOWN_CONFIDENCE,
    UNKNOWN_TONE,
    UNKNOWN_URGENCY,
    URGENCIES,
    URGENCY_WORDS,
)
from worker.simulate.latent import Latent, Rates, draw_level


class ClientRow(NamedTuple):
    """A row of clients; the fields are the columns. The password is unusable and the key opens nothing."""

    id: str
    client_id: str
    business_name: str
    email: str
    api_key: str
    password_hash: str
    language: str
    industry_category: str
    email_tone: str
    is_test: bool
    is_internal: bool
    created_at: datetime


class LeadRow(NamedTuple):
    """A row of lead_memory as it stands at the world's as_of; histories are JSON text."""

    id: str
    client_id: str
    name: str
    email: str
    message: str
    language: str
    ai_summary: str
    intent: str | None
    tone: str | None
    urgency: str | None
    confidence_score: float | None
    current_tag: str | None
    source: str
    archived: bool
    deleted: bool
    is_test: bool
    tone_history: str
    urgency_history: str
    confidence_history: str
    timestamp: datetime
    last_updated: datetime
    outcome_status: str | None
    contacted_at: datetime | None
    client_closed_at: datetime | None
    no_sale_at: datetime | None


class ActionRow(NamedTuple):
    """A row of lead_actions."""

    id: str
    lead_id: str
    client_id: str
    action_type: str
    tag: str | None
    conversion_outcome: bool | None
    reversion_reason: str | None
    is_test: bool
    timestamp: datetime


def _draw_uuids(rng: np.random.Generator, n: int) -> list[str]:
    """Draw n version 4 UUIDs as text."""
    octets = np.frombuffer(rng.bytes(16 * n), dtype=np.uint8).reshape(n, 16).copy()
    octets[:, 6] = octets[:, 6] & 0x0F | 0x40
    octets[:, 8] = octets[:, 8] & 0x3F | 0x80
    digits = octets.tobytes().hex()
    return [
        f"{h[:8]}-{h[8:12]}-{h[12:16]}-{h[16:20]}-{h[20:]}" for h in (digits[i : i + 32] for i in range(0, 32 * n, 32))
    ]


def _ascii(text: str) -> str:
    """Lower-case letters, digits and dots of a name, for an address."""
    plain = unicodedata.normalize("NFKD", text.lower())
    return "".join(c for c in plain.replace(" ", "-") if c.isascii() and (c.isalnum() or c == "-"))


def client_rows(
    rng: np.random.Generator, rates: Rates, as_of: datetime, days: int, n_clients: int, *, special_clients: bool
) -> list[ClientRow]:
    """Write the clients; the last two of ten or more may be the internal and a test client."""
    ids, public_ids, keys = (_draw_uuids(rng, n_clients) for _ in range(3))
    with_special = special_clients and n_clients >= 10
    created_at = as_of - timedelta(days=days + 1)
    rows: list[ClientRow] = []
    names_given = len(INDUSTRIES) * len(PLACES)
    for i in range(n_clients):
        french = bool(rates.french[i])
        industry, place = INDUSTRIES[i % len(INDUSTRIES)], PLACES[i % len(PLACES)]  # 7 and 11 share no factor
        name = f"{industry[3]} {place[1]}" if french else f"{place[0]} {industry[2]}"
        is_internal, is_test = with_special and i == n_clients - 2, with_special and i == n_clients - 1
        if is_internal or is_test:
            name = "House account" if is_internal else "Test company"
        elif i >= names_given:
            name = f"{name} {i // names_given + 1}"
        rows.append(
            ClientRow(
                id=ids[i],
                client_id=public_ids[i],
                business_name=name,
                email=f"hello@{_ascii(name)}-{i + 1}.example",
                api_key=f"demo_{keys[i].replace('-', '')}",
                password_hash="!",  # noqa: S106 - no password has this hash: nobody can log in
                language="fr" if french else "en",
                industry_category=industry[1] if french else industry[0],
                email_tone=("Friendly", "Professional", "Formal")[i % 3],
                is_test=is_test,
                is_internal=is_internal,
                created_at=created_at,
            )
        )
    return rows


@dataclass(slots=True)
class _Story:
    """One lead on its way through time: the actions so far and the state they leave."""

    arrival: datetime
    age: float  # days at as_of
    as_of: datetime
    actions: list[tuple[str, str | None, bool | None, str | None, datetime]] = field(default_factory=list)
    tag: str | None = None
    outcome: str | None = None
    stamps: dict[str, datetime] = field(default_factory=dict)
    archived: bool = False
    deleted: bool = False

    def act(
        self, after: float, action_type: str, tag: str | None, outcome: bool | None = None, reason: str | None = None
    ) -> datetime | None:
        """Record an action so many days after arrival, unless that is not before as_of; say when it was."""
        if after >= self.age:
            return None
        # At least a second after arrival, so that the order of the actions is the order of their stamps.
        when = self.arrival + timedelta(seconds=int(after * 86400.0) + (after > 0.0))
        if when >= self.as_of:
            return None
        self.actions.append((action_type, tag, outcome, reason, when))
        return when


def lead_rows(
    rng: np.random.Generator, latent: Latent, rates: Rates, clients: list[ClientRow], as_of: datetime
) -> tuple[list[LeadRow], list[ActionRow]]:
    """Write each lead as it stands at as_of, and the actions that led there."""
    n = len(latent.client)
    ids = _draw_uuids(rng, n)
    names = [np.array([len(group[0]), len(group[1])]) for group in (FIRST_NAMES, LAST_NAMES)]
    origin = latent.origin  # a lead recorded again says what the first record says
    french = rates.french[latent.client] ^ (rng.random(n) < OTHER_LANGUAGE_RATE)[origin]
    french_index = french.astype(np.int64)
    first, last = (rng.integers(0, sizes[french_index])[origin].tolist() for sizes in names)
    intent = rng.choice(len(INTENTS), n, p=INTENT_SHARES)[origin].tolist()
    # What a lead says at first contact and at a repeat contact; both have the client's own shares.
    urgency = _first_and_repeat(rng, latent.urgency, draw_level(rng, rates.urgency[latent.client, latent.epoch]))
    tone = _first_and_repeat(rng, latent.tone, draw_level(rng, rates.tone[latent.client, latent.epoch]))
    mean = rates.confidence[latent.client, latent.epoch]
    confidence = [
        np.round(rng.beta(mean * CONFIDENCE_PRECISION, (1 - mean) * CONFIDENCE_PRECISION), 2).tolist() for _ in range(2)
    ]
    confidence = _first_and_repeat(rng, np.array(confidence[0])[origin], np.array(confidence[1]))
    known = [(rng.random(n) >= rate)[origin].tolist() for rate in (UNKNOWN_URGENCY, UNKNOWN_TONE, UNKNOWN_CONFIDENCE)]
    phrase = (rng.random(n) < PHRASE_RATE)[origin].tolist()
    second_tone = rng.integers(0, len(TONE_FAMILIES), n)[origin].tolist()
    word = rng.integers(0, 60, n)[origin].tolist()
    shape = rng.random(n).tolist()
    later_touches = rng.poisson(0.8, n).tolist()
    gaps = rng.exponential(4.0, (n, 4)).tolist()
    by_outcome = latent.by_outcome.tolist()
    end = np.minimum(latent.conversion, latent.exit)
    converted, exited = (latent.conversion <= latent.exit).tolist(), (latent.exit < latent.conversion).tolist()
    columns = zip(
        latent.client.tolist(),
        latent.arrival.tolist(),
        latent.source.tolist(),
        latent.touch.tolist(),
        latent.repeat.tolist(),
        end.tolist(),
        latent.exit_kind.tolist(),
        latent.reversion.tolist(),
        latent.is_test.tolist(),
        french_index.tolist(),
        strict=True,
    )
    leads: list[LeadRow] = []
    actions: list[tuple[Any, ...]] = []
    for i, (client, age, source, touch, repeat, ends, exit_kind, reversion, is_test, fr) in enumerate(columns):
        arrival = as_of - timedelta(seconds=max(int(age * 86400.0), 2))
        company = clients[client]
        story = _Story(arrival, age, as_of)
        fr_client = int(company.language == "fr")
        story.act(0.0, "insert", TAGS["new"][fr_client])
        repeated = story.act(repeat, "insert", TAGS["new"][fr_client]) if repeat < ends else None
        if touch < ends and story.act(touch, "tag", TAGS["contacted"][fr_client]):
            story.tag = TAGS["contacted"][fr_client]
            after = touch
            for gap in gaps[i][: later_touches[i]]:
                after += gap
                kind = "high" if word[i] % 5 == 0 else "follow_up"
                if after >= ends or not story.act(after, "tag", TAGS[kind][fr_client]):
                    break
                story.tag = TAGS[kind][fr_client]
        if converted[i]:
            _convert(story, ends, reversion, fr_client, by_outcome=by_outcome[i])
        elif exited[i]:
            _leave(story, ends, EXITS[exit_kind], fr_client, by_outcome=by_outcome[i])

        said: list[list[Any]] = []
        for position, (family, names_of) in enumerate(((urgency, URGENCY_WORDS), (tone, TONES))):
            levels = URGENCIES if position == 0 else TONE_FAMILIES
            texts: list[Any] = []
            for contact in range(1 if repeated is None else 2):
                choices = names_of[levels[family[contact][i]]][fr]
                text = choices[word[i] % len(choices)]
                if position == 1 and phrase[i]:
                    text += (" et " if fr else " and ") + TONES[TONE_FAMILIES[second_tone[i]]][fr][0].lower()
                texts.append(text)
            said.append(texts if known[position][i] else [])
        said.append([confidence[c][i] for c in range(1 if repeated is None else 2)] if known[2][i] else [])

        contacts = [arrival] if repeated is None else [arrival, repeated]
        full_name = f"{FIRST_NAMES[fr][first[i]]} {LAST_NAMES[fr][last[i]]}"
        if is_test:
            full_name = "Test Lead"
        asked = INTENTS[intent[i]][fr]
        leads.append(
            LeadRow(
                id=ids[i],
                client_id=company.client_id,
                name=full_name,
                email=f"{_ascii(full_name)}.{ids[origin[i]][:8]}@example.com",
                message=f"Bonjour, {asked.lower()}." if fr else f"Hello, this is a {asked.lower()}.",
                language="fr" if fr else "en",
                ai_summary=f"{full_name} : {asked.lower()}" if fr else f"{full_name}: {asked.lower()}",
                intent=asked,
                urgency=said[0][-1] if said[0] else None,
                tone=said[1][-1] if said[1] else None,
                confidence_score=said[2][-1] if said[2] else None,
                current_tag=story.tag,
                source=SOURCES[source],
                archived=story.archived,
                deleted=story.deleted,
                is_test=is_test,
                urgency_history=_history(said[0], contacts, shape[i]),
                tone_history=_history(said[1], contacts, shape[i]),
                confidence_history=_history(said[2], contacts, shape[i]),
                timestamp=contacts[-1],
                last_updated=max([contacts[-1], *story.stamps.values()]),
                outcome_status=story.outcome,
                contacted_at=story.stamps.get("contacted"),
                client_closed_at=story.stamps.get("client_closed"),
                no_sale_at=story.stamps.get("no_sale"),
            )
        )
        actions.extend((ids[i], company.client_id, *done[:4], is_test, done[4]) for done in story.actions)
    action_ids = _draw_uuids(rng, len(actions))
    return leads, [ActionRow(action_id, *action) for action_id, action in zip(action_ids, actions, strict=True)]


def _first_and_repeat(rng: np.random.Generator, first: NDArray[Any], fresh: NDArray[Any]) -> list[list[Any]]:
    """Return the values at first contact and at a repeat: mostly the same, else a fresh draw, so shares are kept."""
    return [first.tolist(), np.where(rng.random(len(first)) < 0.6, first, fresh).tolist()]


def _convert(story: _Story, after: float, reversion: float, fr: int, *, by_outcome: bool) -> None:
    """Make the lead a customer, by a tag or by an outcome, and undo it later if that is in its stars."""
    if by_outcome:
        if when := story.act(after, "outcome_update", "client_closed"):
            story.outcome = "client_closed"
            story.stamps["client_closed"] = when
        return
    tag = TAGS["converted"][fr]
    if not story.act(after, "tag", tag, outcome=True):
        return
    story.tag = tag
    tag = TAGS["active"][fr]
    if story.act(after + reversion, "tag", tag, outcome=False, reason=REVERSION_REASONS[fr]):
        story.tag = tag


def _leave(story: _Story, after: float, kind: str, fr: int, *, by_outcome: bool) -> None:
    """Take the lead out of the open ones without a sale."""
    if kind == "archive":
        story.archived = story.act(after, "archive", None) is not None
    elif kind == "delete":
        story.deleted = story.act(after, "delete", None) is not None
    elif by_outcome:
        if when := story.act(after, "outcome_update", "no_sale"):
            story.outcome = "no_sale"
            story.stamps["no_sale"] = when
    elif story.act(after, "tag", TAGS["lost"][fr]):
        story.tag = TAGS["lost"][fr]


def _history(values: list[Any], contacts: list[datetime], shape: float) -> str:
    """Write a history as the application does, and now and then as its older scripts did."""
    if not values or shape < 0.02:
        return "[]"
    if shape < 0.04:
        return json.dumps(values, ensure_ascii=False)  # bare values
    text = json.dumps(
        [
            {"value": value, "timestamp": when.replace(tzinfo=None).isoformat(timespec="milliseconds") + "Z"}
            for value, when in zip(values, contacts, strict=True)
        ],
        ensure_ascii=False,
    )
    return json.dumps(text, ensure_ascii=False) if shape < 0.05 else text  # a JSON string that contains a list
