"""Training runs: the rows that were known by then, the training service's own procedure, and a store of what came of it.

A fit is a function of its job, so what it gave is kept under the job's digest and not computed twice: another policy,
another baseline or another day finds it. The CPU seconds kept with it are those measured when it was made, which is why
the same backtest gives the same bytes again.
"""

import hashlib
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import NamedTemporaryFile

import msgspec
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from millrace_backtest.errors import BacktestError
from millrace_backtest.recording import Recording
from millrace_kernel.pipeline import Pipeline, Trigger
from millrace_kernel.time import Instant
from millrace_training.adapters.fitting.environment import environment
from millrace_training.adapters.fitting.fit import fit_candidates
from millrace_training.adapters.fitting.job import FitError, FitJob, FitResult
from millrace_training.adapters.running.records import fit_job
from millrace_training.domain.datasets import LabelColumns, VectorColumns, labelled_rows
from millrace_training.domain.updates import rows_for

_FORMAT = 1  # of a kept fit; another layout gets another number
_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(FitResult).decode


class FitStore:
    """Kept fits, one file each; none at all without a directory."""

    def __init__(self, directory: Path | None) -> None:
        self._directory = directory
        self.found, self.made = 0, 0
        self.fitting_seconds = 0.0  # of wall time, for what was made

    def result_of(self, key: str, job: FitJob) -> FitResult:
        """Raises FitError."""
        if self._directory is None:
            return self._fitted(job)
        path = self._directory / key[:2] / f"{key}.fit"
        kept = _kept(path)
        if kept is not None:
            self.found += 1
            return kept
        result = self._fitted(job)
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            with NamedTemporaryFile(dir=path.parent, delete=False) as file:
                file.write(_encode(result))
            os.replace(file.name, path)  # noqa: PTH105  whole or not at all, whoever else writes it
        except OSError as error:
            raise BacktestError(
                f"fits can't be kept in {self._directory}: {error}; name another folder"
            ) from error
        return result

    def _fitted(self, job: FitJob) -> FitResult:
        self.made += 1
        began = time.perf_counter()
        try:
            return fit_candidates(job)
        finally:
            self.fitting_seconds += time.perf_counter() - began


@dataclass(frozen=True, slots=True)
class Request:
    """What a run learns from: what was known by `as_of`. `champion` is the artifact to be compared with; `since` is where a change
    is estimated to have begun."""

    as_of: Instant
    champion: bytes | None = None
    trigger: Trigger = Trigger.FIRST
    since: Instant | None = None


def _kept(path: Path) -> FitResult | None:
    """None where there is none, or one that a full disk or a crash has damaged: it is made again."""
    try:
        return _decode(path.read_bytes())
    except (OSError, msgspec.DecodeError):
        return None


class Trainer:
    """Carries out runs over one recording."""

    def __init__(self, recording: Recording, store: FitStore) -> None:
        self._recording = recording
        self._store = store
        self._vectors, self._labels = _columns(recording)

    def run(self, pipeline: Pipeline, request: Request) -> FitResult:
        """Raises FitError when nothing can be learnt."""
        last = rows_for(request.trigger, pipeline.model.train_on_last)
        most = last + pipeline.model.holdout_last
        rows = labelled_rows(self._vectors, self._labels, request.as_of, most)
        content = self._dataset(rows.vectors, rows.labels)
        with _file(content) as path:
            job = replace(
                fit_job(request.trigger, pipeline, path, 1, request.champion),
                since_us=request.since,
            )
            return self._store.result_of(_digest(job, content), job)

    def labelled_by(self, at: Instant) -> int:
        """How many rows a run could learn from."""
        return len(labelled_rows(self._vectors, self._labels, at, len(self._recording)))

    def _dataset(self, vectors: NDArray[np.int64], told: NDArray[np.int64]) -> bytes:
        recording = self._recording
        numbers = recording.numbers[vectors]
        texts = [recording.categories[place] for place in vectors]
        values = [recording.labels[place].value for place in told]
        is_text = recording.pipeline.label.kind.is_text
        table = pa.table(
            {
                "event_id": pa.array(
                    [recording.event_ids[place] for place in vectors], pa.string()
                ),
                "event_time_us": pa.array(recording.event_times[vectors], pa.int64()),
                "numbers": _lists(
                    pa.array(numbers.reshape(-1), pa.float64()), numbers.shape[1], len(numbers)
                ),
                "categories": _lists(
                    pa.array([text for row in texts for text in row], pa.string()),
                    len(recording.pipeline.categories),
                    len(texts),
                ),
                "label": pa.array(values, pa.string() if is_text else pa.float64()),
            }
        )
        sink = pa.BufferOutputStream()
        pq.write_table(table, sink, compression="zstd")
        return bytes(sink.getvalue().to_pybytes())


def _columns(recording: Recording) -> tuple[VectorColumns, LabelColumns]:
    """Events numbered by their ids' order, as live, so that ties end the same way."""
    ids = np.array(recording.event_ids, dtype=str)
    number = np.empty(len(ids), dtype=np.int64)
    number[np.argsort(ids, kind="stable")] = np.arange(len(ids))
    told = recording.labels
    places = np.array([label.event for label in told], dtype=np.int64)
    vectors = VectorColumns(
        number, recording.event_times, recording.recorded_at, np.arange(len(ids), dtype=np.int64)
    )
    labels = LabelColumns(
        number[places] if len(places) else places,
        np.array([label.known_at for label in told], dtype=np.int64),
        np.array([label.recorded_at for label in told], dtype=np.int64),
        np.arange(len(told), dtype=np.int64),
        np.array([label.value is None for label in told], dtype=np.bool_),
    )
    return vectors, labels


def _lists(flat: pa.Array, width: int, rows: int) -> pa.ListArray:
    offsets = pa.array(np.arange(rows + 1, dtype=np.int32) * width, pa.int32())
    return pa.ListArray.from_arrays(offsets, flat)


def _digest(job: FitJob, content: bytes) -> str:
    """Of everything that the result is a function of, the fitting code's sources and the libraries among it."""
    champion = "" if job.champion is None else hashlib.sha256(job.champion).hexdigest()
    named = replace(job, dataset=Path("dataset"), champion=None)
    parts = (str(_FORMAT), repr(named), champion, repr(environment()))
    digest = hashlib.sha256(content)
    for part in parts:
        digest.update(b"\0" + part.encode())
    return digest.hexdigest()


@contextmanager
def _file(content: bytes) -> Iterator[Path]:
    with NamedTemporaryFile(prefix="millrace-backtest-", suffix=".parquet") as file:
        file.write(content)
        file.flush()
        yield Path(file.name)


def first_fit(trainer: Trainer, pipeline: Pipeline, at: Instant) -> FitResult:
    """The first model. Raises BacktestError when there is none to be had."""
    try:
        return trainer.run(pipeline, Request(at))
    except FitError as error:
        raise BacktestError(f"no first model: {error}") from error
