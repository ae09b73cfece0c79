"""
One run of chaos: a simulated node, a daemon that is killed again and again, and everything around it breaking.

`python -m tests.chaos.one NAME FOLDER REDIS_PORT SERVER_JSON AUDITS` (0 or 1) prints the outcome as one line of JSON.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import shutil
import sys
import time
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from monitor.data import data_dir
from simulator.chain import Rules
from simulator.run import Simulator
from tests.chaos import child, judge, plan, servers
from tests.chaos.breakers import Breakers
from tests.chaos.scrape import Scrapes
from tests.proxy import Proxy

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from tests.chaos.judge import Verdict
    from tests.chaos.plan import Plan
    from tests.chaos.servers import Server

# The environment's own script: what is tried here is not the wheel.
PROGRAM = Path(sys.executable).with_name("launch-monitor")
READY_S, START_S, RECOVERED_S = 60.0, 30.0, 90.0
# Finality follows within a run; a hanging connection is noticed within it.
RULES = Rules(finalized_lag=8)
_LOOK_S = 0.2
_MOST_MISSED = 4  # slots
_CONFIG = """
idl_dir = "{idls}"
[node]
ws_url = "{ws}"
http_url = "{http}"
feed = "{feed}"
stall_timeout_s = 2
[journal]
dir = "{folder}/journal"
[fetch]
rate_per_s = 2000
concurrency = 8
give_up_after_s = 5
[database]
url = "{database}"
connect_timeout_s = 3
command_timeout_s = 10
[redis]
url = "redis://127.0.0.1:{redis}/0"
timeout_s = 1
[metrics]
listen = "127.0.0.1:{metrics}"
[log]
format = "json"
"""


@dataclass
class Outcome:
    """
    What came of one run. Zero of everything from `lost` to `unequal` is what is promised.

    `recovery_s`: from the end of all faults and of the last kill until the database said that it holds everything.
    `unequal`: scrapes at which a ledger did not hold. `odd`: whatever else should not be. `ends`: how often the daemon
    ended by itself, by exit code.
    """

    name: str
    kinds: tuple[str, ...]
    feeds: tuple[str, ...]
    lost: int = 0
    doubled: int = 0
    wrong: int = 0
    open_holes: int = 0
    unequal: int = 0
    odd: list[str] = field(default_factory=list)
    words: list[str] = field(default_factory=list)
    kills: int = 0
    struck: dict[str, int] = field(default_factory=dict)
    stored: int = 0
    voided: int = 0
    filled_holes: int = 0
    recovery_s: float = 0.0
    scrapes: int = 0
    ends: dict[str, int] = field(default_factory=dict)
    seconds: float = 0.0

    @property
    def idle_kinds(self) -> tuple[str, ...]:
        """Return the faults that never struck."""
        return tuple(kind for kind in self.kinds if not self.struck.get(kind))

    @property
    def is_good(self) -> bool:
        """Tell whether everything is as promised."""
        return not (self.lost or self.doubled or self.wrong or self.open_holes or self.unequal or self.odd)

    def line(self) -> str:
        """Return the gist of it."""
        return (
            f"{'ok ' if self.is_good else 'BAD'} {self.name:<60} kills {self.kills} rows {self.stored:>5} "
            f"void {self.voided:>3} filled {self.filled_holes:>3} recovery {self.recovery_s:>5} of {self.seconds:>5} s "
            f"scrapes {self.scrapes} struck {self.struck} ends {self.ends}"
        )


class Run:
    """One run, while it goes on."""

    def __init__(self, what: Plan, folder: Path, node: Simulator, daemon: child.Child, breakers: Breakers) -> None:
        self._plan = what
        self._folder = folder
        self._node = node
        self._daemon = daemon
        self._breakers = breakers
        self._slot = -1
        self._missed = 0
        self._timers: list[asyncio.TimerHandle] = []

    def step(self) -> bool:
        """
        Begin what is due with the next slot; return whether traffic is to stop.

        It stops at the end, and while a daemon is long in starting: how fast that is changes nothing then.
        """
        self._missed = 0 if self._follows() else self._missed + 1
        if self._missed > _MOST_MISSED:
            return True
        self._slot += 1
        for fault in self._plan.faults:
            if fault.slot == self._slot:
                self._node.strike(fault)
        for outage in self._plan.outages:
            if outage.slot == self._slot:
                self._breakers.begin(outage)
        for kill in self._plan.kills:
            if kill.slot == self._slot:
                self.kill_in(kill.after_s)
                if kill.again_s is not None:
                    self.kill_in(kill.after_s + kill.again_s)
        return self._slot >= plan.SLOTS

    async def _traffic(self) -> None:
        """Go on until the plan is through."""
        while self._slot < plan.SLOTS:
            await self._node.run_until(self.step)
            if self._missed:
                await self._quiet_until(self._is_up, START_S)
                self._missed = 0

    def kill_in(self, seconds: float) -> None:
        """Kill the daemon after a while."""
        self._timers.append(asyncio.get_running_loop().call_later(seconds, self._daemon.kill))

    def _follows(self) -> bool:
        """Tell whether the node has the daemon for a client."""
        if self._plan.feeds == ("polled_blocks",):
            return self._breakers.to_http.connections > 0
        return self._node.subscriptions > 0

    async def go(self, url: str, outcome: Outcome, *, audits: bool) -> Verdict:
        """Run from the first subscription to the verdict."""
        node, what = self._node, self._plan
        if not await self._quiet_until(lambda: judge.has_begun(url), READY_S):
            outcome.odd.append(f"nothing was subscribed within {READY_S:g} s")
        await self._traffic()
        outcome.struck = {str(kind): count for kind, count in (node.faults.struck + self._breakers.struck).items()}
        await node.calm()
        await self._breakers.over()
        # What vanished with a fork lands again some slots later: that belongs to what has to be there.
        await node.idle_until(lambda: not node.chain.is_unsettled)
        last_slot = node.chain.slot
        self.kill_in(what.last_kill_s)
        await asyncio.sleep(what.last_kill_s)
        began = time.monotonic()
        if not await self._quiet_until(lambda: judge.is_settled(url, last_slot), RECOVERED_S):
            outcome.odd.append(f"not complete {RECOVERED_S:g} s after all faults: {await judge.where(url)}")
        if what.changes_layouts:
            await self._redecode(outcome)
        if what.is_silent and audits:
            await self._audit(outcome)
        if what.changes_layouts or what.is_silent:
            await self._quiet_until(lambda: judge.is_settled(url, last_slot), RECOVERED_S)
        outcome.recovery_s = round(time.monotonic() - began, 1)
        found = await judge.verdict(url, node.export(), forked="fork" in what.kinds)
        if found.words or found.open_holes:
            node.write_ledger(self._folder / "ledger.json")
            await judge.keep(url, self._folder)
        return found

    async def _is_up(self) -> bool:
        return self._follows()

    async def _quiet_until(self, is_so: Callable[[], Awaitable[bool]], within_s: float) -> bool:
        """Let the node go on with empty slots until something is so; return whether it became so in time."""
        over = asyncio.Event()
        idling = asyncio.create_task(self._node.idle_until(over.is_set))
        try:
            async with asyncio.timeout(within_s):
                while not await is_so():  # noqa: ASYNC110 - a database tells nobody that it is complete
                    await asyncio.sleep(_LOOK_S)
        except TimeoutError:
            return False
        finally:
            over.set()
            await idling
        return True

    async def _redecode(self, outcome: Outcome) -> None:
        """Bring the IDLs up to date, and have everything that could not be read decoded again."""
        for layout in self._node.layouts:
            name, text = layout.file()
            (self._folder / "idl" / name).write_bytes(text)
        self._daemon.hang_up()
        await self._command(outcome, "redecode")

    async def _audit(self, outcome: Outcome) -> None:
        """Compare all slots, and have holes made of those that differ."""
        await self._command(outcome, "audit", "--slots", "10000")

    async def _command(self, outcome: Outcome, *arguments: str) -> None:
        over = asyncio.Event()
        idling = asyncio.create_task(self._node.idle_until(over.is_set))
        try:
            code, said = await child.command(PROGRAM, *arguments, "--config", str(self._folder / "config.toml"))
        finally:
            over.set()
            await idling
        (self._folder / f"{arguments[0]}.log").write_text(said)
        if code not in (0, 1):
            outcome.odd.append(f"{arguments[0]} ended with {code}: {said[-300:]}")


async def run(what: Plan, folder: Path, server: Server, redis_port: int, *, audits: bool) -> Outcome:
    """Carry out a plan; logs and configuration stay in `folder`."""
    began = time.monotonic()
    outcome = Outcome(what.name, what.kinds, what.feeds)
    shutil.copytree(data_dir("idl"), folder / "idl")
    async with contextlib.AsyncExitStack() as stack:
        name = await stack.enter_async_context(server.database(f"chaos_{time.time_ns()}"))
        node = await stack.enter_async_context(Simulator(seed=what.seed, rate=plan.RATE_PER_S, rules=RULES))
        wires = {
            "ws": urlsplit(node.ws_url).port, "http": urlsplit(node.http_url).port, "database": server.port,
            "redis": redis_port,
        }  # fmt: skip
        proxies = {wire: await stack.enter_async_context(Proxy("127.0.0.1", port or 0)) for wire, port in wires.items()}
        scrapes = Scrapes(servers.free_port())
        config = _configured(what, folder, server, name, proxies, scrapes.port)
        daemon = child.Child(PROGRAM, config, folder / "ingest.log")
        breakers = Breakers(server, name, proxies)
        async with child.running(daemon), _beside(scrapes.run()):
            verdict = await Run(what, folder, node, daemon, breakers).go(server.url(name), outcome, audits=audits)
    _sum(outcome, verdict, daemon, scrapes)
    outcome.seconds = round(time.monotonic() - began, 1)
    return outcome


def _configured(
    what: Plan, folder: Path, server: Server, name: str, proxies: dict[str, Proxy], metrics_port: int
) -> Path:
    text = _CONFIG.format(
        idls=folder / "idl", folder=folder, feed=what.feeds[0], metrics=metrics_port,
        ws=f"ws://127.0.0.1:{proxies['ws'].port}", http=f"http://127.0.0.1:{proxies['http'].port}",
        database=server.url(name, role=servers.ROLE, port=proxies["database"].port), redis=proxies["redis"].port,
    )  # fmt: skip
    text += "".join(f'[[feeds]]\nkind = "{kind}"\n' for kind in what.feeds[1:])
    config = folder / "config.toml"
    config.write_text(text)
    return config


@contextlib.asynccontextmanager
async def _beside(what: Any) -> Any:
    task = asyncio.create_task(what)
    try:
        yield
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task


def _sum(outcome: Outcome, verdict: Verdict, daemon: child.Child, scrapes: Scrapes) -> None:
    outcome.lost, outcome.doubled, outcome.wrong = verdict.lost, verdict.doubled, verdict.wrong
    outcome.open_holes, outcome.filled_holes = verdict.open_holes, verdict.filled_holes
    outcome.stored, outcome.voided, outcome.words = verdict.stored, verdict.voided, list(verdict.words)
    outcome.kills, outcome.scrapes = daemon.kills, scrapes.pages
    outcome.unequal = len(scrapes.wrong)
    outcome.odd += sorted(set(scrapes.wrong))[:5]
    outcome.ends = {str(code): count for code, count in daemon.ends.items()}
    if unexpected := daemon.ends.keys() - {75}:
        outcome.odd.append(f"the daemon ended by itself with {sorted(unexpected)}")
    if daemon.last_code != 0:
        outcome.odd.append(f"at SIGTERM the daemon ended with {daemon.last_code}")
    # Of several faults one may leave nothing for another to strike; two at least make a combination.
    if len(outcome.kinds) - len(outcome.idle_kinds) < min(len(outcome.kinds), 2):
        outcome.odd += [f"{kind} never struck" for kind in outcome.idle_kinds]
    if not scrapes.pages:
        outcome.odd.append("the metrics page never answered")


def main() -> None:
    """Run what the command line says."""
    name, folder, redis_port, server, audits = sys.argv[1:]
    given = json.loads(server)
    where = servers.Server(given["port"], tuple(given["control"]), given["options"])
    outcome = asyncio.run(run(plan.read(name), Path(folder), where, int(redis_port), audits=audits == "1"))
    sys.stdout.write(json.dumps(asdict(outcome)))


if __name__ == "__main__":
    main()
