"""Pump.fun: a bonding curve that graduates to PumpSwap."""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING, Any

from decoders.core.base58 import encode
from decoders.core.errors import LayoutError
from decoders.core.pad import SOL_DECIMALS, build, check_amounts, facts_common, mark, new_creators, quote_of
from decoders.core.pda import derive
from decoders.core.types import WSOL, CurveComplete, Graduation, Launch, Other, Trade

if TYPE_CHECKING:
    from collections.abc import Iterator

    from decoders.core.layout import Idl, Layout
    from decoders.core.pad import Pad, Say, Site
    from decoders.core.types import Record

NAME = "pumpfun"
# Global.initial_real_token_reserves: what every curve sells (account read at slot 454509826).
FOR_SALE = 793_100_000_000_000
DECIMALS = 6
_ZERO = bytes(32)
# Mints whose text and curve address are at hand: each trade asks for both, and deriving takes some 30 us.
_CACHED = 1 << 16


def pad(idl: Idl) -> Pad:
    """Return the rules of Pump.fun."""
    curve = _curve(idl.address)
    creators = {
        "SetCreatorEvent": "creator",
        "SetMetaplexCreatorEvent": "creator",
        "MigrateBondingCurveCreatorEvent": "new_creator",
        "AdminCtoEvent": "new_creator",
        "AdminSetCreatorEvent": "new_creator",
    }
    return build(
        NAME,
        idl,
        platform=NAME,
        events={
            "CreateEvent": ("user", _launch(idl.events["CreateEvent"])),
            "TradeEvent": ("virtual_token_reserves", _trade(idl.events["TradeEvent"], curve)),
            "CompleteEvent": ("timestamp", _complete(idl.events["CompleteEvent"])),
            "CompletePumpAmmMigrationEvent": ("pool", _graduation(idl.events["CompletePumpAmmMigrationEvent"])),
            "PostCompleteBuyEvent": ("pool_quote_reserves_after", _post_complete(idl.events["PostCompleteBuyEvent"])),
            "UpdateMayhemVirtualParamsEvent": (
                "new_virtual_sol_reserves",
                _mayhem(idl.events["UpdateMayhemVirtualParamsEvent"], curve),
            ),
        }
        | new_creators(idl, NAME, "mint", "bonding_curve", creators),
    )


def _curve(program: str) -> Any:
    def curve(mint: str) -> str:
        return derive(program, b"bonding-curve", mint)

    return curve


def _launch(layout: Layout) -> Say:
    pick = layout.pick(
        "name", "symbol", "uri", "mint", "bonding_curve", "user", "creator", "timestamp", "virtual_token_reserves",
        "virtual_sol_reserves", "real_token_reserves", "token_total_supply", "token_program", "is_mayhem_mode",
        "is_cashback_enabled", "quote_mint", "virtual_quote_reserves", "creator_fee_bps", "is_holder_reward", "depth",
    )  # fmt: skip

    def say(site: Site, record: Record) -> Iterator[Launch]:
        (name, symbol, uri, mint, curve, user, creator, time, base, sol, for_sale, supply, token_program, mayhem,
         cashback, quote_key, quote, fee_bps, holder, depth) = pick(record.values)  # fmt: skip
        quote_mint = quote_of(quote_key)
        reserves = quote if quote_key is not None and any(quote_key) else sol
        mark_base, mark_quote = (None, None) if base is None or reserves is None else mark(base, reserves)
        check_amounts(for_sale, fee_bps)
        if mayhem:
            # The event says 1e15 (so it does in recorded launches), but create_v2 mints as much again into the mayhem
            # agent's vault: 2e15 is what the mint has, and what the pool's events call base_supply later.
            supply = supply and 2 * supply
        yield Launch(
            **facts_common(site, record, time),
            platform=NAME,
            mint=encode(mint),
            pool=encode(curve),
            # Before 2025-04 the event named no creator: it was the user.
            creator=encode(user if creator is None else creator),
            payer=encode(user),
            name=name,
            symbol=symbol,
            uri=uri,
            decimals=DECIMALS,
            supply=supply,
            quote_mint=quote_mint,
            token_program=None if token_program is None else encode(token_program),
            for_sale=for_sale,
            mark_base=mark_base,
            mark_quote=mark_quote,
            is_mayhem=mayhem,
            is_cashback=cashback,
            is_holder_reward=holder,
            creator_fee_bps=fee_bps,
            depth=depth,
            migrate_to="pumpswap",
            quote_decimals=site.decimals(quote_mint),
        )

    return say


