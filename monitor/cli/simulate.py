"""`simulate`: a stand-in Solana node with a market that never sleeps."""

from pathlib import Path
from typing import Annotated

import typer

from monitor.cli.loop import until_stopped
from monitor.cli.say import called, tell
from simulator.run import Simulator, serve


def simulate(
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
) -> None:
    """
    Serve a made-up market as a Solana node would: websocket subscriptions and JSON-RPC.

    Launches, crowds, dumps, graduations: exact in every amount, and never any money. Follow it with the line it prints.
    """

    def ready(node: Simulator) -> None:
        tell(f"simulated node, {rate:g} transactions/s: {node.ws_url} {node.http_url}")
        tell(f"follow it: {called()} tail --endpoint {node.ws_url},{node.http_url}")

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
        )
    )
