"""A feed of whole transactions, as Helius tells them."""

from __future__ import annotations

import asyncio
import base64
import json
from typing import TYPE_CHECKING, Any

import pytest
from solders.hash import Hash
from solders.instruction import CompiledInstruction
from solders.message import MessageHeader, MessageV0
from solders.pubkey import Pubkey
from solders.signature import Signature
from solders.transaction import VersionedTransaction

from decoders.core.types import Invoke, TokenBalance, TxNotice
from monitor.channel import Channel
from monitor.errors import SourceRefused
from monitor.sources import rpc
from monitor.sources.notices import FeedDown, FeedUp, FrameLost, SlotSeen
from monitor.sources.tally import FeedTally
from monitor.sources.transactions import transactions_source
from monitor.sources.translate import Translator
from tests.sources import said
from tests.sources.node import following, node, running

if TYPE_CHECKING:
    from monitor.sources.notices import Notice
    from tests.sources.node import Node, Peer

PROGRAMS = frozenset({said.PROGRAM})
LABELS = {1: "transactions", 2: "slots"}


def translator() -> tuple[Translator, FeedTally]:
    """Return a translator of the feed "f" whose subscriptions stand, and its counts."""
    tally = FeedTally()
    subject = Translator("f", PROGRAMS, tally)
    subject.connected(LABELS)
    return subject, tally


def notices(subject: Translator, text: bytes) -> list[Notice]:
    """Translate a frame's text."""
    message = rpc.read_message(text)
    assert isinstance(message, rpc.Notification)
    return list(subject.notices(message))


def in_base64(number: int) -> dict[str, Any]:
    """Return what `said.entry` says, in base64, with a token balance and a key from a lookup table."""
    keys = [Pubkey.from_string(said.POOL), Pubkey.from_string(said.PROGRAM)]
    call = CompiledInstruction(1, number.to_bytes(8, "big"), bytes([0, 2]))
    message = MessageV0(MessageHeader(1, 0, 1), keys, Hash.default(), [call], [])
    wire = bytes(VersionedTransaction.populate(message, [Signature.from_string(said.signature(number))]))
    balance = {"accountIndex": 0, "mint": "M", "owner": "O", "uiTokenAmount": {"amount": "7", "decimals": 6}}
    meta = {
        "err": None,
        "innerInstructions": [],
        "logMessages": ["Program log: whole"],
        "preTokenBalances": [],
        "postTokenBalances": [balance],
        "loadedAddresses": {"writable": [], "readonly": [said.OTHER_PROGRAM]},
    }
    return {"transaction": [base64.b64encode(wire).decode(), "base64"], "meta": meta, "version": 0}


def test_a_whole_transaction() -> None:
    """It has calls, accounts, logs and balances, and its place where the provider tells it; a time where that is so."""
    subject, tally = translator()
    frame = said.whole(in_base64(5), 9, 1, number=5, transactionIndex=3, blockTime=said.BLOCK_TIME)
    assert notices(subject, frame) == [
        TxNotice(
            said.signature(5),
            9,
            failed=False,
            logs=["Program log: whole"],
            invokes=(Invoke(0, 1, said.PROGRAM, (said.POOL, said.OTHER_PROGRAM), (5).to_bytes(8, "big")),),
            index=3,
            block_time=said.BLOCK_TIME,
            token_balances=(TokenBalance(said.POOL, "M", "O", None, 7, 6),),
            feed="f",
        )
    ]
    assert (tally.received, tally.forwarded) == (1, 1)


def test_without_a_place_arrival_orders() -> None:
    """Where no place in the block is told, the order of arrival stands in for it, slot by slot; time is not made up."""
    subject, _ = translator()
    told = [notices(subject, said.whole(said.entry(n), slot, 1, number=n))[0] for n, slot in ((1, 9), (2, 9), (3, 10))]
    assert [(n.index, n.arrival, n.block_time) for n in told if isinstance(n, TxNotice)] == [
        (None, 1, None),
        (None, 2, None),
        (None, 1, None),
    ]


