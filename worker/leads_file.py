"""
Reads a CSV file of one's own leads, row by row: columns by name, bad rows named with their line and reason, good ones
turned into rows of clients, lead_memory and lead_actions. What the file does not say stays null.
"""

import codecs
import csv
import difflib
import hashlib
import io
import math
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, time, tzinfo
from pathlib import Path
from typing import NamedTuple
from uuid import UUID, uuid5

from worker.errors import LeadsFileError
from worker.vocabulary import TAG_CONVERTED, fold, language_code, tag_code

# The columns we read, each with the names it goes by in files (in order of preference).
COLUMNS: dict[str, tuple[str, ...]] = {
    "id": ("id", "lead_id"),
    "client": ("client", "client_id"),
    "business_name": ("business_name",),
    "name": ("name",),
    "email": ("email",),
    "urgency": ("urgency",),
    "tone": ("tone",),
    "intent": ("intent",),
    "source": ("source",),
    "language": ("language",),
    "confidence_score": ("confidence_score",),
    "current_tag": ("current_tag",),
    "timestamp": ("timestamp", "created_at", "date"),
    "converted_at": ("converted_at",),
    "outcome_status": ("outcome_status",),
    "industry_category": ("industry_category",),
    "archived": ("archived",),
    "deleted": ("deleted",),
}
OUTCOMES = ("contacted", "meeting_booked", "client_closed", "no_sale")
DELIMITERS = ",;\t|"
# The root of every id we derive, so that the same file gives the same ids on every machine.
NAMESPACE = UUID("8f0c0c5e-6f43-5d0e-9a3b-6a1f3f6f0f4e")
ORIGIN_VERSION = 1  # raise it when the same file would load as other rows
LARGEST_CELL = 2**31 - 1  # characters; the csv module's own limit of 131,072 would refuse a long summary
EXCERPT = 60  # characters of a bad cell shown in its reason

_BLANK = frozenset(("", "null", "none", "nan", "nat", "n/a", "-"))  # in dates, numbers and flags, not in texts
_YES = frozenset(("true", "t", "yes", "y", "1", "oui", "o", "vrai"))
_NO = frozenset(("false", "f", "no", "n", "0", "non", "faux"))
_UUID = re.compile(r"[0-9a-fA-F]{32}|[0-9a-fA-F]{8}(?:-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}")


@dataclass(frozen=True, slots=True)
class BadRow:
    """A row that was left out: the line of the file it begins on (the header is line 1) and why."""

    line_number: int
    reason: str


class FileClient(NamedTuple):
    """A row of clients; nobody can log in as it. The fields are the columns."""

    id: str
    client_id: str
    business_name: str
    email: str
    api_key: str
    password_hash: str
    language: str
    industry_category: str | None


class FileLead(NamedTuple):
    """A row of lead_memory."""

    id: str
    client_id: str
    name: str
    email: str
    urgency: str | None
    tone: str | None
    intent: str | None
    source: str | None
    language: str | None
    confidence_score: float | None
    current_tag: str | None
    outcome_status: str | None
    archived: bool
    deleted: bool
    timestamp: datetime
    last_updated: datetime


class FileAction(NamedTuple):
    """A row of lead_actions."""

    id: str
    lead_id: str
    client_id: str
    action_type: str
    tag: str | None
    conversion_outcome: bool | None
    timestamp: datetime


@dataclass(frozen=True, slots=True)
class GoodRow:
    """One lead of the file with its client (the same object for all of a client's rows) and its actions."""

    line_number: int
    client: FileClient
    lead: FileLead
    actions: tuple[FileAction, ...]


class _BadCellError(ValueError):
    """A cell cannot be understood; its text is the reason of the BadRow."""


