"""A page's file is put in place whole, under a name that is no path."""

from pathlib import PurePath

import pytest

from worker.errors import ConfigurationError, WorkerError
from worker.report.files import file_name, prepare_folder, write_page
from worker.settings import Settings
from worker.timetable import timetable


@pytest.mark.parametrize("strange", ["../../etc/passwd", "a/b", "..", ".", "a\x00b", "<script>", "é", "a b", 'x"y'])
def test_a_name_is_no_path(strange):
    name = file_name(strange)
    assert name == PurePath(name).name
    assert name.endswith(".html")
    assert name.isascii()
    assert not set(name) & set("/\\\0<>\"' ")


def test_a_client_id_is_its_own_name():
    client_id = "5dbc5c03-8d31-4555-b9b7-e9dfe44e9658"
    assert file_name(client_id) == f"{client_id}.html"


def test_a_client_called_index_does_not_take_the_page_over_all():
    assert (file_name("index"), file_name("Index")) == ("%69ndex.html", "%49ndex.html")


def test_a_page_replaces_the_old_one_whole(tmp_path, monkeypatch):
    path = tmp_path / "page.html"
    path.write_text("old")
    assert write_page(path, "né\ud800") == 4
    assert path.read_text() == "né?"

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("pathlib.Path.replace", full)
    with pytest.raises(WorkerError, match=r"page\.html cannot be written: No space left on device"):
        write_page(path, "newer")
    assert path.read_text() == "né?"
    assert [each.name for each in tmp_path.iterdir()] == ["page.html"]


def test_a_signal_leaves_the_old_page_and_nothing_beside_it(tmp_path, monkeypatch):
    path = tmp_path / "page.html"
    path.write_text("old")

    def signal(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr("pathlib.Path.replace", signal)
    with pytest.raises(KeyboardInterrupt):
        write_page(path, "newer")
    assert [each.name for each in tmp_path.iterdir()] == ["page.html"]


def test_a_folder_where_a_file_stands_cannot_be_made(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(WorkerError, match="cannot be made: Not a directory"):
        prepare_folder(tmp_path / "file" / "folder")


def test_the_report_has_a_time_of_day_only_where_it_has_a_folder():
    with_folder = Settings.from_environment({"WORKER_REPORT_DIR": "/srv/reports"})
    assert str(timetable(with_folder.schedules)["report"]) == "04:15:00"
    assert "report" not in timetable(Settings().schedules)
    chosen = Settings.from_environment({"WORKER_REPORT_DIR": "/srv/reports", "WORKER_SCHEDULE_REPORT": "off"})
    assert timetable(chosen.schedules)["report"] is None
    with pytest.raises(ConfigurationError, match="WORKER_SCHEDULE_REPORT has no effect without WORKER_REPORT_DIR"):
        Settings.from_environment({"WORKER_SCHEDULE_REPORT": "05:00"})
    with pytest.raises(ConfigurationError, match="it is a day's work"):
        Settings.from_environment({"WORKER_REPORT_DIR": "/srv/reports", "WORKER_SCHEDULE_REPORT": "every 5m"})
