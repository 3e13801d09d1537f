"""From a run to the job that a fit is given, and what is kept of it: enough to make the same artifact again, and its card."""

import hashlib
from dataclasses import dataclass, replace
from pathlib import Path

import msgspec

from millrace_artifacts.artifact import Speed
from millrace_contracts.pipeline_file import pipeline_to_json
from millrace_kernel.ids import ModelVersionNumber
from millrace_kernel.pipeline import Pipeline, Trigger
from millrace_kernel.time import SECOND
from millrace_training.adapters.fitting.cluster_plan import ClusterUse
from millrace_training.adapters.fitting.environment import Environment
from millrace_training.adapters.fitting.job import FitJob, FitResult, TrialResult, Winner
from millrace_training.adapters.fitting.options import options_of
from millrace_training.domain.events import Champion, Run, Trial
from millrace_training.domain.updates import rows_for

_trial = msgspec.json.Decoder(TrialResult).decode


@dataclass(frozen=True, slots=True)
class Due:
    """What a card is to be made from. `result` without its artifact, which is stored. `trace`: the run's, which the card goes
    on with."""

    result: FitResult
    trace: str | None


read_due = msgspec.msgpack.Decoder(Due).decode


@dataclass(frozen=True, slots=True)
class Compared:
    """The champion of then: an update adds trees to it, and any run is compared with it."""

    version: int
    pipeline_version: int
    run_id: str
    artifact_uri: str
    artifact_sha256: str
    artifact_signature: bytes
    signing_key_id: str


@dataclass(frozen=True, slots=True)
class Record:
    """What made an artifact, beside its dataset. `spec_sha256` is of the pipeline file as canonical JSON; `winner` what a
    search and clocks settled, None for an update; `speed` what was measured when it was; `cluster` who learnt, None: this
    machine."""

    spec_sha256: str
    seed: int
    threads: int
    winner: Winner | None
    champion: Compared | None
    environment: Environment | None
    speed: Speed | None
    cluster: ClusterUse | None = None


def fit_job(
    trigger: Trigger, pipeline: Pipeline, dataset: Path, threads: int, champion: bytes | None = None
) -> FitJob:
    """What this version of the pipeline file asks of a fit that this trigger leads to."""
    model = pipeline.model
    return FitJob(
        pipeline=pipeline.name,
        pipeline_version=pipeline.version,
        label_kind=pipeline.label.kind,
        numbers=tuple(feature.name for feature in pipeline.numbers),
        categories=tuple(feature.name for feature in pipeline.categories),
        candidates=model.candidates,
        dataset=dataset,
        train_on_last=rows_for(trigger, model.train_on_last),
        update=trigger is Trigger.UPDATE,
        holdout_last=model.holdout_last,
        trials=model.trials,
        timeout_seconds=model.timeout / SECOND,
        seed=model.seed,
        threads=threads,
        champion=champion,
        primary_metric=pipeline.primary_metric,
        label_delay_us=pipeline.label.delay,
        gates=pipeline.gates,
        unlearnt=pipeline.unlearnt,
        options=options_of(pipeline),
    )


def with_trials(job: FitJob, finished: tuple[str, ...], earlier: tuple[str, ...]) -> FitJob:
    """The job with the trials that were kept: its own, and the best of the pipeline's last searches."""
    return replace(job, finished=tuple(map(_trial, finished)), earlier=tuple(map(_trial, earlier)))


def trial_of(result: TrialResult) -> Trial:
    return Trial(
        number=result.number,
        algorithm=result.algorithm,
        parameters_json=result.parameters_json,
        metrics=result.metrics,
        cpu_seconds=result.cpu_seconds,
        loss=result.loss,
        state=result.state,
        kept=msgspec.json.encode(result).decode(),
    )


def record_of(job: FitJob, result: FitResult, pipeline: Pipeline, champion: Champion | None) -> str:
    """As JSON."""
    record = Record(
        spec_sha256=spec_digest(pipeline),
        seed=job.seed,
        threads=job.threads,
        winner=result.winner,
        champion=None if champion is None else _compared(champion),
        environment=result.environment,
        speed=result.speed,
        cluster=result.cluster,
    )
    return msgspec.json.encode(record, order="sorted").decode()


def read_record(text: str) -> Record:
    return msgspec.json.decode(text, type=Record)


def spec_digest(pipeline: Pipeline) -> str:
    return hashlib.sha256(pipeline_to_json(pipeline).encode()).hexdigest()


def card_due(run: Run, result: FitResult, trace: str | None) -> bytes:
    """A `Due`, for `read_due`; empty for a run that gets no card.

    An update gets none: it would cost several times what the update does, and be the champion's but for some trees.
    """
    if run.trigger is Trigger.UPDATE:
        return b""
    kept = replace(result, artifact=b"", reference_profile=b"")
    return msgspec.msgpack.encode(Due(kept, trace))


def champion_of(compared: Compared) -> Champion:
    return Champion(
        version=ModelVersionNumber(compared.version),
        epoch=0,
        pipeline_version=compared.pipeline_version,
        artifact_uri=compared.artifact_uri,
        artifact_sha256=compared.artifact_sha256,
        run_id=compared.run_id,
        artifact_signature=compared.artifact_signature,
        signing_key_id=compared.signing_key_id,
    )


def _compared(champion: Champion) -> Compared:
    return Compared(
        version=champion.version,
        pipeline_version=champion.pipeline_version,
        run_id=champion.run_id,
        artifact_uri=champion.artifact_uri,
        artifact_sha256=champion.artifact_sha256,
        artifact_signature=champion.artifact_signature,
        signing_key_id=champion.signing_key_id,
    )
