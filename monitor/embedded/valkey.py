"""Valkey: how to start it, ask it and stop it."""

from __future__ import annotations

import signal
from typing import TYPE_CHECKING

import redis.asyncio
from redis.exceptions import RedisError

from monitor.embedded import process, settings, state

if TYPE_CHECKING:
    from pathlib import Path

    from monitor.embedded.account import Account

STOPS = ((signal.SIGTERM, 10.0), (signal.SIGKILL, 5.0))
_ANSWER_TIMEOUT_S = 1.0


def prepare_home(account: Account, folder: Path) -> Path:
    """Return the folder that the server works in."""
    home = folder / "valkey"
    home.mkdir(mode=0o700, exist_ok=True)
    account.give(home)
    return home


def recipe(valkey_server: Path, account: Account, folder: Path, *, port: int) -> process.Recipe:
    """Return how to run the server on that port; its settings go in by standard input, as they hold the password."""
    home = folder / "valkey"
    password = state.password(folder)

    async def answers() -> bool:
        client = redis.asyncio.Redis.from_url(
            settings.redis_url(port=port, password=password), socket_timeout=_ANSWER_TIMEOUT_S, decode_responses=True
        )
        async with client:
            try:
                return (await client.config_get("dir")).get("dir") == str(home)
            except (RedisError, OSError):
                return False

    return process.Recipe(
        name="valkey",
        arguments=tuple(account.command([str(valkey_server), "-"])),
        folder=home,
        output=folder / "valkey.log",
        stops=STOPS,
        answers=answers,
        stdin=settings.valkey_conf(port=port, folder=home, password=password).encode(),
    )
