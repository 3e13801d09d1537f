"""Answers in words: the most similar prompt's, how good they are, and what they are measured against."""

import hashlib
import subprocess
import sys
from dataclasses import replace

import msgspec
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from millrace_artifacts.artifact import read_artifact
from millrace_artifacts.scorer import load_scorer
from millrace_artifacts.texts import TextColumn
from millrace_kernel.pipeline import BASELINE, Gate, LabelKind, VectorKind
from millrace_kernel.profile import profile_from_json
from millrace_training.adapters.cards.job import About, CardJob
from millrace_training.adapters.cards.make import make_card
from millrace_training.adapters.fitting.algorithms import retrieval_models
from millrace_training.adapters.fitting.fit import fit_candidates
from millrace_training.adapters.fitting.job import FitJob, NoCandidateError, OneClassError
from millrace_training.adapters.fitting.measuring.wording import wording_losses, wording_metrics
from millrace_training.adapters.fitting.options import Options
from millrace_training.adapters.fitting.reading import encoding

ROWS = 300
PROMPT = TextColumn("prompt", (1, 2), (), 2048)
ANSWERS = {
    "password": "Open the settings and choose a new password.",
    "refund": "We send your money back within five days.",
    "delivery": "Your parcel is on its way.",
    "opening": "We are open from nine to five.",
}
ASKED = {
    "password": "i forgot my password login",
    "refund": "money back refund return",
    "delivery": "where is my parcel delivery late",
    "opening": "opening hours when open today",
}
FRESH = """
import hashlib, sys
from pathlib import Path
import msgspec
from millrace_training.adapters.fitting.fit import fit_candidates
from millrace_training.adapters.fitting.job import FitJob
job = msgspec.json.decode(sys.stdin.read(), type=FitJob, dec_hook=lambda kind, value: kind(value))
print(hashlib.sha256(fit_candidates(job).artifact).hexdigest())
"""


@pytest.fixture
def a_job(tmp_path):
    def build(answers=ANSWERS, rows=ROWS, **changes) -> FitJob:
        random = np.random.default_rng(5)
        topics = random.choice(list(ASKED), rows)
        prompts = [" ".join(random.permutation(ASKED[topic].split())[:3]) for topic in topics]
        towns = random.choice(["Ulm", "Bonn"], rows)
        path = tmp_path / f"{hashlib.sha256(repr((answers, rows)).encode()).hexdigest()}.parquet"
        table = {
            "event_id": [f"event-{number:05d}" for number in range(rows)],
            "event_time_us": pa.array(np.arange(rows) * 3_600_000_000),
            "numbers": pa.array([[1.0]] * rows),
            "categories": pa.array([list(row) for row in zip(prompts, towns, strict=True)]),
            "label": pa.array([answers[topic] for topic in topics]),
        }
        pq.write_table(pa.table(table), path)
        columns = ("stars",), ("prompt", "town")
        given = {"options": Options(texts=(PROMPT,)), "train_on_last": 5_000} | changes
        return FitJob(
            "help", 1, LabelKind.TEXT, *columns, ("retrieval",), path, holdout_last=60, **given
        )

    return build


def said(artifact: bytes, *prompts: str) -> list[str]:
    read = read_artifact(artifact)
    scores = load_scorer(read).score(
        np.ones((len(prompts), 1)), [(prompt, "Ulm") for prompt in prompts]
    )
    assert scores.probabilities is None
    return [read.signature.classes[int(place)] for place in scores.values]


def test_a_prompt_gets_the_answer_of_the_most_similar_one(a_job):
    result = fit_candidates(a_job())
    assert result.algorithm == "retrieval"
    assert result.metrics["exact_match"] > 0.95
    assert result.baseline_metrics["exact_match"] < 0.5
    assert (
        result.metrics.keys()
        == result.baseline_metrics.keys()
        == {"exact_match", "rouge_l", "bleu"}
    )
    assert said(result.artifact, "MONEY back?", "where's my parcel", "password: forgot") == [
        ANSWERS["refund"],
        ANSWERS["delivery"],
        ANSWERS["password"],
    ]
    profile = profile_from_json(result.reference_profile)
    assert profile.primary_metric == "rouge_l"
    assert profile.prediction.kind is VectorKind.TEXT


def test_what_is_like_nothing_gets_the_most_frequent_answer(a_job):
    answers = ANSWERS | {"opening": ANSWERS["refund"]}
    result = fit_candidates(a_job(answers=answers))
    assert said(result.artifact, "", "zzz qqq") == [ANSWERS["refund"]] * 2


def test_the_rows_beside_a_prompt_change_no_answer(a_job):
    artifact = fit_candidates(a_job()).artifact
    random = np.random.default_rng(1)
    words = sorted({word for line in ASKED.values() for word in line.split()})
    prompts = [" ".join(random.choice(words, 4)) for _ in range(200)]
    assert said(artifact, *prompts) == [said(artifact, prompt)[0] for prompt in prompts]


def test_the_newest_of_equal_prompts_counts(a_job, tmp_path):
    job = a_job(refit=False)
    table = pq.read_table(job.dataset).to_pydict()
    table["categories"] = [["the same prompt", "Ulm"]] * 150 + [["another one", "Ulm"]] * 150
    table["label"] = ["an old answer"] * 149 + ["a new answer"] + ["something else"] * 150
    path = tmp_path / "turned.parquet"
    pq.write_table(pa.table(table), path)
    artifact = fit_candidates(replace(job, dataset=path)).artifact
    assert said(artifact, "the same prompt", "another one") == ["a new answer", "something else"]


