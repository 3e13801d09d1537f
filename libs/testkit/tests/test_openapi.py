"""What the fuzzing of an OpenAPI document takes for a fault of the service, and what it does not."""

import asyncio
import random  # noqa: TID251  what is tested

import pytest
from fastapi import FastAPI

from millrace_testkit.fuzzing.openapi import Known, hold_to_its_document

pytestmark = pytest.mark.timeout(60)


def _echo() -> FastAPI:
    app = FastAPI()

    @app.get("/echo/{word}")
    async def echo(word: str) -> str:
        return word

    return app


async def _throws_dice() -> None:
    """As a jittered backoff does, in the middle of the making of an example."""
    while True:
        random.random()
        await asyncio.sleep(0)


async def test_a_service_that_uses_chance_meanwhile_is_no_fault():
    dice = asyncio.create_task(_throws_dice())
    try:
        operations = await hold_to_its_document(_echo(), Known())
    finally:
        dice.cancel()

    assert operations == ["GET /echo/{word}"]
