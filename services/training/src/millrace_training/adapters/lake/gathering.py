"""A dataset taken by a cluster: the same rows as `datasets.DatasetTaker` takes, as parts that lie in the object store.

    keys      of every vector and label, dealt into buckets by event id: each bucket holds all that is known of its events
    join      bucket by bucket, as `domain.datasets` has it: which vector, which label
    order     the joined keys are dealt again, by event time, into as many stretches as there are to be parts
    fetch     each stretch reads its rows from the lake's files, and writes them as one part

Only keys travel between workers. This process sees how many rows there are, some keys to cut the time by, the list of the
parts, and at last the holdout's rows and one in so many of the others.
"""

import hashlib
import io
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from operator import itemgetter
from typing import Any

import msgspec
import pyarrow as pa
import pyarrow.parquet as pq

from millrace_artifacts.store import ObjectStore, digest_key
from millrace_kernel.ids import PipelineName
from millrace_kernel.pipeline import LabelKind
from millrace_training.adapters.fitting.cluster_plan import Part, Scheduler
from millrace_training.adapters.lake.delta import DeltaLake, Kind

IN_PARTS = ".json"  # how the URI of a dataset in parts ends
_CUT_POINTS = 64  # keys of each bucket that the cuts in time are chosen by


@dataclass(frozen=True, slots=True)
class GatherJob:
    """`versions`: of the pipeline file, whose vectors have the same columns. `vectors_version`, `labels_version`: of the lake's
    tables. `most` rows are taken, the newest; a part has about `part_rows`. `sample_rows`: how many of the rows before the
    holdout the trainer's own process gets to see."""

    scheduler: Scheduler
    wait_seconds: float
    lake: str
    store: str
    pipeline: str
    label_kind: LabelKind
    versions: tuple[int, ...]
    as_of_us: int
    vectors_version: int
    labels_version: int
    most: int
    holdout: int
    part_rows: int
    sample_rows: int


@dataclass(frozen=True, slots=True)
class Seen:
    """A Parquet file with the rows that the trainer's own process sees."""

    uri: str
    sha256: str
    rows: int


@dataclass(frozen=True, slots=True)
class Manifest:
    """A dataset in parts, as it is kept: JSON, in the object store like any dataset."""

    parts: tuple[Part, ...]
    seen: Seen

    @property
    def rows(self) -> int:
        return sum(part.rows for part in self.parts)


@dataclass(frozen=True, slots=True)
class Gathered:
    """The manifest as it is kept. `uri` is empty, and so is all else, when there are no rows."""

    uri: str = ""
    sha256: str = ""
    size: int = 0
    rows: int = 0
    first_event_time_us: int = 0
    last_event_time_us: int = 0


def read_manifest(content: bytes) -> Manifest:
    return msgspec.json.decode(content, type=Manifest)


def gather(job: GatherJob) -> Gathered:
    """The function that a child process runs. Raises ClusterError, LakeAwayError, what the object store raises."""
    from millrace_training.adapters.fitting.cluster.connecting import connected

    with connected(job.scheduler, job.wait_seconds) as cluster:
        parts = _Gathering(job, cluster.client).parts()
        if not parts:
            return Gathered()
        manifest = Manifest(parts, _seen(job, cluster.client, parts))
    content = msgspec.json.encode(manifest, order="deterministic")
    key = digest_key(f"datasets/{job.pipeline}", content, IN_PARTS)
    stored = ObjectStore(job.store).put(key, content)
    first, last = parts[0].first_event_time_us, parts[-1].last_event_time_us
    return Gathered(stored.uri, stored.sha256, stored.size, manifest.rows, first, last)


