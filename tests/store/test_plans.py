"""Every query that is documented, or that the program asks, uses the index that was made for it."""

from __future__ import annotations

import asyncio
import json
import re
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import asyncpg
import pytest

from monitor.store import asked, kept, read
from monitor.store.batch import Settled
from monitor.store.candles import Candles
from monitor.store.refold import Touched
from monitor.store.settle import settle
from monitor.store.slots import Standing
from monitor.store.store import Store
from tests.store.facts import BLOCK_TIME
from tests.store.test_schema_doc import PAGE

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Iterator

    from tests import postgres

DAYS, A_DAY, TOKENS = 4, 15_000, 500
START = datetime.fromtimestamp(BLOCK_TIME, UTC).replace(hour=0, minute=0, second=0)
END = START + timedelta(days=DAYS)
EXAMPLES = re.findall(r"^(\S[^\n]*):\n\n```sql\n(.*?)```", PAGE, re.MULTILINE | re.DOTALL)

# What the page says of an example -> the indexes that it has to use (of a set, one). None: it is said to read all.
WANTED: dict[str, tuple[set[str], ...] | None] = {
    "The last launches and how far their curves are": ({"tokens_launched_at"},),
    "Trades of one token (always by mint: symbols are not unique)": ({"transactions_token_id"}, {"mints_address_key"}),
    "Trades of one pool": ({"transactions_pool_id"}, {"pools_address_key"}),
    "Trades of one wallet": ({"transactions_trader"},),
    "Everything about one transaction": ({"transactions_signature"},),
    (WITH_TIME := "The same at once, where its time is known"): ({"transactions_signature", "transactions_pkey"},),
    "Volume by quote over the last hour, burns not counted": ({"transactions_pkey"},),
    "How long the last curves took to fill and to graduate": ({"tokens_graduated_at"},),
    "The first price and the last of a token, by the order of the chain": ({"transactions_token_id"},),
    "Candles of one token over the last hours of the chain": (
        {"tokens_mint_key"},
        {"transactions_token_id", "transactions_pool_id"},
        {"candles_kept_1m_pkey", "candles_kept_1m_bucket", "candles_1m_pool_id"},
    ),
    "Candles of one pool, with its traders": (
        {"pools_address_key"},
        {"transactions_pool_id"},
        {"candles_kept_1h_pkey", "candles_1h_pool_id"},
    ),
    "What could not be read, by reason": ({"faults_unresolved"},),
    "What is missing": ({"holes_open"},),
}
# The newest of something: read as far as is wanted, and not sorted as a whole.
IN_ORDER = {
    "The last launches and how far their curves are",
    "Trades of one token (always by mint: symbols are not unique)",
    "Trades of one pool",
    "How long the last curves took to fill and to graduate",
    "What is missing",
}
FILL = f"""
INSERT INTO mints (id, address, symbol, decimals)
SELECT n, 'mint' || n, 'S' || n % 50, 6 FROM generate_series(10, {TOKENS}) n;
INSERT INTO pools (id, address, kind, venue, token_id, quote_id) SELECT n, 'pool' || n, 'curve', 'pumpfun', n, 1
  FROM generate_series(10, {TOKENS}) n;
INSERT INTO tokens (id, mint, platform, curve_id, launched_at, graduated_at)
SELECT n, 'mint' || n, 'pumpfun', n, '{START}'::timestamptz + n * INTERVAL '1 minute',
       CASE WHEN n % 9 = 0 THEN '{START}'::timestamptz + n * INTERVAL '2 minutes' END
  FROM generate_series(10, {TOKENS}) n;
INSERT INTO transactions (block_time, slot, chain_order, token_id, pool_id, quote_id, batch_no, base_amount,
    quote_amount, user_quote_amount, nth, order_exact, organic, synthetic, signature, venue, event, side, trader)
SELECT '{START}'::timestamptz + (n::bigint * 86400 / {A_DAY}) * INTERVAL '1 second', n, n::bigint << 32,
       10 + n * 7 % {TOKENS - 10}, 10 + n * 7 % {TOKENS - 10}, 1, 1, 3, 4, 5, 0, TRUE, TRUE, FALSE,
       md5(n::text), 'pumpfun', 'TradeEvent', 'buy', 'wallet' || n * 13 % 997
  FROM generate_series(0, {DAYS * A_DAY - 1}) n;
INSERT INTO faults (signature, program, venue, event, nth, fact, slot, position, reason, payload, batch_no, resolved_at)
SELECT md5(n::text), 'p', 'pumpfun', 'e', 0, 'fault', n, 0, 'undecodable', '\\x00', 1,
       CASE WHEN n % 100 > 0 THEN now() END
  FROM generate_series(1, 5000) n;
INSERT INTO holes (feed, program, first_slot, last_slot, reason, filled_at)
SELECT 'logs', '*', n, n + 1, 'feed_away', CASE WHEN n % 100 > 0 THEN now() END FROM generate_series(1, 5000) n;
"""


