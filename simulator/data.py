"""Finds the IDL files, in a source tree as in an installed wheel."""

from __future__ import annotations

from pathlib import Path


def read_idl(name: str) -> bytes:
    """
    Return the IDL file of a decoder's name.

    Raises:
        FileNotFoundError: If neither place has it.
    """
    root = Path(__file__).resolve().parent.parent
    places = [root / "idl" / f"{name}.json", root / "monitor" / "_data" / "idl" / f"{name}.json"]
    for place in places:
        if place.is_file():
            return place.read_bytes()
    raise FileNotFoundError(f"idl/{name}.json is in none of {', '.join(str(place.parent) for place in places)}")
