"""`backfill`: fetch a range of slots of the past, beside whatever else happens."""

import asyncio
import contextlib
from collections.abc import Coroutine, Iterator, Sequence
from typing import Annotated, Any, NamedTuple

import typer
from rich.console import Console
from rich.progress import (
    BarColumn,
    Progress,
    ProgressColumn,
    Task,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from rich.text import Text

from decoders.core.registry import Registry
from monitor import serving
from monitor.cli import stores
from monitor.cli.loop import finish
from monitor.cli.options import ConfigFile, NodeAddress, read_config
from monitor.cli.say import complain, one_line, tell
from monitor.config import Config, parse_start
from monitor.errors import ConfigError, RequestFailed, UsageError
from monitor.node import nodes_of
from monitor.pipeline import spans
from monitor.pipeline.spans import Span
from monitor.programs import registry_of
from monitor.serving import BACKFILL, MOST_HOLES
from monitor.sources import rpc
from monitor.sources.clients import Rpc
from monitor.sources.since import slot_ago
from monitor.stages import stop_on_signals
from monitor.store.asked import HoleRow
from monitor.store.store import Store

_LEFT, _STOPPED = 1, 130
_GONE = 2
"""Of what is waited for beside a daemon: its end."""
_LOOK_S = 1.0


class Asked(NamedTuple):
    """What people ask for; `to_slot` None: up to the node's newest slot."""

    from_slot: int | None
    since: str | None
    to_slot: int | None


def backfill(
    from_slot: Annotated[int | None, typer.Option(min=0, metavar="SLOT", help="First slot.")] = None,
    to_slot: Annotated[
        int | None, typer.Option(min=0, metavar="SLOT", help="Last slot; not given: the node's newest one.")
    ] = None,
    since: Annotated[
        str | None, typer.Option(metavar="TIME", help="Begin so long ago instead, such as 90s, 10m, 2h or 1d.")
    ] = None,
    patience: Annotated[
        float, typer.Option(min=1, metavar="SECONDS", help="Give up watching when for so long nothing could be had.")
    ] = 120.0,
    endpoint: NodeAddress = None,
    config: ConfigFile = None,
) -> None:
    """
    Fetch everything of a range of slots into the database, by whole blocks.

    The range is filed as a hole. A daemon that writes to the database fills it beside the live feed, and this command
    watches; without a daemon it does the work itself. Ctrl-C stops watching: what is filed stays filed, and the same
    command goes on where it was. What is stored already changes nothing.

    Exit codes: 0 everything is there; 1 something could not be had, with the reason; 64 the range makes no sense for
    this node; 130 Ctrl-C.
    """
    code = finish(_backfill(read_config(config, endpoint=endpoint), Asked(from_slot, since, to_slot), patience))
    if code:
        raise typer.Exit(code)


async def _backfill(config: Config, asked: Asked, patience_s: float) -> int:
    registry = registry_of(config)
    async with nodes_of(config, registry.followed) as nodes:
        wanted = await span_of(asked, nodes.archive, config.node.commitment)
    with stop_on_signals() as stop:
        async with stores.opened_or_started(config) as store:
            ids = await _filed(store, wanted)
            with _bar(ids) as show:
                await _filled(config, registry, store, ids, show, stop, patience_s)
            left = [hole for hole_id in ids if (hole := await store.hole(hole_id)) and hole.filled_at is None]
    return _say(wanted, left, was_stopped=stop.is_set())


async def span_of(asked: Asked, client: Rpc, commitment: rpc.Commitment) -> Span:
    """
    Return the slots that are asked for.

    Raises:
        UsageError: If they make no sense, or the node does not have them.
        RequestFailed: If the node does not answer.
    """
    if (asked.from_slot is None) == (asked.since is None):
        raise UsageError("where to begin is not clear", mend="give --from-slot or --since, and not both")
    head = await serving.newest_slot(client, commitment)
    first = asked.from_slot if asked.from_slot is not None else await _ago(client, asked.since or "", commitment)
    span = Span(first, head if asked.to_slot is None else asked.to_slot)
    if span.first > span.last:
        raise UsageError(f"slot {span.first} lies behind slot {span.last}", mend="give the earlier one first")
    if span.last > head:
        raise UsageError(f"the node is at slot {head}, before slot {span.last}", mend=f"give --to-slot {head}, or none")
    oldest = await _oldest(client)
    if span.first < oldest:
        raise UsageError(
            f"the node has no blocks before slot {oldest}",
            mend=f"give --from-slot {oldest}, or an --endpoint that keeps more",
        )
    return span


async def _ago(client: Rpc, since: str, commitment: rpc.Commitment) -> int:
    try:
        start = parse_start(since)
    except ConfigError:
        start = None
    if start is None or start.kind != "ago":
        raise UsageError(f"--since {one_line(since)}: that is no time", mend="give one such as 90s, 10m, 2h or 1d")
    return await slot_ago(client, start.ago_s, commitment)


async def _oldest(client: Rpc) -> int:
    """Return the oldest slot of the node; 0 where it does not tell: then the holes will say what cannot be had."""
    try:
        return await serving.first_available_slot(client)
    except RequestFailed:
        return 0


async def _filed(store: Store, wanted: Span) -> list[int]:
    """File what of the range is not filed yet, and return the holes that cover it."""
    still_open = [hole for hole in await store.holes(open_only=True, limit=MOST_HOLES) if hole.reason == BACKFILL]
    ours = {hole.id: Span(hole.first_slot, hole.last_slot) for hole in still_open}
    ours = {hole_id: span for hole_id, span in ours.items() if spans.within([wanted], span)}
    for span in spans.without([wanted], ours.values()):
        ours[await store.file_hole(span.first, span.last, BACKFILL)] = span
    return sorted(ours)


async def _filled(
    config: Config, registry: Registry, store: Store, ids: Sequence[int], show: "Show", stop: asyncio.Event,
    patience_s: float,
) -> None:  # fmt: skip
    """Have the holes filled: by the daemon as long as there is one, by ourselves when there is none."""

    async def fill(_: object = None) -> None:
        await serving.until_filled(store, ids, show, patience_s=patience_s)

    while not await store.try_lock():
        show.by = "the daemon"
        if await _first(fill(), stop.wait(), _gone(store)) != _GONE:
            return
    show.by = "this command"
    await serving.serve_holes(config, registry, serving.Only(store, ids), fill, stop)


async def _gone(store: Store) -> None:
    """Return when nobody writes to the database any more."""
    while await store.writer_pid() is not None:  # noqa: ASYNC110 - the writer is another process
        await asyncio.sleep(_LOOK_S)


async def _first(*works: Coroutine[Any, Any, object]) -> int:
    """Do several things at once until one is done, and return which."""
    tasks = [asyncio.ensure_future(work) for work in works]
    try:
        done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        for task in done:
            task.result()
        return next(at for at, task in enumerate(tasks) if task.done())
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks)


