"""The pipeline files in force, read from their topic."""

import asyncio
from collections.abc import Mapping

from millrace.errors import ClientError
from millrace.feed import read_all
from millrace_bus.broker import Broker
from millrace_contracts.pipeline_file import pipeline_from_json
from millrace_kernel.pipeline import Pipeline

APPLIED = "millrace.v1.PipelineApplied"

_PAUSE_SECONDS = 0.2


async def pipelines_in_force(broker: Broker) -> Mapping[str, str]:
    """Each pipeline's newest file as canonical JSON, by name."""
    applied = await read_all(broker, (APPLIED,))
    return {each.pipeline: str(each.fields["spec_json"]) for each in applied}


async def pipeline_in_force(broker: Broker, name: str, *, seconds: float = 2.0) -> Pipeline:
    """One that has just been applied may be on its way still: looked for that long. Raises ClientError with what is known."""
    loop = asyncio.get_running_loop()
    deadline = loop.time() + seconds
    while name not in (known := await pipelines_in_force(broker)):
        if loop.time() > deadline:
            names = ", ".join(sorted(known)) or "none; apply a pipeline file first"
            raise ClientError(f"no pipeline {name!r}; known: {names}")
        await asyncio.sleep(_PAUSE_SECONDS)
    return pipeline_from_json(known[name])
