"""The pump fee program's part in a trade: it is asked for the rates, and returns them."""

from __future__ import annotations

from base64 import b64encode
from struct import Struct

from simulator import keys
from simulator.calls import Call

_RATES = Struct("<QQQ")
_GET_FEES_WITH_QUOTE_MINT = bytes.fromhex("9aed8a5ca202a2bb")
_NAME = keys.text(keys.PUMP_FEES)


def fee_call(program: bytes, lp: int, protocol: int, creator: int) -> Call:
    """Return the call by which a trade learns its fee rates (bps)."""
    rates = b64encode(_RATES.pack(lp, protocol, creator)).decode()
    data = _GET_FEES_WITH_QUOTE_MINT + bytes(49)
    return Call(
        keys.PUMP_FEES, (_CONFIGS[program], program), (0, 0), data, 3_360,
        "Program log: Instruction: GetFeesWithQuoteMint", f"Program return: {_NAME} {rates}",
    )  # fmt: skip


_CONFIGS = {
    program: keys.pda(keys.PUMP_FEES, b"fee_config", program)
    for program in (
        keys.key("6EF8rrecthR5Dkzon8Nwu78hRvfCKubJ14M5uBEwF6P"),
        keys.key("pAMMBay6oceH9fJKBRHGP5D4bD4sWpmSwMn52FMfXEA"),
    )
}
