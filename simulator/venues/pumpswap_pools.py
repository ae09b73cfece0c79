"""How PumpSwap pools come to be: migration from a completed curve, with its boost; and the sweep of kept fees."""

from __future__ import annotations

from math import isqrt
from typing import TYPE_CHECKING, Any

from simulator import curves, keys
from simulator.bank import Mint
from simulator.calls import WRITABLE
from simulator.ledger import Graduation, PoolOpened, money
from simulator.venues import pumpfun
from simulator.venues.pumpswap import BOOST_BPS, MINIMUM_LIQUIDITY, VENUE, Pool

if TYPE_CHECKING:
    from simulator.calls import Call
    from simulator.draft import Draft, Parts
    from simulator.venues.pumpfun import Curve


def migrate(draft: Draft, parts: Parts, curve: Curve, keeper: bytes) -> Pool:
    """Move a completed curve's liquidity to its pool: CreatePool, InitBoost (SOL pools), then pump's own event."""
    world, pump = draft.world, draft.world.pumpfun
    base = pumpfun.SEED - curve.post_base_out
    quote = curve.real_quote - pumpfun.migration_fee(curve) + curve.post_quote_in
    mint_of_quote = money(curve.quote)
    authority = keys.pda(pump.key, b"pool-authority", curve.mint)
    index = (0).to_bytes(2, "little")
    address, bump = keys.pda_bump(world.pumpswap.key, b"pool", index, authority, curve.mint, mint_of_quote)
    lp_mint = keys.pda(world.pumpswap.key, b"pool_lp_mint", address)
    world.bank.mints.setdefault(lp_mint, Mint(9, keys.TOKEN_2022, 0))
    pool = Pool(
        curve.mint, address, mint_of_quote, authority, curve.creator, world.ata(address, curve.mint),
        world.ata(address, mint_of_quote), lp_mint, keys.pda(world.pumpswap.key, b"boost_vault", address),
        curve.mayhem, curve.cashback, curve.holder_reward, base, quote, isqrt(base * quote),
    )  # fmt: skip
    call = _migrate_call(draft, curve, pool, keeper)
    parts.append(call)
    draft.save(curve)
    curve.migrated = True
    if curve.is_sol:
        world.bank.pay(curve.address, keys.WITHDRAW_AUTHORITY, pumpfun.MIGRATION_FEE)
    authority_base = draft.account(call.parts, authority, curve.mint)
    authority_quote = draft.account(call.parts, authority, mint_of_quote)
    draft.move(call.parts, curve.vault, authority_base, curve.address, base)
    if curve.is_sol:
        world.bank.wrap(curve.address, authority_quote, quote)
    else:
        draft.move(call.parts, curve.quote_vault, authority_quote, curve.address, quote)
    said = _create_pool(draft, call, pool, bump, (authority_base, authority_quote), (base, quote))
    draft.record(PoolOpened(
        said=said, mint=pool.mint, pool=address, quote_mint=mint_of_quote, creator=authority, base_amount=base,
        quote_amount=quote,
    ))  # fmt: skip
    if curve.is_sol:
        _init_boost(draft, call, curve, pool)
    said = draft.emit(call, pump, pumpfun.VENUE, "CompletePumpAmmMigrationEvent", {
        "user": keeper, "mint": curve.mint, "mint_amount": base, "sol_amount": quote,
        "pool_migration_fee": pumpfun.migration_fee(curve), "bonding_curve": curve.address, "timestamp": draft.now,
        "pool": address, "quote_mint": curve.quote,
    })  # fmt: skip
    draft.record(Graduation(
        said=said, mint=pool.mint, pool=curve.address, to_pool=address, to_venue=VENUE, quote_mint=mint_of_quote,
        base_amount=base, quote_amount=quote,
    ))  # fmt: skip
    draft.opened(pool)
    return pool


def _migrate_call(draft: Draft, curve: Curve, pool: Pool, keeper: bytes) -> Call:
    world = draft.world
    authority, vault = pool.creator, world.ata(pool.boost_authority, pool.quote)
    accounts = {
        "mint": curve.mint, "base_mint": curve.mint, "quote_mint": pool.quote, "bonding_curve": curve.address,
        "associated_bonding_curve": curve.vault, "associated_base_bonding_curve": curve.vault,
        "associated_quote_bonding_curve": world.ata(curve.address, pool.quote), "user": keeper, "pool": pool.address,
        "pool_authority": authority, "pool_authority_mint_account": world.ata(authority, curve.mint),
        "pool_authority_wsol_account": world.ata(authority, pool.quote),
        "pool_authority_quote_account": world.ata(authority, pool.quote), "lp_mint": pool.lp_mint,
        "user_pool_token_account": world.ata(authority, pool.lp_mint), "pool_base_token_account": pool.base_vault,
        "pool_quote_token_account": pool.quote_vault, "base_token_program": world.token_program(curve.mint),
        "quote_token_program": keys.TOKEN, "token_program": world.token_program(curve.mint),
    }  # fmt: skip
    rest = [(pool.boost_authority, 0), (vault, WRITABLE)]
    return world.pumpfun.call("migrate" if curve.is_sol else "migrate_v2", accounts, {}, rest)


