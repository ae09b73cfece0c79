"""Which slots of a hole are tried together, and when again (pure)."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, ClassVar

if TYPE_CHECKING:
    from monitor.sources.blocks import Block
    from monitor.sources.chain import Link

_MAX_DOUBLINGS = 30


@dataclass(frozen=True, slots=True)
class HistoryRules:
    """
    How to go about holes.

    A hole is filled in pieces of up to `piece_slots`, each proven by itself; the blocks of up to `pieces_at_once` of
    them wait in memory, since they leave in the order of slots. So pieces are smaller where their blocks would be more
    than `waiting_bytes` (of the node's answers), going by the last blocks, or by `unknown_bytes` before any was had.
    `look_ahead_slots` are searched behind a piece for the block that proves its end. A try ends after `pieces_a_turn`,
    for other holes to have theirs, and when `most_wrong` pieces stay open; `most_pieces` are remembered of which some
    blocks are missing.

    So many failures in a row as `most_failures` end a try, since the node is away and not just a block, and delay the
    next one by up to `longest_pause_s`. A hole is tried again after waits that double, up to `longest_soon_s` if what
    is wrong passes by itself, else up to `longest_retry_s`. One that was told to be filled is looked at again after
    `told_rest_s`, should it be open then. The database is looked at for new holes every `look_every_s`.
    """

    LEAST_AT_ONCE: ClassVar[int] = 2

    piece_slots: int = 32
    waiting_bytes: int = 8 << 20
    unknown_bytes: int = 1 << 20
    pieces_at_once: int = 2
    look_ahead_slots: int = 256
    pieces_a_turn: int = 64
    most_wrong: int = 64
    most_pieces: int = 4_096
    most_failures: int = 5
    first_retry_s: float = 0.5
    longest_soon_s: float = 10.0
    longest_retry_s: float = 600.0
    longest_pause_s: float = 30.0
    told_rest_s: float = 600.0
    look_every_s: float = 5.0

    def slots_of(self, block_bytes: int) -> int:
        """Return how many slots a piece has where blocks are of this size (at least one)."""
        return max(1, min(self.piece_slots, self.waiting_bytes // (self.pieces_at_once * max(block_bytes, 1))))

    def retry_s(self, tries: int, *, is_soon: bool = False) -> float:
        """Return how long to wait after the given number of failed tries (1 and up)."""
        doubled: float = self.first_retry_s * 2 ** min(tries - 1, _MAX_DOUBLINGS)
        return min(doubled, self.longest_soon_s if is_soon else self.longest_retry_s, self.longest_retry_s)


@dataclass(frozen=True, slots=True)
class Lack:
    """
    Why not everything of some slots could be had.

    `is_soon`: what is wrong passes by itself. `kept_from`: the node has forgotten what lies before this slot.
    `is_node`: it is not these slots, but the node that is away.
    """

    reason: str
    is_soon: bool = True
    kept_from: int | None = None
    is_node: bool = False


@dataclass(slots=True, eq=False)
class Piece:
    """
    Slots that are proven together.

    `links` are the blocks that were had, and those after the end that prove it; `signatures` what the former hold.
    `blocks` are those among them that have not been put out yet. `largest_bytes` is the size of the largest one had.
    """

    first_slot: int
    last_slot: int
    links: dict[int, Link] = field(default_factory=dict)
    signatures: dict[int, tuple[str, ...]] = field(default_factory=dict)
    blocks: dict[int, Block] = field(default_factory=dict)
    largest_bytes: int = 0

    def take(self, slot: int, block: Block) -> None:
        """Keep a block. One of which something cannot be read is put out, and proves nothing."""
        self.blocks[slot] = block
        self.largest_bytes = max(self.largest_bytes, block.size_bytes)
        if block.lacks is None:
            self.links[slot] = block.link
            self.signatures[slot] = tuple(notice.signature for notice in block.notices if not notice.failed)

    def about(self, slot: int) -> int | None:
        """Return the block time (Unix seconds) of the first known block at or after a slot; None: none tells it."""
        later = (at for at, link in self.links.items() if at >= slot and link.block_time is not None)
        first = min(later, default=None)
        return None if first is None else self.links[first].block_time

    def drop(self, slot: int) -> None:
        """Forget a block: it is fetched anew at the next try."""
        self.links.pop(slot, None)
        self.signatures.pop(slot, None)


class Work:
    """
    The slots of an open hole that are not proven, while tries go over them.

    They lie in pieces: those that were tried and hold a block stay as they are, what lies between is one each until it
    is cut. A try goes from where the last one ended, if that was before the end, else from the beginning.
    """

    def __init__(self, first_slot: int, last_slot: int) -> None:
        self.tries = 0
        self.due_at = 0.0
        self.told_through = first_slot - 1
        self._last_slot = last_slot
        self._open = [Piece(first_slot, last_slot)]
        self._next_slot = first_slot

    def begin(self) -> None:
        """Begin a try: what brought nothing at the last one is one piece again with its neighbours."""
        merged: list[Piece] = []
        for piece in self._open:
            if merged and not piece.links and not merged[-1].links and merged[-1].last_slot + 1 == piece.first_slot:
                merged[-1].last_slot = piece.last_slot
            else:
                merged.append(piece)
        self._open = merged
        if self.is_through:
            self._next_slot = merged[0].first_slot if merged else self._next_slot

    @property
    def is_through(self) -> bool:
        """Whether the try went over everything."""
        return not self._open or self._open[-1].last_slot < self._next_slot

    @property
    def proven_through(self) -> int:
        """The slot before the first that is not proven."""
        return self._open[0].first_slot - 1 if self._open else self._last_slot

    @property
    def is_proven(self) -> bool:
        """Whether nothing is missing any more."""
        return not self._open

    def take(self, rules: HistoryRules, slots: int | None = None) -> Piece | None:
        """
        Return the next piece; None: there is none, or too many are remembered already.

        Args:
            slots: How many slots a new piece has at most; None: as many as the rules allow.
        """
        at = next((at for at, piece in enumerate(self._open) if piece.last_slot >= self._next_slot), None)
        if at is None:
            return None
        piece = self._open[at]
        if not piece.links:
            if sum(1 for one in self._open if one.links) >= rules.most_pieces:
                self._next_slot = self._last_slot + 1  # those come first
                return None
            piece = self._cut(at, max(piece.first_slot, self._next_slot), slots or rules.piece_slots)
        self._next_slot = piece.last_slot + 1
        return piece

    def _cut(self, at: int, first_slot: int, slots: int) -> Piece:
        """Cut a piece of so many slots out of the one that stands `at`."""
        whole = self._open[at]
        last_slot = min(first_slot + slots - 1, whole.last_slot)
        parts = [
            Piece(begin, end)
            for begin, end in (
                (whole.first_slot, first_slot - 1),
                (first_slot, last_slot),
                (last_slot + 1, whole.last_slot),
            )
            if begin <= end
        ]
        self._open[at : at + 1] = parts
        return next(part for part in parts if part.first_slot == first_slot)

    def proven(self, piece: Piece) -> None:
        """Take note that nothing of a piece is missing any more."""
        self._open.remove(piece)

    def rewind(self) -> None:
        """Let the next try go over everything."""
        self._next_slot = self.proven_through + 1

    def skip_to(self, slot: int) -> None:
        """Leave out what lies before `slot` in this try."""
        self._next_slot = max(self._next_slot, slot)
