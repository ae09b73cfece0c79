"""Follow a node and decode in this process: for `tail` without a daemon, and for `record`."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, NamedTuple, Protocol

import msgspec

from decoders.core.types import CurveComplete, Graduation, Launch, Trade, TxNotice
from monitor.channel import Channel
from monitor.node import nodes_of
from monitor.pipeline.decode import Decoding
from monitor.pipeline.feeds import Feeds
from monitor.pipeline.gate import Gate
from monitor.pipeline.ledger import Ledger
from monitor.pipeline.pending import Pending
from monitor.pipeline.pools import PoolMap
from monitor.pipeline.told import Told
from monitor.sources.fetch import AnswerTap, Fetcher
from monitor.sources.live import Tap

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

    from decoders.core.registry import Registry
    from decoders.core.types import Fact
    from monitor.config import Config
    from monitor.pipeline.decode import Durable
    from monitor.sources.feeds import Feed
    from monitor.sources.notices import Notice

_WIRE_NOTICES = 10_000
_FAIR = 64


class Taps(Tap, AnswerTap, Protocol):
    """Who hears word by word what a node says, and what it answers."""


class Sources(NamedTuple):
    """What follows one node: its feed, and what fetches whatever the feed cannot tell."""

    feed: Feed
    fetcher: Fetcher


@asynccontextmanager
async def opened(config: Config, programs: frozenset[str], tap: Taps | None = None) -> AsyncGenerator[Sources]:
    """
    Make the sources that the configuration asks for. `tap` records what they hear.

    Raises:
        ConfigError: If no node is configured.
    """
    alone = msgspec.structs.replace(config, feeds=())
    async with nodes_of(alone, programs, tap) as nodes:
        (feed,) = nodes.feeds
        yield Sources(feed, Fetcher(nodes.rpc, programs, commitment=config.node.commitment, tap=tap))


class Audience(Protocol):
    """Who is told what a node says."""

    def show_fact(self, fact: Fact) -> None:
        """Something happened."""

    def learn_decimals(self, mint: str, decimals: int) -> None:
        """A token has so many decimals."""


async def follow(config: Config, registry: Registry, audience: Audience, tap: Taps | None = None) -> None:
    """
    Show launches, trades, completions and graduations of a node as they happen, each once, for ever.

    Raises:
        SourceRefused: If the node will not serve us (in a group).
    """
    wire: Channel[Notice] = Channel(_WIRE_NOTICES, "wire")
    gate = None if config.pumpswap.pools == "all" else Gate()
    told = Told()
    async with opened(config, registry.followed, tap) as sources, asyncio.TaskGroup() as tasks:
        for source in sources:
            tasks.create_task(source.run(wire))
        decoding = Decoding(registry, PoolMap(), Feeds(None), Pending(), sources.fetcher, Ledger(), asyncio.Event())
        count = 0
        while True:
            notice = await wire.get()
            if isinstance(notice, TxNotice):
                for balance in notice.token_balances:
                    audience.learn_decimals(balance.mint, balance.decimals)
            found = _shown(decoding.take(notice))
            for fact in found if gate is None else _admitted(gate, found):
                if told.is_new(fact):
                    audience.show_fact(fact)
            count += 1
            if count % _FAIR == 0:
                await asyncio.sleep(0)


def _shown(items: list[Durable]) -> list[Fact]:
    return [item for item in items if isinstance(item, Launch | Trade | CurveComplete | Graduation)]


def _admitted(gate: Gate, found: list[Fact]) -> list[Fact]:
    """Let through what a followed launchpad made: there is no database to know more than was seen here."""
    gate.answer(gate.questions(found), set())
    return gate.admit(found)[0]
