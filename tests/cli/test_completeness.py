"""What is missing is listed and fetched, what is stored is held against the chain: commands at work on real servers."""

from __future__ import annotations

import asyncio
import json
import shutil
import signal
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import asyncpg
import pytest

from monitor.data import data_dir
from simulator.run import Simulator
from tests import postgres
from tests.cli import test_live as commands
from tests.e2e.truth import differences

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator
    from pathlib import Path

    from tests.cli.test_live import Ended

pytestmark = [pytest.mark.slow]

FOLLOWED = {"pumpfun", "pumpswap", "raydium_launchpad"}
TRADES = "SELECT count(*) FROM transactions"
# Transactions of one trade, in three different slots.
# What the pool of a changed trade is known to hold, which is told by the pool's last trade.
LAST_ON_ITS_POOL = """
SELECT DISTINCT ON (t.pool_id) t.signature, t.pool_id
  FROM transactions t JOIN pools p ON p.id = t.pool_id
 WHERE p.mark_order = t.chain_order AND t.signature <> ALL($1)
   AND (SELECT count(*) FROM transactions o WHERE o.signature = t.signature) = 1
 ORDER BY t.pool_id, t.signature LIMIT 1
"""
RESERVES = "SELECT mark_base, mark_quote, real_base, real_quote, curve_sold FROM pools WHERE id = $1"
ALONE = """
SELECT DISTINCT ON (slot) slot, signature FROM (
    SELECT min(slot) AS slot, signature FROM transactions GROUP BY signature HAVING count(*) = 1
) alone ORDER BY slot, signature LIMIT 3
"""


@pytest.fixture(scope="module")
def server() -> Iterator[postgres.Server]:
    """A PostgreSQL server."""
    with postgres.start() as server:
        yield server


class Place:
    """A simulated node, and a migrated database of ours; commands know both."""

    def __init__(self, node: Simulator, connection: asyncpg.Connection, url: str, state: Path) -> None:
        self.node = node
        self.sql = connection
        self.url = url
        self._state = state
        self.settings = {
            "DATABASE__URL": url,
            "NODE__WS_URL": node.ws_url,
            "NODE__HTTP_URL": node.http_url,
            "FETCH__RATE_PER_S": "2000",
            "JOURNAL__DIR": str(state / "journal"),
        }

    async def call(self, *arguments: object, settings: dict[str, str] | None = None) -> Ended:
        """Run a command to its end."""
        return await commands.call(self._state, *arguments, settings=self.settings | (settings or {}))

    async def begin(self, *arguments: object, settings: dict[str, str] | None = None) -> asyncio.subprocess.Process:
        """Start a command."""
        return await commands.begin(self._state, *arguments, settings=self.settings | (settings or {}))

    async def until(self, query: str, enough: Any) -> None:
        """Go on with empty slots until a number that a query tells is enough."""
        async with asyncio.timeout(commands.LIMIT_S):
            while not enough(await self.sql.fetchval(query)):
                await self.node.idle_until(_once())

    async def differences(self) -> list[str]:
        """Return in what the database is not the simulator's ledger."""
        return await differences(self.url, self.node.export(), FOLLOWED)

    @asynccontextmanager
    async def daemon(self, **settings: str) -> AsyncIterator[asyncio.subprocess.Process]:
        """Run a daemon that follows blocks until the block ends, from its subscription on."""
        process = await self.begin("ingest", settings={"START": "now", "NODE__FEED": "blocks"} | settings)
        try:
            async with asyncio.timeout(commands.LIMIT_S):
                await self.node.idle_until(lambda: bool(self.node.subscriptions or process.returncode is not None))
            assert process.returncode is None
            yield process
        finally:
            ended = await commands.end(process, None if process.returncode is not None else signal.SIGTERM)
            print(ended.errors)  # noqa: T201 - pytest shows it where a test fails
        assert ended.code == 0


