from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from millrace_kernel.pipeline import LabelKind
from millrace_training.adapters.fitting.job import DatasetError, FitJob, TooFewRowsError
from millrace_training.adapters.fitting.reading.rows import Rows, read_rows, split_rows


def a_job(path: Path, kind=LabelKind.REGRESSION, **changes) -> FitJob:
    fields = {"train_on_last": 100, "holdout_last": 10} | changes
    return FitJob("bikes", 1, kind, ("temp", "hum"), ("weather",), ("xgboost",), path, **fields)


@pytest.fixture
def write(tmp_path):
    def to_file(rows=30, **changes):
        columns = {
            "event_id": [f"event-{number:03}" for number in range(rows)],
            "event_time_us": list(range(rows)),
            "numbers": pa.array([[float(number), np.nan] for number in range(rows)]),
            "categories": [["clear"] for _ in range(rows)],
            "label": [float(number) for number in range(rows)],
        } | changes
        path = tmp_path / "dataset.parquet"
        pq.write_table(pa.table({name: each for name, each in columns.items() if each}), path)
        return path

    return to_file


def some_rows(count):
    return Rows(
        np.arange(count), np.zeros((count, 0)), np.zeros((count, 0), object), np.arange(count) * 1.0
    )


def test_rows_come_in_the_order_in_which_they_happened_whatever_the_files(write):
    times = [7] * 10 + list(range(20))
    rows = read_rows(a_job(write(event_time_us=times)))
    order = sorted(range(30), key=lambda number: (times[number], f"event-{number:03}"))
    assert rows.labels.tolist() == order
    assert rows.numbers[:, 0].tolist() == order
    assert rows.event_times.tolist() == sorted(times)
    assert np.isnan(rows.numbers[:, 1]).all()
    assert rows.categories.tolist() == [["clear"]] * 30


def test_rows_without_a_label_are_left_out(write):
    labels = [None, np.nan, np.inf] + [1.0] * 27
    assert len(read_rows(a_job(write(label=labels)))) == 27
    # no library computes with it, so that one slip of a pen would stop all training until it is old
    labels = [1e39, -1e300, np.inf] + [1e38] * 27
    assert len(read_rows(a_job(write(label=labels)))) == 27
    texts = ["", None] + ["a"] * 28
    assert len(read_rows(a_job(write(label=texts), LabelKind.MULTICLASS))) == 28


def test_too_few_rows_wait_for_more(write):
    with pytest.raises(TooFewRowsError, match="19 rows"):
        read_rows(a_job(write(rows=19)))


@pytest.mark.parametrize(
    "changes",
    [
        {"numbers": pa.array([[1.0]] * 30)},
        {"numbers": pa.array([[1.0, 2.0]] * 29 + [None])},
        {"categories": [["a", "b"]] * 30},
        {"label": []},
    ],
)
def test_a_file_without_the_jobs_columns_is_refused(write, changes):
    with pytest.raises(DatasetError):
        read_rows(a_job(write(**changes)))


def test_a_binary_label_is_zero_or_one(write):
    assert len(read_rows(a_job(write(label=[0.0, 1.0] * 15), LabelKind.BINARY))) == 30
    with pytest.raises(DatasetError, match="neither 0 nor 1"):
        read_rows(a_job(write(label=[0.5] * 30), LabelKind.BINARY))


def test_a_file_that_is_none_is_refused(tmp_path):
    with pytest.raises(DatasetError):
        read_rows(a_job(tmp_path / "none.parquet"))
    (tmp_path / "text.parquet").write_text("text")
    with pytest.raises(DatasetError):
        read_rows(a_job(tmp_path / "text.parquet"))


def test_the_newest_rows_are_the_holdout_and_those_before_them_are_learnt():
    split = split_rows(some_rows(200), a_job(Path("none"), train_on_last=100, holdout_last=10))
    assert split.holdout.labels.tolist() == list(range(190, 200))
    assert split.train.labels.tolist() == list(range(90, 190))
    assert split.both.labels.tolist() == list(range(90, 200))
    assert split.notes == ()


def test_a_small_dataset_has_a_small_holdout():
    split = split_rows(some_rows(40), a_job(Path("none"), train_on_last=100, holdout_last=10))
    assert (len(split.train), len(split.holdout)) == (32, 8)
    assert "8 rows instead of 10" in split.notes[0]
