"""`record` and `replay`: what a node said, into a file and out of it again."""

import asyncio
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

from decoders.core.registry import Registry
from decoders.core.types import Fact
from monitor import app
from monitor.cli import node
from monitor.cli.loop import finish, until_stopped
from monitor.cli.options import ConfigFile, NodeAddress, read_config
from monitor.cli.say import called, complain, tell
from monitor.config import Config, redact_url, state_dir
from monitor.errors import BadInput, UsageError
from monitor.node import addresses
from monitor.pipeline.ledger import Ledger
from monitor.programs import registry_of
from monitor.sources.endpoint import Endpoint
from monitor.sources.jobs import Job
from monitor.sources.recorder import Recorder

_PLAIN = (".json", ".jsonl", ".ndjson")
_LOOK_S = 0.5


class _Enough(Exception):  # noqa: N818 - no error: as much was recorded as was asked for
    """The last of `--count` notices was recorded."""


class _Counted:
    """A recorder that ends the recording after `count` notices (None: never), and counts the facts that it holds."""

    def __init__(self, recorder: Recorder, count: int | None) -> None:
        self.recorder = recorder
        self.facts = 0
        self._count = count

    def connected(self, labels: Mapping[int, str]) -> None:
        self.recorder.connected(labels)

    def lost(self, reason: str) -> None:
        self.recorder.lost(reason)

    def answer(self, job: Job, body: bytes) -> None:
        self.recorder.answer(job, body)

    def frame(self, raw: bytes) -> None:
        self.recorder.frame(raw)
        self._end_when_enough()

    def polled(self, slot: int, body: bytes) -> None:
        self.recorder.polled(slot, body)
        self._end_when_enough()

    def _end_when_enough(self) -> None:
        if self._count is not None and self.recorder.notices >= self._count:
            raise _Enough

    def show_fact(self, _: Fact) -> None:
        self.facts += 1

    def learn_decimals(self, mint: str, decimals: int) -> None:
        """Ignore it."""


def record(
    out: Annotated[
        Path, typer.Argument(metavar="OUT", dir_okay=False, help="The file; compressed unless it is .json…")
    ],
    endpoint: NodeAddress = None,
    duration: Annotated[
        float | None, typer.Option(min=0.1, metavar="SECONDS", help="Stop after so long; not given: on Ctrl-C.")
    ] = None,
    count: Annotated[int | None, typer.Option(min=1, metavar="N", help="Stop after N notices of the node.")] = None,
    force: Annotated[bool, typer.Option("--force", "-f", help="Write over a file that exists.")] = False,
    config: ConfigFile = None,
) -> None:
    """
    Record what a node says into a file: for a bug report, a test, or a rainy day.

    Transactions that the feed cannot tell are fetched and recorded too, so that the file can be replayed without any
    network. Of the node's address the host is in it; API keys are not.
    """
    settings = read_config(config, endpoint=endpoint)
    if out.exists() and not force:
        raise UsageError(f"{out} exists", mend="name another file, or give --force")
    registry = registry_of(settings)
    ws_url, http_url = addresses(settings)
    try:
        recorder = Recorder(
            out,
            feed=settings.node.feed,
            endpoint=Endpoint(http_url if settings.node.feed == "polled_blocks" else ws_url),
            programs=registry.followed,
            commitment=settings.node.commitment,
            is_compressed=out.suffix not in _PLAIN,
        )
    except OSError as error:
        raise BadInput(f"{out}: {error.strerror or error}", mend="name a file that can be written") from error
    with recorder:
        counted = _Counted(recorder, count)
        try:
            until_stopped(_record(settings, registry, counted, duration))
        except* _Enough:
            pass
    tell(f"{recorder.notices} notices, {counted.facts} facts, {out.stat().st_size:,} bytes in {out}")


async def _record(config: Config, registry: Registry, counted: _Counted, duration_s: float | None) -> None:
    console = Console(stderr=True)
    columns = (SpinnerColumn(), TextColumn("{task.description}"), TimeElapsedColumn())
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as bar:
        task = bar.add_task("connecting")

        async def look() -> None:
            while True:
                bar.update(
                    task, description=f"{counted.recorder.notices:,} notices, {counted.facts:,} facts; Ctrl-C ends it"
                )
                await asyncio.sleep(_LOOK_S)

        looking = asyncio.create_task(look())
        try:
            async with asyncio.timeout(duration_s):
                await node.follow(config, registry, counted, tap=counted)
        except TimeoutError:
            return
        finally:
            looking.cancel()


def replay(
    file: Annotated[
        Path, typer.Argument(metavar="FILE", help="A capture, as `record` writes it, or a journal's folder.")
    ],
    speed: Annotated[
        float | None,
        typer.Option(min=0.001, metavar="N", help="N times the recording's own pace; not given: as fast as can be."),
    ] = None,
    config: ConfigFile = None,
) -> None:
    """
    Write a recorded file into the database, as if it happened now.

    A second time changes nothing. Nothing is announced. Without a configured database it goes into the embedded one,
    where `run` keeps what it hears of the chain, not of the simulator; set embedded.state_dir to keep it apart.
    """
    settings = read_config(config)
    console = Console(stderr=True)
    columns = (TextColumn(file.name), BarColumn(None), DownloadColumn(), TimeElapsedColumn())
    with Progress(*columns, console=console, disable=not console.is_terminal) as bar:
        task = bar.add_task(file.name, total=None)

        def progress(read_bytes: int, total_bytes: int) -> None:
            bar.update(task, completed=read_bytes, total=total_bytes)

        replayed = finish(app.replay(settings, file, speed=speed, progress=progress))
    _sum(replayed.ledger)
    tell(_place(settings, replayed.database_url))
    if replayed.is_torn:
        complain(f"warning: {file} ends before its end, as after a crash: what was in it up to there is written")


def _place(config: Config, database_url: str) -> str:
    """Return where a replay wrote, and how to look at it."""
    if config.database.url is not None:
        return f"written to {redact_url(database_url)}"
    return (
        f"written to the embedded database in {state_dir(config)}, among what was heard of the chain; to look at it: "
        f"{called()} run --endpoint NODE prints a psql line that holds while it runs"
    )


def _sum(ledger: Ledger) -> None:
    tell(f"{ledger.received:,} notices: {ledger.decoded:,} told something, {ledger.failed:,} failed on chain, "
         f"{ledger.irrelevant:,} said nothing")  # fmt: skip
    tell(f"{ledger.told_count:,} events: {ledger.stored:,} stored, {ledger.duplicates:,} known already, "
         f"{ledger.upgraded:,} made more complete, {sum(ledger.filtered.values()):,} filtered, {ledger.other:,} other, "
         f"{ledger.refused:,} refused")  # fmt: skip
    if ledger.left_open:
        tell(f"{ledger.left_open:,} transactions could not be told completely: table `holes` has them")
    if ledger.refused or ledger.faults:
        complain("some could not be read: table `faults` has them")
