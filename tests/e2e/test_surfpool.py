"""Recorded events, said again by a program on a real Solana runtime, arrive as they did when they were recorded."""

from __future__ import annotations

import asyncio
import contextlib
import json
from base64 import b64decode
from operator import itemgetter
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import pytest
from solders.pubkey import Pubkey

from bench import recorded
from decoders.core.registry import load
from decoders.core.types import TxNotice
from monitor.channel import Channel
from monitor.data import data_dir, idls_in
from monitor.sources.client import ClientLimits, RpcClient
from monitor.sources.endpoint import Endpoint
from monitor.sources.jobs import FetchTransaction, read_result, request_of
from monitor.sources.live import Following, logs_source
from monitor.sources.notices import FeedUp
from tests import mainnet
from tests.e2e import daemon, model, surfpool
from tests.e2e.said import Said, logged
from tests.e2e.watching import Watch, free_port, watching
from tests.proxy import Proxy

if TYPE_CHECKING:
    from pathlib import Path

    from decoders.core.registry import Registry
    from monitor.sources.notices import Notice

pytestmark = [pytest.mark.ci, pytest.mark.slow]

NAMES = ("pumpfun", "pumpswap", "raydium_launchpad")
PROGRAMS = (mainnet.PUMPFUN, mainnet.PUMPSWAP)
WAIT_S = 60
# By 400 ms a slot: some 20 s more than the second life takes.
FAR_SLOT = 120
PROGRESS_IS_SEEN = """
    CREATE TABLE progress_seen (before BIGINT, after BIGINT);
    CREATE FUNCTION see_progress() RETURNS trigger LANGUAGE plpgsql
        AS $$ BEGIN INSERT INTO progress_seen VALUES (OLD.slot, NEW.slot); RETURN NULL; END $$;
    CREATE TRIGGER see_progress AFTER UPDATE ON feeds FOR EACH ROW EXECUTE FUNCTION see_progress()
"""


@pytest.fixture(scope="module")
def registry() -> Registry:
    """Return the decoders."""
    return load(NAMES, idls_in(data_dir("idl")))


async def test_the_runtime_gives_recorded_events_by_subscription_and_by_transaction(
    registry: Registry, tmp_path: Path
) -> None:
    """Event bytes come unchanged in a log notification, and the whole transaction gives the same facts."""
    mainnet.require()
    events = [event for event in recorded.events(frozenset(PROGRAMS)) if event.program == mainnet.PUMPFUN]
    async with surfpool.run(tmp_path, PROGRAMS) as node, asyncio.timeout(WAIT_S), asyncio.TaskGroup() as tasks:
        heard: Channel[Notice] = Channel(1000, "heard")
        source = logs_source(Following(Endpoint(node.ws_url), frozenset(PROGRAMS)))
        following = tasks.create_task(source.run(heard))
        while not isinstance(await heard.get(), FeedUp):
            pass
        sent = {await node.say((event.program, event.data)): event for event in events}
        notices = await transactions(heard, len(sent))
        following.cancel()
        async with RpcClient(Endpoint(node.http_url), ClientLimits(rate_per_s=1000)) as client:
            for notice in notices:
                job = FetchTransaction(notice.signature, notice.slot)
                answer = await client.call(request_of(job, "confirmed"))
                [whole] = read_result(job, answer.result, registry.followed)
                assert isinstance(whole, TxNotice)
                facts = registry.decode(notice, {}).facts
                assert [fact.record for fact in facts] == [fact.record for fact in registry.decode(whole, {}).facts]
                assert facts
    assert {notice.signature for notice in notices} == set(sent)


async def transactions(heard: Channel[Notice], count: int) -> list[TxNotice]:
    """Return the next transactions heard of."""
    found: list[TxNotice] = []
    while len(found) < count:
        notice = await heard.get()
        if isinstance(notice, TxNotice):
            found.append(notice)
    return found


