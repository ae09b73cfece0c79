"""The nodes that are followed, as the configuration names them: feeds, and whom to ask over HTTP."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass
from typing import TYPE_CHECKING

from monitor.errors import ConfigError
from monitor.sources.client import ClientLimits, RpcClient
from monitor.sources.clients import RpcClients
from monitor.sources.endpoint import Endpoint
from monitor.sources.feeds import feed_source
from monitor.sources.live import Following
from monitor.sources.session import Limits

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from monitor.config import Config, Feed, FeedKind
    from monitor.sources.clients import Rpc
    from monitor.sources.feeds import Feed as FeedSource
    from monitor.sources.live import Tap


@dataclass(frozen=True, slots=True)
class Nodes:
    """
    Everybody who is followed or asked.

    `rpc` asks the first node that can tell something of now, `archive` the first that can tell something of the past.
    """

    feeds: tuple[FeedSource, ...]
    rpc: Rpc
    archive: Rpc


@contextlib.asynccontextmanager
async def nodes_of(config: Config, programs: frozenset[str], tap: Tap | None = None) -> AsyncIterator[Nodes]:
    """
    Yield the configured feeds and HTTP endpoints; connections are closed at the end.

    Args:
        programs: Addresses of the programs to follow.
        tap: Hears the feed of `[node]` word by word.

    Raises:
        ConfigError: If no node is configured.
    """
    ws_url, http_url = addresses(config)
    async with contextlib.AsyncExitStack() as stack:
        clients: dict[str, RpcClient] = {}

        async def client(url: str) -> RpcClient:
            if url not in clients:
                clients[url] = await stack.enter_async_context(RpcClient(Endpoint(url), limits_of(config)))
            return clients[url]

        feeds = [_feed(config, config.node.feed, config.node.feed, ws_url, await client(http_url), programs, tap)]
        for name, extra in _named(config):
            asked = await client(extra.http_url or http_url)
            feeds.append(_feed(config, extra.kind, name, extra.ws_url or ws_url, asked, programs, None))
        now = list(clients.values())
        past = now if config.history.http_url is None else [*now, await client(config.history.http_url)]
        yield Nodes(tuple(feeds), RpcClients(now), RpcClients(past, thorough=True))


def addresses(config: Config) -> tuple[str, str]:
    """
    Return the websocket and HTTP addresses of `[node]`.

    Raises:
        ConfigError: If none is configured.
    """
    node = config.node
    if node.ws_url is None or node.http_url is None:
        raise ConfigError("no node to follow", mend="give --endpoint mainnet (or an address), or set node.ws_url")
    return node.ws_url, node.http_url


def limits_of(config: Config) -> ClientLimits:
    """Return how hard one HTTP endpoint may be used."""
    fetch = config.fetch
    return ClientLimits(rate_per_s=fetch.rate_per_s, rates_per_s=fetch.rates_per_s, concurrency=fetch.concurrency)


def feed_names(config: Config) -> tuple[str, ...]:
    """Return the names of all feeds, that of `[node]` first."""
    return (config.node.feed, *(name for name, _ in _named(config)))


def feed_kinds(config: Config) -> frozenset[str]:
    """Return the kinds of all feeds."""
    return frozenset({config.node.feed, *(feed.kind for feed in config.feeds)})


def _named(config: Config) -> list[tuple[str, Feed]]:
    """Return the feeds beside that of `[node]`, each with its own name: its kind, numbered where that is taken."""
    taken: set[str] = {config.node.feed, *(feed.name for feed in config.feeds if feed.name)}
    found: list[tuple[str, Feed]] = []
    for feed in config.feeds:
        name, number = feed.name or feed.kind, 2
        while feed.name is None and name in taken:
            name, number = f"{feed.kind}_{number}", number + 1
        taken.add(name)
        found.append((name, feed))
    return found


def _feed(
    config: Config, kind: FeedKind, name: str, ws_url: str, client: RpcClient, programs: frozenset[str], tap: Tap | None
) -> FeedSource:
    node = config.node
    limits = Limits(stall_timeout_s=node.stall_timeout_s, max_frame_bytes=node.max_frame_bytes)
    following = Following(Endpoint(ws_url), programs, commitment=node.commitment, limits=limits)
    return feed_source(kind, name, following, client=client, tap=tap)
