"""Turn transactions and blocks, as nodes answer them, into notices."""

from __future__ import annotations

import binascii
from typing import TYPE_CHECKING, Any, NamedTuple

import msgspec
from solders.instruction import CompiledInstruction
from solders.pubkey import Pubkey
from solders.transaction import VersionedTransaction

from decoders.core import base58
from decoders.core.answers import (
    BlockAnswer,
    Instruction,
    Key,
    Skimmed,
    SkimmedTransaction,
    Transaction,
    TransactionAnswer,
)
from decoders.core.carriers import SELF_CPI_TAG
from decoders.core.errors import DecodeError
from decoders.core.types import Invoke, TokenBalance, TxNotice

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from decoders.core.answers import Balance, Loaded, Meta, UnixTime

_GENESIS_S, _LAST_S = 1_584_316_800, 4_102_444_800  # mainnet's first block; the year 2100
_SIGNATURE_BYTES = 64
_U64_DIGITS = 20

_transaction_decoder = msgspec.json.Decoder(TransactionAnswer)
_block_decoder = msgspec.json.Decoder(BlockAnswer)
_skim_decoder = msgspec.json.Decoder(Skimmed)


class TransactionError(DecodeError):
    """A node's answer is no transaction or block that can be read: its text says why."""


class BlockNotices(NamedTuple):
    """A block's transactions that touch a followed program, how many others do not, and why some cannot be read."""

    notices: tuple[TxNotice, ...]
    irrelevant: int
    malformed: tuple[str, ...]


class _Body(NamedTuple):
    signature: str
    keys: list[str]
    instructions: Sequence[Instruction | CompiledInstruction]


def read_transaction(text: str | bytes | bytearray | msgspec.Raw) -> TransactionAnswer:
    """
    Read JSON text: the result of getTransaction, or an entry of a block.

    Raises:
        TransactionError: If it is something else.
    """
    try:
        return _transaction_decoder.decode(text)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise TransactionError(f"not a transaction: {error}") from error


def convert_transaction(value: Any) -> TransactionAnswer:
    """
    Do what `read_transaction` does with JSON that has been read into dicts and lists.

    Raises:
        TransactionError: If it is something else.
    """
    try:
        return msgspec.convert(value, TransactionAnswer)
    except msgspec.ValidationError as error:
        raise TransactionError(f"not a transaction: {error}") from error


def read_block(text: str | bytes | bytearray | msgspec.Raw) -> BlockAnswer:
    """
    Read JSON text: the result of getBlock, or the block of a blockNotification.

    Raises:
        TransactionError: If it is something else.
    """
    try:
        return _block_decoder.decode(text)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise TransactionError(f"not a block: {error}") from error


def parse_transaction(
    raw: TransactionAnswer,
    *,
    slot: int | None = None,
    block_time: int | None = None,
    index: int | None = None,
    programs: frozenset[str],
    feed: str = "",
) -> TxNotice | None:
    """
    Return the notice of a transaction; None if it touches none of `programs`.

    `slot`, `block_time` and `index` (place in the block) stand in for what the answer does not tell itself. Of a failed
    transaction nothing but its outcome and logs is read. Where the node kept no inner instructions `invokes` is None,
    since outer ones alone would look like everything.

    Raises:
        TransactionError: If the answer contradicts itself, or tells neither slot nor outcome.
    """
    body = _body(raw)
    if programs.isdisjoint(body.keys):
        return None
    slot = raw.slot if raw.slot is not None else slot
    if slot is None or raw.meta is None:
        raise TransactionError(f"{body.signature}: no {'slot' if slot is None else 'meta, so its outcome is unknown'}")
    failed = raw.meta.err is not None
    time = sane_time(raw.block_time)
    return TxNotice(
        signature=body.signature,
        slot=slot,
        failed=failed,
        logs=raw.meta.log_messages,
        invokes=() if failed else _invokes(body, raw.meta, programs),
        index=raw.transaction_index if raw.transaction_index is not None else index,
        block_time=time if time is not None else block_time,
        token_balances=() if failed else _token_balances(body.keys, raw.meta),
        feed=feed,
    )


