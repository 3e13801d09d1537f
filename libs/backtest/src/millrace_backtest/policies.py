"""Policies as files: sections that take the place of those in the pipeline file.

    name: weekly
    retraining: {on: [schedule], schedule: "0 3 * * 1"}
    gates: [{metric: mae, better_than: champion}]

What the file does not say stays as the pipeline file has it.
"""

import json

from millrace_backtest.backtest import NamedPolicy
from millrace_backtest.errors import BacktestError
from millrace_contracts.pipeline_file import PipelineFileError, pipeline_to_json, read_pipeline
from millrace_contracts.pipeline_file.tree import tree_of_yaml
from millrace_kernel.pipeline import Pipeline

SECTIONS = ("retraining", "gates", "promotion", "monitoring")
OWN = "own"  # the name of the policy that stands in the pipeline file itself


def own_policy(pipeline: Pipeline) -> NamedPolicy:
    """The one that the pipeline file says."""
    return NamedPolicy(OWN, pipeline)


def policy_of(pipeline: Pipeline, text: str, name: str) -> NamedPolicy:
    """A policy file for this pipeline; `name` counts where the file gives none. Raises BacktestError."""
    try:
        tree = tree_of_yaml(text)
    except PipelineFileError as error:
        raise BacktestError(f"policy {name}: {error}") from error
    content = tree.value
    if not isinstance(content, dict) or not content:
        raise BacktestError(f"policy {name}: the file holds no {', '.join(SECTIONS)}")
    unknown = sorted(str(key) for key in content if key not in (*SECTIONS, "name"))
    if unknown:
        raise BacktestError(
            f"policy {name}: no such key: {', '.join(unknown)}; there are name, {', '.join(SECTIONS)}"
        )
    file = json.loads(pipeline_to_json(pipeline))
    file["spec"] |= {key: value for key, value in content.items() if key in SECTIONS}
    try:
        changed = read_pipeline(json.dumps(file), version=pipeline.version)
    except PipelineFileError as error:
        raise BacktestError(f"policy {name}: {error}") from error
    return NamedPolicy(str(content.get("name") or name), changed)
