"""`redecode`: read again what was kept because nobody could read it."""

import asyncio
from collections import Counter
from typing import Annotated, Any

import msgspec
import typer

from decoders.core.registry import Registry
from monitor import serving
from monitor.cli import stores, tables
from monitor.cli.loop import finish
from monitor.cli.options import ConfigFile, NodeAddress, read_config
from monitor.cli.say import called, complain, tell
from monitor.config import Config
from monitor.errors import StoreUnavailable, UsageError
from monitor.pipeline.pools import PoolMap
from monitor.pipeline.redecode import REDECODE, Redecoding
from monitor.programs import registry_of
from monitor.sources.notices import Outlet
from monitor.stages import stop_on_signals
from monitor.store.store import Store

_LEFT, _STOPPED = 1, 130
_LOOK_S = 0.5


def redecode(
    program: Annotated[
        str | None, typer.Option(metavar="NAME", help="Only this program: its name or its address.")
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Tell what would come of it, and change nothing.")] = False,
    patience: Annotated[
        float, typer.Option(min=1, metavar="SECONDS", help="How long to wait for a transaction that has to be fetched.")
    ] = 120.0,
    json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
    endpoint: NodeAddress = None,
    config: ConfigFile = None,
) -> None:
    """
    Decode again what is kept in `faults`, and events with bytes that their IDL did not know, after an IDL was updated.

    What is readable now becomes rows where it belongs, with everything derived from them. What takes more than the
    event's own bytes becomes a hole, and is fetched. What the database refused (`refused: …`) was read already: it is
    counted, and stays.

    A daemon that writes to the database does it on request, by the IDL files as it read them last: after an update
    send it SIGHUP (systemctl reload), or start it again. Without a daemon this command does it.

    Exit codes: 0 it is done; 1 something could not be stored or fetched yet; 130 Ctrl-C (a request stays filed).
    """
    settings = read_config(config, endpoint=endpoint)
    registry = registry_of(settings)
    address = None if program is None else address_of(registry, program)
    result = finish(_redecode(settings, registry, address, dry_run=dry_run, patience_s=patience))
    if result is None:
        complain("stopped; what was asked for is done all the same if a daemon runs")
        raise typer.Exit(_STOPPED)
    if json:
        tell(msgspec.json.encode(result).decode())
    else:
        _show(registry, result, dry_run=dry_run)
    if result["late"] or result.get("open_holes"):
        raise typer.Exit(_LEFT)


def address_of(registry: Registry, program: str) -> str:
    """
    Return the address of a program that is named by its address or its decoder.

    Raises:
        UsageError: If it is not followed.
    """
    for address, pad in registry.programs.items():
        if program in (address, pad.name):
            return address
    names = ", ".join(sorted(pad.name for pad in registry.programs.values()))
    raise UsageError(f"--program {program}: it is not followed", mend=f"give one of {names}, or an address of theirs")


async def _redecode(
    config: Config, registry: Registry, program: str | None, *, dry_run: bool, patience_s: float
) -> dict[str, Any] | None:
    """Return the result as a JSON object; None: it was stopped before there was one."""
    with stop_on_signals() as stop:
        async with stores.opened_or_started(config) as store:
            if dry_run:
                return (await (await _reader(config, registry, store)).once(None, program)).as_json()
            if await store.try_lock():
                return await _here(config, registry, store, program, stop, patience_s)
            return await _asked(store, program, stop)


async def _reader(config: Config, registry: Registry, store: Store) -> Redecoding:
    pools = PoolMap((await store.load_pools(config.store.known_pools)).values())
    return Redecoding(store, lambda seen: registry.decode_payload(seen, pools))


async def _here(
    config: Config, registry: Registry, store: Store, program: str | None, stop: asyncio.Event, patience_s: float
) -> dict[str, Any] | None:
    """Do it in this process; with a node, fetch also what takes more than the bytes that were kept."""
    redecoding = await _reader(config, registry, store)
    results: list[dict[str, Any]] = []

    async def work(out: Outlet) -> None:
        results.append((await redecoding.once(out, program)).as_json())
        if config.node.http_url is not None:
            await serving.until_filled(store, await _holes(store), lambda _: None, patience_s=patience_s)

    if config.node.http_url is None:
        await serving.serve_job(config, registry, store, work, stop)
    else:
        await serving.serve_holes(config, registry, serving.Only(store, reason=REDECODE), work, stop)
    return None if not results else results[0] | {"open_holes": len(await _holes(store))}


async def _holes(store: Store) -> list[int]:
    return [hole.id for hole in await store.holes(open_only=True, limit=serving.MOST_HOLES) if hole.reason == REDECODE]


async def _asked(store: Store, program: str | None, stop: asyncio.Event) -> dict[str, Any] | None:
    """Ask the daemon, and wait for its answer."""
    request_id = await store.file_request(REDECODE, {"program": program})
    while not stop.is_set():
        request = await store.request(request_id)
        if request is not None and request.done_at is not None:
            return request.result or {}
        if await store.writer_pid() is None:
            raise StoreUnavailable(
                "the daemon that was asked is gone",
                mend=f"it does it at its next start; {called()} redecode does it without one",
            )
        await asyncio.sleep(_LOOK_S)  # the daemon is another process
    return None


def _show(registry: Registry, result: dict[str, Any], *, dry_run: bool) -> None:
    names = {address: pad.name for address, pad in registry.programs.items()}
    groups: list[dict[str, Any]] = result["groups"]
    if groups:
        by_rest: dict[tuple[str, str, str], Counter[str]] = {}
        for group in groups:
            key = (names.get(group["program"], group["program"]), group["reason"], group["event"])
            by_rest.setdefault(key, Counter())[group["outcome"]] += group["count"]
        titles = ("program", "kept because", "event", "becomes rows", "to be fetched", "still unreadable")
        tables.show(
            titles, [(*key, count["told"], count["hole"], count["unreadable"]) for key, count in by_rest.items()]
        )
    would = "would become" if dry_run else "became"
    tell(
        f"{result['told']:,} {would} rows, {result['hole']:,} have to be fetched, {result['unreadable']:,} are still "
        f"unreadable; {result['refused']:,} were refused by the database, and stay"
    )
    if result["late"]:
        complain(f"{result['late']:,} are not stored yet: look at the daemon's log, and at `holes`")
    if result.get("open_holes"):
        complain(f"{result['open_holes']:,} transactions could not be fetched: {called()} holes tells why")
