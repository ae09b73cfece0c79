"""A simulated node in a process of its own and in real time, told what to do by lines on its standard input."""

from __future__ import annotations

import asyncio
import gc
import json
import sys
import time
from collections import Counter
from contextlib import asynccontextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import uvloop

from simulator.chain import Rules
from simulator.faults.schedule import Schedule
from simulator.ledger import Trade
from simulator.mix import Mix
from simulator.run import Simulator

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

_ROOT = Path(__file__).parents[2]
_START_S, _ANSWER_S, _STOP_S = 60, 600, 60
_LINE_BYTES = 1 << 20


@dataclass(frozen=True, slots=True)
class Plan:
    """
    What the node is like.

    Args:
        rate: Transactions a second while it is told to trade.
        kept_transactions: How many it still answers for (some 7 KB of memory each).
        queue_size: Notifications that may wait for a client before it is cut off.
        launch_share: How many of the transactions launch a token.
        faults: By kind how often a minute it strikes, from the first slot on.
        keeps_ledger: Whether the truth is kept, and not only how many trades there were: it grows without end.
    """

    rate: float = 1_000.0
    seed: int = 7
    kept_transactions: int = 80_000
    queue_size: int = 50_000
    launch_share: float = Mix().launch
    faults: dict[str, float] = field(default_factory=dict)
    keeps_ledger: bool = True


class Market:
    """The process, from outside."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process
        self.ws_url = self.http_url = ""

    async def started(self) -> None:
        """Wait until its ports are open."""
        async with asyncio.timeout(_START_S):
            told = await self._answer()
        self.ws_url, self.http_url = told["ws_url"], told["http_url"]

    async def trade(self) -> None:
        """Make transactions at the rate from the next slot on."""
        await self._ask("trade")

    async def rest(self) -> None:
        """Make empty slots alone from the next one on; this is how it begins."""
        await self._ask("rest")

    async def settle(self) -> int:
        """Make empty slots until all that was made is final and sent, then go on with them; return the last slot."""
        return int((await self._ask("settle"))["slot"])

    async def calm(self) -> None:
        """End every fault."""
        await self._ask("calm")

    async def produced(self) -> int:
        """Return how many transactions were made."""
        return int((await self._ask("status"))["produced"])

    async def subscriptions(self) -> int:
        """Return how many subscriptions stand."""
        return int((await self._ask("status"))["subscriptions"])

    async def struck(self) -> dict[str, int]:
        """Return by kind how often faults struck."""
        return dict((await self._ask("status"))["struck"])

    async def cpu_s(self) -> float:
        """Return the processor time that it spent so far."""
        return float((await self._ask("status"))["cpu_s"])

    async def trades(self) -> dict[str, int]:
        """Return by venue how many trades were made."""
        return dict((await self._ask("trades"))["trades"])

    async def ledger(self, path: Path) -> dict[str, Any]:
        """Return the truth, which is written to `path`."""
        await self._ask(f"ledger {path}")
        return dict(json.loads(path.read_bytes()))

    async def _ask(self, line: str) -> dict[str, Any]:
        assert self._process.stdin is not None
        self._process.stdin.write(line.encode() + b"\n")
        async with asyncio.timeout(_ANSWER_S):
            return await self._answer()

    async def _answer(self) -> dict[str, Any]:
        assert self._process.stdout is not None
        line = await self._process.stdout.readline()
        assert line, "the simulator ended"
        return dict(json.loads(line))


@asynccontextmanager
async def market(plan: Plan) -> AsyncIterator[Market]:
    """Run a node until the block ends. It makes empty slots at first."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "tests.e2e.market", json.dumps(asdict(plan)), cwd=_ROOT,
        stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE,
    )  # fmt: skip
    assert process.stdin is not None
    try:
        found = Market(process)
        await found.started()
        yield found
    finally:
        process.stdin.close()
        async with asyncio.timeout(_STOP_S):
            await process.wait()


class _Child:
    """The process, from inside: `_mode` says what each slot is."""

    def __init__(self, node: Simulator, *, keeps_ledger: bool) -> None:
        self._node = node
        self._keeps_ledger = keeps_ledger
        self._mode = "rest"
        self._trades: Counter[str] = Counter()

    async def run(self) -> None:
        """Obey until standard input ends."""
        lines = asyncio.StreamReader(limit=_LINE_BYTES)
        await asyncio.get_running_loop().connect_read_pipe(lambda: asyncio.StreamReaderProtocol(lines), sys.stdin)
        _say(ws_url=self._node.ws_url, http_url=self._node.http_url)
        making = asyncio.create_task(self._make())
        while line := (await lines.readline()).decode().strip():
            if line == "settle":
                making = await self._settle(making)
            else:
                _say(**await self._obey(line))
        self._mode = "end"
        await making

    async def _obey(self, line: str) -> dict[str, Any]:
        node = self._node
        match line.split(" ", 1):
            case ["trade" | "rest" as mode]:
                self._mode = mode
                return {}
            case ["calm"]:
                await node.calm()
                return {}
            case ["status"]:
                return {
                    "produced": node.chain.produced,
                    "subscriptions": node.subscriptions,
                    "struck": dict(node.faults.struck),
                    "cpu_s": time.process_time(),
                }
            case ["trades"]:
                self._count()
                return {"trades": dict(self._trades)}
            case ["ledger", path]:
                node.write_ledger(Path(path))
                return {}
            case _:
                raise ValueError(line)

    async def _settle(self, making: asyncio.Task[None]) -> asyncio.Task[None]:
        """Settle between two tasks that make slots; return the second."""
        self._mode = "settle"
        await making
        slot = self._node.chain.slot
        await self._node.settle()
        self._mode = "rest"
        _say(slot=slot)
        return asyncio.create_task(self._make())

    async def _make(self) -> None:
        while self._mode in ("trade", "rest"):
            mode = self._mode
            make = self._node.run_until if mode == "trade" else self._node.idle_until
            await make(lambda mode=mode: self._has_ended(mode))  # type: ignore[misc]  # mypy cannot infer a default

    def _has_ended(self, mode: str) -> bool:
        """Asked once a slot."""
        if not self._keeps_ledger:
            self._count()
        return self._mode != mode

    def _count(self) -> None:
        """Count the trades; what is counted is forgotten, unless it is to be kept."""
        ledger = self._node.ledger
        if self._keeps_ledger:
            self._trades.clear()
        self._trades.update(entry.said.venue for entry in ledger.of(Trade))
        if not self._keeps_ledger:
            ledger.entries.clear()


def _say(**told: Any) -> None:
    print(json.dumps(told), flush=True)  # noqa: T201 - this is the answer


async def _child(plan: Plan) -> None:
    # What is kept has no cycles, and looking for some took half of the time.
    gc.disable()
    schedule = Schedule.drawn(plan.seed, plan.faults) if plan.faults else None  # type: ignore[arg-type]  # names by text
    rules = Rules(kept_transactions=plan.kept_transactions, start_time=int(time.time()))
    mix = Mix(launch=plan.launch_share)
    node = Simulator(
        seed=plan.seed, rate=plan.rate, rules=rules, mix=mix, queue_size=plan.queue_size, schedule=schedule
    )
    async with node:
        await _Child(node, keeps_ledger=plan.keeps_ledger).run()


if __name__ == "__main__":
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(_child(Plan(**json.loads(sys.argv[1]))))
