"""Cheap updates: some trees are added to the champion's as labels come. What they learn from, when one was in vain, and what
that says of the next.
"""

from millrace_kernel.pipeline import UPDATED, Trigger
from millrace_training.domain.events import Cause, Champion, RunFinished, Skip
from millrace_training.domain.policies import Policy

FEWEST_ROWS = 20  # of fewer, no holdout says anything, whoever asks
FEWEST_NEW_ROWS = 400  # between two updates: where rows are few, a full run costs only some updates
MOST_LEFT_OUT = 3  # updates between two tries, however many were in vain
UPDATE_ROWS = 0.3  # of the rows that a full run learns from
PROBABLY_WORSE = 0.05  # probability of being better, below which an update is not offered


def rows_for(trigger: Trigger, train_on_last: int) -> int:
    """How many rows a run learns from at most: an update corrects what is newest, and of that little is enough."""
    share = UPDATE_ROWS if trigger is Trigger.UPDATE else 1.0
    return max(FEWEST_ROWS, round(train_on_last * share))


def is_in_vain(outcome: RunFinished) -> bool:
    """Whether an update is probably worse than the champion that it would take the place of. One that is as good is taken: it knows
    what is newest, and the holdout is short."""
    measured = outcome.candidate.champion_version > 0 and bool(outcome.candidate.champion_metrics)
    return (
        outcome.run.trigger is Trigger.UPDATE
        and measured
        and outcome.candidate.better_probability < PROBABLY_WORSE
    )


def in_vain_in_words(outcome: RunFinished) -> str:
    candidate = outcome.candidate
    return (
        f"the update is probably worse than version {candidate.champion_version}: its loss is lower with probability "
        f"{candidate.better_probability:.3g} on {candidate.holdout_rows:,} rows"
    )


def not_updatable(
    policy: Policy, cause: Cause, champion: Champion | None
) -> tuple[Skip, str] | None:
    """Why no update goes on with the champion, as far as is known before a run opens it; None where nothing speaks against it.

    The file says what its candidates may be; which of them became the champion, and by which file, is known only now.
    """
    if cause.trigger is not Trigger.UPDATE or champion is None:
        return None
    if champion.algorithm and champion.algorithm not in UPDATED:
        return Skip.NOT_UPDATABLE, (
            f"version {champion.version}, which answers, is of kind {champion.algorithm}, and updates go on with "
            f"{', '.join(UPDATED)} only: until one of these answers, full runs are all there is"
        )
    lost = policy.lost_by_updates.get(champion.pipeline_version)
    if lost is None:
        return None
    return Skip.NOT_UPDATABLE, (
        f"version {champion.version}, which answers, {lost}, and an update would lose that; the next full run is by the "
        "file in force"
    )


def unpromising(cause: Cause, in_vain: int, left_out: int) -> tuple[Skip, str] | None:
    """What the last updates gained says what the next one will: after each in vain twice as many are left out, at most three:
    the world may have moved on."""
    if cause.trigger is not Trigger.UPDATE:
        return None
    to_leave_out = min(2**in_vain, MOST_LEFT_OUT + 1) - 1
    if left_out >= to_leave_out:
        return None
    return Skip.UNPROMISING, (
        f"{in_vain} updates in a row were probably worse than what they would have updated, so {to_leave_out} are left "
        f"out before the next; this is number {left_out + 1}"
    )
