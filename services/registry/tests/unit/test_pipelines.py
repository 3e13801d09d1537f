"""Files come into force once, in order, and the old ones go along."""

from dataclasses import replace

import pytest

from millrace_kernel.errors import TransientError
from millrace_registry.domain.events import ApplyPipeline
from millrace_registry.domain.pipelines import EARLIER_KEPT, decide, evolve


def apply(file, digest, state=None):
    return decide(state, ApplyPipeline(file, digest, state.version if state else 0, 0))


def test_the_first_file_is_version_one(file):
    applied = apply(file(), "a")

    assert (applied.file.version, applied.earlier) == (1, ())


def test_a_file_that_says_what_is_in_force_changes_nothing(file):
    state = evolve(apply(file(), "a"))

    assert apply(file(), "a", state) is None


def test_another_file_is_the_next_version_and_takes_the_old_one_along(file):
    state = evolve(apply(file(), "a"))

    applied = apply(file(strategy="manual"), "b", state)

    assert applied.file == replace(file(strategy="manual"), version=2)
    assert applied.earlier == (replace(file(), version=1),)


def test_going_back_to_an_old_file_is_a_new_version_too(file):
    state = evolve(apply(file(), "a"))
    state = evolve(apply(file(strategy="manual"), "b", state))

    assert apply(file(), "a", state).file.version == 3


def test_of_very_many_files_the_newest_go_along(file):
    state = None
    for number in range(EARLIER_KEPT + 5):
        state = evolve(apply(file(), str(number), state))

    assert len(state.earlier) == EARLIER_KEPT
    assert state.earlier[-1].version == state.version - 1


def test_a_file_held_against_an_old_version_is_to_be_applied_again(world, file):
    with pytest.raises(TransientError, match="apply the file again"):
        world.handle(ApplyPipeline(file(strategy="manual"), "b", 0, 0))
