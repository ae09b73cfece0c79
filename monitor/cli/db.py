"""`db`: whether the database is in order, and how large it is."""

import dataclasses
from typing import Annotated, Any

import msgspec
import typer

from monitor.cli import stores, tables
from monitor.cli.loop import finish
from monitor.cli.options import ConfigFile, read_config
from monitor.cli.say import one_line, tell
from monitor.config import Config
from monitor.store import stats as measuring
from monitor.store import verify as verifying
from monitor.store.stats import Stats
from monitor.store.verify import Finding
from monitor.upkeep import rules_of

_FOUND = 1
_MIB = 1 << 20
_QUERY_WIDTH = 100

db = typer.Typer(no_args_is_help=True, help="Look after the database: whether it is in order, and how large it is.")

Json = Annotated[bool, typer.Option("--json", help="Print one JSON object.")]


@db.command()
def verify(json: Json = False, config: ConfigFile = None) -> None:
    """
    Tell what is amiss in the database: indexes, partitions, and what TimescaleDB is to do by itself.

    That is: indexes that are missing, were not built to their end, take far more room than they need, or that no
    query has used for a month; partitions that are not there for what comes next (plain PostgreSQL); policies that
    are missing, failed, are switched off or do not run, and chunks that they left uncompressed (TimescaleDB).

    Exit codes: 0 all is well; 1 something is amiss; 75 the database does not answer; 78 its schema is not ours.
    """
    found = finish(_verify(read_config(config)))
    if json:
        tell(msgspec.json.encode({"findings": [dataclasses.asdict(finding) for finding in found]}).decode())
    elif found:
        tables.show(("finding", "what", "detail", "mend"),
                    [(one.kind.replace("_", " "), one.what, one.detail, one.mend) for one in found])  # fmt: skip
    else:
        tell("all is well: nothing is missing, unused, bloated or failed")
    if found:
        raise typer.Exit(_FOUND)


async def _verify(config: Config) -> list[Finding]:
    async with stores.opened(config) as store:
        edition = await store.check()
        async with store.alone("verify") as connection:
            return await verifying.verify(connection, edition, rules_of(config))


@db.command()
def stats(
    quick: Annotated[
        bool, typer.Option("--quick", help="Take the server's estimates of rows instead of counting them.")
    ] = False,
    json: Json = False,
    config: ConfigFile = None,
) -> None:
    """
    Tell how large the database is, what compression came to, what is slow, and how autovacuum fits.

    Rows are counted, which takes a while on a large database. Slow statements are told if the extension
    pg_stat_statements is there. Exit codes: 0 it was told; 75 the database does not answer; 78 its schema is not ours.
    """
    found = finish(_stats(read_config(config), quick=quick))
    if json:
        tell(msgspec.json.encode(as_json(found)).decode())
        return
    tables.show(("table", "rows", "pieces", "table MiB", "indexes MiB", "total MiB"),
                [(size.name, size.rows, size.pieces or None, _mib(size.table_bytes), _mib(size.index_bytes),
                  _mib(size.total_bytes)) for size in found.sizes])  # fmt: skip
    if found.bytes_per_trade is not None:
        tell(f"{found.bytes_per_trade:,.1f} bytes a trade, indexes included")
    for part in found.compression:
        sizes = f"{_mib(part.before_bytes)} MiB to {_mib(part.after_bytes)} ({part.ratio:.1f} : 1)"
        tell(f"{part.name}: {part.compressed:,} of {part.chunks:,} chunks are compressed, {sizes}")
    _show_statements(found)
    tell(f"{found.load.rows_per_s:,.1f} rows a second were stored in the newest hour with any")
    if found.advice:
        tables.show(("setting", "now", "advised", "why"), [dataclasses.astuple(advice) for advice in found.advice])
    else:
        tell("autovacuum fits that")


def _show_statements(found: Stats) -> None:
    if found.statements is None:
        tell("slow statements are not known: pg_stat_statements is not there, or not for this user")
        return
    tables.show(("calls", "total s", "mean ms", "longest ms", "rows", "statement"),
                [(said.calls, f"{said.total_s:,.1f}", f"{said.mean_ms:,.2f}", f"{said.max_ms:,.1f}", said.rows,
                  one_line(said.query, _QUERY_WIDTH)) for said in found.statements])  # fmt: skip


def _mib(size: int) -> str:
    return f"{size / _MIB:,.1f}"


async def _stats(config: Config, *, quick: bool) -> Stats:
    async with stores.opened(config) as store:
        edition = await store.check()
        async with store.alone("stats") as connection:
            return await measuring.stats(connection, edition, quick=quick)


def as_json(found: Stats) -> dict[str, Any]:
    """Return statistics as a JSON object."""
    shown = dataclasses.asdict(found)
    for size, row in zip(found.sizes, shown["sizes"], strict=True):
        row["total_bytes"] = size.total_bytes
    for part, row in zip(found.compression, shown["compression"], strict=True):
        row["ratio"] = part.ratio
    load = shown.pop("load")
    return shown | {"rows_per_s": load["rows_per_s"]}