@dataclass(frozen=True, slots=True)
class LeadsFile:
    """
    An opened file: what it is, which of its columns we use, and its rows on demand (each `rows()` reads it anew).

    columns maps our column to the position in the file; origin is a digest of the content and of everything that
    decides what is read from it.
    """

    path: Path
    header: tuple[str, ...]
    columns: Mapping[str, int]
    delimiter: str
    timezone: tzinfo
    language: str
    clients: int | None
    origin: str

    @property
    def unused(self) -> tuple[str, ...]:
        """Give the names of the file's columns that are not read."""
        used = set(self.columns.values())
        return tuple(name for position, name in enumerate(self.header) if name and position not in used)

    def rows(self) -> Iterator[GoodRow | BadRow]:
        """
        Read the file from its first row to its last, one object a row.

        Memory holds one row at a time, the clients, and sixteen bytes of every id, to find duplicates.
        """
        csv.field_size_limit(LARGEST_CELL)
        reading = _Reading(self)
        with self.path.open(encoding="utf-8-sig", newline="") as text:
            # strict: a quote that is never closed is an error, not a cell that swallows the rest of the file.
            cells = csv.reader(text, delimiter=self.delimiter, strict=True)
            next(cells)
            while True:
                line_number = cells.line_num + 1  # a row begins after the last physical line of the one before it
                try:
                    row = next(cells)
                except StopIteration:
                    return
                except csv.Error as exc:
                    yield BadRow(line_number, _quoting_problem(exc, line_number, cells.line_num))
                    continue
                if not any(cell.strip() for cell in row):
                    continue
                try:
                    yield reading.read(row, line_number)
                except _BadCellError as exc:
                    yield BadRow(line_number, str(exc))


def open_leads_file(
    path: Path | str,
    mapping: Mapping[str, str] | None = None,
    *,
    timezone: tzinfo = UTC,
    language: str = "en",
    clients: int | None = None,
) -> LeadsFile:
    """
    Look at a file of leads: its encoding, delimiter and header. The rows are read by `LeadsFile.rows`.

    Parameters
    ----------
    mapping : our column -> the file's name for it, where they differ: {"timestamp": "first_contact_date"}.
    timezone : of times without an offset; a date alone is midnight UTC.
    language : of the clients that the file's leads belong to, "en" or "fr".
    clients : split the leads into so many clients by a hash of the lead's id (for files of a single company).

    Raises
    ------
    LeadsFileError
        The file is missing, empty or not UTF-8, the mapping names a column that does not exist, or no column holds
        the date of arrival. The text says what to do.
    """
    path = Path(path)
    if clients is not None and clients < 1:
        raise LeadsFileError(f"a file can be split into 1 or more clients, not {clients}")
    digest = _digest_of_utf8(path)
    header, delimiter = _read_header(path)
    columns = _find_columns(path, header, mapping or {})
    decided = "\0".join(
        [
            str(ORIGIN_VERSION),
            digest,
            *(f"{name}={position}" for name, position in sorted(columns.items())),
            str(timezone),
            language,
            str(clients),
            # Without a client column the file's name is the client's.
            "" if {"client", "business_name"} & columns.keys() else path.stem,
        ]
    )
    return LeadsFile(
        path=path,
        header=header,
        columns=columns,
        delimiter=delimiter,
        timezone=timezone,
        language=language,
        clients=clients,
        origin=f"csv:{hashlib.sha256(decided.encode()).hexdigest()}",
    )


# --- The file and its header ----------------------------------------------------------------------------------------


def _digest_of_utf8(path: Path) -> str:
    """Return the SHA-256 of a file that is UTF-8 text from beginning to end."""
    digest, decoder, line_number, is_blank = hashlib.sha256(), codecs.getincrementaldecoder("utf-8-sig")(), 1, True
    try:
        with path.open("rb") as content:
            first = True
            while chunk := content.read(1 << 20):
                if first:
                    _refuse_other_formats(path, chunk)
                    first = False
                digest.update(chunk)
                try:
                    text = decoder.decode(chunk)
                except UnicodeDecodeError as exc:
                    line_number += exc.object[: exc.start].count(b"\n")
                    raise _not_utf8(path, line_number, exc) from exc
                is_blank = is_blank and not text.strip()
                line_number += chunk.count(b"\n")
            try:
                decoder.decode(b"", final=True)
            except UnicodeDecodeError as exc:
                raise _not_utf8(path, line_number, exc) from exc
    except FileNotFoundError as exc:
        raise LeadsFileError(f"there is no file {path}") from exc
    except IsADirectoryError as exc:
        raise LeadsFileError(f"{path} is a folder, not a file") from exc
    except OSError as exc:
        raise LeadsFileError(f"{path} cannot be read: {exc.strerror or exc}") from exc
    if is_blank:
        raise LeadsFileError(f"{path} is empty")
    return digest.hexdigest()


