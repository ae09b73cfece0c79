"""Get the blocks of a piece of a hole, and prove that there are no others."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from decoders.core.transaction import TransactionError
from monitor.errors import RequestFailed, SourceLost, SourceRefused
from monitor.sources import rpc
from monitor.sources.blocks import Block
from monitor.sources.chain import Contradiction, NoEnd, Proven, Wanted, examine
from monitor.sources.pieces import Lack

if TYPE_CHECKING:
    from collections.abc import Iterable

    from monitor.sources.blocks import Blocks
    from monitor.sources.pieces import Piece

# These stay as they are until somebody changes the node, or the provider.
_LASTING = {
    "not_there": "skipped or missing there, which proves nothing",
    "pruned": "pruned",
    "no_history": "the node keeps no transactions",
    "version": "the node does not give this version",
    "forbidden": "refused",
    "bad_request": "refused",
    "unknown_method": "refused",
}
_PASSING = {"not_yet": "not there yet", "unreachable": "its long-term storage does not answer"}
_FORGOTTEN = frozenset({"not_there", "pruned", "no_history"})


class Prover:
    """Proves pieces, several at once if asked to. `look_ahead_slots`: where the block behind a piece is looked for."""

    def __init__(self, blocks: Blocks, *, look_ahead_slots: int) -> None:
        self._blocks = blocks
        self._look_ahead_slots = look_ahead_slots
        self._listed: tuple[range, list[int]] = (range(0), [])

    async def prove(self, piece: Piece) -> Lack | None:
        """
        Get the blocks of a piece that were not had yet; return why it stays open, None: it is proven.

        Raises:
            SourceLost, SourceRefused: If the node is away. What was had by then is in the piece.
        """
        try:
            listed = await self._list(piece)
        except (RequestFailed, TransactionError) as error:
            return await self._lack(piece.last_slot, error)
        missing = [slot for slot in listed if slot <= piece.last_slot and slot not in piece.links]
        lacks = await self._get(missing, piece)
        behind = next((slot for slot in listed if slot > piece.last_slot), None)
        return await self._examine(piece, behind, lacks)

    async def _list(self, piece: Piece) -> list[int]:
        """
        Return slots with a block from the beginning of a piece to one behind its end, by one list for many pieces.

        A list may be out of date: what it lacks, parents name.
        """
        covered, listed = self._listed
        if piece.first_slot not in covered or listed[-1] <= piece.last_slot:
            covered = range(piece.first_slot, piece.last_slot + self._look_ahead_slots + 1)
            listed = await self._blocks.listed(covered[0], covered[-1])
            if listed:
                self._listed = (covered, listed)
        return [slot for slot in listed if slot >= piece.first_slot]

    async def _examine(self, piece: Piece, behind: int | None, lacks: dict[int, Lack]) -> Lack | None:
        """Get what the proof still wants; `behind` is a block after the piece, `lacks` are those that cannot be had."""
        while True:
            sought: int | None
            child: int | None = None
            match examine(piece.first_slot, piece.last_slot, piece.links):
                case Proven():
                    return None
                case Contradiction(slots=slots, reason=reason):
                    for slot in slots:
                        piece.drop(slot)
                        piece.blocks.pop(slot, None)  # it may have been on a fork
                    return Lack(reason)
                case NoEnd():
                    sought = behind
                case Wanted(slot=parent, child_slot=child):
                    sought = parent
            if sought is None:
                return lacks[max(lacks)] if lacks else await self._no_end(piece)
            if sought not in lacks:
                is_ours = sought <= piece.last_slot
                lacks |= await (self._get([sought], piece) if is_ours else self._see(sought, piece))
            if sought in lacks:
                if child is not None:
                    piece.drop(child)  # it may have been on a fork
                return lacks[sought]

    async def _no_end(self, piece: Piece) -> Lack:
        """Return why nothing is listed at the end of a piece: a node lists none of what it has forgotten."""
        kept_from = await self._blocks.node.kept_from()
        if kept_from is not None and kept_from > piece.last_slot:
            return _pruned(kept_from)
        return Lack(f"no block at or after slot {piece.last_slot} yet, so what was skipped there is not known")

    async def _get(self, slots: Iterable[int], piece: Piece) -> dict[int, Lack]:
        """Get blocks into the piece; return why some could not be had."""
        lacks: dict[int, Lack] = {}
        ending: SourceLost | SourceRefused | None = None
        async with asyncio.TaskGroup() as tasks:
            asked = [(slot, tasks.create_task(self._blocks.block(slot))) for slot in slots]
            for slot, task in asked:
                match await task:
                    case Block() as block:
                        piece.take(slot, block)
                        if block.lacks is not None:
                            lacks[slot] = Lack(f"slot {slot}: {block.lacks}", is_soon=False)
                    case RequestFailed() | TransactionError() as error:
                        lacks[slot] = await self._lack(slot, error)
                    case SourceLost() | SourceRefused() as error:
                        ending = ending or error
        if ending is not None:
            raise ending
        return lacks

    async def _see(self, slot: int, piece: Piece) -> dict[int, Lack]:
        """Look at a block behind a piece, of which only its parent matters; return why it cannot be had."""
        try:
            piece.links[slot] = await self._blocks.header(slot)
        except (RequestFailed, TransactionError) as error:
            return {slot: await self._lack(slot, error)}
        return {}

    async def _lack(self, slot: int, error: RequestFailed | TransactionError) -> Lack:
        """Return what an error about a block means to an operator."""
        if isinstance(error, TransactionError):
            return Lack(f"slot {slot}: {error}", is_soon=False)
        kind = rpc.kind_of(error.code)
        if kind in _FORGOTTEN:
            kept_from = await self._blocks.node.kept_from()
            if kept_from is not None and kept_from > slot:
                return _pruned(kept_from)
        return lack_of(slot, error)


def lack_of(slot: int, error: RequestFailed) -> Lack:
    """Return what an error about the block of `slot` means."""
    kind = rpc.kind_of(error.code)
    words = _LASTING.get(kind) or _PASSING.get(kind)
    return Lack(f"slot {slot}: {f'{words} ({error})' if words else error}", is_soon=kind not in _LASTING)


def _pruned(kept_from: int) -> Lack:
    return Lack(f"pruned: the node keeps blocks from slot {kept_from} on", is_soon=False, kept_from=kept_from)
