"""Deliver a hole of slots: pieces side by side, their blocks in the order of slots."""

from __future__ import annotations

import asyncio
from collections import deque
from typing import TYPE_CHECKING, TypeAlias

from monitor.errors import SourceLost, SourceRefused
from monitor.sources.notices import HolePart, SlotSettled

if TYPE_CHECKING:
    from monitor.sources.blocks import Block, Ending
    from monitor.sources.notices import Outlet
    from monitor.sources.pieces import HistoryRules, Lack, Piece, Work
    from monitor.sources.proving import Prover
    from monitor.sources.tally import HistoryTally

    _Found: TypeAlias = Lack | Ending | None


class Filling:
    """Gives a hole its turn."""

    def __init__(self, rules: HistoryRules, tally: HistoryTally) -> None:
        self._rules = rules
        self._tally = tally
        self._block_bytes = rules.unknown_bytes

    async def fill(self, hole_id: int, work: Work, prover: Prover, out: Outlet, *, is_settled: bool) -> Lack | None:
        """
        Go over the next pieces of a hole, as many as a turn has; return what is wrong with the first that stays open.

        What was had of a piece is put out, whether or not it is proven; then, if it is, what it settles, and how far
        the hole is filled.

        Raises:
            SourceLost, SourceRefused: If the node is away, after what was had by then is put out.
        """
        work.begin()
        wrong: list[Lack] = []
        ending: Ending | None = None
        left = self._rules.pieces_a_turn
        under_way: deque[tuple[Piece, asyncio.Task[_Found]]] = deque()
        async with asyncio.TaskGroup() as tasks:
            while True:
                while left and ending is None and len(under_way) < self._rules.pieces_at_once:
                    slots = self._rules.slots_of(self._block_bytes)
                    piece = work.take(self._rules, slots) if len(wrong) < self._rules.most_wrong else None
                    if piece is None:
                        break
                    under_way.append((piece, tasks.create_task(_prove(prover, piece))))
                    left -= 1
                if not under_way:
                    break
                piece, task = under_way.popleft()
                found = await task
                self._block_bytes = piece.largest_bytes or self._block_bytes
                await self._put_all(piece, out)
                match found:
                    case None:
                        await self._proven(hole_id, work, piece, out, is_settled=is_settled)
                    case SourceLost() | SourceRefused():
                        ending = ending or found
                    case lack:
                        wrong.append(lack)
                        if lack.kept_from is not None:
                            work.skip_to(lack.kept_from)
        if ending is not None:
            work.rewind()
            raise ending
        return wrong[0] if wrong else None

    async def _put_all(self, piece: Piece, out: Outlet) -> None:
        for slot in sorted(piece.blocks):
            await self.put(piece.blocks.pop(slot), out)

    async def put(self, block: Block, out: Outlet) -> None:
        """Put out what a block holds."""
        self._tally.blocks += 1
        self._tally.transactions += len(block.notices)
        for notice in block.notices:
            await out.put(notice)

    async def _proven(self, hole_id: int, work: Work, piece: Piece, out: Outlet, *, is_settled: bool) -> None:
        if is_settled:
            for slot in range(piece.first_slot, piece.last_slot + 1):
                await out.put(SlotSettled(slot, piece.signatures.get(slot, ()), piece.about(slot)))
        work.proven(piece)
        if not work.is_proven and work.proven_through > work.told_through:
            work.told_through = work.proven_through
            await out.put(HolePart(hole_id, work.told_through))


async def _prove(prover: Prover, piece: Piece) -> _Found:
    """Do what the prover does, but return an error: if it were raised it would end the other pieces."""
    try:
        return await prover.prove(piece)
    except (SourceLost, SourceRefused) as error:
        return error
