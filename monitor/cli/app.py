"""The commands under one name. Only the one that is called is imported: most of them need little of the program."""

import importlib
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from monitor.cli.say import installed, tell

_HELP = """
Follow Solana launchpads: every launch, trade and graduation becomes a row in PostgreSQL.

`launch-monitor run` needs nothing else: it brings its own database and, without an endpoint, a simulated market.
"""
# Command -> module and function (or commands of its own), in the order of --help.
COMMANDS = {
    "run": "daemon.run",
    "tail": "tail.tail",
    "status": "status.status",
    "holes": "holes.holes",
    "faults": "faults.faults",
    "backfill": "backfill.backfill",
    "redecode": "redecode.redecode",
    "audit": "audit.audit_slots",
    "decode": "decode.decode",
    "record": "captures.record",
    "replay": "captures.replay",
    "ingest": "daemon.ingest",
    "export": "export.export",
    "migrate": "database.migrate",
    "db": "db.db",
    "check-config": "checks.check_config",
    "install-units": "units.install_units",
    "simulate": "simulate.simulate",
    "version": "version.version",
}


class _InOrder(TyperGroup):
    """Lists commands as COMMANDS does, whether they have commands of their own or not."""

    def list_commands(self, ctx: Any) -> list[str]:
        """Return those that were added."""
        return sorted(super().list_commands(ctx), key=[*COMMANDS].index)


def build(only: str | None = None) -> typer.Typer:
    """Return the command line, with every command, or with the one of that name if there is one."""
    app = typer.Typer(
        name="launch-monitor",
        cls=_InOrder,
        help=_HELP,
        no_args_is_help=True,
        add_completion=False,
        rich_markup_mode="markdown",
        pretty_exceptions_enable=False,
        callback=_root,
    )
    for name in [only] if only in COMMANDS else COMMANDS:
        module, _, member = COMMANDS[name].partition(".")
        found = getattr(importlib.import_module(f"monitor.cli.{module}"), member)
        if isinstance(found, typer.Typer):
            app.add_typer(found, name=name)
        else:
            app.command(name)(found)
    return app


def _tell_version(is_wanted: bool) -> None:
    if is_wanted:
        tell(f"launch-monitor {installed('launch-monitor')}")
        raise typer.Exit


def _root(
    version: Annotated[
        bool, typer.Option("--version", callback=_tell_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    """Let commands speak for themselves: of the parts below them only what went wrong is logged."""
    del version
    from monitor import log  # noqa: PLC0415 - not for --help

    log.setup("warning", "auto")
