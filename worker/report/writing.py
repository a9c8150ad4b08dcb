"""Makes the reports: decides past claims once, reads clients in blocks, and writes a page for each and one for all."""

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import quote

from psycopg import Connection

from worker.accuracy import resolve_past
from worker.calendar import end_of_day, local_day
from worker.database.catalogue import Catalogue
from worker.database.inspection import require_ready
from worker.database.pool import Database
from worker.jobs.finding import Json
from worker.reading import read_lead_names
from worker.report.arrange import arrange, line_of
from worker.report.extra import ensure_extra
from worker.report.files import INDEX, file_name, prepare_folder, write_page
from worker.report.page import Line, Page
from worker.report.reading import (
    Client,
    Holdings,
    Span,
    lead_ids_of,
    read_holdings,
    read_pattern_day,
    read_report_clients,
    read_reviewed_at,
)
from worker.report.record import Record, client_records, pool_record
from worker.review.resolved import Resolved
from worker.settings import Settings
from worker.stopping import ensure_not_stopping

CLIENTS_AT_ONCE = 50  # with a year of snapshots each, some 20 MB
DAYS_BACK = 365  # that a report looks back on unless told otherwise

Progress = Callable[[str, int, int], None]


@dataclass(frozen=True, slots=True)
class Order:
    """
    What is to be written, and where.

    clients : only these, by client_id; empty: every client, and the page over all. index : write that page also where
    only some clients have one. target : a folder, or
    with a single client a file that ends in .html. first, last : the days between which snapshots are looked at (None:
    a year, and now). language : of all pages; None: each client's own. names : whether open leads are named.
    """

    target: Path
    clients: frozenset[str] = frozenset()
    first: date | None = None
    last: date | None = None
    language: str | None = None
    names: bool = False
    index: bool = False

    @property
    def with_index(self) -> bool:
        """Whether the page over all clients is written."""
        return self.index or not self.clients

    def looks_at(self, client: Client) -> bool:
        """Whether a client is read: for its own page, or for its line among all."""
        return self.with_index or client.client_id in self.clients

    def wants(self, client: Client) -> bool:
        """Whether a client gets a page."""
        return not self.clients or client.client_id in self.clients


@dataclass(slots=True)
class Reports:
    """What was written."""

    folder: Path
    as_of: datetime
    index: Path | None = None
    pages: list[dict[str, Json]] = field(default_factory=list)  # client_id, path, bytes, language
    seconds: float = 0.0

    def as_json(self) -> dict[str, Json]:
        """Give the document that `report --json` prints; keys are only ever added."""
        return {
            "kind": "report",
            "as_of": self.as_of.isoformat(),
            "folder": str(self.folder),
            "index": None if self.index is None else str(self.index),
            "pages": self.pages,
            "seconds": round(self.seconds, 3),
        }

    def __str__(self) -> str:
        """Say it in a few lines."""
        if self.index is None and len(self.pages) == 1:
            return f"Wrote {self.pages[0]['path']} in {self.seconds:.1f} s."
        n = len(self.pages)
        head = "" if self.index is None else f"Wrote {self.index}\n"
        return f"{head}Wrote {n} page{'' if n == 1 else 's'} of clients into {self.folder} in {self.seconds:.1f} s."


def write_reports(
    database: Database,
    settings: Settings,
    order: Order,
    now: datetime,
    *,
    past: Resolved | None = None,
    progress: Progress = lambda *_: None,
) -> Reports:
    """
    Write the pages that were ordered; reads only.

    past : the claims decided as of now, where they are at hand. Raises ConfigurationError for a client that there is
    not, or without the extra; DatabaseShapeError when the database is not as needed; WorkerError where a file cannot be
    written (the pages written before it stay).
    """
    ensure_extra()
    started = time.monotonic()
    span = _span(order, settings, now)
    catalogue = require_ready(database)
    if past is None:
        reviewed_at = database.retrying(lambda conn: read_reviewed_at(conn, span), read_only=True)
        _, past = resolve_past(database, catalogue, reviewed_at or span.until, order.clients)
    desk = _Desk(database, settings, catalogue, order, span)
    prepare_folder(desk.folder)
    clients = database.retrying(lambda conn: read_report_clients(conn, catalogue), read_only=True)
    reports = Reports(desk.folder, span.until)
    lines = desk.write_clients([client for client in clients if order.looks_at(client)], past, reports, progress)
    if order.with_index:
        reports.index = desk.write_index(*pool_record(past), lines, reports)
    reports.seconds = time.monotonic() - started
    return reports


