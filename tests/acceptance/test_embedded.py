"""The embedded server: starts from nothing, is shared, stops with its last user, and touches nothing else."""

import os
import shutil
import signal
import stat
import subprocess
import sys
import tempfile
from pathlib import Path

import psycopg
import pytest
from conftest import settings_for

from worker.database import embedded
from worker.database.embedded import default_folder, embedded_server
from worker.database.pool import open_pool
from worker.errors import ConfigurationError

pytestmark = pytest.mark.skipif(os.name != "posix", reason="processes and permissions of POSIX systems")
IS_ROOT = hasattr(os, "geteuid") and os.geteuid() == 0
PROJECT = Path(__file__).resolve().parents[2]

# A process that uses the server until its input ends, and then leaves in an orderly way.
USER = """
import sys
from pathlib import Path
from worker.database.embedded import embedded_server
with embedded_server(Path(sys.argv[1])) as conninfo:
    print(conninfo, flush=True)
    sys.stdin.read()
"""


@pytest.fixture
def place():
    """A folder that everybody may enter; pytest's own are private, which matters to a server started by root."""
    folder = Path(tempfile.mkdtemp(prefix="gbw-", dir="/var/tmp"))
    folder.chmod(0o755)
    yield folder
    shutil.rmtree(folder)


def start_user(folder):
    process = subprocess.Popen(
        [sys.executable, "-c", USER, str(folder)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=PROJECT,
    )
    conninfo = process.stdout.readline().strip()
    assert conninfo, process.stderr.read()
    return process, conninfo


def leave(process):
    _, complaints = process.communicate(timeout=60)
    assert (process.returncode, complaints) == (0, "")


def answers(conninfo):
    try:
        psycopg.connect(conninfo, connect_timeout=5).close()
    except psycopg.OperationalError:
        return False
    return True


def wait_for_the_guardian(folder):
    """The guardian holds this lock until it has stopped the server."""
    with embedded.guardian.opened(folder / "guardian.lock") as post:
        embedded.guardian.lock(post, shared=False, wait=True)


def modes(paths):
    return {path: stat.S_IMODE(path.stat().st_mode) for path in paths}


def test_it_starts_keeps_its_data_and_stops(place):
    with embedded_server(place / "server") as conninfo, psycopg.connect(conninfo, autocommit=True) as conn:
        version, encoding, database = conn.execute(
            "SELECT current_setting('server_version_num')::int, current_setting('server_encoding'), current_database()"
        ).fetchone()
        assert version >= 150000
        assert (encoding, database) == ("UTF8", "growth_brain")
        assert conn.execute("SHOW fsync").fetchone() == ("on",)
        assert conn.execute("SHOW listen_addresses").fetchone() == ("",)
        assert conn.execute("SELECT lower('ÉLEVÉE')").fetchone() == ("élevée",)
        assert conn.execute("SELECT count(*) FROM pg_database WHERE datname = 'postgres'").fetchone() == (1,)
        conn.execute("CREATE TABLE kept (id int)")
    assert not answers(conninfo)
    assert not (place / "server" / "data" / "postmaster.pid").exists()
    with embedded_server(place / "server") as conninfo, psycopg.connect(conninfo) as conn:
        assert conn.execute("SELECT count(*) FROM kept").fetchone() == (0,)
    wait_for_the_guardian(place / "server")


def test_the_settings_start_it(place):
    settings = settings_for("embedded", WORKER_EMBEDDED_DIR=str(place / "server"))
    with open_pool(settings) as database, database.read() as conn:
        assert conn.execute("SELECT current_database()").fetchone() == ("growth_brain",)
    assert not (place / "server" / "data" / "postmaster.pid").exists()


def test_it_is_shared_and_the_last_one_out_stops_it(place):
    first, conninfo = start_user(place / "server")
    second, conninfo_of_second = start_user(place / "server")
    assert conninfo == conninfo_of_second
    leave(first)
    assert answers(conninfo)
    with embedded_server(place / "server") as third:
        assert third == conninfo
        leave(second)
        assert answers(conninfo)
    assert not answers(conninfo)


def test_two_that_start_at_once_share_one(place):
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", USER, str(place / "server")],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            cwd=PROJECT,
        )
        for _ in range(3)
    ]
    addresses = {process.stdout.readline().strip() for process in processes}
    assert len(addresses) == 1
    assert answers(addresses.pop())
    for process in processes:
        leave(process)
    wait_for_the_guardian(place / "server")
    assert not (place / "server" / "data" / "postmaster.pid").exists()


