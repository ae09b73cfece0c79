"""What a running daemon takes and how far it is: from /proc and from its metrics page."""

from __future__ import annotations

import asyncio
import os
import re
import socket
import time
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.request import urlopen

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

_PAGE_S, _UNTIL_S = 30, 1_800
_LINE = re.compile(r"^launch_monitor_(\w+)(?:\{(.*)\})? (\S+)$", re.MULTILINE)
_RSS = re.compile(r"^VmRSS:\s+(\d+) kB$", re.MULTILINE)


def free_port() -> int:
    """Return a port that nobody has now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@dataclass(frozen=True, slots=True)
class Sample:
    """
    A daemon at one moment. `at_s` counts from the first sample; `page` holds metrics, summed over their labels.

    `descriptors` and `threads` are the operating system's, `cpu_s` is what was spent so far, `labelled` the metrics by
    name and text of the labels.
    """

    at_s: float
    cpu_s: float
    rss_bytes: int
    descriptors: int
    threads: int
    page: dict[str, float]
    labelled: dict[tuple[str, str], float]

    @property
    def waiting(self) -> int:
        """How many journaled records are not committed."""
        return int(self.page["journal_newest_seq"] - self.page["journal_done_seq"])

    def highest(self, name: str) -> float:
        """Return the highest value of a metric that has labels."""
        return max((value for (of, _), value in self.labelled.items() if of == name), default=0.0)


@dataclass
class Watch:
    """Samples one process every `every_s` while `run` runs."""

    pid: int
    port: int
    every_s: float = 1.0
    samples: list[Sample] = field(default_factory=list)
    taken: asyncio.Condition = field(default_factory=asyncio.Condition)
    _began: float = field(default_factory=time.monotonic)

    async def run(self) -> None:
        """Sample until cancelled."""
        due = time.monotonic()
        while True:
            sample = await self.sample()
            async with self.taken:
                self.samples.append(sample)
                self.taken.notify_all()
            due = max(due + self.every_s, time.monotonic())
            await asyncio.sleep(due - time.monotonic())

    async def next(self) -> Sample:
        """Return the next sample that `run` takes."""
        async with self.taken:
            count = len(self.samples)
            await self.taken.wait_for(lambda: len(self.samples) > count)
            return self.samples[-1]

    async def until(self, enough: Callable[[Sample], bool], within_s: float = _UNTIL_S) -> None:
        """Wait for a sample of which this is true."""
        async with asyncio.timeout(within_s):
            while not enough(await self.next()):
                pass

    async def sample(self) -> Sample:
        """Return the process as it is."""
        text = await asyncio.to_thread(_page, self.port)
        found = [(name, labels, float(value)) for name, labels, value in _LINE.findall(text)]
        page: dict[str, float] = {}
        for name, _, value in found:
            page[name] = page.get(name, 0.0) + value
        process = Path(f"/proc/{self.pid}")
        rss = _RSS.search((process / "status").read_text())
        assert rss is not None
        return Sample(
            time.monotonic() - self._began,
            cpu_s((process / "stat").read_text()),
            int(rss[1]) * 1024,
            len(list((process / "fd").iterdir())),
            len(list((process / "task").iterdir())),
            page,
            {(name, labels): value for name, labels, value in found},
        )


@asynccontextmanager
async def watching(watch: Watch) -> AsyncIterator[Watch]:
    """Take samples until the block ends; a daemon that does not answer any more ends the block."""
    async with asyncio.TaskGroup() as group:
        task = group.create_task(watch.run())
        yield watch
        task.cancel()


def cpu_s(stat: str) -> float:
    """Return what a process spent, by proc(5): user and system time are the 14th and 15th field, in clock ticks."""
    fields = stat.rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def _page(port: int) -> str:
    with urlopen(f"http://127.0.0.1:{port}/metrics", timeout=_PAGE_S) as answer:
        return str(answer.read().decode())
