"""`check-config`: what the daemon would do, before it does."""

from collections.abc import Awaitable, Callable
from typing import Annotated

import typer

from monitor.cli import announced, servers
from monitor.cli.loop import finish
from monitor.cli.options import ConfigFile, NodeAddress, read_config
from monitor.cli.say import explain, tell
from monitor.config import Config, FeedKind, example_toml
from monitor.errors import MonitorError, exit_code
from monitor.node import addresses, feed_names, nodes_of
from monitor.programs import registry_of
from monitor.sources import rpc
from monitor.sources.endpoint import Endpoint
from monitor.sources.session import Limits, open_session
from monitor.store.store import Store

Check = Callable[[Config], Awaitable[str]]


def check_config(
    endpoint: NodeAddress = None,
    connect: Annotated[
        bool, typer.Option("--connect", help="Also ask the node, the database and Redis whether they answer.")
    ] = False,
    example: Annotated[bool, typer.Option("--example", help="Print a file with every setting instead.")] = False,
    config: ConfigFile = None,
) -> None:
    """
    Print the settings that hold, secrets hidden, and read the IDL files.

    Exit 78 says that a human has to mend them, 69 or 75 (with --connect) that somebody does not answer.
    """
    if example:
        tell(example_toml().rstrip())
        return
    settings = read_config(config, endpoint=endpoint)
    tell(settings.show().rstrip())
    tell("")
    for pad in registry_of(settings).programs.values():
        tell(f"ok: {pad.name} follows {pad.program}, {len(pad.events)} events")
    if connect:
        code = finish(_connect(settings))
        if code:
            raise typer.Exit(code)


async def _connect(config: Config) -> int:
    """Ask everybody, and return the exit code of the gravest trouble (0: none)."""
    codes = [0]
    for name, check in (
        ("node, websocket", _feeds),
        ("node, HTTP", _http),
        ("database", _database),
        ("redis", _redis),
    ):
        try:
            tell(f"ok: {name}: {await check(config)}")
        except MonitorError as error:
            tell(f"failed: {name}")
            explain(error)
            codes.append(exit_code(error))
    return max(codes)


async def _feeds(config: Config) -> str:
    """Subscribe to each feed as the daemon would, one after the other."""
    if config.node.ws_url is None:
        return "none is set: `run` follows the built-in simulator"
    ws_url, _ = addresses(config)
    kinds = [(config.node.feed, ws_url), *((feed.kind, feed.ws_url or ws_url) for feed in config.feeds)]
    said = []
    for name, (kind, url) in zip(feed_names(config), kinds, strict=True):
        wanted = _subscriptions(config, kind)
        if wanted:
            async with open_session(Endpoint(url), Limits()) as session:
                await session.subscribe(wanted)
        said.append(f"{name}: {Endpoint(url)} takes {len(wanted)} subscriptions" if wanted else f"{name}: by HTTP")
    return "; ".join(said)


def _subscriptions(config: Config, kind: FeedKind) -> dict[str, rpc.Request]:
    programs, commitment = sorted(registry_of(config).followed), config.node.commitment
    match kind:
        case "logs":
            logs = {program: rpc.logs_subscribe(program, commitment) for program in programs}
            return {"slots": rpc.slot_subscribe(), **logs}
        case "blocks":
            return {"blocks": rpc.block_subscribe(commitment)}
        case "transactions":
            return {"slots": rpc.slot_subscribe(), "transactions": rpc.transaction_subscribe(programs, commitment)}
        case "polled_blocks":
            return {}


async def _http(config: Config) -> str:
    """Ask everybody who would be asked, each of them."""
    if config.node.http_url is None:
        return "none is set"
    async with nodes_of(config, registry_of(config).followed) as nodes:
        answers = await nodes.archive.each(rpc.get_slot(config.node.commitment))
        slots = ", ".join(bytes(answer.result).decode() for answer in answers)
        endpoints = ", ".join(nodes.archive.tallies)
    return f"{len(answers)} of {len(nodes.archive.tallies)} answer ({endpoints}): at slot {slots}"


async def _database(config: Config) -> str:
    url = servers.find(config).database_url
    if url is None:
        return "none is set: the daemon brings its own"
    opened = await Store.open(url, connect_timeout_s=config.database.connect_timeout_s)
    async with opened as store:
        return f"schema is up to date, edition {await store.check()}"


async def _redis(config: Config) -> str:
    url = servers.find(config).redis_url
    if url is None:
        return "none is set" + (": nothing is announced" if config.database.url else ": the daemon brings its own")
    async with await announced.connect(url):
        return "answers"
