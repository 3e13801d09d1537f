"""Who empties the staging tables when no run does."""

from millrace_bus.retry import Backoff
from millrace_kernel.errors import TransientError
from millrace_testkit.eventually import eventually, running
from millrace_training.adapters.lake.keeper import Keeper
from millrace_training.adapters.sql.staging import Tally


class Settler:
    """Fails as often as it is told to."""

    def __init__(self, rows: int, failures: int = 0) -> None:
        self.rows = rows
        self.failures = failures
        self.settled = 0

    def waiting(self) -> int:
        return self.rows

    def settle_all(self) -> None:
        if self.failures:
            self.failures -= 1
            raise TransientError("the lake is away")
        self.settled += 1
        self.rows = 0


def keeper(settler, tally) -> Keeper:
    return Keeper(settler, tally, chance=lambda: 0.5, after_rows=10, backoff=Backoff(0.001, 0.01))


async def test_it_settles_what_a_killed_process_left():
    settler = Settler(rows=12)
    async with running(keeper(settler, Tally())):
        await eventually(lambda: settler.settled == 1)


async def test_it_lets_few_rows_wait_for_a_run():
    settler, tally = Settler(rows=9), Tally()
    async with running(keeper(settler, tally)):
        await eventually(lambda: tally.rows == 9)

    assert settler.settled == 0


async def test_it_settles_when_enough_has_gathered():
    settler, tally = Settler(rows=0), Tally()
    working = keeper(settler, tally)
    async with running(working):
        await eventually(lambda: not working._on_call._woken.is_set())
        settler.rows = tally.rows = 10
        working.wake()
        await eventually(lambda: settler.settled == 1 and tally.rows == 0)


async def test_it_waits_for_a_lake_that_is_away():
    settler = Settler(rows=12, failures=3)
    async with running(keeper(settler, Tally())):
        await eventually(lambda: settler.settled == 1)
