"""The commands under one name, and what becomes of their errors."""

from __future__ import annotations

import typer

from monitor import log
from monitor.cli import captures, checks, daemon, database, decode, simulate, status, tail, units, version

_HELP = """
Follow Solana launchpads: every launch, trade and graduation becomes a row in PostgreSQL.

`launch-monitor run` needs nothing else: it brings its own database and, without an endpoint, a simulated market.
"""

app = typer.Typer(
    name="launch-monitor",
    help=_HELP,
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode="rich",
    pretty_exceptions_enable=False,
)


@app.callback()
def _root() -> None:
    """Let commands speak for themselves: of the parts below them only what went wrong is logged."""
    log.setup("warning", "auto")


app.command("run")(daemon.run)
app.command("ingest")(daemon.ingest)
app.command("tail")(tail.tail)
app.command("decode")(decode.decode)
app.command("record")(captures.record)
app.command("replay")(captures.replay)
app.command("status")(status.status)
app.command("migrate")(database.migrate)
app.command("check-config")(checks.check_config)
app.command("simulate")(simulate.simulate)
app.command("install-units")(units.install_units)
app.command("version")(version.version)