def _once() -> Any:
    """Return what says no once, and then yes."""
    answers = iter([False])
    return lambda: next(answers, True)


@pytest.fixture
async def place(server: postgres.Server, tmp_path: Path) -> AsyncIterator[Place]:
    """A node and a database."""
    async with server.database() as url, Simulator(seed=11) as node:
        connection = await asyncpg.connect(url)
        try:
            subject = Place(node, connection, url, tmp_path / "state")
            assert (await subject.call("migrate")).code == 0
            yield subject
        finally:
            await connection.close()


async def test_a_range_is_backfilled_without_a_daemon(place: Place) -> None:
    """Everything is there afterwards, the hole says by whom; a second time changes nothing."""
    await place.node.run_for(transactions=1_500)
    first, last = place.node.rules.first_slot, place.node.chain.tip("finalized")
    done = await place.call("backfill", "--from-slot", first, "--to-slot", last)
    assert (done.code, done.errors) == (0, "")
    assert "everything is there" in done.out
    assert await place.differences() == []
    count = await place.sql.fetchval(TRADES)
    assert (await place.call("backfill", "--from-slot", first, "--to-slot", last)).code == 0
    assert await place.sql.fetchval(TRADES) == count
    listed = json.loads((await place.call("holes", "--all", "--json")).out)
    assert {(hole["reason"], hole["filled_by"], hole["last_slot"]) for hole in listed["holes"]} == {
        ("backfill", "history", last)
    }
    assert listed["open_holes"] == listed["missing_slots"] == 0


async def backfilled(place: Place, slots: int = 200) -> tuple[int, int]:
    """Bring a market into the database, and return its first and last slot."""
    first, last = await past(place.node, slots)
    assert (await place.call("backfill", "--from-slot", first, "--to-slot", last)).code == 0
    return first, last


async def past(node: Simulator, slots: int) -> tuple[int, int]:
    """Make a market in which much happened in so many slots, and return the first and the last of them."""
    while node.chain.slot < node.rules.first_slot + slots:
        await node.run_for(transactions=60)
    return node.rules.first_slot, node.chain.tip("finalized")


async def audited(place: Place, *arguments: object) -> tuple[int, dict[str, Any]]:
    """Audit every slot; return the exit code and what was found."""
    done = await place.call("audit", "--slots", 100_000, "--json", *arguments)
    assert done.errors == ""
    return done.code, json.loads(done.out)


async def test_an_audit_finds_what_is_not_as_the_chain_says_and_has_it_mended(place: Place) -> None:
    """A row that was deleted, values that were changed, a row that was added: each is told, and repaired."""
    first, last = await backfilled(place)
    code, found = await audited(place)
    assert (code, found["differences"], found["failed"]) == (0, [], [])
    assert found["slots"] == found["claimed_slots"] == last - first + 1
    assert found["rows"] > await place.sql.fetchval(TRADES)
    assert found["share"] == 1.0
    gone, changed, copied = [row["signature"] for row in await place.sql.fetch(ALONE)]
    await place.sql.execute("DELETE FROM transactions WHERE signature = $1", gone)
    await place.sql.execute("UPDATE transactions SET base_amount = base_amount + 1 WHERE signature = $1", changed)
    last, pool = await place.sql.fetchrow(LAST_ON_ITS_POOL, [gone, changed, copied])
    reserves = await place.sql.fetchrow(RESERVES, pool)
    await place.sql.execute("UPDATE transactions SET mark_base = mark_base + 1 WHERE signature = $1", last)
    await place.sql.execute("UPDATE pools SET mark_base = mark_base + 1 WHERE id = $1", pool)
    mint = await place.sql.fetchval("UPDATE tokens SET name = 'x' WHERE name IS NOT NULL AND id = $1 RETURNING mint",
                                    await place.sql.fetchval("SELECT min(id) FROM tokens"))  # fmt: skip
    await place.sql.execute("CREATE TEMP TABLE copy AS SELECT * FROM transactions WHERE signature = $1", copied)
    await place.sql.execute("UPDATE copy SET signature = repeat('1', 88)")
    await place.sql.execute("INSERT INTO transactions SELECT * FROM copy")
    code, found = await audited(place, "--no-repair")
    assert code == 1
    assert {(one["how"], one["signature"], one["column"]) for one in found["differences"]} == {
        ("missing", gone, None), ("different", changed, "base_amount"), ("extra", "1" * 88, None),
        ("different", last, "mark_base"), ("different", await launched(place, mint), "name"),
    }  # fmt: skip
    assert found["holes"] == []
    shown = await place.call("audit", "--slots", 100_000)
    slots = len({one["slot"] for one in found["differences"]})
    assert (shown.code, f"{slots} slots are holes now" in shown.out) == (1, True)
    assert gone in shown.out
    async with place.daemon():
        await place.until("SELECT count(*) FROM holes WHERE reason = 'audit' AND filled_at IS NULL", (0).__eq__)
    code, found = await audited(place)
    assert (code, found["differences"]) == (0, [])
    assert await place.sql.fetchrow(RESERVES, pool) == reserves
    assert await place.differences() == []


