"""`apply`, `get`, `promote`, `rollback`, `retrain`: pipelines, and what people decide about them."""

from collections.abc import Callable, Mapping
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any
from urllib.parse import quote

import orjson
import typer

from millrace.addresses import settings_of_the_stack
from millrace.commands.card import show_card
from millrace.errors import ClientError, UsageError
from millrace.output import Format, Output, errors, print_json, say, show
from millrace.settings import Settings
from millrace.web import get, post

Row = Mapping[str, Any]
Target = Annotated[str, typer.Argument(metavar="PIPELINE[@VERSION]")]
Reason = Annotated[str, typer.Option(help="Why, in words")]
VersionOption = Annotated[
    int | None, typer.Argument(min=1, help="card: of this version; default the champion's")
]
SaveOption = Annotated[
    Path | None,
    typer.Option(help="card: write it to this file, with its plots if the name ends in .html"),
]
PipelineOption = Annotated[str | None, typer.Argument(help="Only of this pipeline")]


class Kind(StrEnum):
    PIPELINES = "pipelines"
    MODELS = "models"
    RUNS = "runs"
    DATASETS = "datasets"
    ALERTS = "alerts"
    COSTS = "costs"
    CARD = "card"


_COLUMNS: Mapping[Kind, Mapping[str, str]] = {
    Kind.PIPELINES: {
        "name": "pipeline",
        "version": "file",
        "champion": "champion",
        "epoch": "epoch",
        "strategy": "promotion",
        "owner": "owner",
        "description": "description",
    },
    Kind.MODELS: {
        "pipeline": "pipeline",
        "version": "version",
        "stage": "stage",
        "algorithm": "algorithm",
        "trigger": "trained because of",
        "metrics": "on its holdout",
        "reason": "why",
    },
    Kind.RUNS: {
        "run_number": "run",
        "trigger": "because of",
        "as_of": "as known at",
        "state": "state",
        "algorithm": "algorithm",
        "metrics": "on its holdout",
        "train_rows": "rows",
        "cpu_seconds": "cpu seconds",
        "reason": "why",
    },
    Kind.DATASETS: {
        "run_number": "run",
        "rows": "rows",
        "first_event_time": "from",
        "last_event_time": "until",
        "as_of": "as known at",
        "size": "bytes",
        "sha256": "sha256",
    },
    Kind.ALERTS: {"pipeline": "pipeline", "alert": "alert"},
    Kind.COSTS: {
        "pipeline": "pipeline",
        "runs": "runs",
        "promotions": "promoted",
        "cpu_seconds": "cpu seconds",
        "peak_memory_bytes": "peak bytes",
        "joules": "joules",
        "money": "money",
        "currency": "in",
        "cpu_seconds_per_promotion": "cpu s/promotion",
        "money_per_promotion": "money/promotion",
        "points": "points gained",
        "cpu_seconds_per_point": "cpu s/point",
        "money_per_point": "money/point",
    },
}


def apply(
    file: Annotated[Path, typer.Argument(help="A pipeline file, YAML or JSON")],
    output: Output = Format.TABLE,
) -> None:
    """Check a pipeline file and put it in force."""
    text = _text_of(file)
    _refuse_wrong_file(file, text)
    settings = settings_of_the_stack()
    answer = post(
        settings,
        "registry",
        "/v1/pipelines",
        content=text.encode(),
        content_type="application/yaml",
    )
    settings.demo_mark.unlink(missing_ok=True)  # from now on the home holds more than the demo's
    if output is Format.JSON:
        print_json(answer)
    else:
        said = "applied" if answer["changed"] else "unchanged: this is in force already"
        say(f"{answer['name']} version {answer['version']} {said}.")


def get_things(
    kind: Annotated[Kind, typer.Argument(help="What to list")],
    pipeline: PipelineOption = None,
    version: VersionOption = None,
    output: Output = Format.TABLE,
    save: SaveOption = None,
) -> None:
    """List pipelines, models, runs, datasets, alerts or what the runs cost; or show one version's model card."""
    settings = settings_of_the_stack()
    if kind is Kind.CARD:
        show_card(settings, pipeline, version, output, save)
        return
    if version is not None or save is not None:
        raise UsageError(f"a version and --save are for `millrace get card`, not for {kind}")
    rows = _READERS[kind](settings, pipeline)
    show(rows, _COLUMNS[kind], output)


