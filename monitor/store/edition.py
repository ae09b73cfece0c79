"""Which of three editions a database is: they differ in what cuts `transactions` into pieces of time."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, get_args

from monitor.errors import SchemaMismatch

if TYPE_CHECKING:
    import asyncpg

Edition = Literal["plain", "apache", "timescale"]
EDITIONS: tuple[Edition, ...] = get_args(Edition)

OLDEST_POSTGRESQL = 15
OLDEST_TIMESCALE = (2, 19)
LICENCE_MEND = (
    "set timescaledb.license = 'timescale' in the server's configuration; "
    "a build of the Apache edition alone, as Debian's is, cannot: install the community edition"
)

# The server's part of TimescaleDB has settings of its own, which nobody but itself can make.
_LOOK = """
SELECT current_setting('server_version_num')::integer / 10000 AS major,
       (SELECT extversion FROM pg_extension WHERE extname = 'timescaledb') AS timescale,
       current_setting('timescaledb.license', TRUE) AS license,
       EXISTS (SELECT FROM pg_settings WHERE name = 'timescaledb.max_background_workers') AS is_preloaded
"""


@dataclass(frozen=True, slots=True)
class Offer:
    """
    What a server offers in a database.

    Args:
        edition: The most that a schema made here can have.
        timescale: Version of the extension in this database; None: it is not there.
        is_preloaded: Whether the server is set up for the extension, wherever that is made.
    """

    edition: Edition
    timescale: str | None
    is_preloaded: bool

    def bear(self, edition: Edition) -> None:
        """
        Make sure that a schema of an edition works here.

        Raises:
            SchemaMismatch: If it does not.
        """
        if edition == "plain":
            return
        if self.timescale is None:
            raise SchemaMismatch(
                f"the schema is made for TimescaleDB (edition {edition}), which this database lacks",
                mend="load TimescaleDB into the server and CREATE EXTENSION timescaledb here, or restore the database",
            )
        if _version(self.timescale) < OLDEST_TIMESCALE:
            oldest = ".".join(map(str, OLDEST_TIMESCALE))
            raise SchemaMismatch(
                f"TimescaleDB {self.timescale} is too old",
                mend=f"install {oldest} or later, and run ALTER EXTENSION timescaledb UPDATE in the database",
            )
        if not self.is_preloaded:
            raise SchemaMismatch(
                "this database has the extension timescaledb, but the server was started without it",
                mend="put timescaledb into shared_preload_libraries in the server's configuration, and restart it",
            )
        if edition == "timescale" and self.edition != "timescale":
            raise SchemaMismatch(
                "the schema uses TimescaleDB's community features, which the server's licence refuses",
                mend=LICENCE_MEND,
            )


async def look(connection: asyncpg.Connection) -> Offer:
    """
    Return what the server offers in this database.

    Raises:
        SchemaMismatch: If the server is too old.
    """
    found = await connection.fetchrow(_LOOK)
    if found["major"] < OLDEST_POSTGRESQL:
        raise SchemaMismatch(
            f"PostgreSQL {found['major']} is too old", mend=f"use PostgreSQL {OLDEST_POSTGRESQL} or later"
        )
    edition: Edition = "plain"
    if found["timescale"] is not None:
        edition = "timescale" if found["license"] == "timescale" else "apache"
    return Offer(edition, found["timescale"], found["is_preloaded"])


async def detect(connection: asyncpg.Connection) -> Edition:
    """
    Return the edition that a schema made here would have.

    Raises:
        SchemaMismatch: If the server is too old.
    """
    return (await look(connection)).edition


def _version(text: str) -> tuple[int, ...]:
    """Return major and minor of a version such as 2.19.3 or 2.30.0-dev."""
    return tuple(int(part) for part in text.split(".")[:2])
