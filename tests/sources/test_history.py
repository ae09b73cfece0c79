"""Holes are filled from a node that skips slots, lacks blocks, does not know yet and goes away."""

from __future__ import annotations

import asyncio
import dataclasses
import itertools
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import pytest

from decoders.core.types import TxNotice
from monitor.channel import Channel
from monitor.errors import RequestFailed
from monitor.sources.client import ClientLimits, RpcClient
from monitor.sources.endpoint import Endpoint
from monitor.sources.history import History, HistoryRules
from monitor.sources.notices import HoleFilled, HolePart, SlotSettled
from monitor.sources.proving import lack_of
from tests.sources import said
from tests.sources.http_node import Reply, http_node

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Iterable

    from monitor.sources.notices import Notice
    from tests.sources.http_node import HttpNode

RULES = HistoryRules(unknown_bytes=1, first_retry_s=0.01, longest_retry_s=0.02, longest_pause_s=0.02)
SKIPPED, PRUNED, INTERNAL = -32007, -32009, -32603


@dataclass(frozen=True)
class Hole:
    """A hole of slots or of one transaction."""

    id: int
    first_slot: int
    last_slot: int
    signature: str | None = None
    reason: str = "feed_away"
    filled_through: int | None = None


@dataclass
class Recorded:
    """Open holes as a database keeps them. `noted` has the reasons of failed tries as they come."""

    open: dict[int, Hole]
    noted: asyncio.Queue[tuple[int, str]] = field(default_factory=asyncio.Queue)
    looked: asyncio.Event = field(default_factory=asyncio.Event)

    async def open_holes(self, limit: int, without: Iterable[int] = ()) -> list[Hole]:
        """Return those that may be tried."""
        self.looked.set()
        rest = set(without)
        found = sorted(self.open.values(), key=lambda hole: (hole.first_slot, hole.id))
        return [hole for hole in found if hole.id not in rest][:limit]

    async def hole_failed(self, hole_id: int, reason: str) -> None:
        """Take note of a try."""
        self.noted.put_nowait((hole_id, reason))


class Chain:
    """A node's chain: the block of slot N holds transaction N alone."""

    def __init__(self, node: HttpNode, slots: list[int]) -> None:
        self.slots = slots
        self.unlisted: set[int] = set()
        self.errors: dict[int, int] = {}
        self.entries: dict[int, list[Any]] = {}
        self.held: dict[int, asyncio.Event] = {}
        self.first_available: int | None = None
        node.results = {
            "getBlocks": self._blocks,
            "getBlock": self._block,
            "getTransaction": self._transaction,
            "getFirstAvailableBlock": self._first_available,
        }

    def _blocks(self, params: list[Any]) -> Any:
        return [slot for slot in self.slots if params[0] <= slot <= params[1] and slot not in self.unlisted]

    def _block(self, params: list[Any]) -> Any:
        slot = params[0]
        if slot in self.errors or slot not in self.slots:
            return Reply(said.error(self.errors.get(slot, SKIPPED), f"Slot {slot} was skipped, or missing"))
        parent = max((other for other in self.slots if other < slot), default=slot - 1)
        links = {"parentSlot": parent, "blockhash": f"hash{slot}", "previousBlockhash": f"hash{parent}"}
        answer = {**said.block_answer(slot, self.entries.get(slot, [said.entry(slot)])), **links}
        if params[1]["transactionDetails"] == "none":
            del answer["transactions"]
        if slot in self.held:
            return Reply(said.result(answer), after=self.held[slot])
        return answer

    def _first_available(self, _: list[Any]) -> Any:
        unknown = Reply(said.error(-32601, "Method not found"))
        return unknown if self.first_available is None else self.first_available

    def _transaction(self, params: list[Any]) -> Any:
        numbers = {said.signature(slot): slot for slot in self.slots}
        slot = numbers.get(params[0])
        return None if slot is None else said.transaction(slot, slot)


class Filling:
    """A history at work on a node's chain, and what it put out."""

    def __init__(self, history: History, chain: Chain, node: HttpNode, holes: Recorded, out: Channel[Notice]) -> None:
        self.history = history
        self.chain = chain
        self.node = node
        self.holes = holes
        self.out = out

    async def told(self) -> list[int | str]:
        """Return what comes up to the next filled hole: slots of transactions, and "filled N" (committed at once)."""
        found: list[int | str] = []
        async with asyncio.timeout(5):
            while True:
                match await self.out.get():
                    case TxNotice(slot=slot, feed="history"):
                        found.append(slot)
                    case HoleFilled(hole_id=hole_id):
                        del self.holes.open[hole_id]
                        self.history.committed([hole_id])
                        return [*found, f"filled {hole_id}"]

    async def reason(self) -> str:
        """Return why the next try failed."""
        async with asyncio.timeout(5):
            return (await self.holes.noted.get())[1]

    def blocks_asked(self) -> list[int]:
        """Return the slots of whole blocks that the node was asked for."""
        return [slot for slot, options in self.node.asked("getBlock") if options["transactionDetails"] == "full"]


