"""From the staging tables into the lake: appended to Delta, then deleted from SQL.

A crash between the two leaves the rows staged; appended again, they are recognised and dropped (`delta.DeltaLake`).
"""

from collections.abc import Sequence
from typing import Any

import msgspec
import numpy as np
import pyarrow as pa
from sqlalchemy import Row, Select, Table, delete, func, select

from millrace_bus.sql import Database
from millrace_kernel.ids import PipelineName
from millrace_training.adapters.lake.delta import DeltaLake, Kind
from millrace_training.adapters.tables import staged_labels, staged_vectors

AT_ONCE = 50_000
_STAGED: dict[Kind, Table] = {Kind.VECTORS: staged_vectors, Kind.LABELS: staged_labels}
_decode_categories = msgspec.msgpack.Decoder(list[str]).decode

Rows = Sequence[Row[Any]]


class Settler:
    """Synchronous, and safe to run twice at once: one of two appends wins, the other finds nothing left to do."""

    def __init__(self, database: Database, lake: DeltaLake, *, at_once: int = AT_ONCE) -> None:
        self._database = database
        self._lake = lake
        self._at_once = at_once

    def waiting(self) -> int:
        """How many rows wait for the lake."""
        with self._database.reading() as connection:
            return sum(
                connection.execute(select(func.count()).select_from(table)).scalar_one()
                for table in _STAGED.values()
            )

    def settle_all(self) -> None:
        names: set[PipelineName] = set()
        with self._database.reading() as connection:
            for table in _STAGED.values():
                names.update(connection.execute(select(table.c.pipeline).distinct()).scalars())
        for name in sorted(names):
            self.settle(name)

    def settle(self, pipeline: PipelineName) -> None:
        """Return when everything that was staged for this pipeline is in the lake."""
        for kind in Kind:
            while self._settle_some(kind, pipeline) == self._at_once:
                pass

    def _settle_some(self, kind: Kind, pipeline: PipelineName) -> int:
        with self._database.reading() as connection:
            rows = connection.execute(_oldest(_STAGED[kind], pipeline, self._at_once)).all()
        if rows:
            self._lake.append(kind, pipeline, _columns_of(kind, rows))
            self._delete(_STAGED[kind], pipeline, rows)
        return len(rows)

    def _delete(self, table: Table, pipeline: PipelineName, rows: Rows) -> None:
        """Up to the last offset of each partition: what came meanwhile stands behind it."""
        ends = {(row.topic, row.partition): row.offset for row in rows}
        with self._database.transaction() as connection:
            for (topic, partition), offset in ends.items():
                connection.execute(
                    delete(table).where(
                        table.c.topic == topic,
                        table.c.partition == partition,
                        table.c.offset <= offset,
                        table.c.pipeline == pipeline,
                    )
                )


def _oldest(table: Table, pipeline: PipelineName, limit: int) -> Select[Any]:
    in_order = (table.c.topic, table.c.partition, table.c.offset)
    return select(table).where(table.c.pipeline == pipeline).order_by(*in_order).limit(limit)


def _columns_of(kind: Kind, rows: Rows) -> pa.Table:
    columns: dict[str, Any] = {
        name: list(column)
        for name, column in zip(rows[0]._fields, zip(*rows, strict=True), strict=True)
    }
    if kind is Kind.VECTORS:
        columns["numbers"] = _number_lists(columns["numbers"])
        columns["categories"] = pa.array(
            [_decode_categories(content) for content in columns["categories"]],
            pa.list_(pa.string()),
        )
    else:
        columns["number"] = pa.array(columns["number"], pa.float64())
        columns["text"] = pa.array(columns["text"], pa.string())
    return pa.table(columns)


def _number_lists(contents: Sequence[bytes]) -> pa.ListArray:
    """Without a Python object for each number: there are millions."""
    width = np.dtype("<f8").itemsize
    ends = np.cumsum([0, *(len(content) // width for content in contents)], dtype=np.int32)
    return pa.ListArray.from_arrays(
        pa.array(ends), pa.array(np.frombuffer(b"".join(contents), dtype="<f8"))
    )
