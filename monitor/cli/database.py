"""`migrate`: the database's schema, brought up to this program's."""

from typing import Annotated

import typer

from monitor import log
from monitor.cli import servers
from monitor.cli.loop import finish
from monitor.cli.options import ConfigFile, read_config
from monitor.cli.say import tell
from monitor.config import Config, redact_url
from monitor.errors import ConfigError
from monitor.store.store import Store


def migrate(
    check: Annotated[bool, typer.Option("--check", help="Change nothing; exit 78 if something is to be done.")] = False,
    config: ConfigFile = None,
) -> None:
    """
    Bring the database's schema up to date. Once is enough, twice does no harm.

    The embedded database needs none of this: the daemon does it at its start.
    """
    settings = read_config(config)
    log.setup(settings.log.level, settings.log.format)
    finish(_migrate(settings, check=check))


async def _migrate(config: Config, *, check: bool) -> None:
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
        if not check:
            for step in await store.migrate():
                tell(f"applied {step.number:04}_{step.name}")
        tell(f"{redact_url(url)}: the schema is up to date (edition {await store.check()})")
