"""The board of the market asks what the database can answer, by the data source that stands beside it."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import asyncpg
import pytest

from monitor.store.batch import Batch
from tests.store.facts import BLOCK_TIME, MINT, graduation, launch, trade

if TYPE_CHECKING:
    from monitor.store.store import Store

FOLDER = Path(__file__).parents[2] / "deploy" / "grafana"
PANELS: list[dict[str, Any]] = json.loads((FOLDER / "launch-monitor-market.json").read_text())["panels"]
SOURCE = (FOLDER / "provisioning" / "datasources" / "launch-monitor.yml").read_text()


def filled_in(query: str) -> str:
    """Return a query with Grafana's macros as its PostgreSQL data source writes them, for the hour of the trade."""
    query = re.sub(
        r"\$__timeFilter\((\w+)\)",
        rf"\1 BETWEEN to_timestamp({BLOCK_TIME - 1800}) AND to_timestamp({BLOCK_TIME + 1800})",
        query,
    )
    query = re.sub(r"\$__timeGroup\((\w+), '1m'\)", r"floor(extract(epoch FROM \1) / 60) * 60", query)
    return query.replace("${mint:sqlstring}", f"'{MINT}'")


@pytest.mark.parametrize("panel", PANELS, ids=[panel["title"] for panel in PANELS])
async def test_every_panel_has_something_to_show(panel: dict[str, Any], store: Store, database_url: str) -> None:
    """A reader may ask it, and gets rows of a market with a launch, a trade and a graduation."""
    await store.write(Batch([launch(), trade(), graduation()]))
    connection = await asyncpg.connect(database_url)
    await connection.execute("SET ROLE launch_monitor_reader")
    (target,) = panel["targets"]
    rows = await connection.fetch(filled_in(target["rawSql"]))
    assert len(rows) == 1
    assert (target["format"] == "time_series") == ("time" in rows[0].keys())  # noqa: SIM118 - values else
    assert panel["description"]
    assert target["datasource"] == panel["datasource"]
    await connection.close()


def test_the_board_uses_the_data_source_of_the_example() -> None:
    """By its uid and type; the password is nobody's, and comes from the environment."""
    for panel in PANELS:
        assert f"uid: {panel['datasource']['uid']}\n" in SOURCE
        assert f"type: {panel['datasource']['type']}\n" in SOURCE
    assert re.search(r"password: \$[A-Z_]+$", SOURCE, re.MULTILINE)
    assert not re.search(r"\t", SOURCE)
