"""The decode stage: notices in, facts out to the durable branch (waits) and the live one (drops)."""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, TypeAlias, TypeGuard

import msgspec

from decoders.core.types import (
    CurveComplete,
    Fact,
    Fault,
    Graduation,
    Launch,
    Need,
    Trade,
    TxNotice,
)
from monitor.errors import Closed
from monitor.pipeline.leads import Leads
from monitor.pipeline.pending import key_of
from monitor.pipeline.times import SlotTimes
from monitor.pipeline.told import Told
from monitor.sources.notices import (
    FETCH,
    HISTORY,
    AccountSeen,
    BlockSeen,
    FeedDown,
    FeedUp,
    FetchGaveUp,
    FinalBegins,
    FinalSeen,
    FrameLost,
    HoleFilled,
    HolePart,
    Journaled,
    PayloadSeen,
    Restarted,
    SlotDoubted,
    SlotSeen,
    SlotSettled,
    SlotTime,
)
from monitor.store.batch import Comparing, Done, Filled, FilledPart, Final, Hole, Late, Progress, Resolved, Settled

if TYPE_CHECKING:
    from collections.abc import Sequence

    from decoders.core.registry import Registry
    from decoders.core.types import (
        Decoded,
    )
    from monitor.channel import Channel
    from monitor.pipeline.feeds import Feeds
    from monitor.pipeline.ledger import Ledger
    from monitor.pipeline.pending import Pending, Waiting
    from monitor.pipeline.pools import PoolMap
    from monitor.pipeline.protocols import ChainWatcher, Fetcher
    from monitor.sources.notices import Control, Notice

Durable: TypeAlias = Fact | Progress | Hole | Filled | FilledPart | Settled | Resolved | Final | Done | Late | Comparing
# Ready items do not suspend the stage: after so many, others get their turn.
_FAIR = 64


@dataclass(frozen=True, slots=True)
class _Filling:
    """A hole, or its first part, that came whole: what that makes true once nothing of it waits any more."""

    word: Filled | FilledPart
    signature: str | None
    waiting: set[str]


