"""Model cards, as people and programs ask for them."""

import json
from pathlib import Path

import pytest

from millrace_artifacts.store import ObjectStore
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
    applied.say(completed(1, card_uri=good.uri, card_sha256=good.sha256))
    applied.say(completed(2))
    applied.say(completed(3, card_uri=bad.uri, card_sha256=bad.sha256))
    applied.say(completed(4, card_uri=f"{store.url}/cards/bikes/4.json", card_sha256="ab" * 32))
    await applied.settled()
    return applied


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
