"""Where the files that travel with the program are: beside the package in a clone, inside it when installed."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

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