class Show:
    """Tells how far holes are filled."""

    def __init__(self, bar: Progress, task: TaskID) -> None:
        self.by = "the daemon"
        self._bar = bar
        self._task = task

    def __call__(self, holes: Sequence[HoleRow]) -> None:
        """Take in what is known of them."""
        total = sum(hole.last_slot - hole.first_slot + 1 for hole in holes)
        done = sum(slots_there(hole) for hole in holes)
        error = next((hole.last_error for hole in holes if hole.filled_at is None and hole.last_error), None)
        self._bar.update(self._task, completed=done, total=total, by=self.by, error=one_line(error or "", 80))


def slots_there(hole: HoleRow) -> int:
    """Return how many slots of a hole are filled, from its first one on."""
    if hole.filled_at is not None:
        return hole.last_slot - hole.first_slot + 1
    return 0 if hole.filled_through is None else hole.filled_through - hole.first_slot + 1


class _Rate(ProgressColumn):
    """Slots a second."""

    def render(self, task: Task) -> Text:
        """Return them as text."""
        return Text(f"{task.speed or 0.0:,.0f} slots/s")


@contextlib.contextmanager
def _bar(ids: Sequence[int]) -> Iterator[Show]:
    console = Console(stderr=True)
    columns = (
        TextColumn("filled by {task.fields[by]}"), BarColumn(None),
        TextColumn("{task.completed:,.0f} of {task.total:,.0f} slots"), _Rate(), TimeElapsedColumn(),
        TimeRemainingColumn(), TextColumn("{task.fields[error]}", markup=False),
    )  # fmt: skip
    with Progress(*columns, console=console, disable=not console.is_terminal) as bar:
        yield Show(bar, bar.add_task(str(ids), total=0, by="the daemon", error=""))


def _say(wanted: Span, left: Sequence[HoleRow], *, was_stopped: bool) -> int:
    if not left:
        tell(f"slots {wanted.first} to {wanted.last}: everything is there")
        return 0
    for hole in left:
        there, count = slots_there(hole), hole.last_slot - hole.first_slot + 1
        reason = one_line(hole.last_error or "it was not tried yet")
        complain(
            f"hole {hole.id}, slots {hole.first_slot} to {hole.last_slot}: {there:,} of {count:,} are there; {reason}"
        )
    if was_stopped:
        complain("stopped; what is missing stays filed: the same command goes on where this one was")
        return _STOPPED
    complain("it stays filed, and is tried again by the daemon, or by the same command")
    return _LEFT