def _trade(layout: Layout, curve: Any) -> Say:
    pick = layout.pick(
        "mint", "sol_amount", "token_amount", "is_buy", "user", "timestamp", "virtual_sol_reserves",
        "virtual_token_reserves", "real_sol_reserves", "real_token_reserves", "fee", "creator_fee", "cashback",
        "quote_mint", "quote_amount", "virtual_quote_reserves", "real_quote_reserves",
    )  # fmt: skip

    @lru_cache(maxsize=_CACHED)
    def addresses(mint_key: bytes) -> tuple[str, str]:
        mint = encode(mint_key)
        return mint, curve(mint)

    def say(site: Site, record: Record) -> tuple[Trade]:
        (mint_key, quote, base, is_buy, user, time, virtual_quote, virtual_base, real_quote, real_base, fee,
         creator_fee, cashback, quote_key, other_quote, other_virtual, other_real) = pick(record.values)  # fmt: skip
        quote_mint = WSOL
        quote_decimals: int | None = SOL_DECIMALS
        if quote_key is not None and quote_key != _ZERO:
            quote_mint = encode(quote_key)
            quote_decimals = site.decimals(quote_mint)
            quote, virtual_quote, real_quote = other_quote, other_virtual, other_real
            if real_quote is None:
                raise LayoutError(f"{layout.name}: a quote mint without its amounts")
        fees = (fee or 0) + (creator_fee or 0) + (cashback or 0)
        sold = None
        if real_base is not None:
            # A mayhem agent may sell the curve more than it ever sold: progress does not go below 0.
            sold = FOR_SALE - real_base if real_base < FOR_SALE else 0
        check_amounts(base, quote + fees, real_base, real_quote)
        mint, pool = addresses(mint_key)
        mark_base, mark_quote = mark(virtual_base, virtual_quote)
        notice = site.notice
        return (
            Trade(
                program=site.program,
                venue=NAME,
                event=site.event,
                nth=site.nth,
                signature=notice.signature,
                slot=notice.slot,
                block_time=time,
                index=notice.index,
                arrival=notice.arrival,
                final=notice.final,
                position=site.position,
                record=record,
                platform=NAME,
                mint=mint,
                pool=pool,
                trader=encode(user),
                side="buy" if is_buy else "sell",
                base_amount=base,
                quote_amount=quote,
                # Fees are rounded up: of a sale of dust they may take more than there is.
                user_quote_amount=quote + fees if is_buy else max(quote - fees, 0),
                quote_mint=quote_mint,
                mark_base=mark_base,
                mark_quote=mark_quote,
                real_base=real_base,
                real_quote=real_quote,
                curve_sold=sold,
                curve_total=None if sold is None else FOR_SALE,
                protocol_fee=fee,
                creator_fee=creator_fee,
                cashback=cashback,
                decimals=DECIMALS,
                quote_decimals=quote_decimals,
            ),
        )

    return say


def _complete(layout: Layout) -> Say:
    pick = layout.pick("user", "mint", "bonding_curve", "timestamp", "quote_mint")

    def say(site: Site, record: Record) -> Iterator[CurveComplete]:
        user, mint, curve, time, quote = pick(record.values)
        yield CurveComplete(
            **facts_common(site, record, time),
            platform=NAME,
            mint=encode(mint),
            pool=encode(curve),
            trader=encode(user),
            quote_mint=quote_of(quote),
        )

    return say


def _graduation(layout: Layout) -> Say:
    pick = layout.pick("user", "mint", "mint_amount", "sol_amount", "bonding_curve", "timestamp", "pool", "quote_mint")

    def say(site: Site, record: Record) -> Iterator[Graduation]:
        user, mint, base, quote, curve, time, pool, quote_key = pick(record.values)
        check_amounts(base, quote)
        quote_mint = quote_of(quote_key)
        yield Graduation(
            **facts_common(site, record, time),
            platform=NAME,
            mint=encode(mint),
            pool=encode(curve),
            to_pool=encode(pool),
            to_venue="pumpswap",
            quote_mint=quote_mint,
            base_amount=base,
            quote_amount=quote,
            decimals=DECIMALS,
            quote_decimals=site.decimals(quote_mint),
            payer=encode(user),
        )

    return say


def _post_complete(layout: Layout) -> Say:
    pick = layout.pick(
        "user", "mint", "bonding_curve", "quote_mint", "timestamp", "quote_in", "fee", "creator_fee",
        "pool_base_reserves_before", "pool_quote_reserves_before", "pool_base_reserves_after",
        "pool_quote_reserves_after",
    )  # fmt: skip

    def say(site: Site, record: Record) -> Iterator[Trade]:
        """The rest of a buy that emptied the curve, filled from the reserves of the pool to come."""
        (user, mint, curve, quote_key, time, quote_in, fee, creator_fee, base_before, quote_before, base_after,
         quote_after) = pick(record.values)  # fmt: skip
        base, quote = base_before - base_after, quote_after - quote_before
        check_amounts(base_before, quote_after, base, quote, quote_in, quote + fee + creator_fee)
        mark_base, mark_quote = mark(base_after, quote_after)
        quote_mint = quote_of(quote_key)
        yield Trade(
            **facts_common(site, record, time),
            platform=NAME,
            mint=encode(mint),
            pool=encode(curve),
            trader=encode(user),
            side="buy",
            base_amount=base,
            quote_amount=quote,
            # quote_in counts the fees or not, depending on the instruction; what entered the reserves does never.
            user_quote_amount=max(quote_in, quote + fee + creator_fee),
            quote_mint=quote_mint,
            mark_base=mark_base,
            mark_quote=mark_quote,
            curve_sold=FOR_SALE,
            curve_total=FOR_SALE,
            protocol_fee=fee,
            creator_fee=creator_fee,
            synthetic=True,
            decimals=DECIMALS,
            quote_decimals=site.decimals(quote_mint),
        )

    return say


def _mayhem(layout: Layout, curve: Any) -> Say:
    pick = layout.pick("timestamp", "mint", "new_virtual_token_reserves", "new_virtual_sol_reserves")

    def say(site: Site, record: Record) -> Iterator[Other]:
        time, mint, base, quote = pick(record.values)
        mark_base, mark_quote = mark(base, quote)
        address = encode(mint)
        yield Other(
            **facts_common(site, record, time),
            platform=NAME,
            mint=address,
            pool=curve(address),
            mark_base=mark_base,
            mark_quote=mark_quote,
        )

    return say
