"""Free text through all six hearts: what somebody wrote is learnt, answered, and learnt again when words change meaning."""

from dataclasses import replace

import numpy as np
import orjson

from millrace_backtest.backtest import Settings, backtest, report
from millrace_backtest.fits import FitStore
from millrace_backtest.policies import own_policy
from millrace_backtest.recording import recorded
from millrace_contracts.pipeline_file import read_pipeline
from millrace_kernel.time import MINUTE, Duration

FILE = """
metadata: {name: reviews}
spec:
  event: {id: id, time: at}
  fields: {review: {type: text, required: false}, stars: int}
  features: [{name: is_sick, expr: 'coalesce(review == "sick", 0)', learn: false}]
  label: {field: content, kind: binary, delay: 2h}
  model:
    candidates: [logistic]
    train_on: {last: 150, first: 100}
    holdout: {last: 30}
    text: {words: [1, 1], buckets: 32}
  monitoring: {window: 50}
  retraining: {on: [drift, performance], cooldown: 12h}
"""
SETTINGS = Settings(windows=10, latency=Duration(30 * MINUTE))
WORDS = ("sick", "Sick!", "fine", "bike", "ride", "bell")
EVENTS, TURN = 500, 250


def test_words_are_learnt_and_learnt_again(fits, played):
    """What "sick" says turns round halfway."""
    generator = np.random.default_rng(4)
    messages, content = [], {}
    for sent in played(EVENTS, change_at=TURN):
        body = orjson.loads(sent.value)
        number = int(body["id"])
        if "label" in body:
            body["label"] = content[number]
        else:
            words = generator.choice(WORDS, int(generator.integers(0, 4))).tolist()
            content[number] = ("sick" in " ".join(words).lower()) == (number >= TURN)
            body |= {"review": " ".join(words), "stars": 3}
        messages.append(replace(sent, value=orjson.dumps(body)))
    reviews = read_pipeline(FILE, version=1)
    recording = recorded(reviews, messages)
    assert recording.refused.count == 0
    said = report(backtest(recording, [own_policy(reviews)], FitStore(fits), SETTINGS))
    policy = said["policies"][0]
    assert policy["metric"] == "accuracy"
    assert policy["promotions"] >= 2
    windows = [each["window"] for each in policy["series"]]
    assert windows[0]["loop"] > 0.9  # case and marks count for nothing
    assert windows[-1]["loop"] > 0.9
    assert windows[-1]["frozen"] < 0.1
