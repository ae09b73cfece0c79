"""IDL files are found by the name of their program, and files for ranges of slots beside them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from monitor.config import KNOWN_PROGRAMS
from monitor.data import data_dir, idls_in

if TYPE_CHECKING:
    from pathlib import Path


def test_idls(tmp_path: Path) -> None:
    """The plain file comes first, then those beside it; other programs' files are none of them."""
    for name in ("pump.v1.json", "pump.json", "pump.a.b.json", "pumpswap.json", "pump_two.json", "pump.v1.txt"):
        (tmp_path / name).write_text(name)
    found = idls_in(tmp_path)("pump")
    assert found == [(name, name.encode()) for name in ("pump.json", "pump.a.b.json", "pump.v1.json")]
    with pytest.raises(FileNotFoundError):
        idls_in(tmp_path)("other")


def test_programs_are_plain_files() -> None:
    """A file for a range of slots is no program of its own."""
    assert set(KNOWN_PROGRAMS) == {file.name.partition(".")[0] for file in data_dir("idl").glob("*.json")}
