"""
What the database must hold after recorded events: an independent, slow reading of their bytes.

Layouts are written down here from the protocol's facts, apart from the IDLs and the compiled readers; what a row's
amounts mean is in docs/SCHEMA.md.
"""

from __future__ import annotations

import struct
from datetime import UTC, datetime
from operator import itemgetter
from typing import TYPE_CHECKING, Any

from solders.pubkey import Pubkey

from tests import mainnet

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from tests.e2e.said import Said

Values = dict[str, Any]

WSOL = "So11111111111111111111111111111111111111112"
_NUMBERS = {"u8": "<B", "u16": "<H", "u64": "<Q", "i64": "<q"}

PUMP_TRADE = (bytes.fromhex("bddb7fd34ee661ee"), """
    mint:key sol_amount:u64 token_amount:u64 is_buy:u8 user:key timestamp:i64 virtual_sol_reserves:u64
    virtual_token_reserves:u64 real_sol_reserves:u64 real_token_reserves:u64 fee_recipient:key fee_bps:u64 fee:u64
    creator:key creator_fee_bps:u64 creator_fee:u64 track_volume:u8 unclaimed:u64 claimed:u64 volume:u64 updated:i64
    ix_name:text mayhem:u8 cashback_bps:u64 cashback:u64 buyback_bps:u64 buyback_fee:u64 shareholders:shares
    quote_mint:key quote_amount:u64 virtual_quote_reserves:u64 real_quote_reserves:u64
""")  # fmt: skip
PUMP_CREATE = (bytes.fromhex("1b72a94ddeeb6376"), """
    name:text symbol:text uri:text mint:key bonding_curve:key user:key creator:key timestamp:i64
""")  # fmt: skip
PUMP_COMPLETE = (bytes.fromhex("5f72619cd42e9808"), "user:key mint:key bonding_curve:key timestamp:i64")
PUMP_MIGRATED = (bytes.fromhex("bde95db95c94ea94"), """
    user:key mint:key mint_amount:u64 sol_amount:u64 fee:u64 bonding_curve:key timestamp:i64 pool:key
""")  # fmt: skip
_SWAP_END = """
    pool:key user:key user_base:key user_quote:key recipient:key recipient_account:key coin_creator:key
    creator_fee_bps:u64 creator_fee:u64
"""
SWAP_BUY = (bytes.fromhex("67f4521f2cf57777"), """
    timestamp:i64 base:u64 limit:u64 user_base_reserves:u64 user_quote_reserves:u64 pool_base:u64 pool_quote:u64
    one:u64 lp_fee_bps:u64 lp_fee:u64 protocol_fee_bps:u64 protocol_fee:u64 with_lp_fee:u64 other:u64
""" + _SWAP_END + """
    track_volume:u8 unclaimed:u64 claimed:u64 volume:u64 updated:i64 min_base:u64 ix_name:text cashback_bps:u64
    cashback:u64 buyback_bps:u64 buyback_fee:u64 virtual_quote:i128
""")  # fmt: skip
SWAP_SELL = (bytes.fromhex("3e2f370aa503dc2a"), """
    timestamp:i64 base:u64 limit:u64 user_base_reserves:u64 user_quote_reserves:u64 pool_base:u64 pool_quote:u64
    quote:u64 lp_fee_bps:u64 lp_fee:u64 protocol_fee_bps:u64 protocol_fee:u64 without_lp_fee:u64 user_quote:u64
""" + _SWAP_END.replace("user_quote:key", "user_quote_account:key") + """
    cashback_bps:u64 cashback:u64 buyback_bps:u64 buyback_fee:u64 virtual_quote:i128
""")  # fmt: skip
SWAP_CREATE_POOL = (bytes.fromhex("b1310cd2a076a774"), """
    timestamp:i64 index:u16 creator:key base_mint:key quote_mint:key base_decimals:u8 quote_decimals:u8 base_in:u64
    quote_in:u64 pool_base:u64 pool_quote:u64 minimum:u64 liquidity:u64 lp_out:u64 bump:u8 pool:key
""")  # fmt: skip
LAB_CREATE = (
    bytes.fromhex("97d7e20976a173ae"),
    "pool:key creator:key config:key decimals:u8 name:text symbol:text uri:text",
)
_LAB_TRADE = """
    pool:key for_sale:u64 virtual_base:u64 virtual_quote:u64 base_before:u64 quote_before:u64 base_after:u64
    quote_after:u64 amount_in:u64 amount_out:u64 protocol_fee:u64 platform_fee:u64
"""
LAB_TRADES = {
    138: (bytes.fromhex("bddb7fd34ee661ee"), _LAB_TRADE + "share_fee:u64 direction:u8"),
    147: (bytes.fromhex("bddb7fd34ee661ee"), _LAB_TRADE + "creator_fee:u64 share_fee:u64 direction:u8"),
}