async def test_events_said_again_on_the_runtime_become_rows(program: Path, database_url: str, tmp_path: Path) -> None:
    """
    Trades, launches, a completion and graduations are stored as their bytes say, once, in the order of the chain.

    A pool that no event told of is looked up on the node. (LaunchLab has no place here: its events tell no time, and
    this node's block times are wrong.)
    """
    mainnet.require()
    accounts = json.loads((mainnet.FOLDER / "accounts" / "accounts.json").read_text())
    [pool] = [account for account in accounts if account["name"] == "pumpswap_pool_boosted"]
    events = [Said("", event.program, event.data) for event in recorded.events(frozenset(PROGRAMS))]
    pools = model.pools_created(events) | {pool["address"]: mints_of(b64decode(pool["data_base64"]))}
    groups = [*pairs(tellable(events, pools)), [completion(events), swap_creation(events)]]
    begin = {"address": pool["address"], "owner": pool["owner"], "data": b64decode(pool["data_base64"]).hex()}
    async with surfpool.run(tmp_path, PROGRAMS, [begin]) as node:
        settings = {
            "node.ws_url": node.ws_url,
            "node.http_url": node.http_url,
            "programs": "pumpfun,pumpswap",
            "pumpswap.pools": "all",
            "database.url": database_url,
            "metrics.listen": "",
            "start": "now",
        }
        await daemon.command(program, settings, "migrate")
        async with daemon.commits(database_url) as commits:
            async with daemon.ingest(program, tmp_path, settings):
                said = [event for group in groups for event in await say(node, group)]
                trades = model.trades(said, pools)
                await commits.until("SELECT count(*) FROM transactions", len(trades).__le__)
                wanted = len(model.graduations(said))
                await commits.until("SELECT count(graduated_at) FROM tokens", wanted.__le__)
            assert await commits.rows(model.TRADES) == trades
            assert await commits.rows(model.LAUNCHES) == model.launches(said)
            assert await commits.rows(model.GRADUATIONS) == model.graduations(said)
            assert await commits.rows(model.COMPLETIONS) == model.completions(said)
            assert await commits.rows("SELECT signature, reason FROM holes") == []
            assert await commits.rows("SELECT signature, reason FROM faults") == []


async def test_a_node_that_is_killed_and_begins_anew_is_followed_and_progress_never_moves_back(
    program: Path, database_url: str, tmp_path: Path
) -> None:
    """
    The rows are the union of both lives, as the node tells of them itself.

    The second life's slots begin low again, behind our progress: what is told there is stored, progress stays.
    """
    mainnet.require()
    told = [Said("", event.program, event.data) for event in recorded.events(frozenset({mainnet.PUMPFUN}))]
    events = [event for event in told if model.trades([event], {})]
    async with contextlib.AsyncExitStack() as stack:
        first = await stack.enter_async_context(surfpool.run(tmp_path, PROGRAMS))
        http, ws = [await stack.enter_async_context(proxy_of(url)) for url in (first.http_url, first.ws_url)]
        port = free_port()
        settings = {
            "node.ws_url": f"ws://127.0.0.1:{ws.port}",
            "node.http_url": f"http://127.0.0.1:{http.port}",
            "programs": "pumpfun",
            "database.url": database_url,
            "metrics.listen": f"127.0.0.1:{port}",
            "start": "now",
        }
        await daemon.command(program, settings, "migrate")
        commits = await stack.enter_async_context(daemon.commits(database_url))
        await commits.connection.execute(PROGRESS_IS_SEEN)
        process = await stack.enter_async_context(daemon.ingest(program, tmp_path, settings))
        watch = await stack.enter_async_context(watching(Watch(process.pid, port, every_s=0.2)))
        for event in events:
            await say(first, [event])
        await watch.until(lambda sample: sample.highest("slot_progress") > FAR_SLOT)
        true = await trades_of(first)
        await commits.until("SELECT count(*) FROM transactions", len(true).__le__)
        far = await commits.connection.fetchval("SELECT max(slot) FROM feeds")
        await first.kill()
        second = await stack.enter_async_context(surfpool.run(tmp_path, PROGRAMS))
        for proxy, url in ((http, second.http_url), (ws, second.ws_url)):
            proxy.aim(*address(url))
        await watch.until(lambda sample: sample.page["feed_connects_total"] >= 2)
        for event in events:
            await say(second, [event])
        await commits.until("SELECT count(*) FROM transactions", (2 * len(events)).__le__)
        again = await trades_of(second)
        assert await second.slot() < far
        assert len(true) == len(again) == len(events) > 0
        assert by_identity(await commits.rows(model.TRADES)) == by_identity([*true, *again])
        assert await commits.rows("SELECT before, after FROM progress_seen WHERE after < before") == []
        assert await commits.connection.fetchval("SELECT max(slot) FROM feeds") == far