@dataclass(slots=True)
class Decoding:
    """
    What the decode stage works with, and what it remembers between notices.

    `journal_id` None: nothing stands in a journal. `final_through` is the slot up to which what is stored was compared
    with the finalized chain.
    """

    registry: Registry
    pools: PoolMap
    feeds: Feeds
    pending: Pending
    fetcher: Fetcher | None
    ledger: Ledger
    subscribed: asyncio.Event
    """Set once a feed's subscriptions stand."""
    leads: Leads = field(default_factory=lambda: Leads(()))
    journal_id: str | None = None
    final_through: int = -1
    chain: ChainWatcher | None = None
    """Told what feeds say of blocks and roots."""
    in_hand: Sequence[Durable] = ()
    """What waits for room in the durable branch."""
    times: SlotTimes = field(default_factory=SlotTimes)
    _filling: list[_Filling] = field(default_factory=list)
    _seq: int | None = None
    _is_prompt: bool = True
    _done_seq: int = -1

    def take(self, notice: Notice | Journaled) -> list[Durable]:
        """Return what a notice puts into the durable branch, in order."""
        seq, self._is_prompt = None, True
        if isinstance(notice, Journaled):
            self._is_prompt = notice.is_prompt
            seq, notice = notice.seq, notice.notice
        out = self._transaction(notice, seq) if isinstance(notice, TxNotice) else self._control(notice)
        if seq is not None:
            self._seq = seq
        return [*out, *self._filled()] if self._filling else out

    def done(self) -> Done | None:
        """Return how far the journal is told, if that is further than was said before: below whatever waits."""
        if self.journal_id is None or self._seq is None:
            return None
        oldest = self.pending.oldest_seq()
        seq = self._seq if oldest is None else oldest - 1
        if seq <= self._done_seq:
            return None
        self._done_seq = seq
        return Done(journal_id=self.journal_id, seq=seq)

    def _control(self, notice: Control) -> list[Durable]:
        match notice:
            case SlotSeen() | BlockSeen() | FeedUp() | FeedDown() | FrameLost() | Restarted():
                return self._of_feed(notice)
            case AccountSeen():
                return self._account(notice)
            case SlotTime(slot=slot, block_time=block_time):
                return self._timed(slot, block_time)
            case FetchGaveUp(signature=signature, reason=reason):
                given_up = self.pending.close(signature)
                self._stays_open(signature)
                return [_hole(given_up[0].notice, "not_fetched", reason)] if given_up else []
            case HoleFilled(hole_id=hole_id, signature=signature, first_slot=first_slot, last_slot=last_slot):
                waiting = self._waiting_in(first_slot, last_slot, signature)
                self._filling.append(_Filling(Filled(by=notice.by, hole_id=hole_id), signature, waiting))
                return []
            case HolePart(hole_id=hole_id, through=through):
                part = FilledPart(hole_id=hole_id, through=through)
                self._filling.append(_Filling(part, None, self._waiting_in(0, through)))
                return []
            case FinalBegins(through=through):
                self.final_through = max(self.final_through, through)
                return [Comparing(through=through)]
            case PayloadSeen():
                return self._again(notice)
            case _:
                return _passed_on(notice)

    def _of_feed(self, notice: Control) -> list[Durable]:
        """Take in what a feed says of itself."""
        match notice:
            case SlotSeen(root=root, feed=feed, complete_through=claim):
                self.ledger.head_slot = max(self.ledger.head_slot, notice.slot)
                if self.chain is not None:
                    self.chain.root(root)
                through = root if claim is None else claim
                return _some(self.feeds.told(feed, through, self.pending.oldest_slot()))
            case BlockSeen(slot=slot):
                self.ledger.head_slot = max(self.ledger.head_slot, slot)
                if self.chain is not None:
                    self.chain.heard(notice)
                dated = [] if notice.block_time is None else self._timed(slot, notice.block_time)
                return [*dated, *self.feeds.block(notice, self.pending.oldest_slot())]
            case FeedUp(feed=feed, subscribed_at_slot=slot):
                self.subscribed.set()
                missed = self.feeds.up(feed, slot)
                # The hole and this say all of what lies before: a feed that ends before it has told anything more is
                # resumed from here, and not from nowhere.
                return [*missed, *_some(self.feeds.progress(feed, self.pending.oldest_slot()))]
            case FeedDown(feed=feed):
                return [*self.feeds.down(feed)]
            case FrameLost(feed=feed, first_slot=first_slot, last_slot=last_slot, signature=signature):
                reason = "frame_unreadable"
                return [Hole(first_slot=first_slot, last_slot=last_slot, reason=reason, signature=signature, feed=feed)]
            case _:
                self.feeds.restarted()
                return []

    def _again(self, seen: PayloadSeen) -> list[Durable]:
        """Tell what was kept of an event, if it can be read by now; what takes more than its bytes is a hole."""
        decoded = self.registry.decode_payload(seen, self.pools)
        if decoded.needs or decoded.partial:
            hole = Hole(first_slot=seen.slot, last_slot=seen.slot, reason="redecode", signature=seen.signature)
            return [hole, Resolved(by="hole", fault_id=seen.fault_id, tail_id=seen.tail_id)]
        if not decoded.facts or any(isinstance(fact, Fault) for fact in decoded.facts):
            return []
        self.ledger.redecoded += 1
        resolved = Resolved(by="redecode", fault_id=seen.fault_id, tail_id=seen.tail_id)
        return [*self._tell(decoded.facts, seen), resolved]

    def drain(self) -> list[Durable]:
        """Return what is left at the end: transactions that still wait become holes."""
        left = {waiting.notice.signature: waiting.notice for waiting in self.pending.all()}
        self.ledger.left_open += len(left)
        for signature in left:
            self.pending.close(signature)
            self._stays_open(signature)
        holes = [_hole(notice, "stopped_before_fetched") for notice in left.values()]
        progress = [item for feed in sorted(self.feeds.up_feeds) for item in _some(self.feeds.progress(feed, None))]
        return [*holes, *self._filled(), *progress, *_some(self.done())]

    def _waiting_in(self, first_slot: int, last_slot: int, signature: str | None = None) -> set[str]:
        notices = (waiting.notice for waiting in self.pending.all())
        return {
            notice.signature
            for notice in notices
            if first_slot <= notice.slot <= last_slot or notice.signature == signature
        }

    def _filled(self) -> list[Durable]:
        """Return the holes of which nothing waits any more: what gave up meanwhile has a hole of its own."""
        for filling in self._filling:
            filling.waiting.intersection_update(
                [signature for signature in filling.waiting if signature in self.pending]
            )
        done = [filling.word for filling in self._filling if not filling.waiting]
        self._filling = [filling for filling in self._filling if filling.waiting]
        return [*done]

    def _stays_open(self, signature: str) -> None:
        """A transaction that has a hole already would get no second one: that one is not filled."""
        self._filling = [filling for filling in self._filling if filling.signature != signature]

    def _transaction(self, notice: TxNotice, seq: int | None) -> list[Durable]:
        ledger = self.ledger
        if notice.failed:
            ledger.took(notice, "failed")
            self._satisfied(notice)
            return []
        dated: list[Durable] = []
        if notice.block_time is None:
            notice = self.times.dated(notice)
        elif notice.invokes is not None:
            dated = self._timed(notice.slot, notice.block_time, besides=notice.signature)
        copies = [notice]
        if notice.invokes is not None and notice.signature in self.pending:
            waiting = self.pending.get(notice.signature)
            copies = _as_heard(notice, waiting)
            # Should it wait on, the journal keeps the notification that told of it first.
            seqs = [entry.seq for entry in waiting if entry.seq is not None]
            seq = min([*seqs, *([] if seq is None else [seq])], default=None)
            self._satisfied(notice)
        facts: list[Fact] = []
        relevant = False
        for copy in copies:
            decoded = self.registry.decode(copy, self.pools)
            ledger.foreign += decoded.foreign
            relevant = relevant or bool(decoded.facts or decoded.needs or decoded.partial)
            self._wants(copy, decoded, seq)
            facts += decoded.facts
        ledger.took(notice, "decoded" if relevant else "irrelevant")
        if relevant and self.leads.compares:
            told_s = time.monotonic() if self._is_prompt else None
            self.leads.told(notice.feed, notice.signature, notice.slot, told_s, self.feeds.up_feeds)
        return [*dated, *self._tell(facts, notice)]

    def _satisfied(self, notice: TxNotice) -> None:
        self.pending.close(notice.signature)
        if self.fetcher is not None:
            self.fetcher.satisfied(notice.signature)

    def _wants(self, notice: TxNotice, decoded: Decoded, seq: int | None) -> Waiting | None:
        """Keep a notice that is not told completely, and ask for what it lacks; None if it lacks nothing."""
        if not decoded.needs:
            return None
        pools = [need.pool for need in decoded.needs if need.pool is not None]
        whole = any(need.pool is None and need.reason != "time" for need in decoded.needs)
        time_alone = not whole and any(need.reason == "time" for need in decoded.needs)
        if self.fetcher is not None:
            for need in decoded.needs:
                if not whole or need.reason != "time":  # a whole copy tells it as well
                    self.fetcher.want(need)
        told = [key_of(fact) for fact in decoded.facts]
        return self.pending.wait(notice, pools, whole=whole, told=told, time=time_alone, seq=seq)

    def _account(self, account: AccountSeen) -> list[Durable]:
        """Learn a pool that was asked for, and decode again what waited for it."""
        info = None
        if account.owner is not None:
            info = self.registry.decode_account(account.address, account.owner, account.data, account.slot)
        if info is not None:
            self.pools.add(info)
        out: list[Durable] = []
        for waiting in self.pending.for_pool(account.address):
            if info is None:
                self._ask_whole(waiting.notice)
                continue
            out += self._once_more(waiting, waiting.notice)
        return out

    def _timed(self, slot: int, block_time: int, besides: str | None = None) -> list[Durable]:
        """Learn a slot's time, and decode again what waited for it, but for one transaction."""
        if not self.times.learn(slot, block_time):
            return []
        if self.fetcher is not None:
            self.fetcher.timed(slot)
        waiting_for = [waiting for waiting in self.pending.for_time(slot) if waiting.notice.signature != besides]
        return [item for waiting in waiting_for for item in self._once_more(waiting, self.times.dated(waiting.notice))]

    def _once_more(self, waiting: Waiting, notice: TxNotice) -> list[Durable]:
        """Decode again what waited, and tell what was not told; it waits on for what it still lacks."""
        self.pending.done(waiting)
        decoded = self.registry.decode(notice, self.pools)
        fresh = [fact for fact in decoded.facts if key_of(fact) not in waiting.told]
        again = self._wants(notice, decoded, waiting.seq)
        if again is not None:
            again.whole = again.whole or waiting.whole
        elif waiting.whole:
            told = [key_of(fact) for fact in decoded.facts]
            self.pending.wait(notice, (), whole=True, told=told, seq=waiting.seq)
        return self._tell(fresh, notice)

    def _ask_whole(self, notice: TxNotice) -> None:
        """A pool's account is gone or unreadable: the accounts of the instruction tell its mints as well."""
        if self.fetcher is not None:
            self.fetcher.want(Need(notice.signature, notice.slot, "accounts", ""))

    def _tell(self, facts: list[Fact], notice: TxNotice | PayloadSeen) -> list[Durable]:
        """Tell what a notice says; of a slot that was compared with the chain already, it is late."""
        for fact in facts:
            self.pools.learn(fact)
            self.ledger.told(fact)
        is_final = isinstance(notice, TxNotice) and notice.final
        is_late = bool(facts) and notice.slot <= self.final_through and not is_final
        return [Late(slot=notice.slot), *facts] if is_late else [*facts]


