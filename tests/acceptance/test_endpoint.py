"""The daemon's HTTP address: what it answers, to whom, how long that may take, and what it never says."""

import http.client
import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta

import pytest
from conftest import settings_for
from psycopg.conninfo import make_conninfo
from support import PROJECT, add_client, clean_environment, run_worker
from test_status_command import all_well, long_installed

import worker.endpoint
import worker.readiness
from worker.database.pool import open_pool
from worker.endpoint import Pulse, serve, start_endpoint
from worker.errors import ConfigurationError
from worker.health import ask
from worker.metrics import Metrics
from worker.readiness import Readiness, Reliability, Verdict
from worker.status import find_status
from worker.summary import JobSummary

CLIENT = "550e8400-e29b-41d4-a716-446655440000"
LOCAL = ("127.0.0.1", 0)
WELL = Verdict(database=True)


@contextmanager
def answering(address=LOCAL, *, health=lambda: True, ready=lambda: WELL, metrics=None):
    """An endpoint of this process; gives its port."""
    registry = (metrics or Metrics(["engagement_score"])).registry
    with serve(address, health=health, ready=ready, registry=registry) as port:
        yield port


def fetch(port, path, method="GET", host="127.0.0.1", **headers):
    connection = http.client.HTTPConnection(host, port, timeout=10)
    connection.request(method, path, headers=headers)
    response = connection.getresponse()
    found = response.status, dict(response.getheaders()), response.read().decode()
    connection.close()
    return found


def free_port():
    with socket.create_server(LOCAL) as taken:
        return taken.getsockname()[1]


def test_three_paths_two_methods_and_nothing_else():
    with answering() as port:
        assert [fetch(port, path)[0] for path in ("/healthz", "/readyz", "/metrics", "/healthz?probe=1")] == [200] * 4
        for path in ("/", "/healthz/", "/admin", "/%2e%2e/etc/passwd"):
            assert fetch(port, path)[::2] == (404, "Not Found\n")
        for method in ("POST", "PUT", "DELETE", "TRACE"):
            status, headers, _ = fetch(port, "/healthz", method)
            assert (status, headers["Allow"]) == (405, "GET, HEAD")
        status, headers, body = fetch(port, "/healthz", "HEAD")
        assert (status, int(headers["Content-Length"]), body) == (200, len(fetch(port, "/healthz")[2]), "")


def test_says_nothing_of_what_it_runs_on():
    with answering() as port:
        for path in ("/healthz", "/nothing", "/metrics"):
            _, headers, _ = fetch(port, path)
            assert "Server" not in headers
        with socket.create_connection(("127.0.0.1", port)) as wire:
            wire.sendall(b"<script>alert(1)</script>\r\n\r\n")
            answer = wire.makefile("rb").read().decode()
        assert "script" not in answer
        assert "Python" not in answer


def test_health_and_readiness_are_503_when_not_well():
    late = Verdict(database=True, late={"engagement_score": ("2026-03-08", "2026-03-09")})
    with answering(health=lambda: False, ready=lambda: late) as port:
        assert fetch(port, "/healthz")[::2] == (503, '{"healthy": false}\n')
        status, _, body = fetch(port, "/readyz")
        assert status == 503
        assert json.loads(body) == {
            "ready": False, "database": True,
            "late": [{"job": "engagement_score", "periods": ["2026-03-08", "2026-03-09"]}],
        }  # fmt: skip
        assert ask(("0.0.0.0", port), "/healthz") == (False, "/healthz: not well")
        assert ask(("127.0.0.1", port), "/readyz") == (False, "/readyz: not well; late: engagement_score 2026-03-09")


def test_the_health_command_asks_the_endpoint():
    with answering() as port:
        for arguments in ((), ("--ready",)):
            outcome = run_worker(None, "health", *arguments, WORKER_HTTP=f"0.0.0.0:{port}")
            assert (outcome.code, outcome.err) == (0, "")
            assert outcome.out.endswith("z: well\n")


def test_an_error_inside_is_500_without_a_word_of_it():
    def broken():
        raise RuntimeError(f"password=hunter2 {CLIENT}")

    with answering(ready=broken) as port:
        assert fetch(port, "/readyz")[::2] == (500, "Internal Server Error\n")
        assert fetch(port, "/healthz")[0] == 200


def test_ipv6():
    if not socket.has_ipv6:
        pytest.skip("no IPv6 in this Python")
    try:
        socket.create_server(("::1", 0), family=socket.AF_INET6).close()
    except OSError:
        pytest.skip("no IPv6 on this machine")
    with answering(("::1", 0)) as port:
        assert fetch(port, "/healthz", host="::1")[0] == 200
        assert run_worker(None, "health", WORKER_HTTP=f"[::]:{port}").code == 0


@pytest.mark.parametrize("host", ["127.0.0.1", "192.0.2.1", "no-such-host.invalid"])
def test_an_address_that_cannot_be_had_is_a_wrong_setting(host):
    with socket.create_server(LOCAL) as taken:
        port = taken.getsockname()[1]
        told = rf"WORKER_HTTP: .* listen at {host}, port {port}: "
        with pytest.raises(ConfigurationError, match=told) as caught, answering((host, port)):
            pass
    assert caught.value.exit_code == 2


