"""The indexes that the schema has, by table: what `db verify` holds a database against."""

from __future__ import annotations

from typing import TYPE_CHECKING

from monitor.store.candles import LEVELS

if TYPE_CHECKING:
    from collections.abc import Mapping

    from monitor.store.edition import Edition

INDEXES: dict[str, dict[str, str]] = {
    "batches": {
        "batches_batch_id_key": "UNIQUE btree (id)",
        "batches_pkey": "UNIQUE btree (batch_no)",
    },
    "candle_levels": {
        "candle_levels_pkey": "UNIQUE btree (level)",
    },
    "changes": {
        "changes_pkey": "UNIQUE btree (signature, venue, event, nth, fact, block_time)",
        "changes_pool_id": "btree (pool_id)",
        "changes_slot": "btree (slot)",
        "changes_token_id": "btree (token_id)",
    },
    "faults": {
        "faults_pkey": "UNIQUE btree (id)",
        "faults_signature_program_event_nth_fact_key": "UNIQUE btree (signature, program, event, nth, fact)",
        "faults_slot": "btree (slot)",
        "faults_token_id": "btree (token_id) WHERE (token_id IS NOT NULL)",
        "faults_unresolved": "btree (id) WHERE (resolved_at IS NULL)",
    },
    "feeds": {
        "feeds_pkey": "UNIQUE btree (feed, program)",
    },
    "finality": {
        "finality_pkey": "UNIQUE btree (one)",
    },
    "holes": {
        "holes_open": "btree (first_slot, id) WHERE (filled_at IS NULL)",
        "holes_open_range": "UNIQUE btree (first_slot, last_slot, feed, program, reason)"
        " WHERE ((filled_at IS NULL) AND (signature IS NULL))",
        "holes_open_signature": "UNIQUE btree (signature) WHERE ((filled_at IS NULL) AND (signature IS NOT NULL))",
        "holes_pkey": "UNIQUE btree (id)",
    },
    "journals": {
        "journals_pkey": "UNIQUE btree (id)",
    },
    "landings": {
        "landings_pkey": "UNIQUE btree (signature, slot)",
    },
    "lifecycle": {
        "lifecycle_pkey": "UNIQUE btree (one)",
    },
    "mints": {
        "mints_address_key": "UNIQUE btree (address)",
        "mints_pkey": "UNIQUE btree (id)",
    },
    "pools": {
        "pools_address_key": "UNIQUE btree (address)",
        "pools_pkey": "UNIQUE btree (id)",
        "pools_quote_id": "btree (quote_id)",
        "pools_token_id": "btree (token_id)",
    },
    "requests": {
        "requests_open": "btree (id) WHERE (done_at IS NULL)",
        "requests_pkey": "UNIQUE btree (id)",
    },
    "schema_migrations": {
        "schema_migrations_pkey": "UNIQUE btree (number)",
    },
    "sightings": {
        "sightings_pkey": "UNIQUE btree (pool_id, said)",
    },
    "snapshots": {
        "snapshots_pkey": "UNIQUE btree (kind, id)",
    },
    "stale_candles": {
        "stale_candles_pkey": "UNIQUE btree (id)",
    },
    "tails": {
        "tails_id": "UNIQUE btree (id)",
        "tails_pkey": "UNIQUE btree (signature, venue, event, nth, fact, block_time)",
        "tails_slot": "btree (slot)",
    },
    "tokens": {
        "tokens_graduated_at": "btree (graduated_at DESC) WHERE (graduated_at IS NOT NULL)",
        "tokens_launched_at": "btree (launched_at DESC) WHERE (launched_at IS NOT NULL)",
        "tokens_mint_key": "UNIQUE btree (mint)",
        "tokens_pkey": "UNIQUE btree (id)",
    },
    "transactions": {
        "transactions_pkey": "UNIQUE btree (block_time, signature, venue, event, nth)",
        "transactions_pool_id": "btree (pool_id, block_time DESC)",
        "transactions_signature": "hash (signature)",
        "transactions_slot": "brin (slot) WITH (pages_per_range='32', autosummarize='on')",
        "transactions_token_id": "btree (token_id, block_time DESC)",
        "transactions_trader": "btree (trader, block_time DESC)",
        "transactions_voided": "btree (voided_at) WHERE (voided_at IS NOT NULL)",
    },
}
"""Table -> index -> what stands behind USING in its definition, and UNIQUE. A test holds it against a new database."""

_KEPT = {
    f"candles_kept_{level}": {
        f"candles_kept_{level}_bucket": "btree (bucket)",
        f"candles_kept_{level}_pkey": "UNIQUE btree (pool_id, bucket, token_id, quote_id)",
    }
    for level in LEVELS
}


def indexes_of(edition: Edition) -> Mapping[str, Mapping[str, str]]:
    """Return `INDEXES`, and those of kept candles where they stand in tables of ours."""
    return INDEXES if edition == "timescale" else INDEXES | _KEPT
