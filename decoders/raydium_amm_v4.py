"""Raydium AMM v4: the pools to which LaunchLab and the first Pump.fun curves graduated, and all the others there."""

from __future__ import annotations

from typing import TYPE_CHECKING

from decoders.core.base58 import encode
from decoders.core.errors import LayoutError
from decoders.core.pad import build, check_amounts, facts_common, mark, stands_flipped
from decoders.core.types import PoolCreated, PoolInfo, Trade

if TYPE_CHECKING:
    from collections.abc import Iterator

    from decoders.core.layout import Idl, Layout
    from decoders.core.pad import Pad, Say, Site
    from decoders.core.types import Fact, Need, Record

NAME = "raydium_amm_v4"
PC_IN, COIN_IN = 1, 2
FEE_BPS = 25  # of what goes in, rounded up; the log does not carry it
AMM_INFO_BYTES, COIN_MINT_AT, PC_MINT_AT = 752, 400, 432


def pad(idl: Idl) -> Pad:
    """Return the rules of AMM v4."""
    return build(
        NAME,
        idl,
        platform=None,
        events={
            "InitLog": ("market", _created(idl.events["InitLog"], len(idl.instructions["initialize2"].accounts))),
            "SwapBaseInLog": ("out_amount", _swap(idl.events["SwapBaseInLog"], "amount_in", "out_amount")),
            "SwapBaseOutLog": ("deduct_in", _swap(idl.events["SwapBaseOutLog"], "deduct_in", "amount_out")),
        },
        signatures_only=True,
        lines_only=True,
        ray_log=True,
        sized_accounts={AMM_INFO_BYTES: _account},
    )


def _describe(address: str, coin_mint: str, pc_mint: str) -> PoolInfo:
    """Return what a pool's mints say: coin is its base and pc its quote."""
    flipped = stands_flipped(coin_mint, pc_mint)
    mint, quote_mint = (pc_mint, coin_mint) if flipped else (coin_mint, pc_mint)
    return PoolInfo(address=address, venue=NAME, mint=mint, quote_mint=quote_mint, flipped=flipped)


def _swap(layout: Layout, paid_field: str, received_field: str) -> Say:
    pick = layout.pick("direction", "pool_coin", "pool_pc", paid_field, received_field)

    def say(site: Site, record: Record) -> Iterator[Fact | Need]:
        """A swap. Its log names no pool: pool and trader are the second and the last account of the instruction."""
        direction, coin, pc, paid, received = pick(record.values)
        if direction not in (PC_IN, COIN_IN):
            raise LayoutError(f"{layout.name}: unknown direction {direction}")
        accounts = site.emitter.accounts if site.emitter else ()
        if len(accounts) < 2:
            yield site.need("accounts")
            return
        pool, trader = accounts[1], accounts[-1]
        info = site.pools.get(pool)
        if info is None:
            yield site.need("pool", pool)
        fee = -(-paid * FEE_BPS // 10_000)
        is_buy = direction == PC_IN
        sign = 1 if is_buy else -1
        base, quote = (received, paid) if is_buy else (paid, received)
        base_after, quote_after = coin - sign * base, pc + sign * quote
        if info and info.flipped:
            base, quote, base_after, quote_after, is_buy = quote, base, quote_after, base_after, not is_buy
        check_amounts(base, quote, base_after, quote_after)
        mark_base, mark_quote = mark(base_after, quote_after)
        yield Trade(
            **facts_common(site, record, None),
            platform=info.platform if info else None,
            mint=info.mint if info else None,
            pool=pool,
            trader=trader,
            side="buy" if is_buy else "sell",
            base_amount=base if is_buy else base - fee,
            quote_amount=quote - fee if is_buy else quote,
            user_quote_amount=quote,
            quote_mint=info.quote_mint if info else None,
            mark_base=mark_base,
            mark_quote=mark_quote,
            real_base=base_after,
            real_quote=quote_after,
            lp_fee=fee if is_buy else None,  # of a sell it is taken in the token
            flipped=info.flipped if info else False,
            decimals=site.decimals(info.mint) if info else None,
            quote_decimals=site.decimals(info.quote_mint) if info else None,
        )

    return say


def _created(layout: Layout, accounts_of_initialize2: int) -> Say:
    pick = layout.pick("pc_decimals", "coin_decimals", "pc_amount", "coin_amount")

    def say(site: Site, record: Record) -> Iterator[Fact | Need]:
        quote_decimals, decimals, quote, base = pick(record.values)
        check_amounts(base, quote)
        accounts = site.emitter.accounts if site.emitter else ()
        if len(accounts) < accounts_of_initialize2:
            yield site.need("accounts")
            return
        info = _describe(accounts[4], accounts[8], accounts[9])
        if info.flipped:
            base, quote, decimals, quote_decimals = quote, base, quote_decimals, decimals
        yield PoolCreated(
            **facts_common(site, record, None),
            mint=info.mint,
            pool=info.address,
            quote_mint=info.quote_mint,
            creator=accounts[17],
            base_amount=base,
            quote_amount=quote,
            decimals=decimals,
            quote_decimals=quote_decimals,
            flipped=info.flipped,
        )

    return say


def _account(address: str, data: bytes) -> PoolInfo | None:
    """Read an AmmInfo, which has no discriminator."""
    coin_mint, pc_mint = data[COIN_MINT_AT : COIN_MINT_AT + 32], data[PC_MINT_AT : PC_MINT_AT + 32]
    return _describe(address, encode(coin_mint), encode(pc_mint)) if any(coin_mint) and any(pc_mint) else None
