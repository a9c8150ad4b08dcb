"""What the application recorded of conversions' values orders the most promising leads; junk and later rows do not."""

from datetime import UTC, datetime

import numpy as np
import pytest
from psycopg.types.json import Jsonb
from support import run_worker

from worker.demo_data import load_world
from worker.simulate import company_world

AS_OF = datetime(2025, 3, 1, tzinfo=UTC)


@pytest.fixture
def told(database_url, connect, worker_url):
    """Write rows as the application does (no period_key); give each client's most promising leads by client_id."""
    with connect(database_url) as conn:
        load_world(conn, company_world(np.random.default_rng(8), AS_OF, 4, 150, special_clients=False))
        won = conn.execute(
            "SELECT DISTINCT ON (client_id) client_id::text, lead_id::text, timestamp FROM lead_actions"
            " WHERE tag IN ('Converted', 'Converti') AND timestamp < %s ORDER BY client_id, timestamp",
            (AS_OF,),
        ).fetchall()

    def listed(*rows):
        with connect(database_url) as conn:
            conn.execute("DELETE FROM growth_brain")
            for client_id, lead_id, value, when in rows:
                conn.execute(
                    "INSERT INTO growth_brain (client_id, event_type, learning_snapshot, insight_text, confidence,"
                    " created_at) VALUES (%s, 'conversion', %s, 'x', 0.9, %s)",
                    (client_id, Jsonb({"lead_id": lead_id, "conversion_value": value}), when),
                )
        outcome = run_worker(worker_url, "conversion_prediction", "--as-of", AS_OF.isoformat(), "--dry-run")
        assert outcome.code == 0, outcome.err
        return {line["client_id"]: line["learning_snapshot"]["high_value_leads"] for line in outcome.json_lines}

    return won, listed


def test_values_of_the_application(told):
    won, listed = told
    (client, lead_id, when), (_, other_lead, other_when), *_ = won
    plain = listed()
    assert all(lead["estimated_value"] is None for leads in plain.values() for lead in leads)
    worth = listed(
        (None, lead_id, 1200, when),
        (client, other_lead + "x", "800.0", when),
        (None, other_lead, "a lot", other_when),
        (client, lead_id, 1e9, AS_OF),
    )
    assert {lead["estimated_value"] for lead in worth[client]} == {1000.0}
    assert [lead["lead_id"] for lead in worth[client]] == [lead["lead_id"] for lead in plain[client]]
    assert worth[client][0]["expected_value"] == pytest.approx(1000.0 * worth[client][0]["probability"])
    others = [leads for client_id, leads in worth.items() if client_id not in (client, None)]
    assert others
    assert all(lead["estimated_value"] is None for leads in others for lead in leads)
    assert worth[None] == worth[client]  # the only ones with a value, which come first
