"""Reading a CSV of leads: columns by name, bad rows named by line and reason, the same file giving the same rows."""

import time
from datetime import UTC, datetime
from uuid import UUID
from zoneinfo import ZoneInfo

import pytest

from worker.errors import LeadsFileError
from worker.leads_file import BadRow, GoodRow, open_leads_file

UUID_1 = "11111111-1111-4111-8111-111111111111"
UUID_2 = "22222222-2222-4222-8222-222222222222"
NO_DATE = "is not a date like 2025-03-31 or 2025-03-31T14:30:00Z"
TOO_EARLY = "0001-01-01T00:00:00+14:00"  # before the year 1 in UTC


@pytest.fixture
def file_of(tmp_path):
    def write(text, name="leads.csv", encoding="utf-8"):
        path = tmp_path / name
        path.write_bytes(text if isinstance(text, bytes) else text.encode(encoding))
        return path

    return write


def read(path, mapping=None, **options):
    """Return (good rows, bad rows)."""
    rows = list(open_leads_file(path, mapping, **options).rows())
    return [r for r in rows if isinstance(r, GoodRow)], [r for r in rows if isinstance(r, BadRow)]


def read_one(path, mapping=None, **options):
    (row,), bad = read(path, mapping, **options)
    assert bad == []
    return row


class TestColumns:
    def test_a_full_row(self, file_of):
        path = file_of(
            "id,client_id,business_name,name,email,urgency,tone,intent,source,language,confidence_score,current_tag,"
            "timestamp,converted_at,outcome_status,industry_category,archived,deleted\n"
            f"{UUID_1},{UUID_2},Acme,Sam,sam@example.com,Élevée,Amical,Devis,referral,FR,0.85,Suivi,"
            "2025-03-01T10:00:00+02:00,2025-03-05,client_closed,Legal,yes,non\n"
        )
        row = read_one(path)
        assert (row.client.client_id, row.client.business_name, row.client.industry_category) == (
            UUID_2,
            "Acme",
            "Legal",
        )
        assert row.lead._asdict() == {
            "id": UUID_1,
            "client_id": UUID_2,
            "name": "Sam",
            "email": "sam@example.com",
            "urgency": "Élevée",
            "tone": "Amical",
            "intent": "Devis",
            "source": "referral",
            "language": "fr",
            "confidence_score": 0.85,
            "current_tag": "Converted",
            "outcome_status": "client_closed",
            "archived": True,
            "deleted": False,
            "timestamp": datetime(2025, 3, 1, 8, tzinfo=UTC),
            "last_updated": datetime(2025, 3, 5, tzinfo=UTC),
        }
        assert [(a.action_type, a.tag, a.conversion_outcome, a.timestamp) for a in row.actions] == [
            ("insert", "New Lead", None, datetime(2025, 3, 1, 8, tzinfo=UTC)),
            ("tag", "Converted", True, datetime(2025, 3, 5, tzinfo=UTC)),
        ]

    def test_only_a_date_is_needed_and_nothing_is_invented(self, file_of):
        lead = read_one(file_of("date\n2025-03-01\n")).lead
        known = {name for name, value in lead._asdict().items() if value is not None}
        assert known == {"id", "client_id", "name", "email", "archived", "deleted", "timestamp", "last_updated"}
        assert lead.name == f"Lead {lead.id[:8]}"
        assert lead.email == f"{lead.id[:8]}@example.invalid"

    def test_names_match_in_any_case_and_spelling(self, file_of):
        lead = read_one(file_of("Created At,CONFIDENCE-SCORE\n2025-03-01,0.5\n")).lead
        assert (lead.timestamp, lead.confidence_score) == (datetime(2025, 3, 1, tzinfo=UTC), 0.5)

    def test_mapping_by_any_of_our_names(self, file_of):
        path = file_of("mql_id,first contact,origin\na,2025-03-01,social\n")
        lead = read_one(path, {"date": "First Contact", "source": "origin", "lead_id": "mql_id"}).lead
        assert (lead.source, lead.timestamp) == ("social", datetime(2025, 3, 1, tzinfo=UTC))

    def test_a_mapped_column_is_not_read_under_its_own_name_too(self, file_of):
        lead = read_one(file_of("date,tone\n2025-03-01,High\n"), {"urgency": "tone"}).lead
        assert (lead.urgency, lead.tone) == ("High", None)

    def test_unknown_columns_are_suggested_and_listed(self, file_of):
        path = file_of("date,origin\n2025-03-01,x\n")
        with pytest.raises(LeadsFileError) as caught:
            open_leads_file(path, {"sorce": "origin", "source": "orgin"})
        text = str(caught.value)
        assert "no column 'sorce' to map to (did you mean 'source'?)" in text
        assert "the file has no column 'orgin' (did you mean 'origin'?); it has date, origin" in text

    def test_no_date_column(self, file_of):
        with pytest.raises(LeadsFileError, match=r"arrived.*timestamp=<column>; the file has id, when"):
            open_leads_file(file_of("id,when\n1,2025-03-01\n"))

    def test_a_column_we_need_stands_twice(self, file_of):
        with pytest.raises(LeadsFileError, match="'tone' 2 times"):
            open_leads_file(file_of("date,tone,tone\n2025-03-01,a,b\n"))

    @pytest.mark.parametrize("delimiter", [",", ";", "\t", "|"])
    def test_the_delimiter_is_found(self, file_of, delimiter):
        path = file_of(delimiter.join(["date", "tone"]) + "\n" + delimiter.join(["2025-03-01", "Direct"]) + "\n")
        assert read_one(path).lead.tone == "Direct"

    def test_decimal_comma_beside_semicolons(self, file_of):
        assert read_one(file_of("date;confidence_score\n2025-03-01;0,85\n")).lead.confidence_score == 0.85


