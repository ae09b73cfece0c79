"""Base58 against a model that works digit by digit."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from decoders.core import base58

SPECIAL_LENGTHS = st.sampled_from([0, 1, 7, 8, 31, 32, 33, 63, 64, 65, 366, 1200])


def model_encode(data: bytes) -> str:
    """Divide by 58 until nothing is left; each leading zero byte is a 1."""
    value, text = int.from_bytes(data, "big"), ""
    while value:
        value, digit = divmod(value, 58)
        text = base58.ALPHABET[digit] + text
    return "1" * (len(data) - len(data.lstrip(b"\0"))) + text


def model_decode(text: str) -> bytes:
    """Multiply by 58 and add, one digit after the other."""
    value = 0
    for character in text:
        value = value * 58 + base58.ALPHABET.index(character)
    zeros = len(text) - len(text.lstrip("1"))
    return bytes(zeros) + value.to_bytes((value.bit_length() + 7) // 8, "big")


@given(st.binary(max_size=200) | SPECIAL_LENGTHS.flatmap(lambda size: st.binary(min_size=size, max_size=size)))
def test_bytes_round_trip_and_equal_the_model(data: bytes) -> None:
    """Any bytes come back, and their text is what long division gives."""
    text = base58.encode(data)
    assert text == model_encode(data)
    assert base58.decode(text) == data


@given(st.text(base58.ALPHABET, max_size=200) | st.integers(0, 100).map("1".__mul__))
def test_any_digits_decode_like_the_model(text: str) -> None:
    """Texts of any length are read, those as long as an address or a signature that are neither included."""
    assert base58.decode(text) == model_decode(text)


@given(st.text(max_size=100))
def test_bad_characters_are_value_errors(text: str) -> None:
    """What is not in the alphabet raises ValueError and nothing else."""
    if set(text) <= set(base58.ALPHABET):
        assert base58.decode(text) == model_decode(text)
    else:
        with pytest.raises(ValueError, match=r"base58|ascii"):
            base58.decode(text)


@pytest.mark.parametrize("text", ["0", "abcO", "I" * 44, "l" * 88, "ab cd", "ab\0", "Ä" * 40])
def test_the_alphabet_lacks_look_alikes(text: str) -> None:
    """0, O, I, l and all that is no letter or digit are refused at every length."""
    with pytest.raises(ValueError, match=r"base58|ascii"):
        base58.decode(text)
