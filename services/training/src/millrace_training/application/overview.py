"""What people ask of training, as plain values for HTTP."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class RunView:
    """One run. Times are RFC 3339, UTC, on the pipeline's own clock."""

    run_id: str
    run_number: int
    pipeline_version: int
    trigger: str
    cause_id: str
    as_of: str
    state: str  # requested, started, finished, failed, skipped
    reason: str | None  # why it failed or was skipped, or what should be known of its candidate
    algorithm: str | None
    metrics: dict[str, float]
    artifact_uri: str | None
    artifact_sha256: str | None
    train_rows: int | None
    holdout_rows: int | None
    cpu_seconds: float | None


@dataclass(frozen=True, slots=True)
class DatasetView:
    run_number: int
    uri: str
    sha256: str
    size: int
    rows: int
    vectors_version: int
    labels_version: int
    as_of: str
    first_event_time: str
    last_event_time: str


@dataclass(frozen=True, slots=True)
class DecisionView:
    at: str
    trigger: str
    cause_id: str
    requested: bool
    reason: str | None  # why not
    run_number: int | None
    detail: str  # why or why not, in words, with the numbers


@dataclass(frozen=True, slots=True)
class StatusView:
    """Where a pipeline stands."""

    version: int  # of the file in force
    clock: str  # the newest recorded time of its data
    paused: bool
    labelled_rows: int
    first_model_after: (
        int | None
    )  # rows; None: a first model is there, on its way, or refused for now
    running: int | None  # the number of the run that is going on
    last_requested: str | None
    schedule_due: str | None
    put_off: list[str]  # what will be honoured once the reason to wait has passed
    champion_version: int | None
