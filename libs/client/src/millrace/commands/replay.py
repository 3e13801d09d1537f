"""`replay`: recorded history, sent as it happened."""

from pathlib import Path
from typing import Annotated

import typer
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from millrace.addresses import settings_of_the_stack
from millrace.errors import ClientError, UsageError
from millrace.kafka import with_broker
from millrace.output import errors, say
from millrace.pipelines import pipeline_in_force
from millrace.replay.files import rows_of
from millrace.replay.ordering import RawMessage, messages_of
from millrace.replay.pace import Pace, Sent
from millrace.replay.sending import Sender
from millrace.replay.waiting import StalledError, until_scored
from millrace_bus.broker import Broker
from millrace_kernel.ids import PipelineName

DEFAULT_RATE = 200.0

_PATIENCE_SECONDS = 60.0


def replay(
    file: Annotated[Path, typer.Argument(help="csv, json lines (each also as .gz) or parquet")],
    pipeline: Annotated[str, typer.Option(help="Name of an applied pipeline")],
    rate: Annotated[str | None, typer.Option(help="Events a second, or max; default 200")] = None,
    speed: Annotated[
        float | None, typer.Option(min=0, help="Instead: so many times as fast as it happened")
    ] = None,
    limit: Annotated[int | None, typer.Option(min=1, help="Only so many rows")] = None,
    wait: Annotated[bool, typer.Option("--wait", help="Return when every event is scored")] = False,
) -> None:
    """Send recorded history as it happened: each event, and its label when it became known."""
    pace = pace_of(rate, speed)
    rows = rows_of(file, limit)
    settings = settings_of_the_stack()

    async def work(broker: Broker) -> int:
        declared = await pipeline_in_force(broker, pipeline)
        messages = messages_of(declared, rows)
        events = sum(not message.is_label for message in messages)
        with _bar() as bar:
            await _send(broker, messages, pace, bar, events)
            if wait:
                await _wait(broker, declared.name, messages, bar)
        return events

    events = with_broker(settings, work)
    say(f"{events} events sent to {pipeline}{' and scored' if wait else ''}.")


def pace_of(rate: str | None, speed: float | None) -> Pace:
    """Raises UsageError for what is no pace."""
    if speed is not None and rate is not None:
        raise UsageError("give --rate or --speed, not both")
    if speed is not None:
        return Pace(speed=speed)
    if rate == "max":
        return Pace()
    try:
        number = DEFAULT_RATE if rate is None else float(rate)
    except ValueError:
        number = 0.0
    if not 0 < number < float("inf"):
        raise UsageError(f"--rate {rate} is no rate; give events a second, or max")
    return Pace(rate=number)


async def _send(
    broker: Broker, messages: list[RawMessage], pace: Pace, bar: Progress, events: int
) -> None:
    task = bar.add_task("sent", total=events)

    def progress(sent: Sent) -> None:
        bar.update(task, completed=sent.events)

    await Sender(broker).send_all(messages, pace, progress)


async def _wait(
    broker: Broker, pipeline: PipelineName, messages: list[RawMessage], bar: Progress
) -> None:
    ids = {message.event_id for message in messages if not message.is_label}
    task = bar.add_task("scored", total=len(ids))
    try:
        await until_scored(
            broker,
            pipeline,
            ids,
            patience_seconds=_PATIENCE_SECONDS,
            progress=lambda done: bar.update(task, completed=done),
        )
    except StalledError as error:
        raise ClientError(
            f"{error}, and none came for {_PATIENCE_SECONDS:g} s: `millrace status` shows who doesn't work, "
            f"and what ingestion refused is in the topic's .dlq"
        ) from error


def _bar() -> Progress:
    columns = (TextColumn("{task.description:<7}"), BarColumn(), MofNCompleteColumn())
    return Progress(*columns, TimeElapsedColumn(), console=errors)


def add_to(app: typer.Typer) -> None:
    app.command()(replay)