def parse_block(
    block: BlockAnswer,
    *,
    slot: int,
    programs: frozenset[str],
    wanted: frozenset[str] | None = None,
    feed: str = "",
) -> BlockNotices:
    """
    Return what a block holds of transactions that touch `programs`; an entry that cannot be read spoils no other.

    `wanted` are the signatures that matter; None: all do.
    """
    notices: list[TxNotice] = []
    malformed: list[str] = []
    block_time = sane_time(block.block_time)
    for index, entry in enumerate(block.transactions):
        try:
            if not _matters(entry, programs, wanted):
                continue
            answer = read_transaction(entry)
            notice = parse_transaction(
                answer, slot=slot, block_time=block_time, index=index, programs=programs, feed=feed
            )
        except TransactionError as error:
            malformed.append(str(error))
            continue
        if notice is not None and (wanted is None or notice.signature in wanted):
            notices.append(notice)
    irrelevant = len(block.transactions) - len(notices) - len(malformed)
    return BlockNotices(tuple(notices), irrelevant, tuple(malformed))


def sane_time(time: UnixTime) -> int | None:
    """Return a block time in whole seconds; None for one that no block can have (some nodes answer in other units)."""
    return int(time) if time is not None and _GENESIS_S <= time < _LAST_S else None


def _matters(entry: msgspec.Raw, programs: frozenset[str], wanted: frozenset[str] | None) -> bool:
    try:
        skimmed = _skim_decoder.decode(entry)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise TransactionError(f"not a transaction: {error}") from error
    transaction = skimmed.transaction
    if not isinstance(transaction, SkimmedTransaction):
        return True  # seen when it has been parsed
    if wanted is not None and wanted.isdisjoint(transaction.signatures):
        return False
    loaded = _loaded(skimmed.meta.loaded_addresses if skimmed.meta else None)
    return not programs.isdisjoint(_texts(transaction.message.account_keys) + loaded)


def _body(raw: TransactionAnswer) -> _Body:
    loaded = raw.meta.loaded_addresses if raw.meta else None
    if isinstance(raw.transaction, Transaction):
        body = _body_of_json(raw.transaction, loaded)
    else:
        body = _body_of_wire(_wire(raw.transaction), loaded)
    joined = "".join(body.keys)
    if not (joined.isascii() and joined.isalnum()):
        raise TransactionError("an account key is not base58")
    return body


def _body_of_json(transaction: Transaction, loaded: Loaded | None) -> _Body:
    try:
        signature = transaction.signatures[0]
        if len(base58.decode(signature)) != _SIGNATURE_BYTES:
            raise TransactionError("its signature has not 64 bytes")
    except (IndexError, ValueError) as error:
        raise TransactionError(f"no signature: {error}") from error
    message = transaction.message
    keys = _texts(message.account_keys)
    if not any(isinstance(key, Key) for key in message.account_keys):  # jsonParsed has them in place
        keys += _loaded(loaded)
    return _Body(signature, keys, message.instructions)


def _body_of_wire(wire: bytes, loaded: Loaded | None) -> _Body:
    try:
        transaction = VersionedTransaction.from_bytes(wire)
    except ValueError as error:
        raise TransactionError(f"not a transaction in wire format: {error}") from error
    if not transaction.signatures:
        raise TransactionError("no signature")
    keys = [str(key) for key in transaction.message.account_keys]
    return _Body(str(transaction.signatures[0]), keys + _loaded(loaded), transaction.message.instructions)


def _wire(encoded: tuple[str, str]) -> bytes:
    text, encoding = encoded
    try:
        match encoding:
            case "base64":
                return binascii.a2b_base64(text, strict_mode=True)
            case "base58":
                return base58.decode(text)
    except ValueError as error:
        raise TransactionError(f"not {encoding}: {error}") from error
    raise TransactionError(f"unknown encoding {encoding!r}")


def _texts(keys: Iterable[str | Key]) -> list[str]:
    return [key if isinstance(key, str) else key.pubkey for key in keys]


def _loaded(loaded: Loaded | None) -> list[str]:
    return [*loaded.writable, *loaded.readonly] if loaded else []


