"""`check-config`: what the daemon would do, before it does."""

from collections.abc import Awaitable, Callable
from typing import Annotated

import typer

from monitor import app
from monitor.cli import announced, servers
from monitor.cli.loop import finish
from monitor.cli.options import ConfigFile, NodeAddress, read_config
from monitor.cli.say import explain, tell
from monitor.config import Config, example_toml
from monitor.errors import MonitorError, exit_code
from monitor.node import addresses, rpc_client
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
    for pad in app.registry_of(settings).programs.values():
        tell(f"ok: {pad.name} follows {pad.program}, {len(pad.events)} events")
    if connect:
        code = finish(_connect(settings))
        if code:
            raise typer.Exit(code)


async def _connect(config: Config) -> int:
    """Ask everybody, and return the exit code of the gravest trouble (0: none)."""
    codes = [0]
    for name, check in (
        ("node, websocket", _websocket),
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


async def _websocket(config: Config) -> str:
    if config.node.ws_url is None:
        return "none is set: `run` follows the built-in simulator"
    ws_url, _ = addresses(config)
    programs = sorted(app.registry_of(config).followed)
    wanted = {"slots": rpc.slot_subscribe()}
    if config.node.feed == "blocks":
        wanted["blocks"] = rpc.block_subscribe(config.node.commitment)
    else:
        wanted |= {program: rpc.logs_subscribe(program, config.node.commitment) for program in programs}
    async with open_session(Endpoint(ws_url), Limits()) as session:
        await session.subscribe(wanted)
    return f"{Endpoint(ws_url)} takes {len(wanted)} subscriptions"


async def _http(config: Config) -> str:
    if config.node.http_url is None:
        return "none is set"
    async with rpc_client(config) as client:
        answer = await client.call(rpc.get_slot(config.node.commitment))
    return f"{client.endpoint} is at slot {bytes(answer.result).decode()}"


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