def _refuse_other_formats(path: Path, start: bytes) -> None:
    if start.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        raise LeadsFileError(f"{path} is UTF-16 text: save it as UTF-8 (in a spreadsheet: 'CSV UTF-8')")
    if start.startswith(b"PK\x03\x04"):
        raise LeadsFileError(f"{path} is a spreadsheet or an archive: save it as CSV (UTF-8) first")


def _not_utf8(path: Path, line_number: int, exc: UnicodeDecodeError) -> LeadsFileError:
    found = exc.object[exc.start]
    return LeadsFileError(
        f"{path} is not UTF-8: byte 0x{found:02X} on line {line_number} does not belong there. "
        "It may be Windows-1252 or Latin-1: save it as UTF-8 (in a spreadsheet: 'CSV UTF-8')"
    )


def _read_header(path: Path) -> tuple[tuple[str, ...], str]:
    """Return the header's names and the delimiter that splits it into the most."""
    csv.field_size_limit(LARGEST_CELL)
    with path.open(encoding="utf-8-sig", newline="") as text:
        start = text.read(1 << 16)
    headers: dict[str, list[str]] = {}
    for delimiter in DELIMITERS:
        try:
            headers[delimiter] = next(csv.reader(io.StringIO(start, newline=""), delimiter=delimiter, strict=True))
        except csv.Error:
            continue
    if not headers:
        raise LeadsFileError(
            f"the header of {path} cannot be read: a quote in it is not closed or stands within a name"
        )
    delimiter = max(headers, key=lambda candidate: len(headers[candidate]))
    header = tuple(name.strip() for name in headers[delimiter])
    if not any(header):
        raise LeadsFileError(f"the first line of {path} is empty: it must name the columns")
    return header, delimiter


def _plain_name(name: str) -> str:
    return re.sub(r"[\s\-]+", "_", name.strip()).casefold()


def _find_columns(path: Path, header: tuple[str, ...], mapping: Mapping[str, str]) -> dict[str, int]:
    """Match our columns to positions in the header: by the mapping first, then by name."""
    ours = {alias: column for column, aliases in COLUMNS.items() for alias in aliases}
    positions: dict[str, list[int]] = {}
    for position, name in enumerate(header):
        positions.setdefault(_plain_name(name), []).append(position)
    listed = ", ".join(name for name in header if name)
    found: dict[str, int] = {}
    problems: list[str] = []

    def position_of(name: str) -> int:
        if len(positions[name]) > 1:
            problems.append(f"the header has the column {header[positions[name][0]]!r} {len(positions[name])} times")
        return positions[name][0]

    for column, in_file in mapping.items():
        if _plain_name(column) not in ours:
            near = _suggestion(_plain_name(column), list(ours))
            problems.append(f"there is no column {column!r} to map to{near}; there are {', '.join(COLUMNS)}")
        elif in_file in header and header.count(in_file) == 1:
            found[ours[_plain_name(column)]] = header.index(in_file)
        elif _plain_name(in_file) in positions:
            found[ours[_plain_name(column)]] = position_of(_plain_name(in_file))
        else:
            near = _suggestion(in_file, list(header))
            problems.append(f"the file has no column {in_file!r}{near}; it has {listed}")
    mapped = set(found.values())
    for column, aliases in COLUMNS.items():
        if column in found:
            continue
        for alias in aliases:
            # A column given away by the mapping is not read a second time under its own name.
            if alias in positions and not mapped & set(positions[alias]):
                found[column] = position_of(alias)
                break
    if "timestamp" not in found and not problems:
        problems.append(
            "no column says when a lead arrived: name one timestamp, created_at or date, or map it with "
            f"timestamp=<column>; the file has {listed}"
        )
    if problems:
        raise LeadsFileError(f"{path}: " + "; ".join(problems))
    return found


