"""Model cards: what is measured for them, and how it is written down."""

import re
from dataclasses import replace
from html.parser import HTMLParser

import msgspec
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from millrace_kernel.pipeline import LabelKind
from millrace_training.adapters.cards.content import Bars, Plot, Table, Text, content_of
from millrace_training.adapters.cards.job import About, Card, CardJob, Curve
from millrace_training.adapters.cards.make import make_card
from millrace_training.adapters.cards.writing import html, markdown
from millrace_training.adapters.fitting.fit import fit_candidates
from millrace_training.adapters.fitting.job import FitJob

ABOUT = About(
    owner="city-bikes",
    description="bikes hired in the next hour",
    label="cnt",
    run_id="run-7",
    run_number=7,
    trigger="drift",
    as_of="2026-03-01T00:00:00Z",
    dataset_uri="file:///objects/datasets/bikes/7.parquet",
    dataset_sha256="dd",
    artifact_sha256="aa",
    champion_version=0,
)
WEATHER = ["clear", "<script>alert(1)</script>", "rain|snow", ""]


@pytest.fixture
def card_job(tmp_path):
    """Of a truth that follows `strong` much, `weather` some and `noise` not at all."""

    def build(kind=LabelKind.REGRESSION, candidate="xgboost", rows=500) -> CardJob:
        random = np.random.default_rng(3)
        strong, noise = random.normal(size=rows), random.normal(size=rows)
        weather = random.choice(WEATHER, rows)
        value = 5 * strong + 2 * (weather == "clear") + random.normal(0, 0.1, rows)
        label = {
            LabelKind.REGRESSION: value,
            LabelKind.BINARY: (value > 0) * 1.0,
            LabelKind.MULTICLASS: np.array(["few", "some", "many"])[np.digitize(value, [-3, 3])],
        }[kind]
        path = tmp_path / f"{kind}-{candidate}.parquet"
        columns = {
            "event_id": [f"event-{number}" for number in range(rows)],
            "event_time_us": pa.array(np.arange(rows) * 3_600_000_000),
            "numbers": pa.array(np.column_stack([noise, strong]).tolist()),
            "categories": pa.array([[text] for text in weather]),
            "label": pa.array(label.tolist()),
        }
        pq.write_table(pa.table(columns), path)
        fit = FitJob(
            "bikes", 3, kind, ("noise", "strong"), ("weather",), (candidate,), path, 400, 100
        )
        return CardJob(fit, fit_candidates(fit), ABOUT)

    return build


KINDS = [
    (LabelKind.REGRESSION, "xgboost", "value"),
    (LabelKind.REGRESSION, "linear", "value"),
    (LabelKind.BINARY, "random_forest", "probability"),
    (LabelKind.BINARY, "xgboost", "log_odds"),
    (LabelKind.MULTICLASS, "xgboost", "logits"),
]


@pytest.mark.parametrize(("kind", "candidate", "space"), KINDS)
def test_a_card_names_what_the_answers_rest_on(card_job, kind, candidate, space):
    facts = make_card(card_job(kind, candidate)).facts

    assert facts.features[0].name == "strong"
    assert facts.features[0].importance > 5 * facts.features[0].spread
    by_name = {each.name: each for each in facts.features}
    assert abs(by_name["noise"].importance) < by_name["weather"].importance
    assert facts.shap_space == space
    shap = {name: each.shap for name, each in by_name.items()}
    assert shap["strong"] > shap["weather"] > shap["noise"] >= 0
    assert facts.notes == ()


def test_the_mean_answer_rises_with_what_the_truth_rises_with(card_job):
    facts = make_card(card_job()).facts
    curve = next(each for each in facts.curves if each.name == "strong")

    assert list(curve.values) == sorted(curve.values)
    assert curve.answers[-1] - curve.answers[0] > 10
    weather = next(each for each in facts.curves if each.name == "weather")
    answers = dict(zip(weather.values, weather.answers, strict=True))
    assert answers["clear"] - answers["rain|snow"] == pytest.approx(2, abs=0.7)


def test_each_group_is_measured_on_its_own(card_job):
    job = card_job(LabelKind.BINARY)
    slices = make_card(job).facts.slices

    assert {each.value for each in slices} == set(WEATHER)
    assert sum(each.rows for each in slices) == job.result.holdout_rows
    whole = sum(each.rows * each.metrics["accuracy"] for each in slices) / job.result.holdout_rows
    assert whole == pytest.approx(job.result.metrics["accuracy"])


def test_the_same_job_makes_the_same_card(card_job):
    job = card_job()

    assert msgspec.json.encode(make_card(job)) == msgspec.json.encode(make_card(job))


def test_a_card_travels_as_json(card_job):
    card = make_card(card_job())

    assert msgspec.json.decode(msgspec.json.encode(card), type=Card) == card


def test_a_model_that_cannot_be_opened_has_a_card_without_shap_values(card_job):
    card = make_card(card_job(candidate="k_nearest"))

    assert card.facts.shap_space == ""
    assert card.facts.features[0].name == "strong"
    assert "no SHAP values" in card.markdown


