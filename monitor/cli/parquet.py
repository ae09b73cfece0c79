"""Rows as a Parquet file, if pyarrow is installed."""

from __future__ import annotations

import importlib
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from monitor.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from typing import BinaryIO

    from monitor.store.export import Column

# Rows of a row group: enough for columns to compress well, and little to hold.
_GROUP_ROWS = 100_000
_MOST_DIGITS = 38
"""Of a decimal that other readers of Parquet know (decimal128)."""
_PLAIN = {
    "bool": "bool_",
    "bytea": "binary",
    "float4": "float32",
    "float8": "float64",
    "int2": "int16",
    "int4": "int32",
    "int8": "int64",
    "text": "string",
}
_TIME = "timestamptz"
_NUMERIC = "numeric"


def cast(column: Column) -> str | None:
    """
    Return `text` for what has no type of its own in Parquet, and comes as PostgreSQL writes it; None for all else.

    That is a NUMERIC without bounds as well: it would have to be rounded.
    """
    if column.type in _PLAIN or column.type == _TIME:
        return None
    if column.type == _NUMERIC and column.digits is not None and column.digits[0] <= _MOST_DIGITS:
        return None
    return "text"


def load() -> None:
    """
    Make sure that pyarrow is there.

    Raises:
        ConfigError: If not.
    """
    _pyarrow("pyarrow")


@contextmanager
def writing(file: BinaryIO, columns: Sequence[Column]) -> Iterator[Callable[[Sequence[Sequence[Any]]], None]]:
    """
    Yield what takes rows, each with the columns as `cast` wants them; the file is complete when the block has ended.

    Raises:
        ConfigError: If pyarrow is not installed.
    """
    pa, parquet = _pyarrow("pyarrow"), _pyarrow("pyarrow.parquet")
    schema = pa.schema([pa.field(column.name, _type(pa, column)) for column in columns])
    waiting: list[Any] = []

    with parquet.ParquetWriter(file, schema, compression="zstd") as writer:

        def flush() -> None:
            writer.write_table(pa.Table.from_batches(waiting, schema), _GROUP_ROWS)
            waiting.clear()

        def take(rows: Sequence[Sequence[Any]]) -> None:
            arrays = [
                pa.array(values, field.type) for values, field in zip(zip(*rows, strict=True), schema, strict=True)
            ]
            waiting.append(pa.RecordBatch.from_arrays(arrays, schema=schema))
            if sum(batch.num_rows for batch in waiting) >= _GROUP_ROWS:
                flush()

        yield take
        if waiting:
            flush()


def _type(pa: Any, column: Column) -> Any:
    if cast(column) is not None:
        return pa.string()
    if column.type == _TIME:
        return pa.timestamp("us", tz="UTC")
    if column.digits is not None:
        return pa.decimal128(*column.digits)
    return getattr(pa, _PLAIN[column.type])()


def _pyarrow(name: str) -> Any:
    try:
        return importlib.import_module(name)
    except ImportError as error:
        raise ConfigError(
            f"Parquet files need pyarrow, which cannot be imported: {error}",
            mend="pip install 'launch-monitor[export]', or export to CSV",
        ) from error