def _span(order: Order, settings: Settings, now: datetime) -> Span:
    here = now.astimezone(settings.timezone)
    until = here if order.last is None else min(here, end_of_day(order.last, settings.timezone))
    first = order.first or (until.date() - timedelta(days=DAYS_BACK))
    return Span(end_of_day(first - timedelta(days=1), settings.timezone), until, first.isoformat(), local_day(until))


def _blocks(clients: Sequence[Client]) -> Iterator[Sequence[Client]]:
    for start in range(0, len(clients), CLIENTS_AT_ONCE):
        yield clients[start : start + CLIENTS_AT_ONCE]


@dataclass(frozen=True, slots=True)
class _Desk:
    """Where pages are made: what all of them have in common."""

    database: Database
    settings: Settings
    catalogue: Catalogue
    order: Order
    span: Span

    @property
    def folder(self) -> Path:
        """Where the files go."""
        return self.order.target.parent if self.order.target.suffix == ".html" else self.order.target

    def write_clients(
        self, clients: Sequence[Client], past: Resolved, reports: Reports, progress: Progress
    ) -> list[Line]:
        """Write the pages of clients, in blocks, and give a line of each for the page over all."""
        records = client_records(past, [str(client.client_id) for client in clients])
        lines: list[Line] = []
        for block in _blocks(clients):
            for page in self.pages(block, records):
                ensure_not_stopping()
                if self.order.wants(page.client):
                    reports.pages.append(self.write(page))
                lines.append(line_of(page))
                progress("report", len(lines), len(clients))
        return lines

    def pages(self, clients: Sequence[Client], records: Mapping[str, Record]) -> Iterator[Page]:
        """Read a block of clients in one transaction, and arrange each."""
        holdings, names, pattern_day = self.database.retrying(lambda conn: self._read(conn, clients), read_only=True)
        for each in holdings:
            record = records.get(str(each.client.client_id))
            yield arrange(each, record, names, pattern_day=pattern_day, now=self.span.until)

    def _read(
        self, conn: Connection[Any], clients: Sequence[Client]
    ) -> tuple[list[Holdings], dict[str, str], str | None]:
        holdings = read_holdings(conn, self.catalogue, clients, self.span)
        names = read_lead_names(conn, self.catalogue, lead_ids_of(holdings)) if self.order.names else {}
        return holdings, names, read_pattern_day(conn, self.span)

    def write(self, page: Page) -> dict[str, Json]:
        """Write a client's page."""
        from worker.report.render import render_client  # noqa: PLC0415 - Jinja2 and matplotlib, once a page is made

        stored = page.client.language or self.settings.language
        language = self.order.language or stored
        single = self.order.target.suffix == ".html"
        path = self.order.target if single else self.folder / file_name(str(page.client.client_id))
        size = write_page(path, render_client(page, self._words(language), stored))
        return {"client_id": page.client.client_id, "path": str(path), "bytes": size, "language": language}

    def write_index(self, record: Record, sums: list[dict[str, Any]], lines: Sequence[Line], reports: Reports) -> Path:
        """Write the page over all clients."""
        from worker.report.render import Listed, render_operator  # noqa: PLC0415 - as above

        (page,) = self.pages([Client(None)], {"None": record})
        written = {each["client_id"] for each in reports.pages}
        listed = [
            Listed(line, quote(file_name(str(line.client.client_id))) if line.client.client_id in written else None)
            for line in lines
        ]
        stored = self.settings.language
        path = self.folder / INDEX
        write_page(path, render_operator(page, listed, sums, self._words(self.order.language or stored), stored))
        return path

    def _words(self, language: str) -> Any:
        from worker.report.words import Words  # noqa: PLC0415 - Babel

        return Words(language, self.settings.timezone)
