"""What was freed is the system's again, whatever lies between."""

from __future__ import annotations

import subprocess
import sys

import pytest

pytestmark = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="of glibc")

_HEAD = """
import sys
from monitor import memory

def resident_mib():
    return int(open("/proc/self/statm").read().split()[1]) * 4096 >> 20
"""
_LARGE = """
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
_SMALL = """
blocks = [bytes([1]) * 8000 for _ in range(12_500)]
before, kept = resident_mib(), blocks[::50]
del blocks
if sys.argv[1] == "gives":
    memory.trim()
print(before - resident_mib())
"""


def given_back_mib(program: str, how: str) -> int:
    """Run a program that frees 100 MiB, and return by how much its memory is less then."""
    ran = subprocess.run([sys.executable, "-c", _HEAD + program, how], capture_output=True, text=True, check=True)
    return int(ran.stdout)


@pytest.mark.parametrize(("how", "least", "most"), [("gives", 95, 105), ("keeps", 0, 20)])
def test_large_blocks_are_given_back(how: str, least: int, most: int) -> None:
    """Of a hundred blocks of a MiB with small ones between them; the other case shows that glibc alone keeps them."""
    assert least <= given_back_mib(_LARGE, how) <= most


@pytest.mark.parametrize(("how", "least", "most"), [("gives", 80, 100), ("keeps", 0, 20)])
def test_trimming_gives_free_pages_back(how: str, least: int, most: int) -> None:
    """Of 8 KB blocks of which one in fifty is in use; the other case shows that glibc alone keeps them."""
    assert least <= given_back_mib(_SMALL, how) <= most
