"""Ask a node for blocks and transactions of the past."""

from __future__ import annotations

import asyncio
import copy
import dataclasses
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

import msgspec

from decoders.core.answers import Slot
from decoders.core.transaction import (
    TransactionError,
    parse_block,
    parse_transaction,
    read_block,
    read_transaction,
    sane_time,
)
from monitor.errors import RequestFailed, SourceLost, SourceRefused
from monitor.sources import rpc
from monitor.sources.chain import Link
from monitor.sources.notices import HISTORY

if TYPE_CHECKING:
    from collections.abc import Callable

    from decoders.core.types import TxNotice
    from monitor.sources.clients import Rpc

_NULL = b"null"
# These tell something of the block that was asked for; all others tell of the node, which may be away.
_OF_THE_BLOCK = frozenset({"not_yet", "not_there", "pruned", "no_history", "version"})
Ending: TypeAlias = SourceLost | SourceRefused
_slots_decoder = msgspec.json.Decoder(list[Slot])
_slot_decoder = msgspec.json.Decoder(Slot)


@dataclass(frozen=True, slots=True)
class Block:
    """
    A block that was fetched.

    `lacks` tells what of it cannot be read; None: nothing. `size_bytes` is that of the node's answer.
    """

    link: Link
    notices: tuple[TxNotice, ...]
    lacks: str | None
    size_bytes: int


class _Header(msgspec.Struct, frozen=True, rename="camel"):
    blockhash: str
    previous_blockhash: str
    parent_slot: Slot
    block_time: int | float | None = None


_header_decoder = msgspec.json.Decoder(_Header)


class Blocks:
    """What a node holds of the past, at one commitment."""

    def __init__(
        self,
        client: Rpc,
        programs: frozenset[str],
        commitment: rpc.Commitment,
        *,
        most_failures: int,
        at_once: int = 4,
        final_slot: Callable[[], int] | None = None,
    ) -> None:
        """`final_slot` tells up to which slot the chain is final: what lies there is read from the finalized one."""
        self._final_slot = final_slot
        self.node = Node(client, at_once=at_once, most_failures=most_failures)
        self._programs = programs
        self.commitment: rpc.Commitment = commitment

    def at(self, commitment: rpc.Commitment) -> Blocks:
        """Return the same at another commitment, within the same bounds."""
        other = copy.copy(self)
        other.commitment = commitment
        return other

    async def listed(self, first_slot: int, last_slot: int) -> list[int]:
        """Return the slots of a range for which the node lists a block. Raises as `Node.ask`, and TransactionError."""
        result = await self.node.ask(rpc.get_blocks(first_slot, last_slot, self.commitment))
        try:
            slots = _slots_decoder.decode(result)
        except (msgspec.MsgspecError, UnicodeDecodeError) as error:
            raise TransactionError(f"not a list of slots: {error}") from error
        return sorted({slot for slot in slots if first_slot <= slot <= last_slot})

    async def block(self, slot: int) -> Block | RequestFailed | TransactionError | Ending:
        """Return a block, or why there is none: an error that is raised would end its siblings."""
        try:
            commitment = self._commitment_at(slot)
            block = block_of(await self.node.ask(rpc.get_block(slot, commitment)), slot, self._programs)
            return _final(block) if commitment == "finalized" else block
        except (RequestFailed, TransactionError, SourceLost, SourceRefused) as error:
            return error

    def _commitment_at(self, slot: int) -> rpc.Commitment:
        is_final = self._final_slot is not None and slot <= self._final_slot()
        return "finalized" if is_final else self.commitment

    async def header(self, slot: int) -> Link:
        """Return what a block says of its parent. Raises as `Node.ask`, and TransactionError."""
        return header_of(await self.node.ask(rpc.get_block_header(slot, self.commitment)))

    async def transaction(self, signature: str, slot: int) -> TxNotice | None:
        """Return a transaction; None: the node does not know it. Raises as `Node.ask`, and TransactionError."""
        result = await self.node.ask(rpc.get_transaction(signature, self.commitment))
        known = bytes(result).strip() != _NULL
        return transaction_of(result, signature, slot, self._programs) if known else None


