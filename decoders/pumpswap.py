"""PumpSwap: the pools to which Pump.fun curves graduate, and any other pool that people open there."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from decoders.core.base58 import encode
from decoders.core.pad import build, check_amounts, facts_common, mark, new_creators, quote_of, stands_flipped
from decoders.core.pda import derive
from decoders.core.types import Other, PoolCreated, PoolInfo, Trade

if TYPE_CHECKING:
    from collections.abc import Iterator

    from decoders.core.layout import Idl, Layout
    from decoders.core.pad import Pad, Say, Site
    from decoders.core.types import Fact, Need, Record

NAME = "pumpswap"
PUMPFUN = "6EF8rrecthR5Dkzon8Nwu78hRvfCKubJ14M5uBEwF6P"
PUMPFUN_DECIMALS = 6


def pad(idl: Idl) -> Pad:
    """Return the rules of PumpSwap."""
    events = idl.events
    creators = {
        "SetBondingCurveCoinCreatorEvent": "coin_creator",
        "SetMetaplexCoinCreatorEvent": "coin_creator",
        "AdminSetCoinCreatorEvent": "new_coin_creator",
        "MigratePoolCoinCreatorEvent": "new_coin_creator",
        "AdminCtoPoolEvent": "new_coin_creator",
    }
    return build(
        NAME,
        idl,
        platform=None,
        events={
            "BuyEvent": ("protocol_fee_recipient_token_account", _buy(events["BuyEvent"], idl.address)),
            "SellEvent": ("protocol_fee_recipient_token_account", _sell(events["SellEvent"], idl.address)),
            "CreatePoolEvent": ("user_quote_token_account", _created(events["CreatePoolEvent"], idl.address)),
            "InitBoostEvent": ("virtual_quote_reserves", _boost(events["InitBoostEvent"])),
            "BoostBuyAndBurnEvent": ("base_reserves_after", _burn(events["BoostBuyAndBurnEvent"])),
        }
        | new_creators(idl, None, "base_mint", "pool", creators),
        accounts={"Pool": _account(idl.accounts["Pool"], idl.address)},
    )


def canonical_pool(program: str, mint: str, quote_mint: str) -> str:
    """Return the pool to which Pump.fun's curve of a mint graduates: index 0, opened by the mint's pool authority."""
    authority = derive(PUMPFUN, b"pool-authority", mint)
    return derive(program, b"pool", b"\0\0", authority, mint, quote_mint)


def _describe(program: str, pool: str, base_mint: str, quote_mint: str) -> PoolInfo:
    flipped = stands_flipped(base_mint, quote_mint)
    canonical = not flipped and canonical_pool(program, base_mint, quote_mint) == pool
    return PoolInfo(
        address=pool,
        venue=NAME,
        mint=quote_mint if flipped else base_mint,
        quote_mint=base_mint if flipped else quote_mint,
        platform="pumpfun" if canonical else None,
        flipped=flipped,
        canonical=canonical,
    )


def _pool(site: Site, program: str, address: str) -> PoolInfo | None:
    """Return what is known of a pool: from the map, else from the accounts of the emitting instruction."""
    known = site.pools.get(address)
    if known is not None:
        return known
    base_mint, quote_mint = site.account("base_mint"), site.account("quote_mint")
    if base_mint is None or quote_mint is None:
        base_mint, quote_mint = _hop(site, address)
    if base_mint is None or quote_mint is None:
        return None
    return _describe(program, address, base_mint, quote_mint)


def _hop(site: Site, pool: str) -> tuple[str | None, str | None]:
    """
    Return the mints of one hop of `multi_hop_swap`.

    Its hops stand after the fixed accounts, five each: base mint, quote mint, pool, base vault, quote vault.
    """
    accounts = site.emitter.accounts if site.emitter else ()
    layout = site.instructions.get(site.emitter.data[:8]) if site.emitter else None
    if layout is None or layout.name != "multi_hop_swap":
        return None, None
    for at in range(len(layout.accounts), len(accounts) - 4, 5):
        if accounts[at + 2] == pool:
            return accounts[at], accounts[at + 1]
    return None, None


_FIELDS = (
    "timestamp", "pool_base_token_reserves", "pool_quote_token_reserves", "lp_fee", "protocol_fee", "pool", "user",
    "user_base_token_account", "coin_creator_fee", "cashback", "virtual_quote_reserves", "base_supply",
    "protocol_fee_recipient", "buyback_fee",
)  # fmt: skip


def _buy(layout: Layout, program: str) -> Say:
    pick = layout.pick(
        *_FIELDS, "base_amount_out", "quote_amount_in_with_lp_fee", "quote_amount_in", "user_quote_amount_in"
    )

    def say(site: Site, record: Record) -> Iterator[Fact | Need]:
        *common, base, with_lp_fee, one, other = pick(record.values)
        # The two amounts swap their meaning with ix_name: the larger one is what the user paid.
        yield from _trade(site, record, program, common, True, base, with_lp_fee - common[3], max(one, other))

    return say


def _sell(layout: Layout, program: str) -> Say:
    pick = layout.pick(*_FIELDS, "base_amount_in", "quote_amount_out", "user_quote_amount_out")

    def say(site: Site, record: Record) -> Iterator[Fact | Need]:
        *common, base, quote, user_quote = pick(record.values)
        yield from _trade(site, record, program, common, False, base, quote, user_quote)

    return say


def _trade(
    site: Site, record: Record, program: str, common: list[Any], is_buy: bool, base: int, quote: int, user_quote: int
) -> Iterator[Fact | Need]:
    (time, base_before, quote_before, lp_fee, protocol_fee, pool_key, user, base_account, creator_fee, cashback,
     virtual, base_supply, recipient, buyback_fee) = common  # fmt: skip
    check_amounts(base, quote, user_quote, lp_fee, protocol_fee, creator_fee, cashback, buyback_fee)
    pool = encode(pool_key)
    info = _pool(site, program, pool)
    if info is None:
        yield site.need("pool", pool)
    sign = 1 if is_buy else -1
    base_after, quote_after = base_before - sign * base, quote_before + sign * quote + lp_fee
    mark_base, mark_quote = mark(base_after, quote_after + (virtual or 0))
    if not any(recipient):
        # The fees of v2 and multi-hop trades have no recipient: they stay in the vault until they are swept, and are
        # taken off the virtual reserves, so that the effective ones are as if they had left (since 2026-10-02).
        quote_after += max(protocol_fee - (buyback_fee or 0), 0) + (creator_fee or 0)
    check_amounts(max(base_after, 0), max(quote_after, 0))
    flipped = info.flipped if info else False
    if flipped:  # the launched token is the pool's quote: buying the base means selling the token
        base, quote, user_quote = quote, base, base
        mark_base, mark_quote = mark_quote, mark_base
        base_after, quote_after = quote_after, base_after
        is_buy = not is_buy
    yield Trade(
        **facts_common(site, record, time),
        platform=info.platform if info else None,
        mint=info.mint if info else None,
        pool=pool,
        trader=encode(user),
        side="buy" if is_buy else "sell",
        base_amount=base,
        quote_amount=quote,
        user_quote_amount=user_quote,
        quote_mint=info.quote_mint if info else None,
        mark_base=mark_base,
        mark_quote=mark_quote,
        real_base=max(base_after, 0),
        real_quote=max(quote_after, 0),
        protocol_fee=protocol_fee,
        creator_fee=creator_fee,
        lp_fee=lp_fee,
        cashback=cashback,
        # boost_buy_and_burn says BuyEvent too, with no token account of a buyer: the tokens are burned.
        organic=any(base_account),
        flipped=flipped,
        canonical=info.canonical if info else None,
        decimals=(PUMPFUN_DECIMALS if info.canonical else site.decimals(info.mint)) if info else None,
        quote_decimals=site.decimals(info.quote_mint) if info else None,
        # It is that of the pool's base, not of a token that stands as its quote. Of wrapped SOL it is said to be 0.
        supply=base_supply or None if info and not flipped else None,
    )


def _created(layout: Layout, program: str) -> Say:
    pick = layout.pick(
        "timestamp", "creator", "base_mint", "quote_mint", "base_mint_decimals", "quote_mint_decimals",
        "pool_base_amount", "pool_quote_amount", "pool",
    )  # fmt: skip

    def say(site: Site, record: Record) -> Iterator[PoolCreated]:
        time, creator, base_key, quote_key, decimals, quote_decimals, base, quote, pool = pick(record.values)
        check_amounts(base, quote)
        info = _describe(program, encode(pool), encode(base_key), quote_of(quote_key))
        if info.flipped:
            base, quote, decimals, quote_decimals = quote, base, quote_decimals, decimals
        yield PoolCreated(
            **facts_common(site, record, time),
            platform=info.platform,
            mint=info.mint,
            pool=info.address,
            quote_mint=info.quote_mint,
            creator=encode(creator),
            base_amount=base,
            quote_amount=quote,
            decimals=decimals,
            quote_decimals=quote_decimals,
            flipped=info.flipped,
            canonical=info.canonical,
        )

    return say


def _boost(layout: Layout) -> Say:
    pick = layout.pick("timestamp", "mint", "pool", "virtual_quote_reserves", "real_quote_reserves_after")

    def say(site: Site, record: Record) -> Iterator[Other]:
        """A part of the seed moves to the boost's own vault, and counts as virtual reserves instead."""
        time, mint, pool, virtual, quote = pick(record.values)
        check_amounts(abs(virtual), quote)
        yield Other(
            **facts_common(site, record, time), mint=encode(mint), pool=encode(pool), real_quote=quote,
            virtual_quote=virtual,
        )  # fmt: skip

    return say


def _burn(layout: Layout) -> Say:
    pick = layout.pick(
        "timestamp", "mint", "pool", "virtual_quote_reserves", "real_quote_reserves_after", "base_reserves_after"
    )

    def say(site: Site, record: Record) -> Iterator[Other]:
        time, mint, pool, virtual, quote, base = pick(record.values)
        check_amounts(abs(virtual), quote, base)
        mark_base, mark_quote = mark(base, quote + virtual)
        yield Other(
            **facts_common(site, record, time),
            mint=encode(mint),
            pool=encode(pool),
            mark_base=mark_base,
            mark_quote=mark_quote,
            real_base=base,
            real_quote=quote,
            virtual_quote=virtual,
        )

    return say


def _account(layout: Layout, program: str) -> Any:
    pick = layout.pick("base_mint", "quote_mint")

    def read(address: str, record: Record) -> PoolInfo | None:
        base_mint, quote_mint = pick(record.values)
        if base_mint is None or quote_mint is None:
            return None
        return _describe(program, address, encode(base_mint), encode(quote_mint))

    return read
