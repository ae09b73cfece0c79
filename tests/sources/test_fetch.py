"""Fetches against a node that answers, refuses, hangs and does not know yet."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import pytest

from decoders.core.types import Need, TxNotice
from monitor.channel import Channel
from monitor.sources.client import ClientLimits, RpcClient
from monitor.sources.endpoint import Endpoint
from monitor.sources.fetch import Fetcher
from monitor.sources.jobs import FetchTime
from monitor.sources.notices import AccountSeen, FetchGaveUp, SlotTime
from monitor.sources.pending import Rules
from tests.sources import said
from tests.sources.http_node import Reply, http_node

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

    from monitor.sources.jobs import Job
    from monitor.sources.notices import Notice
    from tests.sources.http_node import HttpNode

RULES = Rules(gather_s=0.01, first_retry_s=0.01, longest_retry_s=0.05, give_up_after_s=5.0)
SLOT = 9


class Fetching:
    """A fetcher at work, and what it put out."""

    def __init__(self, fetcher: Fetcher, server: HttpNode, out: Channel[Notice]) -> None:
        self.fetcher = fetcher
        self.server = server
        self.out = out
        self.answers: list[Job] = []

    def answer(self, job: Job, body: bytes) -> None:
        """Remember an answered job."""
        assert body
        self.answers.append(job)

    async def get(self) -> Notice:
        """Return the next notice."""
        return await self.out.get(asyncio.get_running_loop().time() + 5)

    def want(self, number: int, slot: int = SLOT, pool: str | None = None) -> None:
        """Need a transaction or its pool."""
        self.fetcher.want(Need(said.signature(number), slot, "pool" if pool else "accounts", "pumpswap", pool))

    def want_time(self, number: int, slot: int = SLOT) -> None:
        """Need a transaction's time."""
        self.fetcher.want(Need(said.signature(number), slot, "time", "raydium_launchpad"))


@asynccontextmanager
async def fetching(
    rules: Rules = RULES, timeout_s: float = 5.0, capacity: int = 100, refused_pause_s: float = 0.01
) -> AsyncGenerator[Fetching, None]:
    """Run a fetcher against a node."""
    out: Channel[Notice] = Channel(capacity, "out")
    limits = ClientLimits(rate_per_s=10_000, concurrency=4, timeout_s=timeout_s, refused_pause_s=refused_pause_s)
    async with http_node() as server, RpcClient(Endpoint(server.url), limits) as client:
        answers: list[Any] = []

        class Tap:
            def answer(self, job: Job, body: bytes) -> None:
                assert body
                answers.append(job)

        fetcher = Fetcher(client, frozenset({said.PROGRAM}), rules=rules, tap=Tap())
        task = asyncio.create_task(fetcher.run(out))
        subject = Fetching(fetcher, server, out)
        subject.answers = answers
        try:
            yield subject
        finally:
            task.cancel()
            async with asyncio.timeout(5):
                await asyncio.wait([task])
        assert task.cancelled(), task


def number_of(params: list[Any]) -> int:
    """Return the number of the transaction that is asked for."""
    return next(number for number in range(1, 300) if said.signature(number) == params[0])


async def test_whole_copies() -> None:
    """A need becomes a whole copy, in commitment confirmed and any transaction version, once."""
    async with fetching() as subject:
        subject.server.results["getTransaction"] = lambda params: said.transaction(number_of(params), SLOT)
        subject.want(1)
        subject.want(1)
        notice = await subject.get()
        assert isinstance(notice, TxNotice)
        assert (notice.signature, notice.feed, bool(notice.invokes)) == (said.signature(1), "fetch", True)
        assert subject.server.asked("getTransaction") == [
            [
                said.signature(1),
                {"encoding": "json", "commitment": "confirmed", "maxSupportedTransactionVersion": 1},
            ]
        ]
        assert len(subject.fetcher) == 0
        assert len(subject.answers) == 1


async def test_null_means_not_yet() -> None:
    """What is not there yet is asked for again until it is."""
    async with fetching() as subject:
        answers: list[Any] = [None, None, said.transaction(1, SLOT)]
        subject.server.results["getTransaction"] = lambda _: answers.pop(0)
        subject.want(1)
        assert isinstance(await subject.get(), TxNotice)
        assert len(subject.server.requests) == 3


