"""Which pool trades which token: learned from facts and accounts, bounded."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from decoders.core.types import Graduation, Launch, PoolCreated, PoolInfo, Trade

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from decoders.core.types import Fact

# Some 400 bytes each.
MOST_POOLS = 250_000


class PoolMap(Mapping[str, PoolInfo]):
    """Known pools by address. When full, the pool learned first is forgotten (and would be asked for again)."""

    def __init__(self, known: Iterable[PoolInfo] = (), most: int = MOST_POOLS) -> None:
        self._pools: dict[str, PoolInfo] = {}
        self._most = most
        for info in known:
            self.add(info)

    def __getitem__(self, address: str) -> PoolInfo:
        return self._pools[address]

    def __iter__(self) -> Iterator[str]:
        return iter(self._pools)

    def __len__(self) -> int:
        return len(self._pools)

    def add(self, info: PoolInfo) -> None:
        """Learn a pool; what was known of it is replaced."""
        if info.address not in self._pools and len(self._pools) >= self._most:
            del self._pools[next(iter(self._pools))]
        self._pools[info.address] = info

    def learn(self, fact: Fact) -> None:
        """Learn the pool that a complete fact names, if it is new here."""
        if isinstance(fact, Trade) and fact.pool in self._pools:
            return
        for info in _named(fact):
            if info.address not in self._pools:
                self.add(info)


def _named(fact: Fact) -> Iterator[PoolInfo]:
    match fact:
        # Pump.fun's events name the mint themselves: its curves need no place here.
        case Launch(venue=venue, mint=str(mint), quote_mint=str(quote)) if venue != "pumpfun":
            yield PoolInfo(fact.pool, venue, mint, quote, platform=fact.platform, platform_config=fact.platform_config)
        case PoolCreated():
            yield PoolInfo(
                fact.pool, fact.venue, fact.mint, fact.quote_mint, fact.platform, fact.flipped, fact.canonical
            )
        case Graduation():
            yield PoolInfo(fact.to_pool, fact.to_venue, fact.mint, fact.quote_mint, fact.platform, canonical=True)
        case Trade(venue=venue, mint=str(mint), quote_mint=str(quote)) if venue != "pumpfun":
            yield PoolInfo(
                fact.pool, venue, mint, quote, fact.platform, fact.flipped, bool(fact.canonical), fact.platform_config
            )
        case _:
            return
