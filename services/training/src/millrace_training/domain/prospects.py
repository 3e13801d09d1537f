"""What a full run is likely to gain, by what the last runs gained: for those that only time or new labels ask for.

A stretch begins with a full run; the updates that follow belong to it. Each of its runs was measured beside the champion of then, on the
newest rows. Where they were not even as likely better as worse, the world has not moved, as far as anyone can tell, and the next full
run can hardly be better either: it is left out, and the more stretches are like that the longer. Who says that something has
changed (drift, performance) ends that at once, and so does an update that is better: updates go on meanwhile.
"""

from dataclasses import dataclass, replace

from millrace_kernel.pipeline import Trigger
from millrace_training.domain.events import (
    Cause,
    RetrainSkipped,
    RunFinished,
    RunOutcome,
    Skip,
)

ASKED_BY_HABIT = frozenset({Trigger.VOLUME, Trigger.SCHEDULE})  # they say nothing of the model
MOST_LEFT_OUT = 7  # full runs between two tries, however many stretches gained nothing
EVEN = 0.5  # as likely better as worse


@dataclass(frozen=True, slots=True)
class Stretch:
    """The runs since the last full one was asked for, that one included.

    `measured` counts those that were compared with a champion, `probability` is the sum of how probably they were better.
    `in_vain`: stretches in a row before this one that gained nothing; `left_out`: full runs that were left out in this one;
    `due`: labelled rows when one was last due by volume.
    """

    measured: int = 0
    probability: float = 0.0
    in_vain: int = 0
    left_out: int = 0
    due: int = 0

    @property
    def gains_nothing(self) -> bool:
        """Known of no runs at all: nothing is."""
        return self.measured > 0 and self.probability <= EVEN * self.measured


NO_STRETCH = Stretch()


def with_measured(stretch: Stretch, outcome: RunOutcome) -> Stretch:
    """A run is over: one more that was compared with the champion, perhaps."""
    if not isinstance(outcome, RunFinished):
        return stretch
    candidate = outcome.candidate
    if candidate.champion_version == 0 or not candidate.champion_metrics:
        return stretch
    return replace(
        stretch,
        measured=stretch.measured + 1,
        probability=stretch.probability + candidate.better_probability,
    )


def with_refused(stretch: Stretch) -> Stretch:
    """A candidate did not pass its gates: whatever it was, it gained nothing."""
    return replace(stretch, measured=stretch.measured + 1)


def with_left_out(stretch: Stretch, event: RetrainSkipped) -> Stretch:
    """A full run was due and is left out, perhaps; by volume, the next is due after as many labels again."""
    trigger = event.cause.trigger
    if event.reason is not Skip.UNPROMISING or trigger not in ASKED_BY_HABIT:
        return stretch
    due = max(stretch.due, event.labelled) if trigger is Trigger.VOLUME else stretch.due
    return replace(stretch, left_out=stretch.left_out + 1, due=due)


def after_a_request(stretch: Stretch, trigger: Trigger) -> Stretch:
    """A full run begins the next stretch."""
    in_vain = stretch.in_vain + 1 if trigger in ASKED_BY_HABIT and stretch.gains_nothing else 0
    return Stretch(in_vain=in_vain)


def after_news(stretch: Stretch) -> Stretch:
    """Something has changed: what was gained before says nothing any more."""
    return Stretch(left_out=stretch.left_out, due=stretch.due)


def hopeless(cause: Cause, stretch: Stretch) -> tuple[Skip, str] | None:
    """Why a full run that habit asks for is left out; None if it is not."""
    if cause.trigger not in ASKED_BY_HABIT or not stretch.gains_nothing:
        return None
    to_leave_out = min(2 ** (stretch.in_vain + 1), MOST_LEFT_OUT + 1) - 1
    if stretch.left_out >= to_leave_out:
        return None
    return Skip.UNPROMISING, (
        f"the last {stretch.measured} runs were better than the champion with probability "
        f"{stretch.probability / stretch.measured:.2g} on average, so {to_leave_out} full runs are left out before the next; "
        f"this is number {stretch.left_out + 1}"
    )
