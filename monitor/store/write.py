"""One batch into the database, in one transaction."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import asyncpg

from decoders.core.types import Trade
from monitor.errors import AlreadyRunning
from monitor.store import sql
from monitor.store.batch import TOLD_AFTER_FINAL, Batch, Hole, Upgraded, Written
from monitor.store.commits import write_commits
from monitor.store.fold import Outcome, World, fold, link, wanted
from monitor.store.order import Arrivals, arrival_order, exact_order
from monitor.store.recent import Recent
from monitor.store.rows import AT, COLUMNS, ORDER, TOKEN_ID, Times, trade_row, upgrade, with_row
from monitor.store.sort import Known, clean_fault, cold_facts, sort
from monitor.store.states import MintState, PoolState, TokenState, columns
from monitor.store.trouble import REFUSALS, is_refusal

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence
    from datetime import datetime

    from decoders.core.types import Fact, Fault
    from monitor.store.fold import ColdFact
    from monitor.store.partitions import Partitions
    from monitor.store.reserves import Reserves
    from monitor.store.rows import Identity, Ids, Row
    from monitor.store.sort import Sorted
    from monitor.store.states import State

RECENT_TRADES = 100_000
RECENT_MARKETS = 50_000
_BATCH_NUMBERS_AHEAD = 64
_NO_PARTITION = "no partition of relation"
_KEY_WIDTH = 5
_UPGRADED = tuple(AT[name] for name in sql.UPGRADED_COLUMNS)

Market = tuple[
    str, str | None, str | None, str, str | None, str | None, bool, bool | None, bool, int | None, int | None
]
"""All that a trade says of its pool and token besides the trade itself."""


@dataclass(slots=True)
class Attempt:
    """One try at a batch: what was found out, and what may be remembered once it is committed."""

    sorted: Sorted
    batch_no: int
    markets: dict[Market, Ids] = field(default_factory=dict)
    old: dict[int, Trade] = field(default_factory=dict)
    new_faults: set[int] = field(default_factory=set)
    collided: bool = False
    written: Written = field(default_factory=lambda: Written(None))


class Writer:
    """
    Writes batches over a connection that it is given, and remembers what makes the next one cheap.

    It is the only writer of its database (`Store.lock`): what it finds missing stays missing until it is written here.
    """

    def __init__(self, partitions: Partitions | None, *, stored_slot: int = -1) -> None:
        self._partitions = partitions
        self._times = Times()
        self._arrivals = Arrivals(stored_slot)
        self._recent: Recent[Identity, int] = Recent(RECENT_TRADES)
        self._lately = Known(self._recent)
        self._markets: Recent[Market, Ids] = Recent(RECENT_MARKETS)
        self._batch_numbers: list[int] = []
        self._look_first = False

    async def prepare(self, connection: asyncpg.Connection, batch: Batch) -> Attempt:
        """
        Do all of a batch but the COMMIT. Facts that the database refuses become faults.

        The transaction is left open when this returns; it is rolled back, or the connection ended, when it raises.
        """
        refused: dict[int, str] = {}
        look_first, looked_for_partitions = self._look_first, False
        while True:
            try:
                return await self._try(connection, batch, refused, look_first=look_first)
            except asyncpg.UniqueViolationError as error:
                if look_first:
                    raise AlreadyRunning(f"somebody else writes to this database: {error}") from error
                look_first = True
            except REFUSALS as error:
                if not is_refusal(error):
                    raise
                if self._partitions is not None and _NO_PARTITION in str(error) and not looked_for_partitions:
                    # Somebody dropped a partition: find out which there are.
                    looked_for_partitions = True
                    self._partitions.forget()
                    continue
                found = await self._find_refused(connection, batch, refused)
                if not found:
                    raise
                refused |= found

    def committed(self, attempt: Attempt) -> Written:
        """Remember what a committed attempt found out."""
        found = attempt.sorted
        for key, (at, trade) in zip(found.trades, found.trade_facts(), strict=True):
            self._lately.note(trade, key, is_new=found.outcomes[at] is Outcome.NEW)
        for market, ids in attempt.markets.items():
            self._markets.set(market, ids)
        self._look_first = attempt.collided
        return attempt.written

    async def _try(
        self, connection: asyncpg.Connection, batch: Batch, refused: Mapping[int, str], *, look_first: bool
    ) -> Attempt:
        """Try the batch in a new transaction, left open on success."""
        found = sort(batch.facts, self._times, self._lately, refused)
        if self._partitions is not None:
            await self._partitions.ensure(connection, self._distinct_times(trade for _, trade in found.trade_facts()))
        batch_no = await self._next_batch_no(connection)
        try:
            await connection.execute("BEGIN")
            attempt = Attempt(found, batch_no, collided=look_first)
            await self._write_facts(connection, attempt, look_first=look_first)
            attempt.written = _written(attempt)
            await write_commits(connection, batch, (*batch.holes, *_late_holes(batch, attempt)))
            if batch.facts:
                await self._write_batch(connection, batch, attempt)
        except BaseException as error:
            # After anything but a plain answer of the server, such as a cancelled wait, its state is not known.
            if isinstance(error, (asyncpg.PostgresError, *REFUSALS)) and not connection.is_closed():
                await connection.execute("ROLLBACK")
            else:
                connection.terminate()
            raise
        return attempt

    async def _write_facts(self, connection: asyncpg.Connection, attempt: Attempt, *, look_first: bool) -> None:
        found = attempt.sorted
        markets = {at: _market(trade) for at, trade in found.trade_facts()}
        shown_by = {market: at for at, market in markets.items()}
        sightings = [at for market, at in shown_by.items() if self._markets.get(market) is None]
        world = await self._fold(connection, attempt, sightings)
        attempt.markets = {market: self._ids(market, world) for market in shown_by}
        rows = self._rows(attempt, markets)
        looked_for = list(rows) if look_first else [at for at in rows if at in found.suspects]
        stored = await self._stored(connection, [rows[at] for at in looked_for])
        attempt.collided = look_first and bool(stored)
        fresh, upgraded = self._split(attempt, rows, stored, world.reserves)
        if fresh:
            await connection.copy_records_to_table("transactions", records=fresh, columns=COLUMNS)
        if upgraded:
            await connection.execute(sql.UPDATE_TRADES, *_transposed(upgraded, _UPGRADED))
        world.reserves.trades(fresh)
        world.reserves.trades(upgraded)
        supplies = world.reserves.supplies()
        if supplies[0]:
            await connection.execute(sql.UPDATE_SUPPLIES, *supplies)
        reserves = world.reserves.columns()
        if reserves[0]:
            await connection.execute(sql.UPDATE_RESERVES, *reserves)
        if found.faults:
            await self._write_faults(connection, attempt)

    def _ids(self, market: Market, world: World) -> Ids:
        known = self._markets.get(market)
        if known is not None:
            return known
        pool, mint, quote, *_ = market
        return (world.token(mint).id, world.pools[pool].id, world.mint(quote).id)

    async def _fold(self, connection: asyncpg.Connection, attempt: Attempt, sightings: Sequence[int]) -> World:
        """Apply everything but the trades' reserves to mints, tokens and pools, and write these back."""
        found = attempt.sorted
        cold = cold_facts(found)
        cold |= {at: trade for at in sightings if isinstance(trade := found.facts[at], Trade)}
        if not cold:
            return World()
        world = await _load(connection, cold.values())
        unplaced = {at: fact for at, fact in (*cold.items(), *found.trade_facts()) if fact.index is None}
        for at in sorted(unplaced):
            self._order(unplaced[at])  # numbers are given by arrival, whatever is looked at first
        for at, fact in cold.items():
            outcome = fold(world, fact, self._time(fact), self._order(fact))
            if not isinstance(fact, Trade):
                found.outcomes[at] = outcome
        link(world)
        await _save(connection, world)
        tails = [_tail_row(fact, self._time(fact)) for fact in cold.values() if _has_tail(fact)]
        if tails:
            await connection.execute(sql.INSERT_TAILS, *zip(*tails, strict=True))
        return world

    def _rows(self, attempt: Attempt, markets: Mapping[int, Market]) -> dict[int, Row]:
        """Return the rows of the trades by place."""
        ids, batch_no, get_time, order_of = attempt.markets, attempt.batch_no, self._times.get, self._order
        rows: dict[int, Row] = {}
        for at, trade in attempt.sorted.trade_facts():
            block_time = get_time(trade.block_time)
            if block_time is None:
                raise ValueError(f"sorted as storable without a time: {trade}")
            rows[at] = trade_row(trade, block_time, order_of(trade), ids[markets[at]], batch_no)
        return rows

    async def _stored(self, connection: asyncpg.Connection, rows: Sequence[Row]) -> dict[Row, Row]:
        """Return the rows that are in the table already, by their key."""
        if not rows:
            return {}
        stored = await connection.fetch(sql.SELECT_TRADES, *_transposed(rows, range(_KEY_WIDTH)))
        return {tuple(row)[:_KEY_WIDTH]: tuple(row) for row in stored}

    def _split(
        self, attempt: Attempt, rows: Mapping[int, Row], stored: Mapping[Row, Row], reserves: Reserves
    ) -> tuple[list[Row], list[Row]]:
        """Return the rows to insert and those to upgrade, and note the outcomes and the supplies told."""
        fresh: list[Row] = []
        upgraded: list[Row] = []
        found = attempt.sorted
        for at, row in rows.items():
            fact = found.facts[at]
            if not isinstance(fact, Trade):
                continue
            old = stored.get(row[:_KEY_WIDTH]) if stored else None
            if old is None:
                fresh.append(row)
                found.outcomes[at] = Outcome.NEW
                reserves.supply(row[TOKEN_ID], row[ORDER], fact.supply)
                continue
            better = upgrade(old, row)
            reserves.supply(row[TOKEN_ID], (better or old)[ORDER], fact.supply)
            if better is None:
                found.facts[at] = with_row(fact, old)
            else:
                upgraded.append((*better[: AT["batch_no"]], attempt.batch_no, *better[AT["batch_no"] + 1 :]))
                found.outcomes[at] = Outcome.UPGRADED
                attempt.old[at] = with_row(fact, old)
                found.facts[at] = with_row(fact, better)
        return fresh, upgraded

    async def _write_faults(self, connection: asyncpg.Connection, attempt: Attempt) -> None:
        rows: dict[tuple[Any, ...], Row] = {}
        places: dict[tuple[Any, ...], int] = {}
        for at, (kind, fault) in attempt.sorted.faults.items():
            row = _fault_row(clean_fault(fault), kind, self._times, attempt.batch_no)
            key = (row[0], row[1], row[3], row[4], row[5])
            first = rows.setdefault(key, row)
            rows[key] = tuple(value if value is not None else row[place] for place, value in enumerate(first))
            places.setdefault(key, at)
        answers = await connection.fetch(sql.INSERT_FAULTS, *zip(*rows.values(), strict=True))
        for *key, is_new in answers:
            if is_new:
                attempt.new_faults.add(places[tuple(key)])

    async def _write_batch(self, connection: asyncpg.Connection, batch: Batch, attempt: Attempt) -> None:
        written = attempt.written
        times = self._distinct_times(batch.facts)
        await connection.execute(
            sql.INSERT_BATCH,
            attempt.batch_no,
            batch.batch_id,
            len(batch.facts),
            len(written.new),
            len(written.upgraded),
            len(written.duplicates),
            len(written.refused),
            min(times, default=None),
            max(times, default=None),
        )

    async def _find_refused(
        self, connection: asyncpg.Connection, batch: Batch, refused: Mapping[int, str]
    ) -> dict[int, str]:
        """Find by bisection the facts that the database refuses, with its words; each half is tried and rolled back."""
        found: dict[int, str] = {}
        halves = [[at for at in range(len(batch.facts)) if at not in refused]]
        while halves:
            places = halves.pop()
            error = await self._refuses(connection, [batch.facts[at] for at in places])
            if error is None:
                continue
            if len(places) == 1:
                found[places[0]] = str(error)
            else:
                middle = len(places) // 2
                halves += [places[:middle], places[middle:]]
        return found

    async def _refuses(self, connection: asyncpg.Connection, facts: Sequence[Fact]) -> Exception | None:
        if not facts:
            return None
        trial = Batch(facts=list(facts))
        try:
            await self._try(connection, trial, {}, look_first=True)
        except REFUSALS as error:
            if not is_refusal(error):
                raise
            return error
        await connection.execute("ROLLBACK")
        return None

    async def _next_batch_no(self, connection: asyncpg.Connection) -> int:
        if not self._batch_numbers:
            numbers = await connection.fetch(sql.NEXT_BATCH_NUMBERS, _BATCH_NUMBERS_AHEAD)
            self._batch_numbers = [row[0] for row in reversed(numbers)]
        return self._batch_numbers.pop()

    def _distinct_times(self, facts: Iterable[Fact]) -> list[datetime]:
        times = (self._times.get(block_time) for block_time in {fact.block_time for fact in facts})
        return [at for at in times if at is not None]

    def _time(self, fact: Fact) -> datetime:
        at = self._times.get(fact.block_time)
        if at is None:
            raise ValueError(f"sorted as storable without a time: {fact}")
        return at

    def _order(self, fact: ColdFact) -> int:
        if fact.index is not None:
            return exact_order(fact.slot, fact.index, fact.position, fact.nth)
        number = self._arrivals.number(fact.slot, fact.pool or fact.mint or "", fact.signature, fact.arrival)
        return arrival_order(fact.slot, number, fact.position, fact.nth)


