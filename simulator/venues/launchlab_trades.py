"""Trades on LaunchLab curves, and how their fees are split."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from simulator import curves, keys
from simulator.calls import WRITABLE
from simulator.ledger import Completion, Trade
from simulator.venues.launchlab import VENUE
from simulator.venues.pumpfun import added

if TYPE_CHECKING:
    from simulator.calls import Account, Call
    from simulator.draft import Draft, Parts
    from simulator.venues.launchlab import LaunchPool
    from simulator.world import World

Way = Literal["exact_in", "exact_out"]


@dataclass(frozen=True, slots=True)
class _Trade:
    """What a trade moves: `gross` is what the trader pays, or what the curve gives before fees."""

    tokens: int
    net: int
    gross: int
    fees: curves.Shares


def plan_buy(pool: LaunchPool, spend: int, share_ppm: int = 0, *, way: Way = "exact_in") -> _Trade:
    """Return what `spend` (fees included) buys, cut at what the curve still sells."""
    rates = pool.rates(share_ppm)
    fees = rates.on(spend)
    net = spend - fees.total
    tokens = curves.launch_tokens_for(pool.kind, net, pool.start, pool.sold, pool.raised)
    rest = pool.start.sell - pool.sold
    if tokens >= rest or way == "exact_out":
        tokens = min(tokens, rest)
        least = curves.launch_quote_for(pool.kind, tokens, pool.start, pool.sold, pool.raised)
        spend = rates.gross_for(least)
        fees = rates.on(spend)
        net = spend - fees.total
    return _Trade(tokens, net, spend, fees)


def buy(
    draft: Draft, parts: Parts, pool: LaunchPool, user: bytes, spend: int, *, way: Way = "exact_in",
    sharer: bytes | None = None,
) -> int:  # fmt: skip
    """Buy for `spend` of quote. Return the tokens; the last of them completes the curve."""
    share_ppm = 1_000 if sharer else 0
    trade = plan_buy(pool, spend, share_ppm, way=way)
    args = (
        {"amount_in": spend, "minimum_amount_out": 0, "share_fee_rate": share_ppm}
        if way == "exact_in"
        else {"amount_out": trade.tokens, "maximum_amount_in": spend, "share_fee_rate": share_ppm}
    )
    call = _call(draft, parts, pool, user, f"buy_{way}", args, sharer)
    draft.save(pool)
    before = (pool.sold, pool.raised)
    pool.sold += trade.tokens
    pool.raised += trade.net
    pool.complete = pool.sold == pool.start.sell
    _say(draft, call, pool, user, trade, before, way, side="buy")
    world = draft.world
    authority = world.pda(world.launchpad.key, b"vault_auth_seed")
    draft.move(call.parts, world.ata(user, pool.quote), pool.quote_vault, user, trade.gross)
    draft.move(call.parts, pool.base_vault, world.ata(user, pool.mint), authority, trade.tokens)
    _pay_fees(draft, call, pool, trade.fees, sharer)
    return trade.tokens


def sell(draft: Draft, parts: Parts, pool: LaunchPool, user: bytes, tokens: int) -> int:
    """Sell tokens. Return what the trader gets."""
    gross = curves.launch_quote_from(pool.kind, tokens, pool.start, pool.sold, pool.raised)
    trade = _Trade(tokens, gross, gross, pool.rates().on(gross))
    args = {"amount_in": tokens, "minimum_amount_out": 0, "share_fee_rate": 0}
    call = _call(draft, parts, pool, user, "sell_exact_in", args, None)
    draft.save(pool)
    before = (pool.sold, pool.raised)
    pool.sold -= tokens
    pool.raised -= gross
    _say(draft, call, pool, user, trade, before, "exact_in", side="sell")
    world = draft.world
    authority = world.pda(world.launchpad.key, b"vault_auth_seed")
    draft.move(call.parts, world.ata(user, pool.mint), pool.base_vault, user, tokens)
    draft.move(call.parts, pool.quote_vault, world.ata(user, pool.quote), authority, gross - trade.fees.total)
    _pay_fees(draft, call, pool, trade.fees, None)
    return gross - trade.fees.total


def _call(
    draft: Draft, parts: Parts, pool: LaunchPool, user: bytes, name: str, args: dict[str, Any], sharer: bytes | None
) -> Call:
    world, program = draft.world, draft.world.launchpad
    rest: list[Account] = []
    if sharer:
        rest.append((world.ata(sharer, pool.quote), WRITABLE))
    rest += [(keys.SYSTEM, 0), (_fee_vaults(world, pool)[0], WRITABLE), (_fee_vaults(world, pool)[1], WRITABLE)]
    call = program.call(
        name,
        {
            "payer": user, "authority": world.pda(program.key, b"vault_auth_seed"), "global_config": pool.config,
            "platform_config": pool.platform.config, "pool_state": pool.address,
            "user_base_token": world.ata(user, pool.mint), "user_quote_token": world.ata(user, pool.quote),
            "base_vault": pool.base_vault, "quote_vault": pool.quote_vault, "base_token_mint": pool.mint,
            "quote_token_mint": pool.quote, "base_token_program": world.token_program(pool.mint),
            "quote_token_program": keys.TOKEN,
        },
        args,
        rest,
    )  # fmt: skip
    parts.append(call)
    return call


def _fee_vaults(world: World, pool: LaunchPool) -> tuple[bytes, bytes]:
    """Return the vaults of the platform's and the creator's fees."""
    program = world.launchpad.key
    return world.pda(program, pool.platform.config, pool.quote), world.pda(program, pool.creator, pool.quote)


def _pay_fees(draft: Draft, call: Call, pool: LaunchPool, fees: curves.Shares, sharer: bytes | None) -> None:
    """Move platform, creator and share fees out of the quote vault; the protocol's stay in it."""
    world, bank = draft.world, draft.world.bank
    authority = world.pda(world.launchpad.key, b"vault_auth_seed")
    pool.protocol_fees += fees.protocol
    seeds = (b"platform_fee_vault_auth_seed", b"creator_fee_vault_auth_seed")
    amounts = (fees.platform, fees.creator)
    for vault, amount, seed in zip(_fee_vaults(world, pool), amounts, seeds, strict=True):
        if amount:
            if vault not in bank.tokens:
                draft.vault(vault, world.pda(world.launchpad.key, seed), pool.quote)
            draft.move(call.parts, pool.quote_vault, vault, authority, amount)
    if fees.share and sharer:
        draft.move(call.parts, pool.quote_vault, world.ata(sharer, pool.quote), authority, fees.share)


