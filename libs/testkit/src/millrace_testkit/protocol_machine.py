"""The protocol as a state machine for hypothesis: rules do what happens to a platform, the end judges.

`schedules` plays the same kinds of things from a seed alone, for exploring at length and for broken variants.
"""

import shutil
import tempfile
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import ClassVar

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule
from typing_extensions import override

from millrace_testkit.faults import FAULTS, Order
from millrace_testkit.protocol import World
from millrace_testkit.protocol_checks import ViolationError, check
from millrace_testkit.protocol_hearts import Stage
from millrace_testkit.protocol_members import Node
from millrace_testkit.schedule import Chances

STREAM = (Stage(0, "stream"),)
SQL = (Stage(0, "sql"),)
CHAIN = (Stage(0, "stream"), Stage(1, "stream"), Stage(2, "sql"))
_MEMORY = Path("/dev/shm")  # noqa: S108
ENTITIES = tuple(f"entity-{number}" for number in range(5))
ERRANDS = (
    *("send", "return of send", "poll", "return of poll", "start", "partitions", "beginnings"),
    *("commit", "stop", "store", "stored", "transaction", "committed", "query"),
)


class Play:
    """A world with the moves that a schedule is made of. `end` judges it; `close` always."""

    def __init__(self, stages: Sequence[Stage], *, seed: int, members: int, rate: float) -> None:
        in_memory = _MEMORY if _MEMORY.is_dir() else None  # how fast a disk is decides nothing here
        self._folder = Path(tempfile.mkdtemp(prefix="millrace-model-", dir=in_memory))
        (self._folder / "calm").mkdir()
        self._exit = ExitStack()
        self._exit.callback(shutil.rmtree, self._folder)
        self.world = World(stages, self._folder, seed=seed, members=members, rate=rate)
        self._exit.callback(self.world.close)
        self._exit.enter_context(self.world.disks.watched())
        self._fed = 0

    def node(self, number: int) -> Node:
        return self.world.nodes[number % len(self.world.nodes)]

    def stage(self, number: int) -> Stage:
        return self.world.stages[number % len(self.world.stages)]

    def feed(self, count: int, entity: str, *, counted: bool = True, poison: bool = False) -> None:
        for _ in range(count):
            self.world.feed(f"item-{self._fed}", entity, counted=counted, poison=poison)
            self._fed += 1

    def request(self, number: int) -> None:
        stage = self.stage(number)
        if stage.form == "sql":
            self.world.request(stage, f"request-{self._fed}")
            self._fed += 1

    def on_process(self, number: int, act: str) -> None:
        """kill, pause, resume or cut_off; nothing when nobody runs there."""
        if process := self.node(number).process:
            getattr(self.world, act)(process)

    def block(self, entity: str) -> None:
        self._heart_of_all(lambda blocked: blocked.add(entity))

    def unblock(self) -> None:
        self._heart_of_all(lambda blocked: blocked.clear())

    def _heart_of_all(self, change: Callable[[set[str]], None]) -> None:
        for heart in self.world.hearts.values():
            change(heart.blocked)

    def run(self, seconds: float) -> None:
        self.world.loop.run_until(lambda: False, seconds)

    def end(self) -> None:
        check(self.world, self._folder / "calm")

    def close(self) -> None:
        self._exit.close()


def play(stages: Sequence[Stage], seed: int, *, moves: int = 30) -> None:
    """One schedule, drawn from a seed. Raises ViolationError with the seed in it."""
    chances = Chances(seed)
    rate = (0.0, 0.01, 0.03)[chances.below(3)]
    game = Play(stages, seed=seed, members=1 + chances.below(3), rate=rate)
    try:
        for number in range(len(game.world.nodes)):
            if chances.happens(0.7):
                game.world.start(game.node(number))
        for _ in range(moves):
            _move(game, chances, counted=stages[0].form != "sql")
            _supervise(game, chances)
            game.run(1.5 * chances.unit() * chances.unit())
        game.end()
    except ViolationError as error:
        error.add_note(f"schedule {seed} of {[stage.form for stage in stages]}")
        raise
    finally:
        game.close()


def _move(game: Play, chances: Chances, *, counted: bool) -> None:
    world, number = game.world, chances.below(1 << 16)
    entity = ENTITIES[chances.below(len(ENTITIES))]
    errand, fault = ERRANDS[chances.below(len(ERRANDS))], FAULTS[chances.below(len(FAULTS))]
    feed = (
        lambda: game.feed(1 + chances.below(3), entity, counted=counted or chances.happens(0.7)),
        lambda: game.feed(1, entity, poison=chances.happens(0.2)),
    )
    moves: tuple[Callable[[], object], ...] = (
        *feed,
        *feed,
        lambda: world.feed_again(3),
        lambda: world.start(game.node(number)),
        lambda: game.on_process(number, "kill"),
        lambda: game.on_process(number, "pause"),
        lambda: game.on_process(number, "resume"),
        lambda: game.on_process(number, "cut_off"),
        lambda: world.stop(game.node(number)),
        lambda: world.lose_disk(game.node(number)),
        lambda: setattr(world.faults, "away", not world.faults.away),
        lambda: game.block(entity),
        game.unblock,
        world.tick,
        lambda: game.request(number),
        lambda: world.faults.orders.append(Order(errand, fault, chances.below(3))),
        lambda: world.faults.orders.append(Order("send", fault, chances.below(2))),
    )
    moves[chances.below(len(moves))]()


