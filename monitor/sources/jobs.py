"""Single fetches: what to ask a node, and what its answers say."""

from __future__ import annotations

from binascii import a2b_base64
from typing import TYPE_CHECKING, TypeAlias

import msgspec

from decoders.core.answers import Slot, UnixTime
from decoders.core.transaction import (
    TransactionError,
    parse_block,
    parse_transaction,
    read_block,
    read_transaction,
    sane_time,
)
from monitor.sources import rpc
from monitor.sources.notices import FETCH, AccountSeen, SlotTime

if TYPE_CHECKING:
    from collections.abc import Sequence

    from monitor.sources.notices import Notice


class FetchTransaction(msgspec.Struct, frozen=True, tag="transaction"):
    """One transaction."""

    signature: str
    slot: int


class FetchBlock(msgspec.Struct, frozen=True, tag="block"):
    """Several transactions of one slot, by its block."""

    slot: int
    signatures: tuple[str, ...]


class FetchAccounts(msgspec.Struct, frozen=True, tag="accounts"):
    """Accounts, `MAX_ACCOUNTS_PER_CALL` at most."""

    addresses: tuple[str, ...]


class FetchTime(msgspec.Struct, frozen=True, tag="time"):
    """When a slot was, for transactions in it of which nothing else is lacking."""

    slot: int


Job: TypeAlias = FetchTransaction | FetchBlock | FetchAccounts | FetchTime


class _Context(msgspec.Struct, frozen=True):
    slot: Slot


class _Account(msgspec.Struct, frozen=True):
    owner: str
    data: tuple[str, str]


class _Accounts(msgspec.Struct, frozen=True):
    context: _Context
    value: tuple[_Account | None, ...]


_accounts_decoder = msgspec.json.Decoder(_Accounts)
_time_decoder: msgspec.json.Decoder[UnixTime] = msgspec.json.Decoder(UnixTime)


def request_of(job: Job, commitment: rpc.Commitment) -> rpc.Request:
    """Return what to ask."""
    match job:
        case FetchTransaction():
            return rpc.get_transaction(job.signature, commitment)
        case FetchBlock():
            return rpc.get_block(job.slot, commitment)
        case FetchAccounts():
            return rpc.get_multiple_accounts(job.addresses, commitment)
        case FetchTime():
            return rpc.get_block_time(job.slot)


def read_result(job: Job, result: msgspec.Raw | bytes, programs: frozenset[str]) -> Sequence[Notice]:
    """
    Return what a result says; what is missing from it is not there *yet*.

    Raises:
        TransactionError: If it is not what was asked for.
    """
    if bytes(result).strip() == b"null":
        return ()
    match job:
        case FetchTransaction():
            return _transaction(job, result, programs)
        case FetchBlock():
            return _block(job, result, programs)
        case FetchAccounts():
            return _accounts(job, result)
        case FetchTime():
            return _time(job, result)


def _transaction(job: FetchTransaction, result: msgspec.Raw | bytes, programs: frozenset[str]) -> Sequence[Notice]:
    notice = parse_transaction(read_transaction(result), slot=job.slot, programs=programs, feed=FETCH)
    if notice is None or notice.signature != job.signature:
        raise TransactionError("another transaction than the one asked for")
    if notice.invokes is None:
        raise TransactionError("the node has not kept its inner instructions")
    return (notice,)


def _block(job: FetchBlock, result: msgspec.Raw | bytes, programs: frozenset[str]) -> Sequence[Notice]:
    wanted = frozenset(job.signatures)
    parsed = parse_block(read_block(result), slot=job.slot, programs=programs, wanted=wanted, feed=FETCH)
    return [notice for notice in parsed.notices if notice.invokes is not None]


def _accounts(job: FetchAccounts, result: msgspec.Raw | bytes) -> Sequence[Notice]:
    try:
        answer = _accounts_decoder.decode(result)
        if len(answer.value) != len(job.addresses):
            raise ValueError(f"{len(answer.value)} accounts for {len(job.addresses)} addresses")
        return [
            _account_seen(address, account, answer.context.slot)
            for address, account in zip(job.addresses, answer.value, strict=True)
        ]
    except (msgspec.MsgspecError, ValueError) as error:  # ValueError: bad UTF-8 and bad base64 too
        raise TransactionError(f"no accounts: {error}") from error


def _time(job: FetchTime, result: msgspec.Raw | bytes) -> Sequence[Notice]:
    try:
        told = _time_decoder.decode(result)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise TransactionError(f"no time: {error}") from error
    block_time = sane_time(told)
    if block_time is None:
        raise TransactionError(f"no time: {told}")
    return (SlotTime(job.slot, block_time, FETCH),)


def _account_seen(address: str, account: _Account | None, slot: int) -> AccountSeen:
    if account is None:
        return AccountSeen(address, None, b"", slot, FETCH)
    text, encoding = account.data
    if encoding != "base64":
        raise ValueError(f"account data in {encoding!r}")
    return AccountSeen(address, account.owner, a2b_base64(text, strict_mode=True), slot, FETCH)
