"""
Recorded feeds: what a node said, word by word, one notice per line.

A capture is JSON lines, gzip-compressed or plain. The first line is the header; every other has `ns`, the nanoseconds
since the recording began, and one of: `frame` (a notification), `text` (a frame that is no JSON), `job` and `answer` (a
fetch and the HTTP body that it brought), `slot` and `answer` (a block that was polled), `mark` ("connected" with
`labels`, or "lost" with `reason`).
"""

from __future__ import annotations

import zlib
from typing import IO, TYPE_CHECKING, Literal

import msgspec

from decoders.core.answers import Slot
from decoders.core.transaction import TransactionError, read_block
from monitor.errors import BadInput
from monitor.sources import rpc
from monitor.sources.jobs import Job, read_result
from monitor.sources.tally import FeedTally
from monitor.sources.translate import Translator

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from monitor.sources.notices import Notice

FORMAT = 1
_GZIP_MAGIC = b"\x1f\x8b"
GZIP_WINDOW = 31
_CHUNK_BYTES = 1 << 18
_MAX_CHUNK_BYTES = 1 << 22
_MAX_LINE_BYTES = 1 << 29


class Header(msgspec.Struct, frozen=True):
    """
    First line of a capture. `endpoint` without its secrets, `recorded_at` in RFC 3339.

    `commitment` decides what a root says of the feed; captures of earlier releases do not tell it.
    """

    launch_monitor_capture: int
    feed: str
    recorded_at: str
    endpoint: str
    programs: tuple[str, ...] = ()
    commitment: rpc.Commitment = "confirmed"


class Line(msgspec.Struct, frozen=True, omit_defaults=True):
    """Any other line. What a line does not have is empty text: msgspec reads no `Raw | None`."""

    ns: int
    frame: msgspec.Raw = msgspec.Raw()
    text: str | None = None
    job: Job | None = None
    slot: Slot | None = None
    answer: msgspec.Raw = msgspec.Raw()
    mark: Literal["connected", "lost"] | None = None
    reason: str | None = None
    labels: dict[int, str] = {}


_line_decoder = msgspec.json.Decoder(Line)
_header_decoder = msgspec.json.Decoder(Header)


class Capture:
    """
    Reads a capture from a stream. `read_bytes` is how far it has come in the file.

    A torn end, as a crash leaves it, is the end; `is_torn` tells of it then.
    """

    def __init__(self, stream: IO[bytes]) -> None:
        """
        Read the header.

        Raises:
            BadInput: If the stream holds no capture.
        """
        self.read_bytes = 0
        self.malformed = 0
        self.is_torn = False
        self._lines = self._split(stream)
        try:
            self.header = _header_decoder.decode(next(self._lines, b""))
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
            raise BadInput(
                f"no capture header in the first line: {error}",
                mend="name a file that `record` wrote; `launch-monitor decode` reads transactions in other files",
            ) from error
        if self.header.launch_monitor_capture > FORMAT:
            raise BadInput(f"a capture of format {self.header.launch_monitor_capture}, newer than this program")

    def __iter__(self) -> Iterator[Line]:
        """Yield the lines after the header; those that cannot be read are counted in `malformed`."""
        for text in self._lines:
            try:
                yield _line_decoder.decode(text)
            except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
                self.malformed += 1

    def _split(self, stream: IO[bytes]) -> Iterator[bytes]:
        tail = b""
        for chunk in self._chunks(stream):
            *lines, tail = (tail + chunk).split(b"\n")
            yield from lines
            if len(tail) > _MAX_LINE_BYTES:
                raise BadInput(f"a line of more than {_MAX_LINE_BYTES >> 20} MiB")
        self.is_torn = self.is_torn or bool(tail)

    def _chunks(self, stream: IO[bytes]) -> Iterator[bytes]:
        chunk = self._read(stream)
        if not chunk.startswith(_GZIP_MAGIC):
            while chunk:
                yield chunk
                chunk = self._read(stream)
            return
        unzip = zlib.decompressobj(GZIP_WINDOW)
        while chunk:
            self.is_torn = True  # until the member ends
            try:
                yield unzip.decompress(chunk, _MAX_CHUNK_BYTES)
            except zlib.error:
                return
            chunk = unzip.unconsumed_tail
            if unzip.eof:
                self.is_torn = False
                chunk = unzip.unused_data
                unzip = zlib.decompressobj(GZIP_WINDOW)  # members put one after another are one file
            chunk = chunk or self._read(stream)
        yield unzip.flush()

    def _read(self, stream: IO[bytes]) -> bytes:
        chunk = stream.read(_CHUNK_BYTES)
        self.read_bytes += len(chunk)
        return chunk


class Replayer:
    """Turns lines of a capture into the notices that they were, under the feed's own name."""

    def __init__(self, header: Header, programs: frozenset[str]) -> None:
        self.tally = FeedTally()
        self._programs = programs
        self._translator = Translator(header.feed, programs, self.tally, header.commitment)

    def notices(self, line: Line) -> Sequence[Notice]:
        """Return what a line says; () for what could not be read when it was recorded either."""
        if frame := bytes(line.frame):
            return self._frame(frame)
        if line.text is not None:
            return self._frame(line.text.encode())
        if line.job is not None:
            return self._answer(line.job, bytes(line.answer))
        if line.slot is not None:
            return self._polled(line.slot, bytes(line.answer))
        match line.mark:
            case "connected":
                self._translator.connected(line.labels)
            case "lost":
                return self._translator.lost(line.reason or "")
            case None:
                self._malformed()
        return ()

    def _frame(self, raw: bytes) -> Sequence[Notice]:
        self.tally.frames += 1
        self.tally.frame_bytes += len(raw)
        match rpc.read_message(raw):
            case rpc.Malformed() as malformed:
                self._translator.unreadable(malformed)
                return ()
            case rpc.Response():
                return self._malformed()
            case message:
                return self._translator.notices(message)

    def _answer(self, job: Job, body: bytes) -> Sequence[Notice]:
        response = rpc.read_response(body)
        try:
            if isinstance(response, rpc.Response):
                return read_result(job, response.result, self._programs)
        except TransactionError:
            pass  # its recorder could not read it either, or followed other programs
        return self._malformed()

    def _polled(self, slot: int, body: bytes) -> Sequence[Notice]:
        self.tally.frames += 1
        self.tally.frame_bytes += len(body)
        response = rpc.read_response(body)
        try:
            if isinstance(response, rpc.Response):
                block = read_block(response.result)
                return self._translator.block(rpc.BlockValue(slot, None, block))
        except TransactionError:
            pass  # somebody changed the file: what could not be read was not recorded
        return self._malformed()

    def _malformed(self) -> Sequence[Notice]:
        self.tally.received += 1
        self.tally.malformed += 1
        return ()
