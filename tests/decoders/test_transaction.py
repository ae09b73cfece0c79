"""Transactions as nodes answer them: recorded ones, in every encoding, and spoilt in every way."""

from __future__ import annotations

import base64
import contextlib
import copy
import json
import re
from typing import TYPE_CHECKING, Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from solders.hash import Hash
from solders.instruction import CompiledInstruction
from solders.message import Message, MessageAddressTableLookup, MessageHeader, MessageV0, MessageV1, TransactionConfig
from solders.pubkey import Pubkey
from solders.signature import Signature
from solders.transaction import VersionedTransaction

from decoders.core import base58
from decoders.core.carriers import SELF_CPI_TAG
from decoders.core.transaction import (
    TransactionError,
    convert_transaction,
    parse_block,
    parse_transaction,
    read_block,
    read_transaction,
    sane_time,
)
from decoders.core.types import TokenBalance
from tests import mainnet

if TYPE_CHECKING:
    from decoders.core.types import TxNotice

PROGRAMS = frozenset({mainnet.PUMPFUN, mainnet.PUMPSWAP, mainnet.LAUNCHLAB, mainnet.MAYHEM})
RECORDED = [pytest.param(line, id=line.where) for line in mainnet.recorded("transaction")]

ROUTER, OTHER = str(Pubkey(b"\7" * 32)), str(Pubkey(b"\6" * 32))
PAYER, VAULT, MINT = (str(Pubkey(bytes([n]) * 32)) for n in (1, 2, 3))
SIGNATURE = str(Signature(b"\5" * 64))


def parse(value: Any, **known: Any) -> TxNotice:
    """Parse what must be relevant."""
    notice = parse_transaction(convert_transaction(value), **{"slot": 1, "programs": PROGRAMS, **known})
    assert notice is not None
    return notice


def instruction(program: int, data: bytes, accounts: tuple[int, ...] = (), height: int | None = None) -> dict[str, Any]:
    """Return an instruction as in the encoding json."""
    return {
        "programIdIndex": program,
        "accounts": list(accounts),
        "data": base58.encode(data),
        "stackHeight": height,
    }


def answer(**changes: Any) -> dict[str, Any]:
    """
    Return a small transaction: an outer call of pump.fun, one of a router that calls it, each leaving an event.

    `changes` replace members of the transaction's `meta` or, where it has none such, of the answer.
    """
    keys = [PAYER, VAULT, mainnet.PUMPFUN, ROUTER]
    outer = [instruction(2, b"buy", (0, 1), 1), instruction(3, b"route", (0,), 1)]
    event = SELF_CPI_TAG + b"event"
    meta: dict[str, Any] = {
        "err": None,
        "innerInstructions": [
            {"index": 0, "instructions": [instruction(2, event, (1,), 2)]},
            {"index": 1, "instructions": [instruction(2, b"sell", (4, 5), 2), instruction(2, event, (1,), 3)]},
        ],
        "logMessages": ["Program log: hello"],
        "preTokenBalances": [balance(1, "5")],
        "postTokenBalances": [balance(1, "7"), balance(4, "18446744073709551615")],
        "loadedAddresses": {"writable": [MINT], "readonly": [OTHER]},
    }
    whole: dict[str, Any] = {
        "slot": 7,
        "blockTime": 1_791_106_392,
        "version": 0,
        "transaction": {"signatures": [SIGNATURE], "message": {"accountKeys": keys, "instructions": outer}},
        "meta": meta,
    }
    for name, value in changes.items():
        (meta if name in meta else whole)[name] = value
    return whole


def balance(account: int, amount: str) -> dict[str, Any]:
    """Return a token balance as nodes write it."""
    ui = {"amount": amount, "decimals": 6, "uiAmount": None, "uiAmountString": amount}
    return {"accountIndex": account, "mint": MINT, "owner": PAYER, "uiTokenAmount": ui}


