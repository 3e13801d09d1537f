"""The stream form, and a chain of both forms, under schedules of kills, zombies, lost sends and lost answers.

Longer: `python -m pytest libs/bus/tests/test_protocol_model.py libs/bus/tests/test_protocol_sql_model.py
--hypothesis-profile=long`. More schedules from other seeds: `python -m millrace_testkit.explore --help`.
"""

from collections.abc import Callable
from contextlib import AbstractContextManager

import pytest
from hypothesis import HealthCheck, settings

from millrace_testkit import broken
from millrace_testkit.protocol_machine import (
    CHAIN,
    STREAM,
    ProtocolMachine,
    first_violation,
    play,
)

LONG = settings.default.max_examples > 1_000
pytestmark = pytest.mark.timeout(0 if LONG else 300)


def explored(examples: int) -> settings:
    """The same handful of examples each time, or by the profile `long` ever new ones."""
    return settings(
        max_examples=settings.default.max_examples if LONG else examples,
        derandomize=not LONG,
        database=settings.default.database if LONG else None,
        deadline=None,
        stateful_step_count=30,
        suppress_health_check=list(HealthCheck),
        print_blob=True,
    )


class StreamMachine(ProtocolMachine):
    stages = STREAM


class ChainMachine(ProtocolMachine):
    stages = CHAIN


class TestStream(StreamMachine.TestCase):
    settings = explored(25)


class TestChain(ChainMachine.TestCase):
    settings = explored(6)


@pytest.mark.parametrize("seed", range(25))
def test_a_stream_keeps_the_guarantee_in_this_schedule(seed: int) -> None:
    play(STREAM, seed)


@pytest.mark.parametrize("seed", range(4))
def test_a_chain_of_stream_stream_and_sql_keeps_it_too(seed: int) -> None:
    play(CHAIN, seed)


@pytest.mark.parametrize(
    "variant",
    [
        broken.commit_before_send,
        broken.fence_switched_off,
        broken.sender_that_goes_on,
        broken.fence_raised_before_the_commit,
    ],
)
def test_the_model_finds_a_stream_that_breaks_a_rule(
    variant: Callable[[], AbstractContextManager[None]],
) -> None:
    with variant():
        assert first_violation(STREAM, range(100)), "the model is blind to this"