@pytest.fixture(scope="module")
def url(server: postgres.Server) -> Iterator[str]:
    """A database with some days of trades, of which the planner knows; it is only read."""
    made = server.database()
    with asyncio.Runner() as runner:
        url = runner.run(made.__aenter__())
        runner.run(fill(url))
        yield url
        runner.run(made.__aexit__(None, None, None))


async def fill(url: str) -> None:
    """Migrate a database and give it rows."""
    async with await Store.open(url) as store:
        await store.migrate()
        edition = store.edition
    connection = await asyncpg.connect(url)
    if edition == "plain":
        for day in (START + timedelta(days=n) for n in range(DAYS)):
            await connection.execute(
                f"CREATE TABLE transactions_p{day:%Y%m%d} PARTITION OF transactions "
                f"FOR VALUES FROM ('{day}') TO ('{day + timedelta(days=1)}')"
            )
    await connection.execute(FILL)
    assert edition is not None
    await Candles(edition).refresh(connection, END - timedelta(hours=6))
    await connection.execute("VACUUM ANALYZE")
    await connection.close()


@pytest.fixture
async def connection(url: str) -> AsyncIterator[asyncpg.Connection]:
    """A connection to it."""
    connection = await asyncpg.connect(url, server_settings={"jit": "off"})
    yield connection
    await connection.close()


class Plan:
    """What of a plan matters: which tables are read whole, by which indexes the others, and what is sorted."""

    def __init__(self, found: list[dict[str, Any]], index_of: dict[str, str], table_of: dict[str, str]) -> None:
        nodes = list(_nodes(found[0]["Plan"]))
        self.whole = {table_of.get(node["Relation Name"], node["Relation Name"])
                      for node in nodes if node["Node Type"] == "Seq Scan"}  # fmt: skip
        self.pieces = {
            node["Relation Name"] for node in nodes if table_of.get(node.get("Relation Name", "")) == "transactions"
        }
        self.indexes = {index_of.get(node["Index Name"], node["Index Name"]) for node in nodes if "Index Name" in node}
        self.sorts = [node for node in nodes if node["Node Type"] == "Sort"]


def _nodes(node: dict[str, Any]) -> Iterator[dict[str, Any]]:
    yield node
    for inner in node.get("Plans", []):
        yield from _nodes(inner)


# An index of a partition or chunk -> that of the whole table which is alike; the piece -> the table.
_ALIKE = """
WITH piece AS (
    SELECT h.inhrelid AS id, h.inhparent AS of
      FROM pg_inherits h JOIN pg_class c ON c.oid = h.inhrelid WHERE c.relkind = 'r'
), definition AS (
    SELECT i.indrelid AS on, c.relname AS name, regexp_replace(pg_get_indexdef(i.indexrelid), '^.* USING ', '') AS text
      FROM pg_index i JOIN pg_class c ON c.oid = i.indexrelid
)
SELECT piece.id::regclass::text, piece.of::regclass::text, mine.name, whole.name
  FROM piece JOIN definition mine ON mine.on = piece.id
  JOIN definition whole ON whole.on = piece.of AND whole.text = mine.text
"""


async def plan_of(connection: asyncpg.Connection, query: str, *args: object) -> Plan:
    """Return the plan of a query, in terms of tables rather than of their pieces."""
    found = json.loads(await connection.fetchval(f"EXPLAIN (FORMAT JSON) {query}", *args))
    alike = await connection.fetch(_ALIKE)
    return Plan(found, {row[2]: row[3] for row in alike}, {row[0].split(".")[-1]: row[1] for row in alike})


def test_every_example_is_looked_at() -> None:
    """Each one of the page says what it is, and is known here by that."""
    assert [name for name, _ in EXAMPLES] == list(WANTED)
    assert len(EXAMPLES) == PAGE.count("```sql")


