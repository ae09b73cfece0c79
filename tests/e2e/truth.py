"""Compare a database with the simulator's ledger, member by member."""

from __future__ import annotations

from typing import Any

import asyncpg

_TRADES = """
SELECT t.signature, t.venue, t.event, t.nth, t.slot, extract(epoch FROM t.block_time)::bigint AS block_time,
       k.mint, p.address AS pool, q.address AS quote_mint, t.trader, t.side::text AS side, t.base_amount,
       t.quote_amount,
       t.user_quote_amount, t.mark_base, t.mark_quote, t.protocol_fee, t.creator_fee, t.lp_fee, t.platform_fee,
       t.share_fee, t.cashback, t.organic, t.synthetic
  FROM transactions t
  JOIN tokens k ON k.id = t.token_id
  JOIN pools p ON p.id = t.pool_id
  JOIN mints q ON q.id = t.quote_id
 WHERE t.voided_at IS NULL
"""
_TOKENS = """
SELECT k.mint, k.platform, k.platform_config, k.name, k.symbol, k.uri, k.decimals, k.supply::bigint AS supply,
       k.creator,
       k.payer, k.token_program, k.curve_kind, k.for_sale, k.is_mayhem, k.is_cashback, k.is_holder_reward,
       k.launch_signature, extract(epoch FROM k.launched_at)::bigint AS launched_at, k.completed_signature,
       k.graduated_signature, c.address AS curve, g.address AS graduation_pool
  FROM tokens k
  LEFT JOIN pools c ON c.id = k.curve_id
  LEFT JOIN pools g ON g.id = k.graduation_pool_id
"""
_POOLS = """
SELECT p.address, p.venue, k.mint, q.address AS quote_mint, p.mark_base, p.mark_quote, p.real_base, p.real_quote,
       p.completed_at IS NOT NULL AS complete, t.address AS graduated_to, p.seed_base, p.seed_quote
  FROM pools p
  JOIN tokens k ON k.id = p.token_id
  LEFT JOIN mints q ON q.id = p.quote_id
  LEFT JOIN pools t ON t.id = p.graduated_to
"""
# A fork leaves rows of tokens and pools behind that nothing speaks of any more.
_TRADED = "EXISTS (SELECT FROM transactions t WHERE t.{} AND t.voided_at IS NULL)"
_SPOKEN_OF_TOKENS = f" WHERE k.launched_at IS NOT NULL OR {_TRADED.format('token_id = k.id')}"
_SPOKEN_OF_POOLS = f"""
 WHERE p.created_at IS NOT NULL OR p.graduated_from IS NOT NULL OR {_TRADED.format("pool_id = p.id")}
    OR EXISTS (SELECT FROM tokens c WHERE c.curve_id = p.id AND c.launched_at IS NOT NULL)
"""
# Fees that a venue does not have stand as 0 in the ledger and as NULL in the database.
_BIGINT = (1 << 63) - 1
_MARK = ("mark_base", "mark_quote")
_FEES = ("protocol_fee", "creator_fee", "lp_fee", "platform_fee", "share_fee", "cashback")


async def differences(
    database_url: str, ledger: dict[str, Any], venues: set[str], *, forked: bool = False
) -> list[str]:
    """
    Return every difference between the database and the ledger's entries of these venues, one line each.

    Args:
        forked: Whether there were forks: what is left of those does not count.
    """
    of_tokens, of_pools = (_SPOKEN_OF_TOKENS, _SPOKEN_OF_POOLS) if forked else ("", "")
    connection = await asyncpg.connect(database_url)
    try:
        trades = [dict(row) for row in await connection.fetch(_TRADES)]
        tokens = {row["mint"]: dict(row) for row in await connection.fetch(_TOKENS + of_tokens)}
        pools = {row["address"]: dict(row) for row in await connection.fetch(_POOLS + of_pools)}
    finally:
        await connection.close()
    return [
        *_trades(trades, [trade for trade in ledger["trades"] if trade["venue"] in venues]),
        *_tokens(tokens, ledger, venues),
        *_pools(pools, ledger, venues),
    ]


def _key(trade: dict[str, Any]) -> tuple[str, str, str, int]:
    return trade["signature"], trade["venue"], trade["event"], trade["nth"]


def _trades(stored: list[dict[str, Any]], true: list[dict[str, Any]]) -> list[str]:
    found = {_key(trade): trade for trade in stored}
    wanted = {_key(trade): trade for trade in true}
    out = [f"trade {key} is stored and not in the ledger" for key in found.keys() - wanted.keys()]
    out += [f"trade {key} is missing" for key in wanted.keys() - found.keys()]
    if len(stored) != len(found):
        out.append(f"{len(stored) - len(found)} trades are stored twice")
    for key in found.keys() & wanted.keys():
        is_, should = found[key], wanted[key]
        for name in is_:
            value = (is_[name] or 0) if name in _FEES else is_[name]
            if value != should[name] and not (name in _MARK and _is_halved(is_, should)):
                out.append(f"trade {key}: {name} is {is_[name]}, should be {should[name]}")
    return out


