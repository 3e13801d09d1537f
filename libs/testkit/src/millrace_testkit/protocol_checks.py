"""What must hold at the end of a schedule: the outputs and the state of the undisturbed run, and nothing else."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import msgspec
from sqlalchemy import select

from millrace_contracts.catalogue import dead_letters_of
from millrace_testkit.memory import MemoryRecord
from millrace_testkit.protocol import World
from millrace_testkit.protocol_hearts import CHAINS, KINDS, Item, Stage

Output = tuple[bytes, bytes, bytes | None, bytes | None]
CLOCK = "clock"


class ViolationError(AssertionError):
    """The guarantee was broken: what, where."""


@dataclass(frozen=True)
class Outcome:
    """Outputs through the fence, by topic and entity in order; state by stage and entity; the ids of dead letters."""

    outputs: Mapping[str, Mapping[str, Sequence[Output]]]
    states: Mapping[str, Mapping[str, tuple[int, str]]]
    letters: frozenset[bytes]


def outcome(world: World) -> Outcome:
    topics = [stage.output for stage in world.stages]
    letters = {
        dict(record.headers)["ce_id"]
        for stage in world.stages
        for record in world.broker.records(dead_letters_of(stage.input))
    }
    return Outcome(
        {topic: _outputs(world, topic) for topic in topics},
        {stage.name: _state(world, stage) for stage in world.stages},
        frozenset(letters),
    )


def _outputs(world: World, topic: str) -> dict[str, list[Output]]:
    found: dict[str, list[Output]] = {}
    for record in _through_the_fence(world.broker.records(topic)):
        headers = dict(record.headers)
        output = (headers["ce_id"], headers["ce_type"], record.key, record.value)
        item = msgspec.json.decode(record.value or b"", type=Item)
        found.setdefault(item.entity, []).append(output)
    return found


def _through_the_fence(records: Sequence[MemoryRecord]) -> list[MemoryRecord]:
    """What is newer than all before it of its source and partition; what is dropped must have been seen, as it is."""
    kept: list[MemoryRecord] = []
    newest: dict[tuple[bytes, int], bytes] = {}
    seen: dict[tuple[bytes, int, bytes], tuple[bytes, bytes | None]] = {}
    for record in records:
        headers = dict(record.headers)
        source, sequence = headers["ce_source"], headers["ce_sequence"]
        content = headers["ce_id"], record.value
        if newest.get((source, record.partition), b"") < sequence:
            newest[source, record.partition] = sequence
            kept.append(record)
        elif (source, record.partition, sequence) not in seen:
            raise ViolationError(f"the fence drops what nobody has seen: {record}")
        if seen.setdefault((source, record.partition, sequence), content) != content:
            raise ViolationError(f"made again, and not the same: {record}")
    return kept


def _state(world: World, stage: Stage) -> dict[str, tuple[int, str]]:
    if stage.form == "sql":
        with world.reading(stage) as connection:
            return {row[0]: (row[1], row[2]) for row in connection.execute(select(CHAINS))}
    found: dict[str, tuple[int, str]] = {}
    for place in world.broker.places(stage.input):
        end = len(world.broker.logs[place])
        for partition in world.partitions(place):
            if partition.position == end:
                for key, value in partition.store.state().scan(b""):
                    if found.setdefault(key.decode(), value) != value:
                        raise ViolationError(f"{place}: two states of {key!r} at offset {end}")
    return found


def check(world: World, folder: Path) -> None:
    """Let the world settle and hold it against a world in which nothing goes wrong. Raises ViolationError."""
    if not world.settle():
        raise ViolationError(f"it does not come to rest: {_unfinished(world)}")
    if world.crashes:
        raise ViolationError(f"a service stopped: {world.crashes!r}") from world.crashes[0]
    found = outcome(world)
    if not world.stop_all():
        raise ViolationError("a clean stop does not end")
    _hold_against(found, undisturbed_outcome(world, folder), world)
    topics = {stage.output: _outputs(world, stage.output) for stage in world.stages}
    if topics != found.outputs:
        raise ViolationError("a clean stop changed the outputs")


def _unfinished(world: World) -> list[str]:
    return [stage.name for stage in world.stages if not world.is_done(stage)] or ["requests"]


def undisturbed_outcome(world: World, folder: Path) -> Outcome:
    """The same input, nothing in it twice, one member a stage, and nothing goes wrong."""
    calm = World(world.stages, folder, seed=0, members=1, rate=0.0)
    try:
        for place in world.broker.places(KINDS[0][2]):
            for record in _each_once(world.broker.logs[place]):
                calm.broker.append_record(place, record)
        with calm.disks.watched():
            for stage, name in world.requests:
                calm.request(stage, name)
            assert calm.settle()
            found = outcome(calm)
            assert calm.stop_all()
        return found
    finally:
        calm.close()


def _each_once(records: Sequence[MemoryRecord]) -> list[MemoryRecord]:
    """Without what the upstream service sent again."""
    first: dict[bytes, MemoryRecord] = {}
    for record in records:
        first.setdefault(dict(record.headers)["ce_id"], record)
    return list(first.values())


def _hold_against(found: Outcome, expected: Outcome, world: World) -> None:
    letters = frozenset(world.poison)
    if found.letters != letters:
        raise ViolationError(f"dead letters {found.letters} instead of {letters}")
    for topic, entities in expected.outputs.items():
        got = {e: v for e, v in found.outputs[topic].items() if e != CLOCK}
        for entity in sorted(entities.keys() | got.keys()):
            _compare(f"outputs of {entity} on {topic}", got.get(entity), entities.get(entity))
    for stage, states in expected.states.items():
        have = {e: v for e, v in found.states[stage].items() if e != CLOCK}
        for entity in sorted(states.keys() | have.keys()):
            _compare(f"state of {entity} in {stage}", have.get(entity), states.get(entity))
    _check_ticks(found, world)


def _compare(what: str, got: object, expected: object) -> None:
    if got != expected:
        raise ViolationError(f"{what}:\n  got      {got}\n  expected {expected}")


def _check_ticks(found: Outcome, world: World) -> None:
    """Each tick once, in order, and as many in the state as were answered."""
    for stage in world.stages:
        answers = found.outputs[stage.output].get(CLOCK, [])
        items = [msgspec.json.decode(value or b"", type=Item) for _, _, _, value in answers]
        firsts = [item for item in items if item.name.endswith(".0")]
        ticks = [int(item.name.split("-")[1].split(".")[0]) for item in firsts]
        if stage.form == "sql":
            count = found.states[stage.name].get(CLOCK, (0, ""))[0]
            if ticks != sorted(set(ticks)) or [i.count for i in firsts] != list(
                range(1, count + 1)
            ):
                raise ViolationError(f"ticks {ticks}, of which {count} were handled")
