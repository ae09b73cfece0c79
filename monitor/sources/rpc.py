"""JSON-RPC as Solana nodes speak it: requests to text, text to messages. Nothing here raises on what a node says."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal, TypeAlias

import msgspec

from decoders.core.answers import BlockAnswer, Slot

if TYPE_CHECKING:
    from collections.abc import Sequence

Commitment = Literal["confirmed", "finalized"]
Kind = Literal[
    "unknown_method",
    "bad_request",
    "forbidden",
    "limited",
    "not_yet",
    "not_there",
    "pruned",
    "version",
    "internal",
]
"""
What an error means to the one who asked.

`not_yet`: ask again. `not_there`: no such block *here*, which proves nothing about the slot. `pruned`: this node has
forgotten it.
"""

MAX_TRANSACTION_VERSION = 1
MAX_ACCOUNTS_PER_CALL = 100
MAX_SIGNATURES_PER_CALL = 256
_EXCERPT_BYTES = 200

# Agave rpc-client-api/src/custom_error.rs; the last ones are HTTP status codes that providers repeat in the body.
_KIND_BY_CODE: dict[int, Kind] = {
    -32601: "unknown_method",
    -32600: "bad_request",
    -32602: "bad_request",
    -32700: "bad_request",
    -32001: "pruned",
    -32004: "not_yet",
    -32005: "not_yet",
    -32007: "not_there",
    -32009: "not_there",
    -32011: "pruned",
    -32014: "not_yet",
    -32015: "version",
    -32016: "not_yet",
    -32019: "not_yet",
    -32401: "forbidden",
    -32403: "forbidden",
    -32429: "limited",
    401: "forbidden",
    403: "forbidden",
    429: "limited",
}


class Request(msgspec.Struct, frozen=True):
    """A call without its id."""

    method: str
    params: tuple[Any, ...] = ()


class RpcError(msgspec.Struct, frozen=True):
    """The error member of an answer."""

    code: int
    message: str = ""

    @property
    def kind(self) -> Kind:
        """What the code means."""
        return kind_of(self.code)


class Response(msgspec.Struct, frozen=True):
    """An answer to the request `id`; `result` is JSON text still (b"null" counts, b"" means there was none)."""

    id: int | str | None
    result: msgspec.Raw = msgspec.Raw()
    error: RpcError | None = None


class Context(msgspec.Struct, frozen=True):
    """The slot at which a node answered."""

    slot: Slot


class LogsValue(msgspec.Struct, frozen=True):
    """Log lines of a transaction; None where the node has none."""

    signature: str
    err: Any
    logs: list[str] | None


class LogsResult(msgspec.Struct, frozen=True):
    """See `LogsNotification`."""

    context: Context
    value: LogsValue


class LogsParams(msgspec.Struct, frozen=True):
    """See `LogsNotification`."""

    result: LogsResult
    subscription: int


class LogsNotification(msgspec.Struct, frozen=True, tag_field="method", tag="logsNotification"):
    """A transaction named a followed program."""

    params: LogsParams


class SlotResult(msgspec.Struct, frozen=True):
    """See `SlotNotification`."""

    slot: Slot
    parent: Slot
    root: Slot


class SlotParams(msgspec.Struct, frozen=True):
    """See `SlotNotification`."""

    result: SlotResult
    subscription: int


class SlotNotification(msgspec.Struct, frozen=True, tag_field="method", tag="slotNotification"):
    """The node began to work on a slot."""

    params: SlotParams


class BlockValue(msgspec.Struct, frozen=True):
    """A block, or why the node cannot give it (`block` None, `err` not)."""

    slot: Slot
    err: Any = None
    block: BlockAnswer | None = None


class BlockResult(msgspec.Struct, frozen=True):
    """See `BlockNotification`."""

    value: BlockValue


class BlockParams(msgspec.Struct, frozen=True):
    """See `BlockNotification`."""

    result: BlockResult
    subscription: int


class BlockNotification(msgspec.Struct, frozen=True, tag_field="method", tag="blockNotification"):
    """A block reached the commitment."""

    params: BlockParams


class Malformed(msgspec.Struct, frozen=True):
    """Text that is no message we know: why, and how it begins."""

    reason: str
    excerpt: str


Notification: TypeAlias = LogsNotification | SlotNotification | BlockNotification
Message: TypeAlias = Notification | Response | Malformed

_notification_decoder: msgspec.json.Decoder[Notification] = msgspec.json.Decoder(Notification)
_response_decoder = msgspec.json.Decoder(Response)


def kind_of(code: int | None) -> Kind:
    """Return what an error code (JSON-RPC or HTTP) means; None: there was no answer at all."""
    return _KIND_BY_CODE.get(code, "internal") if code is not None else "internal"


def read_message(text: bytes | str) -> Message:
    """Return the message that a frame holds. Never raises: what cannot be read is `Malformed`."""
    try:
        return _notification_decoder.decode(text)
    except msgspec.ValidationError as error:
        response = read_response(text)
        return Malformed(str(error), response.excerpt) if isinstance(response, Malformed) else response
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        return _malformed(text, error)


def read_response(text: bytes | str) -> Response | Malformed:
    """Return the answer that an HTTP body holds. Never raises."""
    try:
        response = _response_decoder.decode(text)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        return _malformed(text, error)
    if response.error is None and not bytes(response.result):
        return _malformed(text, ValueError("neither result nor error"))
    return response


def _malformed(text: bytes | str, error: Exception) -> Malformed:
    start = text[:_EXCERPT_BYTES]
    return Malformed(str(error), start if isinstance(start, str) else start.decode("utf-8", "replace"))


def encode(request: Request, request_id: int) -> bytes:
    """Return a request's JSON text."""
    body = {"jsonrpc": "2.0", "id": request_id, "method": request.method, "params": request.params}
    return msgspec.json.encode(body)