class TestFiles:
    def test_byte_order_mark(self, file_of):
        assert read_one(file_of("date,tone\n2025-03-01,Amical\n", encoding="utf-8-sig")).lead.tone == "Amical"

    def test_windows_1252_is_refused_with_the_line(self, file_of):
        with pytest.raises(LeadsFileError, match=r"not UTF-8: byte 0xC9 on line 3 .* save it as UTF-8"):
            open_leads_file(file_of("date,urgency\n2025-03-01,High\n2025-03-01,Élevée\n", encoding="cp1252"))

    def test_text_cut_within_a_character(self, file_of):
        with pytest.raises(LeadsFileError, match="line 2"):
            open_leads_file(file_of("date,tone\n2025-03-01,é".encode()[:-1]))

    def test_bad_byte_deep_in_a_long_file(self, file_of):
        with pytest.raises(LeadsFileError, match="on line 200001 "):
            open_leads_file(file_of(b"date\n" + b"2025-03-01\n" * 199_999 + b"\xff\n"))

    def test_other_formats(self, file_of):
        with pytest.raises(LeadsFileError, match="UTF-16"):
            open_leads_file(file_of("date\n2025-03-01\n", encoding="utf-16"))
        with pytest.raises(LeadsFileError, match="spreadsheet"):
            open_leads_file(file_of(b"PK\x03\x04rest"))

    @pytest.mark.parametrize("text", ["", "\n \n", "\ufeff"])
    def test_empty(self, file_of, text):
        with pytest.raises(LeadsFileError, match="is empty"):
            open_leads_file(file_of(text))

    def test_missing_and_folder(self, tmp_path):
        with pytest.raises(LeadsFileError, match="no file"):
            open_leads_file(tmp_path / "none.csv")
        with pytest.raises(LeadsFileError, match="is a folder"):
            open_leads_file(tmp_path)

    def test_only_a_header(self, file_of):
        assert read(file_of("date,tone\n")) == ([], [])

    def test_header_without_a_newline(self, file_of):
        assert read(file_of("date,tone")) == ([], [])

    def test_windows_line_ends(self, file_of):
        good, bad = read(file_of("date,tone\r\n2025-03-01,Direct\r\nx,Direct\r\n"))
        assert [g.lead.tone for g in good] == ["Direct"]
        assert [b.line_number for b in bad] == [3]

    def test_reading_twice_gives_the_same(self, file_of):
        opened = open_leads_file(file_of("date\n2025-03-01\n2025-03-02\n"))
        assert list(opened.rows()) == list(opened.rows())

    def test_origin_is_the_content_and_how_it_is_read(self, file_of):
        path = file_of("date,client\n2025-03-01,a\n")
        again = file_of("date,client\n2025-03-01,a\n", "copy.csv")
        other = file_of("date,client\n2025-03-02,a\n", "other.csv")
        assert open_leads_file(path).origin == open_leads_file(again).origin
        assert len({
            open_leads_file(path).origin,
            open_leads_file(other).origin,
            open_leads_file(path, clients=2).origin,
            open_leads_file(path, {"tone": "client"}).origin,
            open_leads_file(path, timezone=ZoneInfo("America/Toronto")).origin,
        }) == 5  # fmt: skip
        assert open_leads_file(path).origin.startswith("csv:")


