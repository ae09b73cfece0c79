"""Addresses of the simulated chain: the real programs' own, true PDAs, and keys drawn from a seed."""

from __future__ import annotations

from functools import lru_cache
from hashlib import sha256, sha512

from solders.pubkey import Pubkey

_BASE58 = "123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz"


def key(text: str) -> bytes:
    """Return the 32 bytes of a base58 address."""
    return bytes(Pubkey.from_string(text))


@lru_cache(maxsize=1 << 17)
def text(address: bytes) -> str:
    """Return an address as base58."""
    return str(Pubkey(address))


def pda(program: bytes, *seeds: bytes) -> bytes:
    """Return the program derived address of `seeds`."""
    return bytes(Pubkey.find_program_address(list(seeds), Pubkey(program))[0])


def pda_bump(program: bytes, *seeds: bytes) -> tuple[bytes, int]:
    """Return the program derived address of `seeds` with its bump."""
    found, bump = Pubkey.find_program_address(list(seeds), Pubkey(program))
    return bytes(found), bump


ZERO = bytes(32)
SYSTEM = ZERO
TOKEN = key("TokenkegQfeZyiNwAJbNbGKPFXCWuBvf9Ss623VQ5DA")
TOKEN_2022 = key("TokenzQdBNbLqP5VEhdkAS6EPFLC1PHnBqCXEpPxuEb")
ATA_PROGRAM = key("ATokenGPvbdGVxr1b2hvZbsiqW5xWH25efTNsLJA8knL")
COMPUTE_BUDGET = key("ComputeBudget111111111111111111111111111111")
METADATA = key("metaqbxxUerdq28cj1RbAWkYQm3ybzjb6a8bt518x1s")
RENT = key("SysvarRent111111111111111111111111111111111")
WSOL = key("So11111111111111111111111111111111111111112")
USDC = key("EPjFWdd5AufqSSqeM2qN1xzybapC8G4wEGGkZwyTDt1v")
USD1 = key("USD1ttGY1N17NEEHLmELoaybftRBUSErhqYiQzvEmuB")

PUMP_FEES = key("pfeeUxB6jkeY1Hxd7CsFCAjcbHA9rWtchMGdZ6VojVZ")
MAYHEM = key("MAyhSmzXzV1pTf7LsNkrNwkWKTo4ougAJ1PPg47MD4e")
WITHDRAW_AUTHORITY = key("39azUYFWPz3VHgKCf3VChUwbpURdCHRxjWVowf5jUJjg")
KEEPER = key("9C4nRvhhVquCKATjDCx5FKvNS9PNgNqgyWy9AcoDjYv5")
CPMM_WALLET = key("RAYpQbFNq9i3mu6cKpTKKRwwHFDeK5AuZz8xvxUrCgw")
CPMM_POOL_FEE = key("DNXgeM9EiiaAbaWvwjHj9fQQLAX5ZsfHyvmYUNRAdNC8")
LP_LOCK = key("LockrWmn6K5twhz3y9w1dQERbmgSaRkfnTeTKbpofwE")


def ata(owner: bytes, mint: bytes, token_program: bytes) -> bytes:
    """Return the owner's associated token account."""
    return pda(ATA_PROGRAM, owner, token_program, mint)


class Keys:
    """Keys and signatures drawn from a seed: the same seed and order give the same ones."""

    def __init__(self, seed: int) -> None:
        self._seed = str(seed).encode()
        self._signatures = 0

    def key(self, *labels: object) -> bytes:
        """Return the key of a label."""
        return sha256(b"/".join([self._seed, *[str(label).encode() for label in labels]])).digest()

    def vanity(self, ending: str, *labels: object) -> bytes:
        """Return the key of a label whose base58 text ends with `ending`, as launchpads grind them."""
        modulus = 58 ** len(ending)
        last = 0
        for letter in ending:
            last = last * 58 + _BASE58.index(letter)
        number = int.from_bytes(self.key(*labels), "big")
        return int(number - number % modulus + last).to_bytes(32, "big")

    @property
    def drawn(self) -> int:
        """Return how many signatures were drawn: the number of the last one."""
        return self._signatures

    def skip_to(self, number: int) -> None:
        """Draw no signature up to this number any more."""
        self._signatures = max(self._signatures, number)

    def signature(self, number: int | None = None) -> bytes:
        """Return the next transaction's signature, or that of a number drawn before."""
        if number is None:
            self._signatures += 1
            number = self._signatures
        return sha512(b"%s/signature/%d" % (self._seed, number)).digest()