def _suggestion(word: str, known: list[str]) -> str:
    by_plain_name = {_plain_name(name): name for name in known}
    near = difflib.get_close_matches(_plain_name(word), by_plain_name, n=1, cutoff=0.6)
    return f" (did you mean {by_plain_name[near[0]]!r}?)" if near else ""


def _quoting_problem(exc: csv.Error, first: int, last: int) -> str:
    where = f"lines {first} to {last}" if last > first else "this line"
    if "unexpected end of data" in str(exc):
        return f"a quote that opens on {where} is never closed: nothing after it could be read"
    return f"a quote stands within a cell, or the text goes on after the closing quote ({where} left out)"


# --- One row --------------------------------------------------------------------------------------------------------


@dataclass(slots=True)
class _Reading:
    """What is remembered from row to row: the clients met and the ids seen."""

    file: LeadsFile
    by_name: dict[str, FileClient] = field(default_factory=dict)  # as written
    by_id: dict[UUID, FileClient] = field(default_factory=dict)
    seen: set[bytes] = field(default_factory=set)

    def read(self, row: list[str], line_number: int) -> GoodRow:
        """Turn the cells of one row into a lead; raise _BadCellError with the reason when that cannot be done."""
        file = self.file
        if len(row) > len(file.header) and any(cell.strip() for cell in row[len(file.header) :]):
            raise _BadCellError(f"{len(row)} cells, but the header names {len(file.header)}")
        if any("\0" in cell for cell in row):
            raise _BadCellError("a NUL character, which PostgreSQL cannot store")
        # Trailing empty cells are often left away, by spreadsheets too.
        cell = {
            column: row[position].strip() if position < len(row) else "" for column, position in file.columns.items()
        }
        arrived = _instant(cell["timestamp"], "timestamp", file.timezone)
        if arrived is None:
            raise _BadCellError("no date of arrival (timestamp)")
        converted_at = _instant(cell.get("converted_at", ""), "converted_at", file.timezone)
        confidence = _share(cell.get("confidence_score", ""), "confidence_score")
        archived, deleted = (_flag(cell.get(name, ""), name) for name in ("archived", "deleted"))
        outcome = _outcome(cell.get("outcome_status", ""))
        company = cell.get("client") or cell.get("business_name") or file.path.stem
        id_text = cell.get("id", "")
        lead_uuid = self._lead_uuid(id_text, company, row, line_number)
        if lead_uuid.bytes in self.seen:
            raise _BadCellError(f"the id {id_text[:EXCERPT]!r} is already on an earlier line")
        client = self._client(company, cell, lead_uuid)
        self.seen.add(lead_uuid.bytes)
        lead_id = str(lead_uuid)
        tag = cell.get("current_tag") or None
        if converted_at is not None and tag_code(tag) != TAG_CONVERTED:
            tag = "Converted"
        language = cell.get("language") or None
        lead = FileLead(
            id=lead_id,
            client_id=client.client_id,
            # No person is made up: the columns want a value where the file has none.
            name=cell.get("name") or f"Lead {lead_id[:8]}",
            email=cell.get("email") or f"{lead_id[:8]}@example.invalid",
            urgency=cell.get("urgency") or None,
            tone=cell.get("tone") or None,
            intent=cell.get("intent") or None,
            source=cell.get("source") or None,
            language=language_code(language) or language,
            confidence_score=confidence,
            current_tag=tag,
            outcome_status=outcome,
            archived=archived,
            deleted=deleted,
            timestamp=arrived,
            last_updated=arrived if converted_at is None else max(arrived, converted_at),
        )
        insert = FileAction(
            str(uuid5(lead_uuid, "insert")), lead_id, client.client_id, "insert", "New Lead", None, arrived
        )
        if converted_at is None:
            return GoodRow(line_number, client, lead, (insert,))
        won = FileAction(str(uuid5(lead_uuid, "converted")), lead_id, client.client_id, "tag", tag, True, converted_at)
        return GoodRow(line_number, client, lead, (insert, won))

    def _lead_uuid(self, text: str, company: str, row: list[str], line_number: int) -> UUID:
        if _UUID.fullmatch(text):
            return UUID(text)
        if not text:
            return uuid5(NAMESPACE, "\0".join(["row", str(line_number), *row]))
        # Several companies may each have a lead "1"; without a client column the name of the file plays no part.
        owner = fold(company) if {"client", "business_name"} & self.file.columns.keys() else ""
        return uuid5(NAMESPACE, f"lead\0{owner}\0{text}")

    def _client(self, company: str, cell: Mapping[str, str], lead_uuid: UUID) -> FileClient:
        name = cell.get("business_name") or company
        key = company
        if self.file.clients is not None:
            digest = hashlib.sha256(lead_uuid.bytes).digest()
            part = int.from_bytes(digest[:8], "big") % self.file.clients + 1
            key, name = f"{company}\0{part}", f"{name} {part}"
        if key not in self.by_name:
            if self.file.clients is None and _UUID.fullmatch(company):
                client_id = UUID(company)
            else:
                # "Acme Ltd." and "ACME  ltd" are one company. A name without a letter or digit stands for itself.
                folded = "\0".join(fold(part) or part for part in key.split("\0"))
                client_id = uuid5(NAMESPACE, f"client\0{folded}")
            if client_id not in self.by_id:
                self.by_id[client_id] = FileClient(
                    id=str(uuid5(client_id, "id")),
                    client_id=str(client_id),
                    business_name=name,
                    email=f"{client_id}@example.invalid",
                    api_key=f"unusable_{uuid5(client_id, 'api_key').hex}",
                    password_hash="!",  # noqa: S106 - no password has this hash: nobody can log in
                    language=self.file.language,
                    industry_category=cell.get("industry_category") or None,
                )
            self.by_name[key] = self.by_id[client_id]
        return self.by_name[key]


