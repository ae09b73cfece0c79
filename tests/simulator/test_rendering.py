"""Rendered transactions hold together, and other people's parsers read them."""

from __future__ import annotations

import base64
from typing import TYPE_CHECKING, Any

import msgspec
import pytest
from solders.message import MessageV0, MessageV1
from solders.transaction import VersionedTransaction
from solders.transaction_status import EncodedConfirmedTransactionWithStatusMeta

from decoders.core.layout import Idl
from simulator.calls import LogWriter
from simulator.chain import Block, Chain, Rules
from simulator.data import read_idl
from simulator.keys import key
from simulator.market import Market
from simulator.rendering import Renderer, ui_amount
from simulator.transaction import Transaction

if TYPE_CHECKING:
    from simulator.rendering import Encoding

Placed = list[tuple[Block, Transaction]]
SELF_CPI = bytes.fromhex("e445a52e51cb9a1d")


@pytest.fixture(scope="module")
def market() -> Market:
    """Return a market."""
    return Market(31)


@pytest.fixture(scope="module")
def placed(market: Market) -> Placed:
    """Return some hundred transactions, late enough that all kinds are among them."""
    chain = Chain(market, 31, Rules(skipped_share=0))
    for _ in range(40):
        chain.next_slot(100)
    return list(chain.newest_first("processed"))[:600]


@pytest.fixture(scope="module")
def renderer(market: Market) -> Renderer:
    """Return a renderer that keeps all log text."""
    return Renderer(market.world.bank, LogWriter(), None)


def answer(renderer: Renderer, block: Block, tx: Transaction, encoding: Encoding) -> dict[str, Any]:
    """Return a transaction as the node answers it."""
    return {"slot": tx.slot, **renderer.transaction(tx, block.parent_hash, encoding), "blockTime": tx.block_time}


@pytest.mark.slow
def test_wire_bytes_equal_json(placed: Placed, renderer: Renderer) -> None:
    """The serialized form, read by solders, has the same accounts, instructions and versions as the JSON."""
    versions = set()
    for block, tx in placed:
        told = renderer.transaction(tx, block.parent_hash, "json")
        encoded = renderer.transaction(tx, block.parent_hash, "base64")
        wire = VersionedTransaction.from_bytes(base64.b64decode(encoded["transaction"][0]))
        message, body = wire.message, told["transaction"]["message"]
        kind = 0 if isinstance(message, MessageV0) else 1 if isinstance(message, MessageV1) else "legacy"
        assert kind == tx.version == told["version"]
        versions.add(kind)
        assert [str(one) for one in message.account_keys] == body["accountKeys"]
        assert [str(one) for one in wire.signatures] == told["transaction"]["signatures"]
        assert len(wire.signatures) == body["header"]["numRequiredSignatures"]
        for compiled, shown in zip(message.instructions, body["instructions"], strict=True):
            assert list(bytes(compiled.accounts)) == shown["accounts"]
            assert compiled.program_id_index == shown["programIdIndex"]
            assert compiled.program_id_index < len(body["accountKeys"])
    assert versions == {"legacy", 0, 1}


@pytest.mark.parametrize("encoding", ["json", "jsonParsed", "base64"])
def test_typed_client_reads_it(placed: Placed, renderer: Renderer, encoding: Encoding) -> None:
    """The typed parser of solana-py's stack takes each transaction that its versions cover."""
    read = 0
    for block, tx in placed[:150]:
        if tx.version != 1 or encoding == "base64":
            text = msgspec.json.encode(answer(renderer, block, tx, encoding)).decode()
            found = EncodedConfirmedTransactionWithStatusMeta.from_json(text)
            assert found.slot == tx.slot
            read += 1
    assert read > 50


def test_balances_match(placed: Placed, renderer: Renderer) -> None:
    """Lamports before and after differ by the fee alone; tokens move between the accounts told, and none appear."""
    for block, tx in placed:
        meta = renderer.transaction(tx, block.parent_hash, "json")["meta"]
        count = len(meta["preBalances"])
        assert len(meta["postBalances"]) == count
        assert sum(meta["preBalances"]) - sum(meta["postBalances"]) == meta["fee"]
        if tx.error is not None:
            assert meta["preTokenBalances"] == meta["postTokenBalances"]
            assert meta["preBalances"][0] - meta["postBalances"][0] == meta["fee"]
        if tx.kind == "trade":
            sums: dict[str, int] = {}
            for sign, rows in ((-1, meta["preTokenBalances"]), (1, meta["postTokenBalances"])):
                for row in rows:
                    sums[row["mint"]] = sums.get(row["mint"], 0) + sign * int(row["uiTokenAmount"]["amount"])
            assert {n for mint, n in sums.items() if not mint.startswith("So111")} <= {0}


def test_calls_follow_the_idl(placed: Placed, market: Market) -> None:
    """Instructions of our programs have at least the accounts of their IDL, and data that reads to the last byte."""
    idls = {key(idl.address): idl for idl in map(_idl, ("pumpfun", "pumpswap", "raydium_launchpad", "raydium_cpmm"))}
    read = 0
    for _, tx in placed:
        for call in tx.calls:
            for one, depth in call.walk():
                idl = idls.get(one.program)
                if idl is None:
                    continue
                if one.data.startswith(SELF_CPI):
                    layout = next(x for x in idl.events.values() if one.data[8:].startswith(x.discriminator))
                    assert layout.read(one.data, 16).tail == b""
                    assert depth > 1
                    assert len(one.accounts) == 1
                else:
                    layout = next(x for x in idl.instructions.values() if one.data.startswith(x.discriminator))
                    assert layout.read(one.data, 8).tail == b""
                    assert len(one.accounts) >= len(layout.accounts)
                read += 1
    assert read > 600


def _idl(name: str) -> Idl:
    return Idl.parse(read_idl(name))


@pytest.mark.parametrize(
    ("amount", "decimals", "shown"), [(0, 6, "0"), (1, 6, "0.000001"), (1_500_000, 6, "1.5"), (7, 0, "7")]
)
def test_ui_amounts(amount: int, decimals: int, shown: str) -> None:
    """Token amounts are written as nodes write them."""
    assert ui_amount(amount, decimals)["uiAmountString"] == shown
