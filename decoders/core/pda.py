"""Program-derived addresses of pools and curves (seeds: PROGRAM source or IDL of each program)."""

from __future__ import annotations

from functools import lru_cache

from solders.pubkey import Pubkey

# Deriving takes some 30 us and each trade of a token asks again; the sizes bound the memory to some tens of MB.
_CACHED = 1 << 17


@lru_cache(maxsize=_CACHED)
def derive(program: str, *seeds: str | bytes) -> str:
    """Return the address derived from seeds; a `str` seed is a base58 key, `bytes` stand for themselves."""
    raw = [bytes(Pubkey.from_string(seed)) if isinstance(seed, str) else seed for seed in seeds]
    return str(Pubkey.find_program_address(raw, Pubkey.from_string(program))[0])