class TestBadRows:
    def test_lines_are_those_of_the_file(self, file_of):
        path = file_of(
            "id,date,intent\n"  # line 1
            'a,2025-03-01,"two\nlines"\n'  # 2 and 3
            "b,31/03/2025,x\n"  # 4
            "\n"  # 5
            'c,soon,"three\nmore\nlines"\n'  # 6 to 8
            "d,,x\n"  # 9
            "e,2025-03-02,x\n"  # 10
        )
        good, bad = read(path)
        assert [(g.line_number, g.lead.intent) for g in good] == [(2, "two\nlines"), (10, "x")]
        assert bad == [
            BadRow(4, f"timestamp '31/03/2025' {NO_DATE}"),
            BadRow(6, f"timestamp 'soon' {NO_DATE}"),
            BadRow(9, "no date of arrival (timestamp)"),
        ]

    @pytest.mark.parametrize(
        ("column", "cell", "reason"),
        [
            ("confidence_score", "1.7", "'1.7' is not between 0 and 1"),
            ("confidence_score", "-0.1", "'-0.1' is not between 0 and 1"),
            ("confidence_score", "inf", "'inf' is not between 0 and 1"),
            ("confidence_score", "high", "'high' is not a number"),
            ("outcome_status", "won", "'won' is none of contacted, meeting_booked, client_closed, no_sale"),
            ("archived", "maybe", "'maybe' is neither true nor false"),
            ("converted_at", "2025-02-30", f"'2025-02-30' {NO_DATE}"),
            ("converted_at", "9" * 5000, f"'{'9' * 57}...' is not a date"),
            ("converted_at", TOO_EARLY, f"'{TOO_EARLY}' {NO_DATE}"),
        ],
    )
    def test_reasons(self, file_of, column, cell, reason):
        good, bad = read(file_of(f'date,{column}\n2025-03-01,\n2025-03-01,"{cell}"\n'))
        assert len(good) == 1
        assert bad == [BadRow(3, f"{column} {reason}")]

    def test_what_postgresql_cannot_store(self, file_of):
        good, bad = read(file_of("date,tone\n2025-03-01,a\0b\n2025-03-01,😀\n"))
        assert [g.lead.tone for g in good] == ["😀"]
        assert bad == [BadRow(2, "a NUL character, which PostgreSQL cannot store")]

    @pytest.mark.parametrize("blank", ["", "null", "NaN", "N/A", "-"])
    def test_blanks_in_dates_and_numbers_are_unknown(self, file_of, blank):
        lead = read_one(file_of(f"date,confidence_score,converted_at\n2025-03-01,{blank},{blank}\n")).lead
        assert (lead.confidence_score, lead.current_tag) == (None, None)

    def test_duplicate_ids(self, file_of):
        good, bad = read(
            file_of(f"id,date\na,2025-03-01\n{UUID_1},2025-03-01\na,2025-03-02\n{UUID_1.upper()},2025-03-01\n")
        )
        assert len(good) == 2
        assert bad == [
            BadRow(4, "the id 'a' is already on an earlier line"),
            BadRow(5, f"the id '{UUID_1}' is already on an earlier line"),
        ]

    def test_a_bad_row_does_not_use_up_its_id(self, file_of):
        good, bad = read(file_of("id,date\na,x\na,2025-03-02\n"))
        assert ([g.line_number for g in good], [b.line_number for b in bad]) == ([3], [2])

    def test_rows_alike_without_an_id_are_two_leads(self, file_of):
        good, bad = read(file_of("date,tone\n2025-03-01,Direct\n2025-03-01,Direct\n"))
        assert len({g.lead.id for g in good}) == 2
        assert bad == []

    def test_cells_left_away_are_empty_and_too_many_are_a_bad_row(self, file_of):
        good, bad = read(file_of("date,tone,urgency\n2025-03-01\n2025-03-01,a,b,\n2025-03-01,a,b,c\n"))
        assert [g.lead.tone for g in good] == [None, "a"]
        assert bad == [BadRow(4, "4 cells, but the header names 3")]

    def test_a_broken_quote_costs_only_its_row(self, file_of):
        good, bad = read(file_of('date,tone\n2025-03-01,"a"b\n2025-03-02,c\n'))
        assert [g.line_number for g in good] == [3]
        assert bad[0].line_number == 2
        assert "quote" in bad[0].reason

    def test_a_quote_never_closed_is_named_by_the_line_it_opens_on(self, file_of):
        good, bad = read(file_of('date,tone\n2025-03-01,a\n2025-03-02,"b\n2025-03-03,c\n'))
        assert [g.line_number for g in good] == [2]
        assert bad == [BadRow(3, "a quote that opens on lines 3 to 4 is never closed: nothing after it could be read")]

    def test_over_long_cells_are_fine(self, file_of):
        assert len(read_one(file_of(f"date,intent\n2025-03-01,{'x' * 1_000_000}\n")).lead.intent) == 1_000_000


