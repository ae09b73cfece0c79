"""A node's faults as they stand: switched by tests, or begun by a schedule."""

from __future__ import annotations

import asyncio
from collections import Counter
from typing import TYPE_CHECKING

from simulator.faults import frames, requests

if TYPE_CHECKING:
    from simulator.faults.schedule import Fault, Kind

_BYTES_PER_S = 20_000


class Faults:
    """
    Faults of one node.

    `repeat`: each notification is sent this many times more. `paused`: nothing is sent until `resume`. `struck` counts
    by kind how often a fault struck: notifications, requests, connections, slots or changes.
    """

    def __init__(self) -> None:
        self.repeat = 0
        self.struck: Counter[Kind] = Counter()
        self.frames = frames.Frames(self.struck)
        self.requests = requests.Requests(self.struck)
        self._running = asyncio.Event()
        self._running.set()
        self._slow_until = 0.0

    def arm(self, fault: Fault) -> bool:
        """Have a fault strike what leaves the node; return whether it is one of those."""
        if fault.kind in frames.STRIKES:
            self.frames.arm(fault)
        elif fault.kind in requests.STRIKES:
            self.requests.arm(fault)
        elif fault.kind == "slow":
            self.struck["slow"] += 1
            self._slow_until = asyncio.get_running_loop().time() + fault.seconds
        else:
            return False
        return True

    def calm(self) -> None:
        """End what strikes notifications and requests."""
        self.repeat = 0
        self.frames.disarm()
        self.requests.disarm()
        self._slow_until = 0.0
        self.resume()

    @property
    def quiet(self) -> bool:
        """Whether notifications leave as they are, at once."""
        return self.frames.quiet and not self.repeat and not self._slow_until and self._running.is_set()

    @property
    def paused(self) -> bool:
        """Whether sending is paused."""
        return not self._running.is_set()

    def pause(self) -> None:
        """Stop sending notifications; connections stay up."""
        self._running.clear()

    def resume(self) -> None:
        """Send again, first what waited."""
        self._running.set()

    async def gate(self) -> None:
        """Wait while sending is paused."""
        await self._running.wait()

    async def pace(self, size_bytes: int) -> None:
        """Take the time that so many bytes need on a slow wire."""
        left_s = self._slow_until - asyncio.get_running_loop().time() if self._slow_until else 0.0
        if left_s > 0:
            await asyncio.sleep(min(left_s, size_bytes / _BYTES_PER_S))
        else:
            self._slow_until = 0.0
