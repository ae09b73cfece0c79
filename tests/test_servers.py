"""Which servers a daemon writes to follows from what is configured."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from structlog.testing import capture_logs

from monitor.config import Config, Database, Embedded, RedisServer, markdown_table
from monitor.servers import Servers, announcer_of, servers_of

if TYPE_CHECKING:
    from pathlib import Path

DATABASE, REDIS = "postgresql://somewhere/x", "redis://somewhere:1"


def config(redis_url: str | None, state_dir: Path) -> Config:
    """Return a configuration with a database of one's own."""
    return Config(
        database=Database(url=DATABASE), redis=RedisServer(url=redis_url), embedded=Embedded(state_dir=str(state_dir))
    )


@pytest.mark.parametrize("redis_url", [None, REDIS])
async def test_beside_a_configured_database_no_server_is_started(redis_url: str | None, tmp_path: Path) -> None:
    """Without a Redis announcements are off, and the log says so."""
    settings = config(redis_url, tmp_path / "state")
    with capture_logs() as lines:
        async with servers_of(settings) as servers, announcer_of(settings, servers) as announcer:
            assert servers == Servers(DATABASE, redis_url)
            assert (announcer is None) is (redis_url is None)
    assert [line["event"] for line in lines] == (["announcements_off"] if redis_url is None else [])
    assert not (tmp_path / "state").exists()


def test_the_table_of_settings_says_so() -> None:
    """Nobody waits for an embedded Redis that does not come."""
    (row,) = (line for line in markdown_table().splitlines() if "`redis.url`" in line)
    assert "announcements are off" in row