class TestValues:
    @pytest.mark.parametrize(
        ("text", "expected"),
        [
            ("2025-03-01", datetime(2025, 3, 1, tzinfo=UTC)),
            ("20250301", datetime(2025, 3, 1, tzinfo=UTC)),
            ("2025-03-01T10:30:00Z", datetime(2025, 3, 1, 10, 30, tzinfo=UTC)),
            ("2025-03-01 10:30:00 UTC", datetime(2025, 3, 1, 10, 30, tzinfo=UTC)),
            ("2025-03-01T10:30:00.123456+02:00", datetime(2025, 3, 1, 8, 30, 0, 123456, tzinfo=UTC)),
            ("2025-03-01 10:30", datetime(2025, 3, 1, 15, 30, tzinfo=UTC)),  # Toronto, winter
            ("2025-07-01 10:30", datetime(2025, 7, 1, 14, 30, tzinfo=UTC)),  # Toronto, summer
        ],
    )
    def test_dates(self, file_of, text, expected):
        row = read_one(file_of(f"date\n{text}\n"), timezone=ZoneInfo("America/Toronto"))
        assert row.lead.timestamp == expected
        assert row.lead.timestamp.tzinfo is UTC

    @pytest.mark.parametrize(
        ("text", "expected"), [("0.85", 0.85), ('"0,85"', 0.85), ("85%", 0.85), ("85 %", 0.85), ("1", 1.0)]
    )
    def test_numbers(self, file_of, text, expected):
        assert read_one(file_of(f"date,confidence_score\n2025-03-01,{text}\n")).lead.confidence_score == expected

    def test_a_converted_tag_keeps_its_language(self, file_of):
        row = read_one(file_of("date,converted_at,current_tag\n2025-03-01,2025-03-02,Converti\n"))
        assert row.lead.current_tag == row.actions[1].tag == "Converti"

    def test_a_conversion_before_the_arrival_is_kept_as_it_is(self, file_of):
        row = read_one(file_of("date,converted_at\n2025-03-05,2025-03-02\n"))
        assert row.lead.last_updated == row.lead.timestamp > row.actions[1].timestamp

    def test_spaces_around_cells_do_not_count(self, file_of):
        assert read_one(file_of("date , tone\n 2025-03-01 , Direct \n")).lead.tone == "Direct"


