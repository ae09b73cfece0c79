"""Raydium LaunchLab: bonding curves of many platforms, which graduate to Raydium CPMM or AMM v4."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

from decoders.core.base58 import encode
from decoders.core.errors import LayoutError
from decoders.core.pad import build, check_amounts, facts_common, mark
from decoders.core.pda import derive
from decoders.core.types import CurveComplete, Graduation, Launch, PoolInfo, Trade

if TYPE_CHECKING:
    from collections.abc import Iterator

    from decoders.core.layout import Idl, Layout
    from decoders.core.pad import Pad, Say, Site
    from decoders.core.types import Fact, Need, Record

NAME = "raydium_launchpad"
MIGRATE_TO = {0: "raydium_amm_v4", 1: "raydium_cpmm"}
# Where migrate_to_* has the curve: where then the new pool and its base vault stand. Of migrate_to_cpswap a variant of
# 2025-08 had one account more before the curve; migrate_to_amm had 32 accounts in 2025 and has 23 in 2026.
CPSWAP_PLACES = {17: (5, 8), 18: (5, 8)}
AMM_PLACES = {14: (5, 8), 23: (13, 17)}
# TradeEvent grew in its middle: without its discriminator it is 130, 138 or 139 bytes long; 138 lacks the last field.
OLDEST_TRADE_BYTES = 130


def pad(idl: Idl) -> Pad:
    """Return the rules of LaunchLab."""
    trade = idl.events["TradeEvent"]
    trade.add_variant(OLDEST_TRADE_BYTES, without=("creator_fee", "exact_in"))
    return build(
        NAME,
        idl,
        platform=NAME,
        events={
            "PoolCreateEvent": ("vesting_param", _launch(idl.events["PoolCreateEvent"])),
            "TradeEvent": ("pool_status", _trade(trade)),
        },
        instructions={
            "migrate_to_cpswap": _graduation(idl, "migrate_to_cpswap", "raydium_cpmm", CPSWAP_PLACES),
            "migrate_to_amm": _graduation(idl, "migrate_to_amm", "raydium_amm_v4", AMM_PLACES),
        },
        accounts={"PoolState": _account(idl.accounts["PoolState"])},
        signatures_only=True,
    )


def _launch(layout: Layout) -> Say:
    pick = layout.pick("pool_state", "creator", "base_mint_param", "curve_param")

    def say(site: Site, record: Record) -> Iterator[Fact | Need]:
        pool, creator, (decimals, name, symbol, uri), (kind, (curve,)) = pick(record.values)
        supply, for_sale, raise_target, migrate_type, curve_kind = _curve_members(kind, curve)
        check_amounts(for_sale, raise_target)
        # A linear curve starts at price 0. The start values of the others (and what a fixed or linear one sells) follow
        # from the migrate fee as well, which the owner of the global config may change at any time and no launch tells:
        # the first trade does. It was 0 in every pool that was recorded, but that is no reason to guess.
        mark_base, mark_quote = mark(1 << 64, 0) if curve_kind == "linear" else (None, None)
        mint, quote_mint = site.account("base_mint"), site.account("quote_mint")
        if mint is None or quote_mint is None:
            yield site.need("accounts")
        yield Launch(
            **facts_common(site, record, None),
            platform=NAME,
            mint=mint,
            pool=encode(pool),
            creator=encode(creator),
            payer=site.account("payer"),
            name=name,
            symbol=symbol,
            uri=uri,
            decimals=decimals,
            supply=supply,
            quote_mint=quote_mint,
            token_program=site.account("base_token_program"),
            platform_config=site.account("platform_config"),
            curve_kind=curve_kind,
            for_sale=for_sale,
            raise_target=raise_target,
            mark_base=mark_base,
            mark_quote=mark_quote,
            migrate_to=MIGRATE_TO.get(migrate_type),
            quote_decimals=site.decimals(quote_mint),
        )

    return say


def _curve_members(
    kind: str, curve: tuple[int, ...]
) -> tuple[int, int | None, int, int, Literal["constant", "fixed", "linear"]]:
    """Return supply, tokens for sale (None where the migrate fee decides), raise, migrate type and kind of a curve."""
    match kind:
        case "Constant":
            supply, for_sale, raise_target, migrate_type = curve
            return supply, for_sale, raise_target, migrate_type, "constant"
        case "Fixed" | "Linear":
            supply, raise_target, migrate_type = curve
            return supply, None, raise_target, migrate_type, "fixed" if kind == "Fixed" else "linear"
        case _:
            raise LayoutError(f"unknown curve kind {kind}")


def _trade(layout: Layout) -> Say:
    pick = layout.pick(
        "pool_state", "total_base_sell", "virtual_base", "virtual_quote", "real_base_before", "real_quote_before",
        "real_base_after", "real_quote_after", "amount_in", "amount_out", "protocol_fee", "platform_fee", "creator_fee",
        "share_fee", "trade_direction", "pool_status",
    )  # fmt: skip

    def say(site: Site, record: Record) -> Iterator[Fact | Need]:
        (pool_key, for_sale, virtual_base, virtual_quote, base_before, quote_before, base, quote, amount_in, amount_out,
         protocol_fee, platform_fee, creator_fee, share_fee, direction, status) = pick(record.values)  # fmt: skip
        check_amounts(
            for_sale, base_before, quote_before, base, quote, amount_in, amount_out, protocol_fee, platform_fee,
            creator_fee, share_fee,
        )  # fmt: skip
        is_buy = direction == "Buy"
        pool = encode(pool_key)
        info = site.pools.get(pool)
        mint = site.account("base_token_mint", "base_mint") or (info.mint if info else None)
        quote_mint = site.account("quote_token_mint", "quote_mint") or (info.quote_mint if info else None)
        trader = site.account("payer")
        platform_config = site.account("platform_config") or (info.platform_config if info else None)
        if trader is None or mint is None or quote_mint is None:
            yield site.need("accounts")
        mark_base, mark_quote = _mark(for_sale, virtual_base, virtual_quote, base, quote)
        yield Trade(
            **facts_common(site, record, None),
            platform=NAME,
            mint=mint,
            pool=pool,
            trader=trader,
            side="buy" if is_buy else "sell",
            base_amount=abs(base - base_before),
            quote_amount=abs(quote - quote_before),
            user_quote_amount=amount_in if is_buy else amount_out,
            quote_mint=quote_mint,
            mark_base=mark_base,
            mark_quote=mark_quote,
            real_base=max(for_sale - base, 0),
            real_quote=quote,
            curve_sold=min(base, for_sale),
            curve_total=for_sale,
            protocol_fee=protocol_fee,
            platform_fee=platform_fee,
            creator_fee=creator_fee,
            share_fee=share_fee,
            platform_config=platform_config,
            decimals=site.decimals(mint),
            quote_decimals=site.decimals(quote_mint),
        )
        if is_buy and status == "Migrate":
            yield CurveComplete(
                **facts_common(site, record, None),
                platform=NAME,
                mint=mint,
                pool=pool,
                trader=trader,
                quote_mint=quote_mint,
                platform_config=platform_config,
            )

    return say


def _mark(for_sale: int, virtual_base: int, virtual_quote: int, base: int, quote: int) -> tuple[int | None, int | None]:
    """
    Return effective reserves of a curve (raydium-sdk-v2, launchpad curves).

    The event does not name the curve's kind, its start values do: a linear one has no virtual quote, a fixed one has as
    much virtual base as it sells, a constant product one has more.
    """
    if virtual_quote == 0:
        return mark(1 << 64, virtual_base * base)
    if virtual_base == for_sale:
        return mark(virtual_base, virtual_quote)
    return mark(virtual_base - base, virtual_quote + quote)


def _graduation(idl: Idl, name: str, venue: str, places: dict[int, tuple[int, int]]) -> Say:
    """
    Read a graduation from the accounts of its instruction, for it emits no event.

    The curve's address is derived and looked for: account lists changed twice, the curve's seeds never did.

    Args:
        places: Per place of the curve those of the new pool and of its first vault (the quote's is the next).
    """
    at_base = idl.instructions[name].account_index["base_mint"]
    at_quote = idl.instructions[name].account_index["quote_mint"]

    def say(site: Site, _: Record) -> Iterator[Graduation]:
        accounts = site.emitter.accounts if site.emitter else ()
        if len(accounts) <= max(at_base, at_quote):
            raise LayoutError(f"{name} has {len(accounts)} accounts")
        mint, quote_mint = accounts[at_base], accounts[at_quote]
        curve = derive(idl.address, b"pool", mint, quote_mint)
        if curve not in accounts:
            raise LayoutError(f"{name}: the curve of {mint} is not among its accounts")
        curve_at = accounts.index(curve)
        if curve_at not in places:
            raise LayoutError(f"{name}: the curve is account {curve_at} of {len(accounts)}")
        pool_at, vault_at = places[curve_at]
        balances = {balance.account: balance for balance in site.notice.token_balances}
        base_vault, quote_vault = balances.get(accounts[vault_at]), balances.get(accounts[vault_at + 1])
        amounts = _after(base_vault, mint), _after(quote_vault, quote_mint)
        check_amounts(*amounts)
        yield Graduation(
            program=site.program,
            venue=NAME,
            event=name,
            nth=site.nth,
            signature=site.notice.signature,
            slot=site.notice.slot,
            block_time=site.notice.block_time,
            index=site.notice.index,
            arrival=site.notice.arrival,
            position=site.position,
            final=site.notice.final,
            platform=NAME,
            mint=mint,
            pool=curve,
            to_pool=accounts[pool_at],
            to_venue=venue,
            quote_mint=quote_mint,
            base_amount=amounts[0],
            quote_amount=amounts[1],
            decimals=site.decimals(mint),
            quote_decimals=site.decimals(quote_mint),
            payer=accounts[0],
            platform_config=accounts[3] if venue == "raydium_cpmm" else None,
        )

    return say


def _after(balance: Any, mint: str) -> int | None:
    return balance.after if balance is not None and balance.mint == mint else None


def _account(layout: Layout) -> Any:
    pick = layout.pick("base_mint", "quote_mint", "platform_config")

    def read(address: str, record: Record) -> PoolInfo | None:
        base_mint, quote_mint, platform_config = pick(record.values)
        if base_mint is None or quote_mint is None:
            return None
        return PoolInfo(
            address=address,
            venue=NAME,
            mint=encode(base_mint),
            quote_mint=encode(quote_mint),
            platform=NAME,
            platform_config=None if platform_config is None else encode(platform_config),
        )

    return read
