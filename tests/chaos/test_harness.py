"""The harness itself: a repeatable stream, plans that are what they say, a report that tools can read."""

import json
from collections import Counter
from pathlib import Path

import pytest
from tests.chaos import broken, report
from tests.chaos.blueprint import SERVICES, Store, Trick
from tests.chaos.faults import Struck
from tests.chaos.history import ENTITIES, History
from tests.chaos.judge import Verdict
from tests.chaos.launcher import PLAYS
from tests.chaos.run import Outcome, Plan, Run
from tests.chaos.targets import TARGETS, Dose, makes_sense, plan
from tests.chaos.tricks import Deaths, read, written

from millrace_bus import sql_worker
from millrace_bus.kafka import KafkaProducer
from millrace_bus.ledger import Ledger
from millrace_bus.partition import Partition
from millrace_bus.relay import Relay
from millrace_bus.stream import StreamWorker


def test_the_same_seed_gives_the_same_bytes_and_another_does_not():
    assert History(300, 1).messages == History(300, 1).messages
    assert History(300, 1).messages != History(300, 2).messages


def test_every_event_is_there_once_and_its_label_later_in_the_order_of_its_entity():
    messages = History(500, 1).messages
    assert Counter((raw.number, raw.is_label) for raw in messages) == Counter(
        (number, is_label) for number in range(500) for is_label in (False, True)
    )
    places = {(raw.number, raw.is_label): place for place, raw in enumerate(messages)}
    assert all(places[number, True] > places[number, False] for number in range(500))
    events = [raw.number for raw in messages if not raw.is_label]
    assert events == sorted(events)


def test_a_tenth_of_the_entities_sends_over_http_and_an_entity_never_both_ways():
    ways = {(raw.entity, raw.is_for_http) for raw in History(5_000, 1).messages}
    assert len(ways) == len({entity for entity, _ in ways}) == ENTITIES
    assert sum(is_http for _, is_http in ways) == 13


@pytest.mark.parametrize("store", list(Store))
@pytest.mark.parametrize("target", TARGETS)
def test_every_target_has_a_plan_whose_tricks_are_known(target: str, store: Store):
    if not makes_sense(target, store):
        assert (target, store) == ("postgres", Store.SQLITE)
        return
    made = plan(target, store, [target], Dose())
    assert made.strikes
    for tricks in made.blueprint.tricks.values():
        assert {trick.name for trick in tricks} <= PLAYS.keys()


def test_a_service_is_struck_at_least_five_times_at_moments_that_the_seed_decides():
    for target in SERVICES:
        assert len(plan(target, Store.SQLITE, [target], Dose()).strikes) == 5
    moments = [_moments(seed) for seed in (1, 1, 2)]
    assert moments[0] == moments[1] != moments[2]
    assert moments[0] == sorted(set(moments[0]))
    assert 0 < moments[0][0] < moments[0][-1] < 1_000


def _moments(seed: int) -> list[int]:
    made = plan("features", Store.SQLITE, ["features"], Dose())
    return list(Run(made, History(1_000, seed), Path())._moments())


def test_every_variant_of_the_broken_bus_is_played_where_the_bus_still_has_what_it_breaks():
    assert set(broken.VARIANTS) <= PLAYS.keys()
    patched = {
        StreamWorker: ("_send", "_advance"),
        Partition: ("_seen",),
        sql_worker: ("_seen",),
        Ledger: ("fences", "raise_fences"),
        Relay: ("_owed", "_paid"),
        KafkaProducer: ("send",),
    }
    for owner, names in patched.items():
        assert all(hasattr(owner, name) for name in names), owner


def test_tricks_travel_to_another_process_and_deaths_are_remembered(tmp_path: Path):
    tricks = [Trick("relay-dies", {"seed": 3, "kills": 5})]
    folder, found = read(written(tricks, tmp_path / "tricks"))
    assert found == tricks
    Deaths(folder, "relay").add()
    assert Deaths(folder, "relay").count == 1


def row(verdict: Verdict, *, seconds: float = 10.0, recovery: float = 1.5) -> report.Row:
    struck = {"features": Struck(5, recovery)}
    outcome = Outcome(verdict, struck, seconds, {"features-0": 5}, {}, {}, {}, Path())
    return report.Row("features", "sqlite", 1_000, 1, outcome, 8.0)


GOOD = Verdict(0, 0, 0, 0, 3, [])


def test_the_figures_begin_with_the_keys_that_were_promised(tmp_path: Path):
    report.write([row(GOOD)], tmp_path / "deep" / "chaos.json")
    (written_row,) = json.loads((tmp_path / "deep" / "chaos.json").read_text())
    assert list(written_row)[:8] == [
        "target",
        "store",
        "kills",
        "events",
        "lost",
        "doubled",
        "recovery_seconds",
        "throughput_ratio",
    ]
    assert (written_row["kills"], written_row["throughput_ratio"]) == (5, 0.8)


def test_a_missed_goal_is_said_and_fails_nothing():
    slow = row(GOOD, seconds=17.0, recovery=11.0)
    assert slow.good
    assert slow.verdict == "good; missed: throughput below 0.5, recovery over 10 s"
    assert row(GOOD).verdict == "good"


def test_a_problem_fails_its_row_and_stands_in_the_table():
    bad = row(Verdict(1, 0, 0, 0, 3, ["accepted: 1 lost"]))
    assert not bad.good
    heads, line = report.table([bad]).splitlines()
    assert heads.split()[:2] == ["target", "store"]
    assert "FAILED" in line


def test_a_plan_without_targets_is_undisturbed():
    assert not Plan("undisturbed", Store.SQLITE, {}).strikes
