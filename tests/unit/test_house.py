"""The rules of the house that no other test sees: layers, and a README that keeps its word."""

import ast
import re
import subprocess
import sys
from pathlib import Path

import pytest

from worker.commands import COMMANDS, JOBS, JOBS_COMMAND, load_command
from worker.jobs import load_job
from worker.settings import setting_fields
from worker.timetable import JOB_NAMES

ROOT = Path(__file__).resolve().parents[2]
README = (ROOT / "README.md").read_text(encoding="utf-8")
PURE = [*sorted((ROOT / "worker" / "statistics").glob("*.py")), *sorted((ROOT / "worker" / "jobs").glob("*.py"))]


def imported_modules(path: Path) -> set[str]:
    names: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            names.add(node.module)
    return names


@pytest.mark.parametrize("path", PURE, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_the_arithmetic_knows_no_database_log_or_clock(path):
    outside = ("database", "logs", "ledger", "growth_brain", "runner", "settings")
    forbidden = ("psycopg", "structlog", "click", *(f"worker.{name}" for name in outside))
    assert [name for name in imported_modules(path) if name.startswith(forbidden)] == []
    assert not re.search(r"\b(datetime\.now|time\.time|utcnow|default_rng\(\))", path.read_text(encoding="utf-8"))


@pytest.mark.parametrize("path", sorted((ROOT / "worker").rglob("*.py")), ids=lambda p: p.relative_to(ROOT).as_posix())
def test_every_module_opens_with_a_sentence(path):
    docstring = ast.get_docstring(ast.parse(path.read_text(encoding="utf-8")))
    assert docstring
    assert len(docstring.split()) >= 3


def test_readme_names_every_job_command_and_setting():
    for name in (*JOB_NAMES, *(set(COMMANDS) - {JOBS_COMMAND}), *(field.metadata["env"] for field in setting_fields())):
        assert f"{name}" in README, name


def test_readme_settings_table_says_what_the_code_says():
    for field in setting_fields():
        meta = field.metadata
        assert f"| `{meta['env']}` | {meta['meaning']} | {meta['default']} |" in README


def test_continuous_integration_runs_the_readme_second_command_word_for_word():
    commands = re.findall(r"^python3 -m venv .*$", README, flags=re.MULTILINE)
    assert len(commands) == 2
    assert commands[1] in (ROOT / ".ci" / "run").read_text(encoding="utf-8").splitlines()


@pytest.mark.parametrize("name", JOB_NAMES)
def test_a_job_is_a_module_with_the_same_few_names(name):
    job = load_job(name)
    assert name == job.NAME
    assert JOBS[name] == job.TITLE
    assert callable(job.fit)
    assert callable(job.analyse)


@pytest.mark.parametrize("name", COMMANDS)
def test_a_command_says_of_itself_what_the_table_says_of_it(name):
    command = load_command(name)
    assert command.name == name
    assert (command.help or "").partition("\n")[0] == COMMANDS[name].line


def test_the_table_names_every_job_in_its_order():
    assert tuple(JOBS) == (*JOB_NAMES, "all")


def test_help_imports_no_command():
    """Whatever a command needs is imported when it runs: --help answers at once, and lists it all the same."""
    code = "import sys; from worker.run import main; main(['--help']); print(sorted(sys.modules), file=sys.stderr)"
    found = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert all(name in found.stdout for name in COMMANDS if name != JOBS_COMMAND)
    modules = ast.literal_eval(found.stderr)
    assert [name for name in modules if name.startswith("worker.commands.")] == ["worker.commands.overview"]
    assert not {"click", "numpy", "psycopg", "structlog", "rich", "worker.settings"} & set(modules)
