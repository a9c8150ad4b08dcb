"""A simulated database as it stood at an instant: later rows are gone, later changes of columns undone."""

import json
from dataclasses import replace
from datetime import datetime


def undone(world, cut):
    """
    Take back everything that happened at or after cut, with the help of the histories and the actions.

    An intent that a later contact overwrote is gone: nothing tells what it was.
    """
    actions = [row for row in world.actions if row.timestamp < cut]
    by_lead = {}
    for row in world.actions:
        by_lead.setdefault(row.lead_id, []).append(row)
    leads = [_lead_at(row, by_lead.get(row.id, []), cut) for row in world.leads]
    leads = [row for row in leads if row is not None]
    there = {row.id for row in leads}
    return replace(world, leads=leads, actions=[row for row in actions if row.lead_id in there])


def _lead_at(row, actions, cut):
    n_contacts = sum(action.timestamp < cut for action in actions if action.action_type == "insert")
    histories = [
        entries_before(text, cut, max(n_contacts, 1))
        for text in (row.urgency_history, row.tone_history, row.confidence_history)
    ]
    stamps = [datetime.fromisoformat(entry["timestamp"]) for history in histories for entry in history if dated(entry)]
    stamps += [row.timestamp] if row.timestamp < cut else []
    stamps += [action.timestamp for action in actions if action.timestamp < cut and action.action_type == "insert"]
    if not stamps:
        return None
    before = sorted((action for action in actions if action.timestamp < cut), key=lambda action: action.timestamp)
    later = {action.action_type for action in actions if action.timestamp >= cut}

    def last(kinds):
        found = [action for action in before if action.action_type in kinds]
        return found[-1] if found else None

    changes = {}
    if row.timestamp >= cut:
        names = ("urgency", "tone", "confidence_score")
        changes = {name: value_of(history[-1]) if history else None
                   for name, history in zip(names, histories, strict=True)} | {"intent": None}  # fmt: skip
        changes["timestamp"] = max(stamps)
    if "tag" in later:
        tagged = last(("tag",))
        changes["current_tag"] = tagged.tag if tagged else None
    if "outcome_update" in later:
        updated = last(("outcome_update",))
        changes["outcome_status"] = updated.tag if updated else None
    for flag, kind in (("archived", "archive"), ("deleted", "delete")):
        if kind in later:
            decided = last((kind, "reactivate"))
            changes[flag] = decided is not None and decided.action_type == kind
    for name in ("contacted_at", "client_closed_at", "no_sale_at"):
        if getattr(row, name) is not None and getattr(row, name) >= cut:
            changes[name] = None
    changes["last_updated"] = max([*stamps, *(action.timestamp for action in before)])
    if row.timestamp >= cut:
        names = ("urgency_history", "tone_history", "confidence_history")
        changes |= {name: json.dumps(history) for name, history in zip(names, histories, strict=True)}
    return row._replace(**changes)


def value_of(entry):
    return entry.get("value") if isinstance(entry, dict) else entry


def dated(entry):
    return isinstance(entry, dict) and isinstance(entry.get("timestamp"), str)


def entries_before(text, cut, n_contacts):
    """Give a history's entries as they were then; some are encoded twice, or without dates: then one a contact."""
    found = json.loads(text or "[]")
    found = json.loads(found) if isinstance(found, str) else found
    if not all(map(dated, found)):
        return found[:n_contacts]
    return [entry for entry in found if datetime.fromisoformat(entry["timestamp"]) < cut]
