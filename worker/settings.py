"""What the person who runs the worker decides: one frozen Settings from the environment, all its problems at once."""

import difflib
from collections.abc import Callable, Collection, Mapping
from dataclasses import Field, dataclass, field, fields
from datetime import timedelta
from pathlib import Path
from typing import Any, Self
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError, available_timezones

from worker.calendar import CATCH_UP, Schedule, parse_schedule
from worker.errors import ConfigurationError
from worker.timetable import CHORES, JOB_NAMES, REPORT, REPORT_AT

PREFIX = "WORKER_"
SCHEDULE_PREFIX = "WORKER_SCHEDULE_"
LOCAL, PROCESSES, DASK = "local", "processes", "dask"  # where shards may be worked on
DASK_PROTOCOLS = ("tcp://", "tls://", "ws://", "wss://")
MOST_PROCESSES = 1024
LONGEST_DAYS = 36_500
LONGEST_SECONDS = 86_400  # a day; PostgreSQL counts timeouts in milliseconds of 32 bits, and no wait here means more


def _database_url(text: str) -> str:
    # No message here repeats the value: it holds a password.
    if text[0] in "'\"":
        raise ValueError("is wrapped in quotes: write it without them")
    if "[YOUR-PASSWORD]" in text:
        raise ValueError("still has the placeholder [YOUR-PASSWORD]: put the database's password there")
    if text != "embedded" and not text.startswith(("postgresql://", "postgres://")) and "=" not in text:
        raise ValueError(
            "is neither an address such as postgresql://user:password@host:5432/database nor the word embedded"
        )
    return text


def _timezone(text: str) -> ZoneInfo:
    try:
        return ZoneInfo(text)
    except (ZoneInfoNotFoundError, ValueError, OSError) as exc:
        by_lower = {name.lower(): name for name in available_timezones()}
        hint = difflib.get_close_matches(text.lower(), by_lower, n=1)
        meant = by_lower[hint[0]] if hint else "America/Toronto"
        raise ValueError(f"is {text!r}, which is no time zone; {'did you mean' if hint else 'one is'} {meant}") from exc


def _one_of(*choices: str, fold: Callable[[str], str] = str.lower) -> Callable[[str], str]:
    def parse(text: str) -> str:
        if fold(text) not in choices:
            raise ValueError(f"is {text!r}, not one of {', '.join(choices)}")
        return fold(text)

    return parse


def _flag(text: str) -> bool:
    if text.lower() in ("1", "true", "yes", "on"):
        return True
    if text.lower() in ("0", "false", "no", "off"):
        return False
    raise ValueError(f"is {text!r}, neither true nor false")


def _directory(text: str) -> Path:
    try:
        return Path(text).expanduser()
    except RuntimeError as exc:
        raise ValueError(f"is {text!r}, a home directory that cannot be found") from exc


def _whole(unit: str, least: int, most: int) -> Callable[[str], int]:
    def parse(text: str) -> int:
        # isdecimal alone takes digits of other scripts, int alone takes "1_000"; len keeps int() from huge input.
        if not (text.isascii() and text.isdecimal() and len(text) < 10 and least <= int(text) <= most):
            raise ValueError(f"is {text!r}, not a whole number of {unit} from {least} to {most}")
        return int(text)

    return parse


def _seconds(least: int) -> Callable[[str], int]:
    return _whole("seconds", least, LONGEST_SECONDS)


def _days(least: int) -> Callable[[str], int]:
    return _whole("days", least, LONGEST_DAYS)


def _address(text: str) -> tuple[str, int]:
    """Read HOST:PORT, an IPv6 host in brackets; a port alone is one of this machine only."""
    host, _, port = text.rpartition(":")
    host = host.removeprefix("[").removesuffix("]") or "127.0.0.1"
    if not (port.isascii() and port.isdecimal() and len(port) < 6 and 0 < int(port) < 65_536):
        raise ValueError(f"is {text!r}, not an address such as 127.0.0.1:9464")
    return host, int(port)


def parse_executor(text: str) -> str:
    """Check the word for an executor; ValueError says what is wrong with it, and what was probably meant."""
    word, equals, value = text.strip().partition("=")
    kind = word.strip().lower()
    if kind == LOCAL and not equals:
        return LOCAL
    if kind == PROCESSES:
        number = value.strip()
        if not equals:
            return PROCESSES
        if number.isascii() and number.isdecimal() and len(number) < 5 and 1 <= int(number) <= MOST_PROCESSES:
            return f"{PROCESSES}={int(number)}"
        raise ValueError(f"is {text!r}: after processes= stands their number, from 1 to {MOST_PROCESSES}")
    if kind == DASK:
        if value.strip().startswith(DASK_PROTOCOLS) and "@" not in value:
            return f"{DASK}={value.strip()}"
        raise ValueError(f"is {text!r}: the address of a Dask scheduler is like dask=tcp://scheduler:8786")
    near = difflib.get_close_matches(kind, (LOCAL, PROCESSES, DASK), n=1)
    hint = f"; did you mean {near[0]}?" if near else ""
    raise ValueError(f"is {text!r}, not one of local, processes, processes=4 or dask=tcp://scheduler:8786{hint}")


