"""
A real Solana runtime with RPC and PubSub, offline: surfpool, which npm brings.

Its own habits, seen with 1.5.0: block times are 1000 times too small, getBlock answers an error (-32602), slots start
low, the root trails by 31 slots, and a log notification of a failed transaction says `err: null`.
"""

from __future__ import annotations

import asyncio
import json
import platform
import shutil
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from solana.rpc.async_api import AsyncClient
from solana.rpc.models import TxOpts
from solders.instruction import Instruction
from solders.keypair import Keypair
from solders.message import Message
from solders.pubkey import Pubkey
from solders.signature import Signature
from solders.transaction import Transaction

from tests.e2e import emitter

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence

PACKAGE, VERSION = "@solana/surfpool-linux-x64-gnu", "1.5.0"
FOLDER = Path(__file__).parents[2] / ".cache" / "surfpool"
_STARTER = Path(__file__).with_name("surfpool_node.mjs")
_INSTALL_S, _START_S = 300, 60


@dataclass(frozen=True)
class Node:
    """A running node, on which some programs log what they are told (emitter.py)."""

    http_url: str
    ws_url: str
    payer: Keypair
    client: AsyncClient
    process: asyncio.subprocess.Process

    async def say(self, *said: tuple[str, bytes]) -> str:
        """Let programs (addresses) log bytes, each by an instruction of one transaction; return its signature."""
        instructions = [Instruction(Pubkey.from_string(program), data, []) for program, data in said]
        blockhash = (await self.client.get_latest_blockhash()).value.blockhash
        message = Message.new_with_blockhash(instructions, self.payer.pubkey(), blockhash)
        transaction = Transaction([self.payer], message, blockhash)
        # Without the preflight the same bytes would be run twice.
        sent = await self.client.send_raw_transaction(bytes(transaction), TxOpts(skip_preflight=True))
        return str(sent.value)

    async def kill(self) -> None:
        """End it as by kill -9: it says goodbye to nobody."""
        self.process.kill()
        await self.process.wait()

    async def signatures(self, program: str) -> list[str]:
        """Return every transaction that names a program, oldest first."""
        found = (await self.client.get_signatures_for_address(Pubkey.from_string(program))).value
        return [str(one.signature) for one in reversed(found)]

    async def logs(self, signature: str) -> list[str]:
        """Return the log lines of a transaction, as getTransaction gives them."""
        answer = await self.client.get_transaction(
            Signature.from_string(signature), max_supported_transaction_version=0
        )
        assert answer.value is not None
        meta = answer.value.transaction.meta
        assert meta is not None
        return list(meta.log_messages or ())

    async def slot(self) -> int:
        """Return its newest slot."""
        return int((await self.client.get_slot()).value)


async def install() -> None:
    """Let npm fetch the package, once; skip the test where it cannot be had."""
    if (platform.system(), platform.machine()) != ("Linux", "x86_64"):
        pytest.skip(f"{PACKAGE} runs on Linux on x86-64 alone")
    if shutil.which("npm") is None or shutil.which("node") is None:
        pytest.skip("no npm and node, which bring and run surfpool (Debian: apt install npm)")
    installed = FOLDER / "node_modules" / PACKAGE / "package.json"
    if installed.exists() and json.loads(installed.read_text())["version"] == VERSION:
        return
    FOLDER.mkdir(parents=True, exist_ok=True)
    command = [
        "npm",
        "install",
        "--prefix",
        str(FOLDER),
        "--no-save",
        "--no-audit",
        "--no-fund",
        f"{PACKAGE}@{VERSION}",
    ]
    npm = await asyncio.create_subprocess_exec(
        *command, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT
    )
    async with asyncio.timeout(_INSTALL_S):
        output, _ = await npm.communicate()
    if npm.returncode != 0:
        pytest.fail(f"npm could not install {PACKAGE} {VERSION}: {output.decode()}")


@asynccontextmanager
async def run(folder: Path, programs: Sequence[str], accounts: Sequence[dict[str, Any]] = ()) -> AsyncIterator[Node]:
    """
    Run a node with the emitter at the addresses of `programs`.

    Args:
        folder: For the program's file.
        accounts: Accounts to begin with: address, owner, data (hex).
    """
    await install()
    file = folder / "emitter.so"
    file.write_bytes(emitter.program())
    plan = {"programs": list(programs), "so": str(file), "accounts": list(accounts)}
    process = await asyncio.create_subprocess_exec(
        "node", _STARTER, FOLDER, stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE
    )
    assert process.stdin is not None
    assert process.stdout is not None
    try:
        process.stdin.write(json.dumps(plan).encode() + b"\n")
        async with asyncio.timeout(_START_S):
            line = await process.stdout.readline()
        assert line, "surfpool did not start"
        told = json.loads(line)
        async with AsyncClient(told["rpc"]) as client:
            yield Node(told["rpc"], told["ws"], Keypair.from_bytes(bytes(told["payer"])), client, process)
    finally:
        process.stdin.close()
        async with asyncio.timeout(_START_S):
            await process.wait()
