"""Replay a recorded feed: at its own pace, N times faster, or flat out."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from monitor.errors import BadInput
from monitor.sources.capture import Capture, Replayer
from monitor.sources.notices import EndOfInput
from monitor.sources.tally import FeedTally

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from monitor.sources.notices import Outlet

_FAIR = 64


class CaptureSource:
    """
    A recorded file as a source. It needs no network: what was fetched then was recorded too.

    `speed` 1.0 is the recording's own pace, None is flat out. `tally` counts what came, `is_torn` tells whether the
    file ended before its end, `progress` is told (bytes read, bytes in all) now and then.
    """

    def __init__(
        self,
        path: Path,
        programs: frozenset[str],
        *,
        speed: float | None = None,
        progress: Callable[[int, int], None] | None = None,
    ) -> None:
        self.name = "capture"
        self.tally = FeedTally()
        self.is_torn = False
        self._path = path
        self._programs = programs
        self._speed = speed
        self._progress = progress

    async def run(self, out: Outlet) -> None:
        """
        Put out every notice of the file, then `EndOfInput`.

        Raises:
            BadInput: If the file holds no capture, or cannot be read.
        """
        try:
            with self._path.open("rb") as stream:
                total_bytes = self._path.stat().st_size
                await self._replay(Capture(stream), total_bytes, out)
        except BadInput as error:
            raise BadInput(f"{self._path}: {error}", mend=error.mend) from error
        except OSError as error:
            raise BadInput(f"{self._path}: {error.strerror or error}") from error

    async def _replay(self, capture: Capture, total_bytes: int, out: Outlet) -> None:
        self.name = capture.header.feed
        replayer = Replayer(capture.header, self._programs)
        self.tally = replayer.tally
        began_at = asyncio.get_running_loop().time()
        told_bytes = -1
        for number, line in enumerate(capture):
            await self._wait_for(began_at, line.ns, number)
            for notice in replayer.notices(line):
                await out.put(notice)
            if self._progress is not None and capture.read_bytes != told_bytes:
                told_bytes = capture.read_bytes
                self._progress(told_bytes, total_bytes)
        self.is_torn = capture.is_torn
        self.tally.malformed += capture.malformed
        self.tally.received += capture.malformed
        await out.put(EndOfInput(self.name))

    async def _wait_for(self, began_at: float, ns: int, number: int) -> None:
        if self._speed is None:
            if number % _FAIR == 0:
                await asyncio.sleep(0)
            return
        due_at = began_at + ns / 1e9 / self._speed
        await asyncio.sleep(max(0.0, due_at - asyncio.get_running_loop().time()))