def _schedules(environ: Mapping[str, str], problems: list[str]) -> dict[str, Schedule]:
    """Read the schedules of single jobs; what is wrong with them joins the problems."""
    found: dict[str, Schedule] = {}
    for name in sorted(environ):
        job, text = name.removeprefix(SCHEDULE_PREFIX).lower(), environ[name].strip()
        if not name.startswith(SCHEDULE_PREFIX) or not text:
            continue
        names = (*JOB_NAMES, *CHORES)
        if job not in names:
            problems.append(f"{name} names no job; the jobs are {', '.join(names)}")
            continue
        try:
            found[job] = parse_schedule(text)
        except ValueError as exc:
            problems.append(f"{name} {exc}")
        else:
            if job in CHORES and isinstance(found[job], timedelta):
                problems.append(f"{name} is {text!r}: it is a day's work, at a time of day such as 04:30, or off")
    return found


def _with_report(schedules: dict[str, Schedule], report_dir: Path | None, problems: list[str]) -> None:
    """Give the report its time of day where there is a folder for it; without one it has none."""
    if report_dir is not None:
        schedules.setdefault(REPORT, parse_schedule(REPORT_AT))
    elif schedules.get(REPORT) is not None:
        problems.append("WORKER_SCHEDULE_REPORT has no effect without WORKER_REPORT_DIR, the folder to write to")


def _setting(
    env: str, meaning: str, parse: Callable[[str], Any], default: Any, *, shown: str | None = None, secret: bool = False
) -> Any:
    """Declare a field with what a settings table shows; `shown` is the default in words where str() tells little."""
    metadata = {"env": env, "meaning": meaning, "default": shown or str(default), "parse": parse, "secret": secret}
    return field(default=default, repr=not secret, metadata=metadata)


