"""Base58 of the Bitcoin alphabet, as Solana writes addresses, signatures and instruction data."""

from __future__ import annotations

import struct

from solders.pubkey import Pubkey
from solders.signature import Signature

ALPHABET = "123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz"

_BAD = 255
_DIGIT_OF_BYTE = bytes(ALPHABET.encode().find(byte) if byte in ALPHABET.encode() else _BAD for byte in range(256))
_PAIRS = [first + second for first in ALPHABET for second in ALPHABET]
_CHUNK_DIGITS = 8
_CHUNK = 58**_CHUNK_DIGITS
_PUBKEY_BYTES, _SIGNATURE_BYTES = 32, 64
_PUBKEY_DIGITS, _SIGNATURE_DIGITS = range(32, 45), range(64, 89)


def encode(data: bytes) -> str:
    """Return `data` as base58 text."""
    if len(data) == _PUBKEY_BYTES:
        return str(Pubkey(data))
    if len(data) == _SIGNATURE_BYTES:
        return str(Signature(data))
    zeros = len(data) - len(data.lstrip(b"\0"))
    return "1" * zeros + _digits(int.from_bytes(data, "big"))


def decode(text: str) -> bytes:
    """
    Return the bytes that base58 `text` stands for.

    Raises:
        ValueError: If a character is not in the alphabet.
    """
    try:
        if len(text) in _PUBKEY_DIGITS:
            return bytes(Pubkey.from_string(text))
        if len(text) in _SIGNATURE_DIGITS:
            return bytes(Signature.from_string(text))
    except ValueError:
        pass  # another length of bytes, or bad characters, which are told apart below
    return _decode_any(text)


def _decode_any(text: str) -> bytes:
    digits = text.encode("ascii").translate(_DIGIT_OF_BYTE)  # UnicodeEncodeError is a ValueError
    if _BAD in digits:
        at = digits.index(_BAD)
        raise ValueError(f"not base58: {text[at]!r} at {at}")
    zeros = len(digits) - len(digits.lstrip(b"\0"))
    value = _value(digits)
    return bytes(zeros) + value.to_bytes((value.bit_length() + 7) // 8, "big")


def _value(digits: bytes) -> int:
    """Return the number that base 58 `digits` (one per byte) write."""
    padded = digits.rjust(-(-len(digits) // _CHUNK_DIGITS) * _CHUNK_DIGITS, b"\0")
    value = 0
    for chunk in _chunks(padded):
        value = value * _CHUNK + chunk
    return value


def _chunks(digits: bytes) -> tuple[int, ...]:
    """
    Return the values of every eight digits.

    All chunks are worked on at once, as lanes of one long integer: neighbours are joined three times (base 58, 58^2,
    58^4), and no lane overflows since 58^n < 256^n.
    """
    size = len(digits)
    lanes = int.from_bytes(digits, "big")
    for width, base in ((1, 58), (2, 58**2), (4, 58**4)):
        low = int.from_bytes((bytes(width) + b"\xff" * width) * (size // (2 * width)), "big")
        lanes = ((lanes >> (8 * width)) & low) * base + (lanes & low)
    return struct.unpack(f">{size // _CHUNK_DIGITS}Q", lanes.to_bytes(size, "big"))


def _digits(value: int) -> str:
    """Return a number in base 58 without leading zero digits ("" for 0)."""
    chunks: list[str] = []
    while value:
        value, chunk = divmod(value, _CHUNK)
        chunk, fourth = divmod(chunk, 3364)
        chunk, third = divmod(chunk, 3364)
        first, second = divmod(chunk, 3364)
        chunks.append(_PAIRS[first] + _PAIRS[second] + _PAIRS[third] + _PAIRS[fourth])
    return "".join(reversed(chunks)).lstrip("1")