def _market(trade: Trade) -> Market:
    return (
        trade.pool,
        trade.mint,
        trade.quote_mint,
        trade.venue,
        trade.platform,
        trade.platform_config,
        trade.flipped,
        trade.canonical,
        trade.curve_total is not None,
        trade.decimals,
        trade.quote_decimals,
    )


def _transposed(rows: Sequence[Row], places: Iterable[int]) -> list[list[Any]]:
    return [[row[place] for row in rows] for place in places]


async def _load(connection: asyncpg.Connection, facts: Iterable[ColdFact]) -> World:
    """Read the rows that facts speak of; those that are not there are made, with their ids, but not yet saved."""
    want = wanted(facts)
    world = World()
    for row in await connection.fetch(sql.SELECT_MINTS, list(want.mints)):
        world.mints[row["address"]] = MintState(*row)
    for row in await connection.fetch(sql.SELECT_POOLS, list(want.pools)):
        world.pools[row["address"]] = PoolState(*row)
    token_ids = {pool.token_id for pool in world.pools.values() if pool.token_id is not None}
    for row in await connection.fetch(sql.SELECT_TOKENS, list(want.tokens), list(token_ids)):
        world.tokens[row["mint"]] = TokenState(*row)
    new_mints = sorted(want.mints - world.mints.keys())
    new_pools = sorted(want.pools.keys() - world.pools.keys())
    if new_mints or new_pools:
        mint_ids, pool_ids = await connection.fetchrow(sql.NEXT_IDS, len(new_mints), len(new_pools))
        for mint_id, address in zip(mint_ids, new_mints, strict=True):
            world.mints[address] = MintState(mint_id, address, changed=True)
        for pool_id, address in zip(pool_ids, new_pools, strict=True):
            world.pools[address] = PoolState(pool_id, address, want.pools[address], changed=True)
    for address in sorted(want.tokens - world.tokens.keys()):
        world.tokens[address] = TokenState(world.mints[address].id, address, changed=True)
    return world