class _Gathering:
    def __init__(self, job: GatherJob, client: Any) -> None:  # noqa: ANN401  Dask's types tell nothing
        self._job = job
        self._client = client
        self._lake = DeltaLake(job.lake)

    def parts(self) -> tuple[Part, ...]:
        from millrace_training.adapters.lake import gathering_tasks as tasks

        buckets = self._joined()
        if not buckets:
            return ()
        points = [self._submit(tasks.cut_points, each, _CUT_POINTS) for each in buckets]
        found = [point for some in self._client.gather(points) for point in some]
        cuts = _cuts(found, self._job.part_rows)
        stretches = self._dealt(
            [self._submit(tasks.by_time, each, cuts) for each in buckets],
            len(cuts) + 1,
            tasks.in_order,
        )
        del buckets
        counts = self._client.gather([self._submit(tasks.rows, each) for each in stretches])
        left, kept = self._job.most, []
        for stretch, count in zip(reversed(stretches), reversed(counts), strict=True):
            if left and count:
                kept.append((stretch, max(0, count - left)))
                left -= min(left, count)
        written = [
            self._submit(tasks.written, self._job, self._paths(), stretch, leave_out)
            for stretch, leave_out in reversed(kept)
        ]
        return tuple(self._client.gather(written))

    def _joined(self) -> list[Any]:
        """The keys of all labelled rows: a table for each bucket, in order of event time."""
        from millrace_training.adapters.lake import gathering_tasks as tasks

        job, name = self._job, PipelineName(self._job.pipeline)
        vectors = self._lake.files(Kind.VECTORS, name, job.vectors_version)
        labels = self._lake.files(Kind.LABELS, name, job.labels_version)
        buckets = max(1, -(-sum(rows for _, rows in vectors) // job.part_rows))
        places = {path: place for place, (path, _) in enumerate(vectors)}
        of_vectors = [
            self._submit(tasks.vector_keys, job, {path: places[path] for path in paths}, buckets)
            for paths in _groups(vectors, job.part_rows)
        ]
        of_labels = [
            self._submit(tasks.label_keys, job, paths, buckets)
            for paths in _groups(labels, job.part_rows)
        ]
        if not of_vectors or not of_labels:
            return []
        one, other = (
            self._dealt(each, buckets, tasks.together) for each in (of_vectors, of_labels)
        )
        return [self._submit(tasks.joined, job, *both) for both in zip(one, other, strict=True)]

    def _paths(self) -> tuple[str, ...]:
        name = PipelineName(self._job.pipeline)
        files = self._lake.files(Kind.VECTORS, name, self._job.vectors_version)
        return tuple(path for path, _ in files)

    def _dealt(self, hands: Sequence[Any], piles: int, work: Callable[..., pa.Table]) -> list[Any]:
        """Of each hand, a list of tables, the first goes to the first pile, and so on; `work` makes one table of a pile."""
        return [
            self._submit(work, *(self._submit(itemgetter(pile), hand) for hand in hands))
            for pile in range(piles)
        ]

    def _submit(self, work: Callable[..., Any], *arguments: object) -> Any:  # noqa: ANN401
        return self._client.submit(work, *arguments, pure=False)


def _groups(files: Sequence[tuple[str, int]], rows: int) -> list[tuple[str, ...]]:
    """Neighbours together, so that each group has so many rows at least."""
    groups: list[tuple[str, ...]] = []
    group: list[str] = []
    count = 0
    for path, more in files:
        group.append(path)
        count += more
        if count >= rows:
            groups.append(tuple(group))
            group, count = [], 0
    return [*groups, tuple(group)] if group else groups


def _cuts(points: Sequence[tuple[int, str, float]], part_rows: int) -> tuple[tuple[int, str], ...]:
    """Keys that part the rows into stretches of about as many: each point, an event time and id, stands for some rows."""
    ordered = sorted(points)
    total = sum(weight for _, _, weight in ordered)
    wanted = max(1, round(total / part_rows))
    cuts: list[tuple[int, str]] = []
    seen = 0.0
    for time, event, weight in ordered:
        if seen >= total * (len(cuts) + 1) / wanted and len(cuts) < wanted - 1:
            cuts.append((time, event))
        seen += weight
    return tuple(cuts)


def _seen(job: GatherJob, client: Any, parts: tuple[Part, ...]) -> Seen:  # noqa: ANN401
    """The newest fifth at most, as `split_rows` has it, and of what is older one row in so many, four times as many at least."""
    from millrace_training.adapters.lake import gathering_tasks as tasks

    total = sum(part.rows for part in parts)
    border = total - min(job.holdout, total // 5)
    most = max(job.sample_rows, 4 * (total - border))
    every = -(-border // most)
    chosen, before = [], 0
    for part in parts:
        chosen.append(client.submit(tasks.seen, job.store, part, before, border, every, pure=False))
        before += part.rows
    table = pa.concat_tables(client.gather(chosen)).combine_chunks()
    sink = io.BytesIO()
    pq.write_table(table, sink, compression="zstd")
    content = sink.getvalue()
    stored = ObjectStore(job.store).put(
        digest_key(f"datasets/{job.pipeline}", content, ".parquet"), content
    )
    assert stored.sha256 == hashlib.sha256(content).hexdigest(), "the key is the digest's"
    return Seen(stored.uri, stored.sha256, table.num_rows)
