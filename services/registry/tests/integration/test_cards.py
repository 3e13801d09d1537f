"""Model cards, as people and programs ask for them."""

import json
from pathlib import Path

import pytest

from millrace_artifacts.store import ObjectStore
from millrace_proto.v1.training_pb2 import ModelCardMade
from millrace_registry.entrypoints.cards import preferred

CARD = {
    "format": 1,
    "markdown": "# Card",
    "html": "<!doctype html><h1>Card</h1>",
    "facts": {"rows": 60},
}
PATH = "/v1/models/bikes/versions/{}/card"


@pytest.fixture
def database_url(tmp_path) -> str:
    """HTTP is the same whatever is below it; what it shows is tested on either database in `test_views`."""
    return f"sqlite:///{tmp_path / 'registry.db'}"


@pytest.fixture
async def carded(applied, completed, tmp_path):
    """Version 1 has a card, 2 has none, 3 one that is none, 4 one that is not there."""
    store = ObjectStore(f"file://{tmp_path / 'objects'}")
    good = store.put("cards/bikes/1.json", json.dumps(CARD).encode())
    bad = store.put("cards/bikes/3.json", b"[]")
    for number in (1, 2, 3, 4):
        applied.say(completed(number))
    applied.say(made(1, good.uri, good.sha256))
    applied.say(made(3, bad.uri, bad.sha256))
    applied.say(made(4, f"{store.url}/cards/bikes/4.json", "ab" * 32))
    await applied.settled()
    return applied


def made(number: int, uri: str, sha256: str) -> ModelCardMade:
    return ModelCardMade(
        pipeline="bikes",
        run_id=f"run-{number}",
        run_number=number,
        card_uri=uri,
        card_sha256=sha256,
    )


async def test_a_card_of_a_run_that_led_to_no_version_is_a_dead_letter(applied):
    applied.say(made(7, "file:///cards/7.json", "ab" * 32))
    await applied.settled()

    [letter] = applied.dead("millrace.training")
    assert b"run 7 led to no model version" in b" ".join(letter.values())


async def test_a_card_told_twice_is_kept_once_and_a_later_one_takes_its_place(carded, tmp_path):
    store = ObjectStore(f"file://{tmp_path / 'objects'}")
    better = store.put("cards/bikes/2.json", json.dumps(CARD | {"markdown": "# Other"}).encode())
    carded.say(made(1, better.uri, better.sha256))
    await carded.settled()

    answer = await carded.client.get(PATH.format(1))
    assert answer.text == "# Other"


@pytest.mark.parametrize(
    ("accept", "kind", "said"),
    [
        ("*/*", "text/markdown; charset=utf-8", CARD["markdown"]),
        ("text/markdown", "text/markdown; charset=utf-8", CARD["markdown"]),
        ("text/html,application/xml;q=0.9,*/*;q=0.8", "text/html; charset=utf-8", CARD["html"]),
        ("application/json", "application/json", '{"rows":60}'),
    ],
)
async def test_a_card_is_given_in_the_form_that_is_asked_for(carded, accept, kind, said):
    answer = await carded.client.get(PATH.format(1), headers={"accept": accept})

    assert (answer.status_code, answer.headers["content-type"], answer.text) == (200, kind, said)
    assert "sandbox" in answer.headers["content-security-policy"]
    assert answer.headers["vary"] == "Accept"


@pytest.mark.parametrize(
    ("version", "status", "title"),
    [
        (2, 404, "UnknownCardError"),
        (3, 500, "UnreadableCardError"),
        (4, 500, "ObjectMissingError"),
        (9, 404, "UnknownVersionError"),
    ],
)
async def test_without_a_card_it_is_said_why(carded, version, status, title):
    answer = await carded.client.get(PATH.format(version))

    assert (answer.status_code, answer.json()["title"]) == (status, title)


def change(card: Path) -> None:
    card.write_text("{}")


async def test_a_card_that_was_changed_is_not_shown(carded, tmp_path):
    change(tmp_path / "objects" / "cards" / "bikes" / "1.json")

    answer = await carded.client.get(PATH.format(1))

    assert (answer.status_code, answer.json()["title"]) == (500, "DigestMismatchError")


async def test_a_form_that_is_not_there_is_not_acceptable(carded):
    answer = await carded.client.get(PATH.format(1), headers={"accept": "image/png"})

    assert answer.status_code == 406


async def test_a_version_says_where_its_card_is(carded):
    shown = [await carded.get(f"/bikes/models/{version}") for version in (1, 2)]

    assert shown[0]["card_uri"].endswith("cards/bikes/1.json")
    assert [len(each["card_sha256"]) for each in shown] == [64, 0]


@pytest.mark.parametrize(
    ("accept", "form"),
    [
        ("text/html;q=0.5, text/markdown;q=0.4", "text/html"),
        ("text/*", "text/markdown"),
        ("text/markdown;q=0, */*", "text/html"),
        ("application/json, */*;q=0.1", "application/json"),
        ("text/html;q=rubbish", None),
        ("", None),
    ],
)
def test_the_form_that_is_liked_best_is_chosen(accept, form):
    assert preferred(accept) == form
