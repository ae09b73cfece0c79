"""The write stage: group commit of everything that waits."""

from __future__ import annotations

import time
from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol, TypeVar

from decoders.core.types import Fact
from monitor.errors import Closed, StoreUnavailable
from monitor.store.batch import (
    Batch,
    Comparing,
    Done,
    Filled,
    FilledPart,
    Final,
    Hole,
    Late,
    Progress,
    Resolved,
    Settled,
)
from monitor.tasks import retry

if TYPE_CHECKING:
    from collections.abc import Sequence

    from monitor.channel import Channel
    from monitor.pipeline.decode import Durable
    from monitor.pipeline.gate import Gate
    from monitor.pipeline.ledger import Ledger
    from monitor.pipeline.protocols import Writer
    from monitor.store.batch import Written


T = TypeVar("T")


class Watcher(Protocol):
    """Hears how the commits go."""

    def committed(self, batch: Batch, written: Written, seconds: float) -> None:
        """A batch was committed within so many seconds."""

    def trouble(self, reason: str | None) -> None:
        """A commit is tried again because of `reason`; None: no longer."""


@dataclass(slots=True)
class Writing:
    """
    What the write stage works with. `gate` None: everything is stored.

    `in_hand` are the facts by venue that left the channel and are not settled yet.
    """

    writer: Writer
    gate: Gate | None
    ledger: Ledger
    batch_max_rows: int
    watcher: Watcher
    in_hand: Counter[str] = field(default_factory=Counter)


async def write(durable: Channel[Durable], state: Writing) -> None:
    """
    Run until `durable` is closed and empty.

    No timer: what waits is committed, however little it is, and while that takes, the next batch gathers.
    """
    while True:
        try:
            first = await durable.get()
        except Closed:
            return
        items = [first, *durable.get_nowait_all(state.batch_max_rows - 1)]
        await _commit(items, state)


async def _commit(items: list[Durable], state: Writing) -> None:
    facts = [item for item in items if isinstance(item, Fact)]
    state.in_hand = Counter(fact.venue for fact in facts)
    if state.gate is not None:
        facts = await _admit(facts, state.gate, state)
    words = [item for item in items if not isinstance(item, (Fact, Late))]
    if not (facts or words):
        return
    batch = _batch(facts, words, frozenset(item.slot for item in items if isinstance(item, Late)))
    began = time.perf_counter()
    written = await retry(
        lambda: state.writer.write(batch), what="commit", transient=(StoreUnavailable,), trouble=state.watcher.trouble
    )
    state.ledger.wrote(written)
    state.in_hand.clear()
    state.watcher.committed(batch, written, time.perf_counter() - began)


def _batch(facts: list[Fact], items: Sequence[Durable], late: frozenset[int]) -> Batch:
    """Return what is committed together. Of several that say how far something is, the last one counts."""
    return Batch(
        facts=facts,
        progress=_latest(_of(Progress, items)),
        holes=_of(Hole, items),
        filled=_of(Filled, items),
        parts=_of(FilledPart, items),
        settled=_of(Settled, items),
        resolved=_of(Resolved, items),
        final=max(_of(Final, items), key=lambda final: final.through, default=None),
        done=max(_of(Done, items), key=lambda done: done.seq, default=None),
        late=late,
        comparing_through=max((item.through for item in _of(Comparing, items)), default=None),
    )


def _of(kind: type[T], items: Sequence[Durable]) -> list[T]:
    return [item for item in items if isinstance(item, kind)]


async def _admit(facts: list[Fact], gate: Gate, state: Writing) -> list[Fact]:
    asked = gate.questions(facts)
    if asked:
        known = await retry(
            lambda: state.writer.known_mints(asked),
            what="known_mints",
            transient=(StoreUnavailable,),
            trouble=state.watcher.trouble,
        )
        gate.answer(asked, known)
    kept, filtered = gate.admit(facts)
    state.ledger.filtered_out(filtered)
    state.in_hand.subtract(fact.venue for fact in filtered)
    return kept


def _latest(progress: list[Progress]) -> list[Progress]:
    """Return the furthest progress of each feed and program."""
    best: dict[tuple[str, str], Progress] = {}
    for item in progress:
        key = item.feed, item.program
        if key not in best or best[key].slot < item.slot:
            best[key] = item
    return list(best.values())
