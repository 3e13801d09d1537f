"""Rows that do not fit one worker's memory, learnt by two."""

import io
import json
import logging
from contextlib import contextmanager

import dask
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from distributed import LocalCluster

from millrace_artifacts.store import ObjectStore, digest_key
from millrace_kernel.pipeline import LabelKind
from millrace_training.adapters.fitting.cluster.connecting import ClusterError
from millrace_training.adapters.fitting.cluster_plan import ClusterPlan, Part, Scheduler
from millrace_training.adapters.fitting.fit import fit_candidates
from millrace_training.adapters.fitting.job import FitJob, Winner

pytestmark = pytest.mark.timeout(600)
HOUR_US = 3_600_000_000
COLUMNS, PARTS, PART_ROWS = 100, 50, 10_000
MATRIX_MB = COLUMNS * PARTS * PART_ROWS * 4 / 1e6
# a worker with its libraries has about 250 MB before its first row
LIMIT_MB = 640
STUMPS = {
    "rounds": 3,
    "max_depth": 4,
    "learning_rate": 0.5,
    "min_child_weight": 1.0,
    "subsample": 1.0,
    "colsample_bytree": 1.0,
    "reg_lambda": 1.0,
}
# nothing goes to disk and nothing waits: a worker that needs more than its limit is killed by its nanny
STRICT = {
    "distributed.worker.memory.target": False,
    "distributed.worker.memory.spill": False,
    "distributed.worker.memory.pause": False,
    "distributed.worker.memory.terminate": 0.95,
    "distributed.scheduler.allowed-failures": 0,
}


@contextmanager
def workers(count: int):
    with (
        dask.config.set(STRICT),
        LocalCluster(
            n_workers=count,
            threads_per_worker=1,
            processes=True,
            dashboard_address="127.0.0.1:0",
            memory_limit=f"{LIMIT_MB}MB",
            silence_logs=logging.CRITICAL,
        ) as cluster,
    ):
        cluster.wait_for_workers(count)
        yield Scheduler("main", cluster.scheduler_address)


def a_part(store: ObjectStore, number: int) -> tuple[Part, bytes]:
    random, first = np.random.default_rng(number), number * PART_ROWS
    numbers = random.integers(0, 50, (PART_ROWS, COLUMNS)).astype(np.float64)
    ends = np.arange(0, numbers.size + 1, COLUMNS, dtype=np.int32)
    times = np.arange(first, first + PART_ROWS) * HOUR_US
    table = pa.table(
        {
            "event_id": [f"e{place:08d}" for place in range(first, first + PART_ROWS)],
            "event_time_us": pa.array(times),
            "numbers": pa.ListArray.from_arrays(pa.array(ends), pa.array(numbers.ravel())),
            "categories": pa.array([[]] * PART_ROWS, pa.list_(pa.string())),
            "label": pa.array(2 * numbers[:, 0] + random.normal(0, 1, PART_ROWS)),
        }
    )
    sink = io.BytesIO()
    pq.write_table(table, sink, compression="zstd")
    content = sink.getvalue()
    stored = store.put(digest_key("datasets/large", content, ".parquet"), content)
    part = Part(stored.uri, stored.sha256, PART_ROWS, int(times[0]), int(times[-1]))
    return part, content


@pytest.fixture
def fit(tmp_path, store):
    parts = []
    for number in range(PARTS):
        part, newest = a_part(store, number)
        parts.append(part)
    seen = tmp_path / "seen.parquet"
    seen.write_bytes(newest)
    columns = tuple(f"n{number}" for number in range(COLUMNS))
    winner = Winner("xgboost", json.dumps(STUMPS))

    def fit(scheduler: Scheduler, count: int):
        plan = ClusterPlan(scheduler, store.url, tuple(parts), workers=count)
        job = FitJob(
            "large", 1, LabelKind.REGRESSION, columns, (), ("xgboost",), seen, 10**7, 1_000,
            refit=False, winner=winner, cluster=plan,
        )  # fmt: skip
        return fit_candidates(job)

    return fit


def test_two_workers_learn_what_one_has_no_memory_for(fit):
    """Neither has room for more than half: both forms of it, XGBoost's bins beside the matrix, stand there at once."""
    assert 250 + MATRIX_MB * 1.25 > LIMIT_MB * 0.75

    with workers(1) as scheduler, pytest.raises(ClusterError) as alone:
        fit(scheduler, 1)
    with workers(2) as scheduler:
        result = fit(scheduler, 2)

    assert "give them more" in str(alone.value)
    assert result.train_rows == PARTS * PART_ROWS - 1_000
    assert result.cluster.workers == ("0", "1")
    assert result.cluster.lost == 0
    assert result.metrics["mae"] < result.baseline_metrics["mae"] / 2
