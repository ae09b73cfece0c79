"""`migrate`: the database's schema, brought up to this program's."""

from typing import Annotated, Literal

import typer

from monitor import log
from monitor.cli import servers
from monitor.cli.loop import finish
from monitor.cli.options import ConfigFile, read_config
from monitor.cli.say import tell
from monitor.config import Config, redact_url
from monitor.errors import ConfigError, UsageError
from monitor.store.store import Store
from monitor.upkeep import arrange


def migrate(
    check: Annotated[bool, typer.Option("--check", help="Change nothing; exit 78 if something is to be done.")] = False,
    to_timescale: Annotated[
        bool,
        typer.Option(
            "--to-timescale",
            help="Make the schema one of TimescaleDB and keep every row; no daemon may write. Cut short, run it again.",
        ),
    ] = False,
    plain: Annotated[
        bool, typer.Option("--plain", help="Make a new schema without TimescaleDB, though the server has it.")
    ] = False,
    config: ConfigFile = None,
) -> None:
    """
    Bring the database's schema up to date. Once is enough, twice does no harm.

    The embedded database needs none of this: the daemon does it at its start.
    """
    if check + to_timescale + plain > 1:
        raise UsageError("--check, --to-timescale and --plain exclude each other", mend="give one of them")
    settings = read_config(config)
    log.setup(settings.log.level, settings.log.format)
    finish(_migrate(settings, "nothing" if check else "move" if to_timescale else "plain" if plain else "steps"))


async def _migrate(config: Config, what: Literal["nothing", "steps", "plain", "move"]) -> None:
    url = servers.find(config).database_url
    if url is None:
        raise ConfigError(
            "database.url is not set, and no daemon with an embedded database runs",
            mend="set database.url; the embedded database is migrated whenever the daemon starts",
        )
    database = config.database
    opened = await Store.open(
        url, connect_timeout_s=database.connect_timeout_s, command_timeout_s=database.command_timeout_s
    )
    async with opened as store:
        match what:
            case "move":
                await store.migrate_to_timescale(tell)
                await arrange(store, config)
            case "steps" | "plain":
                for step in await store.migrate("plain" if what == "plain" else None):
                    tell(f"applied {step.number:04}_{step.name}")
                await arrange(store, config)
            case "nothing":
                pass
        tell(f"{redact_url(url)}: the schema is up to date (edition {await store.check()})")
