"""`simulate`: a stand-in Solana node with a market that never sleeps."""

from pathlib import Path
from typing import Annotated, cast

import typer

from monitor.cli.loop import until_stopped
from monitor.cli.say import called, tell
from simulator.faults.schedule import WAYS, Kind, Schedule
from simulator.run import Simulator, serve

_PER_MINUTE = 2.0


def simulate(  # noqa: PLR0913, PLR0917 - a command has its options as arguments
    seed: Annotated[
        int | None, typer.Option(help="The same seed makes the same market; drawn from the clock if not given.")
    ] = None,
    rate: Annotated[float, typer.Option(min=0.1, max=10_000, help="Transactions per second.")] = 30.0,
    host: Annotated[str, typer.Option(help="Address to listen on.")] = "127.0.0.1",
    ws_port: Annotated[int, typer.Option(min=0, max=65_535, help="Port of the websocket; 0 is any free one.")] = 0,
    http_port: Annotated[int, typer.Option(min=0, max=65_535, help="Port of JSON-RPC; 0 is any free one.")] = 0,
    duration: Annotated[
        float | None, typer.Option(min=0, metavar="SECONDS", help="Stop after so long; not given: on Ctrl-C.")
    ] = None,
    ledger: Annotated[
        Path | None,
        typer.Option(dir_okay=False, help="At the end, write every balance, reserve and sum of the market there."),
    ] = None,
    faults: Annotated[
        str | None,
        typer.Option(
            metavar="NAME[:RATE],...",
            help=f"Misbehave, each RATE times a minute ({_PER_MINUTE:g} if not given): all, {', '.join(WAYS)}.",
        ),
    ] = None,
    fault_seed: Annotated[int, typer.Option(help="The same seed draws the same faults.")] = 1,
) -> None:
    """
    Serve a made-up market as a Solana node would: websocket subscriptions and JSON-RPC.

    Launches, crowds, dumps, graduations: exact in every amount, and never any money. Follow it with the line it prints.
    With --faults it misbehaves as nodes do, to try out tools against; what it loses stays in its history, and what
    happened in truth in its ledger.
    """
    schedule = None if faults is None else Schedule.drawn(fault_seed, _rates(faults))

    nodes: list[Simulator] = []

    def ready(node: Simulator) -> None:
        tell(f"simulated node, {rate:g} transactions/s: {node.ws_url} {node.http_url}")
        tell(f"follow it: {called()} tail --endpoint {node.ws_url},{node.http_url}")
        nodes.append(node)

    until_stopped(
        serve(
            seed=seed,
            rate=rate,
            host=host,
            ws_port=ws_port,
            http_port=http_port,
            duration_s=duration,
            ledger_path=ledger,
            ready=ready,
            schedule=schedule,
        )
    )
    for node in nodes if faults else ():
        struck = ", ".join(f"{kind} {count}" for kind, count in sorted(node.faults.struck.items()))
        tell(f"faults that struck: {struck or 'none'}")


def _rates(text: str) -> dict[Kind, float]:
    """Return by kind how often it is to strike a minute."""
    found: dict[Kind, float] = {}
    for item in text.split(","):
        name, colon, rate = item.strip().partition(":")
        if name not in WAYS and name != "all":
            raise typer.BadParameter(f"there is no fault {name!r}; there are: all, {', '.join(WAYS)}")
        try:
            per_minute = float(rate) if colon else _PER_MINUTE
        except ValueError as error:
            raise typer.BadParameter(f"{rate!r} is no number of times a minute") from error
        found |= dict.fromkeys(WAYS if name == "all" else (cast("Kind", name),), per_minute)
    return found
