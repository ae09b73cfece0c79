"""JSON-RPC errors as Solana nodes answer them (agave rpc-client-api/custom_error)."""

from __future__ import annotations

from typing import Any


class RpcError(Exception):
    """An answer that is an error object."""

    def __init__(self, code: int, message: str, data: Any = None) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.data = data

    def body(self) -> dict[str, Any]:
        """Return the error object."""
        body: dict[str, Any] = {"code": self.code, "message": self.message}
        if self.data is not None:
            body["data"] = self.data
        return body


def invalid_params(text: str) -> RpcError:
    """Return the error for parameters that cannot be read."""
    return RpcError(-32602, text)


def method_not_found() -> RpcError:
    """Return the error for an unknown method."""
    return RpcError(-32601, "Method not found")


def block_not_available(slot: int) -> RpcError:
    """Return the error for a slot that is not there yet."""
    return RpcError(-32004, f"Block not available for slot {slot}")


def slot_skipped(slot: int) -> RpcError:
    """Return the error for a slot without a block (or one that the node lacks: it cannot tell)."""
    return RpcError(-32007, f"Slot {slot} was skipped, or missing due to ledger jump to recent snapshot")


def missing_in_storage(slot: int) -> RpcError:
    """Return the error for a slot older than the node's storage, where long-term storage lacks it as well."""
    return RpcError(-32009, f"Slot {slot} was skipped, or missing in long-term storage")


def status_not_available(slot: int) -> RpcError:
    """Return the error for a block whose transactions' statuses the node has not stored yet."""
    return RpcError(-32014, f"Block status not yet available for slot {slot}")


def version_not_supported(version: int) -> RpcError:
    """Return the error for a transaction newer than the caller says it can read."""
    return RpcError(
        -32015,
        f"Transaction version ({version}) is not supported by the requesting client. Please try the request again with "
        f'the following configuration parameter: "maxSupportedTransactionVersion": {version}',
    )


def min_context_slot(slot: int) -> RpcError:
    """Return the error for a caller that wants a newer node."""
    return RpcError(-32016, "Minimum context slot has not been reached", {"contextSlot": slot})
