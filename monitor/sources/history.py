"""Fill holes: fetch the blocks and transactions that no feed told, oldest first, beside the live feed."""

from __future__ import annotations

import asyncio
from collections import deque
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol, TypeAlias

import msgspec
import structlog

from decoders.core.answers import Slot
from decoders.core.transaction import TransactionError, parse_block, parse_transaction, read_block, read_transaction
from monitor.errors import RequestFailed, SourceLost, SourceRefused, StoreUnavailable
from monitor.sources import rpc
from monitor.sources.chain import Contradiction, Link, NoEnd, Proven, Wanted, examine
from monitor.sources.notices import HISTORY, HoleFilled
from monitor.sources.tally import HistoryTally
from monitor.tasks import retry

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator, Sequence

    from decoders.core.types import TxNotice
    from monitor.sources.client import RpcClient
    from monitor.sources.notices import Outlet

log = structlog.get_logger(__name__)

_MAX_DOUBLINGS = 30
_NULL = b"null"
# These tell something of the block that was asked for; all others tell of the node, which may be away.
_OF_THE_BLOCK = frozenset({"not_yet", "not_there", "pruned", "version"})
_Ending: TypeAlias = SourceLost | SourceRefused
_slots_decoder = msgspec.json.Decoder(list[Slot])


class OpenHole(Protocol):
    """Something known to be missing: all of the slots, or (`signature` set) one transaction in them."""

    @property
    def id(self) -> int:
        """Its number in the database."""

    @property
    def first_slot(self) -> int:
        """First slot."""

    @property
    def last_slot(self) -> int:
        """Last slot."""

    @property
    def signature(self) -> str | None:
        """The transaction; None: everything in these slots."""


class Holes(Protocol):
    """Where holes are kept. Each call may raise StoreUnavailable, and is repeated then."""

    async def open_holes(self, limit: int, without: Iterable[int] = ()) -> Sequence[OpenHole]:
        """Return open holes but those of the ids `without`, oldest slots first."""

    async def count_open_holes(self) -> int:
        """Return how many are open."""

    async def hole_failed(self, hole_id: int, reason: str) -> None:
        """Note that a try to fill one failed."""


@dataclass(frozen=True, slots=True)
class HistoryRules:
    """
    How to go about holes.

    A hole is filled in pieces of `piece_slots`, each proven by itself; `look_ahead_slots` are searched behind a piece
    for the block that proves its end. So many failures in a row as `most_failures` end a try, since the node is away
    and not just a block, and delay the next one by up to `longest_pause_s`. A hole that was told to be filled is looked
    at again after `told_rest_s`, should it be open then.
    """

    piece_slots: int = 1_000
    look_ahead_slots: int = 256
    most_pieces: int = 4_096
    most_failures: int = 5
    first_retry_s: float = 0.5
    longest_retry_s: float = 600.0
    longest_pause_s: float = 30.0
    told_rest_s: float = 600.0

    def retry_s(self, tries: int) -> float:
        """Return how long to wait after the given number of failed tries (1 and up)."""
        doubled: float = self.first_retry_s * 2 ** min(tries - 1, _MAX_DOUBLINGS)
        return min(doubled, self.longest_retry_s)


@dataclass(slots=True, eq=False)
class Piece:
    """Slots that are proven together. `links` are the blocks delivered, and those after the end that prove it."""

    first_slot: int
    last_slot: int
    links: dict[int, Link] = field(default_factory=dict)


@dataclass(slots=True)
class Work:
    """What is known of an open hole: pieces that are not proven, the first slot not tried yet, when it is due."""

    next_slot: int
    open: list[Piece] = field(default_factory=list)
    tries: int = 0
    due_at: float = 0.0

    def pieces(self, last_slot: int, rules: HistoryRules) -> Iterator[Piece]:
        """Yield the pieces tried before, then new ones up to `last_slot`. A new one is open until it is removed."""
        yield from tuple(self.open)
        while self.next_slot <= last_slot and len(self.open) < rules.most_pieces:
            piece = Piece(self.next_slot, min(self.next_slot + rules.piece_slots - 1, last_slot))
            self.open.append(piece)
            self.next_slot = piece.last_slot + 1
            yield piece


