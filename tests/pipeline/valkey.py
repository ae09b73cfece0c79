"""A Valkey of the wheel on a free port, to be stopped, frozen and started again."""

from __future__ import annotations

import asyncio
import signal
import socket
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

from monitor.embedded import programs

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

_PATIENCE_S = 20
_READY = b"Ready to accept connections"


class Valkey:
    """One server; its port stays over restarts, what it holds does not."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._process: asyncio.subprocess.Process | None = None
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port: int = probe.getsockname()[1]
        self.url = f"redis://127.0.0.1:{self.port}/0"

    async def start(self) -> None:
        """Start, and return when it answers."""
        settings = f'bind 127.0.0.1\nport {self.port}\nsave ""\nappendonly no\ndir "{self._folder}"\n'
        self._process = await asyncio.create_subprocess_exec(
            str(programs.find().valkey_server),
            "-",
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            cwd=self._folder,
        )
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(settings.encode())
        self._process.stdin.close()
        said = b""
        async with asyncio.timeout(_PATIENCE_S):
            async for line in self._process.stdout:
                said += line
                if _READY in line:
                    return
        raise AssertionError(said.decode(errors="replace"))

    async def stop(self) -> None:
        """Kill it."""
        if self._process is not None:
            process, self._process = self._process, None
            process.kill()
            await process.communicate()

    def freeze(self) -> None:
        """Let it answer nothing until it is thawed."""
        assert self._process is not None
        self._process.send_signal(signal.SIGSTOP)

    def thaw(self) -> None:
        """Let it go on."""
        assert self._process is not None
        self._process.send_signal(signal.SIGCONT)


@asynccontextmanager
async def running(folder: Path) -> AsyncIterator[Valkey]:
    """Yield a running server, empty."""
    server = Valkey(folder)
    await server.start()
    try:
        yield server
    finally:
        await server.stop()
