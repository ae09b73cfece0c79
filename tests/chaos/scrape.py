"""Scrapes the metrics page again and again: the ledgers hold whenever it answers."""

from __future__ import annotations

import asyncio
import re
from dataclasses import dataclass, field

_EVERY_S = 0.25
_PATIENCE_S = 5.0
_DIFFERENCE = re.compile(r'^launch_monitor_ledger_difference\{ledger="(\w+)"\} (\S+)$', re.MULTILINE)


@dataclass
class Scrapes:
    """What was read: how many pages, and those whose ledgers did not hold."""

    port: int
    pages: int = 0
    wrong: list[str] = field(default_factory=list)

    async def run(self) -> None:
        """Scrape for ever."""
        while True:
            page = await _page(self.port)
            if page is not None:
                self._look(page)
            await asyncio.sleep(_EVERY_S)

    def _look(self, page: str) -> None:
        found = _DIFFERENCE.findall(page)
        if not found:
            return  # it is up, and has not begun to count
        self.pages += 1
        self.wrong += [f"ledger {name} is off by {value}" for name, value in found if float(value) != 0]


async def _page(port: int) -> str | None:
    """Return the page; None if nobody answers (as of a daemon that was just killed)."""
    try:
        async with asyncio.timeout(_PATIENCE_S):
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            try:
                writer.write(b"GET /metrics HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
                head, _, body = (await reader.read()).partition(b"\r\n\r\n")
            finally:
                writer.close()
    except (OSError, TimeoutError):
        return None
    return body.decode() if b" 200 " in head.split(b"\r\n")[0] else None
