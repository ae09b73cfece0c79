"""transactionSubscribe, as Helius and compatible providers speak it: what is asked for, and the notifications."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import msgspec

from decoders.core import base58
from simulator.node.errors import invalid_params
from simulator.node.params import address_of, encoding_of, signature_of

if TYPE_CHECKING:
    from simulator.chain import Block
    from simulator.rendering import Renderer
    from simulator.transaction import Transaction

_MOST_ADDRESSES = 50_000
_DETAILS = ("full", "accounts", "signatures", "none")
_ACCOUNTS_META = ("err", "status", "fee", "preBalances", "postBalances", "preTokenBalances", "postTokenBalances")
_encode = msgspec.json.encode


@dataclass(frozen=True, slots=True)
class Wanted:
    """Which transactions a client wants. There are no votes here; `include` empty takes everything."""

    failed: bool
    signature: bytes | None
    include: frozenset[bytes]
    exclude: frozenset[bytes]
    required: frozenset[bytes]
    newest_version: int | None

    def takes(self, tx: Transaction, mentions: set[bytes]) -> bool:
        """Return whether this transaction is wanted."""
        return (
            (self.failed or tx.error is None)
            and self.signature in (None, tx.signature)
            and (not self.include or not self.include.isdisjoint(mentions))
            and self.exclude.isdisjoint(mentions)
            and self.required <= mentions
            and (tx.version == "legacy" or self.newest_version is None or tx.version <= self.newest_version)
        )


def wanted(found: dict[str, Any], config: dict[str, Any]) -> Wanted:
    """
    Return what a filter and its options ask for.

    Raises:
        RpcError: If they cannot be served.
    """
    details = config.get("transactionDetails") or "full"
    newest = config.get("maxSupportedTransactionVersion")
    if details not in _DETAILS:
        raise invalid_params(f"Invalid params: unknown variant `{details}`.")
    if details in ("full", "accounts") and newest is None:
        raise invalid_params("Invalid params: maxSupportedTransactionVersion is required for these transactionDetails.")
    encoding_of(config)
    signature = found.get("signature")
    return Wanted(
        failed=found.get("failed") is not False,
        signature=None if signature is None else signature_of(signature),
        include=_addresses(found, "accountInclude"),
        exclude=_addresses(found, "accountExclude"),
        required=_addresses(found, "accountRequired"),
        newest_version=newest,
    )


def _addresses(found: dict[str, Any], name: str) -> frozenset[bytes]:
    given = found.get(name) or []
    if not isinstance(given, list) or len(given) > _MOST_ADDRESSES:
        raise invalid_params(f"Invalid params: {name} is a list of at most {_MOST_ADDRESSES} addresses.")
    return frozenset(address_of(one) for one in given)


def transaction_result(tx: Transaction, block: Block, renderer: Renderer, config: dict[str, Any]) -> bytes:
    """Return the result of a transactionNotification: it names no block time."""
    result: dict[str, Any] = {}
    match config.get("transactionDetails") or "full":
        case "full":
            result["transaction"] = renderer.transaction(tx, block.parent_hash, encoding_of(config))
        case "accounts":
            result["transaction"] = _accounts(renderer.transaction(tx, block.parent_hash, "jsonParsed"))
    result |= {"signature": base58.encode(tx.signature), "slot": tx.slot, "transactionIndex": tx.index}
    return _encode(result)


def _accounts(body: dict[str, Any]) -> dict[str, Any]:
    said, meta = body["transaction"], body["meta"]
    return {
        "transaction": {"signatures": said["signatures"], "accountKeys": said["message"]["accountKeys"]},
        "meta": {name: meta[name] for name in _ACCOUNTS_META},
        "version": body["version"],
    }
