"""The Olist marketing funnel as this worker's leads: eight thousand real ones, and which of them were won when."""

import csv
import hashlib
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import NamedTuple

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parent / "unit"))
from lead_rows import action, lead

from worker.leads import Clients
from worker.reading import arrange

OLIST = Path(__file__).resolve().parents[2] / "shared" / "data" / "olist_funnel"
LEADS_FILE, DEALS_FILE = "olist_marketing_qualified_leads_dataset.csv", "olist_closed_deals_dataset.csv"
FIRST, LAST = datetime(2018, 2, 1, tzinfo=UTC), datetime(2018, 10, 1, tzinfo=UTC)  # of nine monthly cut-offs
NOW = datetime(2018, 11, 15, tzinfo=UTC)  # the record ends the day before


class OlistLead(NamedTuple):
    """What is known of one lead: on arrival, and when it was won, if it was."""

    lead_id: str
    arrival: datetime
    origin: str
    page: str
    won: datetime | None


def _instant(text):
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


def read_olist(folder=OLIST):
    """Read the two files; FileNotFoundError where they are not there."""
    with (folder / DEALS_FILE).open(encoding="utf-8", newline="") as file:
        won = {deal["mql_id"]: _instant(deal["won_date"]) for deal in csv.DictReader(file)}
    with (folder / LEADS_FILE).open(encoding="utf-8", newline="") as file:
        return [
            OlistLead(
                row["mql_id"],
                _instant(row["first_contact_date"]),
                row["origin"] or "(blank)",
                f"page:{row['landing_page_id'][:8]}",
                won.get(row["mql_id"]),
            )
            for row in csv.DictReader(file)
        ]


def leads_of(n_clients, folder=OLIST):
    """All leads, of one client or of several by a hash of the id; a tag action wins them."""
    read = read_olist(folder)
    ids = tuple(f"00000000-0000-4000-8000-{number:012d}" for number in range(n_clients))
    rows = [
        lead(
            one.lead_id, one.arrival, ids[int(hashlib.sha256(one.lead_id.encode()).hexdigest(), 16) % n_clients],
            source=one.origin, intent=one.page, language=None, tag="Converted" if one.won else None,
        )
        for one in read
    ]  # fmt: skip
    actions = [action(one.lead_id, "tag", one.won, tag="Converted") for one in read if one.won]
    about = Clients(ids, ("en",) * n_clients, (None,) * n_clients, np.ones(n_clients, dtype=bool))
    return arrange(about, rows, actions)