def proxy_of(url: str) -> Proxy:
    """Return a proxy before a server."""
    return Proxy(*address(url))


def address(url: str) -> tuple[str, int]:
    """Return host and port."""
    parts = urlsplit(url)
    assert parts.hostname is not None
    assert parts.port is not None
    return parts.hostname, parts.port


async def trades_of(node: surfpool.Node) -> list[dict[str, Any]]:
    """Return the trades that a node itself tells of: by getSignaturesForAddress, and getTransaction of each."""
    found: list[Said] = []
    for signature in await node.signatures(mainnet.PUMPFUN):
        found += [Said(signature, program, data) for program, data in logged(await node.logs(signature))]
    return model.trades(found, {})


def by_identity(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return trades in an order that two chains have in common."""
    return sorted(rows, key=itemgetter("signature", "venue", "event", "nth"))


def tellable(events: list[Said], pools: dict[str, tuple[str, str]]) -> list[Said]:
    """Return the events without trades on pools of which nothing is known; pools are opened before anyone trades."""
    swaps = (model.SWAP_BUY, model.SWAP_SELL)
    known = []
    for event in events:
        read = [values for swap in swaps if (values := model.read(event.data, swap)) is not None]
        if event.program != mainnet.PUMPSWAP or not read or read[0]["pool"] in pools:
            known.append(event)
    return sorted(known, key=lambda event: not event.data.startswith(model.SWAP_CREATE_POOL[0]))


def completion(events: list[Said]) -> Said:
    """Return a CompleteEvent, which nobody recorded, for the first launch among the events."""
    [launch, *_] = [values for event in events if (values := model.read(event.data, model.PUMP_CREATE)) is not None]
    keys = b"".join(bytes(Pubkey.from_string(launch[name])) for name in ("user", "mint", "bonding_curve"))
    data = model.PUMP_COMPLETE[0] + keys + (launch["timestamp"] + 60).to_bytes(8, "little")
    return Said("", mainnet.PUMPFUN, data)


def mints_of(pool: bytes) -> tuple[str, str]:
    """Return base and quote mint of a PumpSwap Pool account (PROTOCOLS.md: after bump, index and creator)."""
    return str(Pubkey(pool[43:75])), str(Pubkey(pool[75:107]))


def swap_creation(events: list[Said]) -> Said:
    """Return one CreatePoolEvent, so that a transaction may name both programs and be told twice."""
    return next(event for event in events if event.data.startswith(model.SWAP_CREATE_POOL[0]))


def pairs(events: list[Said]) -> list[list[Said]]:
    """
    Return the events in twos, as many as always fit into a transaction of 1,232 bytes, each of one program.

    Of what one subscription tells the order is the node's; between two subscriptions there is none.
    """
    by_program = [[event for event in events if event.program == program] for program in PROGRAMS]
    return [mine[at : at + 2] for mine in by_program for at in range(0, len(mine), 2)]


async def say(node: surfpool.Node, group: list[Said]) -> list[Said]:
    """Let one transaction say events; return them with its signature."""
    signature = await node.say(*((event.program, event.data) for event in group))
    return [Said(signature, event.program, event.data) for event in group]
