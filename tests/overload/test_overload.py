"""More than the stack can take, and a service that is slow: memory stays bounded, what was accepted is scored once."""

import asyncio
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.overload.budget import LIMITS_MIB
from tests.overload.events import NEVER, Book, Comparison, Counts, event
from tests.overload.feeding import HttpClient, Told, feed_topic
from tests.overload.memory import Memory
from tests.overload.slowing import slowed
from tests.overload.system import (
    SERVICES,
    Reader,
    apply_pipeline,
    joined,
    pids_of,
    restarts_of,
    settled,
    stack_in,
)

from millrace_testkit.stack import Stack

TOPIC_EVENTS = 12_000
ROOT = Path(__file__).resolve().parents[2]


def nowhere(line: str) -> None:
    """A test says nothing while it runs."""


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    home = tmp_path_factory.mktemp("overload")
    few = {"INGESTION_MAX_LAG": "500", "INGESTION_LAG_SECONDS": "0.05"}
    with stack_in(home, **few) as stack:
        apply_pipeline(stack, first_model_after=NEVER)
        yield stack


@pytest.mark.e2e
@pytest.mark.timeout(400)
async def test_all_that_is_accepted_is_scored_once_and_memory_stays_bounded(stack: Stack):
    """Topic and HTTP at once, as fast as they go, while one service has a tenth of its time."""
    book, told, enough = Book(), Told(), asyncio.Event()
    memory = Memory(lambda: pids_of(stack), every_seconds=0.2)
    watching = asyncio.ensure_future(memory.run())
    clients = [
        HttpClient(stack.url("ingestion"), book, told, rate=2_000, batch=100) for _ in range(4)
    ]
    async with slowed(pids_of(stack)["serving"]):
        offering = [asyncio.ensure_future(client.run(enough)) for client in clients]
        await feed_topic(stack.bootstrap, book, most=TOPIC_EVENTS)
        enough.set()
        await asyncio.gather(*offering)
    outcome = await settled(stack, book, Reader(stack), nowhere)
    watching.cancel()

    assert outcome.is_exact, str(outcome)
    assert outcome.accepted == TOPIC_EVENTS + told.accepted
    assert await joined(stack) == outcome.found
    assert set(told.answers) <= {202, 429, 503}
    assert set(memory.peaks) == set(SERVICES)
    assert {name: peak for name, peak in memory.peaks.items() if peak > LIMITS_MIB[name]} == {}
    assert restarts_of(stack) == dict.fromkeys(SERVICES, 0)


def test_the_limits_are_those_that_the_page_states():
    page = (ROOT / "docs" / "overload.md").read_text()
    stated = {
        name: int(mib) for name, mib in re.findall(r"^\| (\w+) \| (\d+) \|", page, re.MULTILINE)
    }

    assert stated == LIMITS_MIB


def test_the_book_finds_what_is_lost_doubled_or_made_up():
    book, counts = Book(), Counts()
    numbers = book.next(10)
    book.accept(numbers[:8])
    for number in (0, 1, 2, 3, 4, 4, 6, 7, 8, 12):
        counts.add(number)

    outcome = book.compare(counts.whole())

    assert outcome == Comparison(accepted=8, found=8, lost=[5], doubled=[4], unknown=[12], unsure=1)
    assert not outcome.is_exact


def test_an_event_is_the_same_whenever_it_is_made():
    assert event(7) == event(7)
    assert event(7) != event(8)