@pytest.mark.parametrize(("name", "query"), EXAMPLES, ids=[name for name, _ in EXAMPLES])
async def test_examples_use_their_indexes(name: str, query: str, connection: asyncpg.Connection) -> None:
    """None reads a large table whole, and the newest of something are not sorted out of all there is."""
    wanted = WANTED[name]
    assert wanted is not None
    plan = await plan_of(connection, query.strip().rstrip(";").replace("now()", f"'{END}'::timestamptz"))
    assert plan.whole & {"transactions"} == set()
    for one_of in wanted:
        assert plan.indexes & one_of, f"{plan.indexes}"
    if name in IN_ORDER:
        assert plan.sorts == []
    if name == WITH_TIME:
        assert len(plan.pieces) == 1


ASKED: dict[str, tuple[Callable[[asyncpg.Connection], Awaitable[object]], str]] = {
    "trades of a token": (lambda c: read.recent_trades(c, 50, mint="mint77"), "transactions_token_id"),
    "newest trades": (lambda c: read.recent_trades(c, 50), "transactions_pkey"),
    "newest launches": (lambda c: read.recent_launches(c, 20), "tokens_launched_at"),
    "launches of a platform": (lambda c: read.recent_launches(c, 20, platform="pumpfun"), "tokens_launched_at"),
    "launch of a mint": (lambda c: read.recent_launches(c, 20, mint="mint77"), "tokens_mint_key"),
    "graduations": (lambda c: read.graduations(c, 20), "tokens_graduated_at"),
    "newest slot": (read.newest_slot, "transactions_pkey"),
    "open holes": (lambda c: asked.open_holes(c, 20), "holes_open"),
    "holes for people": (lambda c: asked.holes(c, open_only=True, limit=20), "holes_open"),
    "unresolved faults": (lambda c: kept.faults(c, 20), "faults_unresolved"),
}


UNIQUE = {"launch of a mint"}
"""One row at most, so that nothing is to be sorted."""


@pytest.mark.parametrize("name", ASKED)
async def test_what_the_program_asks_uses_its_index(name: str, connection: asyncpg.Connection) -> None:
    """The very statements, with the parameters that they were given, and as often as they are asked."""
    call, index = ASKED[name]
    await call(connection)  # asyncpg asks for types the first time
    heard: list[asyncpg.connection.LoggedQuery] = []
    with connection.query_logger(heard.append):
        await call(connection)
        await asyncio.sleep(0)  # asyncpg tells it in the next round of the loop
    plans = [await plan_of(connection, query.query, *query.args) for query in heard]
    assert plans
    for plan in plans:
        assert index in plan.indexes
        assert plan.whole & {"transactions", "holes", "faults"} == set()
        assert plan.sorts == [] or name in UNIQUE


async def _settle(connection: asyncpg.Connection, block_time: int | None) -> None:
    told = Settled(slot=A_DAY // 2, signatures=("of the chain",), block_time=block_time)
    await settle(connection, [told], Touched(), 1)


async def _page(connection: asyncpg.Connection, slot: int) -> None:
    await Standing().page(connection, slot, slot + 500, 10_000)


@pytest.mark.parametrize(
    ("call", "most"),
    [
        (lambda c: _settle(c, int(START.timestamp())), DAYS - 1),
        (lambda c: _settle(c, None), DAYS),
        (lambda c: _page(c, DAYS * A_DAY - 600), DAYS - 1),
    ],
    ids=["a slot is settled", "one whose time is not known is settled", "what stands in the last slots"],
)
async def test_what_is_asked_by_slot_leaves_far_pieces_alone(
    call: Callable[[asyncpg.Connection], Awaitable[object]], most: int, connection: asyncpg.Connection
) -> None:
    """A slot is no time: without one every piece would be read, and those of months may be compressed."""
    heard: list[asyncpg.connection.LoggedQuery] = []
    transaction = connection.transaction()
    await transaction.start()
    with connection.query_logger(heard.append):
        await call(connection)
        await asyncio.sleep(0)
    asked = [query for query in heard if re.search(r"(FROM|UPDATE) transactions\b.*slot (=|>)", query.query, re.DOTALL)]
    assert asked
    plans = [await plan_of(connection, query.query, *query.args) for query in asked]
    await transaction.rollback()
    assert max(len(plan.pieces) for plan in plans) <= most
    assert most < DAYS or max(len(plan.pieces) for plan in plans) == DAYS


async def test_a_plan_that_reads_all_is_seen(connection: asyncpg.Connection) -> None:
    """The test above can fail."""
    plan = await plan_of(connection, "SELECT * FROM transactions WHERE venue = 'pumpfun' ORDER BY side")
    assert (plan.whole, plan.indexes) == ({"transactions"}, set())
    assert plan.sorts
