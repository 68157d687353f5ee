"""Rows of Parquet files, some at a time, of the columns that are looked at alone."""

from collections.abc import Iterator, Sequence
from typing import Any

from rewarm.data.rejects import BadRow
from rewarm.data.sources.extras import extra
from rewarm.data.sources.files import SourceFile
from rewarm.data.sources.rows import Row
from rewarm.errors import DataError

_BATCH_BYTES = 1 << 24
_BATCH_ROWS = 1 << 10
_READ_BYTES = 1 << 20


def parquet_rows(file: SourceFile, columns: Sequence[str]) -> Iterator[Row | BadRow]:
    """Yield the rows of a file; a place is the number of the row, counted from 1.

    Args:
        file: the file.
        columns: what to read; a dot leads into a nested column.

    Raises:
        DataError: it is no Parquet file, is damaged, or lacks a column; or pyarrow is missing.
    """
    pyarrow, parquet = (extra(name, "Parquet") for name in ("pyarrow", "pyarrow.parquet"))
    try:
        with (
            file.open() as opened,
            parquet.ParquetFile(opened, buffer_size=_READ_BYTES, pre_buffer=False) as table,
        ):
            _check_columns(file.name, table.schema_arrow, columns)
            number = 0
            for batch in table.iter_batches(_batch_rows(table.metadata), columns=list(columns)):
                for values in _values(batch):
                    number += 1
                    read_bytes = file.num_bytes * number // table.metadata.num_rows
                    yield _row(values, f"{file.name}:{number}", read_bytes)
    except (pyarrow.ArrowException, OSError) as error:
        raise DataError(
            f"{file.name}: cannot be read as Parquet ({error}). It is damaged or something else:"
            " fetch or write it again."
        ) from error


def _check_columns(name: str, schema: Any, columns: Sequence[str]) -> None:  # noqa: ANN401
    """Refuse a table that lacks a column, before anything is read."""
    for column in columns:
        fields = schema
        for part in [column] if column in schema.names else column.split("."):
            index = fields.get_field_index(part) if hasattr(fields, "get_field_index") else -1
            if index < 0:
                raise DataError(
                    f"{name}: has no column {column!r}; its columns are"
                    f" {', '.join(schema.names[:20])}. Name the right one."
                )
            fields = fields.field(index).type


def _batch_rows(metadata: Any) -> int:  # noqa: ANN401
    """Return how many rows are about 16 MiB, by the sizes that the file gives."""
    sizes = (
        (group.total_byte_size, group.num_rows)
        for group in map(metadata.row_group, range(metadata.num_row_groups))
    )
    largest = max((size // max(rows, 1) for size, rows in sizes), default=0)
    return max(1, min(_BATCH_ROWS, _BATCH_BYTES // max(largest, 1)))


def _values(batch: Any) -> Iterator[dict[str, Any] | UnicodeDecodeError]:  # noqa: ANN401
    """Yield the values of each row of a batch, or why they are no text."""
    try:
        yield from batch.to_pylist()
    except UnicodeDecodeError:
        # Arrow hands out strings without a look at their bytes; find the row that is not UTF-8.
        for number in range(batch.num_rows):
            try:
                (values,) = batch.slice(number, 1).to_pylist()
            except UnicodeDecodeError as error:
                values = error
            yield values


def _row(values: dict[str, Any] | UnicodeDecodeError, place: str, read_bytes: int) -> Row | BadRow:
    """Return a row, or what is wrong with it."""
    if isinstance(values, UnicodeDecodeError):
        return BadRow(
            "not UTF-8", place, f"not valid UTF-8 ({values.reason}). Correct or remove the row."
        )
    return Row(values, place, read_bytes)
