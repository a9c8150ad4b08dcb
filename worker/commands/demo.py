"""The worker on simulated companies, or on a file of leads: `demo`."""

from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import Any

import click

from worker.commands.command import as_of_option, command, json_option, option
from worker.commands.options import parse_as_of, read_settings

WORLDS = (  # worker.simulate.CHANGE_KINDS, without importing numpy for every --help
    "still", "mostly_still", "small", "sparse", "shifted", "heavy_tails", "common_shock", "bursts", "duplicates"
)  # fmt: skip


@command(
    "demo",
    examples=(
        ("demo", "40 simulated companies, a year of their leads"),
        ("demo --csv leads.csv --map timestamp=created", "your own leads, whose column `created` is when they came"),
    ),
    shapes={
        "": (
            "{status, as_of, loaded, clients, leads, snapshots, inserted, changed, seconds,"
            " results: [{client_id, business_name, patterns, planted, ...}], jobs: [{job, status, ...}],"
            " windows: [{as_of, ...}], file, report}"
        )
    },
    kept="the demo's own server keeps what is loaded; run demo again to go on",
)
@option("--csv", "csv_file", type=click.Path(path_type=Path, dir_okay=False), help="A file of your own leads.")
@option(
    "--map", "mapping", multiple=True, metavar="COLUMN=NAME", help="Our column is called NAME in the file; repeatable."
)
@option("--split", type=click.IntRange(min=1), help="Cut the file's leads into this many clients by a hash.")
@option(
    "--world",
    type=click.Choice(WORLDS),
    metavar="KIND",
    help=f"Simulate companies that all change alike [a few planted changes]: {', '.join(WORLDS)}.",
)
@as_of_option
@option("--output", "-o", "folder", type=click.Path(path_type=Path, file_okay=False), default=Path("report"),
        help="The folder of the report [./report].")  # fmt: skip
@json_option("what was found")
def demo(
    *,
    csv_file: Path | None,
    mapping: tuple[str, ...],
    split: int | None,
    world: Any,
    as_of: str | None,
    folder: Path,
    as_json: bool,
) -> int:
    """See it work, on a database server of its own.

    It simulates companies of which a few have planted changes, or loads a file of your leads, runs every job, and
    shows what they found beside what was planted, and writes a report. DATABASE_URL is not touched.
    """
    if csv_file is not None and world is not None:
        raise click.UsageError("--csv and --world exclude each other: the leads are from the file, or simulated")
    settings = replace(read_settings(quiet=True), database_url="embedded")
    from worker.demo import run_demo  # noqa: PLC0415

    pairs = dict(_pair(text) for text in mapping)
    now = datetime.now(tz=settings.timezone)
    instant = parse_as_of(as_of, settings.timezone, now)
    return run_demo(
        settings,
        now,
        as_of=instant if as_of else None,
        csv_file=csv_file,
        mapping=pairs,
        split=split,
        world=world,
        folder=folder,
        as_json=as_json,
    )


def _pair(text: str) -> tuple[str, str]:
    column, equals, name = text.partition("=")
    if not equals or not column.strip() or not name.strip():
        raise click.BadParameter(f"{text!r} is not COLUMN=NAME, such as timestamp=created", param_hint="--map")
    return column.strip(), name.strip()
