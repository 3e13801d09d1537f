"""The SQL form under schedules of kills, zombies, lost commits and lost answers, with requests, ticks and commands.

On SQLite, whose transactions have no inside that another process could see; see docs/guarantee.md for PostgreSQL.
"""

from collections.abc import Callable
from contextlib import AbstractContextManager

import pytest
from hypothesis import HealthCheck, settings

from millrace_testkit import broken
from millrace_testkit.protocol_checks import ViolationError
from millrace_testkit.protocol_machine import SQL, Play, ProtocolMachine, first_violation, play

LONG = settings.default.max_examples > 1_000
pytestmark = pytest.mark.timeout(0 if LONG else 300)


class SqlMachine(ProtocolMachine):
    stages = SQL


class TestSql(SqlMachine.TestCase):
    settings = settings(
        max_examples=settings.default.max_examples if LONG else 8,
        derandomize=not LONG,
        database=settings.default.database if LONG else None,
        deadline=None,
        stateful_step_count=30,
        suppress_health_check=list(HealthCheck),
        print_blob=True,
    )


@pytest.mark.parametrize("seed", range(8))
def test_the_sql_form_keeps_the_guarantee_in_this_schedule(seed: int) -> None:
    play(SQL, seed)


@pytest.mark.parametrize(
    ("variant", "first"),
    [
        (broken.fence_switched_off, 0),
        (broken.sender_that_goes_on, 0),
        (broken.position_set_without_comparing, 15),  # rare: the first from 0 on is 19
    ],
)
def test_the_model_finds_a_sql_service_that_breaks_a_rule(
    variant: Callable[[], AbstractContextManager[None]], first: int
) -> None:
    with variant():
        assert first_violation(SQL, range(first, 100)), "the model is blind to this"


def a_partition_leaves_and_comes_back(seed: int) -> None:
    """Paused past its session's end, and back; meanwhile another one read on, and the upstream service repeats itself."""
    game = Play(SQL, seed=seed, members=2, rate=0.0)
    first, second = game.world.nodes
    try:
        game.world.start(first)
        game.feed(4, "a")
        game.run(2.0)
        game.on_process(0, "pause")
        game.world.start(second)
        game.feed(4, "a")
        game.run(4.0)
        game.on_process(0, "resume")
        game.world.stop(second)
        game.run(4.0)
        game.world.feed_again(3)
        game.end()
    finally:
        game.close()


@pytest.mark.parametrize("seed", range(3))
def test_a_partition_that_leaves_and_comes_back_brings_its_fence_along(seed: int) -> None:
    a_partition_leaves_and_comes_back(seed)
    with (
        broken.fence_cached_across_a_lost_partition(),
        pytest.raises(ViolationError, match=r"outputs of a|state of a"),
    ):
        a_partition_leaves_and_comes_back(seed)
