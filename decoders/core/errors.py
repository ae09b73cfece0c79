"""
Errors of the decoders.

    DecodeError(ValueError)
    ├── IdlError        an IDL file is malformed, or lacks what a pad needs from it
    └── LayoutError     bytes do not follow the layout they claim
        └── AmountError     an amount is none, or no BIGINT holds it
"""


class DecodeError(ValueError):
    """Anything wrong with what decoders were given."""


class IdlError(DecodeError):
    """An IDL file is malformed, or lacks an event, instruction or field that a pad needs."""


class LayoutError(DecodeError):
    """Bytes do not follow the layout they claim: too short inside a field, a bad tag, text that is no UTF-8."""


class AmountError(LayoutError):
    """An amount is negative, or beyond 2^63-1. What the bytes say besides can be relied on."""
