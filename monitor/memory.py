"""What the C library does with memory that was freed."""

from __future__ import annotations

import asyncio
import ctypes
from typing import Any

# From glibc's malloc.h.
_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD, _M_ARENA_MAX = -1, -3, -8
_LARGE_BYTES = 128 << 10
_ARENAS = 2
_TRIM_EVERY_S = 30.0


def give_back() -> bool:
    """
    Have blocks of 128 KiB and more given back to the system as soon as they are freed; return whether that can be had.

    By itself glibc raises that bound to the largest block that was ever freed. Answers of some megabytes then end
    between small blocks, and what they leave stays with a daemon for good.
    """
    mallopt = _of_c("mallopt")
    if mallopt is None:
        return False
    told = ((_M_MMAP_THRESHOLD, _LARGE_BYTES), (_M_TRIM_THRESHOLD, _LARGE_BYTES), (_M_ARENA_MAX, _ARENAS))
    done = [mallopt(option, value) for option, value in told]
    return all(done)


def trim() -> None:
    """
    Give back whole pages that lie free between smaller blocks, which glibc never does by itself; some milliseconds.

    Where the C library is another one, nothing is done.
    """
    malloc_trim = _of_c("malloc_trim")
    if malloc_trim is not None:
        malloc_trim(0)


async def keep_trim(every_s: float = _TRIM_EVERY_S) -> None:
    """Trim now and then, until cancelled."""
    while True:
        await asyncio.sleep(every_s)
        trim()


def _of_c(name: str) -> Any:
    return getattr(ctypes.CDLL(None), name, None)
