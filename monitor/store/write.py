"""One batch into the database, in one transaction."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any

import asyncpg

from decoders.core.types import Other, Trade
from monitor.errors import AlreadyRunning, SchemaMismatch
from monitor.store import candles, sql
from monitor.store.batch import TOLD_AFTER_FINAL, Batch, Hole, Upgraded, Written
from monitor.store.changes import market
from monitor.store.cold import Copy, keep, stale
from monitor.store.commits import insert_hole, write_commits
from monitor.store.fold import Outcome, World, fold, link
from monitor.store.order import Arrivals, arrival_order, exact_order, slot_of
from monitor.store.recent import Recent
from monitor.store.recorded import stored_changes, write_changes, write_sightings
from monitor.store.refold import Touched
from monitor.store.refusing import find_refused
from monitor.store.rows import (
    AT,
    COLUMNS,
    ORDER,
    POOL_ID,
    SLOT,
    TAIL,
    TIME,
    TOKEN_ID,
    Times,
    identity,
    trade_row,
    upgrade,
    with_row,
)
from monitor.store.settle import Settlement, settle
from monitor.store.sort import Known, cold_facts, noted_of, sort
from monitor.store.surplus import fault_rows, refused_mints, tail_rows
from monitor.store.trim import TRIM_EVERY, trim
from monitor.store.trouble import REFUSALS, is_refusal
from monitor.store.worlds import load, save

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterable, Iterator, Mapping, Sequence
    from datetime import datetime

    from decoders.core.types import Fact
    from monitor.store.changes import Market
    from monitor.store.fold import ColdFact
    from monitor.store.partitions import Partitions
    from monitor.store.rows import Identity, Ids, Row
    from monitor.store.sort import Sorted

RECENT_TRADES = 100_000
RECENT_MARKETS = 50_000
_BATCH_NUMBERS_AHEAD = 64
_ROWS_A_TURN = 64
_NO_PARTITION = "no partition of relation"
_KEY_WIDTH = 5
_SLOT_MAX = (1 << 63) - 1
_UPGRADED = tuple(AT[name] for name in sql.UPGRADED_COLUMNS)


@dataclass(slots=True)
class Attempt:
    """
    One try at a batch: what was found out, and what may be remembered once it is committed.

    `trades` are those that may be new, as they came, with their places. `noted` is what will be remembered of them if
    all are new; None: they were looked up. `times` are those of trades that it stores or changes, `newest` is the last
    of those that it stores.
    """

    sorted: Sorted
    trades: list[tuple[int, Trade]]
    batch_no: int
    noted: dict[Identity, int] | None = None
    markets: dict[Market, Ids] = field(default_factory=dict)
    old: dict[int, Trade] = field(default_factory=dict)
    new_faults: set[int] = field(default_factory=set)
    replaced: list[Row] = field(default_factory=list)
    touched: Touched = field(default_factory=Touched)
    landed_in: set[int] = field(default_factory=set)
    still_long: set[int] = field(default_factory=set)
    times: set[datetime] = field(default_factory=set)
    newest: datetime | None = None
    settlement: Settlement = field(default_factory=Settlement)
    collided: bool = False
    written: Written = field(default_factory=lambda: Written(None))


class Writer:
    """
    Writes batches over a connection that it is given, and remembers what makes the next one cheap.

    It is the only writer of its database (`Store.lock`): what it finds missing stays missing until it is written here.
    """

    def __init__(
        self,
        partitions: Partitions | None,
        *,
        stored_slot: int = -1,
        schema: int | None = None,
        newest_batch_no: int = 0,
        newest: datetime | None = None,
    ) -> None:
        """
        Begin with nothing remembered.

        Args:
            partitions: Makes what `transactions` lacks; None where the server does.
            stored_slot: The newest slot with rows.
            schema: The newest step of the schema; None: it may change.
            newest_batch_no: The last number given to a batch by anybody.
            newest: Time of the newest trade; None: there is none.
        """
        self._partitions = partitions
        self._schema = schema
        self.newest_batch_no = newest_batch_no
        self._newest = newest
        self._times = Times()
        self._arrivals = Arrivals(stored_slot)
        self._recent: Recent[Identity, int] = Recent(RECENT_TRADES)
        self._lately = Known(self._recent)
        self._markets: Recent[Market, Ids] = Recent(RECENT_MARKETS)
        self._batch_numbers: list[int] = []
        self._look_first = False
        self.trades_from: datetime | None = None
        """Trades from before that time are faults; None: there are none such."""

    async def make_ahead(self, connection: asyncpg.Connection, newest: datetime) -> None:
        """Make the partitions behind that time, where the server does not do that when they are needed."""
        if self._partitions is not None:
            await self._partitions.ensure(connection, [newest])

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
                left = {at: fact for at, fact in enumerate(batch.facts) if at not in refused}
                found = await find_refused(left, partial(self._refuses, connection))
                if not found:
                    raise
                refused |= found

    def committed(self, attempt: Attempt) -> Written:
        """Remember what a committed attempt found out."""
        found = attempt.sorted
        if attempt.noted is not None:
            self._lately.note_new(attempt.noted)
        else:
            for key, (at, trade) in zip(found.trades, found.trade_facts(), strict=True):
                self._lately.note(trade, key, is_new=found.outcomes[at] is Outcome.NEW)
        for told, ids in attempt.markets.items():
            self._markets.set(told, ids)
        if attempt.settlement.voided or attempt.settlement.revived or attempt.touched:
            # Pools may know less than they did: what trades say of them is looked at again.
            self._markets.clear()
            for gone in attempt.settlement.voided:
                self._lately.forget(identity(gone))
        self._look_first = attempt.collided
        if attempt.newest is not None and (self._newest is None or attempt.newest > self._newest):
            self._newest = attempt.newest
        return attempt.written

    async def _try(
        self, connection: asyncpg.Connection, batch: Batch, refused: Mapping[int, str], *, look_first: bool
    ) -> Attempt:
        """Try the batch in a new transaction, left open on success."""
        found = sort(
            batch.facts,
            self._times,
            self._lately,
            refused,
            look_closely=bool(batch.resolved),
            trades_from=self.trades_from,
        )
        trades = found.trade_facts()
        if self._partitions is not None:
            await self._partitions.ensure(connection, self._distinct_times(trade for _, trade in trades))
        batch_no = await self._next_batch_no(connection)
        try:
            await connection.execute("BEGIN")
            attempt = Attempt(found, trades, batch_no, collided=look_first)
            await self._write_facts(connection, attempt, look_first=look_first)
            if batch.settled or attempt.touched:
                attempt.settlement = await settle(connection, batch.settled, attempt.touched, batch_no)
                attempt.times.update(self._distinct_times((*attempt.settlement.voided, *attempt.settlement.revived)))
            await candles.mark(connection, attempt.times, self._newest)
            attempt.written = _written(attempt, has_row=bool(batch.facts or batch.settled))
            await write_commits(connection, batch, still_long=attempt.still_long)
            for hole in (*_late_holes(batch, attempt), *attempt.settlement.holes):
                await insert_hole(connection, hole)
            if batch.is_noted:
                await self._write_batch(connection, batch, attempt)
            if batch_no % TRIM_EVERY == 0:
                await trim(connection, batch_no)
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
        markets = [market(trade) for _, trade in attempt.trades]
        shown_by = {told: at for told, (at, _) in zip(markets, attempt.trades, strict=True)}
        unknown = {told: at for told, at in shown_by.items() if self._markets.get(told) is None}
        world = await self._fold(connection, attempt, unknown.values())
        attempt.markets = {told: self._ids(told, world) for told in shown_by}
        if unknown:
            await write_sightings(connection, ((attempt.markets[told][1], told) for told in unknown))
        if look_first or found.suspects:
            rows = dict(self._rows(attempt, markets))
            fresh, upgraded = await self._write_looking(connection, attempt, rows, look_first=look_first)
        else:
            rows, upgraded, attempt.noted = {}, [], {}
            if found.trades:
                records = self._flow(attempt, attempt.noted, markets, rows)
                await connection.copy_records_to_table("transactions", records=records, columns=COLUMNS)
            fresh = list(rows.values())
            for at in rows:
                found.outcomes[at] = Outcome.NEW
        attempt.times = {row[TIME] for row in fresh}
        attempt.newest = max(attempt.times, default=None)
        attempt.times.update(row[TIME] for row in upgraded)
        world.reserves.trades(fresh)
        world.reserves.trades(upgraded)
        supplies = world.reserves.supplies()
        if supplies[0]:
            await connection.execute(sql.UPDATE_SUPPLIES, *supplies)
        reserves = world.reserves.columns()
        if reserves[0]:
            await connection.execute(sql.UPDATE_RESERVES, *reserves)
        await self._write_surplus(connection, attempt, [at for at, row in rows.items() if row[TAIL] is not None])

    async def _write_looking(
        self, connection: asyncpg.Connection, attempt: Attempt, rows: Mapping[int, Row], *, look_first: bool
    ) -> tuple[list[Row], list[Row]]:
        """Write rows of which some may be stored already; return those that were inserted and those upgraded."""
        found = attempt.sorted
        looked_for = list(rows) if look_first else [at for at in rows if at in found.suspects]
        stored = await self._stored(connection, [rows[at] for at in looked_for])
        attempt.collided = look_first and bool(stored)
        fresh, upgraded = self._split(attempt, rows, stored)
        if attempt.replaced:
            await connection.execute(sql.DELETE_TRADES, *_transposed(attempt.replaced, range(_KEY_WIDTH)))
        if fresh:
            await connection.copy_records_to_table("transactions", records=fresh, columns=COLUMNS)
        if upgraded:
            await connection.execute(sql.UPDATE_TRADES, *_transposed(upgraded, _UPGRADED))
        return fresh, upgraded

    def _ids(self, told: Market, world: World) -> Ids:
        known = self._markets.get(told)
        if known is not None:
            return known
        pool, mint, quote, *_ = told
        return (world.token(mint).id, world.pools[pool].id, world.mint(quote).id)

    async def _fold(self, connection: asyncpg.Connection, attempt: Attempt, sightings: Iterable[int]) -> World:
        """Apply everything but the trades' reserves to mints, tokens and pools, and write these back."""
        found = attempt.sorted
        cold = cold_facts(found)
        shown = [trade for at in sightings if isinstance(trade := found.facts[at], Trade)]
        if not cold and not shown:
            return World()
        facts = (*cold.items(), *attempt.trades)
        unnumbered = {at: fact for at, fact in facts if fact.arrival is None and fact.index is None}
        for at in sorted(unnumbered):
            self._order(unnumbered[at])  # numbers are given by arrival, whatever is looked at first
        copies = {at: Copy(fact, self._time(fact), self._order(fact)) for at, fact in cold.items()}
        stored = await stored_changes(connection, {copy.key for copy in copies.values()}) if copies else {}
        for at in stale(copies, stored):
            found.outcomes[at] = Outcome.OTHER if isinstance(found.facts[at], Other) else Outcome.DUPLICATE
            found.landings.add((found.facts[at].signature, found.facts[at].slot))
            del copies[at]
        world = await load(connection, (*(copy.fact for copy in copies.values()), *shown))
        for at, copy in copies.items():
            found.outcomes[at] = fold(world, copy.fact, copy.at, copy.order)
        for trade in shown:
            fold(world, trade, self._time(trade), 0)
        link(world)
        await save(connection, world)
        kept = keep(copies, stored, world)
        await write_changes(connection, kept.changes, attempt.batch_no)
        attempt.landed_in |= {change.slot for change in kept.landed}
        for change in kept.confirmed:
            attempt.touched.owners(change.token_id, change.pool_id, change.slot)
        for change in kept.moved:
            found.landings.add((change.key[0], change.slot))
            attempt.touched.owners(change.token_id, change.pool_id, change.slot)
        return world

    def _rows(self, attempt: Attempt, markets: Sequence[Market]) -> Iterator[tuple[int, Row]]:
        """Yield the rows of the trades, which are of these markets, with their places."""
        ids, batch_no, get_time, order_of = attempt.markets, attempt.batch_no, self._times.get, self._order
        for (at, trade), told in zip(attempt.trades, markets, strict=True):
            block_time = get_time(trade.block_time)
            if block_time is None:
                raise ValueError(f"sorted as storable without a time: {trade}")
            yield at, trade_row(trade, block_time, order_of(trade), ids[told], batch_no)

    async def _flow(
        self, attempt: Attempt, noted: dict[Identity, int], markets: Sequence[Market], rows: dict[int, Row]
    ) -> AsyncIterator[Row]:
        """
        Yield rows as they are made, and note them: the server stores what it got while the next ones are made.

        asyncpg sends half a megabyte at once; what the socket does not take of it goes out when the loop has its turn.
        """
        made = zip(self._rows(attempt, markets), attempt.sorted.trades, attempt.trades, strict=True)
        for count, ((at, row), key, (_, trade)) in enumerate(made, 1):
            rows[at] = row
            noted[key] = noted_of(trade)
            yield row
            if count % _ROWS_A_TURN == 0:
                await asyncio.sleep(0)

    async def _stored(self, connection: asyncpg.Connection, rows: Sequence[Row]) -> dict[Row, Row]:
        """Return the rows that are in the table already, by their key; after the columns stands whether it is void."""
        if not rows:
            return {}
        stored = await connection.fetch(sql.SELECT_TRADES, *_transposed(rows, range(_KEY_WIDTH)))
        return {tuple(row)[:_KEY_WIDTH]: tuple(row) for row in stored}

    def _split(
        self, attempt: Attempt, rows: Mapping[int, Row], stored: Mapping[Row, Row]
    ) -> tuple[list[Row], list[Row]]:
        """Return the rows to insert and those to upgrade, and note the outcomes."""
        fresh: list[Row] = []
        upgraded: list[Row] = []
        found = attempt.sorted
        for at, row in rows.items():
            known = stored.get(row[:_KEY_WIDTH]) if stored else None
            if known is None:
                fresh.append(row)
                found.outcomes[at] = Outcome.NEW
                continue
            fact = found.facts[at]
            if not isinstance(fact, Trade):
                continue
            old, is_void = known[:-1], known[-1]
            if row[SLOT] != old[SLOT] and not is_void:
                found.landings.add((fact.signature, old[SLOT] if fact.final else min(row[SLOT], old[SLOT])))
            better = row if is_void else upgrade(old, row, is_whole=fact.record is not None, is_final=fact.final)
            if better is row:
                attempt.replaced.append(row)
                fresh.append(row)
            elif better is not None:
                upgraded.append((*better[: AT["batch_no"]], attempt.batch_no, *better[AT["batch_no"] + 1 :]))
            if is_void:
                found.outcomes[at] = Outcome.NEW
            elif better is None:
                found.facts[at] = with_row(fact, old)
            else:
                found.outcomes[at] = Outcome.UPGRADED
                attempt.old[at] = with_row(fact, old)
                found.facts[at] = with_row(fact, better)
                if better is row:
                    _note_replaced(attempt, old, row, is_final=fact.final)
        return fresh, upgraded

    async def _write_surplus(self, connection: asyncpg.Connection, attempt: Attempt, tailed: Sequence[int]) -> None:
        """Keep what could not be read, whole events and what is after those that were: of trades those at `tailed`."""
        found = attempt.sorted
        tails = tail_rows(found, tailed, self._times)
        if tails:
            answers = await connection.fetch(sql.INSERT_TAILS, *zip(*tails, strict=True))
            attempt.still_long = {row[0] for row in answers}
        if found.faults:
            tokens = await _token_ids(connection, refused_mints(found))
            rows, places = fault_rows(found, self._times, attempt.batch_no, tokens)
            answers = await connection.fetch(sql.INSERT_FAULTS, *zip(*rows, strict=True))
            if tokens:
                await connection.execute(sql.TELL_REFUSED, list(tokens.values()))
            attempt.new_faults = {places[tuple(key)] for *key, _, is_new in answers if is_new}
            for *key, slot, is_new in answers:
                told = found.faults[places[tuple(key)]][1]
                if is_new:
                    attempt.landed_in.add(min(told.slot, _SLOT_MAX))
                if told.slot != slot:
                    found.landings.add((key[0], min(told.slot, _SLOT_MAX)))
        if found.landings:
            await connection.execute(sql.INSERT_LANDINGS, *zip(*found.landings, strict=True))

    async def _write_batch(self, connection: asyncpg.Connection, batch: Batch, attempt: Attempt) -> None:
        written = attempt.written
        times = self._distinct_times(batch.facts)
        schema = await connection.fetchval(
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
        if None not in (schema, self._schema) and schema != self._schema:
            raise SchemaMismatch(
                f"somebody brought the database's schema from step {self._schema} to {schema} while we wrote to it",
                mend="start the launch-monitor that was installed with it",
            )

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
            self.newest_batch_no = self._batch_numbers[0]
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


async def _token_ids(connection: asyncpg.Connection, mints: Sequence[str]) -> dict[str, int]:
    """Return the ids of tokens; those that are not there are made, of which nothing is known but the mint."""
    if not mints:
        return {}
    await connection.execute(sql.MAKE_MINTS, mints)
    await connection.execute(sql.MAKE_TOKENS, mints)
    return {row[0]: row[1] for row in await connection.fetch(sql.IDS_OF_TOKENS, mints)}


def _transposed(rows: Sequence[Row], places: Iterable[int]) -> list[list[Any]]:
    return [[row[place] for row in rows] for place in places]


def _note_replaced(attempt: Attempt, old: Row, row: Row, *, is_final: bool) -> None:
    """Note whose reserves were told by a row that is replaced as a whole, and whose are told by the new one."""
    if not is_final:
        attempt.landed_in.add(row[SLOT])
    for known in (old, row):
        attempt.touched.trade(known[TOKEN_ID], known[POOL_ID], old[SLOT])
    attempt.touched.slots.add(slot_of(old[ORDER]))


def _late_holes(batch: Batch, attempt: Attempt) -> Iterator[Hole]:
    """Yield a hole for each slot that was final when something new was told of it."""
    slots = (attempt.landed_in | {fact.slot for fact in attempt.written.new}) & batch.late if batch.late else ()
    for slot in sorted(slots):
        yield Hole(first_slot=slot, last_slot=slot, reason=TOLD_AFTER_FINAL)


def _written(attempt: Attempt, *, has_row: bool) -> Written:
    """Say what became of each fact."""
    found, settlement = attempt.sorted, attempt.settlement
    written = Written(attempt.batch_no if has_row else None, voided=settlement.voided, revived=settlement.revived)
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
