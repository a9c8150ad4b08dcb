"""Addresses that are none: told in a sentence, with exit code 2, and never with what else stands in them."""

import pytest
from prometheus_client import CollectorRegistry

import worker.__main__
import worker.daemon
from worker.database.pool import open_pool
from worker.endpoint import serve
from worker.errors import ConfigurationError
from worker.health import ask
from worker.readiness import Verdict
from worker.settings import Settings


@pytest.mark.parametrize("rest", ["127.0.0.1:1/db?connect_timeout=abc", "aa..bb/db", "\udcff/db"])
def test_an_address_of_no_database(rest):
    settings = Settings(database_url=f"postgresql://u:hunter2@{rest}", database_wait_seconds=0)
    with pytest.raises(ConfigurationError, match="DATABASE_URL cannot be read") as raised, open_pool(settings):
        pass
    assert raised.value.__cause__ is None
    assert "hunter2" not in str(raised.value)


def test_an_address_at_which_nobody_can_listen():
    registry = CollectorRegistry()
    server = serve(("a..b", 9464), health=lambda: True, ready=lambda: Verdict(database=True), registry=registry)
    with pytest.raises(ConfigurationError, match=r"WORKER_HTTP: the worker cannot listen at a\.\.b, port 9464"), server:
        pass
    well, line = ask(("a..b", 9464), "/healthz")
    assert (well, line.startswith("no answer from a..b")) == (False, True)


def test_what_the_daemon_does_not_expect_is_told_without_what_it_quotes(monkeypatch, capsys):
    def fail(_settings):
        raise ValueError("could not convert string to float: 'ada@example.com'")

    monkeypatch.setattr(worker.daemon, "run_daemon", fail)
    monkeypatch.setenv("DATABASE_URL", "postgresql://u:hunter2@nowhere/db")
    assert worker.__main__.main([]) == 1
    told = capsys.readouterr().err
    assert told.startswith("Error: ValueError (")
    assert "ada@example.com" not in told
