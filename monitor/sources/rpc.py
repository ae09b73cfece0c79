"""JSON-RPC as Solana nodes speak it: requests to text, text to messages. Nothing here raises on what a node says."""

from __future__ import annotations

from http import HTTPStatus
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

import msgspec

from decoders.core.answers import BlockAnswer, Place, Slot, UnixTime

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
    "no_history",
    "unreachable",
    "version",
    "internal",
]
"""
What an error means to the one who asked.

`not_yet`: ask again. `not_there`: no such block *here*, which proves nothing about the slot. `pruned`: this node has
forgotten it. `no_history`: it keeps no transactions at all. `unreachable`: its long-term storage does not answer.
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
    -32001: "pruned",  # block cleaned up
    -32004: "not_yet",  # block not available (yet)
    -32005: "not_yet",  # node unhealthy: it is behind
    -32007: "not_there",  # skipped, or missing due to a ledger jump
    -32009: "not_there",  # skipped, or missing in long-term storage
    -32010: "bad_request",  # key excluded from the secondary index
    -32011: "no_history",  # transaction history not available
    -32013: "bad_request",  # signature of a wrong length
    -32014: "not_yet",  # block status not yet available
    -32015: "version",  # transaction version not supported
    -32016: "not_yet",  # minimum context slot not reached
    -32019: "unreachable",  # long-term storage unreachable
    -32020: "not_there",  # the transaction of a filter not found
    -32401: "forbidden",
    -32403: "forbidden",
    -32429: "limited",
    401: "forbidden",
    403: "forbidden",
    429: "limited",
}
# JSON-RPC's "internal error", the codes that Agave has given out, and what HTTP servers and their proxies answer.
_LABELLED = frozenset({*_KIND_BY_CODE, -32603, *range(-32021, -32000), *HTTPStatus, *range(500, 600)})
# Some providers tell of limits in words alone, under codes that mean something else (-32005, -32007) or nothing.
_LIMITED_WORDS = ("rate limit", "too many requests", "request limit", "limit exceeded", "limit reached", "max usage")


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
        return kind_of(self.code, self.message)


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


class TransactionResult(msgspec.Struct, frozen=True, rename="camel"):
    """A transaction as an entry of a block holds it, as JSON text still; its place only where a provider tells it."""

    signature: str
    slot: Slot
    transaction: msgspec.Raw
    transaction_index: Place | None = None
    block_time: UnixTime = None


class TransactionParams(msgspec.Struct, frozen=True):
    """See `TransactionNotification`."""

    result: TransactionResult
    subscription: int


class TransactionNotification(msgspec.Struct, frozen=True, tag_field="method", tag="transactionNotification"):
    """A transaction named a followed program: all of it (Helius, and who speaks like it)."""

    params: TransactionParams


class Malformed(msgspec.Struct, frozen=True):
    """
    Text that is no message we know: why, and how it begins.

    `method` and `subscription` are those of a notification, as far as it tells them.
    """

    reason: str
    excerpt: str
    method: str | None = None
    subscription: int | None = None


Notification: TypeAlias = LogsNotification | SlotNotification | BlockNotification | TransactionNotification
Message: TypeAlias = Notification | Response | Malformed


class _EnvelopeParams(msgspec.Struct, frozen=True):
    subscription: int | None = None


class _Envelope(msgspec.Struct, frozen=True):
    method: str | None = None
    params: _EnvelopeParams | None = None


_notification_decoder: msgspec.json.Decoder[Notification] = msgspec.json.Decoder(Notification)
_response_decoder = msgspec.json.Decoder(Response)
_envelope_decoder = msgspec.json.Decoder(_Envelope)


def kind_of(code: int | None, message: str = "") -> Kind:
    """Return what an error (JSON-RPC or HTTP code, and what is said with it) means; None: no answer at all."""
    told = message.lower()
    if any(words in told for words in _LIMITED_WORDS):
        return "limited"
    return _KIND_BY_CODE.get(code, "internal") if code is not None else "internal"


def code_label(code: int | None) -> str:
    """Return an error's code as a word for metrics: whatever a node may make up, there are not many such words."""
    if code is None:
        return "no_answer"
    return str(code) if code in _LABELLED else "other"


def read_message(text: bytes | str) -> Message:
    """Return the message that a frame holds. Never raises: what cannot be read is `Malformed`."""
    try:
        return _notification_decoder.decode(text)
    except msgspec.ValidationError as error:
        response = read_response(text)
        return response if isinstance(response, Response) else _unread(text, error)
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


def _unread(text: bytes | str, error: Exception) -> Malformed:
    malformed = _malformed(text, error)
    try:
        envelope = _envelope_decoder.decode(text)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return malformed
    subscription = None if envelope.params is None else envelope.params.subscription
    return Malformed(malformed.reason, malformed.excerpt, envelope.method, subscription)


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


def transaction_subscribe(programs: Sequence[str], commitment: Commitment) -> Request:
    """
    Ask for every successful transaction that names one of `programs`, whole. 50,000 at most.

    Providers offer no json here; base64 is the smallest of what they do, and they charge by the byte.
    """
    wanted = {"accountInclude": list(programs), "vote": False, "failed": False}
    options = _whole(commitment, transactionDetails="full", showRewards=False)
    return Request("transactionSubscribe", (wanted, {**options, "encoding": "base64"}))


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


def get_block_signatures(slot: int, commitment: Commitment) -> Request:
    """Ask for a block with nothing of its transactions but their signatures."""
    return Request("getBlock", (slot, _whole(commitment, transactionDetails="signatures", rewards=False)))


def get_first_available_block() -> Request:
    """Ask for the lowest slot whose block the node has not forgotten."""
    return Request("getFirstAvailableBlock")


def get_signature_statuses(signatures: Sequence[str], *, search: bool = True) -> Request:
    """Ask what became of up to `MAX_SIGNATURES_PER_CALL` transactions; not only of recent ones if `search` is set."""
    return Request("getSignatureStatuses", (list(signatures), {"searchTransactionHistory": search}))


def _whole(commitment: Commitment, **options: Any) -> dict[str, Any]:
    version = {"maxSupportedTransactionVersion": MAX_TRANSACTION_VERSION}
    return {"encoding": "json", "commitment": commitment, **version, **options}
