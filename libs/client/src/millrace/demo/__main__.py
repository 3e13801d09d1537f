"""`python -m millrace.demo`: the whole loop on two years of bike rentals, and what it came to."""

import argparse
import sys
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import orjson
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from millrace.addresses import settings_of_the_stack
from millrace.checks import java, maven
from millrace.demo.home import free_name, make_ready
from millrace.demo.outcome import Outcome, outcome_of, table_of
from millrace.demo.playing import Player
from millrace.demo.tracing import missing_services
from millrace.errors import ClientError
from millrace.kafka import with_broker
from millrace.output import console, errors, say
from millrace.pipelines import pipeline_in_force, pipelines_in_force
from millrace.replay.files import rows_of
from millrace.replay.ordering import messages_of
from millrace.settings import SERVICES, Settings, load
from millrace.starting import start_detached
from millrace.supervisor.control import end_stack, running_stack
from millrace.web import post
from millrace_artifacts.keys import TrustedKeys
from millrace_artifacts.seal import Vault
from millrace_artifacts.store import ObjectStore
from millrace_bus.broker import Broker
from millrace_contracts.catalogue import RAW_TOPIC_PREFIX
from millrace_contracts.pipeline_file import pipeline_to_json, read_pipeline
from millrace_kernel.ids import PipelineName
from millrace_local.errors import LocalServerError
from millrace_local.infra import infra_folder

PIPELINE = "bikes"
RATE = 250.0  # hours of history a second, at most

_START_SECONDS = 180.0
_APPLIED_SECONDS = 20.0
_TRACE_SECONDS = 20.0


def main(arguments: Sequence[str]) -> int:
    """0: every event was scored exactly once."""
    options = _options(arguments)
    try:
        return run(load(), rate=options.rate, limit=options.limit)
    except ClientError as error:
        errors.print(f"demo: {error}", markup=False, style="red")
        return 1
    except KeyboardInterrupt:
        errors.print("demo: interrupted; the stack stays up until `make down`", markup=False)
        return 130


def run(settings: Settings, *, rate: float, limit: int | None) -> int:
    began = time.monotonic()
    _refuse_without_tools()
    example = _example()
    rows = rows_of(example / "bikes.csv.gz", limit)
    _stack_up(settings)
    settings = settings_of_the_stack()

    async def work(broker: Broker) -> Outcome:
        name = free_name(PIPELINE, set(await pipelines_in_force(broker)))
        _apply(settings, example / "pipeline.yaml", name)
        pipeline = await pipeline_in_force(broker, name, seconds=_APPLIED_SECONDS)
        messages = messages_of(pipeline, rows)
        say(f"Replaying {len(rows)} hours of bike rentals into {pipeline.topic}:")
        with _bar() as bar:
            player = Player(
                settings, broker, name, lambda line: bar.console.print(line, markup=False)
            )
            await player.play(messages, rate, bar)
        say("Reading the topics …")
        sent = {message.event_id for message in messages if not message.is_label}
        vault = Vault(ObjectStore(settings.objects), TrustedKeys(settings.trusted_keys))
        outcome = await outcome_of(broker, pipeline, sent, vault)
        await _refuse_broken_trace(settings, outcome)
        return outcome

    return _report(settings, with_broker(settings, work), time.monotonic() - began)


def _refuse_without_tools() -> None:
    """The one thing that can't be fetched: said before anything is started."""
    for check in (java(), maven()):
        if not check.ok:
            raise ClientError(f"{check.name}: {check.found}. {check.fix}")


def _example() -> Path:
    try:
        return infra_folder().parent / "examples" / PIPELINE
    except LocalServerError as error:
        raise ClientError(str(error)) from error


def _stack_up(settings: Settings) -> None:
    """A new stack in a home of the demo's own; or the one that somebody has, as it is."""
    fresh = make_ready(settings, say)
    if not fresh and running_stack(settings) is not None:
        say(f"Using the stack of {settings.home}, which runs already.")
        return
    end_stack(settings, say)
    say(f"Starting Kafka, the tracing UI and {len(SERVICES)} services in {settings.home}:")
    start_detached(settings, (), timeout=_START_SECONDS, say=say)


def _apply(settings: Settings, file: Path, name: str) -> None:
    written = read_pipeline(file.read_text(encoding="utf-8"))
    topic = f"{RAW_TOPIC_PREFIX}{name}"
    pipeline = replace(written, name=PipelineName(name), topic=topic)
    post(
        settings,
        "registry",
        "/v1/pipelines",
        content=pipeline_to_json(pipeline).encode(),
        content_type="application/json",
    )


async def _refuse_broken_trace(settings: Settings, outcome: Outcome) -> None:
    if outcome.trace_id is None or not settings.runs_zipkin:
        return
    missing = await missing_services(settings.zipkin, outcome.trace_id, seconds=_TRACE_SECONDS)
    if missing:
        errors.print(
            f"demo: the trace {outcome.trace_id} has no spans of {', '.join(sorted(missing))}",
            style="yellow",
        )


def _report(settings: Settings, outcome: Outcome, seconds: float) -> int:
    ui = f"{settings.zipkin}/zipkin/"
    trace = (
        f"{ui}traces/{outcome.trace_id}" if outcome.trace_id else "none: no trace goes all the way"
    )
    lines = {"tracing UI": ui, "one whole loop, traced": trace}
    lines |= {name: f"{settings.urls[name]}/docs" for name in SERVICES}
    console.print()
    console.print(table_of(outcome, lines))
    told = outcome.as_json(tracing_ui=ui, seconds=round(seconds, 1))
    file = settings.home / "demo.json"
    file.write_bytes(orjson.dumps(told, option=orjson.OPT_INDENT_2))
    say(
        f"\n{seconds:.0f} s in all; the figures are in {file}. The stack stays up until `make down`."
    )
    if not outcome.counts.exactly_once:
        raise ClientError("not every event was scored exactly once; see lost and doubled above")
    return 0


def _bar() -> Progress:
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn())
    return Progress(*columns, TimeElapsedColumn(), console=console)


def _options(arguments: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m millrace.demo", description=__doc__)
    parser.add_argument("--rate", type=float, default=RATE, help="events a second, at most")
    parser.add_argument("--limit", type=int, help="only so many events")
    return parser.parse_args(arguments)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
