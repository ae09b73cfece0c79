"""Open the database that a command speaks to: that of a running daemon, the configured one, or the embedded one."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

from monitor.cli import servers
from monitor.cli.say import called
from monitor.config import parse_interval
from monitor.errors import StoreUnavailable
from monitor.servers import servers_of
from monitor.store.store import Store

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from monitor.config import Config


@contextlib.asynccontextmanager
async def opened(config: Config) -> AsyncIterator[Store]:
    """
    Yield the database that is configured, or that a daemon of this machine runs, once its schema is found right.

    Raises:
        SchemaMismatch: If its schema is not this program's.
        StoreUnavailable: If there is none, or it does not answer.
    """
    url = servers.find(config).database_url
    if url is None:
        raise StoreUnavailable(
            f"no daemon runs below {servers.places(config)}, and no database is configured",
            mend=f"start one ({called()} run), or set database.url",
        )
    async with _store(config, url) as store:
        yield store


@contextlib.asynccontextmanager
async def opened_or_started(config: Config) -> AsyncIterator[Store]:
    """
    Do the same, but start the embedded database if nobody runs it.

    Raises:
        SchemaMismatch, StoreUnavailable: As `opened`.
        EmbeddedFailed, ConfigError: If the embedded database does not start.
    """
    if servers.find(config).database_url is not None:
        async with opened(config) as store:
            yield store
        return
    async with servers_of(config) as own, _store(config, own.database_url, migrate=True) as store:
        yield store


@contextlib.asynccontextmanager
async def _store(config: Config, url: str, *, migrate: bool = False) -> AsyncIterator[Store]:
    database = config.database
    made = await Store.open(
        url,
        connect_timeout_s=database.connect_timeout_s,
        command_timeout_s=database.command_timeout_s,
        chunk_interval=parse_interval(config.lifecycle.chunk_interval),
    )
    async with made as store:
        if migrate:
            await store.migrate()
        await store.check()
        yield store
