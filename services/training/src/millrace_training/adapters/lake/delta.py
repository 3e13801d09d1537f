"""The lake: every vector and every label that ever came, as Delta Lake tables that any tool can read.

Each pipeline has two tables of its own, `<root>/<pipeline>/vectors` and `.../labels`: a run settles and reads its own
pipeline only, however many others there are, and forgetting a pipeline is deleting a folder. (One table partitioned by
pipeline appends a little faster, but what it has of a topic's partition could not be told by one offset.)

Appends are exactly once: with the rows of a topic's partition the table keeps their last offset as an application
transaction (Delta protocol, `txn`), and rows up to it are not appended again.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from urllib.parse import unquote, urlsplit

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.dataset as pds
from deltalake import CommitProperties, DeltaTable, Transaction, write_deltalake
from deltalake.exceptions import CommitFailedError, DeltaError, TableNotFoundError
from pyarrow.fs import LocalFileSystem, SubTreeFileSystem

from millrace_kernel.errors import TransientError
from millrace_kernel.ids import PipelineName

_ATTEMPTS = 5


class Kind(StrEnum):
    """The two tables of a pipeline."""

    VECTORS = "vectors"
    LABELS = "labels"


SCHEMAS: Mapping[Kind, pa.Schema] = {
    Kind.VECTORS: pa.schema(
        [
            ("event_id", pa.string()),
            ("entity", pa.string()),
            ("event_time_us", pa.int64()),
            ("recorded_at_us", pa.int64()),
            ("pipeline_version", pa.int32()),
            ("numbers", pa.list_(pa.float64())),
            ("categories", pa.list_(pa.string())),
            ("offset", pa.int64()),
        ]
    ),
    Kind.LABELS: pa.schema(
        [
            ("event_id", pa.string()),
            ("known_at_us", pa.int64()),
            ("recorded_at_us", pa.int64()),
            ("retracted", pa.bool_()),
            ("number", pa.float64()),
            ("text", pa.string()),
            ("offset", pa.int64()),
        ]
    ),
}


class LakeAwayError(TransientError):
    """The lake cannot be read or written now."""


@dataclass(frozen=True, slots=True)
class Versions:
    """What a dataset was taken from."""

    vectors: int
    labels: int


class DeltaLake:
    """Delta tables below one URL: `file:///path`, `s3://bucket/prefix` and what else the object store understands."""

    def __init__(self, root: str) -> None:
        self._root = root.rstrip("/")

    def append(self, kind: Kind, pipeline: PipelineName, rows: pa.Table) -> None:
        """Append rows that carry their `topic` and `partition` beside the table's own columns; each once, however often.

        Rows of one partition come in the order of their offsets, and never after newer ones.
        """
        for _ in range(_ATTEMPTS):
            try:
                self._append(kind, pipeline, rows)
            except CommitFailedError:
                continue  # another process appended meanwhile: look again at what is there
            except (DeltaError, OSError) as error:
                raise LakeAwayError(f"{self._uri(kind, pipeline)}: {error}") from error
            return
        raise LakeAwayError(
            f"{self._uri(kind, pipeline)}: others commit all the time; tried {_ATTEMPTS} times"
        )

    def _append(self, kind: Kind, pipeline: PipelineName, rows: pa.Table) -> None:
        table = self._open(kind, pipeline)
        fresh, marks = _not_yet(rows, table)
        if fresh.num_rows:
            write_deltalake(
                table,
                fresh.select(SCHEMAS[kind].names).cast(SCHEMAS[kind]),
                mode="append",
                commit_properties=CommitProperties(app_transactions=marks),
            )

    def versions(self, pipeline: PipelineName) -> Versions:
        """The newest versions; tables that do not exist yet are made."""
        try:
            return Versions(
                self._open(Kind.VECTORS, pipeline).version(),
                self._open(Kind.LABELS, pipeline).version(),
            )
        except (DeltaError, OSError) as error:
            raise LakeAwayError(f"{self._root}/{pipeline}: {error}") from error

    def read(
        self,
        kind: Kind,
        pipeline: PipelineName,
        version: int,
        columns: list[str],
        only: pds.Expression,
    ) -> pa.Table:
        """The rows of one version of the table for which `only` holds. Files that can hold none are not read."""
        try:
            dataset = self._open(kind, pipeline, version).to_pyarrow_dataset(
                filesystem=self._local(kind, pipeline)
            )
            return dataset.to_table(columns=columns, filter=only)
        except (DeltaError, OSError) as error:
            raise LakeAwayError(
                f"{self._uri(kind, pipeline)} version {version}: {error}"
            ) from error

    def files(self, kind: Kind, pipeline: PipelineName, version: int) -> list[tuple[str, int]]:
        """The files of one version of the table, by path below it, and how many rows each has."""
        try:
            actions = pa.table(self._open(kind, pipeline, version).get_add_actions(flatten=True))
        except (DeltaError, OSError) as error:
            raise LakeAwayError(
                f"{self._uri(kind, pipeline)} version {version}: {error}"
            ) from error
        if actions.num_rows == 0:
            return []
        paths, rows = actions.column("path"), actions.column("num_records")
        return sorted(zip(paths.to_pylist(), rows.to_pylist(), strict=True))

    def file(
        self, kind: Kind, pipeline: PipelineName, version: int, path: str, columns: list[str]
    ) -> pa.Table:
        """All rows of one of these files, in its order."""
        try:
            dataset = self._open(kind, pipeline, version).to_pyarrow_dataset(
                filesystem=self._local(kind, pipeline)
            )
            [fragment] = [each for each in dataset.get_fragments() if each.path == path]
            return fragment.to_table(schema=dataset.schema, columns=columns)
        except (DeltaError, OSError) as error:
            raise LakeAwayError(f"{self._uri(kind, pipeline)}/{path}: {error}") from error

    def event_times(self, pipeline: PipelineName, version: int) -> list[tuple[int, int]]:
        """Of each file of vectors: its newest event time and how many rows it has; the newest file first."""
        files = pa.table(self._open(Kind.VECTORS, pipeline, version).get_add_actions(flatten=True))
        if files.num_rows == 0:
            return []
        newest, rows = (
            files.column("max.event_time_us").to_pylist(),
            files.column("num_records").to_pylist(),
        )
        return sorted(zip(newest, rows, strict=True), reverse=True)

    def _open(self, kind: Kind, pipeline: PipelineName, version: int | None = None) -> DeltaTable:
        uri = self._uri(kind, pipeline)
        try:
            return DeltaTable(uri, version=version)
        except TableNotFoundError:
            return DeltaTable.create(
                uri, schema=SCHEMAS[kind], mode="ignore", name=f"{pipeline} {kind}"
            )

    def _local(self, kind: Kind, pipeline: PipelineName) -> SubTreeFileSystem | None:
        """Arrow's own way to local files: its reading threads then never need Python, which may be about to end."""
        parts = urlsplit(self._uri(kind, pipeline))
        if parts.scheme != "file":
            return None
        return SubTreeFileSystem(unquote(parts.netloc + parts.path), LocalFileSystem())

    def _uri(self, kind: Kind, pipeline: PipelineName) -> str:
        return f"{self._root}/{pipeline}/{kind}"


def _not_yet(rows: pa.Table, table: DeltaTable) -> tuple[pa.Table, list[Transaction]]:
    """Those rows that the table does not have, and how far it has each partition once it has them."""
    places = (
        rows.select(["topic", "partition", "offset"])
        .group_by(["topic", "partition"])
        .aggregate([("offset", "max")])
    )
    fresh, marks = [], []
    for place in places.to_pylist():
        name = f"{place['topic']}/{place['partition']}"
        had = table.transaction_version(name)
        here = (pc.field("topic") == place["topic"]) & (pc.field("partition") == place["partition"])
        newer = rows.filter(here & (pc.field("offset") > (-1 if had is None else had)))
        if newer.num_rows:
            fresh.append(newer)
            marks.append(Transaction(name, place["offset_max"]))
    return (pa.concat_tables(fresh) if fresh else rows.slice(0, 0)), marks
