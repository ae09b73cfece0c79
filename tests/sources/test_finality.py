"""Stored rows are compared with a node's finalized chain, whatever the node says and when it says it."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from monitor.channel import Channel
from monitor.errors import StoreUnavailable
from monitor.sources.client import ClientLimits, RpcClient
from monitor.sources.endpoint import Endpoint
from monitor.sources.finality import Finality, FinalityRules
from monitor.sources.notices import BlockSeen, FinalBegins, FinalSeen, SlotDoubted
from tests.sources import said
from tests.sources.forks import Storing, forks
from tests.sources.http_node import Reply, http_node

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

    from monitor.sources.notices import Notice
    from tests.sources.forks import Forks
    from tests.sources.http_node import HttpNode

RULES = FinalityRules(root_every_s=0.02, rest_s=0.0, page_rows=3, first_retry_s=0.005, longest_retry_s=0.01)


class Rows:
    """Rows as a database keeps them, which is away now and then."""

    def __init__(self, pairs: set[tuple[int, str]], final_through: int | None = None) -> None:
        self.pairs = pairs
        self.through = final_through
        self.away = 0

    async def final_through(self) -> int | None:
        """Return where to begin."""
        return self.through

    async def unsettled(self, after_slot: int, through_slot: int, limit: int) -> list[tuple[int, str]]:
        """Return a page of whole slots."""
        if self.away:
            self.away -= 1
            raise StoreUnavailable("away")
        found = sorted(pair for pair in self.pairs if after_slot < pair[0] <= through_slot)
        last = found[:limit][-1][0] if found else 0
        return [pair for pair in found if pair[0] <= last]


class Final:
    """A node's finalized chain: the signatures of its blocks by slot. What it does not know is null."""

    def __init__(self, node: HttpNode, blocks: dict[int, list[str]], root: int) -> None:
        self.blocks = blocks
        self.root = root
        self.at_slot = root + 32
        self.failed: set[str] = set()
        self.hidden: set[str] = set()
        self.hashes: dict[int, str] = {}
        node.results = {"getSlot": lambda _: self.root, "getSignatureStatuses": self._statuses, "getBlock": self._block}

    def _statuses(self, params: list[Any]) -> Any:
        return {"context": {"slot": self.at_slot}, "value": [self._status(signature) for signature in params[0]]}

    def _status(self, signature: str) -> Any:
        slot = next((slot for slot, held in self.blocks.items() if signature in held), None)
        if slot is None or signature in self.hidden:
            return None
        err = "x" if signature in self.failed else None
        return {"slot": slot, "confirmations": None, "err": err, "confirmationStatus": "finalized"}

    def _block(self, params: list[Any]) -> Any:
        slot, options = params
        assert options["commitment"] == "finalized"
        if slot not in self.blocks:
            return Reply(said.error(-32007, f"Slot {slot} was skipped"))
        header = {"blockhash": self.hashes.get(slot, f"hash{slot}"), "previousBlockhash": "", "parentSlot": slot - 1}
        return {**header, "signatures": self.blocks[slot]} if options["transactionDetails"] == "signatures" else header


class Comparing:
    """A comparison at work."""

    def __init__(self, finality: Finality, node: HttpNode, chain: Final, rows: Rows, out: Channel[Notice]) -> None:
        self.finality = finality
        self.node = node
        self.chain = chain
        self.rows = rows
        self.out = out

    async def failures(self, count: int) -> None:
        """Wait until so many tries failed, and nothing was told by them."""
        await self.node.arrived(count)
        async with asyncio.timeout(5):
            while self.finality.tally.failed < count:  # noqa: ASYNC110 - counts are plain
                await asyncio.sleep(0.001)
        assert len(self.out) == 0

    async def told(self, through: int) -> list[int]:
        """Return the slots in doubt that stand before it is told that everything through a slot was compared."""
        doubted: list[int] = []
        async with asyncio.timeout(5):
            while True:
                match await self.out.get():
                    case SlotDoubted(slot=slot, reason="not_final"):
                        doubted.append(slot)
                    case FinalSeen(through=reached):
                        assert reached <= through
                        if reached == through:
                            return doubted


