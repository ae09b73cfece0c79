"""JSON-RPC text to messages and back."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from monitor.sources import rpc
from tests.sources import said


def test_notifications_are_read() -> None:
    """Each notification gives its typed message, members in any order, unknown members passed over."""
    logs = rpc.read_message(said.logs(1, 7, 3, err={"InstructionError": [0, "X"]}))
    assert isinstance(logs, rpc.LogsNotification)
    assert (logs.params.subscription, logs.params.result.context.slot) == (3, 7)
    assert logs.params.result.value.logs == ["Program log: 1"]
    assert logs.params.result.value.err
    reordered = b'{"params":{"subscription":4,"result":{"root":1,"parent":8,"slot":9}},"method":"slotNotification"}'
    slot = rpc.read_message(reordered)
    assert slot == rpc.SlotNotification(rpc.SlotParams(rpc.SlotResult(9, 8, 1), 4))
    block = rpc.read_message(said.block(9, [said.entry(1)], 5))
    assert isinstance(block, rpc.BlockNotification)
    assert block.params.result.value.block is not None
    assert len(block.params.result.value.block.transactions) == 1


def test_answers_are_read() -> None:
    """Results stay text (null is one), errors are typed."""
    answer = rpc.read_message(said.result(None, 4))
    assert isinstance(answer, rpc.Response)
    assert (answer.id, bytes(answer.result), answer.error) == (4, b"null", None)
    failed = rpc.read_message(said.error(-32601, "Method not found", "x"))
    assert isinstance(failed, rpc.Response)
    assert failed.error == rpc.RpcError(-32601, "Method not found")
    assert failed.error.kind == "unknown_method"


@pytest.mark.parametrize(
    "text",
    [
        b"",
        b"{",
        b"null",
        b"[]",
        b"\xff\xfe",
        b"{}",
        b'{"id":1}',
        b'{"method":"fooNotification","params":{"result":1,"subscription":1}}',
        b'{"method":"logsNotification","params":{}}',
        b'{"method":"slotNotification","params":{"result":{"slot":-1,"parent":0,"root":0},"subscription":1}}',
        b'{"method":"slotNotification","params":{"result":{"slot":1e99,"parent":0,"root":0},"subscription":1}}',
        b"[" * 100_000,
        b'{"id":' + b"[" * 100_000,
    ],
)
def test_other_text_is_malformed(text: bytes) -> None:
    """Text that is no message says why, and how it begins."""
    message = rpc.read_message(text)
    assert isinstance(message, rpc.Malformed)
    assert message.reason
    assert len(message.excerpt) <= 200
    assert isinstance(rpc.read_response(text), rpc.Malformed)


@given(st.binary() | st.text())
def test_no_text_raises(text: bytes | str) -> None:
    """Any text is a message or malformed."""
    rpc.read_message(text)
    rpc.read_response(text)


@given(st.data())
def test_no_spoilt_notification_raises(data: st.DataObject) -> None:
    """A notification with bytes overwritten is a message or malformed."""
    text = bytearray(data.draw(st.sampled_from([said.logs(1, 2, 3), said.slot(40, 2), said.block(3, [], 1)])))
    at = data.draw(st.integers(0, len(text)))
    text[at : at + data.draw(st.integers(0, 3))] = data.draw(st.binary(max_size=5))
    rpc.read_message(bytes(text))


@pytest.mark.parametrize(
    ("code", "kind"),
    [
        (-32601, "unknown_method"),
        (-32004, "not_yet"),
        (-32014, "not_yet"),
        (-32005, "not_yet"),
        (-32007, "not_there"),
        (-32009, "not_there"),
        (-32001, "pruned"),
        (-32010, "bad_request"),
        (-32011, "no_history"),
        (-32015, "version"),
        (-32016, "not_yet"),
        (-32019, "unreachable"),
        (-32020, "not_there"),
        (429, "limited"),
        (-32429, "limited"),
        (401, "forbidden"),
        (403, "forbidden"),
        (-32602, "bad_request"),
        (-1, "internal"),
        (None, "internal"),
    ],
)
def test_errors_have_kinds(code: int | None, kind: str) -> None:
    """Error codes, the node's and the provider's, say what to do."""
    assert rpc.kind_of(code) == kind


def test_words_of_limits_count_more_than_codes() -> None:
    """Providers give them under codes that a node uses for something else; a node's own words are no such."""
    assert rpc.kind_of(-32007, "50/second request limit reached") == "limited"
    assert rpc.kind_of(-32005, "Node is behind by 42 slots") == "not_yet"
    assert rpc.kind_of(-32007, "Slot 5 was skipped, or missing due to ledger jump to recent snapshot") == "not_there"


COMMITMENT: rpc.Commitment = "finalized"


@pytest.mark.parametrize(
    ("request_", "method", "params"),
    [
        (rpc.logs_subscribe("P", COMMITMENT), "logsSubscribe", [{"mentions": ["P"]}, {"commitment": "finalized"}]),
        (rpc.slot_subscribe(), "slotSubscribe", []),
        (rpc.get_blocks(1, 9, COMMITMENT), "getBlocks", [1, 9, {"commitment": "finalized"}]),
        (rpc.get_slot(COMMITMENT), "getSlot", [{"commitment": "finalized"}]),
        (rpc.get_block_time(4), "getBlockTime", [4]),
        (
            rpc.get_multiple_accounts(("A",), COMMITMENT),
            "getMultipleAccounts",
            [["A"], {"commitment": "finalized", "encoding": "base64"}],
        ),
        (rpc.get_signature_statuses(["S"]), "getSignatureStatuses", [["S"], {"searchTransactionHistory": True}]),
    ],
)
def test_requests(request_: rpc.Request, method: str, params: list[Any]) -> None:
    """Requests are written as nodes expect them."""
    assert msgspec.json.decode(rpc.encode(request_, 7)) == {
        "jsonrpc": "2.0",
        "id": 7,
        "method": method,
        "params": params,
    }


@pytest.mark.parametrize(
    "request_",
    [rpc.block_subscribe(COMMITMENT), rpc.get_block(1, COMMITMENT), rpc.get_transaction("S", COMMITMENT)],
)
def test_whole_copies_take_every_version(request_: rpc.Request) -> None:
    """Transactions of version 1 do not fail the request."""
    options = request_.params[1]
    assert options["maxSupportedTransactionVersion"] == 1
    assert (options["encoding"], options["commitment"]) == ("json", "finalized")
    assert options.get("transactionDetails") == (None if request_.method == "getTransaction" else "full")
