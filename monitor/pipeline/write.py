"""The write stage: group commit of everything that waits."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from decoders.core.types import Fact
from monitor.errors import Closed, StoreUnavailable
from monitor.store.batch import Batch, Filled, Hole, Progress
from monitor.tasks import retry

if TYPE_CHECKING:
    from monitor.channel import Channel
    from monitor.pipeline.decode import Durable
    from monitor.pipeline.gate import Gate
    from monitor.pipeline.ledger import Ledger
    from monitor.pipeline.protocols import Writer
    from monitor.store.batch import Written


class Watcher(Protocol):
    """Hears how the commits go."""

    def committed(self, batch: Batch, written: Written, seconds: float) -> None:
        """A batch was committed within so many seconds."""

    def trouble(self, reason: str | None) -> None:
        """A commit is tried again because of `reason`; None: no longer."""


@dataclass(slots=True)
class Writing:
    """What the write stage works with. `gate` None: everything is stored."""

    writer: Writer
    gate: Gate | None
    ledger: Ledger
    batch_max_rows: int
    watcher: Watcher


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
    if state.gate is not None:
        facts = await _admit(facts, state.gate, state)
    batch = Batch(
        facts=facts,
        progress=_latest([item for item in items if isinstance(item, Progress)]),
        holes=[item for item in items if isinstance(item, Hole)],
        filled=[item for item in items if isinstance(item, Filled)],
    )
    if not (batch.facts or batch.progress or batch.holes or batch.filled):
        return
    began = time.perf_counter()
    written = await retry(
        lambda: state.writer.write(batch), what="commit", transient=(StoreUnavailable,), trouble=state.watcher.trouble
    )
    state.ledger.wrote(written)
    state.watcher.committed(batch, written, time.perf_counter() - began)


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
    for fact in filtered:
        state.ledger.filtered[fact.venue] += 1
    return kept


def _latest(progress: list[Progress]) -> list[Progress]:
    """Return the furthest progress of each feed and program."""
    best: dict[tuple[str, str], Progress] = {}
    for item in progress:
        key = item.feed, item.program
        if key not in best or best[key].slot < item.slot:
            best[key] = item
    return list(best.values())
