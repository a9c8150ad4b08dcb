"""Applies the files of schema/ in order: they create what is missing and leave alone what is there."""

from hashlib import sha256
from pathlib import Path

import psycopg

from worker.database.catalogue import Catalogue, read_catalogue
from worker.database.pool import Database
from worker.database.queries import query
from worker.errors import DatabaseShapeError, DatabaseUnavailableError

WAY_OUT = "rename it, for example ALTER TABLE public.growth_brain RENAME TO growth_brain_old; then run migrate again"
OWNER = (
    "Migrate as the owner of the database and its tables, who also needs the right to create tables"
    " (GRANT CREATE ON SCHEMA public TO ...)."
)


def schema_files() -> list[Path]:
    """List the SQL files in the order they are applied: beside the package in a checkout, inside it when installed."""
    package = Path(__file__).resolve().parent.parent
    for folder in (package / "schema", package.parent / "schema"):
        found = sorted(folder.glob("[0-9][0-9][0-9]_*.sql"))
        if found:
            return found
    raise FileNotFoundError(f"no schema/*.sql in {package} nor beside it: the installation is incomplete")


def migrate(database: Database) -> list[str]:
    """
    Bring the database to the schema and say, a sentence each, what was created and what was already there.

    Each file is one transaction, and each may be applied again. DatabaseShapeError when this cannot be done without
    altering something of the user's, or not with our rights; nothing of the user's is touched then.
    """
    with database.read() as conn:
        ensure_growth_brain_fits(read_catalogue(conn))
    said: list[str] = []
    with database.autocommit() as conn:
        conn.add_notice_handler(lambda notice: _note(notice, said))
        for file in schema_files():
            try:
                conn.execute(file.read_bytes())
            except psycopg.errors.UniqueViolation as exc:
                conn.execute("ROLLBACK")
                told = (
                    f"{exc.diag.table_name or 'growth_brain'} holds rows that {exc.diag.constraint_name} must keep"
                    " apart: two of the same client, event type, period_key and claim_key. Remove one of each."
                )
                raise DatabaseShapeError([told]) from exc
            except (psycopg.errors.RaiseException, psycopg.errors.InsufficientPrivilege) as exc:
                conn.execute("ROLLBACK")
                fix = OWNER if isinstance(exc, psycopg.errors.InsufficientPrivilege) else ""
                sentences = f"{exc.diag.message_primary}".removesuffix(".") + ".", exc.diag.message_hint or fix
                raise DatabaseShapeError([" ".join(filter(None, sentences))]) from exc
            except psycopg.errors.LockNotAvailable as exc:
                conn.execute("ROLLBACK")
                raise DatabaseUnavailableError(
                    f"A table stayed locked by another session, so {file.name} was not applied; run migrate again"
                ) from exc
        for file in schema_files():
            digest = sha256(file.read_bytes()).hexdigest()
            conn.execute(query("record_migration"), {"name": file.name, "digest": digest})
    return said


def ensure_growth_brain_fits(catalogue: Catalogue) -> None:
    """Refuse a growth_brain of another shape, naming what was found and the way out."""
    if catalogue.growth_brain_shape == "other":
        raise DatabaseShapeError([describe_other_shape(catalogue)])


def describe_other_shape(catalogue: Catalogue) -> str:
    """Say in one sentence how growth_brain differs, and what to do."""
    return (
        f"public.growth_brain is here in another shape ({', '.join(catalogue.growth_brain_differences())}); its columns"
        f" are: {', '.join(catalogue.columns_of('growth_brain'))}. Nothing was changed: {WAY_OUT}."
    )


def _note(notice: psycopg.errors.Diagnostic, said: list[str]) -> None:
    # Ours are raised without a code; PostgreSQL's own ("already exists, skipping") have one.
    if notice.sqlstate == "00000" and notice.message_primary:
        said.append(notice.message_primary)