async def launched(place: Place, mint: str) -> str:
    """Return the signature of a token's launch."""
    return str(await place.sql.fetchval("SELECT launch_signature FROM tokens WHERE mint = $1", mint))


async def test_an_audit_says_when_it_cannot_be_done(place: Place) -> None:
    """An empty database, a node that does not answer, slots of the future: exit 2, with the reason."""
    empty = await place.call("audit")
    assert (empty.code, "nothing was followed" in empty.errors) == (2, True)
    _, last = await backfilled(place, 3)
    future = await place.call("audit", "--from-slot", last + 1_000)
    assert (future.code, "none is final" in future.errors) == (2, True)
    away = await place.call("audit", settings={"NODE__HTTP_URL": "http://127.0.0.1:9/"})
    assert (away.code, "error: " in away.errors) == (2, True)


async def test_ranges_that_make_no_sense_are_refused(place: Place) -> None:
    """With what to give instead; nothing is filed."""
    await place.node.run_for(transactions=300)
    first, head = place.node.rules.first_slot, place.node.chain.tip("confirmed")
    for arguments, words in (
        (("--from-slot", first + 9, "--to-slot", first), "lies behind"),
        (("--from-slot", first, "--to-slot", head + 9), f"--to-slot {head}"),
        (("--from-slot", first - 9, "--to-slot", head), f"--from-slot {first}"),
        (("--since", "soon"), "10m"),
        ((), "--since"),
    ):
        refused = await place.call("backfill", *arguments)
        assert (refused.code, words in refused.errors) == (64, True), refused
    assert await place.sql.fetchval("SELECT count(*) FROM holes") == 0


async def test_a_daemon_backfills_while_the_present_flows_on(place: Place) -> None:
    """Ctrl-C leaves the hole filed, and the same command goes on; trades of now are committed meanwhile."""
    first, last = await past(place.node, 250)
    arguments = ("backfill", "--from-slot", first, "--to-slot", last)
    async with place.daemon(FETCH__RATE_PER_S="12"):
        watching = await place.begin(*arguments)
        await place.until("SELECT count(*) FROM holes WHERE filled_through IS NOT NULL", bool)
        await place.node.run_for(transactions=300)
        newer = f"SELECT count(*) FROM transactions WHERE slot > {last}"
        await place.until(newer, bool)
        stopped = await commands.end(watching, signal.SIGINT)
        assert (stopped.code, "goes on where this one was" in stopped.errors) == (130, True), stopped
        (hole,) = json.loads((await place.call("holes", "--json")).out)["holes"]
        assert (hole["reason"], hole["filled_at"]) == ("backfill", None)
        assert first <= hole["filled_through"] < last
        done = await place.call(*arguments)
        assert (done.code, done.errors) == (0, ""), done
    assert await place.sql.fetchval("SELECT count(*) FROM holes WHERE reason = 'backfill'") == 1
    assert await place.sql.fetchval("SELECT count(*) FROM holes WHERE filled_at IS NULL") == 0
    assert [one for one in await place.differences() if "missing" in one and "trade" in one] == []