class Node:
    """
    Whoever is asked, within a bound of requests at once.

    `failures` counts the requests in a row that told of nothing but its absence. After `most_failures`, or a refusal,
    nobody asks any more until `begin`.
    """

    def __init__(self, client: Rpc, *, at_once: int, most_failures: int) -> None:
        self.failures = 0
        self._client = client
        self._most_failures = most_failures
        self._places = asyncio.Semaphore(at_once)
        self._away: Ending | None = None
        self._kept_from: int | None = None
        self._is_kept_asked = False

    def begin(self) -> None:
        """Begin a try: the node may be there again."""
        self._away, self._is_kept_asked = None, False

    async def kept_from(self) -> int | None:
        """Return the lowest slot whose block is still to be had, asked for once a try; None: nobody tells."""
        if not self._is_kept_asked:
            self._is_kept_asked, self._kept_from = True, None
            try:
                answers = await self._client.each(rpc.get_first_available_block())
                self._kept_from = min(_slot_decoder.decode(answer.result) for answer in answers)
            except (RequestFailed, SourceRefused, msgspec.MsgspecError, UnicodeDecodeError):
                pass  # it only helps to tell people why
        return self._kept_from

    async def ask(self, request: rpc.Request) -> msgspec.Raw:
        """
        Return the node's result.

        Raises:
            RequestFailed: If there is none.
            SourceLost: If there was none so many times in a row that the node must be away.
            SourceRefused: If the node does not let us in.
        """
        async with self._places:
            if self._away is not None:
                raise self._away
            try:
                answer = await self._client.call(request)
            except SourceRefused as error:
                self._away = error
                raise
            except RequestFailed as error:
                self._failed(error)
                raise
            self.failures = 0
            return answer.result

    def _failed(self, error: RequestFailed) -> None:
        if rpc.kind_of(error.code) in _OF_THE_BLOCK:
            self.failures = 0
            return
        self.failures += 1
        if self.failures >= self._most_failures:
            self._away = SourceLost(str(error), retry_after_s=error.retry_after_s, kind="history")
            raise self._away from error


def _final(block: Block) -> Block:
    notices = tuple(msgspec.structs.replace(notice, final=True) for notice in block.notices)
    return dataclasses.replace(block, notices=notices)


def block_of(result: msgspec.Raw | bytes, slot: int, programs: frozenset[str]) -> Block:
    """
    Return the block that an answer holds.

    Raises:
        TransactionError: If it holds none.
    """
    answer = read_block(result)
    parsed = parse_block(answer, slot=slot, programs=programs, feed=HISTORY)
    whole = tuple(notice for notice in parsed.notices if notice.invokes is not None)
    lacks = [*parsed.malformed]
    if len(whole) < len(parsed.notices):
        lacks.append(f"the node has not kept inner instructions of {len(parsed.notices) - len(whole)} transactions")
    link = Link(answer.parent_slot, answer.blockhash, answer.previous_blockhash, sane_time(answer.block_time))
    lack = f"{len(lacks)} of its parts cannot be read: {lacks[0]}" if lacks else None
    return Block(link, whole, lack, memoryview(result).nbytes)


def header_of(result: msgspec.Raw | bytes) -> Link:
    """
    Return what a block without its transactions says.

    Raises:
        TransactionError: If it is none.
    """
    try:
        header = _header_decoder.decode(result)
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise TransactionError(f"not a block: {error}") from error
    return Link(header.parent_slot, header.blockhash, header.previous_blockhash, sane_time(header.block_time))


def transaction_of(result: msgspec.Raw | bytes, signature: str, slot: int, programs: frozenset[str]) -> TxNotice:
    """
    Return the transaction that an answer holds; `slot` stands in where it does not tell.

    Raises:
        TransactionError: If it is another one, or not whole.
    """
    notice = parse_transaction(read_transaction(result), slot=slot, programs=programs, feed=HISTORY)
    if notice is None or notice.signature != signature:
        raise TransactionError("another transaction than the one asked for")
    if notice.invokes is None:
        raise TransactionError("the node has not kept its inner instructions")
    return notice
