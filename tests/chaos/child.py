"""The daemon as a service manager runs it: started again at once whenever it ends, and killed on purpose."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import subprocess
from collections import Counter
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

_AGAIN_S = 0.3
_STOP_S = 60.0


class Child:
    """A daemon in many lives. `ends` counts the exit codes of those that we did not end, `kills` those that we did."""

    def __init__(self, program: Path, config: Path, log: Path) -> None:
        self._command = (str(program), "ingest", "--config", str(config))
        self._log = log
        self._process: asyncio.subprocess.Process | None = None
        self._killed = False
        self.ends: Counter[int] = Counter()
        self.kills = 0
        self.last_code: int | None = None

    async def run(self) -> None:
        """Run it for ever; cancelled, it gets SIGTERM, and its last exit code stands in `last_code`."""
        try:
            while True:
                await self._live()
                if not self._killed:
                    await asyncio.sleep(_AGAIN_S)
        finally:
            await self._stop()

    async def _live(self) -> None:
        with self._log.open("ab") as log:
            self._killed = False
            self._process = await asyncio.create_subprocess_exec(
                *self._command, cwd="/", env=environment(), stdin=subprocess.DEVNULL, stdout=log, stderr=log
            )
        code = await self._process.wait()
        if not self._killed:
            self.ends[code] += 1

    def kill(self) -> bool:
        """Kill it with SIGKILL; return whether there was one."""
        if self._process is None or self._process.returncode is not None:
            return False
        self._killed = True
        self._process.kill()
        self.kills += 1
        return True

    def hang_up(self) -> None:
        """Have it read its IDLs again."""
        if self._process is not None and self._process.returncode is None:
            self._process.send_signal(signal.SIGHUP)

    async def _stop(self) -> None:
        process = self._process
        if process is None:
            return
        if process.returncode is None:
            process.terminate()
        try:
            async with asyncio.timeout(_STOP_S):
                self.last_code = await process.wait()
        except TimeoutError:
            process.kill()
            await process.wait()


def environment() -> dict[str, str]:
    """Return the environment without what would configure a daemon."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("LAUNCH_MONITOR_")}
    kept.pop("NOTIFY_SOCKET", None)
    return kept


@asynccontextmanager
async def running(child: Child) -> AsyncIterator[None]:
    """Run it until the block ends."""
    task = asyncio.create_task(child.run())
    try:
        yield
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task


async def command(program: Path, *arguments: str, within_s: float = 120.0) -> tuple[int, str]:
    """Run a command of the program; return its exit code and what it says."""
    process = await asyncio.create_subprocess_exec(
        str(program), *arguments, cwd="/", env=environment(), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )  # fmt: skip
    async with asyncio.timeout(within_s):
        output, _ = await process.communicate()
    return process.returncode or 0, output.decode(errors="replace")