@asynccontextmanager
async def filling(*holes: Hole, slots: list[int], rules: HistoryRules = RULES) -> AsyncGenerator[Filling, None]:
    """Fill these holes from a node that has blocks at `slots`."""
    out: Channel[Notice] = Channel(1_000, "out")
    limits = ClientLimits(rate_per_s=10_000, concurrency=8, timeout_s=5, refused_pause_s=0.01)
    async with http_node() as node, RpcClient(Endpoint(node.url), limits) as client:
        recorded = Recorded({hole.id: hole for hole in holes})
        history = History(client, frozenset({said.PROGRAM}), recorded, rules=rules)
        subject = Filling(history, Chain(node, slots), node, recorded, out)
        task = asyncio.create_task(history.run(out))
        try:
            yield subject
        finally:
            task.cancel()
            async with asyncio.timeout(5):
                await asyncio.wait([task])
        assert task.cancelled(), task


async def test_blocks_come_in_the_order_of_slots() -> None:
    """Every block of the range once, skipped slots passed over, then the mark; the oldest hole first."""
    slots = [*range(95, 120, 2), *range(120, 140)]
    async with filling(Hole(1, 120, 130), Hole(2, 98, 110), slots=slots) as subject:
        assert await subject.told() == [99, 101, 103, 105, 107, 109, "filled 2"]
        assert await subject.told() == [*range(120, 131), "filled 1"]
        assert sorted(subject.blocks_asked()) == [99, 101, 103, 105, 107, 109, *range(120, 131)]
        assert (subject.history.tally.blocks, subject.history.tally.filled, subject.history.tally.failed) == (17, 2, 0)


async def test_several_blocks_are_under_way_at_once() -> None:
    """Half of the client's places are used; the order stays."""
    async with filling(Hole(1, 10, 29), slots=list(range(9, 40))) as subject:
        subject.node.gate.clear()
        await subject.node.arrived(1)
        subject.node.gate.set()  # lets the list of blocks through, and no block
        subject.node.gate.clear()
        await subject.node.arrived(4)
        assert subject.node.busy == 4
        subject.node.gate.set()
        assert await subject.told() == [*range(10, 30), "filled 1"]
        assert subject.node.busiest == 4


async def test_a_range_without_blocks_is_proven_by_those_around_it() -> None:
    """Nothing is fetched but the header of the block after it."""
    async with filling(Hole(1, 100, 110), slots=[98, 113]) as subject:
        assert await subject.told() == ["filled 1"]
        assert subject.blocks_asked() == []


async def test_an_end_without_a_later_block_stays_open_until_there_is_one() -> None:
    """That nothing is listed at the end proves nothing; blocks that were delivered are not asked for again."""
    async with filling(Hole(1, 100, 105), slots=[99, 101, 103]) as subject:
        assert "no block at or after slot 105 yet" in await subject.reason()
        subject.chain.slots += [108]
        assert await subject.told() == [101, 103, "filled 1"]
        assert subject.blocks_asked() == [101, 103]


async def test_a_block_that_is_not_listed_is_found_by_its_child() -> None:
    """A node's list is a hint; the chain is what counts."""
    async with filling(Hole(1, 100, 105), slots=list(range(99, 110))) as subject:
        subject.chain.unlisted = {102, 103, 106}
        assert await subject.told() == [*range(100, 106), "filled 1"]


@pytest.mark.parametrize("code", [SKIPPED, PRUNED, -32004, -32015, INTERNAL, 429])
async def test_a_block_that_cannot_be_had_leaves_the_hole_open(code: int) -> None:
    """The rest is delivered, the reason noted; later tries ask for that block alone."""
    async with filling(Hole(1, 100, 104), slots=list(range(99, 110))) as subject:
        subject.chain.errors = {102: code}
        seen: list[Notice] = [await subject.out.get() for _ in range(4)]
        assert [notice.slot for notice in seen if isinstance(notice, TxNotice)] == [100, 101, 103, 104]
        reason = await subject.reason()
        assert reason.startswith("slot 102: ")
        assert str(code) in reason
        subject.chain.errors = {}
        asked = [slot for slot in subject.blocks_asked() if slot not in (102, 103)]  # 103, its child, is doubted too
        assert sorted(asked) == [100, 101, 104]
        assert set(await subject.told()) <= {102, 103, "filled 1"}
        assert [slot for slot in subject.blocks_asked() if slot not in (102, 103)] == asked


