"""How a pipeline file comes into force over HTTP: read, held against the one in force, handed to the worker as an input
of its own, so that the registry's state and PipelineApplied commit together."""

import asyncio
from dataclasses import dataclass

from millrace_bus.sql_worker import Local, SqlWorker
from millrace_contracts.message import Cause
from millrace_contracts.pipeline_file import pipeline_digest, read_pipeline
from millrace_kernel.ids import derived_id
from millrace_kernel.pipeline import Pipeline
from millrace_registry.application.ports import FileOvertakenError
from millrace_registry.bootstrap import Parts
from millrace_registry.domain.events import ApplyPipeline

ATTEMPTS = 5  # others may apply files of the same pipeline at the same time


@dataclass(frozen=True, slots=True)
class Outcome:
    """`changed` is false when the file says what is in force already."""

    name: str
    version: int
    digest: str
    changed: bool


async def apply(
    parts: Parts, worker: SqlWorker, text: str, *, traceparent: str | None = None
) -> Outcome:
    """Let the file be in force. Raises PipelineFileError, or FileOvertakenError when others were faster time and again."""
    file, digest = await asyncio.to_thread(_read, text)
    for _ in range(ATTEMPTS):
        newest = await asyncio.to_thread(parts.views.in_force, file.name)
        if newest is not None and newest.digest == digest:
            return Outcome(file.name, newest.version, digest, changed=False)
        after = newest.version if newest else 0
        try:
            accepted = await worker.accept(_local(parts, file, digest, after, traceparent))
        except FileOvertakenError:
            continue
        if accepted:
            return Outcome(file.name, after + 1, digest, changed=True)
    raise FileOvertakenError(
        f"{file.name} is being applied by others at the same time; apply it again"
    )


def _local(parts: Parts, file: Pipeline, digest: str, after: int, traceparent: str | None) -> Local:
    """The version to come is the sequence: of two that were held against the same version, one enters."""
    source, sequence, now = f"pipelines/{file.name}", f"{after + 1:010d}", parts.clock.now()
    cause = derived_id("pipeline-file", file.name, sequence, digest)
    command = ApplyPipeline(file, digest, after, now)
    return Local(source, sequence, command, Cause(cause, now, cause, traceparent))


def _read(text: str) -> tuple[Pipeline, str]:
    file = read_pipeline(text)
    return file, pipeline_digest(file)
