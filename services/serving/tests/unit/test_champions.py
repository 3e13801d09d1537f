from hypothesis import given
from hypothesis import strategies as st

from millrace_kernel.ids import ModelVersionNumber, PipelineName
from millrace_serving.domain.champions import (
    NO_SUCCESSION,
    REMEMBERED,
    Champion,
    ModelPromoted,
    ModelRolledBack,
    Succession,
    evolve,
)


def champion(version: int, epoch: int) -> Champion:
    return Champion(
        PipelineName("bikes"),
        1,
        ModelVersionNumber(version),
        epoch,
        f"file:///{version}",
        f"{version}",
        f"run-{version}",
        b"signature",
        "key",
    )


def promoted(version: int, epoch: int) -> ModelPromoted:
    return ModelPromoted(champion(version, epoch))


def rolled_back(version: int, epoch: int, taken_back: int) -> ModelRolledBack:
    return ModelRolledBack(champion(version, epoch), ModelVersionNumber(taken_back))


def after(*events: ModelPromoted | ModelRolledBack) -> Succession:
    succession = NO_SUCCESSION
    for event in events:
        succession = evolve(succession, event)
    return succession


def test_the_newest_promotion_is_the_champion():
    assert after(promoted(1, 1), promoted(2, 2)).newest == champion(2, 2)


def test_an_older_or_repeated_epoch_is_ignored():
    newest = after(promoted(1, 1), promoted(2, 5))

    assert evolve(newest, promoted(3, 4)) is newest
    assert evolve(newest, promoted(3, 5)) is newest


def test_after_a_rollback_the_version_taken_back_is_no_successor_any_more():
    succession = after(
        promoted(1, 1), promoted(2, 2), promoted(3, 3), rolled_back(2, 4, taken_back=3)
    )

    assert succession.champions == (champion(2, 4), champion(1, 1))


def test_only_so_many_champions_are_remembered():
    succession = after(*(promoted(version, version) for version in range(1, 30)))

    assert [one.version for one in succession.champions] == list(range(29, 29 - REMEMBERED, -1))


@given(epochs=st.permutations(range(1, 8)))
def test_whatever_the_order_the_newest_epoch_wins_and_epochs_descend(epochs: list[int]):
    succession = after(*(promoted(epoch, epoch) for epoch in epochs))

    found = [one.epoch for one in succession.champions]
    assert found[0] == 7
    assert found == sorted(found, reverse=True)
