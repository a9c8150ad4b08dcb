"""What --as-of yesterday and today mean: local days, as whole as they are by now."""

from datetime import datetime
from zoneinfo import ZoneInfo

import click
import pytest

from worker.calendar import local_day
from worker.commands.options import parse_as_of

TORONTO, SYDNEY = ZoneInfo("America/Toronto"), ZoneInfo("Australia/Sydney")


@pytest.mark.parametrize(
    ("zone", "now", "midnight"),
    [
        (TORONTO, "2026-03-31T03:10:00-04:00", "2026-03-31T00:00:00-04:00"),
        (TORONTO, "2026-03-31T01:00:00+00:00", "2026-03-30T00:00:00-04:00"),  # in Toronto it is the 30th still
        (SYDNEY, "2026-03-31T20:00:00+00:00", "2026-04-01T00:00:00+11:00"),  # and in Sydney the 1st already
        (TORONTO, "2026-03-09T03:10:00-04:00", "2026-03-09T00:00:00-04:00"),  # yesterday had 23 hours
        (TORONTO, "2026-11-02T03:10:00-05:00", "2026-11-02T00:00:00-05:00"),  # and here 25
        (ZoneInfo("UTC"), "2026-03-31T00:00:00+00:00", "2026-03-31T00:00:00+00:00"),
    ],
)
def test_yesterday_ends_at_the_last_local_midnight(zone, now, midnight):
    as_of = parse_as_of("yesterday", zone, datetime.fromisoformat(now))
    assert as_of == datetime.fromisoformat(midnight)
    assert as_of == parse_as_of(local_day(as_of), zone, datetime.fromisoformat(now))  # as the date itself is read


def test_today_is_looked_back_on_from_now():
    now = datetime.fromisoformat("2026-03-31T15:00:00-04:00")
    assert parse_as_of("today", TORONTO, now) == now


@pytest.mark.parametrize("text", ["tomorrow", "Yesterday", "yesterday 03:00", ""])
def test_other_words_are_no_dates(text):
    with pytest.raises(click.BadParameter, match="neither a date"):
        parse_as_of(text, TORONTO, datetime.fromisoformat("2026-03-31T15:00:00-04:00"))
