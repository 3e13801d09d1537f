"""Runs that new labels alone ask for: a full one after many, an update after a few."""

from millrace_kernel.pipeline import Trigger
from millrace_training.domain.events import Cause
from millrace_training.domain.policies import Policy
from millrace_training.domain.retraining import History, why_not
from millrace_training.domain.updates import FEWEST_NEW_ROWS, FEWEST_ROWS


def due_by_labels(policy: Policy, history: History) -> tuple[Trigger, int] | None:
    """The next run that new labels alone will ask for, and at how many labelled rows; None while none can be.

    Shares are of the rows that the last full run could learn from, so a young model learns again soon and an old one seldom.
    A champion by another file's columns waits for a first model of its own.
    """
    champion = history.champion
    if champion is None or champion.pipeline_version not in policy.versions:
        return None
    basis = max(FEWEST_ROWS, min(history.learnt, policy.train_on_last))
    due = []
    if policy.volume is not None:
        last = max(history.learnt, history.stretch.due)
        due.append((last + max(1, round(basis * policy.volume)), Trigger.VOLUME))
    if policy.update is not None:
        rows = max(FEWEST_NEW_ROWS, round(basis * policy.update))
        due.append((history.updated + rows, Trigger.UPDATE))
    # due at once, the full run comes: it does what the update would
    for rows, trigger in sorted(due, key=lambda each: (each[0], each[1] is Trigger.UPDATE)):
        if why_not(policy, history, Cause(trigger, "", history.clock, "", "")) is None:
            return trigger, rows
    return None


def cause_by_labels(history: History, trigger: Trigger, event_id: str, rows: int) -> Cause:
    """So many rows came together: `event_id` brought the last one."""
    since = history.learnt if trigger is Trigger.VOLUME else history.updated
    because = f"{rows - since:,} labels came since the last {'full run' if trigger is Trigger.VOLUME else 'update'}"
    return Cause(trigger, event_id, history.clock, trigger.value, because)
