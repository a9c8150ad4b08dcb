"""Says what the worker does not know of a client: what was missing, what is too little, what is not over yet."""

from collections.abc import Iterator

from worker.report.page import Page
from worker.report.record import Record
from worker.report.words import Words

FEW_LEADS = 30  # in a window; fewer say little by themselves


def unknowns(page: Page, words: Words) -> list[str]:
    """List it in sentences; empty where nothing is left open."""
    return [*_of_the_data(page, words), *_of_what_came(page, words)]


def _of_the_data(page: Page, words: Words) -> Iterator[str]:
    if page.stale_days:
        yield words.say("unknown.stale", page.stale_days)
    if page.score is not None:
        leads = page.score.now.leads
        if leads is not None and leads < FEW_LEADS:
            yield words.say("unknown.few", int(leads))
        if page.score.before is None:
            yield words.say("unknown.before")
    if page.urgency is not None and page.urgency.counts["unknown"]:
        total = sum(page.urgency.counts.values())
        yield words.say("unknown.urgency", page.urgency.counts["unknown"], total=words.number(total))
    if page.tone is not None and page.tone.unknown:
        yield words.say("unknown.tone", page.tone.unknown, total=words.number(page.tone.known + page.tone.unknown))


def _of_what_came(page: Page, words: Words) -> Iterator[str]:
    arrivals = page.forecast.arrivals if page.forecast is not None else None
    if arrivals is not None:
        expected = words.number(arrivals.estimate)
        yield words.say("unknown.arrivals", count=expected, range=words.span(arrivals.low, arrivals.high))
    if page.undated:
        yield words.say("unknown.undated", page.undated)
    if page.record is not None:
        yield from _of_the_record(page.record, words)


def _of_the_record(record: Record, words: Words) -> Iterator[str]:
    pending, void = int(record.overall["pending"]), int(record.overall["void"])
    if pending:
        text = words.say("unknown.pending", pending)
        due = record.next_due
        yield text if due is None else f"{text} {words.say('unknown.next', date=words.long_day(due))}"
    if void:
        yield words.say("unknown.void", void)
    if not record.overall["resolved"]:
        yield words.say("unknown.record")
