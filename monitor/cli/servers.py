"""Where the servers of a running daemon are, for the commands that accompany it."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from monitor import embedded
from monitor.config import state_dir

if TYPE_CHECKING:
    from pathlib import Path

    from monitor.config import Config


class Found(NamedTuple):
    """Addresses of database and Redis; None: there is none, or nobody runs it."""

    database_url: str | None
    redis_url: str | None


def simulated_dir(config: Config) -> Path:
    """Return where `run` keeps what it heard of a simulator: never among what it heard of the chain."""
    folder = state_dir(config)
    return folder.with_name(f"{folder.name}-simulated")


def places(config: Config) -> str:
    """Return where a daemon was looked for: the simulator's place is named if there ever was one."""
    simulated = simulated_dir(config)
    return f"{state_dir(config)} or {simulated}" if simulated.exists() else str(state_dir(config))


def find(config: Config) -> Found:
    """Return the configured servers, else the embedded ones of a daemon that runs on this machine."""
    if config.database.url is not None:
        return Found(config.database.url, config.redis.url)
    for folder in (state_dir(config), simulated_dir(config)):
        found = embedded.addresses(folder)
        if found is not None:
            return Found(found.database_url, config.redis.url or found.redis_url)
    return Found(None, config.redis.url)