def _excerpt(text: str) -> str:
    return repr(text if len(text) <= EXCERPT else text[: EXCERPT - 3] + "...")


def _instant(text: str, column: str, timezone: tzinfo) -> datetime | None:
    """Read an ISO date or time as an instant in UTC."""
    if text.lower() in _BLANK:
        return None
    if len(text) > 40:
        raise _BadCellError(f"{column} {_excerpt(text)} is not a date")
    try:
        try:
            return datetime.combine(date.fromisoformat(text), time(), UTC)
        except ValueError:
            plain = re.sub(r"\s*(UTC|GMT)$", "Z", text, flags=re.IGNORECASE)
            when = datetime.fromisoformat(plain)
        if when.tzinfo is None:
            when = when.replace(tzinfo=timezone)
        return when.astimezone(UTC)
    except (ValueError, OverflowError) as exc:
        raise _BadCellError(f"{column} {_excerpt(text)} is not a date like 2025-03-31 or 2025-03-31T14:30:00Z") from exc


def _share(text: str, column: str) -> float | None:
    """Read a number in [0, 1]; 0,85 and 85% are understood too."""
    if text.lower() in _BLANK:
        return None
    digits, scale = (text[:-1].rstrip(), 100.0) if text.endswith("%") else (text, 1.0)
    try:
        value = float(digits.replace(",", ".")) / scale
    except ValueError as exc:
        raise _BadCellError(f"{column} {_excerpt(text)} is not a number") from exc
    if not math.isfinite(value) or not 0.0 <= value <= 1.0:
        raise _BadCellError(f"{column} {_excerpt(text)} is not between 0 and 1")
    return value


def _flag(text: str, column: str) -> bool:
    plain = text.lower()
    if plain in _YES:
        return True
    if plain in _NO or plain in _BLANK:
        return False
    raise _BadCellError(f"{column} {_excerpt(text)} is neither true nor false")


def _outcome(text: str) -> str | None:
    if text.lower() in _BLANK:
        return None
    plain = _plain_name(text)
    if plain not in OUTCOMES:
        raise _BadCellError(f"outcome_status {_excerpt(text)} is none of {', '.join(OUTCOMES)}")
    return plain
