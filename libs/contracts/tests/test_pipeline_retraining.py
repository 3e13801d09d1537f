"""How new labels ask for runs, in the pipeline file."""

import pytest

from millrace_contracts.pipeline_file import (
    PipelineFileError,
    pipeline_from_json,
    pipeline_to_json,
    read_pipeline,
)
from millrace_kernel.pipeline import Trigger

FILE = """
metadata: {{name: mill}}
spec:
  event: {{id: id, time: at}}
  fields: {{x: float}}
  label: {{field: y, kind: regression}}
  retraining: {retraining}
"""


def test_both_have_defaults():
    retraining = read_pipeline(FILE.format(retraining="{on: [volume, update]}")).retraining
    assert retraining.on == {Trigger.VOLUME, Trigger.UPDATE}
    assert (retraining.volume, retraining.update) == (1.0, 0.125)


def test_what_is_written_is_read_again():
    pipeline = read_pipeline(FILE.format(retraining="{on: [update], update: 0.05}"))
    assert pipeline.retraining.update == 0.05
    assert pipeline_from_json(pipeline_to_json(pipeline)) == pipeline
    assert '"update":0.05' in pipeline_to_json(pipeline)


def test_a_file_without_them_is_written_as_it_always_was():
    text = pipeline_to_json(read_pipeline(FILE.format(retraining="{on: [drift]}")))
    assert '"volume"' not in text
    assert '"update"' not in text


@pytest.mark.parametrize("text", ["{on: [drift], update: 0.1}", "{volume: 2}"])
def test_a_share_that_is_never_used_is_refused(text):
    with pytest.raises(PipelineFileError, match="is never used"):
        read_pipeline(FILE.format(retraining=text))
