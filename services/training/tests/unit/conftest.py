"""Rows of a straight line, for what is taught on and updated."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

Dataset = Callable[[Path, int, int, float], Path]


def line(path: Path, first: int, last: int, slope: float) -> Path:
    """A dataset of y = slope * x, from second `first` to before second `last`."""
    generator = np.random.default_rng(first)
    numbers = generator.normal(size=(last - first, 2))
    table = pa.table(
        {
            "event_id": [f"{number:06d}" for number in range(first, last)],
            "event_time_us": np.arange(first, last, dtype=np.int64) * 1_000_000,
            "numbers": numbers.tolist(),
            "categories": pa.array([[]] * (last - first), pa.list_(pa.string())),
            "label": slope * numbers[:, 0],
        }
    )
    pq.write_table(table, path)
    return path


@pytest.fixture(scope="session")
def dataset() -> Dataset:
    """Writes one: `dataset(path, first, last, slope)`."""
    return line


@pytest.fixture(scope="module")
def learnt(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What a champion has learnt: the line rises."""
    return line(tmp_path_factory.mktemp("base") / "rows.parquet", 0, 500, slope=10.0)


@pytest.fixture(scope="module")
def changed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What came after: the line falls."""
    return line(tmp_path_factory.mktemp("changed") / "rows.parquet", 500, 800, slope=-10.0)
