"""A naive model of chains with forks: every block ever made, and the one branch that became final."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from hypothesis import strategies as st

from monitor.sources.notices import BlockSeen, FinalBegins

if TYPE_CHECKING:
    from collections.abc import Iterator

    from monitor.sources.finality import Finality
    from monitor.sources.notices import Notice, Outlet

ROOT = 100


@dataclass(frozen=True)
class Made:
    """A block: its slot, hash and parent, and the numbers of its transactions."""

    slot: int
    name: str
    parent: Made | None
    numbers: frozenset[int]

    def branch(self) -> Iterator[Made]:
        """Yield this block and its ancestors."""
        block: Made | None = self
        while block is not None:
            yield block
            block = block.parent

    def seen(self) -> BlockSeen:
        """Return what a feed tells of it."""
        assert self.parent is not None
        return BlockSeen(self.slot, self.parent.slot, self.name, self.parent.name, None, "blocks")


@dataclass
class Forks:
    """Blocks in the order in which they were made, and the newest one of the finalized branch."""

    blocks: list[Made] = field(default_factory=list)
    tip: Made = field(default_factory=lambda: Made(ROOT, "root", None, frozenset()))

    def final(self) -> dict[int, Made]:
        """Return the finalized blocks by slot."""
        return {block.slot: block for block in self.tip.branch()}

    def where(self, number: int) -> int | None:
        """Return the slot at which a transaction is final; None: it vanished."""
        return next((slot for slot, block in self.final().items() if number in block.numbers), None)


@st.composite
def forks(draw: st.DrawFn, most: int = 25) -> Forks:
    """Return some blocks on branches. A transaction lands once on a branch, and may land again on another."""
    made = [Made(ROOT, "root", None, frozenset())]
    for number in range(draw(st.integers(1, most))):
        parent = draw(st.sampled_from(made[-4:]))
        landed = {one for block in parent.branch() for one in block.numbers}
        fresh = draw(st.sets(st.integers(1, 12), max_size=4)) - landed
        made.append(Made(parent.slot + draw(st.integers(1, 3)), f"b{number}", parent, frozenset(fresh)))
    return Forks(made[1:], draw(st.sampled_from(made[1:])))


class Storing:
    """An outlet before a database that commits at once: what stands before a `FinalBegins` is stored by then."""

    def __init__(self, finality: Finality, out: Outlet) -> None:
        self._finality = finality
        self._out = out

    async def put(self, notice: Notice) -> None:
        """Take a notice."""
        if isinstance(notice, FinalBegins):
            self._finality.stored(notice.through)
        else:
            await self._out.put(notice)
