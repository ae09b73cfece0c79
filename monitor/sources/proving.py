"""Deliver the blocks of a piece of a hole, and prove that there are no others."""

from __future__ import annotations

import asyncio
from collections import deque
from typing import TYPE_CHECKING

from decoders.core.transaction import TransactionError
from monitor.errors import RequestFailed, SourceLost, SourceRefused
from monitor.sources.blocks import Block
from monitor.sources.chain import Contradiction, NoEnd, Proven, Wanted, examine

if TYPE_CHECKING:
    from collections.abc import Iterable

    from monitor.sources.blocks import Blocks, Ending
    from monitor.sources.notices import Outlet
    from monitor.sources.pieces import HistoryRules, Piece
    from monitor.sources.tally import HistoryTally


class Prover:
    """Fills pieces, one after the other, with `at_once` blocks under way."""

    def __init__(self, blocks: Blocks, rules: HistoryRules, tally: HistoryTally, *, at_once: int) -> None:
        self._blocks = blocks
        self._rules = rules
        self._tally = tally
        self._at_once = at_once

    async def fill(self, piece: Piece, out: Outlet) -> str | None:
        """Deliver the blocks of a piece that were not yet; return why it stays open, None: it is proven."""
        try:
            listed = await self._blocks.listed(piece.first_slot, piece.last_slot + self._rules.look_ahead_slots)
        except (RequestFailed, TransactionError) as error:
            return str(error)
        missing = [slot for slot in listed if slot <= piece.last_slot and slot not in piece.links]
        lacks = await self._deliver(missing, piece, out)
        behind = next((slot for slot in listed if slot > piece.last_slot), None)
        return await self._prove(piece, behind, lacks, out)

    async def _prove(self, piece: Piece, behind: int | None, lacks: dict[int, str], out: Outlet) -> str | None:
        """Get what the proof still wants; `behind` is a block after the piece, `lacks` are those that cannot be had."""
        while True:
            sought: int | None
            child: int | None = None
            match examine(piece.first_slot, piece.last_slot, piece.links):
                case Proven():
                    return None
                case Contradiction(slots=slots, reason=reason):
                    for slot in slots:  # fetched anew at the next try
                        del piece.links[slot]
                    return reason
                case NoEnd():
                    sought = behind
                case Wanted(slot=parent, child_slot=child):
                    sought = parent
            if sought is None and lacks:
                return _lack(max(lacks), lacks)
            if sought is None:
                return f"no block at or after slot {piece.last_slot} yet, so what was skipped there is not known"
            if sought not in lacks:
                is_ours = sought <= piece.last_slot
                lacks |= await (self._deliver([sought], piece, out) if is_ours else self._see(sought, piece))
            if sought in lacks:
                if child is not None:
                    del piece.links[child]  # it may have been on a fork
                return _lack(sought, lacks)

    async def _deliver(self, slots: Iterable[int], piece: Piece, out: Outlet) -> dict[int, str]:
        """Fetch blocks, several at once, and put them out in the order of slots; return why some could not be had."""
        lacks: dict[int, str] = {}
        waiting = deque(slots)
        under_way: deque[tuple[int, asyncio.Task[Block | RequestFailed | TransactionError | Ending]]] = deque()
        ending: Ending | None = None
        async with asyncio.TaskGroup() as tasks:
            while ending is None and (waiting or under_way):
                while waiting and len(under_way) < self._at_once:
                    under_way.append((waiting[0], tasks.create_task(self._blocks.block(waiting.popleft()))))
                slot, task = under_way.popleft()
                match await task:
                    case Block() as block:
                        await self.put(block, out)
                        if block.lacks is None:
                            piece.links[slot] = block.link
                        else:
                            lacks[slot] = block.lacks
                    case RequestFailed() | TransactionError() as error:
                        lacks[slot] = str(error)
                    case SourceLost() | SourceRefused() as error:
                        ending = error
            for _, task in under_way:
                task.cancel()
        if ending is not None:
            raise ending
        return lacks

    async def put(self, block: Block, out: Outlet) -> None:
        """Put out what a block holds."""
        self._tally.blocks += 1
        self._tally.transactions += len(block.notices)
        for notice in block.notices:
            await out.put(notice)

    async def _see(self, slot: int, piece: Piece) -> dict[int, str]:
        """Look at a block behind a piece, of which only its parent matters; return why it cannot be had."""
        try:
            piece.links[slot] = await self._blocks.header(slot)
        except (RequestFailed, TransactionError) as error:
            return {slot: str(error)}
        return {}


def _lack(slot: int, lacks: dict[int, str]) -> str:
    return f"slot {slot}: {lacks[slot]}"
