"""One question about the daemon, and its answer: what readiness, liveness and metrics tell alike."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Check:
    """An answer in words; `is_ok` says whether it is the one that was hoped for."""

    name: str
    is_ok: bool
    reason: str