def read(data: bytes, layout: tuple[bytes, str]) -> Values | None:
    """Return members by name, those after the data's end as None; None if the data is another event."""
    discriminator, members = layout
    if not data.startswith(discriminator):
        return None
    values: Values = {}
    at = len(discriminator)
    for member in members.split():
        name, kind = member.split(":")
        values[name], at = _take(data, at, kind) if at < len(data) else (None, at)
    return values


def _take(data: bytes, at: int, kind: str) -> tuple[Any, int]:
    match kind:
        case "key":
            return str(Pubkey(data[at : at + 32])), at + 32
        case "i128":
            return int.from_bytes(data[at : at + 16], "little", signed=True), at + 16
        case "text":
            end = at + 4 + int.from_bytes(data[at : at + 4], "little")
            return data[at + 4 : end].decode(), end
        case "shares":
            return None, at + 4 + 34 * int.from_bytes(data[at : at + 4], "little")
        case _:
            form = _NUMBERS[kind]
            return struct.unpack_from(form, data, at)[0], at + struct.calcsize(form)


def trades(said: Sequence[Said], pools: Mapping[str, tuple[str, str]]) -> list[Values]:
    """
    Return the rows of `transactions` that events make (columns of TRADES), in their order on each pool.

    Args:
        pools: Mint and quote mint of PumpSwap pools by address.
    """
    rows = []
    counts: dict[tuple[str, str, str], int] = {}
    for event in said:
        row = _trade(event, pools)
        if row is not None:
            key = (event.signature, row["venue"], row["event"])
            counts[key] = counts.get(key, -1) + 1
            rows.append({"signature": event.signature, "nth": counts[key], **row})
    # Transactions of one slot are in order where they touch the same pool: nothing else matters, and logs tell no more.
    return sorted(rows, key=itemgetter("pool"))


def _trade(event: Said, pools: Mapping[str, tuple[str, str]]) -> Values | None:
    if event.program == mainnet.PUMPFUN:
        return _pump_trade(event.data)
    if event.program == mainnet.PUMPSWAP:
        return _swap(event.data, pools)
    return _lab_trade(event)


def _pump_trade(data: bytes) -> Values | None:
    values = read(data, PUMP_TRADE)
    if values is None:
        return None
    is_sol = values["quote_mint"] is None or values["quote_mint"] == str(Pubkey.default())
    quote = values["sol_amount" if is_sol else "quote_amount"]
    fees = sum(values[name] or 0 for name in ("fee", "creator_fee", "cashback"))
    curve, _ = Pubkey.find_program_address(
        [b"bonding-curve", bytes(Pubkey.from_string(values["mint"]))], Pubkey.from_string(mainnet.PUMPFUN)
    )
    return {
        "venue": "pumpfun",
        "event": "TradeEvent",
        "block_time": at(values["timestamp"]),
        "mint": values["mint"],
        "pool": str(curve),
        "quote_mint": WSOL if is_sol else values["quote_mint"],
        "side": "buy" if values["is_buy"] else "sell",
        "trader": values["user"],
        "base_amount": values["token_amount"],
        "quote_amount": quote,
        "user_quote_amount": quote + fees if values["is_buy"] else max(quote - fees, 0),
        "mark_base": values["virtual_token_reserves"],
        "mark_quote": values["virtual_sol_reserves" if is_sol else "virtual_quote_reserves"],
        "protocol_fee": values["fee"],
        "creator_fee": values["creator_fee"],
        "lp_fee": None,
    }


def _swap(data: bytes, pools: Mapping[str, tuple[str, str]]) -> Values | None:
    bought, sold = read(data, SWAP_BUY), read(data, SWAP_SELL)
    values = bought or sold
    if values is None:
        return None
    mint, quote_mint = pools[values["pool"]]
    if bought:
        quote, user_quote = values["with_lp_fee"] - values["lp_fee"], max(values["one"], values["other"])
        base_after, quote_after = values["pool_base"] - values["base"], values["pool_quote"] + values["with_lp_fee"]
    else:
        quote, user_quote = values["quote"], values["user_quote"]
        base_after = values["pool_base"] + values["base"]
        quote_after = values["pool_quote"] - quote + values["lp_fee"]
    return {
        "venue": "pumpswap",
        "event": "BuyEvent" if bought else "SellEvent",
        "block_time": at(values["timestamp"]),
        "mint": mint,
        "pool": values["pool"],
        "quote_mint": quote_mint,
        "side": "buy" if bought else "sell",
        "trader": values["user"],
        "base_amount": values["base"],
        "quote_amount": quote,
        "user_quote_amount": user_quote,
        "mark_base": base_after,
        "mark_quote": quote_after + (values["virtual_quote"] or 0),
        "protocol_fee": values["protocol_fee"],
        "creator_fee": values["creator_fee"],
        "lp_fee": values["lp_fee"],
    }