@asynccontextmanager
async def comparing(
    rows: Rows, blocks: dict[int, list[str]], root: int, rules: FinalityRules = RULES
) -> AsyncGenerator[Comparing]:
    """Compare rows with a chain."""
    out: Channel[Notice] = Channel(1_000, "out")
    async with http_node() as node, RpcClient(Endpoint(node.url), ClientLimits(rate_per_s=10_000)) as client:
        finality = Finality(client, rows, rules=rules)
        task = asyncio.create_task(finality.run(Storing(finality, out)))
        try:
            yield Comparing(finality, node, Final(node, blocks, root), rows, out)
        finally:
            task.cancel()
            async with asyncio.timeout(5):
                await asyncio.wait([task])
        assert task.cancelled(), task


async def test_what_is_under_way_is_stored_before_rows_are_read() -> None:
    """A row that is committed behind the reading would never be compared: it is announced, and waited for."""
    rows = Rows({(100, "s100")}, final_through=99)
    out: Channel[Notice] = Channel(10, "out")
    async with http_node() as node, RpcClient(Endpoint(node.url), ClientLimits(rate_per_s=10_000)) as client:
        finality = Finality(client, rows, rules=RULES)
        Final(node, {slot: [f"s{slot}"] for slot in (100, 101)}, 101)
        task = asyncio.create_task(finality.run(out))
        finality.committed(101)
        async with asyncio.timeout(5):
            assert await out.get() == FinalBegins(101)
            rows.pairs.add((101, "vanished"))  # on its way when it was announced
            finality.stored(101)
            told = [await out.get(), await out.get()]
        task.cancel()
        await asyncio.wait({task})
    assert told == [SlotDoubted(101, "not_final"), FinalSeen(101)]


async def test_nothing_is_compared_while_feeds_are_caught_up_with() -> None:
    """The blocks that tie rows to the chain are to come yet, and the node may have forgotten those that are here."""
    behind = True
    rows = Rows({(100, "s100")}, final_through=99)
    out: Channel[Notice] = Channel(10, "out")
    async with http_node() as node, RpcClient(Endpoint(node.url), ClientLimits(rate_per_s=10_000)) as client:
        finality = Finality(client, rows, rules=RULES, is_behind=lambda: behind)
        Final(node, {100: ["s100"], 101: []}, 101)
        task = asyncio.create_task(finality.run(Storing(finality, out)))
        finality.committed(101)
        await node.arrived(2)  # it looks for the root, again and again
        assert len(out) == 0
        behind = False
        async with asyncio.timeout(5):
            assert await out.get() == FinalSeen(100)
        task.cancel()
        await asyncio.wait({task})


async def test_a_comparison_that_a_database_held_up_begins_anew() -> None:
    """Once what came meanwhile is caught up with: until then a node may have forgotten its blocks. None is in doubt."""
    behind = False
    rows = Rows({(100, "s100")}, final_through=99)
    out: Channel[Notice] = Channel(10, "out")
    async with http_node() as node, RpcClient(Endpoint(node.url), ClientLimits(rate_per_s=10_000)) as client:
        finality = Finality(client, rows, rules=RULES, is_behind=lambda: behind)
        chain = Final(node, {101: []}, 101)  # it has forgotten slot 100
        task = asyncio.create_task(finality.run(out))
        finality.committed(101)
        async with asyncio.timeout(5):
            assert await out.get() == FinalBegins(101)
            behind = True
            finality.stored(101)
            await node.arrived(2)  # it looks for the root, again and again
            assert len(out) == 0
            chain.blocks[100] = ["s100"]  # as told by what came meanwhile
            behind = False
            assert await out.get() == FinalBegins(101)
            assert await out.get() == FinalSeen(100)
        task.cancel()
        await asyncio.wait({task})


