"""What is measured on the holdout has not learnt a label that was not known when the holdout began."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from millrace_artifacts.artifact import read_artifact
from millrace_artifacts.signature import Encoding
from millrace_kernel.pipeline import LabelKind
from millrace_training.adapters.fitting.algorithms.estimators import ALGORITHMS
from millrace_training.adapters.fitting.algorithms.task import Task
from millrace_training.adapters.fitting.fit import fit_candidates
from millrace_training.adapters.fitting.job import FEWEST_ROWS, FitJob
from millrace_training.adapters.fitting.options import Options
from millrace_training.adapters.fitting.reading.rows import Rows, split_rows
from millrace_training.adapters.fitting.shipping.finishing import fit_finished

SECOND = 1_000_000
ROWS, TURNED, HOLDOUT = 600, 400, 100  # from row 400 on the label is the other way round


def a_job(path=Path("none"), kind=LabelKind.REGRESSION, **changed) -> FitJob:
    return replace(FitJob("mill", 1, kind, ("x",), (), ("xgboost",), path, 200, HOLDOUT), **changed)


@pytest.fixture(scope="module")
def turning(tmp_path_factory):
    """One row each second: y = 10 x, and from TURNED on y = -10 x."""
    x = np.random.default_rng(4).normal(size=ROWS)
    label = np.where(np.arange(ROWS) < TURNED, 10.0, -10.0) * x
    return written(tmp_path_factory.mktemp("gap") / "rows.parquet", x, label)


def written(path, x, label):
    table = {
        "event_id": [f"{number:04d}" for number in range(ROWS)],
        "event_time_us": np.arange(ROWS, dtype=np.int64) * SECOND,
        "numbers": x[:, np.newaxis].tolist(),
        "categories": pa.array([[]] * ROWS, pa.list_(pa.string())),
        "label": label,
    }
    pq.write_table(pa.table(table), path)
    return path


def test_a_label_does_not_leak_through_the_gap(turning):
    """The holdout begins at second 500. With labels known after 100 seconds, nobody could have known that the world had turned."""
    leaking = fit_candidates(a_job(turning))
    honest = fit_candidates(a_job(turning, label_delay_us=100 * SECOND))

    assert honest.metrics["mae"] > 1.5 * leaking.metrics["mae"]
    assert (leaking.train_rows, honest.train_rows) == (200, 101)
    assert any("without the 99 rows before the holdout" in note for note in honest.notes)
    assert not any("label.delay" in note for note in leaking.notes)


def test_what_ships_has_learnt_them_by_then(turning):
    """It is trained now, when they are known: it is the same model, whatever the delay."""
    plain, delayed = (
        read_artifact(fit_candidates(a_job(turning, label_delay_us=delay)).artifact)
        for delay in (0, 100 * SECOND)
    )

    assert plain.model.onnx == delayed.model.onnx
    assert plain.learnt.rows == delayed.learnt.rows == 300
    assert plain.measured != delayed.measured
    assert delayed.learnt.measured_until_us == TURNED * SECOND


def test_an_update_is_measured_without_a_gap(turning):
    """Few rows came since the base. With the gap, what is measured would not have learnt what the update is for."""
    champion = fit_candidates(a_job(until(turning, 200), holdout_last=20)).artifact
    asked = a_job(turning, champion=champion, update=True)
    plain = fit_candidates(asked)
    delayed = fit_candidates(replace(asked, label_delay_us=100 * SECOND))

    assert plain.train_rows == delayed.train_rows == 200
    assert plain.metrics == delayed.metrics
    assert not any("label.delay" in note for note in delayed.notes)


def until(path, rows):
    part = path.with_name(f"first-{rows}.parquet")
    pq.write_table(pq.read_table(path).slice(0, rows), part)
    return part


def test_the_naive_baseline_hears_of_the_gaps_labels_as_they_become_known(tmp_path):
    """The level rises in the gap: `no_change` is told of it while the holdout lasts, and what was learnt before is not."""
    level = np.where(np.arange(ROWS) < 460, 0.0, 10.0)
    path = written(tmp_path / "rows.parquet", np.zeros(ROWS), level)
    result = fit_candidates(a_job(path, label_delay_us=100 * SECOND))

    assert result.metrics["mae"] == pytest.approx(10.0)
    # the label of second 460 is known from second 560 on, the 61st row of the holdout
    assert result.baseline_metrics["mae"] == pytest.approx(6.0, abs=0.11)


@given(
    count=st.integers(30, 200),
    delay=st.integers(0, 400),
    gaps=st.lists(st.integers(0, 5), min_size=200, max_size=200),
)
def test_nothing_is_learnt_that_was_not_known(count, delay, gaps):
    times = np.cumsum(gaps)[:count].astype(np.int64)
    rows = some_rows(times)
    split = split_rows(rows, a_job(train_on_last=150, holdout_last=20, label_delay_us=delay))
    begins = split.holdout.event_times[0]
    known = split.older.event_times + delay <= begins

    assert len(split.both) == len(split.older) + len(split.holdout)
    if not delay:
        assert split.train is split.older
        assert not any("label.delay" in note for note in split.notes)
    elif known.sum() >= FEWEST_ROWS or known.all():
        assert split.train.labels.tolist() == split.older.labels[known].tolist()
        assert any("label.delay" in note for note in split.notes) == (not known.all())
    else:  # of so few nothing could be learnt: that is said
        assert len(split.train) == len(split.older)
        assert any("Its metrics are too good" in note for note in split.notes)


def test_a_past_of_one_class_is_none_to_learn_from():
    rows = some_rows(np.arange(200), labels=(np.arange(200) >= 120) * 1.0)
    job = a_job(kind=LabelKind.BINARY, train_on_last=180, holdout_last=20, label_delay_us=100)
    split = split_rows(rows, job)

    assert len(split.train) == 180
    assert "Its metrics are too good" in split.notes[-1]


def some_rows(times, labels=None) -> Rows:
    count = len(times)
    labels = np.arange(count) * 1.0 if labels is None else labels
    return Rows(times, np.zeros((count, 1)), np.zeros((count, 0), object), labels)


def a_task(times, labels, delay):
    return Task(
        matrix=np.zeros((len(times), 1), dtype=np.float32),
        targets=labels,
        kind=LabelKind.REGRESSION,
        classes=0,
        seed=0,
        threads=1,
        event_times=times,
        label_delay_us=delay,
    )


def test_an_interval_is_as_wide_as_what_was_not_known_makes_it():
    """The level rises before the newest fifth: who knew it at once is hardly off, who hears of it later is off by the step."""
    times = np.arange(200, dtype=np.int64)
    labels = np.where(times < 120, 0.0, 10.0)
    widths = {}
    for delay in (0, 40):
        fitted = fit_finished(
            ALGORITHMS["linear"],
            a_task(times, labels, delay),
            ALGORITHMS["linear"].defaults,
            Options(interval=0.9),
        )
        _, low, high = fitted.answers(np.zeros((1, 1), dtype=np.float32))[0]
        widths[delay] = (high - low) / 2

    assert widths[0] == pytest.approx(7.5)  # the mean of the older rows is 2.5
    assert widths[40] == pytest.approx(
        10.0 - 10.0 * 1 / 121
    )  # of 121 known rows one is of the new level
    assert ALGORITHMS["linear"].encoding is Encoding.ONE_HOT
