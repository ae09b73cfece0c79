"""Options that several commands share, and the configuration that they make."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from monitor import config as configuration

ConfigFile = Annotated[
    Path | None,
    typer.Option("--config", "-c", metavar="FILE", help="Settings in TOML; the environment and options stand over it."),
]
NodeAddress = Annotated[
    str | None,
    typer.Option(
        "--endpoint",
        "-e",
        metavar="NODE",
        help="The node to follow: mainnet, one address (the other follows), or WS,HTTP.",
    ),
]
StartAt = Annotated[
    str | None,
    typer.Option("--start", metavar="WHERE", help="Where to begin: progress, now, slot:N, or a time ago such as 10m."),
]


def read_config(
    file: Path | None,
    *,
    endpoint: str | None = None,
    overrides: dict[str, Any] | None = None,
    defaults: dict[str, Any] | None = None,
) -> configuration.Config:
    """
    Return the configuration of file, environment and command line; `defaults` for what none of them sets.

    Raises:
        ConfigError: If it is not right.
    """
    given = {name: value for name, value in (overrides or {}).items() if value is not None}
    if endpoint:
        given |= configuration.with_endpoint(",".join(endpoint.replace(",", " ").split()))
    return configuration.load(file, overrides=given, defaults=defaults)