async def _save(connection: asyncpg.Connection, world: World) -> None:
    tables: tuple[tuple[str, type[State], Iterable[State]], ...] = (
        (sql.UPSERT_MINTS, MintState, world.mints.values()),
        (sql.UPSERT_TOKENS, TokenState, world.tokens.values()),
        (sql.UPSERT_POOLS, PoolState, world.pools.values()),
    )
    for statement, kind, states in tables:
        changed = [state for state in states if state.changed]
        if changed:
            await connection.execute(
                statement, *([getattr(state, name) for state in changed] for name in columns(kind))
            )


def _has_tail(fact: Fact) -> bool:
    return fact.record is not None and bool(fact.record.tail) and type(fact).kind not in ("trade", "other")


def _tail_row(fact: Fact, at: datetime) -> Row:
    tail = fact.record.tail if fact.record is not None else b""
    return (fact.signature, fact.venue, fact.event, fact.nth, type(fact).kind, at, fact.slot, tail)


def _fault_row(fault: Fault, kind: str, times: Times, batch_no: int) -> Row:
    """Return the row in the order of `sql.FAULT_COLUMNS`."""
    return (
        fault.signature,
        fault.program,
        fault.venue,
        fault.event,
        fault.nth,
        kind,
        fault.slot,
        times.get(fault.block_time),
        fault.index,
        fault.position,
        fault.platform,
        fault.reason,
        fault.payload,
        batch_no,
    )


def _late_holes(batch: Batch, attempt: Attempt) -> Iterator[Hole]:
    """Yield a hole for each slot that was final when something new was told of it."""
    slots = {fact.slot for fact in attempt.written.new} & batch.late if batch.late else ()
    for slot in sorted(slots):
        yield Hole(first_slot=slot, last_slot=slot, reason=TOLD_AFTER_FINAL)


def _written(attempt: Attempt) -> Written:
    """Say what became of each fact."""
    found = attempt.sorted
    written = Written(attempt.batch_no if found.facts else None)
    for at, (given, fact, outcome) in enumerate(zip(found.given, found.facts, found.outcomes, strict=True)):
        match outcome:
            case Outcome.NEW:
                written.new.append(fact)
            case Outcome.UPGRADED:
                written.upgraded.append(Upgraded(attempt.old.get(at), fact))
            case Outcome.OTHER:
                written.other.append(given)
            case Outcome.REFUSED:
                written.refused.append(found.faults[at][1])
            case Outcome.DUPLICATE if at in attempt.new_faults:
                written.new.append(fact)
            case Outcome.DUPLICATE:
                written.duplicates.append(given)
    return written
