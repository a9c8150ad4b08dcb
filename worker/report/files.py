"""Puts a page's file in place in one step: a reader sees the old page or the new one, never half of one."""

import os
import secrets
from contextlib import suppress
from pathlib import Path
from urllib.parse import quote

from worker.errors import WorkerError

INDEX = "index.html"  # the page over all clients


def file_name(client_id: str) -> str:
    """Name a client's file by its client_id alone, with what no file system or shell could take for a path escaped."""
    name = f"{quote(client_id, safe='')}.html"
    return f"%{ord(name[0]):02X}{name[1:]}" if name.lower() == INDEX else name  # some file systems know no case


def prepare_folder(folder: Path) -> None:
    """Make the folder; WorkerError where it cannot be made."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as exc:
        raise WorkerError(f"the folder {folder} cannot be made: {exc.strerror}") from exc


def write_page(path: Path, html: str) -> int:
    """Write a page beside its place and move it there; gives its bytes. WorkerError where it cannot be written."""
    content = html.encode("utf-8", "replace")
    beside = path.with_name(f".{path.name}.{secrets.token_hex(4)}.tmp")
    try:
        try:
            descriptor = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o666)
            with os.fdopen(descriptor, "wb") as file:
                file.write(content)
            beside.replace(path)
        except BaseException:  # a signal, or a full disk: what is there stays, and no litter beside it
            with suppress(OSError):
                beside.unlink()
            raise
    except OSError as exc:
        raise WorkerError(f"{path} cannot be written: {exc.strerror}") from exc
    return len(content)