async def test_one_block_for_several() -> None:
    """Four in a slot take one getBlock; the one that is not in it is asked for by itself."""
    async with fetching() as subject:
        entries = [said.entry(number) for number in (9, 1, 2, 3)]
        subject.server.results["getBlock"] = lambda _: said.block_answer(SLOT, entries)
        subject.server.results["getTransaction"] = lambda params: said.transaction(number_of(params), SLOT)
        for number in (1, 2, 3, 4):
            subject.want(number)
        got = [await subject.get() for _ in range(4)]
        assert [notice.signature for notice in got if isinstance(notice, TxNotice)] == [
            said.signature(number) for number in (1, 2, 3, 4)
        ]
        assert [notice.index for notice in got if isinstance(notice, TxNotice)] == [1, 2, 3, None]
        assert [request["method"] for request in subject.server.requests] == ["getBlock", "getTransaction"]


async def test_a_block_that_is_not_to_be_had() -> None:
    """Where the node has skipped or pruned the block, each transaction is tried by itself."""
    async with fetching() as subject:
        subject.server.results["getBlock"] = lambda _: Reply(said.error(-32009, "Slot was skipped, or missing"))
        subject.server.results["getTransaction"] = lambda params: said.transaction(number_of(params), SLOT)
        for number in range(1, 6):
            subject.want(number)
        got = {(await subject.get()).signature for _ in range(5)}  # type: ignore[union-attr]  # transactions all
        assert got == {said.signature(number) for number in range(1, 6)}
        assert len(subject.server.asked("getBlock")) == 1


async def test_pools() -> None:
    """Unknown pools are asked for together; of one that is gone the transaction is fetched."""
    async with fetching() as subject:
        account = {"owner": "O", "data": ["AQI=", "base64"]}
        subject.server.results["getMultipleAccounts"] = lambda params: {
            "context": {"slot": 7},
            "value": [account if address == "p1" else None for address in params[0]],
        }
        subject.server.results["getTransaction"] = lambda params: said.transaction(number_of(params), SLOT)
        subject.want(1, pool="p1")
        subject.want(2, pool="p2")
        assert await subject.get() == AccountSeen("p1", "O", b"\1\2", 7, "fetch")
        assert await subject.get() == AccountSeen("p2", None, b"", 7, "fetch")
        notice = await subject.get()
        assert isinstance(notice, TxNotice)
        assert notice.signature == said.signature(2)
        assert subject.server.asked("getMultipleAccounts")[0][0] == ["p1", "p2"]


async def test_one_time_for_all_of_a_slot() -> None:
    """Null and "not available yet" are not yet; the time comes once a slot, and is recorded."""
    async with fetching() as subject:
        not_yet = [Reply(said.error(-32004, "not available")), None, Reply(said.error(-32014, "not yet"))]
        subject.server.results["getBlockTime"] = lambda params: (
            not_yet.pop(0) if not_yet else said.BLOCK_TIME + params[0]
        )
        for number in range(1, 60):
            subject.want_time(number)
        assert await subject.get() == SlotTime(SLOT, said.BLOCK_TIME + SLOT, "fetch")
        subject.want_time(1, slot=SLOT + 1)
        assert await subject.get() == SlotTime(SLOT + 1, said.BLOCK_TIME + SLOT + 1, "fetch")
        assert subject.server.asked("getBlockTime") == [[SLOT]] * 4 + [[SLOT + 1]]
        assert len(subject.server.requests) == 5
        assert len(subject.fetcher) == 0
        assert subject.answers == [FetchTime(SLOT), FetchTime(SLOT + 1)]


async def test_a_time_that_came_by_another_way() -> None:
    """It is not asked for."""
    async with fetching() as subject:
        subject.server.results["getBlockTime"] = lambda _: said.BLOCK_TIME
        subject.want_time(1)
        subject.fetcher.timed(SLOT)
        subject.want_time(1, slot=SLOT + 1)
        assert await subject.get() == SlotTime(SLOT + 1, said.BLOCK_TIME, "fetch")
        assert subject.server.asked("getBlockTime") == [[SLOT + 1]]


@pytest.mark.parametrize(
    "answer", [Reply(said.error(-32601, "Method not found")), Reply(said.error(-32009, "skipped, or missing")), 1_790]
)
async def test_a_time_that_is_not_to_be_had(answer: Any) -> None:
    """Where a node does not give times, or none that can be right, the transactions are fetched as before."""
    async with fetching() as subject:
        subject.server.results["getBlockTime"] = lambda _: answer
        subject.server.results["getTransaction"] = lambda params: said.transaction(number_of(params), SLOT)
        subject.want_time(1)
        subject.want_time(2)
        got = [await subject.get() for _ in range(2)]
        assert {(one.signature, one.block_time) for one in got if isinstance(one, TxNotice)} == {
            (said.signature(1), said.BLOCK_TIME),
            (said.signature(2), said.BLOCK_TIME),
        }
        assert len(subject.server.asked("getBlockTime")) == 1


