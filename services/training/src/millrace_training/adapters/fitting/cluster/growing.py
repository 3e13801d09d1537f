"""Trees grown by a cluster's workers, each on the parts that were dealt to it."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from operator import itemgetter
from typing import Any

import dask.array
import numpy as np
import xgboost
import xgboost.dask
from dask.delayed import delayed
from distributed import Future, wait
from typing_extensions import override

from millrace_artifacts.signature import Signature
from millrace_training.adapters.fitting.cluster.connecting import Cluster, Worker
from millrace_training.adapters.fitting.cluster.parts import (
    Encoding,
    Fading,
    Statistics,
    combined,
    encoded_part,
    statistics_of,
    trimmed,
)
from millrace_training.adapters.fitting.cluster_plan import Stretch, dealt
from millrace_training.adapters.fitting.job import FitJob

_AT_ONCE = 16  # statistics that are added up in one task


@dataclass(frozen=True, slots=True)
class Growing:
    """What is learnt from, and by whom: `homes` says for each piece the worker that reads it."""

    job: FitJob
    store: str
    pieces: tuple[Stretch, ...]
    without: tuple[str, ...]
    fading: Fading
    seconds: float
    cluster: Cluster | None = None
    workers: tuple[Worker, ...] = ()
    homes: tuple[Worker, ...] = field(default=())

    def dealt_to(self, workers: tuple[Worker, ...], cluster: Cluster) -> "Growing":
        some = workers[: len(self.pieces)]
        homes = tuple(some[place] for place in dealt(self.pieces, len(some)))
        taking_part = tuple(worker for worker in some if worker in homes)
        return replace(self, cluster=cluster, workers=taking_part, homes=homes)

    def statistics(self, most: int) -> Statistics:
        """Of all pieces; `most` texts of each category column are told."""
        found = self.on_homes(
            statistics_of,
            *((self.job, self.store, each, self.without, self.fading) for each in self.pieces),
        )
        client = self.client
        while len(found) > 1:
            groups = [found[at : at + _AT_ONCE] for at in range(0, len(found), _AT_ONCE)]
            found = [client.submit(combined, *group, pure=False) for group in groups]
        statistics: Statistics = client.submit(trimmed, found[0], most, pure=False).result()
        return statistics

    def encoding(self, signature: Signature, statistics: Statistics) -> Encoding:
        balance: tuple[float, ...] = ()
        if self.job.options.balance and signature.classes:
            weights = [statistics.classes[_label(self.job, each)] for each in signature.classes]
            # as `finishing._balanced`: every class weighs the same, and the mean stays what it was
            balance = tuple(sum(weights) / (len(weights) * each) for each in weights)
        return Encoding(signature, self.without, self.fading, balance)

    def on_homes(self, work: Callable[..., Any], *arguments: tuple[Any, ...]) -> list[Future[Any]]:
        """One task for each piece, where the piece is at home; elsewhere should that worker be lost."""
        return [
            self.client.submit(
                work, *each, workers=[home.address], allow_other_workers=True, pure=False
            )
            for each, home in zip(arguments, self.homes, strict=True)
        ]

    @property
    def client(self) -> Any:  # noqa: ANN401  Dask's types tell nothing
        assert self.cluster is not None, "not dealt to workers yet"
        return self.cluster.client


class LostError(Exception):
    """A worker was lost while rows were read, so that others have its pieces now."""


class StopsByItself(xgboost.callback.TrainingCallback):
    """Nobody can interrupt a worker's training: when whoever waits for it is gone, it ends at its own limit."""

    def __init__(self, seconds: float) -> None:
        super().__init__()
        self._seconds = seconds
        self._began: float | None = None

    @override
    def after_iteration(self, model: Any, epoch: int, evals_log: Any) -> bool:
        now = time.monotonic()
        self._began = self._began or now
        if now - self._began > self._seconds:
            raise TimeoutError(f"training took longer than {self._seconds:g} s")
        return False


def grown(
    growing: Growing, encoding: Encoding, settings: dict[str, Any], *, bins: int, rounds: int
) -> xgboost.Booster:
    """Raises what the libraries raise when a worker is lost."""
    job, client = growing.job, growing.client
    encoded = growing.on_homes(
        encoded_part, *((job, growing.store, each, encoding) for each in growing.pieces)
    )
    weighted = growing.fading.half_life is not None or bool(encoding.balance)
    columns = [
        growing.on_homes(itemgetter(place), *((each,) for each in encoded)) for place in range(3)
    ]
    del encoded
    _read(columns, growing)
    rows = [each.rows for each in growing.pieces]
    data = _array(columns[0], [(count, encoding.signature.width) for count in rows], np.float32)
    label, weight = (_array(each, [(count,) for count in rows], np.float64) for each in columns[1:])
    matrix = xgboost.dask.DaskQuantileDMatrix(
        client, data, label, weight=weight if weighted else None, max_bin=bins
    )
    stops = StopsByItself(growing.seconds)
    trained = xgboost.dask.train(client, settings, matrix, rounds, callbacks=[stops])
    booster: xgboost.Booster = trained["booster"]
    return booster


def _read(columns: Sequence[Sequence[Future[Any]]], growing: Growing) -> None:
    """Return when every piece is where it was dealt to: the order of ranks, and with it every rounding, hangs on that."""
    every = [future for column in columns for future in column]
    wait(every)
    for future in every:
        if future.status != "finished":
            future.result()  # raises what was raised there
    homes = growing.client.who_has(list(columns[0]))
    for future, home in zip(columns[0], growing.homes, strict=True):
        if home.address not in homes[future.key]:
            raise LostError(f"{home.name} no longer has what it had read")


def _array(parts: Sequence[Future[Any]], shapes: Sequence[tuple[int, ...]], kind: Any) -> Any:  # noqa: ANN401
    return dask.array.concatenate(
        [
            dask.array.from_delayed(delayed(part), shape, dtype=kind)
            for part, shape in zip(parts, shapes, strict=True)
        ]
    )


def _label(job: FitJob, name: str) -> Any:  # noqa: ANN401  a class as the dataset has it
    return float(name) if job.label_kind.value == "binary" else name
