"""The settings: what each means, all problems at once, and no password in anything printed."""

from dataclasses import FrozenInstanceError
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest

from worker.commands import COMMANDS, load_command
from worker.errors import ConfigurationError
from worker.settings import Settings, setting_fields, warn_about_unknown

URL = "postgresql://worker:hunter2@db.example.com:5432/leads"


def test_nothing_set_gives_the_documented_defaults():
    assert Settings() == Settings.from_environment({})
    settings = Settings()
    assert settings.database_url is None
    assert settings.timezone == ZoneInfo("UTC")
    assert settings.language == "en"
    assert settings.store_lead_names is True
    assert settings.embedded_dir is None
    assert (
        settings.lease_seconds,
        settings.database_wait_seconds,
        settings.statement_timeout_seconds,
        settings.lock_timeout_seconds,
    ) == (60, 60, 300, 10)
    assert (settings.log_level, settings.log_format) == ("INFO", "auto")


def test_everything_set():
    settings = Settings.from_environment(
        {
            "DATABASE_URL": f" {URL} ",
            "WORKER_TIMEZONE": "America/Toronto",
            "WORKER_LANGUAGE": "FR",
            "WORKER_STORE_LEAD_NAMES": "No",
            "WORKER_EMBEDDED_DIR": "data/server",
            "WORKER_LEASE_SECONDS": "5",
            "WORKER_DATABASE_WAIT_SECONDS": "0",
            "WORKER_STATEMENT_TIMEOUT_SECONDS": "10",
            "WORKER_LOCK_TIMEOUT_SECONDS": "1",
            "WORKER_LOG_LEVEL": "debug",
            "WORKER_LOG_FORMAT": "JSON",
            "PATH": "/bin",
        }
    )
    assert settings == Settings(
        database_url=URL,
        timezone=ZoneInfo("America/Toronto"),
        language="fr",
        store_lead_names=False,
        embedded_dir=Path("data/server"),
        lease_seconds=5,
        database_wait_seconds=0,
        statement_timeout_seconds=10,
        lock_timeout_seconds=1,
        log_level="DEBUG",
        log_format="json",
    )


def test_an_empty_variable_counts_as_unset():
    assert Settings() == Settings.from_environment({"DATABASE_URL": "", "WORKER_TIMEZONE": "  "})


def test_all_problems_are_told_at_once_each_with_its_variable():
    wrong = {
        "DATABASE_URL": "mysql//hunter2",
        "WORKER_TIMEZONE": "america/toronto",
        "WORKER_LANGUAGE": "de",
        "WORKER_STORE_LEAD_NAMES": "perhaps",
        "WORKER_LEASE_SECONDS": "0",
        "WORKER_DATABASE_WAIT_SECONDS": "60s",
        "WORKER_STATEMENT_TIMEOUT_SECONDS": "-1",
        "WORKER_LOCK_TIMEOUT_SECONDS": "9" * 30,
        "WORKER_LOG_LEVEL": "LOUD",
        "WORKER_LOG_FORMAT": "xml",
    }
    with pytest.raises(ConfigurationError) as caught:
        Settings.from_environment(wrong)
    assert sorted(wrong) == sorted(problem.split()[0] for problem in caught.value.problems)
    assert "did you mean America/Toronto" in str(caught.value)
    assert "hunter2" not in str(caught.value)


@pytest.mark.parametrize("zone", ["Europe", "../etc/passwd", "/etc/passwd", "Mars/Olympus", "a\x00b", "é"])
def test_what_is_no_time_zone_is_a_problem_not_a_crash(zone):
    with pytest.raises(ConfigurationError, match="WORKER_TIMEZONE"):
        Settings.from_environment({"WORKER_TIMEZONE": zone})


@pytest.mark.parametrize("number", ["1_000", "1.5", "١٠", "1e3", "+5", "0x10"])
def test_seconds_are_plain_whole_numbers(number):
    with pytest.raises(ConfigurationError, match="whole number of seconds"):
        Settings.from_environment({"WORKER_LEASE_SECONDS": number})


