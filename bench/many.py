"""Make millions of trades on the server, as a day of a busy market would have left them."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from bench import database

if TYPE_CHECKING:
    import asyncpg

TOKENS = 20_000
WALLETS = 200_000
SECONDS = 50_000
"""What the trades are spread over: all of them lie in one day, before those of the simulated market."""
FIRST_SLOT = 454_000_000
FIRST_TIME = datetime(2026, 9, 21, tzinfo=UTC)
_FIRST_ID = 1_000_000
_CHUNK = 250_000

# Of base58's letters, as many as a signature (88) and an address (44) have. Base64 breaks its lines: `to` is shorter.
_BASE58 = r"""translate(encode({hash}({text}::bytea), 'base64'), E'+/=0OIl\n', 'abcdefg')"""
_SIGNATURE = _BASE58.format(hash="sha512", text="('signature ' || n)")
_ADDRESS = _BASE58.format(hash="sha256", text="('{kind} ' || {number})")
_WALLET = _ADDRESS.format(kind="wallet", number="wallet")

_MARKETS = f"""
WITH numbers AS (SELECT n, n + {_FIRST_ID} AS id FROM generate_series(1, {TOKENS}) AS n),
     new_mints AS (
INSERT INTO mints (id, address, symbol, name, decimals)
SELECT id, {_ADDRESS.format(kind="mint", number="n")}, 'T' || n, 'Token ' || n, 6 FROM numbers),
     new_curves AS (
INSERT INTO pools (id, address, kind, venue, token_id, quote_id, created_at)
SELECT id, {_ADDRESS.format(kind="pool", number="n")}, 'curve', 'pumpfun', id,
       (SELECT min(id) FROM mints), $1 FROM numbers)
INSERT INTO tokens (id, mint, platform, name, symbol, decimals, supply, launched_at, launch_order, curve_id)
SELECT id, {_ADDRESS.format(kind="mint", number="n")}, 'pumpfun', 'Token ' || n, 'T' || n, 6, 1000000000000000,
       $1::timestamptz + n * interval '1 second', n, id FROM numbers
"""  # noqa: S608  put together from the constants in this file alone
# Tokens are hot one after another: each trade is of one that was launched not long before it, most of them of a new
# one. Few wallets trade often, many seldom. A second holds its share of the trades, ten make a slot's.
_TRADES = f"""
INSERT INTO transactions (block_time, slot, chain_order, token_id, pool_id, quote_id, batch_no, base_amount,
    quote_amount, user_quote_amount, mark_base, mark_quote, real_base, real_quote, curve_sold, curve_total,
    protocol_fee, creator_fee,
    nth, order_exact, organic, synthetic, signature, venue, event, side, trader)
SELECT $1::timestamptz + floor(n::float8 / $4 * {SECONDS}) * interval '1 second', {FIRST_SLOT} + n / 100,
       (({FIRST_SLOT} + n / 100) << 32) | ((n % 100 + 1) << 14), token, token, (SELECT min(id) FROM mints), n / 5000,
       base, quote, quote + quote / 80, 1073000000000000 - base, 30000000000 + quote, 793100000000000 - base, quote,
       base, 793100000000000, quote / 100, quote / 300, 0, FALSE, TRUE, FALSE,
       {_SIGNATURE}, 'pumpfun', 'TradeEvent', CASE WHEN n % 5 < 3 THEN 'buy' ELSE 'sell' END, {_WALLET}
  FROM (SELECT n, 1 + {_FIRST_ID} + floor({TOKENS}::float8 * n / ($4 + 1) * power(random(), 0.1))::bigint AS token,
               floor({WALLETS} * power(random(), 3))::bigint AS wallet,
               1000000 + floor(random() * 1e13)::bigint AS base, 1000 + floor(random() * 3e9)::bigint AS quote
          FROM generate_series($2::bigint, $3::bigint) AS n OFFSET 0) AS made
"""  # noqa: S608  put together from the constants in this file alone


async def prepare(connection: asyncpg.Connection[Any]) -> None:
    """Make the tokens and pools of the trades, and room for these."""
    await database.make_room(connection, [FIRST_TIME + timedelta(seconds=SECONDS)])
    await connection.execute(_MARKETS, FIRST_TIME)


async def fill(connection: asyncpg.Connection[Any], first: int, last: int, of: int) -> None:
    """
    Make trades number `first` through `last`, with the table's indexes in place.

    Args:
        connection: To a database that is prepared.
        first: Counted from 1.
        last: Included.
        of: How many there will be in the end: they are spread over the time by this.
    """
    await connection.execute("SET synchronous_commit = off")
    for start in range(first, last + 1, _CHUNK):
        await connection.execute(_TRADES, FIRST_TIME, start, min(start + _CHUNK - 1, last), of)
    await connection.execute("RESET synchronous_commit")
