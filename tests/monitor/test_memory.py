"""Large blocks that were freed are the system's again, whatever small ones lie between them."""

from __future__ import annotations

import subprocess
import sys

import pytest

_LEAVES = """
import sys
from monitor import memory

def resident_mib():
    pages = int(open("/proc/self/statm").read().split()[1])
    return pages * 4096 >> 20

if sys.argv[1] == "gives":
    assert memory.give_back()
bytes(30 << 20)  # from now on blocks up to that size are taken from the heap by default
small, large = [], []
for _ in range(100):
    large.append(bytes([1]) * (1 << 20))
    small.append(bytes([2]) * 4096)
before = resident_mib()
large.clear()
print(before - resident_mib())
"""


@pytest.mark.parametrize(("how", "least", "most"), [("gives", 95, 105), ("keeps", 0, 20)])
def test_what_is_freed_is_given_back(how: str, least: int, most: int) -> None:
    """Of a hundred blocks of a MiB with small ones between them; the other case shows that glibc alone keeps them."""
    if not sys.platform.startswith("linux"):
        pytest.skip("of glibc")
    ran = subprocess.run([sys.executable, "-c", _LEAVES, how], capture_output=True, text=True, check=True)
    assert least <= int(ran.stdout) <= most
