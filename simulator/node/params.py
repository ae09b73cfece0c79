"""Parameters of JSON-RPC calls: positions, config objects, and the errors for what cannot be read."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

from decoders.core import base58
from simulator.chain import COMMITMENTS
from simulator.node.errors import invalid_params, version_not_supported
from simulator.rendering import ENCODINGS

if TYPE_CHECKING:
    from collections.abc import Iterable

    from simulator.chain import Commitment
    from simulator.rendering import Encoding
    from simulator.transaction import Transaction


def positional(params: list[Any], at: int, kind: type | tuple[type, ...], what: str) -> Any:
    """Return a required parameter."""
    if at >= len(params):
        raise invalid_params(f"Invalid params: missing {what}.")
    if not isinstance(params[at], kind) or isinstance(params[at], bool):
        raise invalid_params(f"Invalid params: invalid type for {what}.")
    return params[at]


def config_of(params: list[Any], at: int) -> dict[str, Any]:
    """Return the config object at a position ({} if absent)."""
    found = params[at] if at < len(params) else None
    if found is None:
        return {}
    if not isinstance(found, dict):
        raise invalid_params("Invalid params: invalid type: expected a configuration object.")
    return found


def commitment_of(config: dict[str, Any], default: Commitment = "finalized") -> Commitment:
    """Return a call's commitment."""
    found = config.get("commitment") or default
    if found not in COMMITMENTS:
        raise invalid_params(f"Invalid params: unknown variant `{found}`.")
    return cast("Commitment", found)


def confirmed_at_least(config: dict[str, Any]) -> Commitment:
    """Return the commitment of a call about blocks and transactions, which do not know `processed`."""
    found = commitment_of(config)
    if found == "processed":
        raise invalid_params("Method does not support commitment below `confirmed`")
    return found


def encoding_of(config: dict[str, Any], default: Encoding = "json") -> Encoding:
    """Return how transactions are to be encoded."""
    found = config.get("encoding") or default
    if found not in ENCODINGS:
        raise invalid_params(f"Invalid params: unknown variant `{found}`.")
    return cast("Encoding", found)


def address_of(value: Any) -> bytes:
    """Return the 32 bytes of an address."""
    return _bytes_of(value, 32, "Invalid param: Invalid")


def signature_of(value: Any) -> bytes:
    """Return the 64 bytes of a signature."""
    return _bytes_of(value, 64, "Invalid param: Invalid")


def _bytes_of(value: Any, size: int, error: str) -> bytes:
    try:
        found = base58.decode(value) if isinstance(value, str) else b""
    except ValueError:
        found = b""
    if len(found) != size:
        raise invalid_params(error)
    return found


def check_versions(transactions: Iterable[Transaction], config: dict[str, Any]) -> None:
    """
    Refuse transactions newer than `maxSupportedTransactionVersion` (None: legacy alone).

    Raises:
        RpcError: -32015, naming the first such version.
    """
    highest = config.get("maxSupportedTransactionVersion")
    for tx in transactions:
        if tx.version != "legacy" and (highest is None or tx.version > highest):
            raise version_not_supported(tx.version)
