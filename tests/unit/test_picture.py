"""The picture of the house in worker/__init__.py shows what is there; each job's page has its four parts."""

import ast
import re
from pathlib import Path

import pytest

import worker
from worker.jobs import load_job
from worker.timetable import JOB_NAMES

HOUSE = Path(worker.__file__).parent
PICTURE = worker.__doc__ or ""


def test_every_module_and_folder_that_the_picture_names_is_there():
    named = set(re.findall(r"\b((?:\w+/)*\w+\.(?:py|sql))\b", PICTURE)) | set(re.findall(r"\b(\w+/)", PICTURE))
    assert len(named) > 30
    outside = {"schema/", "snapshots/"}
    missing = [name for name in named - outside if not (HOUSE / name).exists() and not list(HOUSE.glob(f"*/{name}"))]
    assert missing == []


def test_no_folder_of_the_house_is_left_out():
    folders = {f"{path.parent.name}/" for path in HOUSE.glob("*/__init__.py")}
    assert {folder for folder in folders if folder not in PICTURE} == set()


def test_the_seven_rules_are_seven():
    assert re.findall(r"^(\d)\. ", PICTURE.split("Seven rules")[1].split("A lead")[0], flags=re.MULTILINE) == list(
        "1234567"
    )


@pytest.mark.parametrize("name", JOB_NAMES)
def test_a_jobs_page_says_meaning_formula_source_and_limits(name):
    page = load_job(name).__doc__ or ""
    assert page.strip().startswith(f"{name}: ")
    for part in ("Meaning.", "Formula.", "Check.", "Source.", "Limits."):
        assert f"\n{part} " in page, part
    assert 15 <= len(page.strip().splitlines()) <= 40
    referred = re.findall(r"worker/([\w/]+\.py)", page)
    assert [path for path in referred if not (HOUSE / path).is_file()] == []


def test_the_version_is_where_the_build_looks_for_it():
    tree = ast.parse((HOUSE / "__init__.py").read_text(encoding="utf-8"))
    assert [node.targets[0].id for node in tree.body if isinstance(node, ast.Assign)] == ["__version__"]
