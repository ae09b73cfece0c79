"""Names for launched tokens."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from random import Random

_FIRST = (
    "Baby", "Mega", "Tiny", "Turbo", "Based", "Lazy", "Golden", "Pixel", "Cosmic", "Quantum", "Sleepy", "Angry",
    "Frozen", "Electric", "Velvet", "Neon", "Grumpy", "Lucky", "Royal", "Feral", "Silent", "Disco", "Rusty", "Holy",
)  # fmt: skip
_SECOND = (
    "Doge", "Pepe", "Otter", "Whale", "Goblin", "Toaster", "Pigeon", "Llama", "Moon", "Frog", "Badger", "Wizard",
    "Pancake", "Kraken", "Hamster", "Walrus", "Cactus", "Potato", "Unicorn", "Raccoon", "Penguin", "Moose", "Ghost",
    "Kätzchen", "太阳", "🚀",
)  # fmt: skip


def words(rng: Random, host: str) -> tuple[str, str, str]:
    """Return (name, symbol, uri) of a token."""
    first, second = rng.choice(_FIRST), rng.choice(_SECOND)
    symbol = (first[:2] + second[:3]).upper() if rng.random() < 0.5 else second.upper()[:8]
    return f"{first} {second}", symbol, f"https://{host}/{rng.getrandbits(64):016x}.json"
