"""The latest reserves of each pool and supply of each token in a batch, by the order of the chain."""

from __future__ import annotations

from operator import itemgetter
from typing import TYPE_CHECKING, Any

from monitor.store.order import first_order
from monitor.store.rows import AT, ORDER, POOL_ID, SUPPLY, TOKEN_ID

if TYPE_CHECKING:
    from collections.abc import Sequence

    from monitor.store.rows import Row

MARK, REAL_BASE, REAL_QUOTE, CURVE, VIRTUAL, LAST_TRADE = range(6)
"""What is replaced as a whole: mark reserves, each real one, curve progress, virtual quote, time of the last trade."""
_GROUPS = 6
_OF_TRADE = (
    (MARK, AT["mark_base"], AT["mark_quote"]),
    (REAL_BASE, AT["real_base"], AT["real_base"]),
    (REAL_QUOTE, AT["real_quote"], AT["real_quote"]),
    (CURVE, AT["curve_sold"], AT["curve_total"]),
)
_TIME = AT["block_time"]
_SYNTHETIC = AT["synthetic"]
_BY_ORDER = itemgetter(ORDER)

Change = tuple[int, Any, Any]
"""Order and one or two values."""


class Reserves:
    """Collects changes; of each pool and group the one latest on the chain stays, in whatever order they come."""

    def __init__(self) -> None:
        self._latest: list[dict[int, Change]] = [{} for _ in range(_GROUPS)]
        self._supplies: dict[int, tuple[int, int]] = {}

    def offer(self, group: int, pool_id: int, order: int, first: Any, second: Any) -> None:
        """Note a change; one without its first or second value is none."""
        if first is None or second is None:
            return
        noted = self._latest[group].get(pool_id)
        if noted is None or order > noted[0]:
            self._latest[group][pool_id] = (order, first, second)

    def start(self, pool_id: int, slot: int, base: int | None, quote: int | None, *, rank: int) -> None:
        """Note what a pool was opened with: both its effective and its real reserves."""
        self.offer(MARK, pool_id, first_order(slot, rank), base, quote)
        self.real(pool_id, first_order(slot, rank), base, quote)

    def real(self, pool_id: int, order: int, base: int | None, quote: int | None) -> None:
        """Note real reserves; either may be None."""
        self.offer(REAL_BASE, pool_id, order, base, 0)
        self.offer(REAL_QUOTE, pool_id, order, quote, 0)

    def trades(self, rows: Sequence[Row]) -> None:
        """Note what trades left behind."""
        by_pool: dict[int, list[Row]] = {}
        for row in rows:
            if row[SUPPLY] is not None:
                self.supply(row[TOKEN_ID], row[ORDER], row[SUPPLY])
        for row in rows:
            by_pool.setdefault(row[POOL_ID], []).append(row)
        for pool_id, of_pool in by_pool.items():
            of_pool.sort(key=_BY_ORDER, reverse=True)
            self.offer(LAST_TRADE, pool_id, of_pool[0][ORDER], of_pool[0][_TIME], 0)
            # A buy that went on in the pool to come tells of that one's reserves, and not of the curve's.
            own = [row for row in of_pool if not row[_SYNTHETIC]]
            for group, first, second in _OF_TRADE:
                told = next((row for row in own if row[first] is not None and row[second] is not None), None)
                if told is not None:
                    self.offer(group, pool_id, told[ORDER], told[first], told[second])

    def supply(self, token_id: int, order: int, supply: int | None) -> None:
        """Note how much of a token there is; None says nothing."""
        noted = self._supplies.get(token_id)
        if supply is not None and (noted is None or order > noted[0]):
            self._supplies[token_id] = (order, supply)

    def supplies(self) -> Sequence[Sequence[int]]:
        """Return token ids, orders and supplies, column by column."""
        rows = sorted((token_id, *change) for token_id, change in self._supplies.items())
        return [[row[member] for row in rows] for member in range(3)]

    def columns(self) -> Sequence[Sequence[Any]]:
        """Return the pool ids, then order (-1: no change), first and second value of each group, column by column."""
        pool_ids = sorted(set().union(*self._latest))
        none: Change = (-1, None, None)
        found: list[Sequence[Any]] = [pool_ids]
        for noted in self._latest:
            changes = [noted.get(pool_id, none) for pool_id in pool_ids]
            found += [[change[member] for change in changes] for member in range(3)]
        return found
