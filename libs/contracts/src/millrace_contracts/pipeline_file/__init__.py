"""Reading and checking pipeline files.

`read_pipeline` is for what people write, `pipeline_to_json`/`pipeline_from_json` for what travels, `pipeline_digest` says
whether two files mean the same, `pipeline_schema` is for editors.
"""

from millrace_contracts.pipeline_file.canonical import (
    pipeline_digest,
    pipeline_to_json,
    pipeline_to_yaml,
)
from millrace_contracts.pipeline_file.problems import PipelineFileError, Problem
from millrace_contracts.pipeline_file.reading import (
    pipeline_from_json,
    pipeline_schema,
    read_pipeline,
)

__all__ = [
    "PipelineFileError",
    "Problem",
    "pipeline_digest",
    "pipeline_from_json",
    "pipeline_schema",
    "pipeline_to_json",
    "pipeline_to_yaml",
    "read_pipeline",
]