def _invokes(body: _Body, meta: Meta, programs: frozenset[str]) -> tuple[Invoke, ...] | None:
    if meta.inner_instructions is None:
        return None
    invokes: list[Invoke] = []
    try:
        for position, call in enumerate(_execution_order(body, meta)):
            program = _program(call.instruction, body.keys)
            if program in programs:
                data = _data(call.instruction)
                accounts = _accounts(call.instruction, body.keys)
                invokes.append(Invoke(position, _depth(call, program, data, invokes), program, accounts, data))
        # What facts name comes from here: an account that is no key would raise much later, or be stored.
        for account in {account for invoke in invokes for account in invoke.accounts}:
            Pubkey.from_string(account)
    except (IndexError, ValueError) as error:
        raise TransactionError(f"{body.signature}: {error}") from error
    return tuple(invokes)


class _Call(NamedTuple):
    instruction: Instruction | CompiledInstruction
    is_outer: bool


def _execution_order(body: _Body, meta: Meta) -> Iterator[_Call]:
    inner: dict[int, list[Instruction]] = {}
    for group in meta.inner_instructions or ():
        if group.index >= len(body.instructions):
            raise ValueError(f"inner instructions of number {group.index}, which there is not")
        inner.setdefault(group.index, []).extend(group.instructions)
    for number, outer in enumerate(body.instructions):
        yield _Call(outer, is_outer=True)
        for instruction in inner.get(number, ()):
            yield _Call(instruction, is_outer=False)


def _program(instruction: Instruction | CompiledInstruction, keys: list[str]) -> str:
    if isinstance(instruction, Instruction) and instruction.program_id is not None:
        return instruction.program_id
    if instruction.program_id_index is None:
        raise ValueError("an instruction without program")
    return keys[instruction.program_id_index]


def _accounts(instruction: Instruction | CompiledInstruction, keys: list[str]) -> tuple[str, ...]:
    return tuple(account if isinstance(account, str) else keys[account] for account in instruction.accounts)


def _data(instruction: Instruction | CompiledInstruction) -> bytes:
    if isinstance(instruction, CompiledInstruction):
        return instruction.data
    if instruction.data is None:
        raise ValueError("an instruction without data")
    return base58.decode(instruction.data)


def _depth(call: _Call, program: str, data: bytes, before: Sequence[Invoke]) -> int:
    """
    Return the depth of a call.

    Where the node does not tell: an event call is made by its own program, so it is one deeper than that program's last
    call; any other is taken for 2, which is right unless a router called it.
    """
    if call.is_outer or isinstance(call.instruction, CompiledInstruction):
        return 1
    if call.instruction.stack_height is not None:
        return call.instruction.stack_height
    if data.startswith(SELF_CPI_TAG):
        for invoke in reversed(before):
            if invoke.program == program and not invoke.data.startswith(SELF_CPI_TAG):
                return invoke.depth + 1
    return 2


def _token_balances(keys: list[str], meta: Meta) -> tuple[TokenBalance, ...]:
    before = {(entry.account_index, entry.mint): entry for entry in meta.pre_token_balances or ()}
    after = {(entry.account_index, entry.mint): entry for entry in meta.post_token_balances or ()}
    try:
        return tuple(_token_balance(keys, before.get(place), after.get(place)) for place in {**before, **after})
    except (IndexError, ValueError) as error:
        raise TransactionError(f"token balances: {error}") from error


def _token_balance(keys: list[str], before: Balance | None, after: Balance | None) -> TokenBalance:
    one = after or before
    assert one is not None  # noqa: S101 - the caller takes its places from these two
    return TokenBalance(
        account=keys[one.account_index],
        mint=one.mint,
        owner=one.owner,
        before=_amount(before),
        after=_amount(after),
        decimals=one.ui_token_amount.decimals,
    )


def _amount(balance: Balance | None) -> int | None:
    if balance is None:
        return None
    text = balance.ui_token_amount.amount
    if not (text.isascii() and text.isdigit() and len(text) <= _U64_DIGITS):
        raise ValueError(f"no amount: {text[:40]!r}")
    return int(text)
