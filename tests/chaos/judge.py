"""What was read, judged. Pure: no topic, no database, no clock; every rule can be shown to fail on made-up evidence."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field


@dataclass(slots=True)
class Topic:
    """What a careful reader saw on one topic: how often each event was in effect, and breaks of its entity's order."""

    times: Counter[int] = field(default_factory=Counter)
    disorders: int = 0
    _newest: dict[tuple[str, int], int] = field(default_factory=dict)

    def saw(self, number: int, entity: str, partition: int) -> None:
        """An event, in the order of its partition. Events of one entity are numbered in the order they were sent."""
        self.times[number] += 1
        place = (entity, partition)
        if self._newest.get(place, -1) >= number:
            self.disorders += 1
        self._newest[place] = max(number, self._newest.get(place, -1))


@dataclass(frozen=True, slots=True)
class Promoted:
    epoch: int
    run_id: str


@dataclass(frozen=True, slots=True)
class Loop:
    """What was decided, in the order of the topics: each entry once for each message in effect."""

    requested: Sequence[tuple[str, str]] = ()  # (run id, what caused it)
    ended: Sequence[str] = ()  # run ids that ended, with a candidate or without
    completed: Sequence[str] = ()  # run ids that ended with a candidate
    registered: Sequence[str] = ()
    promoted: Sequence[Promoted] = ()
    rejected: Sequence[str] = ()


@dataclass(frozen=True, slots=True)
class Watched:
    """What monitoring has in its database."""

    heard: int  # predictions and labels
    joined: Mapping[int, int]  # pairs of answer and truth, by model version
    waiting: Counter[int]  # event numbers whose other side has not come


@dataclass(frozen=True, slots=True)
class Learnt:
    """What training has: rows that can be learnt from, wherever they lie by now."""

    vectors: Counter[int]
    labels: Counter[int]


@dataclass(frozen=True, slots=True)
class Kept:
    """What the registry and training have in their databases."""

    champion_epoch: int
    versions: Sequence[str]  # run ids of model versions
    runs: Sequence[str]  # run ids


@dataclass(frozen=True, slots=True)
class Evidence:
    """Everything that was read of one run after it had come to rest."""

    events: int  # event numbers 0 … events - 1 were sent
    accepted: Topic
    featured: Topic
    scored: Topic
    labelled: Topic
    answered_by_http: frozenset[int]  # event numbers that ingestion answered 202 for
    answers: Mapping[int, int]  # predictions with a value, by model version
    unanswerable: frozenset[int]  # event numbers whose prediction has no value
    vectors: Mapping[int, bytes]  # digest of the feature vector, by event number
    loop: Loop
    watched: Watched
    learnt: Learnt
    kept: Kept
    dead_letters: Mapping[str, int]  # by topic, where there are any


@dataclass(frozen=True, slots=True)
class Verdict:
    """`problems` is empty when all is well; each says what is wrong, where, with an example."""

    lost: int
    doubled: int
    order_violations: int
    differing_sums: int
    promotions: int
    problems: Sequence[str]

    @property
    def good(self) -> bool:
        return not self.problems


class _Findings:
    """Sets of event numbers (or names) that were lost and doubled, and words about each."""

    def __init__(self) -> None:
        self.lost: set[object] = set()
        self.doubled: set[object] = set()
        self.more_lost = (
            0  # where there is only a count; not added: they may be among those known by name
        )
        self.more_doubled = 0
        self.problems: list[str] = []

    def exactly_once(self, where: str, times: Counter[int], expected: Iterable[int]) -> None:
        wanted = set(expected)
        missing = wanted - times.keys()
        again = {number for number, count in times.items() if count > 1 or number not in wanted}
        self.lost |= missing
        self.doubled |= again
        if missing:
            self.problems.append(f"{where}: {len(missing)} lost, such as {_some(missing)}")
        if again:
            self.problems.append(f"{where}: {len(again)} doubled, such as {_some(again)}")

    def count(self, where: str, found: int, expected: int) -> None:
        if found == expected:
            return
        self.problems.append(f"{where}: {found} instead of {expected}")
        self.more_lost = max(self.more_lost, expected - found)
        self.more_doubled = max(self.more_doubled, found - expected)

    def names_once(self, where: str, names: Sequence[object], expected: Iterable[object]) -> None:
        wanted, times = set(expected), Counter(names)
        missing = wanted - times.keys()
        again = {name for name, count in times.items() if count > 1 or name not in wanted}
        self.lost |= {(where, name) for name in missing}
        self.doubled |= {(where, name) for name in again}
        if missing:
            self.problems.append(f"{where}: missing {_some(missing)}")
        if again:
            self.problems.append(f"{where}: more than once, or from nowhere: {_some(again)}")