@dataclass(frozen=True, slots=True)
class Block:
    """A block that was fetched. `lacks` tells what of it cannot be read; None: nothing."""

    link: Link
    notices: tuple[TxNotice, ...]
    lacks: str | None


class _Header(msgspec.Struct, frozen=True, rename="camel"):
    blockhash: str
    previous_blockhash: str
    parent_slot: Slot


_header_decoder = msgspec.json.Decoder(_Header)


class History:
    """
    Fills holes for as long as it runs.

    What was missing goes into the outlet (feed "history"), in the order of slots, then `HoleFilled`. What cannot be had
    leaves the hole open, with the reason noted, and is tried again later. `tally` counts.
    """

    def __init__(
        self,
        client: RpcClient,
        programs: frozenset[str],
        holes: Holes,
        *,
        commitment: rpc.Commitment = "confirmed",
        rules: HistoryRules | None = None,
    ) -> None:
        self.name = HISTORY
        self.tally = HistoryTally()
        self._client = client
        self._programs = programs
        self._holes = holes
        self._commitment: rpc.Commitment = commitment
        self._rules = rules or HistoryRules()
        # Half of what the client may do at once: the other half serves what the live feed lacks.
        self._at_once = max(1, client.limits.concurrency // 2)
        self._works: dict[int, Work] = {}
        self._failures = 0
        self._brought: dict[tuple[int, str], TxNotice] = {}
        self._wake = asyncio.Event()

    def committed(self, filled: Collection[int] = ()) -> None:
        """Look at the holes again: some were recorded or filled. `filled` are the ids of the latter."""
        for hole_id in filled:
            self._works.pop(hole_id, None)
        self._wake.set()

    async def run(self, out: Outlet) -> None:
        """Fill holes for ever. Ends when cancelled: what is open then is found again in the database."""
        while True:
            self._wake.clear()
            now = asyncio.get_running_loop().time()
            hole = await self._next(now)
            if hole is None:
                await self._something_to_do(now)
            else:
                await self._try(hole, out)
                if self._failures >= self._rules.most_failures:
                    tries = self._failures - self._rules.most_failures + 1
                    await asyncio.sleep(min(self._rules.retry_s(tries), self._rules.longest_pause_s))

    async def _next(self, now: float) -> OpenHole | None:
        """Return the oldest open hole that is due, None: there is none."""
        resting = [hole_id for hole_id, work in self._works.items() if work.due_at > now]
        found = await retry(
            lambda: self._holes.open_holes(1, resting), what="open_holes", transient=(StoreUnavailable,)
        )
        self.tally.open_holes = await retry(
            self._holes.count_open_holes, what="count_open_holes", transient=(StoreUnavailable,)
        )
        return found[0] if found else None

    async def _something_to_do(self, now: float) -> None:
        # What was due by then and did not come is not open any more.
        self._works = {hole_id: work for hole_id, work in self._works.items() if work.due_at > now}
        next_at = min((work.due_at for work in self._works.values()), default=None)
        try:
            async with asyncio.timeout_at(next_at):
                await self._wake.wait()
        except TimeoutError:
            pass

    async def _try(self, hole: OpenHole, out: Outlet) -> None:
        work = self._works.setdefault(hole.id, Work(hole.first_slot))
        work.tries += 1
        reason = await self._fill(hole, work, out)
        wait_s = self._rules.told_rest_s if reason is None else self._rules.retry_s(work.tries)
        work.due_at = asyncio.get_running_loop().time() + wait_s
        _log(hole, work.tries, wait_s, reason)
        if reason is None:
            self.tally.filled += 1
            await out.put(HoleFilled(hole.id, hole.first_slot, hole.last_slot, hole.signature))
            return
        self.tally.failed += 1
        await retry(lambda: self._holes.hole_failed(hole.id, reason), what="hole_failed", transient=(StoreUnavailable,))

    async def _fill(self, hole: OpenHole, work: Work, out: Outlet) -> str | None:
        """Deliver what is missing; return why not all of it could be had, None: it could."""
        try:
            if hole.signature is not None:
                return await self._fill_signature(hole.first_slot, hole.signature, out)
            return await self._fill_range(hole, work, out)
        except (RequestFailed, SourceLost, SourceRefused, TransactionError) as error:
            return str(error)

    async def _fill_signature(self, slot: int, signature: str, out: Outlet) -> str | None:
        """
        Deliver one transaction, along with its block where that is to be had.

        By itself it has no place among its neighbours that were told by arrival, so that it is not known whose reserves
        are the latest.
        """
        known = self._brought.pop((slot, signature), None)  # holes of one slot follow each other
        if known is not None:
            await out.put(known)
            return None
        block = await self._block(slot)
        if isinstance(block, SourceLost | SourceRefused):
            raise block
        if isinstance(block, Block) and signature in {notice.signature for notice in block.notices}:
            await self._put(block, out)
            self._brought = {(slot, notice.signature): notice for notice in block.notices}
            del self._brought[slot, signature]
            return None
        result = await self._ask(rpc.get_transaction(signature, self._commitment))
        if bytes(result).strip() == _NULL:
            return "the node does not know the transaction"
        notice = transaction_of(result, signature, slot, self._programs)
        self.tally.transactions += 1
        await out.put(notice)
        return None

    async def _fill_range(self, hole: OpenHole, work: Work, out: Outlet) -> str | None:
        """Go through the pieces that are open; return what is wrong with the first of those that stay so."""
        wrong: list[str] = []
        for piece in work.pieces(hole.last_slot, self._rules):
            reason = await self._fill_piece(piece, out)
            if reason is None:
                work.open.remove(piece)
            else:
                wrong.append(reason)
        return wrong[0] if wrong else None

    async def _fill_piece(self, piece: Piece, out: Outlet) -> str | None:
        """Deliver the blocks of a piece that were not yet; return why it stays open, None: it is proven."""
        try:
            listed = await self._listed(piece)
        except (RequestFailed, TransactionError) as error:
            return str(error)
        missing = [slot for slot in listed if slot <= piece.last_slot and slot not in piece.links]
        lacks = await self._deliver(missing, piece, out)
        behind = next((slot for slot in listed if slot > piece.last_slot), None)
        return await self._prove(piece, behind, lacks, out)

    async def _prove(self, piece: Piece, behind: int | None, lacks: dict[int, str], out: Outlet) -> str | None:
        """Get what the proof still wants; `behind` is a block after the piece, `lacks` are those that cannot be had."""
        while True:
            sought: int | None
            child: int | None = None
            match examine(piece.first_slot, piece.last_slot, piece.links):
                case Proven():
                    return None
                case Contradiction(slots=slots, reason=reason):
                    for slot in slots:  # fetched anew at the next try
                        del piece.links[slot]
                    return reason
                case NoEnd():
                    sought = behind
                case Wanted(slot=parent, child_slot=child):
                    sought = parent
            if sought is None and lacks:
                return _lack(max(lacks), lacks)
            if sought is None:
                return f"no block at or after slot {piece.last_slot} yet, so what was skipped there is not known"
            if sought not in lacks:
                is_ours = sought <= piece.last_slot
                lacks |= await (self._deliver([sought], piece, out) if is_ours else self._see(sought, piece))
            if sought in lacks:
                if child is not None:
                    del piece.links[child]  # it may have been on a fork
                return _lack(sought, lacks)

    async def _listed(self, piece: Piece) -> list[int]:
        """Return the slots of a piece, and some behind it, for which the node lists a block."""
        last_slot = piece.last_slot + self._rules.look_ahead_slots
        result = await self._ask(rpc.get_blocks(piece.first_slot, last_slot, self._commitment))
        try:
            slots = _slots_decoder.decode(result)
        except (msgspec.MsgspecError, UnicodeDecodeError) as error:
            raise TransactionError(f"not a list of slots: {error}") from error
        return sorted({slot for slot in slots if piece.first_slot <= slot <= last_slot})

    async def _deliver(self, slots: Iterable[int], piece: Piece, out: Outlet) -> dict[int, str]:
        """Fetch blocks, several at once, and put them out in the order of slots; return why some could not be had."""
        lacks: dict[int, str] = {}
        waiting = deque(slots)
        under_way: deque[tuple[int, asyncio.Task[Block | RequestFailed | TransactionError | _Ending]]] = deque()
        ending: _Ending | None = None
        async with asyncio.TaskGroup() as tasks:
            while ending is None and (waiting or under_way):
                while waiting and len(under_way) < self._at_once:
                    under_way.append((waiting[0], tasks.create_task(self._block(waiting.popleft()))))
                slot, task = under_way.popleft()
                match await task:
                    case Block() as block:
                        await self._put(block, out)
                        if block.lacks is None:
                            piece.links[slot] = block.link
                        else:
                            lacks[slot] = block.lacks
                    case RequestFailed() | TransactionError() as error:
                        lacks[slot] = str(error)
                    case SourceLost() | SourceRefused() as error:
                        ending = error
            for _, task in under_way:
                task.cancel()
        if ending is not None:
            raise ending
        return lacks

    async def _put(self, block: Block, out: Outlet) -> None:
        self.tally.blocks += 1
        self.tally.transactions += len(block.notices)
        for notice in block.notices:
            await out.put(notice)

    async def _block(self, slot: int) -> Block | RequestFailed | TransactionError | _Ending:
        """Return a block, or why there is none: an error that is raised would end its siblings."""
        try:
            return block_of(await self._ask(rpc.get_block(slot, self._commitment)), slot, self._programs)
        except (RequestFailed, TransactionError, SourceLost, SourceRefused) as error:
            return error

    async def _see(self, slot: int, piece: Piece) -> dict[int, str]:
        """Look at a block behind a piece, of which only its parent matters; return why it cannot be had."""
        try:
            piece.links[slot] = header_of(await self._ask(rpc.get_block_header(slot, self._commitment)))
        except (RequestFailed, TransactionError) as error:
            return {slot: str(error)}
        return {}

    async def _ask(self, request: rpc.Request) -> msgspec.Raw:
        """
        Return the node's result.

        Raises:
            RequestFailed: If there is none.
            SourceLost: If there was none so many times in a row that the node must be away.
            SourceRefused: If the node does not let us in.
        """
        try:
            answer = await self._client.call(request)
        except RequestFailed as error:
            if rpc.kind_of(error.code) in _OF_THE_BLOCK:
                raise
            self._failures += 1
            if self._failures >= self._rules.most_failures:
                raise SourceLost(str(error), retry_after_s=error.retry_after_s, kind="history") from error
            raise
        self._failures = 0
        return answer.result


def _lack(slot: int, lacks: dict[int, str]) -> str:
    return f"slot {slot}: {lacks[slot]}"


def _log(hole: OpenHole, tries: int, wait_s: float, reason: str | None) -> None:
    where = {"hole_id": hole.id, "first_slot": hole.first_slot, "last_slot": hole.last_slot, "tries": tries}
    if hole.signature is not None:  # there may be thousands
        log.debug("transaction_sought", **where, signature=hole.signature, reason=reason)
    elif reason is None:
        log.info("hole_filled", **where)
    else:
        log.warning("hole_left_open", **where, wait_s=wait_s, reason=reason)


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
    link = Link(answer.parent_slot, answer.blockhash, answer.previous_blockhash)
    return Block(link, whole, f"{len(lacks)} of its parts cannot be read: {lacks[0]}" if lacks else None)


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
    return Link(header.parent_slot, header.blockhash, header.previous_blockhash)


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
