"""Which of three editions a database is: they differ in what cuts `transactions` into pieces of time."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, get_args

from monitor.errors import SchemaMismatch

if TYPE_CHECKING:
    import asyncpg

Edition = Literal["plain", "apache", "timescale"]
EDITIONS: tuple[Edition, ...] = get_args(Edition)

OLDEST_POSTGRESQL = 15

_DETECT = """
SELECT current_setting('server_version_num')::integer / 10000 AS major,
       EXISTS (SELECT FROM pg_extension WHERE extname = 'timescaledb') AS has_timescale,
       current_setting('timescaledb.license', TRUE) AS license
"""


async def detect(connection: asyncpg.Connection) -> Edition:
    """
    Return the edition that the server offers in this database.

    Raises:
        SchemaMismatch: If the server is too old.
    """
    found = await connection.fetchrow(_DETECT)
    if found["major"] < OLDEST_POSTGRESQL:
        raise SchemaMismatch(
            f"PostgreSQL {found['major']} is too old", mend=f"use PostgreSQL {OLDEST_POSTGRESQL} or later"
        )
    if not found["has_timescale"]:
        return "plain"
    return "timescale" if found["license"] == "timescale" else "apache"