def as_wire(value: dict[str, Any], version: str) -> dict[str, Any]:
    """Return the answer with its transaction in base64. Only version 0 loads keys: in others they join the rest."""
    message = value["transaction"]["message"]
    loaded = value["meta"].get("loadedAddresses") or {"writable": [], "readonly": []}
    joined = [] if version == "0" else loaded["writable"] + loaded["readonly"]
    keys = [Pubkey.from_string(key) for key in message["accountKeys"] + joined]
    header = MessageHeader(1, 0, 0)
    calls = [
        CompiledInstruction(call["programIdIndex"], base58.decode(call["data"]), bytes(call["accounts"]))
        for call in message["instructions"]
    ]
    lookup = MessageAddressTableLookup(
        Pubkey.from_string(OTHER), bytes(range(len(loaded["writable"]))), bytes(range(len(loaded["readonly"])))
    )
    wire: Message | MessageV0 | MessageV1
    match version:
        case "legacy":
            wire = Message.new_with_compiled_instructions(1, 0, 0, keys, Hash.default(), calls)
        case "0":
            wire = MessageV0(header, keys, Hash.default(), calls, [lookup])
        case _:
            wire = MessageV1(header, TransactionConfig(compute_unit_limit=200_000), Hash.default(), keys, calls)
    signatures = [Signature.from_string(text) for text in value["transaction"]["signatures"][:1]]
    data = base64.b64encode(bytes(VersionedTransaction.populate(wire, signatures))).decode()
    meta = value["meta"] if version == "0" else {**value["meta"], "loadedAddresses": None}
    return {**value, "transaction": [data, "base64"], "meta": meta}


def as_parsed(value: dict[str, Any]) -> dict[str, Any]:
    """Return the answer as the encoding jsonParsed writes it."""
    parsed = copy.deepcopy(value)
    loaded = parsed["meta"].pop("loadedAddresses", None) or {"writable": [], "readonly": []}
    message = parsed["transaction"]["message"]
    keys = message["accountKeys"] + loaded["writable"] + loaded["readonly"]
    message["accountKeys"] = [{"pubkey": key, "signer": False, "writable": True, "source": "x"} for key in keys]
    groups = [message["instructions"], *(group["instructions"] for group in parsed["meta"]["innerInstructions"])]
    for calls in groups:
        for call in calls:
            call["programId"] = keys[call.pop("programIdIndex")]
            call["accounts"] = [keys[place] for place in call["accounts"]]
            if call["programId"] not in PROGRAMS:
                call["parsed"] = {"info": {}, "type": "something"}
                del call["data"], call["accounts"]
    return parsed


class TestRecorded:
    """What mainnet nodes answered."""

    @pytest.mark.parametrize("line", RECORDED)
    def test_every_event_call_is_found(self, line: mainnet.Recorded) -> None:
        """Signature, time and the lengths of all self-CPI events are those of the index, in order."""
        notice = parse(line.load(), slot=None if line.slot and "blocksubscribe" not in line.where else 1)
        events = re.search(r"cpi events:(\[[^]]*])", line.what)
        assert events
        assert notice.signature == line.signature
        assert [len(data) - 8 for data in event_calls(notice)] == json.loads(events[1])
        assert not notice.failed
        assert notice.logs

    @pytest.mark.parametrize("line", RECORDED)
    def test_event_calls_are_the_logged_events(self, line: mainnet.Recorded) -> None:
        """Each event in a self-CPI call stands in a `Program data:` line too, unless the log has none at all."""
        notice = parse(line.load())
        logged = {base64.b64decode(text[14:]) for text in notice.logs or () if text.startswith("Program data: ")}
        assert not logged or {data[8:] for data in event_calls(notice)} <= logged

    @pytest.mark.parametrize("line", RECORDED)
    def test_depths_are_guessed_right(self, line: mainnet.Recorded) -> None:
        """Without stack heights every event keeps its depth, and so its emitter."""
        value = line.load()
        flat = json.loads(re.sub(r'"stackHeight": \d+', '"stackHeight": null', json.dumps(value)))
        assert parse(flat).invokes == parse(value).invokes

    @pytest.mark.parametrize("line", RECORDED)
    def test_encodings_agree(self, line: mainnet.Recorded) -> None:
        """What came in the encoding json gives the same notice in jsonParsed and base64."""
        value = line.load()
        if not isinstance(value["transaction"], dict) or not isinstance(
            value["transaction"]["message"]["accountKeys"][0], str
        ):
            return  # recorded in another encoding
        expected = parse(value)
        assert parse(as_parsed(value)) == expected
        assert parse(as_wire(value, "0")) == expected

    @pytest.mark.parametrize("line", RECORDED)
    def test_token_balances_conserve_each_mint(self, line: mainnet.Recorded) -> None:
        """Every balance of `meta` is there once, before and after."""
        value = line.load()
        notice = parse(value)
        for member, side in (("preTokenBalances", "before"), ("postTokenBalances", "after")):
            listed = sum(int(entry["uiTokenAmount"]["amount"]) for entry in value["meta"].get(member) or ())
            assert listed == sum(getattr(entry, side) or 0 for entry in notice.token_balances)

    def test_data_is_there(self) -> None:
        """The recorded data was found."""
        mainnet.require()
        assert len(RECORDED) >= 20


