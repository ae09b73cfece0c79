"""Transactions of the simulator, as the project's decoders take them in."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

import msgspec

from decoders.core.transaction import parse_transaction, read_transaction

if TYPE_CHECKING:
    from decoders.core.types import TxNotice
    from simulator.chain import Block
    from simulator.rendering import Encoding, Renderer
    from simulator.transaction import Transaction


def notice(
    renderer: Renderer, block: Block, tx: Transaction, encoding: str, programs: frozenset[str]
) -> TxNotice | None:
    """Return a transaction as read from the node's answer about it."""
    body = renderer.transaction(tx, block.parent_hash, cast("Encoding", encoding))
    body |= {"slot": block.slot, "blockTime": block.time, "transactionIndex": tx.index}
    return parse_transaction(read_transaction(msgspec.json.encode(body)), programs=programs)
