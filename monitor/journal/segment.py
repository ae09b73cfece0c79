"""
How a segment looks on disk (pure): a header, then chunks of compressed records.

    header  magic, format, length, crc32 | msgpack of `Header`
    chunk   crc32, length, count, first seq, mark | zstandard blocks of a msgpack array of records

A segment is one zstandard stream that is flushed at the end of each chunk: a chunk can be read as soon as it is
written, and only after those before it. Its checksum is seeded with the header's, so that what another file left on the
same blocks of the disk is not taken for a chunk of this one.
"""

from __future__ import annotations

import struct
import zlib
from dataclasses import dataclass, field
from typing import IO

import msgspec
import zstandard

from monitor.errors import ConfigError

FORMAT = 1
NO_MARK = -1
_MAGIC = b"LMJR"
_HEADER = struct.Struct("<4sHII")
_CHUNK = struct.Struct("<IIIQq")
_CRC = struct.Struct("<I")
# A length beyond this was never written: it is damage, and nothing to allocate memory for.
_MAX_BYTES = 1 << 28
# Level 1 takes a fifth of the time of zlib's, and leaves 60 % of the bytes (bench/journal.py).
_LEVEL = 1

_records_decoder = msgspec.msgpack.Decoder(list[bytes])
_encoder = msgspec.msgpack.Encoder()


class Header(msgspec.Struct, frozen=True):
    """
    What a segment says first.

    `snapshot` is the caller's state before `first_seq`, `previous_mark` the highest mark of the segment before.
    """

    journal_id: str
    first_seq: int
    snapshot: bytes
    previous_mark: int = NO_MARK


@dataclass(slots=True)
class Chunk:
    """Records with consecutive numbers; `mark` is their highest, `before` the caller's state before the first."""

    first_seq: int
    before: bytes = b""
    records: list[bytes] = field(default_factory=list)
    size_bytes: int = 0
    mark: int = NO_MARK

    @property
    def last_seq(self) -> int:
        """The number of the last record."""
        return self.first_seq + len(self.records) - 1


@dataclass(frozen=True, slots=True)
class Gap:
    """Numbers that were appended and cannot be read any more; `after` is the state behind them (None: not known)."""

    first_seq: int
    last_seq: int
    after: bytes | None = None


class Packer:
    """Turns chunks into bytes that follow one another in a segment, `start` first."""

    def __init__(self, header: Header) -> None:
        self.start, self._seed = _pack_header(header)
        self._zip = zstandard.ZstdCompressor(level=_LEVEL).compressobj()

    def pack(self, chunk: Chunk) -> bytes:
        """Return a chunk's bytes."""
        payload = self._zip.compress(_encoder.encode(chunk.records))
        payload += self._zip.flush(zstandard.COMPRESSOBJ_FLUSH_BLOCK)
        fields = (len(payload), len(chunk.records), chunk.first_seq, chunk.mark)
        crc = zlib.crc32(payload, zlib.crc32(_CHUNK.pack(0, *fields), self._seed))
        return _CHUNK.pack(crc, *fields) + payload


def _pack_header(header: Header) -> tuple[bytes, int]:
    body = _encoder.encode(header)
    crc = zlib.crc32(body, zlib.crc32(_HEADER.pack(_MAGIC, FORMAT, len(body), 0)))
    return _HEADER.pack(_MAGIC, FORMAT, len(body), crc) + body, crc


class Unpacker:
    """
    Reads a segment, also one that still grows.

    `header` None: it cannot be read. `good_bytes` is where the last good chunk ends; `is_damaged` tells that something
    else follows it.

    Raises:
        ConfigError: If a newer program wrote it.
    """

    def __init__(self, stream: IO[bytes]) -> None:
        self.good_bytes = 0
        self.is_damaged = False
        self._stream = stream
        self._unzip = zstandard.ZstdDecompressor().decompressobj()
        self._seed = 0
        self._next_seq = 0
        self.header = self._read_header()

    def next(self) -> Chunk | None:
        """Return the next chunk; None at the end, or where damage begins."""
        if self.header is None or self.is_damaged:
            return None
        head = self._stream.read(_CHUNK.size)
        chunk = self._chunk(head) if len(head) == _CHUNK.size else None
        self.is_damaged = chunk is None and bool(head)
        return chunk

    def _chunk(self, head: bytes) -> Chunk | None:
        crc, length, count, first_seq, mark = _CHUNK.unpack(head)
        if length > _MAX_BYTES or first_seq != self._next_seq:
            return None
        payload = self._stream.read(length)
        head = _CHUNK.pack(0, length, count, first_seq, mark)
        if len(payload) != length or zlib.crc32(payload, zlib.crc32(head, self._seed)) != crc:
            return None
        try:
            records = _records_decoder.decode(self._unzip.decompress(payload))
        except (zstandard.ZstdError, msgspec.MsgspecError):
            return None
        if len(records) != count:
            return None
        self.good_bytes += len(head) + length
        self._next_seq += count
        return Chunk(first_seq, records=records, size_bytes=sum(map(len, records)), mark=mark)

    def _read_header(self) -> Header | None:
        head = self._stream.read(_HEADER.size)
        if len(head) != _HEADER.size:
            return None
        magic, format_, length, crc = _HEADER.unpack(head)
        if magic != _MAGIC or length > _MAX_BYTES:
            return None
        body = self._stream.read(length)
        if len(body) != length or zlib.crc32(body, zlib.crc32(_HEADER.pack(magic, format_, length, 0))) != crc:
            return None
        if format_ > FORMAT:
            raise ConfigError(
                f"a journal of format {format_}, newer than this program",
                mend="start the version that wrote it, which commits what it holds, or set journal.dir to a new folder",
            )
        try:
            header = msgspec.msgpack.decode(body, type=Header)
        except msgspec.MsgspecError:
            return None
        self._seed, self._next_seq, self.good_bytes = crc, header.first_seq, _HEADER.size + length
        return header