@dataclass(frozen=True, kw_only=True)
class Settings:
    """Everything that is configured; each field's metadata has its `env` name, `meaning` and `default` in words."""

    database_url: str | None = _setting(
        "DATABASE_URL",
        "PostgreSQL 15 or newer, as postgresql://user:password@host:5432/database, or `embedded`: a server of its own,"
        " started on demand",
        _database_url,
        None,
        shown="unset: only `demo` runs",
        secret=True,
    )
    timezone: ZoneInfo = _setting(  # noqa: RUF009 - it returns a dataclass field
        "WORKER_TIMEZONE", "where a day begins and ends, as a name such as America/Toronto", _timezone, ZoneInfo("UTC")
    )
    language: str = _setting(
        "WORKER_LANGUAGE",
        "en or fr: the language of insights where a client's own is neither",
        _one_of("en", "fr"),
        "en",
    )
    store_lead_names: bool = _setting(
        "WORKER_STORE_LEAD_NAMES",
        "whether conversion and reversion snapshots name the lead; no other ever does",
        _flag,
        True,
        shown="true",
    )
    embedded_dir: Path | None = _setting(  # noqa: RUF009 - as above
        "WORKER_EMBEDDED_DIR",
        "folder of the embedded server's data",
        _directory,
        None,
        shown="the user's data directory",
    )
    schedules: tuple[tuple[str, Schedule], ...] = _setting(
        "WORKER_SCHEDULE_<JOB>",
        "when the daemon runs a job, as in WORKER_SCHEDULE_ENGAGEMENT_SCORE=03:00: a local time of day, `every 5m`,"
        " or off",
        str,  # read apart: a variable for each job
        (),
        shown="03:00 to 04:00, prune at 04:30; conversion_events every 5m",
    )
    catch_up: str = _setting(
        "WORKER_CATCH_UP",
        "which of the days that the daemon missed it makes good: latest, all (each as of its own end), or none",
        _one_of(*CATCH_UP),
        "latest",
    )
    lease_seconds: int = _setting(
        "WORKER_LEASE_SECONDS",
        "how long a run stays claimed after its process falls silent; it is renewed at a third of that",
        _seconds(1),
        60,
    )
    grace_seconds: int = _setting(
        "WORKER_GRACE_SECONDS",
        "how long a stop may take from the signal on; whatever would kill the process must wait longer",
        _seconds(1),
        20,
    )
    database_wait_seconds: int = _setting(
        "WORKER_DATABASE_WAIT_SECONDS", "how long to keep trying while the database is away", _seconds(0), 60
    )
    executor: str = _setting(
        "WORKER_EXECUTOR",
        "where shards are worked on: local, processes, processes=N or dask=tcp://scheduler:8786",
        parse_executor,
        LOCAL,
    )
    statement_timeout_seconds: int = _setting(
        "WORKER_STATEMENT_TIMEOUT_SECONDS", "the longest a single statement may take", _seconds(1), 300
    )
    lock_timeout_seconds: int = _setting(
        "WORKER_LOCK_TIMEOUT_SECONDS", "the longest a statement may wait for a lock", _seconds(1), 10
    )
    http: tuple[str, int] | None = _setting(
        "WORKER_HTTP",
        "address at which the daemon answers /healthz, /readyz and /metrics, such as 127.0.0.1:9464",
        _address,
        None,
        shown="unset: it listens nowhere",
    )
    keep_daily_days: int = _setting(
        "WORKER_KEEP_DAILY_DAYS", "for how many days `prune` keeps every daily snapshot", _days(1), 35
    )
    keep_weekly_days: int = _setting(
        "WORKER_KEEP_WEEKLY_DAYS",
        "for how many days it then keeps the last of each ISO week; of what is older, the last of each month",
        _days(1),
        365,
    )
    report_dir: Path | None = _setting(  # noqa: RUF009 - as above
        "WORKER_REPORT_DIR",
        "folder for the reports that the daemon writes at 04:15 (WORKER_SCHEDULE_REPORT); needs the extra `report`",
        _directory,
        None,
        shown="unset: it writes none",
    )
    log_level: str = _setting(
        "WORKER_LOG_LEVEL",
        "DEBUG, INFO, WARNING, ERROR or CRITICAL: the least of what is logged",
        _one_of("DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL", fold=str.upper),
        "INFO",
    )
    log_format: str = _setting(
        "WORKER_LOG_FORMAT",
        "console (readable), json, or auto: console on a terminal, json otherwise",
        _one_of("auto", "json", "console"),
        "auto",
    )

    @classmethod
    def from_environment(cls, environ: Mapping[str, str]) -> Self:
        """Read the settings; a variable that is empty counts as unset. ConfigurationError lists every problem."""
        values: dict[str, Any] = {}
        problems: list[str] = []
        schedules: dict[str, Schedule] = {}
        for setting in setting_fields():
            env = setting.metadata["env"]
            if setting.name == "schedules":
                schedules = _schedules(environ, problems)
                continue
            text = environ.get(env, "").strip()
            if not text:
                continue
            try:
                values[setting.name] = setting.metadata["parse"](text)
            except ValueError as exc:
                problems.append(f"{env} {exc}")
        _with_report(schedules, values.get("report_dir"), problems)
        values["schedules"] = tuple(schedules.items())
        if problems:
            from worker.logs import redact_text  # noqa: PLC0415 - where all is well nothing needs it

            # A problem repeats the value, which may be an address that was put into the wrong variable.
            raise ConfigurationError([redact_text(problem) for problem in problems])
        return cls(**values)


def setting_fields() -> tuple[Field[Any], ...]:
    """List the fields of Settings in their order, for a table of them: metadata has env, meaning and default."""
    return fields(Settings)


def warn_about_unknown(
    environ: Mapping[str, str], options: Collection[str] | None = None, twins: Collection[str] = ()
) -> list[str]:
    """
    Say which variables look like settings but are none, with what was probably meant; an empty list is good news.

    options are the environment twins of the command line's options. Without them only names that resemble a setting
    are reported, since any other may be such a twin. twins are those of the command at hand: a name that resembles one
    is reported too. Values are never repeated.
    """
    names = [setting.metadata["env"] for setting in setting_fields()]
    known = {*names, *(options or ()), *twins}
    warnings = []
    for name in sorted(environ):
        # DATABASE_URL has no prefix of ours, so its misspellings matter only while it is missing itself.
        if name.startswith(SCHEDULE_PREFIX):
            continue  # those that name no job were refused
        strange = (name.startswith(PREFIX) and name not in known) or (
            name.startswith("DATA") and "DATABASE_URL" not in environ
        )
        if not strange:
            continue
        close = difflib.get_close_matches(name, known, n=1, cutoff=0.85)
        if close:
            warnings.append(f"{name} is not a setting; did you mean {close[0]}?")
        elif options is not None and name.startswith(PREFIX):
            warnings.append(f"{name} is not a setting and has no effect")
    return warnings
