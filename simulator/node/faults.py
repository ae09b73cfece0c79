"""Where a node misbehaves on demand: everything that leaves it passes here first."""

from __future__ import annotations

import asyncio


class Faults:
    """
    Faults of one node, switched by tests.

    `repeat`: each notification is sent this many times more. `paused`: nothing is sent until `resume`.
    """

    def __init__(self) -> None:
        self.repeat = 0
        self._running = asyncio.Event()
        self._running.set()

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

    def copies(self, text: bytes) -> list[bytes]:
        """Return what to send instead of one notification."""
        return [text] * (1 + self.repeat)
