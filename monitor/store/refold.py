"""Tokens and pools made again from what stands, as if the rest had never come."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, TypeVar

import msgspec

from monitor.store import reserves, sql
from monitor.store.changes import sighting, to_fact
from monitor.store.fold import fold, link
from monitor.store.order import slot_of
from monitor.store.recorded import changes_of
from monitor.store.rows import POOL_ID
from monitor.store.states import MintState, PoolState, TokenState, columns, latest
from monitor.store.worlds import load, save

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    import asyncpg

    from monitor.store.fold import ColdFact, World
    from monitor.store.rows import Row

S = TypeVar("S", "MintState", "TokenState", "PoolState")

_FAMILIES = """
SELECT ARRAY(SELECT token_id FROM pools WHERE id = ANY($2) AND token_id IS NOT NULL UNION SELECT unnest($1::bigint[]))
"""
_POOLS = "SELECT * FROM pools WHERE id = ANY($2) OR token_id = ANY($1)"
_TOKENS = "SELECT id, mint, supply, supply_order FROM tokens WHERE id = ANY($1)"
_MINTS = """
SELECT id, address, decimals, EXISTS (SELECT FROM pools p WHERE p.quote_id = m.id) AS is_quote
  FROM mints m WHERE id = ANY($1)
"""
_SNAPSHOTS = """
SELECT kind, id, data FROM snapshots
 WHERE (kind = 'mint' AND id = ANY($1)) OR (kind = 'token' AND id = ANY($1)) OR (kind = 'pool' AND id = ANY($2))
"""
_TRADED = """
SELECT u.pool_id FROM unnest($1::bigint[], $2::bigint[]) AS u(pool_id, token_id)
 WHERE EXISTS (
    SELECT FROM transactions t WHERE t.token_id = u.token_id AND t.pool_id = u.pool_id AND t.voided_at IS NULL)
"""
# Trades that were dropped stand for good.
_TRADED_BEFORE = """
SELECT id FROM snapshots WHERE kind = 'pool' AND id = ANY($1) AND (data ->> 'last_trade_order')::bigint >= 0
"""
_SIGHTINGS = "SELECT said FROM sightings WHERE pool_id = ANY($1)"
_OF_POOL = "t.pool_id = u.id"
_OF_POOL_ITSELF = f"{_OF_POOL} AND NOT t.synthetic"
_LATEST = """
SELECT u.id, t.chain_order, t.{first} AS first, t.{second} AS second
  FROM unnest($1::bigint[], $2::bigint[]) AS u(id, token_id)
 CROSS JOIN LATERAL (
    SELECT * FROM transactions t
     WHERE t.token_id = u.token_id AND {mine} AND t.voided_at IS NULL
       AND t.{first} IS NOT NULL AND t.{second} IS NOT NULL
     ORDER BY t.block_time DESC, t.chain_order DESC LIMIT 1) t
"""
_GROUPS = (
    ("mark_order", "mark_base", "mark_quote"),
    ("real_base_order", "real_base", None),
    ("real_quote_order", "real_quote", None),
    ("curve_order", "curve_sold", "curve_total"),
    ("virtual_quote_order", "virtual_quote", None),
    ("last_trade_order", "last_trade_at", None),
)
"""Order and members of each group of reserves, by its number."""
_NEVER = -1
"""Slot of a group of reserves that was not told yet."""
_NO_TIME = datetime.fromtimestamp(0, UTC)
_IN_TRADES = {"last_trade_at": "block_time"}


@dataclass(slots=True)
class Touched:
    """Of what facts spoke that vanished, came back or moved: tokens, pools with their tokens, and their slots."""

    tokens: set[int] = field(default_factory=set)
    pools: dict[int, int | None] = field(default_factory=dict)
    slots: set[int] = field(default_factory=set)

    def __bool__(self) -> bool:
        """Tell whether there is anything to be done."""
        return bool(self.tokens or self.pools)

    def trade(self, token_id: int, pool_id: int, slot: int) -> None:
        """Note a trade that was in this slot."""
        self.tokens.add(token_id)
        self.pools[pool_id] = token_id
        self.slots.add(slot)

    def owners(self, token_id: int | None, pool_id: int | None, slot: int) -> None:
        """Note another fact that was in this slot."""
        if token_id is not None:
            self.tokens.add(token_id)
        if pool_id is not None:
            self.pools.setdefault(pool_id, token_id)
        self.slots.add(slot)


async def refold(connection: asyncpg.Connection, touched: Touched, revived: Sequence[Row] = ()) -> None:
    """
    Make tokens and pools again, with all that belongs to them.

    Reserves and supplies that were told in other slots than those touched stand; for the rest the latest fact that
    stands is looked for, which is cheap for it is not far back.

    Args:
        connection: With a transaction open; what vanished is void already.
        touched: Of whom.
        revived: Trades that stand again.
    """
    token_ids = await connection.fetchval(_FAMILIES, list(touched.tokens), list(touched.pools))
    pools = await connection.fetch(_POOLS, token_ids, list(touched.pools))
    of_token = {row["id"]: touched.pools.get(row["id"]) or row["token_id"] for row in pools}
    changes = await changes_of(connection, token_ids, of_token)
    facts = [(to_fact(change), change.key[-1], change.order) for change in changes]
    said = await _sightings(connection, pools, of_token, touched.slots, revived)
    world = await load(connection, (*(fact for fact, _, _ in facts), *said))
    supplies = await _begin_again(connection, world, token_ids, pools, touched.slots)
    for fact, at, order in facts:
        fold(world, fact, at, order)
    for trade in said:
        fold(world, trade, _NO_TIME, 0)
    link(world)
    for pool in pools:
        _keep_reserves(world, pool, touched.slots)
    world.reserves.trades(revived)
    await _look_for_reserves(connection, world, pools, of_token, touched.slots)
    await _tell_supplies(connection, world, supplies, touched.slots)
    await save(connection, world)
    await _save_reserves(connection, world, list(of_token))


async def _sightings(
    connection: asyncpg.Connection,
    pools: Sequence[asyncpg.Record],
    of_token: Mapping[int, int | None],
    left: set[int],
    revived: Sequence[Row],
) -> list[ColdFact]:
    """Return what trades said of pools that still have one."""
    traded = {row[POOL_ID] for row in revived}
    traded |= {row["id"] for row in pools if slot_of(row["last_trade_order"]) not in (left | {_NEVER})}
    in_doubt = [row["id"] for row in pools if slot_of(row["last_trade_order"]) in left]
    asked = [(pool_id, token_id) for pool_id in in_doubt if (token_id := of_token[pool_id]) is not None]
    if asked:
        traded |= {row[0] for row in await connection.fetch(_TRADED, *zip(*asked, strict=True))}
        traded |= {row[0] for row in await connection.fetch(_TRADED_BEFORE, in_doubt)}
    return [sighting(tuple(msgspec.json.decode(row[0]))) for row in await connection.fetch(_SIGHTINGS, list(traded))]


async def _begin_again(
    connection: asyncpg.Connection,
    world: World,
    token_ids: Sequence[int],
    pools: Sequence[asyncpg.Record],
    left: set[int],
) -> list[asyncpg.Record]:
    """Put rows that know nothing yet (or what they did before changes were kept) into the world; return the tokens'."""
    rows = await connection.fetch(_SNAPSHOTS, token_ids, [row["id"] for row in pools])
    before = {(row["kind"], row["id"]): msgspec.json.decode(row["data"]) for row in rows}
    for row in pools:
        state = PoolState(row["id"], row["address"], row["venue"])
        snapshot = before.get(("pool", row["id"]))
        world.pools[row["address"]] = _as_before(state, snapshot)
        if snapshot is not None:
            _keep_reserves(world, _parsed(snapshot), left)
    tokens = await connection.fetch(_TOKENS, token_ids)
    for row in tokens:
        world.tokens[row["mint"]] = _as_before(TokenState(row["id"], row["mint"]), before.get(("token", row["id"])))
    for row in await connection.fetch(_MINTS, token_ids):
        # Of a mint that is a quote somewhere, its decimals are told by facts that are not looked at here.
        state_of_mint = MintState(row["id"], row["address"], decimals=row["decimals"] if row["is_quote"] else None)
        world.mints[row["address"]] = _as_before(state_of_mint, before.get(("mint", row["id"])))
    return list(tokens)