def test_only_the_newest_answers_travel(a_job, monkeypatch):
    monkeypatch.setattr(encoding, "NEWEST_ANSWERS", 50)
    monkeypatch.setattr(retrieval_models, "NEWEST_ANSWERS", 50)
    job = a_job()
    table = pq.read_table(job.dataset).to_pydict()
    table["label"] = [f"answer {number}" for number in range(ROWS)]
    path = job.dataset.with_name("many.parquet")
    pq.write_table(pa.table(table), path)
    signature = read_artifact(fit_candidates(replace(job, dataset=path)).artifact).signature
    assert len(signature.classes) == 50
    assert "answer 299" in signature.classes


def test_it_is_equal_to_the_bit_in_a_fresh_process(a_job):
    job = a_job()
    result = fit_candidates(job)
    done = subprocess.run(
        [sys.executable, "-c", FRESH],
        input=msgspec.json.encode(replace(job, winner=result.winner), enc_hook=str),
        capture_output=True,
        check=False,
        env={"PYTHONPATH": ":".join(filter(None, sys.path)), "PYTHONHASHSEED": "3"},
    )
    assert done.returncode == 0, done.stderr.decode()
    assert done.stdout.decode().strip() == hashlib.sha256(result.artifact).hexdigest()


def test_better_answers_are_proven_better_than_champion_and_baseline(a_job):
    turned = dict(zip(ANSWERS, [*list(ANSWERS.values())[1:], "No idea."], strict=True))
    champion = fit_candidates(a_job(answers=turned)).artifact
    gates = tuple(
        Gate(metric, better_than=BASELINE, confidence=0.95)
        for metric in ("rouge_l", "bleu", "exact_match")
    )
    result = fit_candidates(a_job(champion=champion, gates=gates))
    assert result.champion_metrics["exact_match"] < 0.3
    assert result.better_probability > 0.99
    assert result.evidence.baseline.better_probability > 0.99
    assert result.evidence.baseline.name == "most_frequent"
    assert result.evidence.schema.classes == ()
    same = fit_candidates(a_job(champion=result.artifact))
    assert same.better_probability == 0.5


def test_checks_and_slices_are_measured(a_job):
    checks = ("overfit", "noise_drop", "missing_drop", "latency_us", "artifact_bytes")
    gates = tuple(Gate(metric, max=1e9) for metric in checks)
    gates += (Gate("rouge_l", min=0.1, by="town", rows=5),)
    result = fit_candidates(a_job(gates=gates))
    assert {*checks} <= result.metrics.keys()
    assert {part.value: set(part.metrics) for part in result.evidence.slices} == {
        town: {"exact_match", "rouge_l", "bleu"} for town in ("Ulm", "Bonn")
    }


def test_a_search_tries_how_much_past_helps(a_job):
    result = fit_candidates(a_job(trials=6, timeout_seconds=60.0))
    assert len(result.trials) == 6
    assert result.metrics["exact_match"] > 0.95


def test_a_card_has_no_curves(a_job):
    fit = a_job()
    about = About(
        "shop", "", "reply", "run-1", 1, "first", "2026-03-01T00:00:00Z", "f", "d", "a", 0
    )
    facts = make_card(CardJob(fit, fit_candidates(fit), about)).facts
    assert facts.curves == ()
    assert facts.loss == "1 - rouge_l"
    assert facts.features[0].name == "prompt"
    assert facts.features[0].importance > 0.3
    assert "no SHAP values" in facts.notes[0]


def test_one_answer_alone_is_waited_out(a_job):
    with pytest.raises(OneClassError):
        fit_candidates(a_job(answers=dict.fromkeys(ANSWERS, "Yes.")))


def test_other_kinds_of_model_have_no_words(a_job):
    with pytest.raises(NoCandidateError, match="retrieval"):
        fit_candidates(replace(a_job(), candidates=("xgboost",)))


def test_metrics_of_words_are_those_of_their_sources():
    answers = ["the cat sat on the mat", "Yes.", "no idea at all"]
    truths = ["the cat sat on a mat", "yes", "something else"]
    found = wording_metrics(answers, truths)
    assert found["exact_match"] == 0.0
    # 5 of 6 words in order on both sides; "Yes." is "yes" and a mark; nothing
    assert found["rouge_l"] == pytest.approx((5 / 6 + 2 / 3 + 0.0) / 3)
    assert 0.0 < found["bleu"] < 1.0
    whole = wording_metrics(["so be it", "日本 語"], ["so  be it ", "日本 語"])
    assert whole == {"exact_match": 1.0, "rouge_l": 1.0, "bleu": pytest.approx(1.0)}


@given(st.lists(st.tuples(st.text(max_size=12), st.text(max_size=12)), min_size=1, max_size=5))
def test_metrics_are_shares_of_any_text(pairs):
    answers, truths = map(list, zip(*pairs, strict=True))
    for value in wording_metrics(answers, truths).values():
        assert 0.0 <= value <= 1.0
    losses = wording_losses(answers, truths)
    for answer, truth, loss in zip(answers, truths, losses.tolist(), strict=True):
        assert 0.0 <= loss <= 1.0
        assert loss == pytest.approx(float(wording_losses([truth], [answer])[0]))
