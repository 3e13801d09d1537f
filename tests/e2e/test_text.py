"""Texts through the whole platform on a real Kafka: what people write, what is answered, and what they make of the answers."""

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import httpx2
import pytest

from millrace_kernel.time import MINUTE, Instant, parse_rfc3339, rfc3339
from millrace_proto.v1 import drift_pb2, models_pb2, predictions_pb2, training_pb2
from millrace_testkit.eventually import eventually
from millrace_testkit.reading import everything
from millrace_testkit.stack import Stack, own_stack

pytestmark = [pytest.mark.e2e, pytest.mark.broker, pytest.mark.timeout(600)]

EXAMPLES = Path(__file__).parents[2] / "examples" / "reviews"
SECONDS = 180.0  # of waiting for anything, on a busy machine
PRICES = {"TRAINING_PRICE_CPU_HOUR": "3600"}  # a second of a processor costs one
BUDGET = "retraining: {on: [performance, volume], cooldown: 0s, budget: {money_per_day: 0.01}}"
BEGAN = parse_rfc3339("2026-03-01T00:00:00Z")

GREETINGS = ("hello,", "hi there:", "please,", "excuse me,", "good morning,", "")
REPLIES = {
    "i forgot my password": "Choose a new one in the settings.",
    "where is my parcel": "It is on its way, and will be there tomorrow — 📦!",
    "how do i send it back": "Print the label from your account and put it on the parcel.",
    "do you ship to norway": "We do, in about five days.",
    "the bell is broken": "We are sorry! A new one leaves today.",
}
ASKED = "Good evening, I forgot my PASSWORD?!"
OPINIONS = {
    "up": ("a lovely bike", "superb, my children love it", "rides like a dream"),
    "down": ("awful brakes", "broke in a week", "never again, the paint came off"),
}


def at(number: int) -> str:
    """Ten minutes apart, so that labels of then are known by now."""
    return rfc3339(Instant(BEGAN + number * 10 * MINUTE))


class Story:
    """One pipeline: what people write to it, and what came of it."""

    def __init__(self, stack: Stack, name: str) -> None:
        self.stack, self.name = stack, name
        self.http = httpx2.Client(timeout=30)

    def post(self, what: str, rows: Sequence[dict[str, Any]]) -> None:
        answer = self.http.post(
            f"{self.stack.url('ingestion')}/v1/pipelines/{self.name}/{what}",
            content="\n".join(map(json.dumps, rows)),
            headers={"content-type": "application/x-ndjson"},
        )
        assert answer.status_code == 202, answer.text

    def answers(self) -> bool:
        answer = self.http.get(f"{self.stack.url('serving')}/v2/models/{self.name}")
        return answer.status_code == 200 and answer.json()["versions"][:1] == ["1"]

    def ask(self, **columns: str | int) -> dict[str, Any]:
        inputs = [
            {
                "name": name,
                "shape": [1],
                "datatype": "BYTES" if isinstance(value, str) else "FP64",
                "data": [value],
            }
            for name, value in columns.items()
        ]
        answer = self.http.post(
            f"{self.stack.url('serving')}/v2/models/{self.name}/infer",
            json={"id": f"ask-{self.name}", "inputs": inputs},
        )
        assert answer.status_code == 200, answer.text
        body: dict[str, Any] = answer.json()
        return body

    async def heard(self, topic: str, kind: type) -> list[Any]:
        name = kind.DESCRIPTOR.full_name  # type: ignore[attr-defined]  # a message of ours
        told = [each for each in await everything(self.stack.bootstrap, topic) if each.type == name]
        protos = [kind.FromString(each.value) for each in told]  # type: ignore[attr-defined]
        return [proto for proto in protos if proto.pipeline == self.name]

    async def answer_to(self, event: str) -> Any:
        """What the stream says of one event, once it does."""

        async def said() -> Any:
            told = await self.heard("millrace.predictions", predictions_pb2.PredictionMade)
            return next((one for one in told if one.event_id == event), None)

        return await eventually(said, within=SECONDS, what=f"an answer to {event}")


@pytest.fixture(scope="module")
def stack(tmp_path_factory):
    """With prices, and both examples: one on a budget that its first run alone is more than."""
    home = tmp_path_factory.mktemp("stack")
    with own_stack(home, {"OTEL_TRACES_SAMPLER_ARG": "0.05", **PRICES}) as stack:
        for file in ("replies.yaml", "pipeline.yaml"):
            text = (EXAMPLES / file).read_text()
            own = "retraining: {on: [performance, volume], cooldown: 6h}"
            path = home / file
            watched = f"monitoring: {{window: 20}}\n  {BUDGET}"
            path.write_text(text.replace(own, watched))
            stack.millrace("apply", path)
        yield stack


@pytest.fixture(scope="module")
def replies(stack) -> Iterator[Story]:
    """Questions, and what people answered: more than the 200 that a first model waits for."""
    story = Story(stack, "replies")
    questions, answered = [], []
    for number in range(220):
        question = list(REPLIES)[number * 7 % len(REPLIES)]
        prompt = f"{GREETINGS[number % len(GREETINGS)]} {question}?"
        questions.append(event(number, prompt))
        answered.append({"id": f"q-{number}", "label": REPLIES[question]})
    story.post("events", questions)
    story.post("labels", answered)
    yield story
    story.http.close()


def event(number: int, prompt: str) -> dict[str, Any]:
    customer = f"customer-{number % 5}"
    return {"id": f"q-{number}", "asked_at": at(number), "customer": customer, "prompt": prompt}


