"""Raydium CPMM: the pools to which most LaunchLab curves graduate, and any other pool that people open there."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from decoders.core.base58 import encode
from decoders.core.errors import LayoutError
from decoders.core.pad import MONEY, build, check_amounts, facts_common, mark
from decoders.core.types import PoolCreated, PoolInfo, Trade

if TYPE_CHECKING:
    from collections.abc import Iterator

    from decoders.core.layout import Idl, Layout
    from decoders.core.pad import Pad, Say, Site
    from decoders.core.types import Fact, Need, Record

NAME = "raydium_cpmm"


def pad(idl: Idl) -> Pad:
    """Return the rules of CPMM."""
    return build(
        NAME,
        idl,
        platform=None,
        events={"SwapEvent": ("base_input", _swap(idl.events["SwapEvent"]))},
        instructions={name: _created(idl.instructions[name]) for name in ("initialize", "initialize_with_permission")},
        accounts={"PoolState": _account(idl.accounts["PoolState"])},
        signatures_only=True,
        lines_only=True,
    )


def _describe(address: str, one: str | None, other: str | None) -> PoolInfo | None:
    """
    Return what a pool's two mints say; None if they do not tell which is money.

    Its mints stand sorted by their bytes, so that their order means nothing and no pool stands flipped.
    """
    if one is None or other is None or (one in MONEY) == (other in MONEY):
        return None
    mint, quote_mint = (other, one) if one in MONEY else (one, other)
    return PoolInfo(address=address, venue=NAME, mint=mint, quote_mint=quote_mint)


def _swap(layout: Layout) -> Say:
    pick = layout.pick(
        "pool_id", "input_vault_before", "output_vault_before", "input_amount", "output_amount", "input_transfer_fee",
        "output_transfer_fee", "input_mint", "output_mint", "trade_fee", "creator_fee", "creator_fee_on_input",
    )  # fmt: skip

    def say(site: Site, record: Record) -> Iterator[Fact | Need]:
        """A swap; where nobody knows which side is the token it is told as a buy with mint None, which is partial."""
        (pool_key, vault_in, vault_out, paid, received, paid_tax, received_tax, in_key, out_key, trade_fee, creator_fee,
         fee_on_input) = pick(record.values)  # fmt: skip
        fee_in = (trade_fee or 0) + (creator_fee or 0 if fee_on_input else 0)
        fee_out = 0 if fee_on_input else creator_fee or 0
        amount_in, amount_out = paid - fee_in, received + fee_out
        # A part of the trade fee (16 % at the usual rates) leaves the reserves, but the event does not tell which.
        after_in, after_out = vault_in + paid - (fee_in - (trade_fee or 0)), vault_out - amount_out
        check_amounts(amount_in, amount_out, paid + paid_tax, received - received_tax, after_in, after_out)
        pool = encode(pool_key)
        mint_in = site.account("input_token_mint") if in_key is None else encode(in_key)
        mint_out = site.account("output_token_mint") if out_key is None else encode(out_key)
        info = site.pools.get(pool) or _describe(pool, mint_in, mint_out)
        trader = site.account("payer")
        if trader is None:
            yield site.need("accounts")
        elif info is None:
            yield site.need("pool", pool)
        is_buy = info is None or mint_in != info.mint
        base_after, quote_after = (after_out, after_in) if is_buy else (after_in, after_out)
        mark_base, mark_quote = mark(base_after, quote_after)
        yield Trade(
            **facts_common(site, record, None),
            platform=info.platform if info else None,
            mint=info.mint if info and mint_in else None,
            pool=pool,
            trader=trader,
            side="buy" if is_buy else "sell",
            base_amount=amount_out if is_buy else amount_in,
            quote_amount=amount_in if is_buy else amount_out,
            user_quote_amount=paid + paid_tax if is_buy else received - received_tax,
            quote_mint=info.quote_mint if info else None,
            mark_base=mark_base,
            mark_quote=mark_quote,
            real_base=base_after,
            real_quote=quote_after,
            # A fee that was taken in the launched token is none of the quote; the record still has it.
            lp_fee=trade_fee if is_buy else None,
            creator_fee=creator_fee if fee_on_input == is_buy else None,
            decimals=site.decimals(info.mint) if info else None,
            quote_decimals=site.decimals(info.quote_mint) if info else None,
        )

    return say


def _created(layout: Layout) -> Say:
    pick = layout.pick("init_amount_0", "init_amount_1")

    def say(site: Site, record: Record) -> Iterator[Fact | Need]:
        pool, creator, mint_0, mint_1 = (
            site.account(name) for name in ("pool_state", "creator", "token_0_mint", "token_1_mint")
        )
        amount_0, amount_1 = pick(record.values)
        check_amounts(amount_0, amount_1)
        if pool is None or mint_0 is None or mint_1 is None:
            raise LayoutError(f"{layout.name} has too few accounts")
        info = site.pools.get(pool) or _describe(pool, mint_0, mint_1)
        if info is None:
            yield site.need("pool", pool)
            return
        is_first = mint_0 == info.mint
        yield PoolCreated(
            **facts_common(site, record, None),
            platform=info.platform,
            mint=info.mint,
            pool=pool,
            quote_mint=info.quote_mint,
            creator=creator,
            base_amount=amount_0 if is_first else amount_1,
            quote_amount=amount_1 if is_first else amount_0,
            decimals=site.decimals(info.mint),
            quote_decimals=site.decimals(info.quote_mint),
        )

    return say


def _account(layout: Layout) -> Any:
    pick = layout.pick("token_0_mint", "token_1_mint")

    def read(address: str, record: Record) -> PoolInfo | None:
        """Read a pool; of two tokens that are both money, or both none, the first counts as the launched one."""
        key_0, key_1 = pick(record.values)
        if key_0 is None or key_1 is None:
            return None
        mint_0, mint_1 = encode(key_0), encode(key_1)
        return _describe(address, mint_0, mint_1) or PoolInfo(address, NAME, mint_0, mint_1)

    return read
