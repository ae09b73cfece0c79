"""What all venues share: balances, keys, programs, and addresses that are derived once."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from simulator import keys
from simulator.bank import Bank, Mint
from simulator.data import read_idl
from simulator.ledger import Ledger
from simulator.programs import Program

if TYPE_CHECKING:
    from collections.abc import Callable

STABLE_DECIMALS = 6
PUMP_KEY = keys.key("6EF8rrecthR5Dkzon8Nwu78hRvfCKubJ14M5uBEwF6P")
PUMPSWAP_KEY = keys.key("pAMMBay6oceH9fJKBRHGP5D4bD4sWpmSwMn52FMfXEA")


class Recipients(NamedTuple):
    """Who gets the pump programs' fees."""

    protocol: bytes
    buyback: bytes


class World:
    """The chain's state outside the curves and pools themselves."""

    def __init__(self, seed: int, idl: Callable[[str], bytes] = read_idl) -> None:
        self.keys = keys.Keys(seed)
        self.bank = Bank()
        for stable in (keys.USDC, keys.USD1):
            self.bank.mints[stable] = Mint(STABLE_DECIMALS, keys.TOKEN, 0)
        self.ledger = Ledger(self.bank)
        self.fees = Recipients(self.keys.key("protocol fees"), self.keys.key("buyback fees"))
        fee_configs = [keys.pda(keys.PUMP_FEES, b"fee_config", program) for program in (PUMP_KEY, PUMPSWAP_KEY)]
        swap_config = keys.pda(PUMPSWAP_KEY, b"global_config")
        swap_authority = keys.pda(PUMPSWAP_KEY, b"__event_authority")
        self.pumpfun = Program(
            idl("pumpfun"),
            {
                "global": keys.pda(PUMP_KEY, b"global"),
                "fee_config": fee_configs[0],
                "global_volume_accumulator": keys.pda(PUMP_KEY, b"global_volume_accumulator"),
                "mint_authority": keys.pda(PUMP_KEY, b"mint-authority"),
                "withdraw_authority": keys.WITHDRAW_AUTHORITY,
                "pump_amm": PUMPSWAP_KEY,
                "amm_global_config": swap_config,
                "pump_amm_event_authority": swap_authority,
                "mayhem_program_id": keys.MAYHEM,
                "global_params": keys.pda(keys.MAYHEM, b"global-params"),
                "sol_vault": keys.pda(keys.MAYHEM, b"sol-vault"),
            },
        )
        self.pumpswap = Program(
            idl("pumpswap"),
            {
                "global_config": swap_config,
                "fee_config": fee_configs[1],
                "global_volume_accumulator": keys.pda(PUMPSWAP_KEY, b"global_volume_accumulator"),
            },
        )
        self.launchpad = Program(idl("raydium_launchpad"))
        self.cpmm = Program(idl("raydium_cpmm"))
        self._atas: dict[tuple[bytes, bytes], bytes] = {}
        self._pdas: dict[tuple[bytes, ...], bytes] = {}

    def token_program(self, mint: bytes) -> bytes:
        """Return the token program of a mint."""
        return self.bank.mints[mint].program

    def ata(self, owner: bytes, mint: bytes) -> bytes:
        """Return the owner's associated token account of a mint, derived once."""
        found = self._atas.get((owner, mint))
        if found is None:
            found = self._atas[owner, mint] = keys.ata(owner, mint, self.token_program(mint))
        return found

    def pda(self, program: bytes, *seeds: bytes) -> bytes:
        """Return a program derived address, derived once."""
        found = self._pdas.get((program, *seeds))
        if found is None:
            found = self._pdas[program, *seeds] = keys.pda(program, *seeds)
        return found