class TestIds:
    def test_uuids_are_kept_and_others_derived(self, file_of):
        good, _ = read(file_of(f"id,date\n{UUID_1.replace('-', '').upper()},2025-03-01\nlead-7,2025-03-01\n"))
        assert good[0].lead.id == UUID_1
        assert UUID(good[1].lead.id).version == 5

    def test_they_are_the_same_for_every_copy_of_the_file(self, file_of):
        text = "id,client,date\nlead-7,Acme,2025-03-01\n,Acme,2025-03-01\n"
        one, other = read(file_of(text)), read(file_of(text, "copy.csv"))
        assert one == other

    def test_each_company_may_have_a_lead_1(self, file_of):
        good, bad = read(file_of("id,client,date\n1,Acme,2025-03-01\n1,Bolt,2025-03-01\n1,Bolt,2025-03-01\n"))
        assert len({g.lead.id for g in good}) == 2
        assert [b.line_number for b in bad] == [4]

    def test_the_company_is_folded_and_keeps_its_first_spelling(self, file_of):
        good, _ = read(file_of("client,date\nAcme Ltd.,2025-03-01\nACME  ltd,2025-03-01\nBolt,2025-03-01\n"))
        assert [g.client.business_name for g in good] == ["Acme Ltd.", "Acme Ltd.", "Bolt"]
        assert good[0].client is good[1].client

    def test_without_a_company_the_file_is_the_client(self, file_of):
        good, _ = read(file_of("date\n2025-03-01\n", "spring fair.csv"))
        assert good[0].client.business_name == "spring fair"
        assert good[0].client.language == "en"

    def test_an_empty_company_cell_is_the_file_too(self, file_of):
        good, _ = read(file_of("date,client\n2025-03-01,\n2025-03-01,Acme\n", "fair.csv"), language="fr")
        assert [(g.client.business_name, g.client.language) for g in good] == [("fair", "fr"), ("Acme", "fr")]

    def test_split_by_a_hash_of_the_id(self, file_of):
        path = file_of("id,date\n" + "".join(f"{i},2025-03-01\n" for i in range(3000)), "fair.csv")
        good, _ = read(path, clients=3)
        sizes = {name: sum(g.client.business_name == name for g in good) for name in ("fair 1", "fair 2", "fair 3")}
        assert sum(sizes.values()) == 3000
        assert min(sizes.values()) > 900
        assert len({g.client.client_id for g in good}) == 3
        whole, _ = read(path)
        assert [g.lead.id for g in good] == [g.lead.id for g in whole]

    def test_a_split_needs_at_least_one_part(self, file_of):
        with pytest.raises(LeadsFileError, match="1 or more"):
            open_leads_file(file_of("date\n2025-03-01\n"), clients=0)


def test_a_hundred_thousand_rows_take_seconds(file_of):
    path = file_of(
        "id,client,date,urgency,tone,confidence_score,converted_at\n"
        + "".join(f"lead-{i},Company {i % 50},2025-03-01T10:00:00Z,High,Direct,0.8,\n" for i in range(100_000))
    )
    started = time.perf_counter()
    assert sum(isinstance(row, GoodRow) for row in open_leads_file(path).rows()) == 100_000
    assert time.perf_counter() - started < 20.0  # about 2 s here; slow machines have room
