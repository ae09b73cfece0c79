"""The rights of whoever owns the tables, taken for as long as they are needed."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import asyncpg

# MEMBER: it may be become; USAGE: its rights are ours anyway.
_OWNER = """
SELECT quote_ident(pg_get_userbyid(relowner)) FROM pg_class
 WHERE oid = 'transactions'::regclass AND pg_has_role(relowner, 'MEMBER') AND NOT pg_has_role(relowner, 'USAGE')
"""


async def as_owner(connection: asyncpg.Connection) -> None:
    """
    Become the owner of the tables if that is another role and we may, until the transaction (or else the session) ends.

    A daemon whose user writes rows and no more does so where it changes tables. Where it may not, the server says what
    is missing.
    """
    owner = await connection.fetchval(_OWNER)
    if owner is not None:
        await connection.execute(f"SET {'LOCAL ' if connection.is_in_transaction() else ''}ROLE {owner}")
