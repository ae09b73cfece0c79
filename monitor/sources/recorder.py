"""Record a feed: word by word, as `monitor.sources.capture` describes."""

from __future__ import annotations

import time
import zlib
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Self

import msgspec

from monitor.sources.capture import FORMAT, GZIP_WINDOW, Header, Line

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path
    from types import TracebackType

    from monitor.sources import rpc
    from monitor.sources.endpoint import Endpoint
    from monitor.sources.jobs import Job

_LEVEL = 1
_FLUSH_BYTES = 1 << 20
_FLUSH_NS = 1_000_000_000
_encoder = msgspec.json.Encoder()


class Recorder:
    """
    Writes a capture: a tap for live sources and for a `Fetcher`.

    What was written a second ago survives a crash of the process. Close it, or use it in `with`.
    """

    def __init__(
        self,
        path: Path,
        *,
        feed: str,
        endpoint: Endpoint,
        programs: frozenset[str],
        commitment: rpc.Commitment = "confirmed",
        is_compressed: bool = True,
    ) -> None:
        self._file = path.open("wb")
        self._zip = zlib.compressobj(_LEVEL, wbits=GZIP_WINDOW) if is_compressed else None
        self._began_ns = self._flushed_ns = time.monotonic_ns()
        self._unflushed_bytes = 0
        self.notices = 0
        recorded_at = datetime.now(UTC).isoformat()
        header = Header(FORMAT, feed, recorded_at, str(endpoint), tuple(sorted(programs)), commitment)
        self._write(_encoder.encode(header))
        self.flush()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def connected(self, labels: Mapping[int, str]) -> None:
        """Record that every subscription stands, and what each number is."""
        self._put(Line(self._ns(), mark="connected", labels=dict(labels)))

    def lost(self, reason: str) -> None:
        """Record that the connection is gone."""
        self._put(Line(self._ns(), mark="lost", reason=reason))

    def frame(self, raw: bytes) -> None:
        """Record what the node said."""
        self.notices += 1
        if _is_json(raw):
            self._put(Line(self._ns(), frame=msgspec.Raw(_one_line(raw))))
        else:
            self._put(Line(self._ns(), text=raw.decode("utf-8", "replace")))

    def answer(self, job: Job, body: bytes) -> None:
        """Record what the node answered to a fetch."""
        self._put(Line(self._ns(), job=job, answer=msgspec.Raw(_one_line(body))))

    def polled(self, slot: int, body: bytes) -> None:
        """Record what the node answered when it was asked for the block of a slot."""
        self.notices += 1
        self._put(Line(self._ns(), slot=slot, answer=msgspec.Raw(_one_line(body))))

    def flush(self) -> None:
        """Hand everything to the operating system."""
        if self._zip is not None:
            self._file.write(self._zip.flush(zlib.Z_SYNC_FLUSH))
        self._file.flush()
        self._unflushed_bytes = 0
        self._flushed_ns = time.monotonic_ns()

    def close(self) -> None:
        """Finish the file."""
        if self._file.closed:
            return
        if self._zip is not None:
            self._file.write(self._zip.flush(zlib.Z_FINISH))
        self._file.close()

    def _ns(self) -> int:
        return time.monotonic_ns() - self._began_ns

    def _put(self, line: Line) -> None:
        self._write(_encoder.encode(line))
        if self._unflushed_bytes >= _FLUSH_BYTES or time.monotonic_ns() - self._flushed_ns >= _FLUSH_NS:
            self.flush()

    def _write(self, text: bytes) -> None:
        text += b"\n"
        self._file.write(text if self._zip is None else self._zip.compress(text))
        self._unflushed_bytes += len(text)


def _is_json(raw: bytes) -> bool:
    try:
        msgspec.json.decode(raw, type=msgspec.Raw)
        raw.decode()
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return False
    return True


def _one_line(body: bytes) -> bytes:
    """Return JSON on one line. Line ends inside of JSON text are mere space: in strings they are escaped."""
    return body.replace(b"\r", b" ").replace(b"\n", b" ")
