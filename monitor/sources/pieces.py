"""Which slots of a hole are tried together, and when again (pure)."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

    from monitor.sources.chain import Link

_MAX_DOUBLINGS = 30


@dataclass(frozen=True, slots=True)
class HistoryRules:
    """
    How to go about holes.

    A hole is filled in pieces of `piece_slots`, each proven by itself; `look_ahead_slots` are searched behind a piece
    for the block that proves its end. So many failures in a row as `most_failures` end a try, since the node is away
    and not just a block, and delay the next one by up to `longest_pause_s`. A hole that was told to be filled is looked
    at again after `told_rest_s`, should it be open then.
    """

    piece_slots: int = 1_000
    look_ahead_slots: int = 256
    most_pieces: int = 4_096
    most_failures: int = 5
    first_retry_s: float = 0.5
    longest_retry_s: float = 600.0
    longest_pause_s: float = 30.0
    told_rest_s: float = 600.0

    def retry_s(self, tries: int) -> float:
        """Return how long to wait after the given number of failed tries (1 and up)."""
        doubled: float = self.first_retry_s * 2 ** min(tries - 1, _MAX_DOUBLINGS)
        return min(doubled, self.longest_retry_s)


@dataclass(slots=True, eq=False)
class Piece:
    """Slots that are proven together. `links` are the blocks delivered, and those after the end that prove it."""

    first_slot: int
    last_slot: int
    links: dict[int, Link] = field(default_factory=dict)


@dataclass(slots=True)
class Work:
    """What is known of an open hole: pieces that are not proven, the first slot not tried yet, when it is due."""

    next_slot: int
    open: list[Piece] = field(default_factory=list)
    tries: int = 0
    due_at: float = 0.0

    def pieces(self, last_slot: int, rules: HistoryRules) -> Iterator[Piece]:
        """Yield the pieces tried before, then new ones up to `last_slot`. A new one is open until it is removed."""
        yield from tuple(self.open)
        while self.next_slot <= last_slot and len(self.open) < rules.most_pieces:
            piece = Piece(self.next_slot, min(self.next_slot + rules.piece_slots - 1, last_slot))
            self.open.append(piece)
            self.next_slot = piece.last_slot + 1
            yield piece
