"""What the client's tests share: a bikes pipeline, and rows of it."""

import pytest

from millrace_contracts.pipeline_file import read_pipeline
from millrace_kernel.pipeline import Pipeline

BIKES = """
metadata: {name: bikes}
spec:
  event: {id: id, time: timestamp, entity: station}
  fields: {hr: int, holiday: bool, weathersit: category, temp: float}
  label: {field: cnt, kind: regression, delay: 1h}
"""


@pytest.fixture(scope="session")
def bikes() -> Pipeline:
    return read_pipeline(BIKES, version=1)
