"""The release before this one: its program where the repository still has it, or else a database as it left them."""

from __future__ import annotations

import shutil
import subprocess
import sys
import tarfile
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, Any

import asyncpg

from monitor.store import migrate
from monitor.store.edition import detect
from monitor.store.partitions import Partitions

if TYPE_CHECKING:
    from collections.abc import Iterable

ROOT = Path(__file__).parents[2]
COMMIT = "268cc0f79831a5d44befd2bc0ec0e8a3ade53474"
LAST_STEP = 5

_TABLES = ("mints", "tokens", "pools", "transactions", "tails", "faults", "feeds", "holes", "batches")
_COLUMNS = """
SELECT column_name FROM information_schema.columns
 WHERE table_schema = 'public' AND table_name = $1 AND is_generated = 'NEVER' ORDER BY ordinal_position
"""
_GO_ON_COUNTING = "SELECT setval(pg_get_serial_sequence('{0}', '{1}'), (SELECT max({1}) + 1 FROM {0}), false)"


def program(folder: Path) -> Path | None:
    """Unpack the last release into a folder and return its console script; None: this is not the whole repository."""
    archive = subprocess.run(["git", "-C", ROOT, "archive", COMMIT], capture_output=True, check=False)
    if archive.returncode != 0:
        return None
    with tarfile.open(fileobj=BytesIO(archive.stdout)) as files:
        files.extractall(folder / "release", filter="data")
    script = folder / "launch-monitor-before"
    script.write_text(f'#!/bin/sh\nPYTHONPATH="{folder}/release" exec "{sys.executable}" -m monitor "$@"\n')
    script.chmod(0o755)
    return script


async def make_schema(url: str, folder: Path) -> None:
    """Make the last release's tables in an empty database."""
    folder.mkdir()
    for path in migrate.migrations_dir().glob("*.sql"):
        if int(path.name[:4]) <= LAST_STEP:
            shutil.copy(path, folder)
    connection = await asyncpg.connect(url)
    await migrate.apply(connection, folder)
    await connection.close()


async def copy_rows(from_url: str, to_url: str) -> None:
    """Fill the last release's tables from a database of this one, as far as they have the columns."""
    ours, theirs = await asyncpg.connect(from_url), await asyncpg.connect(to_url)
    try:
        await theirs.execute("DELETE FROM mints")
        days = [row[0] for row in await ours.fetch("SELECT DISTINCT date_trunc('day', block_time) FROM transactions")]
        if await detect(theirs) == "plain":
            await Partitions().ensure(theirs, days)
        for table in _TABLES:
            await _copy(ours, theirs, table)
        for table, column in (
            ("mints", "id"),
            ("pools", "id"),
            ("holes", "id"),
            ("faults", "id"),
            ("batches", "batch_no"),
        ):
            await theirs.execute(_GO_ON_COUNTING.format(table, column))
    finally:
        await ours.close()
        await theirs.close()


async def _copy(ours: asyncpg.Connection[Any], theirs: asyncpg.Connection[Any], table: str) -> None:
    columns = [row[0] for row in await theirs.fetch(_COLUMNS, table)]
    renamed = {"batch_id": "id"} if table == "batches" else {}
    rows: Iterable[asyncpg.Record] = await ours.fetch(
        f"SELECT {', '.join(renamed.get(column, column) for column in columns)} FROM {table}"
    )
    await theirs.copy_records_to_table(table, records=[tuple(row) for row in rows], columns=columns)
