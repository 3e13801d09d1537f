"""`backtest`: what would this policy have done on recorded data, and at what cost?"""

from collections.abc import Callable
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

from millrace.errors import ClientError, UsageError
from millrace.output import Format, Output, console, errors, print_json, say, table
from millrace.replay.files import rows_of
from millrace.replay.ordering import messages_of
from millrace.settings import load
from millrace_contracts.pipeline_file import PipelineFileError, read_pipeline
from millrace_kernel.pipeline import Pipeline
from millrace_kernel.time import parse_duration

if (
    TYPE_CHECKING
):  # importing it loads six services and the model libraries: only when it is asked for
    from collections.abc import Iterator

    from millrace_backtest.backtest import Backtest, NamedPolicy

_COLUMNS = {
    "name": "policy",
    "metric": "metric",
    "loop": "loop",
    "frozen": "frozen",
    "every": "every",
    "periodic": "periodic",
    "adwin": "adwin",
    "gain_captured": "gain captured",
    "retrains": "retrains",
    "promotions": "promoted",
    "rejected": "rejected",
    "cpu_seconds": "CPU s",
    "every_cpu_seconds": "every's CPU s",
}


def backtest(
    pipeline: Annotated[Path, typer.Argument(help="The pipeline file")],
    data: Annotated[Path, typer.Argument(help="csv, json lines (each also as .gz) or parquet")],
    policy: Annotated[
        list[Path] | None,
        typer.Option(help="Try this retraining policy; may be given several times"),
    ] = None,
    output: Output = Format.TABLE,
    html: Annotated[Path | None, typer.Option(help="Write a page with plots here")] = None,
    metric: Annotated[str | None, typer.Option(help="Instead of the first gate's")] = None,
    windows: Annotated[int, typer.Option(min=2, help="The baselines retrain between them")] = 50,
    latency: Annotated[str, typer.Option(help="How long a run takes in recorded time")] = "1m",
    limit: Annotated[int | None, typer.Option(min=1, help="Only so many rows")] = None,
    fits: Annotated[
        Path | None, typer.Option(help="Where fits are kept; default in MILLRACE_HOME")
    ] = None,
) -> None:
    """Play recorded data through the six hearts, under one or more retraining policies, beside simple baselines."""
    _refuse_no_place_for(html)
    declared = _pipeline(pipeline)
    duration = _duration(latency)
    from millrace_backtest.backtest import Settings, report
    from millrace_backtest.page import page

    with _progress() as progress:
        done = _played(
            declared,
            _rows(data, limit),
            policy or [],
            fits or load().home / "backtest",
            Settings(windows=windows, latency=duration, metric=metric),
            progress,
        )
    said = report(done)
    if html is not None:
        _write(html, page(said))
    if output is Format.JSON:
        print_json(said)
        return
    console.print(table(said["policies"], _COLUMNS))
    say(
        f"{said['events']} events, {said['scored']} scored after the first model; {said['refused']} refused."
    )


def _played(
    pipeline: Pipeline,
    rows: Any,  # noqa: ANN401
    files: list[Path],
    fits: Path,
    settings: Any,  # noqa: ANN401
    progress: Callable[[str, int], None],
) -> "Backtest":
    from millrace_backtest.backtest import backtest as play
    from millrace_backtest.errors import BacktestError
    from millrace_backtest.fits import FitStore
    from millrace_backtest.recording import recorded

    try:
        policies = _policies(pipeline, files)
        recording = recorded(pipeline, messages_of(pipeline, rows))
        return play(recording, policies, FitStore(fits), settings, progress)
    except BacktestError as error:
        raise ClientError(str(error)) from error


def _policies(pipeline: Pipeline, files: list[Path]) -> "list[NamedPolicy]":
    from millrace_backtest.policies import own_policy, policy_of

    if not files:
        return [own_policy(pipeline)]
    return [policy_of(pipeline, _text(file), file.stem) for file in files]


def _pipeline(path: Path) -> Pipeline:
    try:
        return read_pipeline(_text(path), version=1)
    except PipelineFileError as error:
        raise ClientError(f"{path}: {error}") from error


def _refuse_no_place_for(page: Path | None) -> None:
    """Before hours of work, not after them."""
    if page is not None and (page.is_dir() or not page.absolute().parent.is_dir()):
        why = "it is a folder" if page.is_dir() else f"there is no folder {page.parent}"
        raise UsageError(f"--html: {page} can't be written: {why}")


def _write(page: Path, text: str) -> None:
    try:
        page.write_text(text, encoding="utf-8")
    except OSError as error:
        raise UsageError(f"--html: {page} can't be written: {error}") from None


def _text(path: Path) -> str:
    try:
        return path.read_text()
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"{path} can't be read: {error}") from error


def _duration(text: str) -> Any:  # noqa: ANN401
    try:
        return parse_duration(text)
    except ValueError as error:
        raise UsageError(f"--latency: {error}") from error


def _rows(path: Path, limit: int | None) -> Any:  # noqa: ANN401
    return rows_of(path, limit)


@contextmanager
def _progress() -> "Iterator[Callable[[str, int], None]]":
    columns = (SpinnerColumn(), TextColumn("{task.description}"), TimeElapsedColumn())
    with Progress(*columns, console=errors, transient=True) as bar:
        task = bar.add_task("reading")
        fits = 0

        def progress(what: str, done: int) -> None:
            nonlocal fits
            fits += what == "fits"
            said = f"{fits} models of the baselines" if what == "fits" else f"loop: step {done}"
            bar.update(task, description=said)

        yield progress


def add_to(app: typer.Typer) -> None:
    app.command()(backtest)