@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGKILL])
def test_it_stops_when_its_only_user_is_killed(place, how):
    process, conninfo = start_user(place / "server")
    assert answers(conninfo)
    process.send_signal(how)
    process.communicate(timeout=60)
    assert process.returncode == -how
    wait_for_the_guardian(place / "server")
    assert not answers(conninfo)
    # and it comes back
    with embedded_server(place / "server") as again:
        assert answers(again)


def test_it_goes_on_for_the_others_when_one_is_killed(place):
    first, conninfo = start_user(place / "server")
    second, _ = start_user(place / "server")
    first.kill()
    first.communicate(timeout=60)
    assert answers(conninfo)
    leave(second)
    wait_for_the_guardian(place / "server")
    assert not answers(conninfo)


def test_it_comes_back_after_a_crash_of_the_server(place):
    folder = place / "server"
    with embedded_server(folder) as conninfo:
        with psycopg.connect(conninfo, autocommit=True) as conn:
            conn.execute("CREATE TABLE kept (id int)")
        pid = int((folder / "data" / "postmaster.pid").read_text().split()[0])
        os.kill(pid, signal.SIGQUIT)  # the postmaster's immediate end, as in a crash
        wait_until_gone(pid)
    # A number that now belongs to another program, as after a container's restart
    lines = (
        (folder / "data" / "postmaster.pid").read_text().splitlines()
        if (folder / "data" / "postmaster.pid").exists()
        else []
    )
    if lines:
        (folder / "data" / "postmaster.pid").write_text("\n".join([str(os.getpid()), *lines[1:]]) + "\n")
    with embedded_server(folder) as again, psycopg.connect(again) as conn:
        assert conn.execute("SELECT count(*) FROM kept").fetchone() == (0,)


def wait_until_gone(pid):
    """Wait for the end of a process that is not our child: its file descriptor becomes readable."""
    import select

    if not hasattr(os, "pidfd_open"):
        pytest.skip("no pidfd on this system")
    try:
        descriptor = os.pidfd_open(pid)
    except ProcessLookupError:
        return
    try:
        assert select.select([descriptor], [], [], 60)[0]
    finally:
        os.close(descriptor)


def test_nothing_outside_the_data_folder_changes(place):
    home = place / "home"
    home.mkdir(mode=0o711)
    (home / "notes").write_text("mine")
    (home / "notes").chmod(0o600)
    wheel = embedded._programs_of_the_wheel()
    watched = [home, home / "notes", *home.parents, wheel, *wheel.parents, wheel.parent / "lib", wheel / "postgres"]
    before = modes(watched)
    with embedded_server(home / "server") as conninfo:
        assert answers(conninfo)
        assert modes(watched) == before
        data = (home / "server" / "data").stat()
        assert stat.S_IMODE(data.st_mode) == 0o700
        assert (data.st_uid != os.geteuid()) == IS_ROOT
    assert modes(watched) == before


@pytest.mark.skipif(not IS_ROOT, reason="only root runs the server as another user")
def test_root_is_refused_a_private_home_and_its_mode_stays(place):
    home = place / "home"
    home.mkdir(mode=0o700)
    with (
        pytest.raises(ConfigurationError, match=r"may not enter .*/home; its permissions stay") as caught,
        embedded_server(home / "deep" / "server"),
    ):
        pass
    assert "WORKER_EMBEDDED_DIR" in str(caught.value)
    assert caught.value.exit_code == 2
    assert stat.S_IMODE(home.stat().st_mode) == 0o700
    assert list(home.iterdir()) == []


