"""`tail`: launches, trades and graduations as they happen."""

import asyncio
from collections.abc import Mapping
from enum import StrEnum
from typing import Annotated, Any, TypeVar

import typer

from decoders.core import base58
from decoders.core.types import Fact
from monitor.cli import announced, node, servers
from monitor.cli.loop import until_stopped
from monitor.cli.options import ConfigFile, NodeAddress, read_config
from monitor.cli.say import called, complain, one_line
from monitor.cli.screen import JsonLines, Lines, Screen
from monitor.config import Config
from monitor.errors import RedisUnavailable, UsageError
from monitor.present import fact_json
from monitor.programs import registry_of

_RETRY_S = 2.0
_ADDRESS_BYTES = 32
_Choice = TypeVar("_Choice", bound=StrEnum)


class Kind(StrEnum):
    """What can be asked for."""

    LAUNCH = "launch"
    TRADE = "trade"
    COMPLETE = "complete"
    GRADUATION = "graduation"


class Platform(StrEnum):
    """Whose tokens can be asked for."""

    PUMPFUN = "pumpfun"
    LAUNCHLAB = "raydium_launchpad"


# What lines show besides.
_SHOWN_AS = {
    "graduate": Kind.GRADUATION,
    "pump.fun": Platform.PUMPFUN,
    "pump": Platform.PUMPFUN,
    "launchlab": Platform.LAUNCHLAB,
    "raydium": Platform.LAUNCHLAB,
}
_FACTS = {Kind.LAUNCH: "launch", Kind.TRADE: "trade", Kind.COMPLETE: "curve_complete", Kind.GRADUATION: "graduation"}


def _kind(text: str) -> Kind:
    return _named(Kind, "--kind", text)


def _platform(text: str) -> Platform:
    return _named(Platform, "--platform", text)


def _named(choices: type[_Choice], option: str, text: str) -> _Choice:
    """
    Return what a word names, be it the one that is stored or the one that is shown.

    Raises:
        UsageError: If it names nothing.
    """
    word = text.strip().lower()
    shown = _SHOWN_AS.get(word)
    for choice in choices:
        if word == choice.value or shown is choice:
            return choice
    names = [*(choice.value for choice in choices), *(name for name, for_ in _SHOWN_AS.items() if for_ in [*choices])]
    raise UsageError(f"{option} {one_line(text)}: there is no such thing", mend=f"give one of {', '.join(names)}")


def _address(text: str) -> str:
    """
    Return an address as it is.

    Raises:
        UsageError: If it is none.
    """
    try:
        is_address = len(base58.decode(text)) == _ADDRESS_BYTES
    except ValueError:
        is_address = False
    if not is_address:
        raise UsageError(
            f"--mint {one_line(text)}: that is no address", mend="give the token's address: 32 bytes in base58"
        )
    return text


class Enough(Exception):  # noqa: N818 - no error: as many were shown as were asked for
    """The last of `--count` was shown."""


class Filter:
    """Lets through what was asked for, `count` times at most (None: for ever)."""

    def __init__(
        self, screen: Screen, *, platform: Platform | None, kinds: list[Kind], mint: str | None, count: int | None
    ) -> None:
        self.kinds = {_FACTS[kind] for kind in kinds or Kind}
        self.mint = mint
        self._platform = platform
        self._screen = screen
        self._left = count

    def show(self, shown: Mapping[str, Any]) -> None:
        """
        Show a fact, if it was asked for.

        Raises:
            Enough: If it was the last one.
        """
        if shown["fact"] not in self.kinds or self.mint not in (None, shown["mint"]):
            self._screen.learn(shown)
            return
        if self._platform is not None and shown["platform"] != self._platform.value:
            return
        self._screen.show(shown)
        if self._left is not None:
            self._left -= 1
            if self._left == 0:
                raise Enough

    def show_fact(self, fact: Fact) -> None:
        """Do the same with a fact that comes right from the decoder."""
        self.show(fact_json(fact, raw=False))

    def learn(self, shown: Mapping[str, Any]) -> None:
        """Take note of a launch without showing it."""
        self._screen.learn(shown)

    def learn_decimals(self, mint: str, decimals: int) -> None:
        """Take note of a token's decimals."""
        self._screen.learn_decimals(mint, decimals)


def tail(
    endpoint: NodeAddress = None,
    platform: Annotated[
        Platform | None,
        typer.Option(
            parser=_platform,
            metavar="NAME",
            help="Only tokens of this launchpad: pumpfun (pump.fun) or raydium_launchpad (LaunchLab).",
        ),
    ] = None,
    kind: Annotated[
        list[Kind] | None,
        typer.Option(
            parser=_kind,
            metavar="KIND",
            help="Only this: launch, trade, complete or graduation. Give it again for more.",
        ),
    ] = None,
    mint: Annotated[str | None, typer.Option(parser=_address, metavar="ADDRESS", help="Only this token.")] = None,
    last: Annotated[
        int,
        typer.Option(min=0, max=announced.LEARNED, metavar="N", help="Begin with the last N launches and graduations."),
    ] = 0,
    count: Annotated[int | None, typer.Option(min=1, metavar="N", help="Stop after N lines.")] = None,
    json: Annotated[bool, typer.Option("--json", help="One JSON object a line.")] = False,
    config: ConfigFile = None,
) -> None:
    """
    Show launches, trades, completed curves and graduations as they happen. Ctrl-C ends it.

    It listens to the running daemon of this machine or configuration. With --endpoint it needs none, and no database:
    it follows that node itself.
    """
    chosen = Filter(JsonLines() if json else Lines(), platform=platform, kinds=kind or [], mint=mint, count=count)
    settings = read_config(config, endpoint=endpoint)
    work = node.follow(settings, registry_of(settings), chosen) if endpoint else _announced(settings, chosen, last)
    try:
        until_stopped(work)
    except* Enough:
        pass


async def _announced(config: Config, chosen: Filter, last: int) -> None:
    """Listen to the daemon; once it has answered, wait for it whenever it is away."""
    wanted = announced.Wanted(chosen.mint, "trade" in chosen.kinds, bool(chosen.kinds - {"trade"}))
    was_there = False
    while True:
        try:
            client = await announced.connect(_redis_url(config))
            async with client:
                await announced.catch_up(client, 0 if was_there else last, chosen)
                was_there = True
                await announced.listen(client, wanted, chosen.show)
        except* RedisUnavailable as error:
            if not was_there:
                raise
            complain(f"{error.exceptions[0]}; waiting for it to come back")
        await asyncio.sleep(_RETRY_S)


def _redis_url(config: Config) -> str:
    found = servers.find(config).redis_url
    if found is None:
        raise RedisUnavailable(
            f"no daemon with Redis is configured, and none runs below {servers.places(config)}",
            mend=f"start one ({called()} run), or follow a node itself (--endpoint mainnet)",
        )
    return found