def _some(item: Progress | Done | None) -> list[Durable]:
    return [] if item is None else [item]


def _passed_on(notice: Control) -> list[Durable]:
    """Return what a notice puts into the durable branch that changes nothing here."""
    match notice:
        case FinalSeen(through=through):
            return [Final(through=through)]
        case SlotSettled(slot=slot, signatures=signatures, block_time=block_time):
            return [Settled(slot=slot, signatures=signatures, block_time=block_time)]
        case SlotDoubted(slot=slot, reason=reason):
            return [Hole(first_slot=slot, last_slot=slot, reason=reason)]
        case _:
            return []


def _as_heard(whole: TxNotice, waiting: list[Waiting]) -> list[TxNotice]:
    """
    Return a fetched copy as each of the notifications that waited for it: their program, and their place.

    Its place in the block may be known, but those of its neighbours are not: one order must hold for all of a slot.
    History brings all of a block, and so does a feed that knows places, so that these hold there.
    """
    heard = [entry.notice for entry in waiting]
    brings_all = whole.feed == HISTORY or (whole.feed != FETCH and whole.index is not None)
    if brings_all or any(notice.arrival is None for notice in heard):
        return [whole]
    return [
        msgspec.structs.replace(whole, index=None, arrival=notice.arrival, program=notice.program) for notice in heard
    ]


