"""Transactions of the simulator, as the project's decoders take them in."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

import msgspec

from decoders.core import base58
from decoders.core.transaction import parse_transaction, read_transaction
from decoders.core.types import CurveComplete, Graduation, Launch, PoolCreated, PoolInfo, Trade
from simulator import ledger
from simulator.calls import LogWriter
from simulator.keys import text
from simulator.rendering import Renderer

if TYPE_CHECKING:
    from decoders.core.registry import Registry
    from decoders.core.types import TxNotice
    from simulator.chain import Block, Chain
    from simulator.market import Market
    from simulator.rendering import Encoding
    from simulator.transaction import Transaction

KINDS: dict[type[Any], str] = {
    ledger.Launch: Launch.kind,
    ledger.Trade: Trade.kind,
    ledger.Completion: CurveComplete.kind,
    ledger.Graduation: Graduation.kind,
    ledger.PoolOpened: PoolCreated.kind,
}
EQUAL = (
    "mint", "pool", "quote_mint", "trader", "side", "base_amount", "quote_amount", "user_quote_amount", "protocol_fee",
    "creator_fee", "lp_fee", "platform_fee", "share_fee", "cashback", "organic", "synthetic", "slot", "index",
    "block_time", "creator", "name", "symbol", "uri", "supply", "to_pool", "to_venue", "platform_config", "curve_kind",
)  # fmt: skip


def notice(
    renderer: Renderer, block: Block, tx: Transaction, encoding: str, programs: frozenset[str]
) -> TxNotice | None:
    """Return a transaction as read from the node's answer about it."""
    body = renderer.transaction(tx, block.parent_hash, cast("Encoding", encoding))
    body |= {"slot": block.slot, "blockTime": block.time, "transactionIndex": tx.index}
    return parse_transaction(read_transaction(msgspec.json.encode(body)), programs=programs)


def differences(market: Market, chain: Chain, registry: Registry, encoding: str = "json") -> list[Any]:
    """Return where what the project's decoders read from a chain's blocks is not the ledger, entry for entry."""
    renderer = Renderer(market.world.bank, LogWriter(), 10_000)
    pools: dict[str, PoolInfo] = {}
    found: dict[tuple[Any, ...], Any] = {}
    wrong: list[Any] = []
    for block in chain.blocks.values():
        for tx in block.transactions:
            one = notice(renderer, block, tx, encoding, registry.followed)
            for fact in registry.decode(one, pools).facts if one else ():
                if isinstance(fact, Launch | PoolCreated) and fact.pool not in pools:
                    assert fact.mint
                    assert fact.quote_mint
                    pools[fact.pool] = PoolInfo(fact.pool, fact.venue, fact.mint, fact.quote_mint, fact.platform)
                if fact.kind != "other":
                    key = (fact.signature, fact.program, fact.event, fact.nth, fact.kind)
                    wrong += [key] if key in found else []
                    found[key] = fact
    for entry in market.world.ledger.entries:
        said = entry.said
        key = (base58.encode(said.signature), text(said.program), said.event, said.nth, KINDS[type(entry)])
        fact, row = found.pop(key, None), ledger.row(entry)
        for name in EQUAL:
            if (
                name in row
                and (fact is None or hasattr(fact, name))
                and (getattr(fact, name, 0) or 0) != (row[name] or 0)
            ):
                wrong.append((name, key))
    return wrong + list(found)
