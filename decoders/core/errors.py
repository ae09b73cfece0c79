"""
Errors of the decoders.

    DecodeError(ValueError)
    ├── IdlError        an IDL file is malformed, or lacks what a pad needs from it
    └── LayoutError     bytes do not follow the layout they claim
"""


class DecodeError(ValueError):
    """Anything wrong with what decoders were given."""


class IdlError(DecodeError):
    """An IDL file is malformed, or lacks an event, instruction or field that a pad needs."""


class LayoutError(DecodeError):
    """Bytes do not follow the layout they claim: too short inside a field, a bad tag, text that is no UTF-8."""
