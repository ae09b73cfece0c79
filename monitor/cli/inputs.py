"""Read JSON documents and lines, compressed or not, from files and standard input, a piece at a time."""

from __future__ import annotations

import gzip
import io
import sys
import zlib
from contextlib import contextmanager
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, NamedTuple, cast

import msgspec

from monitor.errors import BadInput

if TYPE_CHECKING:
    from collections.abc import Iterator

# A whole block is 10 MB of JSON or so; this bounds what a hostile file can make us hold.
LIMIT_BYTES = 256 << 20
_GZIP_MAGIC = b"\x1f\x8b"
_BOM = b"\xef\xbb\xbf"
_READ_ERRORS = (OSError, EOFError, zlib.error)


class Piece(NamedTuple):
    """One JSON value (or why it is none), its text, and its line where the input is read by lines."""

    line: int | None
    value: Any = None
    text: bytes = b""
    error: str | None = None


def read(path: str, limit_bytes: int = LIMIT_BYTES) -> Iterator[Piece]:
    """
    Yield the JSON values of a file ("-": standard input): one document, or one value a line.

    Raises:
        BadInput: If it cannot be read (any further); the message does not name the file.
    """
    try:
        with _opened(path) as stream:
            yield from pieces(stream, limit_bytes)
    except gzip.BadGzipFile as error:
        raise BadInput(f"damaged gzip data: {error}") from error
    except _READ_ERRORS as error:
        raise BadInput(f"cannot be read: {getattr(error, 'strerror', None) or error}") from error


def pieces(stream: IO[bytes], limit_bytes: int = LIMIT_BYTES) -> Iterator[Piece]:
    """
    Yield the JSON values of a stream.

    It holds a value a line if its first line is a whole value, or if its second is and all of it is none.
    """
    number, first = _first_line(stream, limit_bytes)
    if not first:
        yield Piece(None, error="empty")
        return
    piece = _parse(number, first)
    if piece.error is None:
        yield piece
        yield from _lines(stream, number, limit_bytes)
        return
    head = first + stream.read(max(limit_bytes - len(first), 0))
    whole = _parse(None, head)
    if whole.error is None and not stream.read(1):
        yield whole
    elif _has_value_lines(head):
        rejoined = io.BufferedReader(_Rejoined(head, stream))
        yield from _lines(cast("IO[bytes]", rejoined), number - 1, limit_bytes)
    elif len(head) >= limit_bytes:
        yield Piece(None, error=f"larger than {limit_bytes >> 20} MiB, and not a JSON value a line")
    else:
        yield whole


def _first_line(stream: IO[bytes], limit_bytes: int) -> tuple[int, bytes]:
    number = 0
    while line := stream.readline(limit_bytes):
        number += 1
        line = line.removeprefix(_BOM) if number == 1 else line
        if line.strip():
            return number, line
    return number, b""


def _lines(stream: IO[bytes], number: int, limit_bytes: int) -> Iterator[Piece]:
    while line := stream.readline(limit_bytes):
        number += 1
        if len(line) == limit_bytes and not line.endswith(b"\n"):
            while line and not line.endswith(b"\n"):
                line = stream.readline(limit_bytes)
            yield Piece(number, error=f"longer than {limit_bytes >> 20} MiB")
        elif line.strip():
            yield _parse(number, line)


def _parse(number: int | None, text: bytes) -> Piece:
    try:
        return Piece(number, msgspec.json.decode(text), text)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        return Piece(number, error=f"not JSON: {error}")


def _has_value_lines(head: bytes) -> bool:
    second = head.lstrip().partition(b"\n")[2].lstrip().partition(b"\n")[0]
    return isinstance(_parse(None, second).value, dict | list)


@contextmanager
def _opened(path: str) -> Iterator[IO[bytes]]:
    if path == "-":
        with _unpacked(sys.stdin.buffer) as stream:
            yield stream
    else:
        with Path(path).open("rb") as file, _unpacked(file) as stream:
            yield stream


def _unpacked(raw: IO[bytes]) -> IO[bytes]:
    head = raw.read(len(_GZIP_MAGIC))
    whole = cast("IO[bytes]", io.BufferedReader(_Rejoined(head, raw)))
    return cast("IO[bytes]", gzip.GzipFile(fileobj=whole)) if head == _GZIP_MAGIC else whole


class _Rejoined(io.RawIOBase):
    """A stream whose first bytes have been read already: they come first."""

    def __init__(self, head: bytes, rest: IO[bytes]) -> None:
        self._head = head
        self._rest = rest

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        if self._head:
            found, self._head = self._head[: len(buffer)], self._head[len(buffer) :]
        else:
            found = _read_some(self._rest, len(buffer))
        buffer[: len(found)] = found
        return len(found)


def _read_some(stream: IO[bytes], size: int) -> bytes:
    """Return what is there, so that a pipe's lines come as they are written."""
    read = getattr(stream, "read1", stream.read)
    return cast("bytes", read(size))