def test_the_slow_are_cut_off_and_the_many_turned_away(monkeypatch):
    monkeypatch.setattr(worker.endpoint, "REQUEST_SECONDS", 0.2)
    monkeypatch.setattr(worker.endpoint, "MOST_REQUESTS", 3)
    with answering() as port:
        slow = [socket.create_connection(("127.0.0.1", port), timeout=5) for _ in range(3)]
        for wire in slow:
            wire.sendall(b"GET /healthz HT")
        time.sleep(0.05)
        with socket.create_connection(("127.0.0.1", port), timeout=5) as fourth:
            assert closed(fourth)
        assert all(closed(wire) for wire in slow)  # within their 5 s, without an answer
        assert fetch(port, "/healthz")[0] == 200
        for wire in slow:
            wire.close()


def closed(wire):
    """Whether the other side ends the connection without an answer."""
    try:
        return wire.recv(100) == b""
    except ConnectionResetError:
        return True


def test_the_pulse_stops_three_minutes_after_the_last_tick_unless_at_work(monkeypatch):
    now = [0.0]
    monkeypatch.setattr(worker.endpoint.time, "monotonic", lambda: now[0])
    pulse = Pulse()
    now[0] = 179
    assert pulse.is_alive()
    now[0] = 181
    assert not pulse.is_alive()
    with pulse.working():
        now[0] = 10_000
        assert pulse.is_alive()
    assert pulse.is_alive()
    now[0] = 10_181
    assert not pulse.is_alive()
    pulse.beat()
    assert pulse.is_alive()


def samples(text):
    return {line.rpartition(" ")[0]: float(line.rpartition(" ")[2]) for line in text.splitlines() if line[0] != "#"}


def test_metrics_are_what_happened():
    metrics = Metrics(["engagement_score", "prune"])
    metrics.observe(JobSummary("engagement_score", "2026-03-09", clients=7, snapshots=9, inserted=4, updated=3,
                               unchanged=2, seconds=2.5))  # fmt: skip
    metrics.observe(JobSummary("engagement_score", "2026-03-09", "failed", seconds=0.01, failed_clients=[CLIENT],
                               error=f"password=hunter2 of jane@example.com {CLIENT}"))  # fmt: skip
    metrics.observe(JobSummary("engagement_score", "2026-03-09", "skipped"))
    metrics.retry()
    now = datetime(2026, 3, 10, 12, tzinfo=UTC)
    schedules = {"engagement_score": now.time(), "prune": timedelta(minutes=5)}
    metrics.refresh(find_status(now + timedelta(hours=2), UTC, schedules, []),
                    [Reliability("engagement_score", 40, 0.8, 0.6)])  # fmt: skip
    with answering(metrics=metrics) as port:
        _, headers, text = fetch(port, "/metrics")
        assert headers["Content-Type"].startswith("text/plain; version=")
        assert fetch(port, "/metrics", Accept="application/openmetrics-text; version=1.0.0")[2].endswith("# EOF\n")
    found = samples(text)
    prefix, job = "growth_worker_", '{job="engagement_score"'
    assert found[f'{prefix}runs_total{job},status="done"}}'] == 1
    assert found[f'{prefix}runs_total{job},status="failed"}}'] == 1
    assert found[f'{prefix}runs_total{{job="prune",status="failed"}}'] == 0
    assert found[f"{prefix}run_seconds_count{job}}}"] == 2
    assert found[f"{prefix}run_seconds_sum{job}}}"] == 2.51
    assert found[f'{prefix}snapshots_total{job},kind="inserted"}}'] == 4
    assert found[f"{prefix}retries_total"] == 1
    assert found[f"{prefix}late_periods{job}}}"] == 1
    assert not [name for name in found if name.startswith(f"{prefix}last_success")]  # never: no such series
    assert found[f"{prefix}reliability{job}}}"] == pytest.approx(0.75)
    assert found[f"{prefix}reliability_gap{job}}}"] == pytest.approx(0.2)
    assert [name for name in found if name.startswith(f"{prefix}build_info")]
    assert not re.search(r"hunter2|jane|550e8400|_created", text)


def test_ready_asks_the_ledger_on_a_connection_that_does_not_stay(worker_url, database_url, connect, monkeypatch):
    monkeypatch.setattr(worker.readiness, "FRESH_SECONDS", 60)
    conn = connect(database_url)
    all_well(conn)
    with open_pool(settings_for(worker_url)) as database:
        readiness = Readiness(database, database.settings)
        assert readiness() == WELL
        conn.execute("UPDATE worker.runs SET finished_at = now() - interval '31 minutes'")
        assert readiness() == WELL  # a fresh look serves whoever asks
        monkeypatch.setattr(worker.readiness, "FRESH_SECONDS", 0)
        assert list(readiness().late) == ["conversion_events"]
        others = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND usename <> current_user"
        deadline = time.monotonic() + 5
        while conn.execute(others).fetchone() != (0,):  # a server process ends a moment after its connection
            assert time.monotonic() < deadline
            time.sleep(0.02)


