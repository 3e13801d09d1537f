"""`dlq list|show|replay`: what could not be handled, why, and once it can be, back with it."""

import re
from collections.abc import Sequence
from typing import Annotated, Any

import typer

from millrace.addresses import settings_of_the_stack
from millrace.errors import ClientError, UsageError
from millrace.kafka import with_broker
from millrace.letters import Letter, Place, dead_letter_topic, obstacle
from millrace.morgue import dead_letter_topics, read_letter, read_letters, replay_all
from millrace.output import Format, Output, errors, print_json, say, show
from millrace.printing import printable, value_lines, value_said
from millrace_bus.broker import Broker
from millrace_kernel.clock import SystemClock
from millrace_kernel.time import Instant, parse_duration, rfc3339

group = typer.Typer(help="Dead letters: what could not be handled.", no_args_is_help=True)

_COLUMNS = {
    "topic": "topic",
    "place": "letter",
    "at": "when",
    "service": "service",
    "error": "error",
    "reason": "reason",
    "origin": "from",
    "key": "key",
    "id": "id",
    "size": "bytes",
    "replayed_at": "replayed",
}
_OUTCOMES = {"place": "letter", "origin": "to", "service": "for", "outcome": "outcome"}
_PLACE = re.compile(r"([0-9]{1,9})/([0-9]{1,18})").fullmatch
_LONGEST_REASON, _LONGEST_NAME = 160, 40

Since = Annotated[str | None, typer.Option(help="Only those of the last, e.g., 90s, 2h, 7d")]


@group.command("list")
def list_letters(
    topic: Annotated[
        str | None, typer.Option("--topic", "-t", help="Only this topic's, or this .dlq's")
    ] = None,
    pipeline: Annotated[
        str | None, typer.Option("--pipeline", "-p", help="Only of this one")
    ] = None,
    since: Since = None,
    output: Output = Format.TABLE,
) -> None:
    """The dead letters of all topics, or of one."""
    after = _after(since)

    async def work(broker: Broker) -> list[Letter]:
        topics = await dead_letter_topics(broker)
        return await read_letters(broker, _of(topics, topic) if topic else topics)

    letters = [
        letter
        for letter in with_broker(settings_of_the_stack(), work)
        if letter.at >= after and pipeline in (None, letter.pipeline)
    ]
    if output is Format.JSON:
        print_json([_row(letter) for letter in letters])
    elif letters:
        show([_short(_row(letter)) for letter in letters], _COLUMNS, output)
    else:
        say("No dead letters.")


@group.command("show")
def show_letter(
    topic: Annotated[str, typer.Argument(help="The topic, or its .dlq")],
    place: Annotated[str, typer.Argument(help="PARTITION/OFFSET, as `dlq list` says it")],
    output: Output = Format.TABLE,
) -> None:
    """All that one letter says: its headers, and its value as far as it can be read."""
    wanted = _place(place)

    async def work(broker: Broker) -> Letter:
        [found] = _of(await dead_letter_topics(broker), topic)
        return await read_letter(broker, found, wanted)

    letter = with_broker(settings_of_the_stack(), work)
    if output is Format.JSON:
        headers = [{"name": name, "value": _header(name, value)} for name, value in letter.headers]
        row = {name: said for name, said in _row(letter).items() if name != "replayed_at"}
        print_json(row | {"headers": headers, "value": value_said(letter)})
        return
    for title in _COLUMNS:
        if title != "replayed_at":  # only the list knows
            say(f"{_COLUMNS[title]:<8} {_row(letter)[title]}")
    say("headers")
    for name, value in letter.headers:
        say(f"  {printable(name)}: {_header(name, value)}")
    say("value")
    for line in value_lines(letter):
        say(f"  {line}")