def promote(target: Target, reason: Reason = "") -> None:
    """Let a version become the champion: the newest one that waits, or the one named."""
    _ask(target, "approve", reason)


def rollback(target: Target, reason: Reason = "") -> None:
    """Let an earlier champion answer again: the one before, or the one named."""
    _ask(target, "rollback", reason)


def retrain(
    pipeline: Annotated[str, typer.Argument()],
    reason: Annotated[str, typer.Option(help="Why, in words")],
) -> None:
    """Train now, whatever the triggers say."""
    _command(pipeline, {"kind": "retrain", "reason": reason})


def target_of(text: str) -> tuple[str, int]:
    """`bikes@3` is version 3 of bikes; `bikes` leaves the version to the registry (0). Raises UsageError."""
    name, at, version = text.partition("@")
    if not name or (at and not (version.isdecimal() and int(version) > 0)):
        raise UsageError(f"{text!r} is no PIPELINE[@VERSION]; write bikes, or bikes@3")
    return name, int(version or 0)


def _ask(target: str, kind: str, reason: str) -> None:
    pipeline, version = target_of(target)
    _command(pipeline, {"kind": kind, "version": version, "reason": reason})


def _command(pipeline: str, asked: Mapping[str, Any]) -> None:
    settings = settings_of_the_stack()
    answer = post(
        settings,
        "registry",
        f"/v1/pipelines/{quote(pipeline, safe='')}/commands",
        content=orjson.dumps(dict(asked) | {"actor": settings.user}),
        content_type="application/json",
    )
    say(
        f"Asked (command {answer['id']}); `millrace tail --pipeline {pipeline}` shows what becomes of it."
    )


def _text_of(file: Path) -> str:
    try:
        return file.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"{file} can't be read: {error}") from None


def _refuse_wrong_file(file: Path, text: str) -> None:
    """Every problem with its line, its key and its fix, before anybody is asked."""
    from millrace_contracts.pipeline_file import PipelineFileError, read_pipeline

    try:
        read_pipeline(text)
    except PipelineFileError as error:
        for problem in error.problems:
            errors.print(f"{file}: {problem}", markup=False)
        count = len(error.problems)
        raise ClientError(f"{file} is refused: {count} problem{'s' if count > 1 else ''}") from None


def _names(settings: Settings, pipeline: str | None) -> list[str]:
    if pipeline is not None:
        return [quote(pipeline, safe="")]
    return [quote(each["name"], safe="") for each in get(settings, "registry", "/v1/pipelines")]


def _pipelines(settings: Settings, pipeline: str | None) -> list[Row]:
    rows: list[Row] = get(settings, "registry", "/v1/pipelines")
    found = [row for row in rows if pipeline in (None, row["name"])]
    if pipeline is not None and not found:
        known = ", ".join(row["name"] for row in rows) or "none"
        raise ClientError(f"no pipeline {pipeline!r}; known: {known}")
    return found


def _of_each(service: str, path: str) -> Callable[[Settings, str | None], list[Row]]:
    def read(settings: Settings, pipeline: str | None) -> list[Row]:
        return [
            row
            for name in _names(settings, pipeline)
            for row in get(settings, service, path.format(name=name))
        ]

    return read


def _costs(settings: Settings, pipeline: str | None) -> list[Row]:
    return [
        get(settings, "training", f"/v1/pipelines/{name}/costs")
        for name in _names(settings, pipeline)
    ]


def _alerts(settings: Settings, pipeline: str | None) -> list[Row]:
    return [
        {"pipeline": name, "alert": alert}
        for name in _names(settings, pipeline)
        for alert in get(settings, "monitoring", f"/v1/pipelines/{name}/status")["alerts"]
    ]


_READERS: Mapping[Kind, Callable[[Settings, str | None], list[Row]]] = {
    Kind.PIPELINES: _pipelines,
    Kind.MODELS: _of_each("registry", "/v1/pipelines/{name}/models"),
    Kind.RUNS: _of_each("training", "/v1/pipelines/{name}/runs"),
    Kind.DATASETS: _of_each("training", "/v1/pipelines/{name}/datasets"),
    Kind.ALERTS: _alerts,
    Kind.COSTS: _costs,
}


def add_to(app: typer.Typer) -> None:
    app.command()(apply)
    app.command("get")(get_things)
    app.command()(promote)
    app.command()(rollback)
    app.command()(retrain)