def judge(evidence: Evidence, undisturbed: Mapping[int, bytes] | None) -> Verdict:
    """Hold a run's evidence against what must be. `undisturbed`: the vectors of the run that nothing happened to."""
    found = _Findings()
    everyone = range(evidence.events)
    topics = {
        "accepted (millrace.events)": evidence.accepted,
        "features (millrace.features)": evidence.featured,
        "scored (millrace.predictions)": evidence.scored,
        "labelled (millrace.labels)": evidence.labelled,
    }
    for where, topic in topics.items():
        found.exactly_once(where, topic.times, everyone)
    answered = evidence.answered_by_http - evidence.accepted.times.keys()
    if answered:
        found.lost |= answered
        found.problems.append(f"answered 202 and not accepted: {_some(answered)}")
    _judge_monitoring(evidence, found)
    _judge_training(evidence, found)
    promotions = _judge_loop(evidence, found)
    disorders = sum(topic.disorders for topic in topics.values() if topic is not evidence.labelled)
    if disorders:
        found.problems.append(
            f"order: {disorders} events came before an earlier one of their entity"
        )
    differing = _differing(evidence.vectors, undisturbed)
    if differing:
        found.problems.append(
            f"feature vectors: {len(differing)} differ from the undisturbed run's, such as {_some(differing)}"
        )
    for topic_name, count in evidence.dead_letters.items():
        found.problems.append(f"dead letters: {count} in {topic_name}")
    return Verdict(
        lost=len(found.lost) or found.more_lost,
        doubled=len(found.doubled) or found.more_doubled,
        order_violations=disorders,
        differing_sums=len(differing),
        promotions=promotions,
        problems=found.problems,
    )


def _judge_monitoring(evidence: Evidence, found: _Findings) -> None:
    """The joined set is the scored set: every answer met its truth, once, and nothing else was heard."""
    watched = evidence.watched
    found.count("heard by monitoring (predictions and labels)", watched.heard, 2 * evidence.events)
    for version in sorted(watched.joined.keys() | evidence.answers.keys()):
        where = f"joined by monitoring, version {version}"
        found.count(where, watched.joined.get(version, 0), evidence.answers.get(version, 0))
    # a prediction without a value is no side of a pair: its label waits; one that was lost is lost above
    unscored = set(range(evidence.events)) - evidence.scored.times.keys()
    waits = evidence.unanswerable | unscored
    found.exactly_once("waiting in monitoring", watched.waiting, waits)


def _judge_training(evidence: Evidence, found: _Findings) -> None:
    everyone = range(evidence.events)
    found.exactly_once("vectors to learn from (training)", evidence.learnt.vectors, everyone)
    found.exactly_once("labels to learn from (training)", evidence.learnt.labels, everyone)


def _judge_loop(evidence: Evidence, found: _Findings) -> int:
    """One request for each cause, one end for each request, one verdict for each candidate, epochs 1, 2, …"""
    loop, kept = evidence.loop, evidence.kept
    requested = [run for run, _ in loop.requested]
    found.names_once("runs requested", requested, requested)
    causes = [cause for _, cause in loop.requested]
    found.names_once("causes of runs", causes, causes)
    found.names_once("runs ended", loop.ended, requested)
    found.names_once("versions registered", loop.registered, loop.completed)
    promoted = [promotion.run_id for promotion in loop.promoted]
    found.names_once("candidates promoted or rejected", [*promoted, *loop.rejected], loop.completed)
    epochs = [promotion.epoch for promotion in loop.promoted]
    if epochs != list(range(1, len(epochs) + 1)):
        found.problems.append(f"epochs of promotions: {epochs} instead of 1, 2, …")
        found.doubled |= {("epoch", epoch) for epoch, n in Counter(epochs).items() if n > 1}
    if kept.champion_epoch != len(epochs):
        found.problems.append(
            f"the registry's champion is of epoch {kept.champion_epoch}, the topic's of {len(epochs)}"
        )
    found.names_once("versions in the registry", kept.versions, loop.completed)
    found.names_once("runs in training", kept.runs, requested)
    return len(epochs)


def _differing(vectors: Mapping[int, bytes], undisturbed: Mapping[int, bytes] | None) -> set[int]:
    if undisturbed is None:
        return set()
    return {
        number
        for number in vectors.keys() & undisturbed.keys()
        if vectors[number] != undisturbed[number]
    }


def _some(things: Iterable[object], most: int = 5) -> str:
    listed = sorted(things, key=str)[:most]
    return ", ".join(map(str, listed))