@group.command("replay")
def replay_letters(
    topic: Annotated[str, typer.Argument(help="The topic, or its .dlq")],
    places: Annotated[
        list[str] | None, typer.Argument(help="PARTITION/OFFSET of each letter")
    ] = None,
    every: Annotated[
        bool, typer.Option("--all", help="All that have not been replayed yet")
    ] = False,
    since: Since = None,
    service: Annotated[
        str | None, typer.Option(help="Only what this service could not handle")
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what would be done")] = False,
    output: Output = Format.TABLE,
) -> None:
    """Send letters to the topic they came from, for the service that could not handle them; others don't see them."""
    if bool(places) + every + (since is not None) != 1:
        raise UsageError("say which letters: PARTITION/OFFSET ..., or --all, or --since DURATION")
    wanted, after = [_place(place) for place in places or ()], _after(since)

    async def work(broker: Broker) -> list[dict[str, Any]]:
        [found] = _of(await dead_letter_topics(broker), topic)
        letters = _chosen(await read_letters(broker, [found]), wanted, after)
        letters = [each for each in letters if service in (None, each.service)]
        fit = [letter for letter in letters if obstacle(letter) is None]
        done: list[Letter] = []

        async def told(some: Sequence[Letter]) -> None:
            done.extend(some)

        try:
            if not dry_run:
                await replay_all(broker, fit, told)
        except BaseException:
            errors.print(f"{len(done)} of {len(fit)} letters were replayed; the rest were not")
            raise
        return [
            _outcome(letter, "would be replayed" if dry_run else "replayed") for letter in letters
        ]

    outcomes = with_broker(settings_of_the_stack(), work)
    if outcomes or output is Format.JSON:
        show(outcomes, _OUTCOMES, output)
    else:
        say("Nothing to replay.")
    if left := sum(not each["replayable"] for each in outcomes):
        raise ClientError(f"{left} of {len(outcomes)} letters can't be replayed: see why above")


def _chosen(letters: Sequence[Letter], wanted: Sequence[Place], after: Instant) -> list[Letter]:
    """The letters at these places, replayed before or not; without places all that wait. Raises ClientError."""
    if not wanted:
        return [each for each in letters if each.at >= after and each.replayed_at is None]
    there = {(each.partition, each.offset): each for each in letters}
    if missing := [f"{place[0]}/{place[1]}" for place in wanted if place not in there]:
        raise ClientError(
            f"there is no letter {', '.join(missing)}; `millrace dlq list` shows them"
        )
    return [there[place] for place in dict.fromkeys(wanted)]


def _outcome(letter: Letter, done: str) -> dict[str, Any]:
    why_not = obstacle(letter)
    row = _row(letter)
    return {name: row[name] for name in ("topic", "place", "origin", "service", "id")} | {
        "replayable": why_not is None,
        "outcome": done if why_not is None else why_not,
    }


def _row(letter: Letter) -> dict[str, Any]:
    """All of a letter but its value, as plain values; what others wrote is made printable."""
    origin = letter.origin
    return {
        "topic": letter.topic,
        "partition": letter.partition,
        "offset": letter.offset,
        "place": letter.place,
        "at": rfc3339(letter.at),
        "service": printable(letter.service) or None,
        "pipeline": None if letter.pipeline is None else printable(letter.pipeline),
        "error": printable(letter.error) or None,
        "reason": printable(letter.reason) or None,
        "origin": printable(origin.text) if origin else None,
        "key": None if letter.key is None else printable(letter.key.decode("utf-8", "replace")),
        "id": printable(letter.text("ce_id")) or None,
        "type": printable(letter.text("ce_type")) or None,
        "size": letter.size,
        "replayed_at": rfc3339(letter.replayed_at) if letter.replayed_at is not None else None,
    }


def _short(row: dict[str, Any]) -> dict[str, Any]:
    """As it fits into a table: all of it stands in `-o json` and in `dlq show`."""
    cut = {
        name: f"{text[:longest]}..."
        for name, longest in (
            ("reason", _LONGEST_REASON),
            ("key", _LONGEST_NAME),
            ("id", _LONGEST_NAME),
        )
        if (text := row[name]) and len(text) > longest
    }
    error = row["error"] and row["error"].rpartition(".")[2]
    return row | cut | {"error": error, "at": row["at"][:19] + "Z"}


def _header(name: str, value: bytes | None) -> str:
    """A header's value: Spring's numbers as numbers, text as text, all else as hex."""
    if value is None:
        return "null"
    if name.startswith("kafka_dlt-original-") and name.endswith(
        ("partition", "offset", "timestamp")
    ):
        return (
            str(int.from_bytes(value, "big", signed=True)) if len(value) in (4, 8) else value.hex()
        )
    try:
        return printable(value.decode())
    except UnicodeDecodeError:
        return f"0x{value[:_LONGEST_REASON].hex()}"


def _of(topics: Sequence[str], name: str) -> list[str]:
    found = dead_letter_topic(name)
    if found not in topics:
        known = ", ".join(topics) or "none"
        raise UsageError(f"no topic {found}; dead letters are in {known}")
    return [found]


def _place(text: str) -> Place:
    match = _PLACE(text)
    if match is None:
        raise UsageError(
            f"{text!r} is no PARTITION/OFFSET; write 0/17, as `millrace dlq list` says it"
        )
    return int(match[1]), int(match[2])


def _after(since: str | None) -> Instant:
    if since is None:
        return Instant(-(1 << 62))
    try:
        return Instant(SystemClock().now() - parse_duration(since))
    except ValueError as error:
        raise UsageError(f"--since: {error}") from error


def add_to(app: typer.Typer) -> None:
    app.add_typer(group, name="dlq")