def event_calls(notice: TxNotice) -> list[bytes]:
    """Return the data of self-CPI calls."""
    return [call.data for call in notice.invokes or () if call.data.startswith(SELF_CPI_TAG)]


class TestParse:
    """A transaction made for it."""

    def test_execution_order(self) -> None:
        """Outer instruction, then its inner ones; positions count those of other programs too; keys are resolved."""
        notice = parse(answer())
        assert [(call.position, call.depth, call.data[:4]) for call in notice.invokes or ()] == [
            (0, 1, b"buy"),
            (1, 2, SELF_CPI_TAG[:4]),
            (3, 2, b"sell"),
            (4, 3, SELF_CPI_TAG[:4]),
        ]
        assert notice.invokes
        assert notice.invokes[0].accounts == (PAYER, VAULT)
        assert notice.invokes[2].accounts == (MINT, OTHER)
        assert (notice.slot, notice.block_time, notice.index) == (7, 1_791_106_392, None)

    @pytest.mark.parametrize("version", ["legacy", "0", "1"])
    def test_wire_versions(self, version: str) -> None:
        """Every transaction version gives the same notice as the encoding json."""
        assert parse(as_wire(answer(), version)) == parse(answer())

    def test_base58_wire(self) -> None:
        """The old encoding base58 is read as well."""
        value = as_wire(answer(), "0")
        value["transaction"] = [base58.encode(base64.b64decode(value["transaction"][0])), "base58"]
        assert parse(value) == parse(answer())

    def test_json_parsed(self) -> None:
        """The encoding jsonParsed gives the same notice, its loaded keys stand among the others."""
        assert parse(as_parsed(answer())) == parse(answer())

    def test_balances_are_merged(self) -> None:
        """One entry for each account and mint; absent before or after is None; u64's maximum is kept."""
        assert parse(answer()).token_balances == (
            TokenBalance(VAULT, MINT, PAYER, 5, 7, 6),
            TokenBalance(MINT, MINT, PAYER, None, 2**64 - 1, 6),
        )
        assert parse(answer(preTokenBalances=None, postTokenBalances=None)).token_balances == ()
        only_before = parse(answer(postTokenBalances=[])).token_balances
        assert only_before == (TokenBalance(VAULT, MINT, PAYER, 5, None, 6),)

    def test_irrelevant(self) -> None:
        """None of the programs among the keys: no notice."""
        assert parse_transaction(convert_transaction(answer()), programs=frozenset({OTHER[::-1]})) is None

    def test_a_named_program_that_did_not_run(self) -> None:
        """A program that is only an account gives a notice without invokes."""
        assert parse(answer(), programs=frozenset({OTHER})).invokes == ()

    def test_failed(self) -> None:
        """Of a failed transaction the outcome is told, and nothing that it tried."""
        notice = parse(answer(err={"InstructionError": [0, {"Custom": 1}]}))
        assert notice.failed
        assert notice.invokes == ()
        assert notice.token_balances == ()
        assert parse(answer(err=None)).failed is False

    def test_inner_instructions_not_kept(self) -> None:
        """Where the node kept no inner instructions the notice says that it has none, not that none ran."""
        assert parse(answer(innerInstructions=None)).invokes is None

    def test_the_answer_knows_better_than_the_caller(self) -> None:
        """Slot, time and place of the answer count; what it does not tell is taken from the caller."""
        known: dict[str, Any] = {"slot": 1, "block_time": 1_700_000_000, "index": 3, "feed": "fetch"}
        notice = parse(answer(transactionIndex=9), **known)
        assert (notice.slot, notice.block_time, notice.index) == (7, 1_791_106_392, 9)
        notice = parse(answer(slot=None, blockTime=None), **known)
        assert (notice.slot, notice.block_time, notice.index, notice.feed) == (1, 1_700_000_000, 3, "fetch")

    @pytest.mark.parametrize(
        ("told", "time"),
        [
            (None, None),
            (1_791_106_392, 1_791_106_392),
            (1_791_106_392.9, 1_791_106_392),
            (1_791_106, None),
            (1_741_613_776_806, None),
            (-1, None),
            (1e300, None),
        ],
    )
    def test_times(self, told: float | None, time: int | None) -> None:
        """A time that no block can have is not known, rather than guessed."""
        assert sane_time(told) == time
        assert parse(answer(blockTime=told)).block_time == time

    @pytest.mark.parametrize(
        "changes",
        [
            {"meta": None},
            {"meta": {}},
            {"slot": -1},
            {"slot": 2**63},
            {"transaction": ["!", "base64"]},
            {"transaction": ["AAAA", "base64"]},
            {"transaction": ["", "base64"]},
            {"transaction": ["0", "base58"]},
            {"transaction": ["AAAA", "base64+zstd"]},
            {"transaction": ["AAAA"]},
            {"transaction": {"signatures": [], "message": {"accountKeys": [], "instructions": []}}},
            {"transaction": {"signatures": ["1" * 32], "message": {"accountKeys": [], "instructions": []}}},
            {"transaction": {"signatures": ["0"], "message": {"accountKeys": [], "instructions": []}}},
            {"transaction": {"signatures": [SIGNATURE], "message": {"accountKeys": ["a\0"], "instructions": []}}},
            {"innerInstructions": [{"index": 2, "instructions": []}]},
            {"innerInstructions": [{"index": 0, "instructions": [{"programIdIndex": 6}]}]},
            {"innerInstructions": [{"index": 0, "instructions": [{"programIdIndex": 2}]}]},
            {"innerInstructions": [{"index": 0, "instructions": [{"programIdIndex": -1, "data": "1"}]}]},
            {"innerInstructions": [{"index": 0, "instructions": [{"programIdIndex": 2, "data": "0"}]}]},
            {
                "innerInstructions": [
                    {"index": 0, "instructions": [{"programIdIndex": 2, "accounts": [6], "data": "1"}]}
                ]
            },
            {
                "innerInstructions": [
                    {"index": 0, "instructions": [{"programIdIndex": 2, "accounts": ["1" * 31], "data": "1"}]}
                ]
            },
            {"innerInstructions": [{"index": 0, "instructions": [{}]}]},
            {"preTokenBalances": [balance(6, "1")]},
            {"preTokenBalances": [balance(1, "-1")]},
            {"postTokenBalances": [balance(1, "9" * 5000)]},
            {"postTokenBalances": [balance(1, "")]},
        ],
        ids=lambda changes: json.dumps(changes)[:60],
    )
    def test_contradictions(self, changes: dict[str, Any]) -> None:
        """What cannot be, or does not tell the outcome, is a TransactionError."""
        with pytest.raises(TransactionError):
            parse(answer(**changes))

    def test_no_slot(self) -> None:
        """A slot that nobody tells is not made up."""
        with pytest.raises(TransactionError, match="no slot"):
            parse(answer(slot=None), slot=None)

    def test_no_signature_in_wire(self) -> None:
        """A wire transaction without signatures is refused."""
        empty = base64.b64encode(b"\0" + base64.b64decode(as_wire(answer(), "0")["transaction"][0])[65:]).decode()
        with pytest.raises(TransactionError):
            parse(answer(transaction=[empty, "base64"]))

    def test_depth_of_a_lone_event_call(self) -> None:
        """An event call without a caller, and an unknown call, are taken for depth 2."""
        lone = [{"index": 1, "instructions": [instruction(4, SELF_CPI_TAG), instruction(4, b"sell")]}]
        notice = parse(answer(innerInstructions=lone), programs=frozenset({MINT}))
        assert [call.depth for call in notice.invokes or ()] == [2, 2]