@pytest.fixture(scope="module")
def reviews(stack) -> Iterator[Story]:
    """Reviews, and thumbs that the shop's staff gave them: more than the 500 that a first model waits for."""
    story = Story(stack, "reviews")
    written, thumbs = [], []
    for number in range(520):
        thumb = ("up", "down")[number * 5 % 7 % 2]
        opinion = OPINIONS[thumb][number % 3]
        written.append(
            {
                "id": f"r-{number}",
                "written_at": at(number),
                "product": f"bike-{number % 4}",
                "review": f"{GREETINGS[number % len(GREETINGS)]} {opinion} 🚲",
                "language": "en" if number % 3 else "de",
            }
        )
        thumbs.append({"id": f"r-{number}", "label": thumb})
    story.post("events", written)
    story.post("labels", thumbs)
    yield story
    story.http.close()


async def test_a_prompt_gets_the_answer_that_people_gave_and_both_are_a_versioned_prediction(
    stack, replies, reviews
):
    """`reviews` is asked for here, so that both learn at a time."""
    await eventually(replies.answers, within=SECONDS, what="a first model of replies")
    [promoted] = await replies.heard("millrace.models", models_pb2.ModelPromoted)
    assert (promoted.algorithm, promoted.version, promoted.trigger) == ("retrieval", 1, "first")
    assert min(promoted.metrics[name] for name in ("rouge_l", "bleu", "exact_match")) > 0.9

    answer = replies.ask(prompt=ASKED, sorry="We call you back.")
    expected = REPLIES["i forgot my password"]
    assert (answer["model_version"], answer["outputs"][0]["data"]) == ("1", [expected])
    asked = await replies.answer_to("ask-replies")
    assert (asked.text, asked.model_version, asked.epoch) == (expected, 1, promoted.epoch)
    assert list(asked.categories) == [ASKED, "We call you back."]
    assert asked.role == predictions_pb2.PREDICTION_ROLE_REQUEST

    replies.post("events", [event(230, "WHERE is my parcel,   please")])
    streamed = await replies.answer_to("q-230")
    assert (streamed.text, streamed.model_version) == (REPLIES["where is my parcel"], 1)
    assert streamed.role == predictions_pb2.PREDICTION_ROLE_CHAMPION
    before = await replies.answer_to("q-0")
    assert (before.text, before.model_version) == ("", 0)  # nobody knew anything yet


async def test_a_thumb_is_learnt_from_words(reviews):
    await eventually(reviews.answers, within=SECONDS, what="a first model of reviews")
    chances = {}
    for thumb, opinion in (("up", "A lovely bike, superb"), ("down", "The brakes? AWFUL, broke")):
        answer = reviews.ask(review=opinion, title="", stars=3, language="en")
        chances[thumb] = answer["outputs"][0]["data"][0]
        assert answer["model_version"] == "1"
    assert chances["up"] > 0.8 > 0.2 > chances["down"]
    [promoted] = await reviews.heard("millrace.models", models_pb2.ModelPromoted)
    assert [gate.passed for gate in promoted.verdicts] == [True] * 3


async def carded(story: Story) -> None:
    address = f"{story.stack.url('registry')}/v1/models/{story.name}/versions/1/card"

    def there() -> bool:
        return story.http.get(address).status_code == 200

    await eventually(there, within=SECONDS, what=f"the card of {story.name} 1")


async def test_corrections_show_in_the_words_metric_and_a_run_that_is_too_dear_is_refused_with_its_sum(
    stack, replies
):
    """People now answer otherwise. The budget is a hundredth, and the first run alone took more than that."""
    await eventually(replies.answers, within=SECONDS, what="a first model of replies")
    await carded(replies)  # it is part of what the first run costs
    numbers = range(300, 325)
    replies.post("events", [event(number, "i forgot my password") for number in numbers])
    corrected = "Ask the lady at the desk, she has it."
    replies.post("labels", [{"id": f"q-{number}", "label": corrected} for number in numbers])

    async def degraded() -> list[Any]:
        return await replies.heard("millrace.drift", drift_pb2.PerformanceDegraded)

    worse = (await eventually(degraded, within=SECONDS, what="PerformanceDegraded"))[0]
    assert (worse.metric, worse.model_version) == ("rouge_l", 1)
    assert worse.value < worse.bound < worse.reference

    async def skipped() -> list[Any]:
        told = await replies.heard("millrace.training", training_pb2.RetrainSkipped)
        return [one for one in told if one.reason == "budget_spent"]

    refused = (await eventually(skipped, within=SECONDS, what="RetrainSkipped"))[0]
    assert "of 0.01 EUR of today (UTC) are spent" in refused.detail
    requested = await replies.heard("millrace.training", training_pb2.RetrainRequested)
    assert [run.trigger for run in requested] == ["first"]

    [costs] = json.loads(stack.millrace("get", "costs", "replies", "-o", "json").stdout)
    assert costs["money"] > 0.01
    assert f"{costs['money']:.4g} of 0.01" in refused.detail


async def test_a_model_of_words_has_a_card(stack, replies):
    await carded(replies)
    card = stack.millrace("get", "card", "replies").stdout
    for words in (r"rouge\_l", "retrieval", "prompt", "How good it is"):
        assert words in card
    [made] = await replies.heard("millrace.training", training_pb2.ModelCardMade)
    assert (made.run_number, made.cpu_seconds > 0) == (1, True)
