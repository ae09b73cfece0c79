"""docs/SCHEMA.md says what the database is."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING

import asyncpg

if TYPE_CHECKING:
    from monitor.store.store import Store

PAGE = (Path(__file__).parents[2] / "docs" / "SCHEMA.md").read_text(encoding="utf-8")
_COLUMNS = """
SELECT table_name, column_name FROM information_schema.columns
 WHERE table_schema = current_schema() AND table_name !~ '^(transactions_p|_hyper)'
"""


def section(name: str) -> str:
    """Return what the page says about a table or view; a heading may name several."""
    found = re.search(rf"^### (?:[^\n]*, )?{name}(?:, [^\n]*)?$(.*?)(?=^##|\Z)", PAGE, re.MULTILINE | re.DOTALL)
    assert found, f"docs/SCHEMA.md has no section on {name}"
    return found[1]


async def test_every_column_is_told_and_no_other(store: Store, database_url: str) -> None:
    """Each table and view has a section with each of its columns; tables with nothing else in their first column."""
    connection = await asyncpg.connect(database_url)
    columns: dict[str, set[str]] = {}
    for table, column in await connection.fetch(_COLUMNS):
        columns.setdefault(table, set()).add(column)
    await connection.close()
    assert {"transactions", "tokens", "recent_trades"} <= columns.keys()
    for table, names in columns.items():
        text = section(table)
        assert names <= set(re.findall(r"`(\w+)`", text)), table
        rows = re.findall(r"^\| (`.*?) \|", text, re.MULTILINE)
        if rows:
            assert set(re.findall(r"`(\w+)`", " ".join(rows))) == names, table


async def test_every_example_runs(store: Store, database_url: str) -> None:
    """As the reader of the database, who may do nothing else."""
    examples = re.findall(r"```sql\n(.*?)```", PAGE, re.DOTALL)
    assert len(examples) >= 8
    connection = await asyncpg.connect(database_url)
    await connection.execute("SET ROLE launch_monitor_reader")
    for example in examples:
        await connection.fetch(example)
    await connection.close()