def _say(
    draft: Draft, call: Call, pool: LaunchPool, user: bytes, trade: _Trade, before: tuple[int, int], way: Way, *,
    side: Literal["buy", "sell"],
) -> None:  # fmt: skip
    """Emit TradeEvent, and record the trade, and the completion if this was the last token."""
    is_buy, fees = side == "buy", trade.fees
    paid = trade.gross if is_buy else trade.tokens
    got = trade.tokens if is_buy else trade.gross - fees.total
    said = draft.emit_cpi_first(call, draft.world.launchpad, VENUE, "TradeEvent", {
        "pool_state": pool.address, "total_base_sell": pool.start.sell, "virtual_base": pool.start.virtual_base,
        "virtual_quote": pool.start.virtual_quote, "real_base_before": before[0], "real_quote_before": before[1],
        "real_base_after": pool.sold, "real_quote_after": pool.raised, "amount_in": paid, "amount_out": got,
        "protocol_fee": fees.protocol, "platform_fee": fees.platform, "creator_fee": fees.creator,
        "share_fee": fees.share, "trade_direction": "Buy" if is_buy else "Sell",
        "pool_status": "Migrate" if pool.complete else "Fund", "exact_in": way == "exact_in",
    })  # fmt: skip
    pool.fees = added(pool.fees, protocol=fees.protocol, platform=fees.platform, creator=fees.creator, share=fees.share)
    base, quote = pool.mark()
    draft.record(Trade(
        said=said, mint=pool.mint, pool=pool.address, quote_mint=pool.quote, trader=user, side=side,
        base_amount=trade.tokens, quote_amount=trade.net, user_quote_amount=paid if is_buy else got, mark_base=base,
        mark_quote=quote, protocol_fee=fees.protocol, platform_fee=fees.platform, creator_fee=fees.creator,
        share_fee=fees.share,
    ))  # fmt: skip
    if pool.complete:
        draft.record(Completion(said=said, mint=pool.mint, pool=pool.address, trader=user, quote_mint=pool.quote))