def _hole(notice: TxNotice, reason: str, last_error: str | None = None) -> Hole:
    return Hole(
        first_slot=notice.slot,
        last_slot=notice.slot,
        reason=reason,
        signature=notice.signature,
        feed=notice.feed,
        last_error=last_error,
    )


async def decode(
    wire: Channel[Notice | Journaled], durable: Channel[Durable], live: Channel[Fact] | None, state: Decoding
) -> None:
    """
    Run until `wire` is closed and empty, then close both outputs.

    What fills holes is not announced: those who watch would take the past for news, and miss news for it. Nor is what
    an earlier life of the daemon heard, nor what was announced before and is told again by a whole copy.
    """
    done = 0
    announced = Told()
    try:
        while True:
            notice = await wire.get()
            is_news = live is not None and _is_news(notice)
            items = state.take(notice)
            for at, item in enumerate(items):
                if len(durable) >= durable.capacity:
                    state.in_hand = items[at:]  # somebody may count them while this waits
                if is_news and live is not None and _is_announced(item) and announced.is_new(item):
                    live.offer(item)
                await durable.put(item)
            state.in_hand = ()
            done += 1
            if done % _FAIR == 0 or not len(wire):
                for item in _some(state.done()):
                    await durable.put(item)
            if done % _FAIR == 0:
                await asyncio.sleep(0)
    except Closed:
        for item in state.drain():
            await durable.put(item)
    finally:
        durable.close()
        if live is not None:
            live.close()


def _is_news(notice: Notice | Journaled) -> bool:
    if isinstance(notice, Journaled):
        return not notice.is_replayed and _is_news(notice.notice)
    if isinstance(notice, TxNotice):
        return notice.feed != HISTORY
    return not isinstance(notice, PayloadSeen)


def _is_announced(item: Durable) -> TypeGuard[Fact]:
    return isinstance(item, (Launch, Trade, CurveComplete, Graduation))


__all__ = ["Decoding", "Durable", "Fault", "decode"]
