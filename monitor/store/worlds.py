"""The rows that facts speak of: read before these are applied, written back after."""

from __future__ import annotations

from typing import TYPE_CHECKING

from monitor.errors import SchemaMismatch
from monitor.store import sql
from monitor.store.fold import World, wanted
from monitor.store.states import MintState, PoolState, TokenState, columns

if TYPE_CHECKING:
    from collections.abc import Iterable

    import asyncpg

    from monitor.store.fold import ColdFact
    from monitor.store.states import State


async def load(connection: asyncpg.Connection, facts: Iterable[ColdFact]) -> World:
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


async def save(connection: asyncpg.Connection, world: World) -> None:
    """
    Write back what was changed, but the reserves.

    Raises:
        SchemaMismatch: If an id stands for something else by now, as after a restore that left the sequences behind.
    """
    tables: tuple[tuple[str, str, type[State], Iterable[State]], ...] = (
        ("mints", sql.UPSERT_MINTS, MintState, world.mints.values()),
        ("tokens", sql.UPSERT_TOKENS, TokenState, world.tokens.values()),
        ("pools", sql.UPSERT_POOLS, PoolState, world.pools.values()),
    )
    for table, statement, kind, states in tables:
        changed = [state for state in states if state.changed]
        if not changed:
            continue
        told = await connection.execute(
            statement, *([getattr(state, name) for state in changed] for name in columns(kind))
        )
        if int(told.rpartition(" ")[2]) != len(changed):
            raise SchemaMismatch(
                f"ids of {table} are given out twice: a sequence is behind its table",
                mend="set the sequences of mints.id and pools.id to their tables' greatest ids (setval)",
            )