def test_counts() -> None:
    """Repeats, what touches no followed program and what cannot be read are counted, each once."""
    subject, tally = translator()
    assert notices(subject, said.whole(said.entry(1), 9, 1))
    assert notices(subject, said.whole(said.entry(1), 9, 1)) == []
    assert notices(subject, said.whole(said.entry(2, program=said.OTHER_PROGRAM), 9, 1, number=2)) == []
    assert notices(subject, said.whole({"x": 1}, 9, 1, number=3)) == [FrameLost("f", 9, 9, said.signature(3))]
    assert notices(subject, said.whole({"x": 1}, 9, 1, number=3)) == [], "told once"
    assert (tally.received, tally.repeats, tally.irrelevant, tally.malformed, tally.forwarded) == (5, 2, 1, 1, 1)


@pytest.mark.parametrize("signature", ["", "x", "l" * 88, "☃" * 88])
def test_an_unreadable_transaction_without_a_name(signature: str) -> None:
    """What nobody could fetch by its signature is sought by its slot."""
    frame = said.whole({"x": 1}, 9, 1)
    value = json.loads(frame)
    value["params"]["result"]["signature"] = signature
    assert notices(translator()[0], json.dumps(value).encode()) == [FrameLost("f", 9, 9)]


def test_a_copy_without_anything_is_fetched() -> None:
    """A provider that keeps neither logs nor inner calls names a transaction that is to be fetched."""
    entry = said.entry(1)
    entry["meta"].update(innerInstructions=None, logMessages=None)
    notice = notices(translator()[0], said.whole(entry, 9, 1))[0]
    assert isinstance(notice, TxNotice)
    assert (notice.logs, notice.invokes) == (["Log truncated"], None)


def test_finalized_claims_lag() -> None:
    """At finalized, transactions of a slot may come after its root, and nothing says that they come slot by slot."""
    subject = Translator("f", PROGRAMS, FeedTally(), "finalized")
    subject.connected(LABELS)
    notices(subject, said.slot(41, 2, root=41))
    notices(subject, said.whole(said.entry(1), 90, 1))
    assert notices(subject, said.slot(140, 2, root=100)) == [SlotSeen(140, 139, 100, "f", complete_through=68)]


async def subscribed(server: Node) -> tuple[Peer, dict[str, int], dict[str, Any]]:
    """Acknowledge the next connection; return ids by method, and what was asked."""
    peer = await server.peer()
    asked = await peer.request()
    await peer.send(said.result(1001, asked["id"]))
    return peer, {asked["method"]: 1001, **await peer.acknowledge(1)}, asked


async def test_one_subscription_for_all_programs() -> None:
    """All programs at once, no votes, no failed ones, every version, whole; slots on the same connection."""
    async with node() as server, running(transactions_source(following(server.url), name="helius")) as source:
        peer, ids, asked = await subscribed(server)
        assert asked["method"] == "transactionSubscribe"
        assert asked["params"] == [
            {"accountInclude": sorted([said.PROGRAM, said.OTHER_PROGRAM]), "vote": False, "failed": False},
            {
                "commitment": "confirmed",
                "encoding": "base64",
                "transactionDetails": "full",
                "showRewards": False,
                "maxSupportedTransactionVersion": 1,
            },
        ]
        await peer.send(said.slot(40, ids["slotSubscribe"]))
        await peer.send(said.whole(said.entry(1), 40, ids["transactionSubscribe"]))
        assert await source.get() == FeedUp("helius", 40)
        assert await source.get() == SlotSeen(40, 39, 8, "helius")
        notice = await source.get()
        assert isinstance(notice, TxNotice)
        assert (notice.signature, notice.feed) == (said.signature(1), "helius")
        await peer.connection.close(1013, "later")
        assert isinstance(await source.get(), FeedDown)
        peer, ids, _ = await subscribed(server)
        await peer.send(said.slot(2, ids["slotSubscribe"], root=0))
        assert await source.get() == FeedUp("helius", 2)


async def test_a_node_without_it_is_refused() -> None:
    """A plain node does not know the method: the source ends, and says what would do."""
    out: Channel[Notice] = Channel(10, "out")
    async with node() as server:
        task = asyncio.create_task(transactions_source(following(server.url)).run(out))
        peer = await server.peer()
        await peer.send(said.error(-32601, "Method not found"))
        with pytest.raises(SourceRefused, match="transactionSubscribe") as caught:
            await task
    assert 'feed = "logs"' in (caught.value.mend or "")
