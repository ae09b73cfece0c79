"""Make a feed of any kind: the one place that knows them all."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, Protocol

from monitor.errors import ConfigError
from monitor.sources.live import blocks_source, logs_source
from monitor.sources.polled import polled_blocks_source
from monitor.sources.transactions import transactions_source

if TYPE_CHECKING:
    from monitor.sources.live import Following, Tap
    from monitor.sources.notices import Outlet
    from monitor.sources.polled import Asked
    from monitor.sources.tally import FeedTally

FeedKind = Literal["logs", "blocks", "transactions", "polled_blocks"]


class Feed(Protocol):
    """A source of notices that lives through its losses, with its counts. `name` stands in all that it puts out."""

    @property
    def name(self) -> str:
        """Its name, like no other's."""

    @property
    def tally(self) -> FeedTally:
        """What came."""

    async def run(self, out: Outlet) -> None:
        """Put out notices for ever. Raises SourceRefused if the node will never serve us like this."""


def feed_source(
    kind: FeedKind, name: str, following: Following, *, client: Asked | None = None, tap: Tap | None = None
) -> Feed:
    """
    Return a feed.

    Args:
        kind: What is asked of the node.
        name: What notices, logs and metrics call it; several feeds at once need a name each.
        following: The node's websocket address, and how to follow it.
        client: The node's HTTP side: `polled_blocks` asks it, and nothing else.
        tap: Who hears what the node says, word by word.

    Raises:
        ConfigError: If `polled_blocks` is to be had without a client.
    """
    match kind:
        case "logs":
            return logs_source(following, name=name, tap=tap)
        case "blocks":
            return blocks_source(following, name=name, tap=tap)
        case "transactions":
            return transactions_source(following, name=name, tap=tap)
        case "polled_blocks":
            if client is None:
                raise ConfigError(f"the feed {name} has no node to poll", mend="set its http_url")
            return polled_blocks_source(client, following, name=name, tap=tap)
