"""`db verify` and `db stats` tell people and scripts what the database is like."""

from __future__ import annotations

import asyncio
import functools
import os
from typing import TYPE_CHECKING

import asyncpg
import pytest

from monitor.config import ENVIRONMENT
from monitor.store.batch import Batch
from monitor.store.store import Store
from tests import postgres
from tests.store.facts import launch, trade

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tests.cli.conftest import Ran

TRADES = 300


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    """A database with a launch and some trades."""

    async def fill(url: str) -> None:
        async with await Store.open(url) as store:
            await store.migrate()
            await store.lock()
            await store.write(Batch([launch(), *(trade(signature=f"s{n}") for n in range(TRADES))]))

    with postgres.start() as server, asyncio.Runner() as runner:
        made = server.database()
        url = runner.run(made.__aenter__())
        runner.run(fill(url))
        yield url
        runner.run(made.__aexit__(None, None, None))


@pytest.fixture
def db(url: str, command: Callable[..., Ran], monkeypatch: pytest.MonkeyPatch) -> Callable[..., Ran]:
    """Return a function that runs `launch-monitor db` on that database."""
    for name in [name for name in os.environ if name.startswith(ENVIRONMENT)]:
        monkeypatch.delenv(name)
    monkeypatch.setenv(f"{ENVIRONMENT}DATABASE__URL", url)
    return functools.partial(command, "db")


def execute(url: str, statement: str) -> None:
    """Tell the database something."""

    async def tell() -> None:
        connection = await asyncpg.connect(url)
        await connection.execute(statement)
        await connection.close()

    asyncio.run(tell())


def test_verify_ends_with_0_or_1(db: Callable[..., Ran], url: str) -> None:
    """What is amiss is told with what mends it, to people as a table and to programs as JSON."""
    well = db("verify")
    assert (well.code, well.errors) == (0, "")
    assert "all is well" in well.out
    assert db("verify", "--json").objects == [{"findings": []}]
    execute(url, "DROP INDEX tokens_graduated_at")
    amiss = db("verify")
    assert amiss.code == 1
    assert "missing index" in amiss.out
    assert "CREATE INDEX tokens_graduated_at ON tokens" in amiss.out
    told = db("verify", "--json")
    assert told.code == 1
    ((finding,),) = (shown["findings"] for shown in told.objects)
    assert (finding["kind"], finding["what"]) == ("missing_index", "tokens_graduated_at")
    execute(url, finding["mend"])
    assert db("verify").code == 0


def test_stats_for_people(db: Callable[..., Ran]) -> None:
    """A line a table; what is not known is said."""
    found = db("stats")
    assert (found.code, found.errors) == (0, "")
    line = next(line.split() for line in found.out.splitlines() if line.startswith("transactions "))
    assert line[1] == f"{TRADES}"
    for words in ("bytes a trade", "rows a second", "slow statements are not known", "autovacuum fits that"):
        assert words in found.out


def test_stats_for_programs(db: Callable[..., Ran]) -> None:
    """One object; sums are in it."""
    for arguments in (["stats", "--json"], ["stats", "--json", "--quick"]):
        (found,) = db(*arguments).objects
        assert {"sizes", "bytes_per_trade", "compression", "statements", "rows_per_s", "advice"} == found.keys()
        size = next(size for size in found["sizes"] if size["name"] == "transactions")
        assert size["total_bytes"] == size["table_bytes"] + size["index_bytes"] > 0


@pytest.mark.parametrize("name", ["verify", "stats"])
def test_each_explains_itself(name: str, command: Callable[..., Ran]) -> None:
    """With its exit codes."""
    found = command("db", name, "--help")
    assert found.code == 0
    assert "Exit codes:" in found.out