def _is_halved(is_: dict[str, Any], should: dict[str, Any]) -> bool:
    """Tell whether a mark is the true one, halved until it fits a BIGINT: that of a linear curve has 128 bits."""
    over = max(should["mark_base"], should["mark_quote"]).bit_length() - _BIGINT.bit_length()
    if over <= 0:
        return False
    return (is_["mark_base"], is_["mark_quote"]) == (should["mark_base"] >> over, should["mark_quote"] >> over)


def _tokens(stored: dict[str, dict[str, Any]], ledger: dict[str, Any], venues: set[str]) -> list[str]:
    wanted = {entry["mint"]: entry for entry in ledger["launches"] if entry["venue"] in venues}
    completed = {entry["mint"]: entry for entry in ledger["completions"] if entry["venue"] in venues}
    graduated = {entry["mint"]: entry for entry in ledger["graduations"] if entry["venue"] in venues}
    burned = _burned_unseen(ledger, venues)
    out = [f"token {mint} is stored and was never launched" for mint in stored.keys() - wanted.keys()]
    out += [f"token {mint} is missing" for mint in wanted.keys() - stored.keys()]
    for mint in stored.keys() & wanted.keys():
        launch, is_ = wanted[mint], stored[mint]
        names = (
            "platform", "platform_config", "name", "symbol", "uri", "decimals", "creator", "payer", "token_program",
            "curve_kind",
        )  # fmt: skip
        should = {name: launch[name] for name in names} | {
            "supply": ledger["mints"][mint]["supply"] + burned.get(mint, 0),
            "curve": launch["pool"],
            "launch_signature": launch["signature"],
            "launched_at": launch["block_time"],
            "completed_signature": completed.get(mint, {}).get("signature"),
            "graduated_signature": graduated.get(mint, {}).get("signature"),
            "graduation_pool": graduated.get(mint, {}).get("to_pool"),
        }
        if launch["venue"] == "pumpfun":
            should |= {name: launch[name] for name in ("for_sale", "is_mayhem", "is_cashback", "is_holder_reward")}
        out += [
            f"token {mint}: {name} is {is_[name]}, should be {value}"
            for name, value in should.items()
            if is_[name] != value
        ]
    return out


def _burned_unseen(ledger: dict[str, Any], venues: set[str]) -> dict[str, int]:
    """
    Return by mint what was burned after its supply was told for the last time.

    Launches and PumpSwap's trades tell it, a boost's burn what it was before. Nobody else burns.
    """
    last: dict[str, dict[str, Any]] = {}
    burned: dict[str, int] = {}
    for trade in ledger["trades"]:
        if trade["venue"] in venues:
            last[trade["mint"]] = trade
        elif not trade["organic"]:
            burned[trade["mint"]] = burned.get(trade["mint"], 0) + trade["base_amount"]
    return burned | {mint: trade["base_amount"] for mint, trade in last.items() if not trade["organic"]}


def _real(pool: dict[str, Any], ledger_launch: dict[str, Any] | None) -> dict[str, int]:
    """Return the real reserves that events tell of a pool."""
    if pool["venue"] == "raydium_launchpad" and ledger_launch is not None:  # the ledger has what was sold
        return {"real_base": ledger_launch["for_sale"] - pool["real_base"], "real_quote": pool["real_quote"]}
    return {"real_base": pool["real_base"], "real_quote": pool["real_quote"] + pool.get("swept", 0)}


def _pools(stored: dict[str, dict[str, Any]], ledger: dict[str, Any], venues: set[str]) -> list[str]:
    wanted = {address: pool for address, pool in ledger["pools"].items() if pool["venue"] in venues}
    to_pool = {entry["pool"]: entry for entry in ledger["graduations"]}
    seeds = {entry["to_pool"]: entry for entry in ledger["graduations"]}
    traded = {trade["pool"] for trade in ledger["trades"]}
    launches = {entry["pool"]: entry for entry in ledger["launches"]}
    # A graduation names its new pool also where that pool's venue is not followed.
    known = wanted.keys() | {entry["to_pool"] for entry in ledger["graduations"] if entry["venue"] in venues}
    out = [f"pool {address} is stored and does not exist" for address in stored.keys() - known]
    out += [f"pool {address} is missing" for address in known - stored.keys()]
    for address in stored.keys() & wanted.keys():
        is_, pool = stored[address], wanted[address]
        should = {"mint": pool["mint"], "quote_mint": pool["quote_mint"], "venue": pool["venue"]}
        if address in traded:
            should |= {name: pool[name] for name in ("mark_base", "mark_quote")}
        if address in traded or address in seeds:
            should |= _real(pool, launches.get(address))
        if address in launches:
            should["complete"] = pool["complete"]
        if address in to_pool:
            should["graduated_to"] = to_pool[address]["to_pool"]
        if address in seeds:
            should |= {"seed_base": seeds[address]["base_amount"], "seed_quote": seeds[address]["quote_amount"]}
        out += [
            f"pool {address}: {name} is {is_[name]}, should be {value}"
            for name, value in should.items()
            if is_[name] != value and not (name in _MARK and _is_halved(is_, pool))
        ]
    return out
