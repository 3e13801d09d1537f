"""`tail`, `topics`: what is on the bus."""

from collections.abc import Sequence
from typing import Annotated

import typer

from millrace.addresses import settings_of_the_stack
from millrace.errors import UsageError
from millrace.feed import Happening, all_types, follow
from millrace.gist import gist
from millrace.kafka import with_broker
from millrace.output import Format, Output, print_json_line, say, show
from millrace_bus.broker import Broker
from millrace_contracts.catalogue import PACKAGE, catalogue
from millrace_kernel.time import rfc3339

_COLUMNS = {
    "name": "topic",
    "key": "key",
    "writer": "writer",
    "readers": "readers",
    "partitions": "partitions",
    "retention": "kept",
    "events": "events",
}


def tail(
    types: Annotated[
        list[str] | None, typer.Option("--type", "-t", help="Only this type; may be given often")
    ] = None,
    pipeline: Annotated[
        str | None, typer.Option("--pipeline", "-p", help="Only of this one")
    ] = None,
    from_beginning: Annotated[bool, typer.Option("--from-beginning")] = False,
    output: Output = Format.TABLE,
) -> None:
    """Print events as they come, one a line, until Ctrl-C."""
    wanted = types_of(types)

    async def work(broker: Broker) -> None:
        async for batch in follow(broker, wanted, from_beginning=from_beginning):
            for happening in batch:
                if pipeline in (None, happening.pipeline):
                    _print(happening, output)

    with_broker(settings_of_the_stack(), work)


def topics(output: Output = Format.TABLE) -> None:
    """The catalogue: every topic, who writes it, who reads it, what it carries."""
    rows = [
        {
            "name": topic.name,
            "description": topic.description,
            "key": topic.key,
            "writer": topic.writer.value,
            "readers": [reader.value for reader in topic.readers],
            "partitions": topic.partitions,
            "retention": topic.retention,
            "cleanup": topic.cleanup,
            "events": [name.removeprefix(f"{PACKAGE}.") for name in topic.events],
        }
        for topic in catalogue().topics.values()
    ]
    show(rows, _COLUMNS, output)


def types_of(names: Sequence[str] | None) -> tuple[str, ...]:
    """The full names of these types, whatever their case; all when none is given. Raises UsageError."""
    known = {name.rpartition(".")[2].lower(): name for name in all_types()}
    found = []
    for name in names or ():
        short = name.rpartition(".")[2].lower()
        if short not in known:
            listed = ", ".join(sorted(full.rpartition(".")[2] for full in known.values()))
            raise UsageError(f"no event type {name!r}; there are {listed}")
        found.append(known[short])
    return tuple(found) or all_types()


def line_of(happening: Happening) -> str:
    at = rfc3339(happening.appended_at)[11:23]
    words = gist(happening.type, happening.fields)
    return f"{at} {happening.type:<20} {happening.pipeline:<10} {words}"


def _print(happening: Happening, output: Format) -> None:
    if output is Format.TABLE:
        say(line_of(happening))
        return
    fields = {
        name: value.decode("utf-8", "replace") if isinstance(value, bytes) else value
        for name, value in happening.fields.items()
    }
    print_json_line(
        {
            "appended_at": rfc3339(happening.appended_at),
            "recorded_at": rfc3339(happening.recorded_at),
            "type": happening.type,
            "id": happening.id,
            "source": happening.source,
            "causation_id": happening.causation_id,
            "traceparent": happening.traceparent,
            "topic": happening.topic,
            "partition": happening.partition,
            "offset": happening.offset,
            "fields": fields,
        }
    )


def add_to(app: typer.Typer) -> None:
    app.command()(tail)
    app.command()(topics)
