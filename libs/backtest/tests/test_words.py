"""Human feedback through all six hearts: people correct what was answered, the loop learns it and answers so from then on."""

from dataclasses import replace

import orjson

from millrace_backtest.backtest import Settings, backtest, report
from millrace_backtest.fits import FitStore
from millrace_backtest.policies import own_policy
from millrace_backtest.recording import recorded
from millrace_contracts.pipeline_file import read_pipeline
from millrace_kernel.time import MINUTE, Duration

FILE = """
metadata: {name: help}
spec:
  event: {id: id, time: at}
  fields: {prompt: text}
  label: {field: reply, kind: text, delay: 2h}
  model:
    train_on: {last: 120, first: 80}
    holdout: {last: 30}
    text: {buckets: 128}
  gates:
    - {metric: exact_match, min: 0.3}
    - {metric: rouge_l, better_than: champion, confidence: 0.9}
  monitoring: {window: 50}
  retraining: {on: [drift, performance], cooldown: 12h}
"""
SETTINGS = Settings(windows=10, latency=Duration(30 * MINUTE))
PROMPTS = ("i forgot my password", "where is my parcel", "money back please", "when are you open")
OLD = ("Write to us.", "It is on its way.", "Within five days.", "From nine to five.")
NEW = ("Choose a new one in the settings.", "Look at your inbox.", "At once.", "Day and night.")
EVENTS, TURN = 500, 250


def test_what_people_correct_is_answered_from_then_on(fits, played):
    messages = []
    for sent in played(EVENTS, change_at=TURN):
        body = orjson.loads(sent.value)
        number = int(body["id"])
        topic = (number * 7) % len(PROMPTS)
        if "label" in body:
            # what somebody made of the answer: at first it was right, later they write another one
            body["label"] = (OLD if number < TURN else NEW)[topic]
        else:
            body = {key: body[key] for key in ("id", "at")} | {
                "prompt": PROMPTS[topic] + " !" * (number % 3)
            }
        messages.append(replace(sent, value=orjson.dumps(body)))
    pipeline = read_pipeline(FILE, version=1)
    recording = recorded(pipeline, messages)
    assert recording.refused.count == 0
    found = backtest(recording, [own_policy(pipeline)], FitStore(fits), SETTINGS)
    policy = report(found)["policies"][0]

    assert policy["metric"] == "exact_match"
    assert policy["promotions"] >= 2
    windows = [each["window"] for each in policy["series"]]
    assert windows[0]["loop"] == 1.0
    assert windows[-1]["loop"] == 1.0
    assert windows[-1]["frozen"] == 0.0