def test_ready_answers_in_time_when_the_database_does_not(worker_url, monkeypatch):
    """A server that takes connections and says nothing: the network's way of being away."""
    monkeypatch.setattr(worker.readiness, "LIMIT_SECONDS", 0.4)
    with open_pool(settings_for(worker_url)) as database, socket.create_server(LOCAL) as mute:
        host, port = mute.getsockname()
        database._conninfo = make_conninfo(database._conninfo, host=host, port=port, connect_timeout=2)
        ready = Readiness(database, database.settings)
        began = time.monotonic()
        assert [ready().database for _ in range(20)] == [False] * 20
        assert time.monotonic() - began < 2  # twenty askers share the one look that hangs


@pytest.mark.parametrize("server", ["embedded"], indirect=True)
def test_ready_is_so_again_after_a_look_that_was_never_answered(database_url, connect, monkeypatch):
    """As behind a pooler that is alive, takes the question, and passes nothing on."""
    all_well(connect(database_url))
    monkeypatch.setattr(worker.readiness, "LIMIT_SECONDS", 2.0)
    monkeypatch.setattr(worker.readiness, "FRESH_SECONDS", 0)
    real, held = worker.readiness.read_statuses, []

    def stop_the_server_first(conn, *arguments):
        if not held:
            held.append(conn.execute("SELECT pg_backend_pid()").fetchone()[0])
            os.kill(held[0], signal.SIGSTOP)
        return real(conn, *arguments)

    monkeypatch.setattr(worker.readiness, "read_statuses", stop_the_server_first)
    with open_pool(settings_for(database_url)) as database:
        ready = Readiness(database, database.settings)
        try:
            assert ready() == Verdict(database=False)
            assert ready._look._done.wait(10)
            assert ready() == WELL
        finally:
            os.kill(held[0], signal.SIGCONT)


def test_ready_says_no_where_the_ledger_cannot_be_read(empty_database_url):
    with open_pool(settings_for(empty_database_url)) as database:
        assert Readiness(database, database.settings)() == Verdict(database=False)


def test_without_the_setting_nothing_listens(worker_url):
    with open_pool(settings_for(worker_url)) as database:
        with start_endpoint(database.settings, database, Pulse(), Metrics([])) as address:
            assert address is None
        port = free_port()
        settings = settings_for(worker_url, WORKER_HTTP=f"127.0.0.1:{port}")
        with start_endpoint(settings, database, Pulse(), Metrics([])) as address:
            assert fetch(address[1], "/readyz")[0] == 200
        with pytest.raises(ConnectionRefusedError):
            fetch(port, "/healthz")


@pytest.mark.parametrize("server", ["embedded"], indirect=True)
def test_a_daemon_answers_counts_and_stops(worker_url, database_url, connect):
    conn = connect(database_url)
    add_client(conn, 1)
    long_installed(conn)
    port = free_port()
    off = {f"WORKER_SCHEDULE_{job.upper()}": "off" for job in (
        "urgency_trend", "tone_distribution", "pattern_detection", "conversion_prediction", "accuracy_review", "prune"
    )}  # fmt: skip
    environment = clean_environment(worker_url, WORKER_HTTP=f"127.0.0.1:{port}", WORKER_SCHEDULE_ENGAGEMENT_SCORE="off",
                                    WORKER_LOG_LEVEL="WARNING", **off)  # fmt: skip
    process = subprocess.Popen(
        [sys.executable, "-m", "worker"], cwd=PROJECT, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        text=True,
    )  # fmt: skip
    try:
        found = wait_for_success(process, port)
        assert found['growth_worker_late_periods{job="conversion_events"}'] == 0
        assert time.time() - found['growth_worker_last_success_timestamp_seconds{job="conversion_events"}'] < 60
        assert [fetch(port, path)[0] for path in ("/healthz", "/readyz")] == [200, 200]
        second = subprocess.run(
            [sys.executable, "-m", "worker"], cwd=PROJECT, env=environment, capture_output=True, text=True, timeout=60,
            check=False,
        )  # fmt: skip
        assert second.returncode == 2
        assert "WORKER_HTTP: the worker cannot listen at" in second.stderr
        assert "Traceback" not in second.stderr
        process.send_signal(signal.SIGTERM)
        _, log = process.communicate(timeout=20)
        assert (process.returncode, log) == (0, "")
    finally:
        if process.poll() is None:
            os.kill(process.pid, signal.SIGKILL)
            process.communicate()


def wait_for_success(process, port):
    """Ask for the metrics until they tell of a success; they are 0 or absent before the first tick's end."""
    deadline = time.monotonic() + 40
    name = 'growth_worker_last_success_timestamp_seconds{job="conversion_events"}'
    while time.monotonic() < deadline and process.poll() is None:
        try:
            found = samples(fetch(port, "/metrics")[2])
        except ConnectionRefusedError:
            found = {}
        if name in found:
            return found
        time.sleep(0.1)
    process.kill()
    raise AssertionError(process.communicate())
