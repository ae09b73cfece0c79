"""Where a daemon begins never leaves a gap that nobody knows of."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from monitor.config import parse_start
from monitor.errors import ConfigError, RequestFailed
from monitor.pipeline.feeds import Feeds
from monitor.sources.client import ClientLimits, RpcClient
from monitor.sources.endpoint import Endpoint
from monitor.start import Beginning, beginning, durable_slot, from_slot, needless_slot
from monitor.store.batch import SKIPPED_BY_START
from tests.sources.http_node import Reply, http_node

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from tests.sources.http_node import HttpNode

HEAD = 1_000


@dataclass(frozen=True)
class Told:
    """How far a feed is."""

    feed: str
    slot: int
    program: str = "*"


@pytest.fixture
async def node() -> AsyncIterator[HttpNode]:
    """A node at slot HEAD, with a block a second."""
    async with http_node() as node:
        node.results = {"getSlot": lambda _: HEAD, "getBlockTime": lambda params: 1_790_000_000 + params[0]}
        yield node


async def begin(node: HttpNode, start: str, durable: int | None) -> Beginning:
    """Return where a daemon begins."""
    async with RpcClient(Endpoint(node.url), ClientLimits(rate_per_s=1_000)) as client:
        return await beginning(parse_start(start), durable, client, "confirmed")


def holes(begun: Beginning, subscribed_at_slot: int, feed: str = "logs") -> list[tuple[int, int, str]]:
    """Return what is missing once a feed is subscribed."""
    feeds = Feeds(begun.through, begun.left_out_through)
    return [(hole.first_slot, hole.last_slot, hole.reason) for hole in feeds.up(feed, subscribed_at_slot)]


def test_whichever_feed_told_it_is_durable() -> None:
    """A switch from one feed to another goes on where the first one stopped."""
    assert durable_slot([Told("logs", 500), Told("blocks", 300)]) == 500
    assert durable_slot([]) is None
    assert durable_slot([Told("logs", 500, "one program")]) is None, "of the others nothing is known"


@pytest.mark.parametrize("feed", ["logs", "blocks"])
async def test_progress_goes_on_from_there(node: HttpNode, feed: str) -> None:
    """What happened since is missing, whichever feed follows; without any progress nothing is."""
    assert holes(await begin(node, "progress", 500), 700, feed) == [(501, 700, "feed_away")]
    assert holes(await begin(node, "progress", None), 700, feed) == []
    assert node.requests == []


@pytest.mark.parametrize(("durable", "left_out"), [(500, [SKIPPED_BY_START]), (800, []), (None, [])])
async def test_now_says_what_it_leaves_out(node: HttpNode, durable: int | None, left_out: list[str]) -> None:
    """It is a hole on purpose; what is missed later is one as ever."""
    begun = await begin(node, "now", durable)
    feeds = Feeds(begun.through, begun.left_out_through)
    assert [hole.reason for hole in feeds.up("logs", 700)] == left_out
    feeds.down("logs")
    (later,) = feeds.up("logs", 820)
    assert (later.last_slot, later.reason) == (820, "feed_away")
    assert node.requests == []


async def test_a_slot_of_the_past_is_gone_back_to(node: HttpNode) -> None:
    """All from there on is fetched, with progress behind it or without any."""
    for durable in (None, 300, 500):
        assert holes(await begin(node, "slot 301", durable), 700) == [(301, 700, "feed_away")]


async def test_a_slot_ahead_of_progress_is_refused(node: HttpNode) -> None:
    """It would leave a gap; the error names both slots and what mends it."""
    with pytest.raises(ConfigError, match=r"302.* 300") as caught:
        await begin(node, "slot 302", 300)
    assert caught.value.exit_code == 78
    assert caught.value.mend is not None
    assert {"progress", "now"} <= set(caught.value.mend.replace("`", " ").split())


async def test_a_slot_ahead_of_the_node_is_refused(node: HttpNode) -> None:
    """It cannot be told when that will be, nor whether it is a slip of the pen."""
    with pytest.raises(ConfigError, match=rf"{HEAD + 1}.* {HEAD}"):
        await begin(node, f"slot {HEAD + 1}", None)
    assert (await begin(node, f"slot {HEAD}", None)).through == HEAD - 1


async def test_a_node_that_does_not_answer_refuses_nothing(node: HttpNode) -> None:
    """The daemon is started again."""
    node.next.append(Reply(b"busy", status=503))
    with pytest.raises(RequestFailed):
        await begin(node, "slot 1", None)
    node.results["getSlot"] = lambda _: "nonsense"
    with pytest.raises(RequestFailed):
        await begin(node, "slot 1", None)


async def test_a_time_ago_says_what_it_leaves_out(node: HttpNode) -> None:
    """What lies between progress and that time is left out on purpose, and what lies behind it is fetched."""
    assert holes(await begin(node, "100s", None), HEAD) == [(884, HEAD, "feed_away")]
    assert holes(await begin(node, "100s", 950), HEAD) == [(884, HEAD, "feed_away")]
    assert holes(await begin(node, "100s", 500), HEAD) == [(501, 883, SKIPPED_BY_START), (884, HEAD, "feed_away")]


@given(
    st.one_of(st.none(), st.integers(0, 50)),
    st.one_of(st.just("progress"), st.just("now"), st.integers(0, 60)),
    st.integers(0, 60),
)
def test_no_slot_behind_progress_is_left_out_silently(durable: int | None, start: str | int, slot: int) -> None:
    """Whatever `start` says, each slot between progress and the subscription is in a hole, or the start is refused."""
    if isinstance(start, int):
        try:
            begun = from_slot(start, durable, 60)
        except ConfigError:
            assert durable is not None
            assert start > durable + 1
            return
    else:
        begun = Beginning(durable, Beginning.EVERYTHING if start == "now" else -1)
    missing = {number for first, last, _ in holes(begun, slot) for number in range(first, last + 1)}
    if durable is not None:
        assert set(range(durable + 1, slot + 1)) <= missing
    if isinstance(start, int):
        assert set(range(start, slot + 1)) <= missing


@pytest.mark.parametrize(
    ("durable", "first_stored", "needless"),
    [(1_000, 700, 699), (1_000, 1_000, 999), (1_000, None, 488), (100, None, 0), (100, 3, 2)],
)
def test_nothing_before_the_first_row_is_compared(durable: int, first_stored: int | None, needless: int) -> None:
    """A daemon that was killed before anything was final leaves no hole of slots that it never followed."""
    assert needless_slot(durable, first_stored) == needless