class TestBlock:
    """Blocks of many transactions."""

    def block(self, *entries: Any) -> bytes:
        """Return a block's JSON text."""
        return msgspec.json.encode(
            {
                "blockhash": "b",
                "previousBlockhash": "a",
                "parentSlot": 8,
                "blockTime": 1_791_106_392,
                "transactions": list(entries),
            }
        )

    def entry(self, **changes: Any) -> dict[str, Any]:
        """Return a transaction as it stands in a block."""
        return {name: value for name, value in answer(**changes).items() if name in {"transaction", "meta", "version"}}

    def test_entries(self) -> None:
        """Relevant entries know slot, time and their place; others are counted; a spoilt one spoils no other."""
        unloaded = self.entry(loadedAddresses={})
        foreign = json.loads(json.dumps(unloaded).replace(mainnet.PUMPFUN, OTHER))
        wire = as_wire(answer(), "0")
        foreign_wire = as_wire({**answer(), **foreign}, "legacy")
        text = self.block(foreign, self.entry(), {"x": 1}, wire, foreign_wire, self.entry(err=1), ["y"])
        parsed = parse_block(read_block(text), slot=9, programs=PROGRAMS, feed="blocks")
        assert [(n.slot, n.index, n.block_time, n.failed, n.feed) for n in parsed.notices] == [
            (9, 1, 1_791_106_392, False, "blocks"),
            (7, 3, 1_791_106_392, False, "blocks"),
            (9, 5, 1_791_106_392, True, "blocks"),
        ]
        assert parsed.irrelevant == 2
        assert len(parsed.malformed) == 2

    def test_wanted_signatures(self) -> None:
        """Where signatures are named, all others are irrelevant, in every encoding."""
        other = json.loads(json.dumps(self.entry()).replace(SIGNATURE, str(Signature(b"\4" * 64))))
        entries = [other, self.entry(), as_wire({**answer(), **other}, "0"), as_wire(answer(), "0")]
        block = read_block(self.block(*entries))
        parsed = parse_block(block, slot=9, programs=PROGRAMS, wanted=frozenset({SIGNATURE}))
        assert [(notice.signature, notice.index) for notice in parsed.notices] == [(SIGNATURE, 1), (SIGNATURE, 3)]
        assert parsed.irrelevant == 2

    def test_loaded_keys_matter(self) -> None:
        """A program named by a lookup table only is seen."""
        parsed = parse_block(read_block(self.block(self.entry())), slot=9, programs=frozenset({OTHER}))
        assert len(parsed.notices) == 1

    def test_no_block(self) -> None:
        """Anything else is a TransactionError."""
        for text in (b"", b"null", b"{}", b"\xff", b'{"blockhash":1}', b"[" * 100_000):
            with pytest.raises(TransactionError):
                read_block(text)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=6,
)


