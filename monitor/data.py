"""Where the files that travel with the program are: beside the package in a clone, inside it when installed."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from collections.abc import Callable

DataName = Literal["idl", "migrations", "systemd"]

_PACKAGE = Path(__file__).resolve().parent


def data_dir(name: DataName) -> Path:
    """
    Return the folder of that name; nothing else in the program knows where it lies.

    Raises:
        FileNotFoundError: If this is neither a clone nor a whole installation.
    """
    candidates = (_PACKAGE / "_data" / name, _PACKAGE.parent / name)
    for candidate in candidates:
        if candidate.is_dir():
            return candidate
    raise FileNotFoundError(f"no folder {name!r} beside the program: looked for {candidates[0]} and {candidates[1]}")


def idls_in(folder: Path) -> Callable[[str], list[tuple[str, bytes]]]:
    """
    Return how to read the IDL files of a program's name: `<name>.json`, then `<name>.<anything>.json`.

    What it returns raises OSError, also if the first is missing.
    """

    def read(name: str) -> list[tuple[str, bytes]]:
        files = [folder / f"{name}.json", *sorted(folder.glob(f"{name}.*.json"))]
        return [(file.name, file.read_bytes()) for file in files]

    return read