async def test_a_block_of_which_something_cannot_be_read_leaves_the_hole_open() -> None:
    """What can be read of it is delivered."""
    bare = said.entry(1)
    del bare["meta"]["innerInstructions"]
    async with filling(Hole(1, 100, 101), slots=[99, 100, 101]) as subject:
        subject.chain.entries = {100: [said.entry(100), bare], 101: [said.entry(101), {"transaction": 7}]}
        notices = [await subject.out.get() for _ in range(2)]
        assert [notice.slot for notice in notices if isinstance(notice, TxNotice)] == [100, 101]
        assert (await subject.reason()).startswith("slot 101: 1 of its parts cannot be read: ")
        subject.chain.entries = {100: [said.entry(100), bare]}
        assert [await subject.out.get() for _ in range(2)] == notices
        assert "inner instructions of 1 transactions" in await subject.reason()
        subject.chain.entries = {100: []}
        assert (await subject.told())[-1] == "filled 1"


async def test_a_node_that_is_away_is_not_asked_for_every_block() -> None:
    """After some failures in a row the try ends; when the node is back it goes on."""
    async with filling(Hole(1, 100, 299), slots=list(range(99, 310))) as subject:
        subject.chain.errors = dict.fromkeys(range(100, 300), INTERNAL)
        assert str(INTERNAL) in await subject.reason()
        assert len(subject.blocks_asked()) < 20
        subject.chain.errors = {}
        assert await subject.told() == [*range(100, 300), "filled 1"]


async def test_large_holes_are_filled_in_pieces() -> None:
    """One that cannot be proven leaves the hole open, and the others are not fetched again."""
    rules = HistoryRules(piece_slots=10, unknown_bytes=1, look_ahead_slots=3, first_retry_s=0.01, longest_retry_s=0.02)
    async with filling(Hole(1, 100, 134), slots=list(range(99, 140)), rules=rules) as subject:
        subject.chain.errors = {115: PRUNED}
        notices = [await subject.out.get() for _ in range(35)]
        slots = [notice.slot for notice in notices if isinstance(notice, TxNotice)]
        assert slots == [*range(100, 115), *range(116, 135)]
        assert HolePart(1, 109) in notices  # what comes behind the first piece that stays open counts later
        assert (await subject.reason()).startswith("slot 115: ")
        asked = len(subject.node.asked("getBlocks"))
        assert asked == 4
        subject.chain.errors = {}
        assert 115 in await subject.told()


async def test_a_transaction_comes_with_its_block() -> None:
    """So that its place among its neighbours is known; holes of one slot share the block."""
    holes = [Hole(number, 100, 100, said.signature(number)) for number in (1, 2)]
    async with filling(*holes, slots=[99, 100]) as subject:
        subject.chain.entries = {100: [said.entry(1), said.entry(3), said.entry(2)]}
        assert await subject.told() == [100, 100, 100, "filled 1"]
        assert await subject.told() == [100, "filled 2"]
        assert subject.blocks_asked() == [100]
        assert subject.node.asked("getTransaction") == []


async def test_a_transaction_whose_block_cannot_be_had_is_fetched_alone() -> None:
    """And one that the node does not know stays missing while its slot is not final."""
    async with filling(Hole(1, 100, 100, said.signature(100)), slots=[99, 100]) as subject:
        subject.chain.errors = {100: PRUNED}
        assert await subject.told() == [100, "filled 1"]
    async with filling(Hole(1, 100, 100, said.signature(7)), slots=[99]) as subject:
        assert (await subject.reason()).startswith(
            "the node does not know the transaction; no block at or after slot 100"
        )


async def test_a_transaction_that_vanished_is_not_missing() -> None:
    """Nobody knows it, and its slot finally holds others, or none: that is settled, and nothing is open."""
    hole = Hole(1, 100, 100, said.signature(7), reason="the node does not have it yet")
    async with filling(hole, slots=[99, 100, 101]) as subject:
        told = [await subject.out.get() for _ in range(3)]
        assert told[1:] == [
            SlotSettled(100, (said.signature(100),), said.BLOCK_TIME),
            HoleFilled(1, 100, 100, said.signature(7)),
        ]
    async with filling(hole, slots=[99, 102]) as subject:
        assert [await subject.out.get() for _ in range(2)] == [
            SlotSettled(100, (), said.BLOCK_TIME),
            HoleFilled(1, 100, 100, said.signature(7)),
        ]
        asked = subject.node.asked("getBlocks")
        assert {params[-1]["commitment"] for params in asked} == {"finalized"}


