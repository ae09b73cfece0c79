"""The simulator as one thing: a market, its chain and its node, at a rate or flat out."""

from __future__ import annotations

import asyncio
import time
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Self

import msgspec

from simulator.chain import FIRST_SLOT, SLOT_MS, Chain, Rules
from simulator.faults.striker import Striker
from simulator.market import Market
from simulator.node.node import Node

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path
    from types import TracebackType

    from simulator.faults.faults import Faults
    from simulator.faults.schedule import Fault, Schedule
    from simulator.layouts import Layout
    from simulator.ledger import Ledger
    from simulator.mix import Mix

_BREATH = 25  # transactions between two yields to the event loop
_EPOCH = 1_780_000_000  # slots of a served simulator count from here, so that a later start is ahead of an earlier one


class Simulator:
    """
    A stand-in Solana node.

        async with Simulator(seed=7, rate=1_000) as node:
            await node.run_for(transactions=60_000)
            node.write_ledger(path)

    Args:
        rate: Transactions per second in real time; None makes them flat out and waits for slow clients instead of
            cutting them off.
        rules: How the chain runs (its start time and slot, lags, skipped slots).
        mix: How lively the market is.
        log_limit_bytes: Log text that the node keeps of one transaction; None for all.
        queue_size: Notifications that may wait for one client.
        schedule: Faults, and when they begin; slots count from the first one made.
    """

    def __init__(  # noqa: PLR0913 - the knobs of a node, all optional
        self, *, seed: int = 1, rate: float | None = None, rules: Rules | None = None, mix: Mix | None = None,
        log_limit_bytes: int | None = 10_000, queue_size: int = 50_000, host: str = "127.0.0.1", ws_port: int = 0,
        http_port: int = 0, schedule: Schedule | None = None,
    ) -> None:  # fmt: skip
        self._rate = rate
        self._address = (host, ws_port, http_port)
        self.rules = rules or Rules()
        self.market = Market(seed, mix)
        self.chain = Chain(self.market, seed, self.rules)
        self.node = Node(
            self.chain, self.market.world, log_limit_bytes=log_limit_bytes, queue_size=queue_size, lossless=rate is None
        )
        self._striker = Striker(self.chain, self.node, schedule)

    @property
    def ws_url(self) -> str:
        """Return the PubSub address."""
        return f"ws://{self._address[0]}:{self.node.pubsub.port}"

    @property
    def http_url(self) -> str:
        """Return the JSON-RPC address."""
        return f"http://{self._address[0]}:{self.node.http.port}"

    @property
    def faults(self) -> Faults:
        """Return the switches for misbehaving, and how often each kind of fault struck."""
        return self.node.faults

    def strike(self, fault: Fault) -> None:
        """Begin a fault now, whatever its slot; what concerns the chain begins with the next slot that can have it."""
        self._striker.add(fault)

    def misbehave(self, schedule: Schedule) -> None:
        """Carry out this schedule from the next slot on, in place of the one before."""
        self._striker.follow(schedule)

    async def calm(self) -> None:
        """End every fault and the schedule: ports open, held back notifications sent; layouts stay changed."""
        await self._striker.calm()

    @property
    def layouts(self) -> list[Layout]:
        """Return the IDLs of programs whose events changed, by ranges of slots, oldest first."""
        return self._striker.layouts

    @property
    def subscriptions(self) -> int:
        """Return how many subscriptions of all clients stand."""
        return self.node.pubsub.subscriptions

    async def __aenter__(self) -> Self:
        await self.node.start(*self._address)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._striker.calm()
        await self.node.stop()

    async def run_for(self, *, transactions: int) -> None:
        """Make this many transactions more, then empty blocks until all are finalized and sent."""
        end = self.chain.produced + transactions
        await self._run(lambda: self.chain.produced < end, lambda: end - self.chain.produced)
        await self.settle()

    async def run_until(self, stopped: Callable[[], bool]) -> None:
        """Go on at the rate until `stopped` says so (asked once a slot)."""
        await self._run(lambda: not stopped(), lambda: 1 << 62)

    async def idle_until(self, stopped: Callable[[], bool]) -> None:
        """Add empty blocks, a slot each 400 ms, until `stopped` says so: a quiet market for clients that come up."""
        while not stopped():
            await self._slot(0)
            await asyncio.sleep(SLOT_MS / 1000)

    async def settle(self) -> None:
        """
        Add empty blocks until everything made so far is finalized, and wait until clients were sent all of it.

        A fork that is being told ends before, and what lands again does so.
        """
        last = self.chain.slot
        while self.chain.is_unsettled or self.chain.behind or self.chain.tip("finalized") < last:
            forked = self.chain.is_unsettled
            await self._slot(0)
            last = self.chain.slot if forked else last
        if not self.faults.paused:
            await self.node.pubsub.drained()

    async def _run(self, more: Callable[[], bool], left: Callable[[], int]) -> None:
        due, owed, newest = asyncio.get_running_loop().time(), 0.0, 0
        while more():
            owed += (self._rate or 1_000) * SLOT_MS / 1000
            count = min(int(owed), left())
            if await self._slot(count):
                owed -= count
            replaces, newest = self.chain.slot <= newest, max(self.chain.slot, newest)
            if self._rate is not None and not replaces:
                due += SLOT_MS / 1000
                await asyncio.sleep(due - asyncio.get_running_loop().time())

    async def _slot(self, transactions: int) -> bool:
        """Make and publish one slot; return whether it has a block."""
        self._striker.step()
        block = self.chain.begin_slot()
        self.node.follow(self.chain.market.world)
        if block is None:
            return False
        for number in range(transactions):
            self.chain.add_transaction(block)
            if number % _BREATH == 0:
                await asyncio.sleep(0)
        self.chain.end_slot(block)
        await self._striker.tell()
        return True

    def drop_connections(self) -> None:
        """Cut every connection now, websocket and HTTP, without a goodbye."""
        self.node.drop_connections()

    @property
    def ledger(self) -> Ledger:
        """Return the truth, live."""
        return self.market.world.ledger

    def export(self) -> dict[str, Any]:
        """Return the truth as JSON-ready data (see simulator.ledger)."""
        return self.ledger.export()

    def write_ledger(self, path: Path) -> None:
        """Write the truth as JSON."""
        path.write_bytes(msgspec.json.encode(self.export()))