def _lab_trade(event: Said) -> Values | None:
    values = read(event.data, LAB_TRADES[len(event.data)]) if len(event.data) in LAB_TRADES else None
    if values is None or event.block_time is None:
        return None
    is_buy = values["direction"] == 0
    return {
        "venue": "raydium_launchpad",
        "event": "TradeEvent",
        "block_time": at(event.block_time),
        "mint": event.accounts[9],
        "pool": values["pool"],
        "quote_mint": event.accounts[10],
        "side": "buy" if is_buy else "sell",
        "trader": event.accounts[0],
        "base_amount": abs(values["base_after"] - values["base_before"]),
        "quote_amount": abs(values["quote_after"] - values["quote_before"]),
        "user_quote_amount": values["amount_in" if is_buy else "amount_out"],
        "mark_base": values["virtual_base"] - values["base_after"],
        "mark_quote": values["virtual_quote"] + values["quote_after"],
        "protocol_fee": values["protocol_fee"],
        "creator_fee": values.get("creator_fee"),
        "lp_fee": None,
    }


def launches(said: Sequence[Said]) -> list[Values]:
    """Return the members of `tokens` that creations make (columns of LAUNCHES)."""
    return [row for event in said if (row := _launch(event)) is not None]


def _launch(event: Said) -> Values | None:
    if event.program == mainnet.PUMPFUN:
        values = read(event.data, PUMP_CREATE)
        if values is not None:
            values |= {"platform": "pumpfun", "time": values["timestamp"], "pool": values["bonding_curve"]}
    else:
        values = read(event.data, LAB_CREATE)
        if values is not None:
            values |= {"platform": "raydium_launchpad", "time": event.block_time, "mint": event.accounts[6]}
    if values is None:
        return None
    named = ("mint", "platform", "name", "symbol", "uri", "creator")
    return {
        **{name: values[name] for name in named},
        "launched_at": at(values["time"]),
        "launch_signature": event.signature,
        "curve": values["pool"],
    }


def graduations(said: Sequence[Said]) -> list[Values]:
    """Return the members of `tokens` that Pump.fun's graduations make (columns of GRADUATIONS)."""
    rows = []
    for event in said:
        values = read(event.data, PUMP_MIGRATED) if event.program == mainnet.PUMPFUN else None
        if values is not None:
            rows.append(
                {
                    "mint": values["mint"],
                    "graduated_at": at(values["timestamp"]),
                    "graduated_signature": event.signature,
                    "curve": values["bonding_curve"],
                    "pool": values["pool"],
                }
            )
    return rows


def pools_created(said: Sequence[Said]) -> dict[str, tuple[str, str]]:
    """Return mint and quote mint of PumpSwap pools that events create, but for those whose base is SOL."""
    created = [read(event.data, SWAP_CREATE_POOL) for event in said if event.program == mainnet.PUMPSWAP]
    return {
        values["pool"]: (values["base_mint"], values["quote_mint"])
        for values in created
        if values is not None and values["base_mint"] != WSOL
    }


def completions(said: Sequence[Said]) -> list[Values]:
    """Return the members of `tokens` that Pump.fun's completions make (columns of COMPLETIONS)."""
    events = [(event, read(event.data, PUMP_COMPLETE)) for event in said if event.program == mainnet.PUMPFUN]
    return [
        {
            "mint": values["mint"],
            "completed_at": at(values["timestamp"]),
            "completed_signature": event.signature,
            "completed_by": values["user"],
            "curve": values["bonding_curve"],
        }
        for event, values in events
        if values is not None
    ]


def at(seconds: int) -> datetime:
    """Return a block time as the database gives it."""
    return datetime.fromtimestamp(seconds, UTC)


TRADES = """
    SELECT t.signature, t.nth, t.venue, t.event, t.block_time, b.address AS mint, p.address AS pool,
           q.address AS quote_mint, t.side, t.trader, t.base_amount, t.quote_amount, t.user_quote_amount, t.mark_base,
           t.mark_quote, t.protocol_fee, t.creator_fee, t.lp_fee
      FROM transactions t
      JOIN mints b ON b.id = t.token_id
      JOIN mints q ON q.id = t.quote_id
      JOIN pools p ON p.id = t.pool_id
     ORDER BY p.address COLLATE "C", t.chain_order
"""
LAUNCHES = """
    SELECT t.mint, t.platform, t.name, t.symbol, t.uri, t.creator, t.launched_at, t.launch_signature,
           p.address AS curve
      FROM tokens t JOIN pools p ON p.id = t.curve_id
     WHERE t.launched_at IS NOT NULL
     ORDER BY t.launch_order
"""
GRADUATIONS = """
    SELECT t.mint, t.graduated_at, t.graduated_signature, c.address AS curve, g.address AS pool
      FROM tokens t JOIN pools c ON c.id = t.curve_id JOIN pools g ON g.id = t.graduation_pool_id
     WHERE t.graduated_at IS NOT NULL
     ORDER BY t.graduated_order
"""
COMPLETIONS = """
    SELECT t.mint, t.completed_at, t.completed_signature, t.completed_by, c.address AS curve
      FROM tokens t JOIN pools c ON c.id = t.curve_id
     WHERE t.completed_at IS NOT NULL
     ORDER BY t.completed_order
"""