def test_the_card_tells_the_champion_apart_only_when_it_was_compared(card_job):
    alone = card_job()
    compared = replace(
        alone,
        about=replace(ABOUT, champion_version=4),
        result=replace(alone.result, champion_metrics={"mae": 9.25}, better_probability=0.975),
    )

    assert "champion" not in make_card(alone).markdown
    written = make_card(compared).markdown
    assert "| champion 4 |" in written
    assert "9.25" in written
    assert "97.5%" in written


class Page(HTMLParser):
    """The tags of a page, which must all be closed, and where they point."""

    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.tags: list[str] = []
        self.open: list[str] = []
        self.attributes: list[tuple[str, str | None]] = []
        self.text = ""

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.attributes += attrs
        if tag not in ("meta", "rect", "path", "circle", "polyline") or tag == "svg":
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.tags.append(tag)
        self.attributes += attrs

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.text += data


def read(page: str) -> Page:
    parser = Page()
    parser.feed(page)
    parser.close()
    assert parser.open == []
    return parser


def test_the_page_is_whole_has_its_plots_in_it_and_asks_nobody_for_anything(card_job):
    page = read(make_card(card_job()).html)

    assert page.tags.count("svg") >= 4
    assert not {"script", "link", "img", "iframe", "object"} & set(page.tags)
    names = {name for name, _ in page.attributes}
    assert not {"href", "src", "onclick", "xlink:href"} & names
    assert "<script>alert(1)</script>" in page.text, "a value of the data is text"


def test_what_users_wrote_means_nothing_to_markdown(card_job):
    written = make_card(card_job()).markdown

    assert "<script>" not in written
    assert r"rain\|snow" in written
    assert "missing" in written


LONG = "the_mean_of_the_temperature_over_the_last_day_at_the_station"


@pytest.mark.parametrize(
    ("text", "written"),
    [
        ("- item", "\\- item"),
        ("1. first", "1\\. first"),
        ("---", "\\---"),
        ("===", "\\==="),
        ("&lt;b&gt;", "\\&lt;b\\&gt;"),
        ("0.5 of - 1 + 2", "0\\.5 of - 1 + 2"),
    ],
)
def test_a_paragraph_stays_one_and_an_entity_what_it_is(text, written):
    assert markdown([Text(text)]) == written + "\n"
    assert markdown([Table([("-1.5", "&")])]) == "| -1.5 | \\& |\n| --- | --- |\n"


def test_a_long_name_keeps_both_ends_and_is_there_in_full():
    page = html("t", [Bars("b", {LONG: 1.0}, {}), Plot(Curve("c", ("x", LONG), (0.0, 1.0)), "p")])

    shown = re.findall(r"</title>([^<]+)</text>", page)
    assert len(shown) == 2
    for short in shown:
        first, last = short.split("…")
        assert LONG.startswith(first)
        assert LONG.endswith(last)
        assert len(short) <= 30
    assert page.count(f"<title>{LONG}</title>") == 2


def test_columns_of_numbers_stand_right_and_words_do_not():
    rows = [("name", "value", "rows"), ("a", "-", "1,200"), ("7", "1.5e-05", "3")]
    page = html("t", [Table(rows), Table([("", ""), ("Run", "7")])])

    assert page.count('<th class="number">') == 2
    assert '<td class="number">1.5e-05</td>' in page
    assert "<td>7</td>" in page
    assert page.count("<th") == 3, "a table without titles has no row of them"


def test_a_curve_that_is_flat_stands_in_the_middle_with_one_number():
    page = html("t", [Plot(Curve("c", (1.0, 2.0, 3.0), (0.25, 0.25, 0.25)), "p")])

    heights = set(re.findall(r'cy="([\d.]+)"', page))
    assert heights == {"92.0"}
    assert page.count(">0.25</text>") == 1


def test_of_many_columns_the_card_says_how_many_it_shows(card_job):
    job = card_job()
    facts = make_card(job).facts
    many = replace(facts, features=facts.features[:1] * 25)

    assert "Of 25 columns the 20 that count most." in markdown(content_of(job, many))
    assert "that count most" not in markdown(content_of(job, facts))


HOSTILE = "a|b *c* [d](http://e) <f>\n# g"


def test_every_block_takes_every_text():
    blocks = [
        Text(HOSTILE),
        Table([(HOSTILE, "x"), (HOSTILE, "y")]),
        Bars(HOSTILE, {HOSTILE: -1.5, "": 0.0}, {HOSTILE: 0.5}),
        Plot(Curve(HOSTILE, ("", HOSTILE), (0.0, 0.0)), HOSTILE),
        Plot(Curve("n", (1.0,), (2.0,)), "answer"),
    ]

    page = read(html(HOSTILE, blocks))
    text = markdown(blocks)

    assert "f" not in page.tags
    assert not any(line.startswith("# g") for line in text.splitlines())
    assert not re.search(r"(?<!\\)\]\(", text), "no link"