@pytest.mark.parametrize("url", ["embedded", URL, "postgres://h/d", "host=db dbname=leads user=worker"])
def test_ways_to_name_a_database(url):
    assert url == Settings.from_environment({"DATABASE_URL": url}).database_url


@pytest.mark.parametrize(
    ("url", "hint"),
    [
        (f'"{URL}"', "quotes"),
        ("postgresql://postgres:[YOUR-PASSWORD]@h/d", "placeholder"),
        ("db.example.com", "address"),
    ],
)
def test_common_slips_in_the_database_url_are_named(url, hint):
    with pytest.raises(ConfigurationError, match=hint):
        Settings.from_environment({"DATABASE_URL": url})


def test_an_unknown_home_directory_is_a_problem():
    with pytest.raises(ConfigurationError, match="WORKER_EMBEDDED_DIR"):
        Settings.from_environment({"WORKER_EMBEDDED_DIR": "~no-such-user-here/data"})


def test_the_address_of_the_database_is_never_printed():
    settings = Settings(database_url=URL)
    assert "hunter2" not in f"{settings!r} {settings}"


def test_settings_do_not_change():
    with pytest.raises(FrozenInstanceError):
        Settings().language = "fr"


def test_every_setting_can_be_listed_in_a_table():
    rows = [
        (setting.metadata["env"], setting.metadata["meaning"], setting.metadata["default"])
        for setting in setting_fields()
    ]
    assert all(all(row) for row in rows)
    assert [env for env, _, _ in rows if not env.startswith("WORKER_")] == ["DATABASE_URL"]
    for setting in setting_fields():
        if setting.name not in ("database_url", "schedules"):
            assert setting.metadata["env"] == f"WORKER_{setting.name.upper()}"


def test_a_misspelt_setting_is_pointed_out_without_its_value():
    environ = {"WORKER_TIMEZOME": "secret", "DATABASE_URI": "secret", "WORKER_AS_OF": "x", "HOME": "/root"}
    assert warn_about_unknown(environ) == [
        "DATABASE_URI is not a setting; did you mean DATABASE_URL?",
        "WORKER_TIMEZOME is not a setting; did you mean WORKER_TIMEZONE?",
    ]


def test_nothing_is_said_of_known_settings_and_options():
    environ = {"WORKER_TIMEZONE": "UTC", "DATABASE_URL": URL, "DATABASE_URI": URL, "WORKER_AS_OF": "x"}
    assert warn_about_unknown(environ, options=["WORKER_AS_OF"]) == []


def test_a_misspelt_twin_of_an_option_is_pointed_out():
    """A run for a day whose variable is misspelt would be a run for today."""
    assert warn_about_unknown({"WORKER_ASOF": "2025-03-30"}, twins=["WORKER_AS_OF", "WORKER_CLIENT"]) == [
        "WORKER_ASOF is not a setting; did you mean WORKER_AS_OF?"
    ]


@pytest.mark.parametrize("name", COMMANDS)
def test_the_twins_of_other_commands_are_not_taken_for_misspelt(name):
    options = {other: load_command(other).params for other in COMMANDS}
    twins = {other: [param.envvar for param in params if param.envvar] for other, params in options.items()}
    everything = {variable: "x" for found in twins.values() for variable in found} | {"WORKER_HOME": "/srv"}
    assert warn_about_unknown(everything, twins=twins[name]) == []


def test_with_the_options_known_every_stranger_is_told():
    assert warn_about_unknown({"WORKER_COLOUR": "1"}, options=[]) == [
        "WORKER_COLOUR is not a setting and has no effect"
    ]


def test_pruning_is_a_days_work():
    """Its period is the day before: by an interval it would be due at every tick."""
    with pytest.raises(ConfigurationError, match="WORKER_SCHEDULE_PRUNE is 'every 60m': it is a day's work"):
        Settings.from_environment({"WORKER_SCHEDULE_PRUNE": "every 60m"})
    assert dict(Settings.from_environment({"WORKER_SCHEDULE_PRUNE": "off"}).schedules) == {"prune": None}
