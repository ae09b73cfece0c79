"""How lively the market is: shares of what happens, all in one place."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Mix:
    """
    Shares of transactions (0 to 1) by kind; what they leave is plain trading.

    `runner` is the share of trades that go to the token which is on its way to graduation, `pools` that of trades on
    graduated tokens; `lab` the share of LaunchLab among launches, `stable` that of stable-coin quotes.
    """

    launch: float = 0.012
    bundle: float = 0.03
    failed: float = 0.06
    noise: float = 0.05
    forged: float = 0.01
    chatty: float = 0.008
    sweep: float = 0.003
    boost: float = 0.004
    routed: float = 0.15
    runner: float = 0.08
    pools: float = 0.35
    lab: float = 0.3
    stable: float = 0.1
    wallets: int = 4_000
