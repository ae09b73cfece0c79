"""What the C library does with memory that was freed."""

from __future__ import annotations

import ctypes

# From glibc's malloc.h.
_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD, _M_ARENA_MAX = -1, -3, -8
_LARGE_BYTES = 128 << 10
_ARENAS = 2


def give_back() -> bool:
    """
    Have blocks of 128 KiB and more given back to the system as soon as they are freed; return whether that can be had.

    By itself glibc raises that bound to the largest block that was ever freed. Answers of some megabytes then end
    between small blocks, and what they leave stays with a daemon for good.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is None:
        return False
    told = ((_M_MMAP_THRESHOLD, _LARGE_BYTES), (_M_TRIM_THRESHOLD, _LARGE_BYTES), (_M_ARENA_MAX, _ARENAS))
    done = [mallopt(option, value) for option, value in told]
    return all(done)