def _create_pool(
    draft: Draft, outer: Call, pool: Pool, bump: int, givers: tuple[bytes, bytes], seed: tuple[int, int]
) -> Any:
    world = draft.world
    base, quote = seed
    call = world.pumpswap.call(
        "create_pool",
        {
            "pool": pool.address, "creator": pool.creator, "base_mint": pool.mint, "quote_mint": pool.quote,
            "lp_mint": pool.lp_mint, "user_base_token_account": givers[0], "user_quote_token_account": givers[1],
            "user_pool_token_account": world.ata(pool.creator, pool.lp_mint),
            "pool_base_token_account": pool.base_vault, "pool_quote_token_account": pool.quote_vault,
            "base_token_program": world.token_program(pool.mint), "quote_token_program": keys.TOKEN,
        },
        {
            "base_amount_in": base, "quote_amount_in": quote, "coin_creator": pool.coin_creator,
            "is_mayhem_mode": pool.mayhem, "is_cashback_coin": (pool.cashback,),
            "is_holder_reward": (pool.holder_reward,),
        },
    )  # fmt: skip
    outer.parts.append(call)
    draft.account(call.parts, pool.address, pool.mint)
    draft.account(call.parts, pool.address, pool.quote)
    draft.move(call.parts, givers[0], pool.base_vault, pool.creator, base)
    draft.move(call.parts, givers[1], pool.quote_vault, pool.creator, quote)
    return draft.emit(call, world.pumpswap, VENUE, "CreatePoolEvent", {
        "timestamp": draft.now, "creator": pool.creator, "base_mint": pool.mint, "quote_mint": pool.quote,
        "base_mint_decimals": world.bank.mints[pool.mint].decimals,
        "quote_mint_decimals": world.bank.mints[pool.quote].decimals, "base_amount_in": base,
        "quote_amount_in": quote, "pool_base_amount": base, "pool_quote_amount": quote,
        "minimum_liquidity": MINIMUM_LIQUIDITY, "initial_liquidity": pool.lp_supply,
        "lp_token_amount_out": pool.lp_supply - MINIMUM_LIQUIDITY, "pool_bump": bump, "pool": pool.address,
        "lp_mint": pool.lp_mint, "user_base_token_account": givers[0], "user_quote_token_account": givers[1],
        "coin_creator": pool.coin_creator, "is_mayhem_mode": pool.mayhem, "is_holder_reward": pool.holder_reward,
    })  # fmt: skip


def _init_boost(draft: Draft, outer: Call, curve: Curve, pool: Pool) -> None:
    """Move a part of the seed to the boost vault, and count it as virtual quote instead."""
    world = draft.world
    boost = pool.quote_amount * BOOST_BPS // curves.BPS
    call = world.pumpswap.call(
        "init_boost",
        {
            "pool": pool.address, "creator": pool.creator, "base_mint": pool.mint, "quote_mint": pool.quote,
            "pool_base_token_account": pool.base_vault, "pool_quote_token_account": pool.quote_vault,
            "boost_vault_authority": pool.boost_authority,
            "boost_vault": world.ata(pool.boost_authority, pool.quote), "quote_token_program": keys.TOKEN,
        },
        {},
    )  # fmt: skip
    outer.parts.append(call)
    vault = draft.account(call.parts, pool.boost_authority, pool.quote)
    draft.move(call.parts, pool.quote_vault, vault, pool.address, boost)
    pool.quote_amount -= boost
    pool.virtual_quote = pool.boost_left = boost
    draft.emit(call, world.pumpswap, VENUE, "InitBoostEvent", {
        "timestamp": draft.now, "mint": pool.mint, "bonding_curve": curve.address, "pool": pool.address,
        "virtual_quote_reserves": pool.virtual_quote, "real_quote_reserves_after": pool.quote_amount,
    })  # fmt: skip


def sweep(draft: Draft, parts: Parts, pool: Pool, payer: bytes, *, creator: bool) -> None:
    """Pay out fees that v2 trades kept in the vault; the virtual quote rises by as much."""
    world = draft.world
    amount = pool.unclaimed_creator if creator else pool.unclaimed_protocol
    recipient = world.pda(world.pumpswap.key, b"creator_vault", pool.coin_creator) if creator else world.fees.protocol
    call = world.pumpswap.call(
        "sweep_creator_fee" if creator else "sweep_protocol_fee",
        {
            "payer": payer, "pool": pool.address, "quote_mint": pool.quote, "quote_token_program": keys.TOKEN,
            "pool_quote_token_account": pool.quote_vault, "recipient": recipient,
            "recipient_token_account": world.ata(recipient, pool.quote),
        },
        {},
    )  # fmt: skip
    parts.append(call)
    draft.save(pool)
    draft.move(call.parts, pool.quote_vault, draft.account(call.parts, recipient, pool.quote), pool.address, amount)
    pool.quote_amount -= amount
    pool.virtual_quote += amount
    pool.swept += amount
    if creator:
        pool.unclaimed_creator = 0
    else:
        pool.unclaimed_protocol = 0
    draft.emit(call, world.pumpswap, VENUE, "SweepPoolFeeEvent", {
        "timestamp": draft.now, "pool": pool.address, "base_mint": pool.mint, "quote_mint": pool.quote,
        "recipient": recipient, "payer": payer, "amount": amount, "bucket": 1 if creator else 0,
    })  # fmt: skip
