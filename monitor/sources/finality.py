"""Compare what is stored with the finalized chain, behind committed progress."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

import msgspec
import structlog

from decoders.core.answers import Slot
from decoders.core.transaction import TransactionError
from monitor.errors import RequestFailed, SourceRefused, StoreUnavailable
from monitor.sources import rpc
from monitor.sources.backoff import Backoff
from monitor.sources.blocks import header_of
from monitor.sources.chain import Link
from monitor.sources.notices import FinalBegins, FinalSeen, SlotDoubted
from monitor.sources.tally import FinalityTally
from monitor.sources.verdicts import Heard, Status, Verdict, by_block, by_slot, by_statuses
from monitor.tasks import retry

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from monitor.sources.clients import Rpc
    from monitor.sources.notices import BlockSeen, Outlet
    from monitor.sources.verdicts import Chain, Pair

_T = TypeVar("_T")
log = structlog.get_logger(__name__)

FINALITY = "finality"
NOT_FINAL = "not_final"
"""The reason of a hole whose slot has rows that the finalized chain does not hold."""
# The block is not on the chain, or this node does not have it: either way it is to be fetched, with a proof.
_ABSENT = frozenset({"not_there", "pruned"})


class Rows(Protocol):
    """What is stored. Each call may raise StoreUnavailable, and is repeated then."""

    async def final_through(self) -> int | None:
        """Return up to which slot everything was compared; None: nothing ever was."""

    async def unsettled(self, after_slot: int, through_slot: int, limit: int) -> Sequence[Pair]:
        """
        Return slots and signatures of what stands in these slots, by slot, each slot whole.

        Some `limit` of them, of the first slots; none if there are no more.
        """


@dataclass(frozen=True, slots=True)
class FinalityRules:
    """
    How to go about it.

    The node is asked for its root if nobody told one for `root_every_s`. Rows are read in pages of `page_rows`, at most
    every `rest_s`. Older than `recent_slots` a node finds transactions only if it searches. `most_anchors` blocks are
    tried to tie what feeds told to the finalized chain.
    """

    root_every_s: float = 5.0
    rest_s: float = 0.5
    page_rows: int = 5_000
    recent_slots: int = 150
    most_anchors: int = 3
    first_retry_s: float = 0.5
    longest_retry_s: float = 30.0


class _Context(msgspec.Struct, frozen=True):
    slot: Slot


class _Status(msgspec.Struct, frozen=True, rename="camel"):
    slot: Slot
    err: Any = None
    confirmation_status: str | None = None


class _Statuses(msgspec.Struct, frozen=True):
    context: _Context
    value: tuple[_Status | None, ...]


class _Signatures(msgspec.Struct, frozen=True):
    signatures: tuple[str, ...]


_statuses_decoder = msgspec.json.Decoder(_Statuses)
_signatures_decoder = msgspec.json.Decoder(_Signatures)
_slot_decoder = msgspec.json.Decoder(Slot)


class Finality:
    """
    Compares rows, and blocks that were told, with the finalized chain for as long as it runs, once each.

    `FinalBegins` goes into the outlet, then, once that is `stored`, `SlotDoubted` for each slot that is not as stored
    or told, and `FinalSeen`. What a node does not tell delays both. `tally` counts.
    """

    def __init__(
        self,
        client: Rpc,
        rows: Rows,
        *,
        rules: FinalityRules | None = None,
        blocks_tell_rows: bool = True,
        is_behind: Callable[[], bool] = lambda: False,
    ) -> None:
        """
        Take what is compared.

        Args:
            blocks_tell_rows: Whether nobody tells rows without their block. Then what stands in a slot is of the blocks
                that were `heard` there, and a block that is final confirms it without asking more.
            is_behind: Whether what feeds told is still being caught up with. Then nothing is compared: the blocks that
                tie what is stored to the chain are to come yet, and a node may have forgotten those that are here.
        """
        self._is_behind = is_behind
        self.name = FINALITY
        self.tally = FinalityTally()
        self._client = client
        self._rows = rows
        self._rules = rules or FinalityRules()
        self._heard = Heard()
        self._blocks_tell_rows = blocks_tell_rows
        self._through = -1
        self._committed = self._root = self._announced = -1
        self._root_at = float("-inf")
        self._stored = -1
        self._all_stored = asyncio.Event()
        self._wake = asyncio.Event()

    def committed(self, frontier_slot: int) -> None:
        """Take note that everything up to and including a slot is committed, or is in a hole."""
        self._committed = max(self._committed, frontier_slot)
        self._wake.set()

    def stored(self, through_slot: int) -> None:
        """Take note that whatever stood before the `FinalBegins` of a slot is committed."""
        self._stored = max(self._stored, through_slot)
        self._all_stored.set()

    def final_slot(self) -> int:
        """
        Return a slot up to which the past is to be read from the finalized chain; -1: not known.

        Up to the root, and up to where rows are compared: read at any other commitment, what lies there would come too
        late. Where the rest of the cluster has yet to root a slot, the node says that it is not there yet.
        """
        return max(self._announced, self._root)

    def root(self, slot: int) -> None:
        """Take note that a slot is final."""
        self._root = max(self._root, slot)
        self._root_at = asyncio.get_running_loop().time()
        self._wake.set()

    def heard(self, block: BlockSeen) -> None:
        """
        Take note of a block that a feed told. Tell all of them, forks too.

        Progress may have passed its slot by it: if another one is final there, that is to be fetched, rows or not.
        """
        if block.slot > self._through:
            self._heard.add(block.slot, Link(block.parent_slot, block.blockhash, block.previous_blockhash))

    async def run(self, out: Outlet) -> None:
        """Compare for ever. Ends when cancelled: what was not compared then is found again in the database."""
        through = await retry(self._rows.final_through, what="final_through", transient=(StoreUnavailable,))
        self._through = self._announced = -1 if through is None else through
        backoff = Backoff(self._rules.first_retry_s, self._rules.longest_retry_s)
        while True:
            self._wake.clear()
            try:
                await self._look_for_root()
                if not self._is_behind():
                    await self._compare(min(self._committed, self._root), out)
            except (RequestFailed, SourceRefused) as error:
                asked_s = error.retry_after_s if isinstance(error, RequestFailed) else None
                wait_s = backoff.failed(asked_s)
                self.tally.failed += 1
                log.warning("not_compared", after_slot=self._through, wait_s=round(wait_s, 2), error=str(error))
                await asyncio.sleep(wait_s)
            else:
                backoff.succeeded()
                await self._something_to_do()

    async def _something_to_do(self) -> None:
        await asyncio.sleep(self._rules.rest_s)
        try:
            async with asyncio.timeout(self._rules.root_every_s):
                await self._wake.wait()
        except TimeoutError:
            pass

    async def _look_for_root(self) -> None:
        if asyncio.get_running_loop().time() - self._root_at < self._rules.root_every_s:
            return
        answer = await self._client.call(rpc.get_slot("finalized"))
        self.root(_read(_slot_decoder, answer.result))

    async def _compare(self, through_slot: int, out: Outlet) -> None:
        """Compare everything up to and including a slot that is final, and committed."""
        if through_slot <= self._through:
            return
        self._announced = through_slot
        await out.put(FinalBegins(through_slot))
        await self._until_stored(through_slot)
        if self._is_behind():
            return  # the database was away meanwhile, perhaps for longer than a node keeps what is compared with
        chain = await self._chain()
        replaced = await self._replaced(through_slot, chain)
        while self._through < through_slot:
            pairs = await self._page(through_slot)
            doubted = await self._doubted(pairs, chain if self._blocks_tell_rows else None)
            reached = pairs[-1][0] if pairs else through_slot
            doubted |= {slot for slot in replaced if self._through < slot <= reached}
            for slot in sorted(doubted):
                log.warning("slot_doubted", slot=slot)
                await out.put(SlotDoubted(slot, NOT_FINAL))
            self._through = reached
            self.tally.through, self.tally.compared = self._through, self.tally.compared + len(pairs)
            self.tally.doubted += len(doubted)
            await out.put(FinalSeen(self._through))
        self._heard.forget(self._through)

    async def _until_stored(self, through_slot: int) -> None:
        """Wait until all that was told before is committed: what is still under way would not be compared."""
        while self._stored < through_slot:
            self._all_stored.clear()
            await self._all_stored.wait()

    async def _page(self, through_slot: int) -> Sequence[Pair]:
        after, rows = self._through, self._rules.page_rows
        return await retry(
            lambda: self._rows.unsettled(after, through_slot, rows), what="unsettled", transient=(StoreUnavailable,)
        )

    async def _chain(self) -> Chain | None:
        """Return the finalized chain as far as feeds told it; None: what they told cannot be tied to it."""
        for slot in self._heard.newest(self._root, self._through)[: self._rules.most_anchors]:
            blockhash = await self._final_hash(slot)
            chain = None if blockhash is None else self._heard.chain(slot, blockhash)
            if chain is not None:
                return chain
        return None

    async def _replaced(self, through_slot: int, chain: Chain | None) -> set[int]:
        """Return the slots of which a block was told, and not the one (or none at all) that is final there."""
        replaced: set[int] = set()
        for slot in self._heard.newest(through_slot, self._through):
            blockhash: str | None
            if chain is not None and chain.first_slot <= slot <= chain.last_slot:
                blockhash = chain.hashes.get(slot)
            else:
                # Another connection told it: nothing that was told leads back from there to here.
                blockhash = await self._final_hash(slot)
                if blockhash is not None:
                    chain = self._heard.chain(slot, blockhash) or chain
            if blockhash is None or not self._heard.holds(slot, blockhash):
                replaced.add(slot)
        return replaced

    async def _final_hash(self, slot: int) -> str | None:
        """Return the hash of the finalized block of a slot; None: there is none, or the node does not have it."""
        try:
            return header_of((await self._client.call(rpc.get_block_header(slot, "finalized"))).result).blockhash
        except TransactionError as error:
            raise RequestFailed(f"slot {slot}: {error}") from error
        except RequestFailed as error:
            if rpc.kind_of(error.code) not in _ABSENT:
                raise
            return None

    async def _doubted(self, pairs: Sequence[Pair], chain: Chain | None) -> set[int]:
        """Return the slots that are not as stored: by the chain, else by statuses, else by the slot's block."""
        slots = by_slot(pairs)
        verdict = Verdict(unclear=set(slots)) if chain is None else self._heard.compare(slots, chain)
        doubted = set(verdict.doubted)
        # Where a slot holds more than a call asks for, its block is the cheaper answer.
        unclear = {slot for slot in verdict.unclear if len(slots[slot]) > rpc.MAX_SIGNATURES_PER_CALL}
        asked = [pair for slot in sorted(verdict.unclear - unclear) for pair in slots[slot]]
        for at in range(0, len(asked), rpc.MAX_SIGNATURES_PER_CALL):
            told = await self._by_statuses(asked[at : at + rpc.MAX_SIGNATURES_PER_CALL])
            doubted |= told.doubted
            unclear |= told.unclear
        for slot in sorted(unclear - doubted):
            doubted |= (await self._by_block(slot, slots[slot])).doubted
        return doubted

    async def _by_statuses(self, pairs: Sequence[Pair]) -> Verdict:
        signatures = [signature for _, signature in pairs]
        search = pairs[0][0] < self._root - self._rules.recent_slots
        answer = await self._client.call(rpc.get_signature_statuses(signatures, search=search))
        told = _read(_statuses_decoder, answer.result)
        if len(told.value) != len(pairs):
            raise RequestFailed(f"{len(told.value)} statuses for {len(pairs)} signatures")
        if told.context.slot < pairs[-1][0]:
            raise RequestFailed(f"{self._client.endpoint} is behind: it is at slot {told.context.slot}")
        return by_statuses(pairs, [_status(status) for status in told.value])

    async def _by_block(self, slot: int, pairs: Sequence[Pair]) -> Verdict:
        try:
            answer = await self._client.call(rpc.get_block_signatures(slot, "finalized"))
        except RequestFailed as error:
            if rpc.kind_of(error.code) not in _ABSENT:
                raise
            return Verdict(doubted={slot})
        return by_block(pairs, slot, frozenset(_read(_signatures_decoder, answer.result).signatures))


def _status(status: _Status | None) -> Status | None:
    if status is None:
        return None
    return Status(status.slot, status.confirmation_status == "finalized", status.err is not None)


def _read(decoder: msgspec.json.Decoder[_T], text: msgspec.Raw) -> _T:
    try:
        return decoder.decode(text)
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise RequestFailed(f"an answer that cannot be read: {error}") from error
