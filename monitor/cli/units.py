"""`install-units`: the systemd units for this very installation."""

from pathlib import Path
from typing import Annotated

import typer

from monitor import install
from monitor.cli.say import tell


def install_units(
    root: Annotated[
        Path, typer.Option(file_okay=False, help="Install below this folder: to prepare an image or a package.")
    ] = Path("/"),
    config: Annotated[
        Path, typer.Option("--config", "-c", dir_okay=False, help="The configuration file that the units name.")
    ] = install.CONFIG,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Print the units, and write nothing.")] = False,
) -> None:
    """
    Install the systemd units of the daemon and of its migrations.

    Existing settings and secrets are kept. Afterwards: systemctl enable --now launch-monitor-ingest
    """
    for line in install.install(root=root, config=config, dry_run=dry_run):
        tell(line)
