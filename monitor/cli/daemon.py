"""`run` and `ingest`: the daemon itself, with everything that it needs or as one service among others."""

import asyncio
from typing import Annotated, Any

import typer
from msgspec.structs import replace

from monitor import app, log
from monitor.cli import announced, servers
from monitor.cli.loop import finish
from monitor.cli.options import ConfigFile, NodeAddress, StartAt, read_config
from monitor.cli.say import called, complain, tell
from monitor.cli.screen import Lines
from monitor.config import Config, Monitoring, redact_url
from monitor.errors import ConfigError, RedisUnavailable
from monitor.metrics import check
from monitor.servers import Servers
from simulator.run import Simulator, serve

_SIMULATED_PER_S = 30.0
# Launches, completions and graduations of before, printed so that a start does not face an empty screen.
_LAST = 5
_PATIENCE_S = 5.0
_ANY_PORT = "127.0.0.1:0"


def run(
    endpoint: NodeAddress = None,
    start: StartAt = None,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Do not print launches as they happen.")] = False,
    config: ConfigFile = None,
) -> None:
    """
    Follow a node into a database, with everything that takes: the one command for a laptop.

    Without a configured database it brings PostgreSQL and Valkey of its own; without a node it follows a simulated
    market, and says so. Launches and graduations are printed as they happen. Ctrl-C ends it in order.
    """
    settings = read_config(
        config, endpoint=endpoint, overrides={"start": start}, defaults={"metrics.listen": _metrics_address()}
    )
    log.setup(settings.log.level, settings.log.format)
    finish(_with_simulator(settings, quiet=quiet) if settings.node.ws_url is None else _run(settings, quiet=quiet))


def ingest(endpoint: NodeAddress = None, start: StartAt = None, config: ConfigFile = None) -> None:
    """
    Follow a node into a database: the daemon alone, as a service manager runs it.

    It needs a node (node.ws_url and node.http_url, or --endpoint), and a database that `migrate` has prepared.
    """
    settings = read_config(config, endpoint=endpoint, overrides={"start": start})
    log.setup(settings.log.level, settings.log.format)
    finish(app.run(settings, reloads=True))


def _metrics_address() -> str | None:
    """Return where metrics are served if nobody says where: at a free port if another daemon has the usual one."""
    usual = Monitoring().listen
    try:
        check(usual)
    except ConfigError:
        return _ANY_PORT
    return usual


async def _with_simulator(config: Config, *, quiet: bool) -> None:
    tell(
        f"No node is configured: following the built-in simulator, {_SIMULATED_PER_S:g} made-up transactions a second."
    )
    tell(f"Follow the chain with: {called()} run --endpoint mainnet")
    if config.database.url is not None:
        complain(f"warning: made-up tokens go into {redact_url(config.database.url)}")
    ready: asyncio.Future[Simulator] = asyncio.get_running_loop().create_future()
    serving = asyncio.create_task(serve(rate=_SIMULATED_PER_S, ready=ready.set_result))
    try:
        first: set[asyncio.Future[Any]] = {serving, ready}
        await asyncio.wait(first, return_when=asyncio.FIRST_COMPLETED)
        if serving.done():
            await serving
        # Its market begins anew each time. In a database that was configured the holes may be the real chain's.
        await _run(_following(config, ready.result()), quiet=quiet, new_chain=config.database.url is None)
    finally:
        serving.cancel()
        await asyncio.wait({serving})


def _following(config: Config, node: Simulator) -> Config:
    """Return a configuration that follows a simulator: its market begins anew each time, so does what follows it."""
    return replace(
        config,
        start="now",
        node=replace(config.node, ws_url=node.ws_url, http_url=node.http_url),
        embedded=replace(config.embedded, state_dir=str(servers.simulated_dir(config))),
    )


async def _run(config: Config, *, quiet: bool, new_chain: bool = False) -> None:
    printing: list[asyncio.Task[None]] = []

    def on_servers(found: Servers) -> None:
        for line in found.connect_lines:
            tell(f"look inside: {line}")
        if quiet:
            return
        if found.redis_url is None:
            tell("Launches are not printed: they are announced in Redis, and redis.url is not set.")
        else:
            printing.append(asyncio.create_task(_print_launches(found.redis_url)))

    def on_metrics(url: str) -> None:
        tell(f"metrics: {url}")

    try:
        await app.run(config, migrate=True, new_chain=new_chain, on_servers=on_servers, on_metrics=on_metrics)
    finally:
        for task in printing:
            task.cancel()
        await asyncio.gather(*printing, return_exceptions=True)


async def _print_launches(url: str) -> None:
    """Print what is announced, for ever. The daemon works without Redis too: that it is away is told, and no more."""
    screen = Lines()
    last = _LAST
    while True:
        try:
            async with await announced.connect(url) as client:
                await announced.catch_up(client, last, screen)
                last = 0
                await announced.listen(client, announced.Wanted(trades=False), screen.show)
        except* RedisUnavailable as errors:
            await asyncio.sleep(_PATIENCE_S)  # at a stop it goes first, which is nothing to talk about
            complain(f"launches cannot be printed now: {errors.exceptions[0]}")