async def test_a_hole_that_cannot_be_filled_does_not_hold_up_others() -> None:
    """It rests between two tries; what comes up meanwhile is looked at when it is told of."""
    async with filling(Hole(1, 50, 60), slots=list(range(100, 130))) as subject:
        assert await subject.reason()
        subject.holes.open[2] = Hole(2, 101, 103)
        subject.history.committed()
        assert await subject.told() == [101, 102, 103, "filled 2"]


async def test_a_node_that_refuses_us_ends_the_try_and_not_the_daemon() -> None:
    """The hole stays open with the refusal as its reason."""
    async with filling(Hole(1, 100, 101), slots=[99, 100, 101]) as subject:
        subject.node.next.append(Reply(status=403))
        assert "HTTP 403" in await subject.reason()
        assert await subject.told() == [100, 101, "filled 1"]


def test_tries_grow_apart() -> None:
    """Up to the longest wait, however many there were."""
    rules = HistoryRules(first_retry_s=1, longest_retry_s=5)
    assert [rules.retry_s(tries) for tries in (1, 2, 3, 4, 10_000)] == [1, 2, 4, 5, 5]


SETTLED = "not_final"


async def test_a_hole_is_filled_part_by_part() -> None:
    """Each proven piece is told behind its notices, so that a restart goes on from there."""
    rules = dataclasses.replace(RULES, piece_slots=10, look_ahead_slots=3)
    async with filling(Hole(1, 100, 134), slots=list(range(99, 140)), rules=rules) as subject:
        notices = [await subject.out.get() for _ in range(39)]
        parts = [at for at, notice in enumerate(notices) if isinstance(notice, HolePart)]
        assert [notices[at] for at in parts] == [HolePart(1, 109), HolePart(1, 119), HolePart(1, 129)]
        assert parts == [10, 21, 32]
        assert notices[-1] == HoleFilled(1, 100, 134)
    async with filling(Hole(1, 100, 134, filled_through=119), slots=list(range(99, 140)), rules=rules) as subject:
        assert await subject.told() == [*range(120, 135), "filled 1"]
        assert min(slot for slot, _ in subject.node.asked("getBlock")) == 120


async def test_large_blocks_make_small_pieces() -> None:
    """So that few of them wait in memory, whose size is not known before the first; one list serves many pieces."""
    size = len(said.result({**said.block_answer(100, [said.entry(100)]), "previousBlockhash": "hash99"}))
    rules = dataclasses.replace(
        RULES, piece_slots=10, unknown_bytes=size, waiting_bytes=2 * 3 * size, look_ahead_slots=40
    )
    async with filling(Hole(1, 100, 129), slots=list(range(99, 140)), rules=rules) as subject:
        notices = [await subject.out.get() for _ in range(30 + 10)]
        parts = [notice.through for notice in notices if isinstance(notice, HolePart)]
        assert parts[0] == 102
        assert all(later - earlier <= 4 for earlier, later in itertools.pairwise(parts))
        assert len(subject.node.asked("getBlocks")) <= 2  # two pieces begin together


def test_how_many_slots_a_piece_has() -> None:
    """By the size of blocks, one at least."""
    rules = HistoryRules(piece_slots=32, pieces_at_once=2, waiting_bytes=2_000)
    assert [rules.slots_of(size) for size in (0, 1, 100, 999, 5_000)] == [32, 32, 10, 1, 1]


async def test_pieces_are_under_way_together_and_few_wait() -> None:
    """While the first piece is not had the next ones are, up to the bound; they leave behind it."""
    rules = dataclasses.replace(RULES, piece_slots=2, pieces_at_once=2, look_ahead_slots=2)
    async with filling(Hole(1, 100, 119), slots=list(range(99, 125)), rules=rules) as subject:
        gate = asyncio.Event()
        subject.chain.held = {100: gate}
        await subject.node.arrived(6)  # two lists, four blocks
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.05):
                await subject.node.arrived(1)
        assert max(subject.blocks_asked()) == 103
        gate.set()
        assert await subject.told() == [*range(100, 120), "filled 1"]