async def test_giving_up() -> None:
    """What never comes is told, with the last reason."""
    rules = Rules(gather_s=0.01, first_retry_s=0.02, longest_retry_s=0.02, give_up_after_s=0.1)
    async with fetching(rules) as subject:
        subject.server.results["getTransaction"] = lambda _: None
        subject.want(1)
        assert await subject.get() == FetchGaveUp(said.signature(1), SLOT, "the node does not have it yet", "fetch")
        assert len(subject.fetcher) == 0


async def test_every_kind_of_failure_passes() -> None:
    """A node that errs, limits, refuses, hangs, cuts and lies is asked until it answers."""
    async with fetching(timeout_s=0.1) as subject:
        subject.server.next.extend(
            [
                Reply(said.error(-32005, "behind")),
                Reply(b"", status=429, headers={"Retry-After": "0.01"}),
                Reply(b"", status=403),
                Reply(b"garbage"),
                Reply(b"{", cut=True),
                Reply(hang=True),
                Reply(said.result(said.transaction(2, SLOT))),
                Reply(said.result({**said.transaction(1, SLOT), "meta": {"err": None}})),
            ]
        )
        subject.server.results["getTransaction"] = lambda _: said.transaction(1, SLOT)
        subject.want(1)
        assert isinstance(await subject.get(), TxNotice)
        assert len(subject.server.requests) == 9


async def test_satisfied() -> None:
    """What came by another way is not asked for."""
    async with fetching() as subject:
        subject.server.results["getTransaction"] = lambda params: said.transaction(number_of(params), SLOT)
        subject.want(1)
        subject.fetcher.satisfied(said.signature(1))
        subject.want(2)
        notice = await subject.get()
        assert isinstance(notice, TxNotice)
        assert notice.signature == said.signature(2)


async def test_a_full_outlet_loses_nothing() -> None:
    """Whole copies wait for room, and what is wanted anew while they wait is fetched anew."""
    async with fetching(capacity=1) as subject:
        subject.server.results["getTransaction"] = lambda params: said.transaction(number_of(params), SLOT)
        for number in range(1, 31):
            subject.want(number, slot=number)
        got = set()
        for _ in range(30):
            notice = await subject.get()
            assert isinstance(notice, TxNotice)
            got.add(notice.signature)
            await asyncio.sleep(0)
        assert len(got) == 30
        subject.want(1)
        assert isinstance(await subject.get(), TxNotice)


async def test_a_node_that_refuses_us_is_not_asked_again_and_again() -> None:
    """However much is wanted: one request a rest; and what is wanted is given up in time, each once."""
    rules = Rules(gather_s=0.0, first_retry_s=0.001, longest_retry_s=0.001, give_up_after_s=0.2, block_at=1_000)
    async with fetching(rules, refused_pause_s=0.15) as subject:
        subject.server.results["getTransaction"] = lambda _: Reply(b"", status=401)
        for number in range(1, 60):
            subject.want(number)
        got = [await subject.get() for _ in range(59)]
        assert {notice.signature for notice in got if isinstance(notice, FetchGaveUp)} == {
            said.signature(number) for number in range(1, 60)
        }
        assert len(subject.server.requests) <= 4 + 2  # those under way at the first answer, then one a rest


async def test_more_than_can_wait_is_given_up_once_each() -> None:
    """Under load nothing is forgotten: what is wanted is either brought or given up."""
    rules = Rules(gather_s=0.01, give_up_after_s=5.0, block_at=1_000, max_waiting=20)
    async with fetching(rules, capacity=1_000) as subject:
        subject.server.results["getTransaction"] = lambda params: said.transaction(number_of(params), SLOT)
        for number in range(1, 201):
            subject.want(number)
        got = [await subject.get() for _ in range(200)]
        told = [notice.signature for notice in got if isinstance(notice, TxNotice | FetchGaveUp)]
        assert sorted(told) == sorted(said.signature(number) for number in range(1, 201))
        assert sum(isinstance(notice, TxNotice) for notice in got) == 20
