"""What the answers to single fetches say."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from decoders.core.transaction import TransactionError
from decoders.core.types import TxNotice
from monitor.sources.jobs import FetchAccounts, FetchBlock, FetchTime, FetchTransaction, read_result, request_of
from monitor.sources.notices import AccountSeen, SlotTime
from tests.sources import said

if TYPE_CHECKING:
    from monitor.sources.jobs import Job

PROGRAMS = frozenset({said.PROGRAM})
ONE = FetchTransaction(said.signature(1), 9)
BLOCK = FetchBlock(9, (said.signature(1), said.signature(2)))
ACCOUNTS = FetchAccounts((said.POOL, said.OTHER_PROGRAM))
TIME = FetchTime(9)


def read(job: Job, value: Any) -> list[Any]:
    """Read a result given as a value."""
    return list(read_result(job, msgspec.json.encode(value), PROGRAMS))


def test_requests() -> None:
    """Each job asks by its own method."""
    assert [request_of(job, "confirmed").method for job in (ONE, BLOCK, ACCOUNTS, TIME)] == [
        "getTransaction",
        "getBlock",
        "getMultipleAccounts",
        "getBlockTime",
    ]


@pytest.mark.parametrize("job", [ONE, BLOCK, ACCOUNTS, TIME])
def test_null_is_not_yet(job: Job) -> None:
    """Null says nothing at all."""
    assert read_result(job, b" null", PROGRAMS) == ()


def test_transaction() -> None:
    """A transaction is a whole copy, with what the answer tells of slot and time."""
    (notice,) = read(ONE, said.transaction(1, 10))
    assert isinstance(notice, TxNotice)
    assert (notice.signature, notice.slot, notice.block_time, notice.feed) == (
        ONE.signature,
        10,
        said.BLOCK_TIME,
        "fetch",
    )
    assert notice.invokes


def test_block() -> None:
    """Of a block only the wanted transactions are told, with their places."""
    entries = [said.entry(3), said.entry(2), said.entry(5)]
    (notice,) = read(BLOCK, said.block_answer(9, entries))
    assert (notice.signature, notice.index, notice.slot) == (said.signature(2), 1, 9)


def test_accounts() -> None:
    """Each account comes with its owner and bytes; one that is not there says so."""
    value = [None, {"owner": "O", "data": ["AQI=", "base64"], "lamports": 1, "executable": False}]
    assert read(ACCOUNTS, {"context": {"slot": 7}, "value": value}) == [
        AccountSeen(said.POOL, None, b"", 7, "fetch"),
        AccountSeen(said.OTHER_PROGRAM, "O", b"\1\2", 7, "fetch"),
    ]


def test_time() -> None:
    """The time of a slot is told as such."""
    assert read(TIME, said.BLOCK_TIME) == [SlotTime(9, said.BLOCK_TIME, "fetch")]


@pytest.mark.parametrize(
    ("job", "value"),
    [
        (ONE, said.transaction(2, 9)),
        (ONE, said.transaction(1, 9, program=said.OTHER_PROGRAM)),
        (ONE, {**said.transaction(1, 9), "meta": {"err": None}}),
        (ONE, []),
        (BLOCK, {}),
        (ACCOUNTS, {"context": {"slot": 7}, "value": [None]}),
        (ACCOUNTS, {"context": {"slot": 7}, "value": [None, {"owner": "O", "data": ["", "zip"]}]}),
        (ACCOUNTS, {"context": {"slot": 7}, "value": [None, {"owner": "O", "data": ["!", "base64"]}]}),
        (TIME, "1790000000"),
        (TIME, 1_790_000),
        (TIME, 1_790_000_000_000),
        (TIME, {}),
    ],
)
def test_other_answers(job: Job, value: Any) -> None:
    """An answer to something else, or without what was wanted of it, is an error."""
    with pytest.raises(TransactionError):
        read(job, value)


@given(st.binary(), st.sampled_from([ONE, BLOCK, ACCOUNTS, TIME]))
def test_any_bytes(result: bytes, job: Job) -> None:
    """Anything else is an error, and no other than the documented one."""
    assume(result.strip() != b"null")
    with pytest.raises(TransactionError):
        read_result(job, result, PROGRAMS)