async def test_rows_are_compared_up_to_progress_and_root() -> None:
    """Neither what is not committed nor what is not final; what was compared before is not again."""
    rows = Rows({(slot, f"s{slot}") for slot in range(90, 120)}, final_through=99)
    async with comparing(rows, {slot: [f"s{slot}"] for slot in range(90, 120)}, root=110) as subject:
        subject.finality.committed(105)
        assert await subject.told(105) == []
        subject.finality.committed(118)
        assert await subject.told(110) == []
        subject.finality.root(112)
        assert await subject.told(112) == []
        asked = [signature for params in subject.node.asked("getSignatureStatuses") for signature in params[0]]
        assert sorted(asked) == sorted({f"s{slot}" for slot in range(100, 113)})
        assert subject.node.asked("getBlock") == []
        assert (subject.finality.tally.compared, subject.finality.tally.doubted) == (13, 0)


async def test_what_vanished_or_landed_elsewhere_is_in_doubt() -> None:
    """The slot where it is stored, and the one where it is; one that merely is not remembered is not."""
    rows = Rows({(100, "here"), (101, "gone"), (102, "moved"), (105, "forgotten"), (106, "failed"), (107, "skipped")})
    chain = {100: ["here"], 101: [], 103: ["moved"], 105: ["forgotten"], 106: ["failed"]}
    async with comparing(rows, chain, root=110) as subject:
        subject.chain.hidden, subject.chain.failed = {"forgotten"}, {"failed"}
        subject.finality.committed(110)
        assert sorted(await subject.told(110)) == [101, 102, 103, 106, 107]


async def test_a_full_slot_is_asked_for_by_its_block() -> None:
    """That is one answer instead of several."""
    signatures = [f"s{number}" for number in range(300)]
    rows = Rows({(100, signature) for signature in signatures} | {(101, "a")})
    async with comparing(rows, {100: signatures[1:], 101: ["a"]}, root=101) as subject:
        subject.finality.committed(101)
        assert await subject.told(101) == [100]
        assert subject.node.asked("getSignatureStatuses") == [[["a"], {"searchTransactionHistory": False}]]


async def test_old_transactions_are_searched_for() -> None:
    """A node remembers the statuses of some slots only."""
    async with comparing(Rows({(100, "a")}), {100: ["a"]}, root=400) as subject:
        subject.finality.committed(400)
        await subject.told(400)
        assert subject.node.asked("getSignatureStatuses") == [[["a"], {"searchTransactionHistory": True}]]


async def test_errors_only_delay() -> None:
    """A node and a database that are away, lie, limit, refuse, or are behind change no verdict."""
    async with comparing(Rows({(100, "a"), (101, "gone")}), {100: ["a"], 101: []}, root=101) as subject:
        subject.rows.away = 2
        subject.chain.at_slot = 100
        subject.node.next.extend(
            [
                Reply(b"", status=500),
                Reply(b"garbage"),
                Reply(said.result("no slot")),
                Reply(said.error(-32005, "behind")),
                Reply(b"", status=429, headers={"Retry-After": "0.01"}),
            ]
        )
        subject.finality.committed(101)
        await subject.failures(8)
        subject.chain.at_slot = 101
        assert await subject.told(101) == [101]


async def test_a_block_that_is_not_there_yet_delays() -> None:
    """It is no proof that the slot was skipped."""
    async with comparing(Rows({(100, "a")}), {}, root=100) as subject:
        subject.node.results["getBlock"] = lambda _: Reply(said.error(-32004, "Block not available"))
        subject.finality.committed(100)
        await subject.failures(3)


