"""PubSub subscriptions: what a client asked for, and the notifications that answer it. Without any I/O."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import msgspec

from decoders.core import base58
from simulator.node import errors, transactions
from simulator.node.blocks import block_body
from simulator.node.params import address_of, commitment_of, config_of, encoding_of, positional

if TYPE_CHECKING:
    from simulator.chain import Block, Commitment
    from simulator.node.transactions import Wanted
    from simulator.rendering import Renderer
    from simulator.transaction import Transaction

Kind = Literal["logs", "block", "transaction", "slot", "root"]
KINDS: tuple[Kind, ...] = ("logs", "block", "transaction", "slot", "root")
_encode = msgspec.json.encode


@dataclass(frozen=True, slots=True)
class Subscription:
    """One subscription; `mentions` None takes everything; `wanted` is what one of transactions asks for."""

    id: int
    kind: Kind
    commitment: Commitment
    mentions: bytes | None
    config: dict[str, Any]
    wanted: Wanted | None = None

    def frame(self, result: bytes) -> bytes:
        """Return the notification that carries this result."""
        return b'{"jsonrpc":"2.0","method":"%sNotification","params":{"result":%b,"subscription":%d}}' % (
            self.kind.encode(),
            result,
            self.id,
        )


def subscription(number: int, kind: Kind, params: list[Any]) -> Subscription:
    """
    Return what a subscribe call asks for.

    Raises:
        RpcError: As a node answers what it cannot serve.
    """
    if kind in ("slot", "root"):
        return Subscription(number, kind, "processed", None, {})
    if kind == "transaction":
        found, config = positional(params, 0, dict, "filter"), config_of(params, 1)
        return Subscription(number, kind, commitment_of(config), None, config, transactions.wanted(found, config))
    wanted = positional(params, 0, (str, dict), "filter")
    config = config_of(params, 1)
    commitment = commitment_of(config)
    if kind == "block":
        if commitment == "processed":
            raise errors.invalid_params("Method does not support commitment below `confirmed`")
        encoding_of(config)
        return Subscription(number, kind, commitment, _block_filter(wanted), config)
    return Subscription(number, kind, commitment, _log_filter(wanted), config)


def _log_filter(wanted: str | dict[str, Any]) -> bytes | None:
    match wanted:
        case "all" | "allWithVotes":
            return None
        case {"mentions": [str(one)]}:
            return address_of(one)
        case {"mentions": [*_]}:
            raise errors.invalid_params("Invalid Request: Only 1 address supported")
        case _:
            raise errors.invalid_params("Invalid params: unknown filter.")


def _block_filter(wanted: str | dict[str, Any]) -> bytes | None:
    match wanted:
        case "all":
            return None
        case {"mentionsAccountOrProgram": str(one)}:
            return address_of(one)
        case _:
            raise errors.invalid_params("Invalid params: unknown filter.")


def slot_result(slot: int, parent: int, root: int) -> bytes:
    """Return the result of a slotNotification."""
    return _encode({"parent": parent, "root": root, "slot": slot})


def logs_result(tx: Transaction, renderer: Renderer) -> bytes:
    """Return the result of a logsNotification."""
    value = {"signature": base58.encode(tx.signature), "err": tx.error, "logs": renderer.logs(tx)}
    return _encode({"context": {"slot": tx.slot}, "value": value})


def block_result(block: Block, renderer: Renderer, wanted: Subscription) -> bytes | None:
    """Return the result of a blockNotification; None where nothing in the block is wanted."""
    shown = block.transactions
    if wanted.mentions is not None:
        shown = [tx for tx in shown if wanted.mentions in tx.mentions()]
        if not shown:
            return None
    value: dict[str, Any] = {"slot": block.slot, "block": None, "err": None}
    try:
        value["block"] = block_body(block, renderer, wanted.config, shown)
    except errors.RpcError as error:
        if error.code != -32015:
            raise
        value["err"] = {"UnsupportedTransactionVersion": max(tx.version for tx in shown if tx.version != "legacy")}
    return _encode({"context": {"slot": block.slot}, "value": value})