async def serve(  # noqa: PLR0913 - what can be told to a node, all optional
    *, seed: int | None = None, rate: float = 30.0, host: str = "127.0.0.1", ws_port: int = 0, http_port: int = 0,
    duration_s: float | None = None, ledger_path: Path | None = None,
    ready: Callable[[Simulator], None] = lambda _: None, schedule: Schedule | None = None,
) -> None:  # fmt: skip
    """
    Serve a market in real time, until `duration_s` is over or the task is cancelled; the ledger is written at the end.

    Args:
        seed: None draws one from the clock. With a given one names and keys repeat, times and slots do not.
        ready: Called once both ports are open.
        schedule: Faults of the node.
    """
    now = time.time()
    rules = replace(Rules(), start_time=int(now), first_slot=FIRST_SLOT + int((now - _EPOCH) * 1000) // SLOT_MS)
    node = Simulator(
        seed=int(now) if seed is None else seed,
        rate=rate,
        rules=rules,
        host=host,
        ws_port=ws_port,
        http_port=http_port,
        schedule=schedule,
    )
    async with node:
        ready(node)
        end = None if duration_s is None else time.monotonic() + duration_s
        try:
            await node.run_until(lambda: end is not None and time.monotonic() >= end)
        finally:
            if ledger_path is not None:
                await asyncio.to_thread(node.write_ledger, ledger_path)
