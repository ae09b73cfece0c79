"""One server process: start it, wait until it answers, stop it, and find what an earlier daemon left running."""

from __future__ import annotations

import asyncio
import contextlib
import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import structlog

from monitor.errors import EmbeddedFailed

if TYPE_CHECKING:
    import signal
    from collections.abc import Awaitable, Callable, Iterator, Sequence

log = structlog.get_logger(__name__)

# Crash recovery of a large database takes minutes; a server that cannot start says so at once, by ending.
START_TIMEOUT_S = 600.0
_PROBE_EVERY_S = 0.02
_TOLD_CHARS = 600


@dataclass(frozen=True, slots=True)
class Recipe:
    """
    How to start and stop one server.

    Attributes:
        folder: Its working directory, by which its processes are known for ours later on.
        output: File for what it prints.
        stops: Signals from gentle to rough, each with the time (s) that it is given to work.
        answers: Whether the server is up, and is this one and no stranger on the same port.
    """

    name: str
    arguments: tuple[str, ...]
    folder: Path
    output: Path
    stops: tuple[tuple[signal.Signals, float], ...]
    answers: Callable[[], Awaitable[bool]]
    stdin: bytes = b""


class Server:
    """A running server."""

    def __init__(self, recipe: Recipe) -> None:
        self.recipe = recipe
        self._process: asyncio.subprocess.Process | None = None

    async def start(self) -> None:
        """
        Start the process and return when it answers.

        Raises:
            EmbeddedFailed: If it ends instead, or does not answer in time.
        """
        self._process = await spawn(self.recipe)
        try:
            async with asyncio.timeout(START_TIMEOUT_S):
                await self._answering(self._process)
        except TimeoutError as error:
            raise EmbeddedFailed(f"{self.recipe.name} does not answer: {self._told()}") from error
        log.info("embedded_server_started", server=self.recipe.name, pid=self._process.pid)

    async def _answering(self, process: asyncio.subprocess.Process) -> None:
        while not await self.recipe.answers():
            if process.returncode is not None:
                raise EmbeddedFailed(f"{self.recipe.name} does not start: {self._told()}")
            await asyncio.sleep(_PROBE_EVERY_S)

    def _told(self) -> str:
        text = self.recipe.output.read_text(encoding="utf-8", errors="replace").strip()
        return text[-_TOLD_CHARS:] or "it says nothing"

    async def keep(self) -> None:
        """
        Start the server again whenever it ends by itself; runs until cancelled.

        Raises:
            EmbeddedFailed: If it does not come back.
        """
        while self._process is not None:
            code = await self._process.wait()
            log.error("embedded_server_ended", server=self.recipe.name, code=code)
            await end(self.recipe.folder, self.recipe.stops)
            await self.start()

    async def stop(self) -> None:
        """Stop the server and all its children, roughly if it does not react."""
        process, self._process = self._process, None
        if process is None:
            return
        for sign, patience_s in self.recipe.stops:
            with contextlib.suppress(ProcessLookupError):
                process.send_signal(sign)
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(process.wait(), patience_s)
                log.info("embedded_server_stopped", server=self.recipe.name)
                return


async def spawn(recipe: Recipe) -> asyncio.subprocess.Process:
    """Start the process in a session of its own: Ctrl-C is for the daemon, which still needs its servers to drain."""
    with _fresh(recipe.output) as output:
        process = await asyncio.create_subprocess_exec(
            *recipe.arguments,
            stdin=asyncio.subprocess.PIPE,
            stdout=output,
            stderr=output,
            cwd=recipe.folder,
            env=environment(),
            start_new_session=True,
        )
    await _feed(process, recipe.stdin)
    return process


@contextlib.contextmanager
def _fresh(path: Path) -> Iterator[int]:
    handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    try:
        yield handle
    finally:
        os.close(handle)


async def _feed(process: asyncio.subprocess.Process, text: bytes) -> None:
    if process.stdin is None:
        return
    with contextlib.suppress(ConnectionError):
        process.stdin.write(text)
        await process.stdin.drain()
    process.stdin.close()


def environment() -> dict[str, str]:
    """Return the environment for servers: none of ours, since PG* variables would change what they do."""
    return {"PATH": os.defpath, "LANG": "C", "TZ": "UTC"}


async def run(arguments: Sequence[str], *, folder: Path) -> str:
    """
    Run a program to its end and return what it printed.

    Raises:
        EmbeddedFailed: If it cannot be started or fails.
    """
    try:
        process = await asyncio.create_subprocess_exec(
            *arguments,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
            cwd=folder,
            env=environment(),
        )
    except OSError as error:
        raise EmbeddedFailed(f"{arguments[0]} cannot be started: {error.strerror}") from error
    try:
        printed, _ = await process.communicate()
    except asyncio.CancelledError:
        process.kill()
        raise
    text = printed.decode(errors="replace").strip()
    if process.returncode != 0:
        raise EmbeddedFailed(f"{Path(arguments[0]).name} failed: {text[-_TOLD_CHARS:]}")
    return text


async def end(folder: Path, stops: Sequence[tuple[signal.Signals, float]]) -> bool:
    """
    Stop whatever still runs in `folder`, left over by a daemon that was killed; False if nothing does.

    A process counts if the folder is its working directory: a pid in a file may long be somebody else's.
    """
    found = False
    for sign, patience_s in stops:
        pids = processes_in(folder)
        if not pids:
            return found
        found = True
        for pid in _leaders(pids):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, sign)
        await _gone(pids, patience_s)
    if processes_in(folder):
        raise EmbeddedFailed(f"processes {processes_in(folder)} in {folder} cannot be stopped")
    return found


def processes_in(folder: Path) -> list[int]:
    """Return the processes whose working directory is `folder`; empty where there is no /proc."""
    return [int(entry.name) for entry in Path("/proc").glob("[0-9]*") if _link(entry / "cwd") == str(folder)]


def _link(path: Path) -> str | None:
    try:
        return os.readlink(path)  # noqa: PTH115 (a vanished folder's link is no path)
    except OSError:
        return None


def _leaders(pids: Sequence[int]) -> list[int]:
    """Return those that are no child of another: signals go to the postmaster, which knows what to do with the rest."""
    return [pid for pid in pids if _parent(pid) not in pids]


def _parent(pid: int) -> int | None:
    try:
        stat = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return None
    # The name stands in parentheses and may hold any character; after it come the state and the parent.
    return int(stat.rpartition(")")[2].split()[1])


async def _gone(pids: Sequence[int], patience_s: float) -> None:
    """Wait until all have ended, or for so long."""
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(patience_s):
            for pid in pids:
                await _ended(pid)


async def _ended(pid: int) -> None:
    try:
        handle = os.pidfd_open(pid)
    except ProcessLookupError:
        return
    loop = asyncio.get_running_loop()
    readable = asyncio.Event()
    loop.add_reader(handle, readable.set)
    try:
        await readable.wait()
    finally:
        loop.remove_reader(handle)
        os.close(handle)