@pytest.mark.skipif(not IS_ROOT, reason="only root runs the server as another user")
def test_root_uses_programs_from_a_private_virtual_environment(place):
    """A virtual environment under /root: the server's user may not go there, and /root must not be opened for it."""
    wheel = embedded._programs_of_the_wheel().parent
    private = place / "private"
    private.mkdir(mode=0o700)
    package = private / "site-packages" / wheel.parent.name
    shutil.copytree(wheel, package / wheel.name)
    libraries = wheel.parent.with_name(f"{wheel.parent.name}.libs")
    if libraries.is_dir():
        shutil.copytree(libraries, package.with_name(libraries.name))
    for _ in range(2):
        with embedded_server(place / "server", programs=package / wheel.name / "bin") as conninfo:
            assert answers(conninfo)
    assert stat.S_IMODE(private.stat().st_mode) == 0o700
    assert len(list((place / "server").glob("programs-*"))) == 1


@pytest.mark.skipif(not IS_ROOT, reason="becomes another user")
def test_an_ordinary_user_needs_nothing_of_root(place):
    private = embedded._first_private(Path(sys.executable).resolve())
    if private is not None:
        pytest.skip(f"an ordinary user cannot run this Python, which lies under {private}")
    home = place / "home"
    home.mkdir()
    shutil.chown(home, "nobody")
    done = subprocess.run(
        [sys.executable, "-c", USER, str(home / "data" / "server")],
        input="",
        capture_output=True,
        text=True,
        cwd=PROJECT,
        user="nobody",
        check=False,
        env={"PATH": os.environ["PATH"], "HOME": str(home), "PYTHONDONTWRITEBYTECODE": "1"},
        timeout=60,
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert stat.S_IMODE((home / "data" / "server").stat().st_mode) == 0o700


def test_a_folder_that_is_not_ours_is_refused(place):
    somewhere = place / "elsewhere"
    somewhere.mkdir()
    (place / "link").symlink_to(somewhere)
    open_to_all = place / "open"
    open_to_all.mkdir()
    open_to_all.chmod(0o777)
    for folder in (place / "link", open_to_all):
        with pytest.raises(ConfigurationError, match="not only ours"), embedded_server(folder):
            pass
    assert list(somewhere.iterdir()) == []


def test_a_path_too_long_for_a_socket(place):
    deep = place / ("a" * 60) / ("b" * 60) / "it's a folder"
    with embedded_server(deep) as conninfo:
        assert answers(conninfo)
        socket_folder = Path(str(psycopg.conninfo.conninfo_to_dict(conninfo)["host"]))
        assert stat.S_IMODE(socket_folder.stat().st_mode) == 0o700
    assert not answers(conninfo)
    shutil.rmtree(socket_folder)


@pytest.mark.parametrize("name", ['a"b', "a$(touch b)", "a`b", "a\\b"])
def test_a_path_that_a_shell_would_read_is_refused(place, name):
    with pytest.raises(ConfigurationError, match="character"), embedded_server(place / name):
        pass
    assert list(place.iterdir()) == []


def test_without_the_extra_it_says_what_to_install(place, monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda _name: None)
    with (
        pytest.raises(ConfigurationError, match=r"pip install 'growth-brain-worker\[embedded\]'"),
        embedded_server(place / "server"),
    ):
        pass


def test_data_of_another_version_are_left_alone(place):
    (place / "server" / "data").mkdir(parents=True)
    (place / "server" / "data" / "PG_VERSION").write_text("14\n")
    with pytest.raises(Exception, match="are of PostgreSQL 14, not"), embedded_server(place / "server"):
        pass


def test_the_default_folder(monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path))
    assert default_folder().name == "growth-brain-worker"
    if IS_ROOT:
        assert default_folder().parent in (Path("/var/lib"), Path("/var/tmp"))
    monkeypatch.setattr(embedded, "_is_root", lambda: False)
    monkeypatch.setattr("sys.platform", "linux")
    assert default_folder() == tmp_path / "growth-brain-worker"
    monkeypatch.delenv("XDG_DATA_HOME")
    assert default_folder() == Path.home() / ".local" / "share" / "growth-brain-worker"
    monkeypatch.setattr("sys.platform", "darwin")
    assert default_folder() == Path.home() / "Library" / "Application Support" / "growth-brain-worker"
    monkeypatch.setattr("sys.platform", "win32")
    monkeypatch.setenv("LOCALAPPDATA", str(tmp_path))
    assert default_folder() == tmp_path / "growth-brain-worker"