async def test_blocks_that_were_told_are_tied_to_a_finalized_one() -> None:
    """One header confirms them all, shows what the chain jumps over, and no status is asked for."""
    rows = Rows({(slot, f"s{slot}") for slot in (100, 101, 103, 104)})
    async with comparing(rows, {}, root=105) as subject:
        subject.chain.blocks = {104: ["s104"]}
        for slot, parent in ((100, 99), (101, 100), (103, 100), (104, 103)):
            subject.finality.heard(BlockSeen(slot, parent, f"hash{slot}", f"hash{parent}", None, "blocks"))
        subject.finality.committed(104)
        assert await subject.told(104) == [101]
        assert subject.node.asked("getSignatureStatuses") == []
        assert len(subject.node.asked("getBlock")) == 1


async def test_a_block_that_was_told_and_is_another_one_proves_nothing() -> None:
    """The next older one is tried; what is newer is asked for."""
    async with comparing(Rows({(100, "a"), (101, "b")}), {}, root=101) as subject:
        subject.chain.blocks = {100: ["a"], 101: ["c"]}
        subject.chain.hashes = {101: "another"}
        for slot in (100, 101):
            subject.finality.heard(BlockSeen(slot, slot - 1, f"hash{slot}", f"hash{slot - 1}", None, "blocks"))
        subject.finality.committed(101)
        assert await subject.told(101) == [101]
        assert [params[0][0] for params in subject.node.asked("getSignatureStatuses")] == ["b"]


@pytest.mark.parametrize("is_tied", [True, False])
async def test_a_told_block_that_is_not_final_is_in_doubt_without_rows(is_tied: bool) -> None:
    """Progress passed it: what replaced it, a block or nothing, is fetched, whether or not a feed told that."""
    async with comparing(Rows({(103, "s103")}), {}, root=103) as subject:
        subject.chain.blocks = {100: ["s100"], 101: ["s101"], 103: ["s103"]}
        subject.finality.heard(BlockSeen(100, 99, "hash100", "hash99", None, "blocks"))
        for slot in (101, 102):
            subject.finality.heard(BlockSeen(slot, slot - 1, f"fork{slot}", "", None, "blocks"))
        if is_tied:
            subject.finality.heard(BlockSeen(101, 100, "hash101", "hash100", None, "blocks"))
        parent = (101, "hash101") if is_tied else (102, "not told")
        subject.finality.heard(BlockSeen(103, parent[0], "hash103", parent[1], None, "blocks"))
        subject.finality.committed(103)
        assert await subject.told(103) == ([102] if is_tied else [101, 102])


@settings(deadline=None, max_examples=25, suppress_health_check=[HealthCheck.too_slow])
@given(forks(most=12), st.data())
def test_what_is_not_final_is_found_on_any_tree_of_forks(model: Forks, data: st.DataObject) -> None:
    """Rows of many branches: every slot that holds something not final there is in doubt, others only with reason."""
    told = [block for block in model.blocks if data.draw(st.booleans())]
    slots = {block.slot for block in told}
    stored = [block for block in model.blocks if block in told or block.slot not in slots]
    pairs = {(block.slot, str(number)) for block in stored for number in block.numbers}
    final = model.final()
    wrong = {slot for slot, signature in pairs if model.where(int(signature)) != slot}
    landed = {model.where(int(signature)) for slot, signature in pairs if model.where(int(signature)) != slot}
    forked = {block.slot for block in told if block is not final.get(block.slot)}
    through = model.tip.slot

    async def compare() -> set[int]:
        blocks = {slot: [str(number) for number in block.numbers] for slot, block in final.items()}
        async with comparing(Rows(pairs), blocks, root=through) as subject:
            subject.chain.hashes = {slot: block.name for slot, block in final.items()}
            for block in told:
                subject.finality.heard(block.seen())
            subject.finality.committed(through)
            return set(await subject.told(through))

    doubted = asyncio.run(compare())
    assert {slot for slot in wrong if slot <= through} <= doubted <= wrong | landed | forked