def places(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """Return the path of every node of a JSON tree."""
    found = [path] if path else []
    children = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for step, child in children:
        found += places(child, (*path, step))
    return found


class TestBadInput:
    """TransactionError and nothing else."""

    @given(st.binary(max_size=200) | st.text(max_size=200))
    def test_any_text(self, text: bytes | str) -> None:
        """Text that is no transaction is a TransactionError."""
        with pytest.raises(TransactionError):
            read_transaction(text)

    @given(JSON)
    def test_any_value(self, value: Any) -> None:
        """A value that is no transaction is a TransactionError."""
        with pytest.raises(TransactionError):
            convert_transaction(value)

    @given(st.data(), st.sampled_from(["json", "parsed", "wire"]))
    def test_spoilt_somewhere(self, data: st.DataObject, encoding: str) -> None:
        """A transaction with any members replaced or removed parses, or is a TransactionError."""
        value = answer()
        value = as_parsed(value) if encoding == "parsed" else as_wire(value, "0") if encoding == "wire" else value
        for _ in range(data.draw(st.integers(1, 3))):
            *path, last = data.draw(st.sampled_from(places(value)))
            node = value
            for step in path:
                node = node[step]
            if data.draw(st.booleans()):
                node[last] = data.draw(JSON)
            else:
                del node[last]
            if not places(value):
                return
        with contextlib.suppress(TransactionError):
            parse_transaction(convert_transaction(value), slot=1, programs=PROGRAMS)

    @given(st.binary(max_size=300), st.integers(0, 300))
    def test_spoilt_wire(self, junk: bytes, at: int) -> None:
        """Wire bytes overwritten anywhere parse, or are a TransactionError."""
        value = as_wire(answer(), "1")
        wire = bytearray(base64.b64decode(value["transaction"][0]))
        wire[at : at + len(junk)] = junk
        value["transaction"][0] = base64.b64encode(wire).decode()
        with contextlib.suppress(TransactionError):
            parse_transaction(convert_transaction(value), slot=1, programs=PROGRAMS)