def logs_subscribe(program: str, commitment: Commitment) -> Request:
    """Ask for the logs of every transaction that names `program`."""
    return Request("logsSubscribe", ({"mentions": [program]}, {"commitment": commitment}))


def slot_subscribe() -> Request:
    """Ask for every slot that the node begins."""
    return Request("slotSubscribe")


def block_subscribe(commitment: Commitment) -> Request:
    """Ask for every block, whole, in json: measured, that costs less to read than base64, whose keys need solders."""
    return Request("blockSubscribe", ("all", _whole(commitment, transactionDetails="full", showRewards=False)))


def get_transaction(signature: str, commitment: Commitment) -> Request:
    """Ask for one transaction; the answer is null while the node does not know it."""
    return Request("getTransaction", (signature, _whole(commitment)))


def get_block(slot: int, commitment: Commitment) -> Request:
    """Ask for a block, whole."""
    return Request("getBlock", (slot, _whole(commitment, transactionDetails="full", rewards=False)))


def get_block_header(slot: int, commitment: Commitment) -> Request:
    """Ask for a block without its transactions."""
    return Request("getBlock", (slot, _whole(commitment, transactionDetails="none", rewards=False)))


def get_blocks(first_slot: int, last_slot: int, commitment: Commitment) -> Request:
    """Ask which slots of a range (both ends included, 500,000 at most) have a block."""
    return Request("getBlocks", (first_slot, last_slot, {"commitment": commitment}))


def get_slot(commitment: Commitment) -> Request:
    """Ask for the newest slot."""
    return Request("getSlot", ({"commitment": commitment},))


def get_block_time(slot: int) -> Request:
    """Ask for the time of a block (Unix seconds)."""
    return Request("getBlockTime", (slot,))


def get_multiple_accounts(addresses: Sequence[str], commitment: Commitment) -> Request:
    """Ask for up to `MAX_ACCOUNTS_PER_CALL` accounts."""
    return Request("getMultipleAccounts", (list(addresses), {"commitment": commitment, "encoding": "base64"}))


def get_signature_statuses(signatures: Sequence[str]) -> Request:
    """Ask what became of up to `MAX_SIGNATURES_PER_CALL` transactions."""
    return Request("getSignatureStatuses", (list(signatures), {"searchTransactionHistory": True}))


def get_health() -> Request:
    """Ask whether the node keeps up."""
    return Request("getHealth")


def get_version() -> Request:
    """Ask for the node's software."""
    return Request("getVersion")


def _whole(commitment: Commitment, **options: Any) -> dict[str, Any]:
    version = {"maxSupportedTransactionVersion": MAX_TRANSACTION_VERSION}
    return {"encoding": "json", "commitment": commitment, **version, **options}
