"""Turn what programs said in one transaction into facts, faults and needs."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Protocol

from decoders.core import carriers
from decoders.core.base58 import encode
from decoders.core.errors import AmountError, LayoutError
from decoders.core.pad import Site
from decoders.core.types import CurveComplete, Fault, Launch, Need, Other, Trade

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from decoders.core.carriers import Emitted
    from decoders.core.layout import Layout
    from decoders.core.pad import EventRule, Pad
    from decoders.core.types import Fact, PoolInfo, Record, TxNotice

NO_BASE64 = "no_base64"
UNHEARD = "unheard"
_SPEAKS_OF = ("pool", "pool_state", "pool_id", "mint")
"""Fields by which events name their pool or token."""
# Chain time is seconds since 1970; 2020 is before Solana, 2106 is where u32 seconds end.
_TIMES = range(1_577_836_800, 1 << 32)


class Payload(Protocol):
    """Bytes that were kept of an event, and the identity and place of the fact that was stored of it."""

    @property
    def program(self) -> str:
        """The program that said it."""

    @property
    def event(self) -> str:
        """Its name, as it was stored."""

    @property
    def nth(self) -> int:
        """Its number among those of that name."""

    @property
    def signature(self) -> str:
        """The transaction's."""

    @property
    def slot(self) -> int:
        """The transaction's."""

    @property
    def block_time(self) -> int | None:
        """What was stored as its time."""

    @property
    def index(self) -> int | None:
        """The transaction's place in its block."""

    @property
    def position(self) -> int:
        """That of the emitting instruction."""

    @property
    def payload(self) -> bytes:
        """Its bytes, discriminator first."""


