"""What the topics say about a run of the loop: counts, errors, times. Pure: happenings in, numbers out."""

import math
from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean, median

from millrace.feed import Happening
from millrace_kernel.time import SECOND

CHAMPION, FALLBACK = "PREDICTION_ROLE_CHAMPION", "PREDICTION_ROLE_FALLBACK"
DRIFT = "drift"


@dataclass(frozen=True, slots=True)
class Counts:
    """`lost`: sent and never scored. `doubled`: accepted or answered more often than once."""

    accepted: int
    scored: int
    lost: int
    doubled: int
    labelled: int
    drift_events: int
    runs: int
    promotions: int
    promotions_by_drift: int

    @property
    def exactly_once(self) -> bool:
        return self.lost == 0 and self.doubled == 0 and self.accepted == self.scored


@dataclass(frozen=True, slots=True)
class Serving:
    """From the proof of a drift on the bus to the new version's first possible answer, in seconds; and less its fit."""

    seconds: float
    less_fit_seconds: float
    drift_id: str
    deployed: Happening


@dataclass(frozen=True, slots=True)
class Scored:
    """One labelled event of the champions' time: what answered, what was true."""

    event_id: str
    answer: float
    label: float


def fenced(happenings: Iterable[Happening]) -> list[Happening]:
    """What a reader of the bus handles: of each source and partition only what is newer than all before it."""
    newest: dict[tuple[str, int, str], bytes] = {}
    kept = []
    for each in happenings:
        if each.sequence is not None:
            place = (each.topic, each.partition, each.source)
            if each.sequence <= newest.get(place, b""):
                continue
            newest[place] = each.sequence
        kept.append(each)
    return kept


def of_pipeline(happenings: Iterable[Happening], pipeline: str) -> dict[str, list[Happening]]:
    """One pipeline's happenings by type."""
    found: dict[str, list[Happening]] = {}
    for each in happenings:
        if each.pipeline == pipeline:
            found.setdefault(each.type, []).append(each)
    return found


def counts_of(heard: Mapping[str, Sequence[Happening]], sent: Collection[str]) -> Counts:
    """Over what was sent, by event id."""
    accepted = Counter(each.fields["event_id"] for each in heard.get("EventAccepted", ()))
    scored = Counter(each.fields["event_id"] for each in answers(heard))
    labelled = {each.fields["event_id"] for each in heard.get("LabelObserved", ())}
    promoted = heard.get("ModelPromoted", ())
    return Counts(
        accepted=len(accepted),
        scored=len(scored),
        lost=len(set(sent) - scored.keys()),
        doubled=_surplus(accepted) + _surplus(scored),
        labelled=len(labelled),
        drift_events=len(heard.get("DriftDetected", ())),
        runs=len({each.fields["run_id"] for each in heard.get("RetrainRequested", ())}),
        promotions=len(promoted),
        promotions_by_drift=sum(each.fields["trigger"] == DRIFT for each in promoted),
    )


def answers(heard: Mapping[str, Sequence[Happening]]) -> list[Happening]:
    """The stream's answers: not those of challengers, nor to requests."""
    predictions = heard.get("PredictionMade", ())
    return [each for each in predictions if each.fields["role"] in (CHAMPION, FALLBACK)]


def under_champions(heard: Mapping[str, Sequence[Happening]]) -> list[Scored]:
    """The labelled events since the first promotion took effect, with the answer that users got."""
    labels = {e.fields["event_id"]: e.fields["number"] for e in heard.get("LabelObserved", ())}
    return [
        Scored(each.fields["event_id"], each.fields["value"], labels[each.fields["event_id"]])
        for each in answers(heard)
        if each.fields["role"] == CHAMPION
        and each.fields["value"] is not None
        and labels.get(each.fields["event_id"]) is not None
    ]


def mean_error(pairs: Iterable[tuple[float, float]]) -> float:
    """The mean absolute error; NaN over nothing."""
    errors = [abs(answer - label) for answer, label in pairs]
    return fmean(errors) if errors else math.nan


def servings_of(heard: Mapping[str, Sequence[Happening]]) -> list[Serving]:
    """Each promotion that a drift caused and that was deployed, in order. Times are the broker's, of the records."""
    drifts = {each.id: each for each in heard.get("DriftDetected", ())}
    fits = {e.fields["run_id"]: e.fields["fit_seconds"] for e in heard.get("TrainingCompleted", ())}
    deployed: dict[int, Happening] = {}
    for each in heard.get("ModelDeployed", ()):
        deployed.setdefault(each.fields["epoch"], each)  # the first instance that answers counts
    found = []
    for promoted in heard.get("ModelPromoted", ()):
        drift = drifts.get(promoted.fields["cause_id"])
        answer = deployed.get(promoted.fields["epoch"])
        if drift is None or answer is None or promoted.fields["trigger"] != DRIFT:
            continue
        seconds = (answer.appended_at - drift.appended_at) / SECOND
        fit = fits.get(promoted.fields["run_id"], 0.0)
        found.append(Serving(seconds, seconds - fit, drift.id, answer))
    return found


def median_and_worst(seconds: Sequence[float]) -> tuple[float, float]:
    """NaN of nothing."""
    return (median(seconds), max(seconds)) if seconds else (math.nan, math.nan)


def trace_of(happening: Happening) -> str | None:
    """The id of the distributed trace that an event belongs to."""
    parts = (happening.traceparent or "").split("-")
    return parts[1] if len(parts) >= 3 else None


def whole_loop_trace(heard: Mapping[str, Sequence[Happening]]) -> str | None:
    """The trace of the newest deployment whose drift began the same trace."""
    drifts = {each.id: trace_of(each) for each in heard.get("DriftDetected", ())}
    for serving in reversed(servings_of(heard)):
        trace = trace_of(serving.deployed)
        if trace is not None and trace == drifts[serving.drift_id]:
            return trace
    return None


def _surplus(counter: Counter[str]) -> int:
    return sum(times - 1 for times in counter.values())
