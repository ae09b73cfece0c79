"""Blocks as getBlock and blockNotification carry them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from decoders.core import base58
from simulator.keys import text
from simulator.node.errors import invalid_params
from simulator.node.params import check_versions, encoding_of

if TYPE_CHECKING:
    from simulator.chain import Block
    from simulator.rendering import Renderer
    from simulator.transaction import Transaction


def block_body(
    block: Block, renderer: Renderer, config: dict[str, Any], transactions: list[Transaction] | None = None
) -> dict[str, Any]:
    """
    Return a block.

    Args:
        config: The caller's: encoding, transactionDetails, rewards, maxSupportedTransactionVersion.
        transactions: Those to show; None for all.

    Raises:
        RpcError: If a transaction is newer than the caller can read, or the config cannot be served.
    """
    shown = block.transactions if transactions is None else transactions
    body: dict[str, Any] = {
        "blockHeight": block.height,
        "blockTime": block.time,
        "blockhash": text(block.hash),
        "parentSlot": block.parent,
        "previousBlockhash": text(block.parent_hash),
    }
    details = config.get("transactionDetails") or "full"
    if details == "signatures":
        body["signatures"] = [base58.encode(tx.signature) for tx in shown]
    elif details == "full":
        check_versions(shown, config)
        encoding = encoding_of(config)
        body["transactions"] = [renderer.transaction(tx, block.parent_hash, encoding) for tx in shown]
        if config.get("maxSupportedTransactionVersion") is None:
            for entry in body["transactions"]:
                entry.pop("version")
    elif details != "none":
        raise invalid_params(f"Invalid params: unsupported transactionDetails `{details}`.")
    if config.get("rewards", config.get("showRewards", True)):
        body["rewards"] = []
    return body