class Said:
    """The facts of one notice as they are found."""

    __slots__ = ("_nth", "facts", "needs", "notice", "partial", "pools", "programs")

    def __init__(self, programs: Mapping[str, Pad], notice: TxNotice, pools: Mapping[str, PoolInfo]) -> None:
        self.programs = programs
        self.notice = notice
        self.pools = pools
        self.facts: list[Fact] = []
        self.partial: list[Fact] = []
        self.needs: list[Need] = []
        self._nth: dict[Layout | tuple[str, str], int] = {}

    def events(self, emitted: Sequence[Emitted]) -> None:
        """Apply the rules of events, in execution order."""
        for event in emitted:
            pad = self.programs[event.program]
            data = event.data
            if data is None:
                self._fault(pad, event, NO_BASE64, event.text.encode())
                continue
            rule = pad.events.get(data[: pad.head_bytes])
            if rule is None:
                self._fault(pad, event, "unknown_discriminator", data)
                continue
            self._event(pad, rule, event, data)

    def again(self, seen: Payload) -> None:
        """
        Apply today's rules to bytes that were kept.

        The number stays. An unreadable event of a known layout was counted by that layout, as it is today; one of an
        unknown discriminator by that discriminator, and since no layout of the program had it then, all of its events
        in the transaction were counted so, and would be counted by the layout now. Where the stored name is neither of
        the two (an IDL calls the event otherwise today), it was counted among others: a whole copy has to tell.
        """
        pad = self.programs[seen.program]
        head = seen.payload[: pad.head_bytes]
        event = carriers.Emitted(seen.program, seen.payload, seen.position)
        rule = pad.events.get(head)
        if any(seen.event == name for name, _ in pad.instruction_rules.values()):
            # What an instruction says stands in its accounts, which nobody kept.
            self._need(Need(seen.signature, seen.slot, "accounts", pad.name))
        elif seen.event == NO_BASE64 or rule is None:
            reason = NO_BASE64 if seen.event == NO_BASE64 else "unknown_discriminator"
            self._fault(pad, event, reason, seen.payload, seen.event, seen.nth)
        elif seen.event in (rule.layout.name, head.hex()):
            self._nth[rule.layout] = seen.nth
            self._event(pad, rule, event, seen.payload)
        else:
            self._need(Need(seen.signature, seen.slot, "accounts", pad.name))

    def _event(self, pad: Pad, rule: EventRule, event: Emitted, data: bytes) -> None:
        layout = rule.layout
        nth = self._count(layout)
        record: Record | None = None
        try:
            record = layout.read(data, len(layout.discriminator))
            if record.values and record.values[rule.oldest] is None:
                raise LayoutError(f"{layout.name}: shorter than its oldest layout")
            site = Site(
                self.notice, pad.program, pad.name, layout.name, nth, event.position, event.emitter, self.pools,
                pad.instructions,
            )  # fmt: skip
            said = tuple(rule.say(site, record))
            for item in said:
                time = None if isinstance(item, Need) else item.block_time
                if time is not None and time not in _TIMES:
                    raise LayoutError(f"time {time} is out of range")
        except AmountError as error:
            self._fault(pad, event, str(error), data, layout.name, nth, _mint_of(record, event, self.pools))
            return
        except LayoutError as error:
            self._fault(pad, event, str(error), data, layout.name, nth)
            return
        self._take(said)

    def instructions(self, notice: TxNotice) -> None:
        """Apply the rules of instructions that emit no event."""
        before = len(self.facts)
        for invoke in notice.invokes or ():
            pad = self.programs.get(invoke.program)
            rule = pad.instruction_rules.get(invoke.data[:8]) if pad else None
            if pad is None or rule is None or notice.program not in (None, pad.program):
                continue
            name, say = rule
            nth = self._count(pad.instructions[invoke.data[:8]])
            site = Site(notice, pad.program, pad.name, name, nth, invoke.position, invoke, self.pools, pad.instructions)
            try:
                said = list(say(site, pad.instructions[invoke.data[:8]].read(invoke.data, 8)))
            except LayoutError as error:
                found = carriers.Emitted(invoke.program, invoke.data, invoke.position, invoke)
                self._fault(pad, found, str(error), invoke.data, name, nth)
                continue
            self._take(said)
        self._sort(before)

    def unheard(self, walk: carriers.LogWalk) -> None:
        """
        Make a fault of each program that speaks by log lines alone, and did so where this whole copy has none.

        Agave writes 10,000 bytes of log a transaction (anchor#1613): what stood behind them is nowhere to be had.
        """
        before = len(self.facts)
        heard = Counter(program for at, program in enumerate(walk.calls) if at not in walk.unfinished)
        for invoke in self.notice.invokes or ():
            heard[invoke.program] -= 1
            pad = self.programs.get(invoke.program)
            if heard[invoke.program] == -1 and pad and pad.lines_only and self.notice.program in (None, pad.program):
                cut = carriers.Emitted(pad.program, b"", invoke.position)
                self._fault(pad, cut, "the log is cut, or missing", b"", UNHEARD, 0)
        self._sort(before)

    def _sort(self, before: int) -> None:
        """Bring facts that were found after others into the order of their instructions."""
        if len(self.facts) > before:
            self.facts.sort(key=lambda fact: fact.position)

    def wants(self, walk: carriers.LogWalk) -> None:
        """Ask for the whole transaction where log lines alone cannot tell it."""
        notice = self.notice
        called = {program for program in walk.calls if program and notice.program in (None, program)}
        if walk.truncated:
            first = notice.program or next((program for program in walk.calls if program), "")
            venue = self.programs[first].name if first in self.programs else ""
            self._need(Need(notice.signature, notice.slot, "truncated", venue))
        for program in sorted(called):
            if self.programs[program].signatures_only:
                self._need(Need(notice.signature, notice.slot, "accounts", self.programs[program].name))

    def _take(self, said: Sequence[Fact | Need]) -> None:
        for item in said:
            if isinstance(item, Need):
                self._need(item)
            elif _complete(item):
                self.facts.append(item)
            else:
                self.partial.append(item)
                if item.block_time is None:
                    self._need(Need(item.signature, item.slot, "time", item.venue))

    def _need(self, need: Need) -> None:
        if need not in self.needs:
            self.needs.append(need)

    def _count(self, what: Layout | tuple[str, str]) -> int:
        """Number what was said: an event or instruction by its layout, a fault without one by program and name."""
        nth = self._nth.get(what, 0)
        self._nth[what] = nth + 1
        return nth

    def _fault(
        self,
        pad: Pad,
        event: Emitted,
        reason: str,
        payload: bytes,
        name: str | None = None,
        nth: int | None = None,
        mint: str | None = None,
    ) -> None:
        """Keep the whole payload; an event without a name is counted by its discriminator."""
        if name is None:
            name = payload[: pad.head_bytes].hex() if event.data is not None else NO_BASE64
        self.facts.append(
            Fault(
                program=pad.program,
                venue=pad.name,
                event=name,
                nth=self._count((pad.program, name)) if nth is None else nth,
                signature=self.notice.signature,
                slot=self.notice.slot,
                block_time=self.notice.block_time,
                index=self.notice.index,
                arrival=self.notice.arrival,
                final=self.notice.final,
                position=event.position,
                platform=pad.platform,
                reason=reason,
                payload=payload,
                mint=mint,
            )
        )


def _mint_of(record: Record | None, event: Emitted, pools: Mapping[str, PoolInfo]) -> str | None:
    """Return the token of which a record speaks, by the pool that it or its instruction names, or by its own word."""
    told = {name: encode(value) for name in _SPEAKS_OF if (value := _value(record, name)) is not None}
    mint = told.pop("mint", None)
    accounts = event.emitter.accounts if event.emitter is not None else ()
    return next((pools[at].mint for at in (*told.values(), *accounts) if at in pools), mint)


def _value(record: Record | None, name: str) -> bytes | None:
    at = None if record is None else record.layout.index.get(name)
    value = None if record is None or at is None else record.values[at]
    return value if isinstance(value, bytes) and len(value) == 32 else None


def _complete(fact: Fact) -> bool:
    """Return whether a fact may be stored: no member that identifies it is unknown."""
    if type(fact) is Trade:
        return not (fact.mint is None or fact.trader is None or fact.quote_mint is None or fact.block_time is None)
    if isinstance(fact, (Launch, CurveComplete)) and (fact.mint is None or fact.quote_mint is None):
        return False
    return fact.block_time is not None or isinstance(fact, (Other, Fault))
