"""Recorded rows: CSV, JSON lines, Parquet. A row is what a producer would have had in its hands."""

import csv
import gzip
import io
import zlib
from collections.abc import Callable, Iterator, Mapping
from datetime import date, datetime
from pathlib import Path
from typing import Any, TextIO

import orjson

from millrace.errors import ClientError, UsageError

Row = Mapping[str, Any]


def rows_of(path: Path, limit: int | None = None) -> list[Row]:
    """The file's rows in its order, at most `limit`. Raises UsageError or ClientError that names the file and the line."""
    if not path.is_file():
        raise UsageError(f"no file {path}")
    name = path.name.lower().removesuffix(".gz")
    for ending, read in _READERS.items():
        if name.endswith(ending):
            return _first(read(path), limit)
    raise UsageError(
        f"{path} is none of {', '.join(_READERS)} (each but parquet also as .gz); name the file by what is in it"
    )


def _csv(path: Path) -> Iterator[Row]:
    with _text(path) as file:
        reader = csv.DictReader(file)
        for row in reader:
            if None in row or None in row.values():
                raise ClientError(
                    f"{path}, line {reader.line_num}: not as many values as the header has names"
                )
            yield row


def _json_lines(path: Path) -> Iterator[Row]:
    with _text(path) as file:
        for number, line in enumerate(file, start=1):
            if not line.strip():
                continue
            try:
                row = orjson.loads(line)
            except orjson.JSONDecodeError as error:
                raise ClientError(f"{path}, line {number}: not JSON ({error})") from None
            if not isinstance(row, dict):
                raise ClientError(f"{path}, line {number}: not a JSON object")
            yield row


def _parquet(path: Path) -> Iterator[Row]:
    import pyarrow  # as slow to import as the rest together, and needed for this kind of file alone
    from pyarrow import parquet

    try:
        batches = parquet.ParquetFile(path).iter_batches()
        for batch in batches:
            for row in batch.to_pylist():
                yield {name: _plain(value) for name, value in row.items()}
    except (pyarrow.ArrowException, OSError) as error:
        raise ClientError(f"{path} is no Parquet file that can be read: {error}") from None


_READERS: Mapping[str, Callable[[Path], Iterator[Row]]] = {
    ".csv": _csv,
    ".jsonl": _json_lines,
    ".ndjson": _json_lines,
    ".json": _json_lines,
    ".parquet": _parquet,
}


def _plain(value: object) -> object:
    """A value as JSON has it; a time without a zone is UTC, as everywhere."""
    if isinstance(value, datetime):
        return value.isoformat()
    return f"{value.isoformat()}T00:00:00" if isinstance(value, date) else value


def _text(path: Path) -> TextIO:
    if path.suffix == ".gz":
        return io.TextIOWrapper(gzip.open(path), encoding="utf-8-sig", newline="")
    return path.open(encoding="utf-8-sig", newline="")


def _first(rows: Iterator[Row], limit: int | None) -> list[Row]:
    found: list[Row] = []
    try:
        for row in rows:
            if limit is not None and len(found) >= limit:
                break
            found.append(row)
    except (OSError, EOFError, zlib.error, UnicodeDecodeError, csv.Error) as error:
        raise ClientError(f"a row after {len(found)} can't be read: {error}") from None
    return found