async def test_what_the_node_does_not_have_is_told_with_the_reason(place: Place) -> None:
    """The command gives up after its patience; what is missing stays filed."""
    await place.node.run_for(transactions=600)
    first, last = place.node.rules.first_slot, place.node.chain.tip("finalized")
    methods = place.node.node.rpc.methods
    methods["getBlock"], known = (lambda _: None), methods["getBlock"]
    left = await place.call("backfill", "--from-slot", first, "--to-slot", last, "--patience", 2)
    assert (left.code, f"slots {first} to {last}" in left.errors, "stays filed" in left.errors) == (1, True, True), left
    methods["getBlock"] = known
    assert (await place.call("backfill", "--from-slot", first, "--to-slot", last)).code == 0
    assert await place.differences() == []


async def test_holes_and_faults_are_listed(place: Place) -> None:
    """For people and as JSON: open ones or all, grouped, with payloads; a program is named by name or address."""
    assert "nothing is known to be missing" in (await place.call("holes")).out
    assert (await place.call("faults")).out == "no faults\n"
    await place.sql.execute("""
        INSERT INTO holes (feed, program, first_slot, last_slot, signature, reason, filled_at, filled_by,
                           filled_through)
        VALUES ('logs', '*', 10, 19, NULL, 'feed_away', NULL, NULL, 14),
               ('logs', '*', 20, 20, 'sig', 'gave_up', NULL, NULL, NULL),
               ('logs', '*', 1, 9, NULL, 'feed_away', now(), 'history', 9);
        INSERT INTO faults (signature, program, venue, event, nth, fact, slot, position, reason, payload, batch_no,
                            resolved_at)
        SELECT 's' || n, 'PumpAddress', 'pumpfun', 'ff', 0, 'fault', n, 1, 'unknown_discriminator', '\\x0102', 1,
               CASE WHEN n = 1 THEN now() END FROM generate_series(1, 3) n
    """)
    listed = await place.call("holes")
    assert (listed.code, "feed_away" in listed.out, "10-19" in listed.out) == (0, True, True)
    assert "2 open holes: 5 slots and 1 single transactions are missing" in listed.out
    everything = json.loads((await place.call("holes", "--all", "--json", "--limit", 2)).out)
    assert [hole["id"] for hole in everything["holes"]] == [3, 2]
    assert [hole["missing_slots"] for hole in everything["holes"]] == [0, 0]
    found = json.loads((await place.call("faults", "--json", "--unresolved", "--program", "PumpAddress")).out)
    assert (found["faults"], found["unresolved"], found["groups"][0]["count"]) == (2, 2, 2)
    assert [(row["signature"], row["payload_hex"]) for row in found["newest"]] == [("s2", "0102"), ("s3", "0102")]
    assert (await place.call("faults", "--program", "pumpswap")).out == "no faults\n"
    table = await place.call("faults", "--program", "pumpfun")
    assert "unknown_discriminator" in table.out
    assert "2 are not resolved" in table.out


def idls(folder: Path) -> Path:
    """Return a folder of IDLs, in which that of Pump.fun does not know its trades."""
    shutil.copytree(data_dir("idl"), folder)
    idl = json.loads((folder / "pumpfun.json").read_text())
    (event,) = [event for event in idl["events"] if event["name"] == "TradeEvent"]
    event["discriminator"] = [0] * 8
    (folder / "pumpfun.json").write_text(json.dumps(idl))
    return folder


