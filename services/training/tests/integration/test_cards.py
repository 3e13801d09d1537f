"""Model cards are made after a candidate was announced, once each, whatever befalls the process that makes them."""

import asyncio

import msgspec
import pytest

from millrace_artifacts.store import ObjectStore
from millrace_kernel.ids import PipelineName
from millrace_testkit.eventually import eventually, running
from millrace_training.adapters.cards.carding import CardMaker, SqlDueCards
from millrace_training.adapters.cards.job import Card
from millrace_training.adapters.sql.books import read_history

pytestmark = pytest.mark.timeout(180)


async def test_a_candidate_gets_a_card_after_it_was_announced(neighbours, service, quick, settings):
    async with running(*service.components(quick)):
        await neighbours.apply()
        await neighbours.rows(0, 60)
        [(completed, _)] = await neighbours.hears("TrainingCompleted")
        [(made, headers)] = await neighbours.hears("ModelCardMade")

    assert neighbours.names()[-2:] == ["TrainingCompleted", "ModelCardMade"]
    assert headers["ce_causationid"] == request_of(neighbours)
    store = ObjectStore(settings.objects)
    card = msgspec.json.decode(store.get(made.card_uri, made.card_sha256), type=Card)
    assert (card.pipeline, card.run_id, made.run_number) == ("bikes", completed.run_id, 1)
    assert completed.artifact_sha256 in card.markdown
    assert completed.dataset_sha256 in card.html
    assert card.facts.features[0].name == "temp"
    [run] = service.overview.runs("bikes", 1)
    assert (run.card_uri, run.card_sha256) == (made.card_uri, made.card_sha256)
    assert run.cpu_seconds == pytest.approx(completed.cpu_seconds + made.cpu_seconds)
    assert made.cpu_seconds > 0
    with service.database.reading() as connection:
        history = read_history(connection, PipelineName("bikes"))
    assert history.cpu_seconds_today == pytest.approx(run.cpu_seconds)


def request_of(neighbours) -> str:
    [(_, headers)] = [
        (message, headers)
        for name, message, headers in neighbours.said()
        if name == "RetrainRequested"
    ]
    return headers["ce_id"]


async def test_a_card_that_was_cut_off_is_made_by_the_next_process(
    neighbours, service_with, children, quick, monkeypatch
):
    """The first process ends right after it has announced the run, before the card."""
    service = service_with(children)
    begun = asyncio.Event()

    async def never(*_):
        begun.set()
        await asyncio.Event().wait()

    with monkeypatch.context() as patch:
        patch.setattr(CardMaker, "_made", never)
        async with running(*service.components(quick)):
            await neighbours.apply()
            await neighbours.rows(0, 60)
            await neighbours.hears("TrainingCompleted")
            await eventually(begun.is_set, what="the card is begun")

    async with running(*service.components(quick)):
        [(made, _)] = await neighbours.hears("ModelCardMade")

    assert neighbours.names().count("TrainingCompleted") == 1
    assert service.overview.runs("bikes", 1)[0].card_uri == made.card_uri
    assert SqlDueCards(service.database).pipelines() == []


async def test_a_card_that_still_waits_after_it_was_told_stops_the_service(
    neighbours, service_with, children, quick, monkeypatch
):
    """Instead of being made again and again, for ever."""
    service = service_with(children)

    async def never(*_):
        await asyncio.Event().wait()

    with monkeypatch.context() as patch:
        patch.setattr(CardMaker, "_made", never)
        async with running(*service.components(quick)):
            await neighbours.apply()
            await neighbours.rows(0, 60)
            await neighbours.hears("TrainingCompleted")

    async def told_before(_) -> bool:
        return False

    [maker] = [part for part in service.components(quick) if isinstance(part, CardMaker)]
    maker._accept = told_before
    with pytest.raises(RuntimeError, match="still waits"):
        async with asyncio.timeout(60):
            await maker.run()


async def test_a_card_waits_for_an_object_store_that_is_away(
    neighbours, service, quick, store_away
):
    to_come = store_away("cards/")
    async with running(*service.components(quick)):
        await neighbours.apply()
        await neighbours.rows(0, 60)
        await neighbours.hears("ModelCardMade")

    assert to_come == []
    assert neighbours.names().count("ModelCardMade") == 1


async def test_cards_of_one_pipeline_are_made_by_one_of_two_processes(service_with, children):
    one = SqlDueCards(service_with(children).database)
    other = SqlDueCards(service_with(children).database)
    bikes, flights = PipelineName("bikes"), PipelineName("flights")
    assert one.claim(bikes)
    assert other.claim(flights)
    if not one._database.is_sqlite:
        assert not await asyncio.to_thread(other.claim, bikes)
        one.release(bikes)
        assert await asyncio.to_thread(other.claim, bikes)
    one.release(bikes)
    other.release(bikes)
    other.release(flights)


async def test_a_card_that_fails_leaves_the_reason_with_the_run(
    neighbours, service_with, children, quick
):
    service = service_with(children, training_card_seconds=0.001)
    async with running(*service.components(quick)):
        await neighbours.apply()
        await neighbours.rows(0, 60)
        [(completed, _)] = await neighbours.hears("TrainingCompleted")
        await eventually(lambda: "card" in (service.overview.runs("bikes", 1)[0].reason or ""))

    run = service.overview.runs("bikes", 1)[0]
    assert "no model card: the card took longer than 0.001 s and was stopped" in run.reason
    assert (run.state, run.card_uri) == ("finished", None)
    assert run.cpu_seconds >= completed.cpu_seconds > 0
    assert "ModelCardMade" not in neighbours.names()
    assert SqlDueCards(service.database).pipelines() == []


async def test_no_card_is_due_where_none_is_wanted(neighbours, service_with, children, quick):
    service = service_with(children, training_cards=False)
    async with running(*service.components(quick)):
        await neighbours.apply()
        await neighbours.rows(0, 60)
        await neighbours.hears("TrainingCompleted")

    assert SqlDueCards(service.database).pipelines() == []
    assert "card" not in (service.overview.runs("bikes", 1)[0].reason or "")
