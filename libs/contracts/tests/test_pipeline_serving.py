"""The file's `serving` section."""

import pytest

from millrace_contracts.pipeline_file import (
    PipelineFileError,
    pipeline_digest,
    pipeline_from_json,
    pipeline_to_json,
    read_pipeline,
)
from millrace_kernel.time import DAY, HOUR

FILE = """
metadata: {name: bikes}
spec:
  event:  {id: id, time: at}
  fields: {temp: float}
  label:  {field: cnt, kind: regression}
"""


def test_a_vector_is_stale_after_a_day_unless_the_file_says_otherwise():
    assert read_pipeline(FILE).serving.stale_after == DAY
    assert read_pipeline(FILE + "  serving: {stale_after: 2h}").serving.stale_after == 2 * HOUR


def test_what_is_written_is_read_back_and_the_default_leaves_a_file_as_it_was():
    plain, other = read_pipeline(FILE), read_pipeline(FILE + "  serving: {stale_after: 2h}")

    assert pipeline_from_json(pipeline_to_json(other)) == other
    assert "serving" not in pipeline_to_json(plain)
    assert pipeline_digest(plain) == pipeline_digest(
        read_pipeline(FILE + "  serving: {stale_after: 24h}")
    )
    assert pipeline_digest(plain) != pipeline_digest(other)


@pytest.mark.parametrize("wrong", ["{stale_after: 0h}", "{stale_after: 2}", "{stale: 2h}", "2h"])
def test_what_is_no_limit_is_refused(wrong):
    with pytest.raises(PipelineFileError, match="serving"):
        read_pipeline(f"{FILE}  serving: {wrong}")