def _supervise(game: Play, chances: Chances) -> None:
    """Whoever died is started again, sooner or later."""
    for node in game.world.nodes:
        if node.wanted and node.process is None and chances.happens(0.5):
            game.world.start(node)


def first_violation(stages: Sequence[Stage], seeds: range) -> tuple[int, ViolationError] | None:
    """The first of these schedules that breaks the guarantee."""
    for seed in seeds:
        try:
            play(stages, seed)
        except ViolationError as error:
            return seed, error
    return None


_NODES = st.integers(0, 8)


class ProtocolMachine(RuleBasedStateMachine):
    """Subclasses name the stages. What is not drawn by a rule is drawn from `seed`."""

    stages: ClassVar[Sequence[Stage]] = STREAM

    def __init__(self) -> None:
        super().__init__()
        self.game: Play | None = None

    @property
    def playing(self) -> Play:
        assert self.game is not None
        return self.game

    @initialize(
        seed=st.integers(0, 2**16),
        members=st.integers(1, 3),
        rate=st.sampled_from([0.0, 0.01, 0.03]),
    )
    def begin(self, seed: int, members: int, rate: float) -> None:
        self.game = Play(self.stages, seed=seed, members=members, rate=rate)
        for node in self.game.world.nodes:
            self.game.world.start(node)

    @rule(count=st.integers(1, 4), entity=st.sampled_from(ENTITIES), seconds=st.floats(0, 0.3))
    def items_arrive(self, count: int, entity: str, seconds: float) -> None:
        self.playing.feed(count, entity)
        self.playing.run(seconds)

    @rule(entity=st.sampled_from(ENTITIES))
    def poison_arrives(self, entity: str) -> None:
        self.playing.feed(1, entity, poison=True)

    @rule(count=st.integers(1, 4))
    def the_upstream_sends_again(self, count: int) -> None:
        self.playing.world.feed_again(count)

    @precondition(lambda self: self.stages[0].form == "sql")
    @rule(entity=st.sampled_from(ENTITIES))
    def a_command_arrives(self, entity: str) -> None:
        self.playing.feed(1, entity, counted=False)

    @precondition(lambda self: any(stage.form == "sql" for stage in self.stages))
    @rule(number=_NODES, tick=st.booleans())
    def something_local_happens(self, number: int, tick: bool) -> None:
        if tick:
            self.playing.world.tick()
        else:
            self.playing.request(number)

    @rule(number=_NODES, act=st.sampled_from(["kill", "pause", "resume", "cut_off"]))
    def a_process_suffers(self, number: int, act: str) -> None:
        self.playing.on_process(number, act)

    @rule(number=_NODES)
    def a_process_is_started(self, number: int) -> None:
        self.playing.world.start(self.playing.node(number))

    @rule(number=_NODES)
    def a_process_is_stopped(self, number: int) -> None:
        self.playing.world.stop(self.playing.node(number))

    @rule(number=_NODES)
    def a_machine_is_lost_with_its_disk(self, number: int) -> None:
        self.playing.world.lose_disk(self.playing.node(number))

    @rule(away=st.booleans())
    def the_broker_goes_and_comes(self, away: bool) -> None:
        self.playing.world.faults.away = away

    @rule(errand=st.sampled_from(ERRANDS), fault=st.sampled_from(FAULTS), wait=st.integers(0, 3))
    def an_errand_will_fail(self, errand: str, fault: str, wait: int) -> None:
        self.playing.world.faults.orders.append(Order(errand, fault, wait))

    @rule(entity=st.none() | st.sampled_from(ENTITIES))
    def an_entity_is_not_known_yet(self, entity: str | None) -> None:
        if entity is None:
            self.playing.unblock()
        else:
            self.playing.block(entity)

    @rule(seconds=st.floats(0.01, 2.0))
    def time_passes(self, seconds: float) -> None:
        self.playing.run(seconds)

    @rule(steps=st.integers(1, 60))
    def a_little_happens(self, steps: int) -> None:
        self.playing.world.loop.advance(steps)

    @override
    def teardown(self) -> None:
        if self.game is None:
            return
        try:
            self.game.end()
        finally:
            self.game.close()
            self.game = None
