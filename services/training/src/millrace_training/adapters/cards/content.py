"""What stands in a card, in order, whatever it is written in: headings, paragraphs, tables, plots."""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from millrace_training.adapters.cards.job import CardJob, Curve, Facts

_MOST_FEATURES = 20


@dataclass(frozen=True, slots=True)
class Heading:
    text: str
    level: int = 2


@dataclass(frozen=True, slots=True)
class Text:
    text: str


@dataclass(frozen=True, slots=True)
class Table:
    """The first row of `rows` holds the titles."""

    rows: Sequence[Sequence[str]]


@dataclass(frozen=True, slots=True)
class Bars:
    """One bar for each name; `errors` reach as far to both sides."""

    title: str
    values: Mapping[str, float]
    errors: Mapping[str, float]


@dataclass(frozen=True, slots=True)
class Plot:
    curve: Curve
    answer: str


Block = Heading | Text | Table | Bars | Plot


def number(value: float | None) -> str:
    """Four digits that matter."""
    return "-" if value is None else f"{value:.4g}"


def content_of(job: CardJob, facts: Facts) -> Iterator[Block]:
    yield from _what_it_is(job)
    yield from _how_good(job)
    yield from _what_it_rests_on(facts)
    yield from _for_whom(facts)
    yield from _how_it_was_made(job)
    notes = (*job.result.notes, *facts.notes)
    if notes:
        yield Heading("Notes")
        yield from map(Text, notes)


def _what_it_is(job: CardJob) -> Iterator[Block]:
    about, fit, result = job.about, job.fit, job.result
    yield Heading(f"Model card: {fit.pipeline}, run {about.run_number}", 1)
    if about.description:
        yield Text(about.description)
    yield Table(
        [
            ("", ""),
            ("Predicts", f"{about.label} ({fit.label_kind.value})"),
            ("Kind of model", result.algorithm),
            ("Owner", about.owner or "-"),
            ("Trained because of", about.trigger),
            ("From what was known at", about.as_of),
            ("Rows learnt before measuring", f"{result.train_rows:,}"),
            ("Rows measured on (the newest)", f"{result.holdout_rows:,}"),
            ("Rows learnt by what ships", f"{result.learnt_rows:,}"),
            ("Columns", f"{len(fit.numbers)} numbers, {len(fit.categories)} categories"),
        ]
    )


def _how_good(job: CardJob) -> Iterator[Block]:
    result, champion = job.result, job.about.champion_version
    yield Heading("How good it is")
    yield Text(
        "On the newest rows, which it had not learnt when it was measured. The baseline knows nothing but the labels."
    )
    compared = bool(result.champion_metrics)
    titles = ("metric", "this model", "baseline", *((f"champion {champion}",) if compared else ()))
    rows = [
        (
            name,
            number(value),
            number(result.baseline_metrics.get(name)),
            *((number(result.champion_metrics.get(name)),) if compared else ()),
        )
        for name, value in sorted(result.metrics.items())
    ]
    yield Table([titles, *rows])
    if result.better_probability is not None:
        yield Text(
            f"It is better than the champion with probability {result.better_probability:.1%}."
        )


def _what_it_rests_on(facts: Facts) -> Iterator[Block]:
    shown = facts.features[:_MOST_FEATURES]
    if not shown:
        return
    yield Heading("What its answers rest on")
    few = (
        f" Of {len(facts.features):,} columns the {len(shown)} that count most."
        if len(facts.features) > len(shown)
        else ""
    )
    yield Text(
        f"How much the {facts.loss} rises on {facts.rows:,} rows of the holdout when one column is shuffled.{few}"
    )
    yield Bars(
        f"Rise of {facts.loss} when shuffled",
        {each.name: each.importance for each in shown},
        {each.name: each.spread for each in shown},
    )
    if facts.shap_space:
        yield Text(
            f"The mean absolute SHAP value over {facts.shap_rows:,} rows: what each column adds to or takes from the "
            f"{facts.shap_space.replace('_', ' ')}."
        )
        by_shap = sorted(shown, key=lambda each: -(each.shap or 0.0))
        yield Bars("Mean |SHAP value|", {each.name: each.shap or 0.0 for each in by_shap}, {})
    rows = [
        (each.name, number(each.importance), number(each.spread), number(each.shap))
        for each in shown
    ]
    yield Table([("column", f"rise of {facts.loss}", "spread", "mean |SHAP|"), *rows])
    curves = [curve for curve in facts.curves if len(curve.values) > 1]
    if curves:
        yield Heading("How its answers follow one column")
        yield Text(
            f"The mean {facts.answer} when all rows have the same value there (partial dependence)."
        )
        yield from (Plot(curve, facts.answer) for curve in curves)


def _for_whom(facts: Facts) -> Iterator[Block]:
    if not facts.slices:
        return
    yield Heading("For whom it is how good")
    names = sorted({name for each in facts.slices for name in each.metrics})
    rows = [
        (
            each.by,
            each.value or "missing",
            f"{each.rows:,}",
            *(number(each.metrics.get(name)) for name in names),
        )
        for each in facts.slices
    ]
    yield Table([("column", "value", "rows", *names), *rows])


def _how_it_was_made(job: CardJob) -> Iterator[Block]:
    about, result, fit = job.about, job.result, job.fit
    yield Heading("How it was made")
    yield Table(
        [
            ("", ""),
            ("Run", about.run_id),
            ("Version of the pipeline file", str(fit.pipeline_version)),
            ("Parameters", _parameters(result.parameters_json)),
            ("Trials of the search", str(len(result.trials))),
            ("Seed, threads", f"{fit.seed}, {fit.threads}"),
            ("Dataset", about.dataset_uri),
            ("Dataset, SHA-256", about.dataset_sha256),
            ("Artifact, SHA-256", about.artifact_sha256),
            ("Processor time of the fit", f"{result.cpu_seconds:.2f} s"),
        ]
    )


def _parameters(text: str) -> str:
    try:
        known = json.loads(text or "{}")
    except ValueError:
        return text
    if not isinstance(known, dict):
        return text
    return ", ".join(f"{name}={value}" for name, value in sorted(known.items())) or "-"