def _as_before(state: S, members: Mapping[str, Any] | None) -> S:
    for name, value in _parsed(members or {}).items():
        if name in columns(type(state)):
            setattr(state, name, value)
    state.changed = True
    return state


def _parsed(snapshot: Mapping[str, Any]) -> dict[str, Any]:
    """Return a row from JSON."""
    return {name: datetime.fromisoformat(value) if name.endswith("_at") else value for name, value in snapshot.items()}


def _keep_reserves(world: World, pool: Mapping[str, Any], left: set[int]) -> None:
    """Offer what a pool's row says of reserves, but what was told in a slot that was left."""
    for group, (order, first, second) in enumerate(_GROUPS):
        at = pool.get(order, -1)
        if slot_of(at) not in left:
            world.reserves.offer(group, pool["id"], at, pool.get(first), 0 if second is None else pool.get(second))


async def _look_for_reserves(
    connection: asyncpg.Connection,
    world: World,
    pools: Sequence[asyncpg.Record],
    of_token: Mapping[int, int | None],
    left: set[int],
) -> None:
    """Offer what the latest trades that stand told, for groups that were told in a slot that was left."""
    for group, (order, first, second) in enumerate(_GROUPS):
        asked = [(row["id"], of_token[row["id"]]) for row in pools if slot_of(row[order]) in left]
        if not asked or group == reserves.VIRTUAL:  # no trade tells that one
            continue
        name = _IN_TRADES.get(first, first)
        mine = _OF_POOL if first == "last_trade_at" else _OF_POOL_ITSELF
        statement = _LATEST.format(first=name, second=second or name, mine=mine)
        for pool_id, at, value, other in await connection.fetch(statement, *zip(*asked, strict=True)):
            world.reserves.offer(group, pool_id, at, value, 0 if second is None else other)


async def _tell_supplies(
    connection: asyncpg.Connection, world: World, tokens: Iterable[asyncpg.Record], left: set[int]
) -> None:
    doubted = []
    by_id = {token.id: token for token in world.tokens.values()}
    for row in tokens:
        if row["supply_order"] is None:
            continue
        if slot_of(row["supply_order"]) in left:
            doubted.append(row["id"])
        else:
            latest(by_id[row["id"]], "supply", row["supply"], row["supply_order"])
    statement = _LATEST.format(first="supply", second="supply", mine="TRUE")
    found = await connection.fetch(statement, doubted, doubted) if doubted else []
    told = [(row["id"], row["chain_order"], row["first"]) for row in found]
    for token_id, order, supply in (*told, *zip(*world.reserves.supplies(), strict=True)):
        if token_id in by_id:
            latest(by_id[token_id], "supply", supply, order)


async def _save_reserves(connection: asyncpg.Connection, world: World, pool_ids: Sequence[int]) -> None:
    await connection.execute(sql.FORGET_RESERVES, pool_ids)
    told = world.reserves.columns()
    if told[0]:
        await connection.execute(sql.UPDATE_RESERVES, *told)
