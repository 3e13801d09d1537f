"""Everything that the service answers, held against its own OpenAPI document."""

from millrace_features.bootstrap import assemble
from millrace_features.entrypoints.http import app
from millrace_features.settings import Settings
from millrace_testkit.fuzzing.openapi import Known, hold_to_its_document
from millrace_testkit.memory import MemoryBroker


async def test_every_operation_answers_as_its_document_says(tmp_path):
    parts = assemble(Settings(millrace_home=tmp_path), broker=MemoryBroker())

    operations = await hold_to_its_document(app(parts, lambda: True), Known())

    assert operations == ["GET /health/live", "GET /health/ready"]
