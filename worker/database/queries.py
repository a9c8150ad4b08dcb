"""Finds the SQL statements of queries.sql by name."""

import re
from functools import cache
from importlib.resources import files

from psycopg import sql

_SLOT = re.compile(r"\{(\w+)\}")


def query(name: str, **slots: sql.Composable) -> sql.Composed:
    """
    Give the statement of that name, its {slots} filled with the given pieces of SQL.

    Values are not slots: they stand in the statement as %(name)s and are given to execute. Unknown names, missing
    slots and superfluous ones are errors of the program: ValueError.
    """
    statement = _statements().get(name)
    if statement is None:
        raise ValueError(f"queries.sql has no statement named {name!r}; it has {', '.join(_statements())}")
    wanted = set(_SLOT.findall(statement))
    if wanted != set(slots):
        raise ValueError(f"the statement {name!r} has the slots {sorted(wanted)}, and got {sorted(slots)}")
    return sql.SQL(statement).format(**slots)


@cache
def _statements() -> dict[str, str]:
    """Cut the file into its statements; the comment lines that open a statement say its purpose."""
    text = (files("worker.database") / "queries.sql").read_text(encoding="utf-8")
    statements: dict[str, str] = {}
    for part in re.split(r"^-- name: ", text, flags=re.MULTILINE)[1:]:
        name, _, rest = part.partition("\n")
        lines = rest.splitlines()
        first = next(i for i, line in enumerate(lines) if line.strip() and not line.startswith("--"))
        if not any(line.startswith("-- ") for line in lines[:first]):
            raise ValueError(f"the statement {name.strip()!r} of queries.sql does not say what it is for")
        if name.strip() in statements:
            raise ValueError(f"queries.sql has two statements named {name.strip()!r}")
        statements[name.strip()] = "\n".join(lines[first:]).strip()
    return statements
