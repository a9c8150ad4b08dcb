"""When rows that are dated ahead of the clock begin to count, client by client."""

import pytest
from lead_rows import AS_OF, CLIENT_IDS, action, arranged, days_before, history, lead

from worker import watermark
from worker.leads import to_microseconds

END = to_microseconds(AS_OF)


@pytest.mark.parametrize(
    ("columns", "actions"),
    [
        ({"when": days_before(-3)}, []),
        ({"closed_at": days_before(-3)}, []),
        ({"no_sale_at": days_before(-3)}, []),
        ({"updated": days_before(-3)}, []),
        ({"urgency_history": history(("High", days_before(9)), ("Low", days_before(-3)))}, []),
        ({}, [action("a", "note_added", days_before(-3))]),
        ({}, [action("a", "insert", days_before(-3)), action("a", "tag", days_before(-8))]),
    ],
)
def test_every_date_of_a_row_counts(columns, actions):
    row = lead("a", columns.pop("when", days_before(9)), CLIENT_IDS[1], **columns)
    other = lead("b", days_before(1), CLIENT_IDS[0], no_sale_at=None)
    assert watermark.upcoming(arranged([row, other], actions, 3), END) == {
        CLIENT_IDS[1]: to_microseconds(days_before(-3))
    }
    assert watermark.upcoming(arranged([row, other], actions, 3), to_microseconds(days_before(-9))) == {}


def test_the_instant_itself_is_still_ahead():
    leads = arranged([lead("a", AS_OF)])
    assert watermark.upcoming(leads, END) == {CLIENT_IDS[0]: END}
    assert watermark.upcoming(leads, END + 1) == {}


def test_where_very_many_are_ahead_all_wait_for_the_first(monkeypatch):
    monkeypatch.setattr(watermark, "MOST_UPCOMING", 1)
    leads = arranged([lead("a", days_before(-3)), lead("b", days_before(-2), CLIENT_IDS[1])], (), 2)
    assert watermark.upcoming(leads, END) == {watermark.ANY_CLIENT: to_microseconds(days_before(-2))}