async def test_a_hole_in_doubt_is_fetched_final_and_settled() -> None:
    """Each slot tells what the finalized chain holds, skipped ones nothing, failed ones left out; the rest stays."""
    async with filling(Hole(1, 100, 103, reason=SETTLED), slots=[99, 100, 102, 104]) as subject:
        subject.chain.entries = {
            100: [said.entry(1), said.entry(2, err="x"), said.entry(3, program=said.OTHER_PROGRAM)]
        }
        told = [await subject.out.get() for _ in range(8)]
        assert [notice.signature for notice in told[:3] if isinstance(notice, TxNotice)] == [
            said.signature(number) for number in (1, 2, 102)
        ]
        assert told[3:] == [
            SlotSettled(100, (said.signature(1),), said.BLOCK_TIME),
            SlotSettled(101, (), said.BLOCK_TIME),
            SlotSettled(102, (said.signature(102),), said.BLOCK_TIME),
            SlotSettled(103, (), said.BLOCK_TIME),
            HoleFilled(1, 100, 103),
        ]
        asked = [
            params[-1]["commitment"] for method in ("getBlocks", "getBlock") for params in subject.node.asked(method)
        ]
        assert set(asked) == {"finalized"}


async def test_what_is_in_doubt_is_not_settled_before_it_is_proven() -> None:
    """A slot beyond what is final stays open, and is looked at again soon."""
    async with filling(Hole(1, 100, 101, reason=SETTLED), slots=[99, 100]) as subject:
        assert isinstance(await subject.out.get(), TxNotice)
        assert "no block at or after slot 101 yet" in await subject.reason()
        assert len(subject.out) == 0
        subject.chain.slots.append(102)
        assert [await subject.out.get() for _ in range(2)] == [
            SlotSettled(100, (said.signature(100),), said.BLOCK_TIME),
            SlotSettled(101, (), said.BLOCK_TIME),
        ]


async def test_a_pruned_node_tells_from_where_on_it_can() -> None:
    """What it has forgotten is passed over in one go, also where it just lists nothing; the rest is delivered."""
    rules = dataclasses.replace(RULES, piece_slots=4, most_wrong=2, look_ahead_slots=4)
    for errors in ({}, dict.fromkeys(range(100, 1_002), -32001)):
        async with filling(Hole(1, 100, 1_003), slots=list(range(99, 1_010)), rules=rules) as subject:
            subject.chain.unlisted = set(range(1_002)) - set(errors)
            subject.chain.errors = errors
            subject.chain.first_available = 1_002
            assert await subject.reason() == "pruned: the node keeps blocks from slot 1002 on"
            delivered = [notice.slot for notice in subject.out.get_nowait_all(1_000) if isinstance(notice, TxNotice)]
            assert delivered == [1_002, 1_003]
            assert len(subject.node.asked("getBlocks")) < 10


async def test_a_hole_filed_by_another_process_is_found() -> None:
    """Nobody wakes us for it."""
    async with filling(slots=list(range(95, 120)), rules=dataclasses.replace(RULES, look_every_s=0.02)) as subject:
        await subject.holes.looked.wait()
        subject.holes.open[1] = Hole(1, 100, 102, reason="backfill")
        assert await subject.told() == [100, 101, 102, "filled 1"]


async def test_holes_take_turns() -> None:
    """A huge one does not keep a later one waiting."""
    rules = dataclasses.replace(RULES, piece_slots=4, pieces_a_turn=2)
    async with filling(Hole(1, 100, 159), Hole(2, 300, 301), slots=list(range(99, 310)), rules=rules) as subject:
        assert await subject.told() == [*range(100, 108), 300, 301, "filled 2"]
        assert await subject.told() == [*range(108, 160), "filled 1"]


@pytest.mark.parametrize(
    ("code", "words", "is_soon"),
    [
        (-32001, "pruned", False),
        (-32004, "not there yet", True),
        (-32007, "which proves nothing", False),
        (-32009, "which proves nothing", False),
        (-32011, "keeps no transactions", False),
        (-32014, "not there yet", True),
        (-32015, "does not give this version", False),
        (-32016, "not there yet", True),
        (-32019, "long-term storage does not answer", True),
        (-32603, "", True),
        (None, "", True),
    ],
)
def test_errors_say_what_they_mean(code: int | None, words: str, is_soon: bool) -> None:
    """To an operator, with the node's own words, and to the next try."""
    lack = lack_of(7, RequestFailed("getBlock at h: the node's words", code=code))
    assert lack.reason.startswith("slot 7: ")
    assert words in lack.reason
    assert "the node's words" in lack.reason
    assert lack.is_soon == is_soon


def test_what_passes_is_tried_again_soon() -> None:
    """What does not, later and later."""
    rules = HistoryRules(first_retry_s=1, longest_soon_s=3, longest_retry_s=100)
    assert [rules.retry_s(tries, is_soon=True) for tries in (1, 2, 3, 9)] == [1, 2, 3, 3]
    assert [rules.retry_s(tries) for tries in (1, 2, 3, 9)] == [1, 2, 4, 100]
