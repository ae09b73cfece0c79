"""Follow blocks by asking for them: for nodes that do not tell them by themselves (blockSubscribe)."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple, Protocol, TypeAlias

import msgspec
import structlog

from decoders.core.answers import Slot
from decoders.core.transaction import TransactionError, read_block
from monitor.errors import RequestFailed, SourceLost, SourceRefused
from monitor.sources import rpc
from monitor.sources.live import NoTap
from monitor.sources.recovery import Recovery
from monitor.sources.tally import FeedTally
from monitor.sources.translate import Translator

if TYPE_CHECKING:
    from collections.abc import Sequence

    from decoders.core.answers import BlockAnswer
    from monitor.sources.client import Answer, ClientLimits
    from monitor.sources.endpoint import Endpoint
    from monitor.sources.live import Following, Tap
    from monitor.sources.notices import Outlet

log = structlog.get_logger(__name__)

POLLED_BLOCKS = "polled_blocks"
_LONGEST_CHAIN = 64
_Failure: TypeAlias = RequestFailed | TransactionError | SourceRefused
_slots_decoder = msgspec.json.Decoder(list[Slot])


class Asked(Protocol):
    """A node that is asked over HTTP; an `RpcClient` is one."""

    @property
    def endpoint(self) -> Endpoint:
        """Its address."""

    @property
    def limits(self) -> ClientLimits:
        """How hard it is used."""

    async def call(self, request: rpc.Request) -> Answer:
        """Ask, and return the answer. Raises RequestFailed and SourceRefused."""


@dataclass(frozen=True, slots=True)
class PollRules:
    """
    How often to look for new blocks: in the mean once a block, within these bounds.

    `window_slots` are looked at together; being more than `behind_slots` behind the node is worth a warning.
    """

    shortest_pause_s: float = 0.2
    longest_pause_s: float = 0.4
    window_slots: int = 512
    behind_slots: int = 150


@dataclass(slots=True)
class Pace:
    """Adapts the pause between two looks to the pace of blocks."""

    rules: PollRules
    pause_s: float

    def found(self, blocks: int) -> float:
        """Return the pause (s) after a look that found so many new blocks."""
        if blocks == 0:
            self.pause_s = min(self.pause_s * 1.25, self.rules.longest_pause_s)
        elif blocks > 1:
            self.pause_s = max(self.pause_s * 0.8, self.rules.shortest_pause_s)
        return self.pause_s


class Polled(NamedTuple):
    """A block, and the answer that held it."""

    slot: int
    block: BlockAnswer
    body: bytes


def polled_blocks_source(
    client: Asked,
    following: Following,
    *,
    name: str = POLLED_BLOCKS,
    tap: Tap | None = None,
    rules: PollRules | None = None,
) -> PolledBlocks:
    """Return a source of whole blocks that asks `client` for them. The endpoint of `following` is not used."""
    return PolledBlocks(client, following, name=name, tap=tap, rules=rules)


class PolledBlocks:
    """
    A feed of blocks that lives through the loss of its node.

    It tells block after block from the node's newest one on, and leaves none out: where a block names a parent that was
    not told, that one is fetched first, listed or not. When no block is to be had for the stall timeout of `following`
    it is down, and begins anew at the node's newest slot.

    `tally` counts what came. `name` is the feed's name in notices, logs and metrics.
    """

    def __init__(
        self,
        client: Asked,
        following: Following,
        *,
        name: str = POLLED_BLOCKS,
        tap: Tap | None = None,
        rules: PollRules | None = None,
    ) -> None:
        self.name = name
        self.tally = FeedTally()
        self._client = client
        self._following = following
        self._tap: Tap = tap or NoTap()
        self._rules = rules or PollRules()
        self._pace = Pace(self._rules, self._rules.longest_pause_s)
        self._translator = Translator(name, following.programs, self.tally, following.commitment)
        self._recovery = Recovery(name, following, self.tally, self._translator, self._tap)
        # Half of what the client may do at once: it may serve others as well.
        self._at_once = max(1, client.limits.concurrency // 2)
        self._last: int | None = None
        self._is_behind = False

    async def run(self, out: Outlet) -> None:
        """
        Put out notices for ever.

        Raises:
            SourceRefused: If the node will never serve us like this.
        """
        await self._recovery.run(lambda: self._follow(out), out)

    async def _follow(self, out: Outlet) -> None:
        """Follow the node from its newest slot on, until it has no block for us for too long."""
        loop = asyncio.get_running_loop()
        begin = await self._newest_slot()
        self._begin(begin)
        moved_at = loop.time()
        while True:
            last = self._last
            found, failure = await self._look(begin if last is None else last + 1, out)
            if isinstance(failure, SourceRefused):
                raise failure
            if self._last != last:
                moved_at = loop.time()
            elif loop.time() - moved_at >= self._following.limits.stall_timeout_s:
                raise self._stalled(failure)
            pause_s = self._pace.found(found)
            await asyncio.sleep(0.0 if self._is_behind and failure is None else pause_s)

    def _begin(self, slot: int) -> None:
        self._recovery.connected({}, self._client.endpoint)
        self._last, self.tally.head_slot = None, slot

    async def _look(self, first_slot: int, out: Outlet) -> tuple[int, _Failure | None]:
        """Tell the blocks that there are from a slot on; return how many were listed, and what went wrong."""
        listed = await self._listed(first_slot)
        if not isinstance(listed, list):
            return 0, listed
        self._tell_lag(listed)
        return len(listed), await self._deliver(listed, out)

    def _stalled(self, failure: _Failure | None) -> SourceLost:
        waited_s = self._following.limits.stall_timeout_s
        if failure is None:
            return SourceLost(f"{self._client.endpoint} has no new block for {waited_s:g} s", kind="silent")
        asked_s = failure.retry_after_s if isinstance(failure, RequestFailed) else None
        return SourceLost(f"no block for {waited_s:g} s: {failure}", kind="polling", retry_after_s=asked_s)

    async def _newest_slot(self) -> int:
        try:
            answer = await self._client.call(rpc.get_slot(self._following.commitment))
            return msgspec.json.decode(answer.result, type=Slot)
        except RequestFailed as error:
            raise SourceLost(str(error), retry_after_s=error.retry_after_s, kind="polling") from error
        except (msgspec.MsgspecError, UnicodeDecodeError) as error:
            raise SourceLost(f"{self._client.endpoint} tells no slot: {error}", kind="polling") from error

    async def _listed(self, first_slot: int) -> list[int] | _Failure:
        """Return the next slots for which the node lists a block, in order. What it leaves out may have one too."""
        last_slot = first_slot + self._rules.window_slots - 1
        try:
            answer = await self._client.call(rpc.get_blocks(first_slot, last_slot, self._following.commitment))
            slots = _slots_decoder.decode(answer.result)
        except (RequestFailed, SourceRefused) as error:
            return error
        except (msgspec.MsgspecError, UnicodeDecodeError) as error:
            return TransactionError(f"not a list of slots: {error}")
        return sorted({slot for slot in slots if first_slot <= slot <= last_slot})

    async def _deliver(self, slots: Sequence[int], out: Outlet) -> _Failure | None:
        """
        Tell blocks, and those before them that were not listed; return what went wrong last.

        A block that cannot be had ends nothing: it may have been on a fork. The next one's parent decides.
        """
        failure: _Failure | None = None
        for begin in range(0, len(slots), self._at_once):
            async with asyncio.TaskGroup() as tasks:
                asked = [tasks.create_task(self._block(slot)) for slot in slots[begin : begin + self._at_once]]
            for task in asked:
                got = task.result()
                failed = await self._tell(got, out) if isinstance(got, Polled) else got
                failure = failed or failure
        return failure

    async def _block(self, slot: int) -> Polled | _Failure:
        """Return a block, or why there is none: an error that is raised would end its siblings."""
        try:
            answer = await self._client.call(rpc.get_block(slot, self._following.commitment))
            return Polled(slot, read_block(answer.result), answer.body)
        except (RequestFailed, TransactionError, SourceRefused) as error:
            return error

    async def _tell(self, newest: Polled, out: Outlet) -> _Failure | None:
        """Tell a block, after those between it and the last one that was told; return why that cannot be done."""
        if self._last is not None and newest.slot <= self._last:
            return None  # told as somebody's parent
        chain = [newest]
        while self._last is not None and chain[-1].block.parent_slot > self._last:
            slot, parent_slot = chain[-1].slot, chain[-1].block.parent_slot
            if parent_slot >= slot or len(chain) >= _LONGEST_CHAIN:
                return TransactionError(f"the block of slot {slot} names {parent_slot} as its parent")
            parent = await self._block(parent_slot)
            if not isinstance(parent, Polled):
                return parent
            chain.append(parent)
        for polled in reversed(chain):
            await self._put(polled, out)
        return None

    async def _put(self, polled: Polled, out: Outlet) -> None:
        self._last = polled.slot
        self.tally.frames += 1
        self.tally.frame_bytes += len(polled.body)
        self.tally.behind_slots = max(0, (self.tally.head_slot or 0) - polled.slot)
        self._tap.polled(polled.slot, polled.body)
        await self._recovery.put(self._translator.block(rpc.BlockValue(polled.slot, None, polled.block)), out)

    def _tell_lag(self, listed: Sequence[int]) -> None:
        head = max([self.tally.head_slot or 0, *listed[-1:]])
        self.tally.head_slot = head
        self.tally.behind_slots = 0 if self._last is None else head - self._last
        is_behind = self.tally.behind_slots > self._rules.behind_slots
        if is_behind and not self._is_behind:
            log.warning("feed_behind", source=self.name, slots=self.tally.behind_slots)
        elif self._is_behind and not is_behind:
            log.info("feed_caught_up", source=self.name)
        self._is_behind = is_behind
