"""What workers do to take a dataset from the lake: see `gathering`. Tables of keys travel between them, rows do not."""

import io
from bisect import bisect_left, bisect_right
from collections.abc import Mapping, Sequence
from itertools import pairwise
from zlib import crc32

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from millrace_artifacts.store import ObjectStore, digest_key
from millrace_kernel.ids import PipelineName
from millrace_kernel.pipeline import LabelKind
from millrace_kernel.time import Instant
from millrace_training.adapters.fitting.cluster_plan import Part
from millrace_training.adapters.fitting.job import DatasetError
from millrace_training.adapters.lake.datasets import label_columns, vector_columns
from millrace_training.adapters.lake.delta import DeltaLake, Kind
from millrace_training.adapters.lake.gathering import GatherJob
from millrace_training.domain.datasets import labelled_rows

_VECTOR_KEYS = ["event_id", "event_time_us", "recorded_at_us", "pipeline_version", "offset"]
_LABELS = ["event_id", "known_at_us", "recorded_at_us", "retracted", "number", "text", "offset"]


def vector_keys(job: GatherJob, files: Mapping[str, int], buckets: int) -> list[pa.Table]:
    """Of the files, given by path and number: `file` and `row` say where each vector stands."""
    found = []
    for path, number in files.items():
        table = _file(job, Kind.VECTORS, path, _VECTOR_KEYS)
        where = {
            "file": pa.array(np.full(table.num_rows, number, dtype=np.int32)),
            "row": pa.array(np.arange(table.num_rows, dtype=np.int64)),
        }
        for name, column in where.items():
            table = table.append_column(name, column)
        fitting = pc.field("pipeline_version").isin(list(job.versions)) & (
            pc.field("recorded_at_us") <= job.as_of_us
        )
        found.append(table.filter(fitting).drop_columns(["pipeline_version"]))
    return _dealt(pa.concat_tables(found), buckets)


def label_keys(job: GatherJob, files: Sequence[str], buckets: int) -> list[pa.Table]:
    known = (pc.field("known_at_us") <= job.as_of_us) & (pc.field("recorded_at_us") <= job.as_of_us)
    found = [_file(job, Kind.LABELS, path, _LABELS).filter(known) for path in files]
    return _dealt(pa.concat_tables(found), buckets)


def together(*tables: pa.Table) -> pa.Table:
    return pa.concat_tables(tables)


def joined(job: GatherJob, vectors: pa.Table, labels: pa.Table) -> pa.Table:
    """The bucket's labelled rows by event time and id: where their vectors stand, and their labels."""
    ids = pc.unique(vectors.column("event_id"))
    ordered = ids.take(pc.sort_indices(ids))
    labels = labels.filter(pc.is_in(labels.column("event_id"), value_set=ids))
    rows = labelled_rows(
        vector_columns(vectors, ordered),
        label_columns(labels, ordered),
        Instant(job.as_of_us),
        vectors.num_rows,
    )
    chosen = vectors.take(pa.array(rows.vectors)).select(
        ["event_id", "event_time_us", "file", "row"]
    )
    name = "text" if job.label_kind is LabelKind.MULTICLASS else "number"
    label = labels.column(name).take(pa.array(rows.labels))
    table = chosen.append_column("label", label).combine_chunks()
    usable = pc.not_equal(label, "") if name == "text" else pc.is_finite(label)
    return table.filter(pc.fill_null(usable, False))


def cut_points(keys: pa.Table, most: int) -> list[tuple[int, str, float]]:
    """Event time and id of some rows, evenly over all, and how many rows each of them stands for."""
    count = min(most, keys.num_rows)
    if not count:
        return []
    places = np.linspace(0, keys.num_rows - 1, count).astype(np.int64)
    some = keys.select(["event_time_us", "event_id"]).take(pa.array(places))
    each = keys.num_rows / count
    return [
        (time, event, each)
        for time, event in zip(*(column.to_pylist() for column in some.columns), strict=True)
    ]


def by_time(keys: pa.Table, cuts: Sequence[tuple[int, str]]) -> list[pa.Table]:
    """Parted at the cuts: what is at a cut or newer stands behind it."""
    times = keys.column("event_time_us").to_numpy()
    places = [0]
    for time, event in cuts:
        first, last = bisect_left(times, time), bisect_right(times, time)
        same = keys.column("event_id").slice(first, last - first).to_pylist()
        places.append(first + bisect_left(same, event))
    places.append(keys.num_rows)
    # copied, or each slice would hold on to all of them
    return [
        keys.slice(start, stop - start).take(pa.array(np.arange(stop - start)))
        for start, stop in pairwise(places)
    ]


def in_order(*tables: pa.Table) -> pa.Table:
    by = [("event_time_us", "ascending"), ("event_id", "ascending")]
    return pa.concat_tables(tables).sort_by(by).combine_chunks()


def rows(table: pa.Table) -> int:
    return int(table.num_rows)


def written(job: GatherJob, paths: Sequence[str], keys: pa.Table, leave_out: int) -> Part:
    """The part of these keys, but for the oldest `leave_out`, with its vectors, in the object store."""
    keys = keys.slice(leave_out).combine_chunks()
    files, places = keys.column("file").to_numpy(), keys.column("row").to_numpy()
    order, found = [], []
    for number in np.unique(files).tolist():
        mine = np.flatnonzero(files == number)
        table = _file(job, Kind.VECTORS, paths[number], ["event_id", "numbers", "categories"])
        order.append(mine)
        found.append(table.take(pa.array(places[mine])))
    back = np.argsort(np.concatenate(order), kind="stable")
    vectors = pa.concat_tables(found).take(pa.array(back)).combine_chunks()
    if vectors.column("event_id") != keys.column("event_id"):
        raise DatasetError(f"{job.pipeline}: the lake's files are not what they were a moment ago")
    table = keys.select(["event_id", "event_time_us"])
    for name in ("numbers", "categories"):
        table = table.append_column(name, vectors.column(name))
    table = table.append_column("label", keys.column("label"))
    sink = io.BytesIO()
    pq.write_table(table, sink, compression="zstd")
    content = sink.getvalue()
    key = digest_key(f"datasets/{job.pipeline}", content, ".parquet")
    stored = ObjectStore(job.store).put(key, content)
    times = table.column("event_time_us")
    return Part(stored.uri, stored.sha256, table.num_rows, times[0].as_py(), times[-1].as_py())


def seen(store: str, part: Part, before: int, border: int, every: int) -> pa.Table:
    """Of a part that begins at row `before` of all: all rows from `border` on, and of the older ones one in `every`."""
    table = pq.read_table(io.BytesIO(ObjectStore(store).get(part.uri, part.sha256)))
    places = np.arange(before, before + part.rows)
    chosen = (places >= border) | ((border - 1 - places) % every == 0)
    return table.filter(pa.array(chosen))


def _file(job: GatherJob, kind: Kind, path: str, columns: list[str]) -> pa.Table:
    version = job.vectors_version if kind is Kind.VECTORS else job.labels_version
    return DeltaLake(job.lake).file(kind, PipelineName(job.pipeline), version, path, columns)


def _dealt(table: pa.Table, buckets: int) -> list[pa.Table]:
    """By event id: a checksum, so that every machine deals alike."""
    ids = table.column("event_id").to_pylist()
    bucket = np.fromiter((crc32(each.encode()) for each in ids), np.int64, len(ids)) % buckets
    order = np.argsort(bucket, kind="stable")
    ends = np.searchsorted(bucket[order], np.arange(buckets + 1))
    return [table.take(pa.array(order[start:stop])) for start, stop in pairwise(ends.tolist())]
