"""The way to a test server's database through a proxy, and what a scenario asks of its rows in the end."""

from __future__ import annotations

from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import asyncpg

from monitor.sources.history import SETTLED_REASONS

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence

    from tests.proxy import Proxy


@dataclass(frozen=True, slots=True)
class Hole:
    """A hole as it stands; `filled_by` None: it is open."""

    reason: str
    slots: int
    filled_by: str | None


def socket_of(url: str) -> str:
    """Return the path of the socket that a test server's URL names."""
    query = dict(pair.split("=") for pair in urlsplit(url).query.split("&"))
    return f"{query['host']}/.s.PGSQL.{query['port']}"


def through(proxy: Proxy, url: str) -> str:
    """Return the URL of the same database behind a proxy."""
    return f"postgresql://postgres@127.0.0.1:{proxy.port}{urlsplit(url).path}?sslmode=disable"


@asynccontextmanager
async def connected(url: str) -> AsyncIterator[asyncpg.Connection[Any]]:
    """Yield a connection of our own, past any proxy."""
    connection = await asyncpg.connect(url)
    try:
        yield connection
    finally:
        await connection.close()


async def open_holes(connection: asyncpg.Connection[Any]) -> int:
    """Return how many holes are open."""
    return int(await connection.fetchval("SELECT count(*) FROM holes WHERE filled_at IS NULL"))


async def holes(connection: asyncpg.Connection[Any]) -> Sequence[Hole]:
    """
    Return every hole there ever was but those of what was only in doubt; one of a single transaction has no slots.

    What was told before it was final is read once more at a start, and what comes late is: neither is a gap.
    """
    found = await connection.fetch(
        "SELECT reason, coalesce(last_slot - first_slot + 1, 0) AS slots, filled_by FROM holes"
        " WHERE reason <> ALL($1) ORDER BY id",
        sorted(SETTLED_REASONS),
    )
    return [Hole(row["reason"], row["slots"], row["filled_by"]) for row in found]


async def trades(connection: asyncpg.Connection[Any]) -> int:
    """Return how many trades stand: what vanished with a fork is stored, and does not count."""
    return int(await connection.fetchval("SELECT count(*) FROM transactions WHERE voided_at IS NULL"))