async def test_what_an_old_idl_could_not_read_becomes_rows_without_a_daemon(place: Place, tmp_path: Path) -> None:
    """A dry run tells what would come of it; afterwards the database is as if it had been read at once."""
    old = {"IDL_DIR": str(idls(tmp_path / "idl"))}
    await place.node.run_for(transactions=800)
    arguments = ("backfill", "--from-slot", place.node.rules.first_slot, "--to-slot", place.node.chain.tip("finalized"))
    assert (await place.call(*arguments, settings=old)).code == 0
    unread = await place.sql.fetchval("SELECT count(*) FROM faults")
    assert unread > 100
    dry = json.loads((await place.call("redecode", "--dry-run", "--json", settings=old)).out)
    assert (dry["told"], dry["unreadable"]) == (0, unread)
    dry = json.loads((await place.call("redecode", "--dry-run", "--json")).out)
    assert (dry["told"], dry["hole"], dry["unreadable"]) == (unread, 0, 0)
    refused = await place.call("redecode", "--program", "nobody")
    assert (refused.code, "pumpswap" in refused.errors) == (64, True)
    done = await place.call("redecode", "--program", "pumpfun")
    assert (done.code, done.errors) == (0, "")
    assert f"{unread:,} became rows" in done.out
    assert await place.sql.fetchval("SELECT count(*) FROM faults WHERE resolved_by = 'redecode'") == unread
    assert await place.differences() == []
    assert json.loads((await place.call("redecode", "--json")).out)["groups"] == []


async def test_a_daemon_reads_its_idls_again_and_redecodes_on_request(place: Place, tmp_path: Path) -> None:
    """After SIGHUP; the command tells what came of it."""
    folder = idls(tmp_path / "idl")
    async with place.daemon(IDL_DIR=str(folder)) as daemon:
        await place.node.run_for(transactions=800)
        await place.until("SELECT count(*) FROM faults", lambda count: count > 100)
        shutil.copy(data_dir("idl") / "pumpfun.json", folder / "pumpfun.json")
        daemon.send_signal(signal.SIGHUP)
        done = await place.call("redecode", "--json")
        assert (done.code, done.errors) == (0, "")
        found = json.loads(done.out)
        assert found["told"] > 100
        assert (found["unreadable"], found["late"]) == (0, 0)
    assert await place.sql.fetchval("SELECT count(*) FROM faults WHERE resolved_at IS NULL") == 0


async def test_a_backfill_goes_on_by_itself_when_the_daemon_ends(place: Place) -> None:
    """It takes over what is left, from where the daemon was."""
    first, last = await past(place.node, 250)
    async with place.daemon(FETCH__RATE_PER_S="12"):
        watching = await place.begin("backfill", "--from-slot", first, "--to-slot", last)
        await place.until("SELECT count(*) FROM holes WHERE filled_through IS NOT NULL", bool)
    assert await place.sql.fetchval("SELECT count(*) FROM holes WHERE reason = 'backfill' AND filled_at IS NULL") == 1
    done = await commands.end(watching)
    assert (done.code, done.errors) == (0, "")
    left = await place.sql.fetch("SELECT first_slot, last_slot, signature, reason FROM holes WHERE filled_at IS NULL")
    assert [tuple(hole) for hole in left] == []


async def test_every_feed_is_tried_by_check_config(place: Place, tmp_path: Path) -> None:
    """Those of `[[feeds]]` as well, each by its own subscriptions."""
    file = tmp_path / "feeds.toml"
    kinds = ("blocks", "transactions", "polled_blocks")
    file.write_text("".join(f'[[feeds]]\nkind = "{kind}"\n' for kind in kinds))
    checked = await place.call("check-config", "--connect", "--config", file)
    assert (checked.code, checked.errors) == (0, ""), checked
    for words in ("logs: ws://", "blocks: ws://", "transactions: ws://", "polled_blocks: by HTTP", "1 of 1 answer"):
        assert words in checked.out
