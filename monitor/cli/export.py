"""`export`: rows of a table or view, into a file."""

import contextlib
import io
import sys
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any, BinaryIO

import typer
from rich.console import Console
from rich.progress import BarColumn, Progress, ProgressColumn, Task, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.text import Text

from monitor.cli import parquet, stores
from monitor.cli.loop import until_stopped
from monitor.cli.options import ConfigFile, read_config
from monitor.cli.say import complain, one_line, tell
from monitor.config import Config, parse_start
from monitor.errors import BadInput, ConfigError, UsageError
from monitor.store import export as selecting
from monitor.store.export import Range
from monitor.store.store import Store

_STDOUT = "-"
_PART = ".part"
_STOPPED = 130
_FETCHED_ROWS = 10_000


class Format(StrEnum):
    """What a file may be."""

    CSV = "csv"
    PARQUET = "parquet"


def export(
    table: Annotated[str, typer.Argument(metavar="TABLE", help="A table or view, such as transactions or tokens.")],
    out: Annotated[str, typer.Option("--out", "-o", metavar="FILE", help="Where to; - is standard output (CSV).")],
    first: Annotated[
        str | None,
        typer.Option("--from", metavar="TIME", help="From then on: 2026-09-21, 2026-09-21T14:00Z, or 2h, 7d ago."),
    ] = None,
    end: Annotated[str | None, typer.Option("--to", metavar="TIME", help="Up to then, which is not in it.")] = None,
    format_: Annotated[
        Format | None, typer.Option("--format", help="What to write; by default what FILE ends in, else CSV.")
    ] = None,
    config: ConfigFile = None,
) -> None:
    """
    Write the rows of a table or view into a file, as CSV or Parquet.

    --from and --to speak of the table's first column that is a time (docs/SCHEMA.md); without a zone they are UTC.
    Amounts are what the table has: base units, or tokens in the views. The file has its name once it is complete.
    Exit codes: 64 there is no such table or time, 65 the file cannot be written, 130 Ctrl-C.
    """
    kind = format_ or (Format.PARQUET if out.endswith(f".{Format.PARQUET}") else Format.CSV)
    if kind == Format.PARQUET:
        if out == _STDOUT:
            raise UsageError("Parquet cannot be written to standard output", mend="give --out FILE, or --format csv")
        parquet.load()
    now = datetime.now(UTC)
    within = Range(_time("--from", first, now), _time("--to", end, now))
    if within.first is not None and within.end is not None and within.first >= within.end:
        raise UsageError("nothing lies between --from and --to", mend="give the earlier time as --from")
    count = until_stopped(_export(read_config(config), table, within, kind, out))
    if count is None:
        raise typer.Exit(_STOPPED)
    (complain if out == _STDOUT else tell)(f"{count:,} rows of {table} in {out}")


def _time(option: str, text: str | None, now: datetime) -> datetime | None:
    """
    Return the time that people mean.

    Raises:
        UsageError: If it is none.
    """
    if text is None:
        return None
    with contextlib.suppress(ConfigError):
        start = parse_start(text)
        if start.kind == "ago":
            return now - timedelta(seconds=start.ago_s)
    try:
        at = datetime.fromisoformat(text)
    except ValueError as error:
        raise UsageError(
            f"{option} {one_line(text)}: that is no time",
            mend="give one such as 2026-09-21T14:00Z, or 2h for so long ago",
        ) from error
    return at.replace(tzinfo=UTC) if at.tzinfo is None else at


async def _export(config: Config, table: str, within: Range, kind: Format, out: str) -> int:
    write = _csv if kind == Format.CSV else _parquet
    async with stores.opened(config) as store:
        try:
            with _file(out) as file:
                return await write(store, table, within, file)
        except _CannotWrite as error:
            if isinstance(error.cause, BrokenPipeError):
                raise error.cause from error
            raise BadInput(f"the file cannot be written: {error.cause}") from error.cause


async def _csv(store: Store, table: str, within: Range, file: BinaryIO) -> int:
    async with store.alone("export") as connection:
        relation = await selecting.find(connection, table)
        with _bar(table, await selecting.estimate(connection, relation, within)) as show:

            async def sink(piece: bytes) -> None:
                file.write(piece)
                show.add(piece.count(b"\n"))

            count = await selecting.csv(connection, relation, within, sink)
            show.end(count)
    return count


async def _parquet(store: Store, table: str, within: Range, file: BinaryIO) -> int:
    count = 0
    async with store.alone("export") as connection:
        relation = await selecting.find(connection, table)
        with (
            _bar(table, await selecting.estimate(connection, relation, within)) as show,
            parquet.writing(file, relation.columns) as take,
        ):
            pieces = selecting.rows(connection, relation, within, parquet.cast, at_once=_FETCHED_ROWS)
            async for piece in pieces:
                take(piece)
                count += len(piece)
                show.add(len(piece))
            show.end(count)
    return count


class _CannotWrite(Exception):  # noqa: N818 - it becomes an error of ours, or none
    """An OSError of the file, in a disguise in which nobody takes it for one of the database's connection."""

    def __init__(self, cause: OSError) -> None:
        super().__init__(str(cause))
        self.cause = cause


class _Raw(io.FileIO):
    """A file whose errors are `_CannotWrite`."""

    def write(self, piece: Any, /) -> int:
        try:
            return super().write(piece)
        except OSError as error:
            raise _CannotWrite(error) from error


@contextlib.contextmanager
def _file(out: str) -> Iterator[BinaryIO]:
    """Yield a file that has its name once the block has ended well; what was begun is gone if it has not."""
    if out == _STDOUT:
        with io.BufferedWriter(_Raw(sys.stdout.fileno(), "w", closefd=False)) as file:
            yield file
        return
    # A device or a pipe is written to: a file must not take its place.
    is_file = not Path(out).exists() or Path(out).is_file()
    part = Path(out + _PART) if is_file else Path(out)
    try:
        with io.BufferedWriter(_Raw(part, "w")) as file:
            yield file
        if is_file:
            part.replace(out)
    except OSError as error:
        raise _CannotWrite(error) from error
    finally:
        if is_file:
            part.unlink(missing_ok=True)


class _Rate(ProgressColumn):
    """Rows a second."""

    def render(self, task: Task) -> Text:
        """Return them as text."""
        return Text(f"{task.speed or 0.0:,.0f} rows/s")


class _Show:
    """Tells how many rows were written; the total is an estimate, and grows if it was too low."""

    def __init__(self, bar: Progress, table: str, total: int) -> None:
        self._bar = bar
        self._task = bar.add_task(table, total=total)
        self._done = 0
        self._total = total

    def add(self, count: int) -> None:
        """Take note of rows; of CSV these are lines, which may be more."""
        self._done += count
        self._bar.update(self._task, completed=self._done, total=max(self._done, self._total))

    def end(self, count: int) -> None:
        """Take note of how many they were in the end."""
        self._bar.update(self._task, completed=count, total=count)


@contextlib.contextmanager
def _bar(table: str, total: int) -> Iterator[_Show]:
    console = Console(stderr=True)
    columns = (
        TextColumn("{task.description}", markup=False), BarColumn(None),
        TextColumn("{task.completed:,.0f} of about {task.total:,.0f} rows"), _Rate(), TimeElapsedColumn(),
        TimeRemainingColumn(),
    )  # fmt: skip
    with Progress(*columns, console=console, disable=not console.is_terminal) as bar:
        yield _Show(bar, table, total)
