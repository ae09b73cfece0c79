"""Which facts are stored: everything of the launchpads, and of the pools only those of launched tokens (pure)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from decoders.core.types import Graduation, Launch, Other, PoolCreated, Trade

if TYPE_CHECKING:
    from collections.abc import Iterable

    from decoders.core.types import Fact

# Venues where anybody opens pools for any token; the others are launchpads.
OPEN_VENUES = frozenset({"pumpswap", "raydium_cpmm", "raydium_amm_v4"})
# Mints whose standing is remembered, some 100 bytes each.
MOST_MINTS = 200_000


class Gate:
    """
    Remembers which mints are launched tokens.

    A mint that was not launched may be so later: what is remembered of it ends with its launch.
    """

    def __init__(self, most: int = MOST_MINTS) -> None:
        self._standing: dict[str, bool] = {}
        self._most = most

    def questions(self, facts: Iterable[Fact]) -> set[str]:
        """Return the mints whose standing only the database can tell."""
        asked: set[str] = set()
        launched: set[str] = set()
        for fact in facts:
            proven = _launches(fact)
            if proven is not None:
                launched.add(proven)
            mint = _asks(fact)
            if mint is not None and mint not in self._standing and mint not in launched:
                asked.add(mint)
        return asked

    def answer(self, asked: Iterable[str], known: set[str]) -> None:
        """Remember the database's answer."""
        for mint in asked:
            self._remember(mint, mint in known)

    def admit(self, facts: Iterable[Fact]) -> tuple[list[Fact], list[Fact]]:
        """Return (those that are stored, those that are filtered), each in order."""
        kept: list[Fact] = []
        filtered: list[Fact] = []
        for fact in facts:
            launched = _launches(fact)
            if launched is not None:
                self._remember(launched, True)
            mint = _asks(fact)
            (kept if mint is None or self._standing.get(mint, False) else filtered).append(fact)
        return kept, filtered

    def passes(self, fact: Fact) -> bool:
        """Tell whether a fact is known to be stored, by what was learned so far: for who cannot wait for an answer."""
        mint = _asks(fact)
        return mint is None or self._standing.get(mint, False)

    def _remember(self, mint: str, standing: bool) -> None:
        if mint not in self._standing and len(self._standing) >= self._most:
            del self._standing[next(iter(self._standing))]
        self._standing[mint] = standing


def _launches(fact: Fact) -> str | None:
    """Return the mint that a fact proves to be a launched token."""
    if isinstance(fact, Trade):  # nearly all are, and a pattern takes thrice the time
        return fact.mint if fact.venue not in OPEN_VENUES or fact.canonical else None
    match fact:
        case Launch(mint=mint):
            return mint
        case Graduation(mint=mint):
            return mint
        case PoolCreated(mint=mint, canonical=True):
            return mint
        case _:
            return None


def _asks(fact: Fact) -> str | None:
    """Return the mint on whose standing it depends whether a fact is stored; None if it is stored in any case."""
    if fact.venue not in OPEN_VENUES:
        return None
    if isinstance(fact, Trade):
        return None if fact.canonical else fact.mint
    match fact:
        case PoolCreated(mint=mint, canonical=False):
            return mint
        case Other(mint=mint) if mint is not None:
            return mint
        case _:
            return None
