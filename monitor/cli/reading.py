"""Turn pieces of input into notices, whether they are values as people keep them or lines of our own captures."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeAlias

import msgspec

from decoders.core.types import TxNotice
from monitor.cli import shapes
from monitor.cli.shapes import Refusal
from monitor.sources.capture import FORMAT, Header, Line, Replayer
from monitor.sources.notices import AccountSeen, SlotTime

if TYPE_CHECKING:
    from collections.abc import Iterator

    from monitor.cli.inputs import Piece

Read: TypeAlias = TxNotice | AccountSeen | SlotTime | Refusal

_line_decoder = msgspec.json.Decoder(Line)


class Reader:
    """Reads the pieces of one input, in order: if the first is the header of a capture, the others are its lines."""

    def __init__(self, programs: frozenset[str]) -> None:
        self._programs = programs
        self._capture: Replayer | None = None

    @property
    def is_capture(self) -> bool:
        """Whether the header of a capture was read."""
        return self._capture is not None

    def read(self, piece: Piece) -> Iterator[Read]:
        """Yield what a piece holds of followed programs, and what of it cannot be read."""
        if piece.error is not None:
            yield Refusal("", piece.error)
        elif self._capture is not None:
            yield from self._captured(self._capture, piece.text)
        elif isinstance(piece.value, dict) and "launch_monitor_capture" in piece.value:
            yield from self._open(piece.value)
        else:
            yield from shapes.find(piece.value, self._programs)

    def _open(self, value: object) -> Iterator[Refusal]:
        try:
            header = msgspec.convert(value, Header)
        except msgspec.ValidationError as error:
            yield Refusal("", f"not the header of a capture: {error}")
            return
        if header.launch_monitor_capture > FORMAT:
            yield Refusal("", f"a capture of format {header.launch_monitor_capture}, newer than this program")
        self._capture = Replayer(header, self._programs)

    def _captured(self, capture: Replayer, text: bytes) -> Iterator[Read]:
        try:
            line = _line_decoder.decode(text)
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
            yield Refusal("", f"not a line of a capture: {error}")
            return
        before = capture.tally.malformed
        for notice in capture.notices(line):
            if isinstance(notice, TxNotice | AccountSeen | SlotTime):
                yield notice
        if capture.tally.malformed > before:
            yield Refusal("", "what the node said there cannot be read")
