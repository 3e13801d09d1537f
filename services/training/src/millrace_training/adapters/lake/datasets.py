"""A dataset: taken from the lake at fixed versions of its tables, written once into the object store."""

from collections.abc import Iterator

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from millrace_artifacts.store import ObjectStore, digest_key
from millrace_kernel.ids import PipelineName
from millrace_kernel.pipeline import LabelKind, Pipeline
from millrace_kernel.time import Instant
from millrace_training.adapters.lake.delta import DeltaLake, Kind, Versions
from millrace_training.adapters.lake.gathering import IN_PARTS, read_manifest
from millrace_training.domain.datasets import (
    Integers,
    LabelColumns,
    Rows,
    VectorColumns,
    labelled_rows,
)
from millrace_training.domain.events import Dataset, Run
from millrace_training.domain.updates import rows_for

_LOOK_AT_FIRST = 2  # times the rows asked for: some events have no label yet
_VECTORS = ["event_id", "event_time_us", "recorded_at_us", "numbers", "categories", "offset"]
_LABELS = ["event_id", "known_at_us", "recorded_at_us", "retracted", "number", "text", "offset"]


class DatasetTaker:
    def __init__(self, lake: DeltaLake, store: ObjectStore) -> None:
        self._lake = lake
        self._store = store

    def take(
        self, run: Run, pipeline: Pipeline, versions: frozenset[int]
    ) -> tuple[Dataset, bytes] | None:
        """The newest labelled rows as known at the run's time, and their file; None when there are no rows.

        `versions` are the versions of the pipeline file whose vectors have the same columns.
        """
        at = self._lake.versions(run.pipeline)
        most = _most(run, pipeline)
        rows = self._rows(run, versions, most, at, pipeline.label.kind)
        if rows.num_rows == 0:
            return None
        content = _parquet(rows)
        stored = self._store.put(
            digest_key(f"datasets/{run.pipeline}", content, ".parquet"), content
        )
        times = pc.min_max(rows.column("event_time_us"))
        dataset = Dataset(
            uri=stored.uri,
            sha256=stored.sha256,
            size=stored.size,
            rows=rows.num_rows,
            vectors_version=at.vectors,
            labels_version=at.labels,
            first_event_time=Instant(times["min"].as_py()),
            last_event_time=Instant(times["max"].as_py()),
        )
        return dataset, content

    def again(
        self, run: Run, pipeline: Pipeline, versions: frozenset[int], dataset: Dataset
    ) -> bytes:
        """The file of a dataset, made from the same versions of the lake's tables once more."""
        at = Versions(dataset.vectors_version, dataset.labels_version)
        most = _most(run, pipeline)
        return _parquet(self._rows(run, versions, most, at, pipeline.label.kind))

    def content(self, dataset: Dataset) -> bytes:
        """The file of a dataset that was taken before; of one in parts, the rows that this machine gets to see."""
        content = self._store.get(dataset.uri, dataset.sha256)
        if not dataset.uri.endswith(IN_PARTS):
            return content
        seen = read_manifest(content).seen
        return self._store.get(seen.uri, seen.sha256)

    def _rows(
        self, run: Run, versions: frozenset[int], most: int, at: Versions, kind: LabelKind
    ) -> pa.Table:
        """Looks at the newest vectors first, and at more of them until there are enough labelled ones."""
        for since in self._beginnings(run.pipeline, at.vectors, most):
            rows = self._rows_since(since, run, versions, most, at, kind)
            if rows.num_rows == most:
                return rows
        return self._rows_since(None, run, versions, most, at, kind)

    def _beginnings(self, pipeline: PipelineName, version: int, most: int) -> Iterator[int]:
        """Event times to look from before looking from the beginning, each earlier than the last.

        All vectors from there on stand in the files that were counted, and files hold what came at about the same time.
        """
        wanted, seen = most * _LOOK_AT_FIRST, 0
        for newest, rows in self._lake.event_times(pipeline, version):
            if seen >= wanted:
                yield newest + 1
                wanted *= 4
            seen += rows

    def _rows_since(
        self,
        since: int | None,
        run: Run,
        versions: frozenset[int],
        most: int,
        at: Versions,
        kind: LabelKind,
    ) -> pa.Table:
        fitting = pc.field("pipeline_version").isin(sorted(versions)) & (
            pc.field("recorded_at_us") <= run.as_of
        )
        if since is not None:
            fitting &= pc.field("event_time_us") >= since
        vectors = self._lake.read(Kind.VECTORS, run.pipeline, at.vectors, _VECTORS, fitting)
        ids = pc.unique(vectors.column("event_id"))
        known = (pc.field("known_at_us") <= run.as_of) & (pc.field("recorded_at_us") <= run.as_of)
        labels = self._lake.read(
            Kind.LABELS, run.pipeline, at.labels, _LABELS, known & pc.field("event_id").isin(ids)
        )
        ordered = ids.take(
            pc.sort_indices(ids)
        )  # by id, so that events of the same time stand in the same order always
        rows = labelled_rows(
            vector_columns(vectors, ordered), label_columns(labels, ordered), run.as_of, most
        )
        return _columns(vectors, labels, rows, kind)


def _most(run: Run, pipeline: Pipeline) -> int:
    return rows_for(run.trigger, pipeline.model.train_on_last) + pipeline.model.holdout_last


def vector_columns(vectors: pa.Table, ids: pa.Array) -> VectorColumns:
    return VectorColumns(
        _events(vectors, ids),
        _integers(vectors, "event_time_us"),
        _integers(vectors, "recorded_at_us"),
        _integers(vectors, "offset"),
    )


def label_columns(labels: pa.Table, ids: pa.Array) -> LabelColumns:
    return LabelColumns(
        _events(labels, ids),
        _integers(labels, "known_at_us"),
        _integers(labels, "recorded_at_us"),
        _integers(labels, "offset"),
        labels.column("retracted").to_numpy().astype(np.bool_),
    )


def _columns(vectors: pa.Table, labels: pa.Table, rows: Rows, kind: LabelKind) -> pa.Table:
    chosen = vectors.take(pa.array(rows.vectors)).select(
        ["event_id", "event_time_us", "numbers", "categories"]
    )
    label = labels.column("text" if kind.is_text else "number").take(pa.array(rows.labels))
    return chosen.append_column("label", label)


def _parquet(rows: pa.Table) -> bytes:
    """The same rows give the same bytes."""
    sink = pa.BufferOutputStream()
    pq.write_table(rows.combine_chunks(), sink, compression="zstd")
    return bytes(sink.getvalue().to_pybytes())


def _events(table: pa.Table, ids: pa.Array) -> Integers:
    return _as_integers(pc.index_in(table.column("event_id"), value_set=ids))


def _integers(table: pa.Table, column: str) -> Integers:
    return _as_integers(table.column(column))


def _as_integers(column: pa.ChunkedArray) -> Integers:
    return np.asarray(column.to_numpy(), dtype=np.int64)
