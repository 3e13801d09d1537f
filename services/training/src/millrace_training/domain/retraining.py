"""When a pipeline is trained again: the decision and its reason, nothing else.

Time is the pipeline's own clock: the newest recorded time of its data. A replay therefore decides as live did, and no
timer of a machine takes part. What asks and is refused for a while only (see `PASSING`) is remembered and honoured at
the first event after the reason has passed, unless it was answered otherwise meanwhile: by a promotion, by a run for
another cause (which learnt from what came after it), or by the news that the drift is over. A drift during a run is not
remembered: if the run's model does not cure it, monitoring says so again.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace

from millrace_kernel.ids import RunId, derived_id
from millrace_kernel.pipeline import Trigger
from millrace_kernel.time import DAY, EARLIEST, SECOND, Duration, Instant, format_duration, rfc3339
from millrace_training.domain.budgets import (
    NOTHING_SPENT,
    Spending,
    beyond,
    charged,
    charged_card,
    in_words,
)
from millrace_training.domain.changes import Change, with_news
from millrace_training.domain.events import (
    CardFailed,
    CardMade,
    CardOutcome,
    Cause,
    Champion,
    Decision,
    DriftCleared,
    ModelPromoted,
    ModelRejected,
    ModelRolledBack,
    PausePipeline,
    PipelineApplied,
    RetrainRequested,
    RetrainSkipped,
    Run,
    RunFailed,
    RunFinished,
    RunOutcome,
    RunSkipped,
    Skip,
)
from millrace_training.domain.policies import Policy
from millrace_training.domain.prospects import (
    NO_STRETCH,
    Stretch,
    after_a_request,
    after_news,
    hopeless,
    with_left_out,
    with_measured,
    with_refused,
)
from millrace_training.domain.updates import FEWEST_ROWS, is_in_vain, not_updatable, unpromising

SECONDS_A_MINUTE = 60
PASSING = frozenset(
    {Skip.PAUSED, Skip.COOLING_DOWN, Skip.BUDGET_SPENT}
)  # reasons that end by themselves
LASTING = frozenset(
    {Trigger.DRIFT, Trigger.PERFORMANCE}
)  # causes that say how things are, and still are later

NextDue = Callable[
    [str, Instant], Instant
]  # of a cron schedule: the first due time after an instant, in UTC
Heard = (
    DriftCleared | ModelPromoted | ModelRejected | ModelRolledBack | PausePipeline | PipelineApplied
)
Happening = Decision | RunOutcome | CardOutcome | Heard  # all that changes a history


@dataclass(frozen=True, slots=True)
class Going:
    """The run that is going on, and what it answers."""

    number: int
    cause: Cause


@dataclass(frozen=True, slots=True)
class Tried:
    """The newest run that was asked for: a first model that was refused is tried again when there is more to learn."""

    run_id: RunId
    version: int
    labelled: int
    refused: bool = False


@dataclass(frozen=True, slots=True)
class History:
    """What has been decided and heard so far, for one pipeline."""

    clock: Instant = EARLIEST
    paused: bool = False
    runs: int = 0
    going: Going | None = None
    last_requested: Instant | None = None
    day: int = 0  # days since 1970 in UTC: what the next two are of
    runs_today: int = 0
    cpu_seconds_today: float = 0.0
    schedule_due: Instant | None = None
    pending: tuple[
        Cause, ...
    ] = ()  # refused for a while only; at most one for each subject, oldest first
    tried: Tried | None = None
    champion: Champion | None = None
    learnt: int = 0  # labelled rows when the last full run was asked for
    updated: int = 0  # labelled rows when the last update was due, or the last full run
    in_vain: int = 0  # updates in a row that were probably worse than what they would have updated
    left_out: int = 0  # due updates that were skipped since the last one
    change: Change | None = None  # the newest that was heard of
    stretch: Stretch = NO_STRETCH
    spending: Spending = NOTHING_SPENT  # in money, at whatever prices


NO_HISTORY = History()


def decide(policy: Policy, history: History, cause: Cause, labelled: int) -> Decision:
    """Answer a cause with a request, or with the reason for none. `labelled` counts the rows that can be learnt from."""
    refusal = (
        why_not(policy, history, cause)
        or _too_few(policy, cause, labelled)
        or not_updatable(policy, cause, history.champion)
        or unpromising(cause, history.in_vain, history.left_out)
        or hopeless(cause, history.stretch)
    )
    if refusal is not None:
        reason, detail = refusal
        return RetrainSkipped(
            policy.pipeline, cause, reason, f"{cause.because}; {detail}", labelled, policy.version
        )
    run = Run(
        pipeline=policy.pipeline,
        run_id=RunId(derived_id("run", policy.pipeline, str(history.runs + 1))),
        number=history.runs + 1,
        pipeline_version=policy.version,
        trigger=cause.trigger,
        cause_id=cause.id,
        as_of=history.clock,
    )
    runs, cpu_seconds = _spent(history)
    detail = (
        f"{cause.because}; {labelled:,} labelled rows; run {runs + 1} of {policy.runs_per_day} today, "
        f"{cpu_seconds / SECONDS_A_MINUTE:.1f} of {policy.cpu_minutes_per_day:g} CPU minutes spent"
        f"{in_words(policy, history.spending, history.clock // DAY, cause.trigger)}"
    )
    return RetrainRequested(run, cause, labelled, detail)


def why_not(policy: Policy, history: History, cause: Cause) -> tuple[Skip, str] | None:
    """Why a cause is refused now, however many rows there are; None if it is not."""
    if cause.trigger not in policy.triggers:
        return (
            Skip.NOT_A_TRIGGER,
            f"retraining.on does not list {cause.trigger} in version {policy.version} of the file",
        )
    if history.paused:
        return Skip.PAUSED, "the pipeline is paused"
    if history.going is not None:
        return Skip.ALREADY_TRAINING, f"run {history.going.number} is going on"
    if cause.trigger is Trigger.COMMAND:
        return None  # a person who asks has already weighed the cost
    return _cooling_down(policy, history, cause) or _budget_spent(policy, history, cause.trigger)


def _cooling_down(policy: Policy, history: History, cause: Cause) -> tuple[Skip, str] | None:
    """A first model does not wait: until it is there, nothing good answers."""
    if history.last_requested is None or cause.trigger in (Trigger.FIRST, Trigger.UPDATE):
        return None
    ends = history.last_requested + policy.cooldown
    if history.clock >= ends:
        return None
    since = format_duration(Duration((history.clock - history.last_requested) // SECOND * SECOND))
    return Skip.COOLING_DOWN, (
        f"the last run was asked for {since} ago and the cooldown is {format_duration(policy.cooldown)}: "
        f"it ends at {rfc3339(Instant(ends))}"
    )


def _budget_spent(policy: Policy, history: History, trigger: Trigger) -> tuple[Skip, str] | None:
    runs, cpu_seconds = _spent(history)
    if runs >= policy.runs_per_day:
        return Skip.BUDGET_SPENT, f"{runs} of {policy.runs_per_day} runs of today (UTC) are spent"
    if cpu_seconds >= policy.cpu_minutes_per_day * SECONDS_A_MINUTE:
        minutes = cpu_seconds / SECONDS_A_MINUTE
        return (
            Skip.BUDGET_SPENT,
            f"{minutes:.1f} of {policy.cpu_minutes_per_day:g} CPU minutes of today (UTC) are spent",
        )
    money = beyond(policy, history.spending, history.clock // DAY, trigger)
    return None if money is None else (Skip.BUDGET_SPENT, money)


def _too_few(policy: Policy, cause: Cause, labelled: int) -> tuple[Skip, str] | None:
    needed = (
        min(policy.first_after, FEWEST_ROWS)
        if cause.trigger is Trigger.COMMAND
        else policy.first_after
    )
    if labelled >= needed:
        return None
    return Skip.TOO_FEW_LABELS, f"{labelled:,} labelled rows are there and {needed:,} are needed"


def first_model_after(policy: Policy, history: History) -> int | None:
    """How many labelled rows a first model is asked for at; None when one is there, on its way, or refused for now.

    A first model that failed or was rejected is asked for again when the rows have doubled.
    """
    champion, tried = history.champion, history.tried
    if champion is not None and champion.pipeline_version in policy.versions:
        return None
    rows = policy.first_after
    if tried is not None and tried.version in policy.versions:
        if not tried.refused:
            return None
        rows = max(rows, 2 * tried.labelled)
    refused = (
        history.paused
        or history.going is not None
        or _budget_spent(policy, history, Trigger.FIRST) is not None
    )
    return None if refused else rows


def first_cause(history: History, event_id: str, rows: int) -> Cause:
    """Enough rows came together: `event_id` brought the last one, or the first one after a reason to wait."""
    because = f"{rows:,} labelled rows are enough for a first model"
    return Cause(Trigger.FIRST, event_id, history.clock, "first", because)


def pass_time(
    policy: Policy, history: History, at: Instant, next_due: NextDue
) -> tuple[History, Cause | None]:
    """Move the clock to `at`, if that is later; a due time that it reaches is a cause, however many it passes at once."""
    if at > history.clock:
        history = replace(history, clock=at)
    if policy.schedule is None:
        return history, None
    if history.schedule_due is None:
        return replace(history, schedule_due=next_due(policy.schedule, history.clock)), None
    if history.clock < history.schedule_due:
        return history, None
    due = history.schedule_due
    history = replace(history, schedule_due=next_due(policy.schedule, history.clock))
    identity = derived_id("schedule", policy.pipeline, rfc3339(due))
    because = f"{policy.schedule} was due at {rfc3339(due)}"
    return history, Cause(Trigger.SCHEDULE, identity, history.clock, "schedule", because)


def honoured(policy: Policy, history: History) -> Cause | None:
    """A cause that was refused for a while, when nothing but too few labels can speak against it any more."""
    for cause in history.pending:
        if why_not(policy, history, cause) is None:
            said = f"{cause.because} (put off since {rfc3339(cause.at)})"
            return replace(cause, at=history.clock, because=said)
    return None


def evolve(history: History, event: Happening) -> History:  # noqa: C901  one case for each event
    """The history after an event. Pure, so that a replay of the same events ends in the same history."""
    if isinstance(event, RetrainRequested | RetrainSkipped):
        history = _asked(history, event)
    match event:
        case RetrainRequested():
            return _requested(history, event)
        case RetrainSkipped(cause=Cause(trigger=Trigger.UPDATE), reason=reason):
            left_out = history.left_out + (reason is Skip.UNPROMISING)
            return replace(history, left_out=left_out, updated=max(history.updated, event.labelled))
        case RetrainSkipped(cause=cause, reason=reason):
            others = _without(history, cause.subject)
            remembered = reason in PASSING and cause.trigger in LASTING
            return replace(history, pending=(*others, cause) if remembered else others)
        case RunFinished() | RunFailed() | RunSkipped():
            return _ended(history, event)
        case CardMade(cost=cost) | CardFailed(cost=cost):
            runs, cpu_seconds = _spent(history)
            cpu_seconds += cost.cpu_seconds
            return replace(
                history,
                day=history.clock // DAY,
                runs_today=runs,
                cpu_seconds_today=cpu_seconds,
                spending=charged_card(history.spending, history.clock // DAY, cost),
            )
        case ModelPromoted(champion=champion) | ModelRolledBack(champion=champion):
            if history.champion is not None and champion.epoch <= history.champion.epoch:
                return history
            return replace(history, champion=champion, pending=())
        case ModelRejected(run_id=run_id):
            return _refused(replace(history, stretch=with_refused(history.stretch)), run_id)
        case DriftCleared(subject=subject):
            return replace(history, pending=_without(history, subject))
        case PausePipeline(paused=paused):
            return replace(history, paused=paused)
        case PipelineApplied():
            return replace(history, schedule_due=None)


def _asked(history: History, event: Decision) -> History:
    """What a cause says of the world, and of what is worth trying, whether there is a run or not."""
    cause, stretch = event.cause, history.stretch
    if cause.trigger in LASTING:
        stretch = after_news(stretch)
    elif isinstance(event, RetrainSkipped):
        stretch = with_left_out(stretch, event)
    change = with_news(history.change, cause, history.last_requested)
    return replace(history, change=change, stretch=stretch)


def _requested(history: History, event: RetrainRequested) -> History:
    run = event.run
    is_update = run.trigger is Trigger.UPDATE
    runs, cpu_seconds = _spent(history)
    return replace(
        history,
        runs=run.number,
        going=Going(run.number, event.cause),
        last_requested=history.last_requested if is_update else history.clock,
        day=history.clock // DAY,
        runs_today=runs + 1,
        cpu_seconds_today=cpu_seconds,
        pending=history.pending if is_update else (),
        tried=history.tried
        if is_update
        else Tried(run.run_id, run.pipeline_version, event.labelled),
        learnt=history.learnt if is_update else event.labelled,
        updated=event.labelled,
        in_vain=history.in_vain if is_update else 0,
        left_out=0,
        stretch=history.stretch if is_update else after_a_request(history.stretch, run.trigger),
    )


def _ended(history: History, outcome: RunOutcome) -> History:
    """The run is over and its cost is counted. A lasting cause whose run failed is as open as before."""
    going = history.going
    if going is None or going.number != outcome.run.number:
        return history
    runs, cpu_seconds = _spent(history)
    match outcome:
        case RunFinished(candidate=candidate):
            cpu_seconds += candidate.cpu_seconds
        case RunFailed(cpu_seconds=seconds):
            cpu_seconds += seconds
        case RunSkipped():
            pass
    history = replace(
        history,
        going=None,
        day=history.clock // DAY,
        runs_today=runs,
        cpu_seconds_today=cpu_seconds,
        stretch=with_measured(history.stretch, outcome),
        spending=charged(history.spending, history.clock // DAY, outcome),
    )
    if outcome.run.trigger is Trigger.UPDATE:
        in_vain = not isinstance(outcome, RunFinished) or is_in_vain(outcome)
        return replace(history, in_vain=history.in_vain + 1 if in_vain else 0)
    if isinstance(outcome, RunFinished):
        return history
    if isinstance(outcome, RunFailed) and going.cause.trigger in LASTING:
        history = replace(history, pending=(*_without(history, going.cause.subject), going.cause))
    return _refused(history, outcome.run.run_id)


def _refused(history: History, run_id: RunId) -> History:
    if history.tried is None or history.tried.run_id != run_id:
        return history
    return replace(history, tried=replace(history.tried, refused=True))


def _spent(history: History) -> tuple[int, float]:
    """Runs and CPU seconds of the clock's day."""
    if history.clock // DAY != history.day:
        return 0, 0.0
    return history.runs_today, history.cpu_seconds_today


def _without(history: History, subject: str) -> tuple[Cause, ...]:
    return tuple(cause for cause in history.pending if cause.subject != subject)
