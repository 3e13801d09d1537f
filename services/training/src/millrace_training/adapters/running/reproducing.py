"""Makes a run's artifact again, from what was recorded of it, and says whether it is the same to the bit.

It fits in its own process, which is therefore to be a fresh one: what another fit left in memory must not help.
"""

import hashlib
import io
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from tempfile import NamedTemporaryFile
from typing import Any
from zipfile import ZipFile

import msgspec

from millrace_artifacts.artifact import read_artifact
from millrace_artifacts.seal import Seal, Statement, Vault
from millrace_kernel.errors import PermanentError, TransientError
from millrace_kernel.ids import PipelineName, RunId
from millrace_training.adapters.fitting.cluster_plan import ClusterUse
from millrace_training.adapters.fitting.environment import Environment
from millrace_training.adapters.fitting.fit import fit_candidates
from millrace_training.adapters.fitting.job import FitJob
from millrace_training.adapters.fitting.options import Commands
from millrace_training.adapters.lake.datasets import DatasetTaker
from millrace_training.adapters.running.clustering import ClusterSettings, plan_of
from millrace_training.adapters.running.records import (
    Record,
    champion_of,
    fit_job,
    read_record,
    spec_digest,
)
from millrace_training.adapters.sql.runs import Recorded, SqlRuns
from millrace_training.domain.events import Champion

_MANIFEST = "manifest.json"
_LONGEST_SECONDS = 86_400.0  # of a fit on a cluster that nobody waits for any more
_LAST = "files"  # in the manifest: whatever differs, their digests do, too


class NotRecordedError(PermanentError):
    """The run is not known here, has no artifact, or nothing was recorded that would make it again."""


@dataclass(frozen=True, slots=True)
class Difference:
    """Of one part: what was recorded, and what is now."""

    part: str
    then: Any
    now: Any


@dataclass(frozen=True, slots=True)
class Reproduction:
    """`first_difference` is the first part of the manifests that is not the same; None when the artifacts are equal.

    `environment` is what is not as it was when the run was made. `dataset` says where the rows came from.
    """

    pipeline: str
    run_id: str
    run_number: int
    algorithm: str
    equal: bool
    recorded_sha256: str
    found_sha256: str
    dataset: str
    rows: int
    first_difference: Difference | None
    environment: tuple[Difference, ...]


class Reproducer:
    """`modules` may be imported from and `commands` run, for models of one's own: this machine's word counts, not the record's."""

    def __init__(
        self,
        runs: SqlRuns,
        taker: DatasetTaker,
        vault: Vault,
        modules: tuple[str, ...],
        commands: Commands,
        clusters: ClusterSettings,
    ) -> None:
        self._runs = runs
        self._taker = taker
        self._vault = vault
        self._modules = modules
        self._commands = commands
        self._clusters = clusters

    def reproduce(self, pipeline: PipelineName, run_id: RunId) -> Reproduction:
        """Raises NotRecordedError, what the lake and the store raise, and FitError."""
        recorded = self._runs.recorded(pipeline, run_id)
        if recorded is None:
            raise NotRecordedError(
                f"{pipeline}: no run {run_id} that ended with an artifact is known here; ask where it was trained"
            )
        if not recorded.record_json:
            raise NotRecordedError(
                f"{pipeline}: run {recorded.run.number} was made before what makes it again was recorded; train again"
            )
        record = read_record(recorded.record_json)
        content, source = self._content(recorded, record)
        with NamedTemporaryFile(prefix="millrace-dataset-", suffix=".parquet") as file:
            Path(file.name).write_bytes(content)
            result = fit_candidates(self._job(recorded, record, Path(file.name)))
        found = hashlib.sha256(result.artifact).hexdigest()
        equal = found == recorded.artifact_sha256
        return Reproduction(
            pipeline=pipeline,
            run_id=run_id,
            run_number=recorded.run.number,
            algorithm=result.algorithm,
            equal=equal,
            recorded_sha256=recorded.artifact_sha256,
            found_sha256=found,
            dataset=source,
            rows=recorded.dataset.rows,
            first_difference=None if equal else self._first_difference(recorded, result.artifact),
            environment=(
                *_file_change(record, spec_digest(recorded.needs.pipeline)),
                *_changes(record.environment, result.environment),
            ),
        )

    def _content(self, recorded: Recorded, record: Record) -> tuple[bytes, str]:
        """The rows, from the lake's tables as they stood; from the file that was kept where the lake gives others, or none.

        What a cluster learnt is learnt again from the parts that were kept, of which this machine sees some rows.
        """
        run, needs, dataset = recorded.run, recorded.needs, recorded.dataset
        if record.cluster is not None:
            return self._taker.content(dataset), _in_words(record.cluster)
        tables = (
            f"versions {dataset.vectors_version} and {dataset.labels_version} of the lake's tables"
        )
        try:
            content = self._taker.again(run, needs.pipeline, needs.versions, dataset)
        except (PermanentError, TransientError) as error:
            why = f"{tables} can't be read ({error})"
        else:
            if hashlib.sha256(content).hexdigest() == dataset.sha256:
                return content, f"taken again from {tables}"
            why = f"{tables} give other bytes than were learnt from"
        return self._taker.content(dataset), f"the file that was kept, since {why}"

    def _job(self, recorded: Recorded, record: Record, dataset: Path) -> FitJob:
        champion = None if record.champion is None else champion_of(record.champion)
        base = fit_job(recorded.run.trigger, recorded.needs.pipeline, dataset, record.threads)
        if base.update and champion is not None:
            base = replace(base, champion=self._opened(recorded, champion))
        options = replace(base.options, modules=self._modules, commands=self._commands)
        if options.encoded_by:
            kept = self._vault.store.get(recorded.artifact_uri, recorded.artifact_sha256)
            options = replace(options, encoder=read_artifact(kept).model.encoder or b"")
        plan = None
        if record.cluster is not None:
            plan = plan_of(
                self._clusters,
                self._vault.store,
                recorded.needs.pipeline,
                recorded.dataset,
                seconds=_LONGEST_SECONDS,
                workers=len(record.cluster.workers),
            )
        return replace(base, seed=record.seed, winner=record.winner, options=options, cluster=plan)

    def _opened(self, recorded: Recorded, champion: Champion) -> bytes:
        statement = Statement(
            recorded.run.pipeline,
            champion.pipeline_version,
            champion.run_id,
            champion.artifact_sha256,
        )
        seal = Seal(champion.signing_key_id, champion.artifact_signature)
        return self._vault.open(champion.artifact_uri, statement, seal)

    def _first_difference(self, recorded: Recorded, found: bytes) -> Difference:
        kept = self._vault.store.get(recorded.artifact_uri, recorded.artifact_sha256)
        difference = next(differences(_manifest(kept), _manifest(found)), None)
        return difference or Difference("the zip itself", len(kept), len(found))


def differences(then: Any, now: Any, part: str = "") -> Iterator[Difference]:  # noqa: ANN401  any JSON
    """Of two JSON documents, part by part in their order."""
    if isinstance(then, dict) and isinstance(now, dict):
        names = dict.fromkeys((*then, *now))
        for name in sorted(names, key=lambda each: (not part and each == _LAST, each)):
            yield from differences(then.get(name), now.get(name), f"{part}.{name}".lstrip("."))
    elif isinstance(then, list) and isinstance(now, list) and len(then) == len(now):
        for place, (one, other) in enumerate(zip(then, now, strict=True)):
            yield from differences(one, other, f"{part}[{place}]")
    elif then != now:
        yield Difference(part, then, now)


def _manifest(content: bytes) -> Any:  # noqa: ANN401  any JSON
    with ZipFile(io.BytesIO(content)) as archive:
        return msgspec.json.decode(archive.read(_MANIFEST))


def _in_words(use: ClusterUse) -> str:
    """What the equality of a cluster's run can show."""
    return (
        f"the {use.parts} parts that were kept, learnt again on the cluster {use.scheduler} by {len(use.workers)} workers as "
        f"then; the bytes are equal only where these have as many threads as then ({', '.join(map(str, use.threads))}) and the "
        "same kind of processors"
    )


def _file_change(record: Record, now: str) -> tuple[Difference, ...]:
    """A version of a file stays what it is, but what a newer Millrace reads out of it, with every default, may have more keys."""
    if record.spec_sha256 == now:
        return ()
    return (Difference("pipeline file", record.spec_sha256, now),)


def _changes(then: Environment | None, now: Environment | None) -> tuple[Difference, ...]:
    if then is None or now is None:
        return ()
    return tuple(differences(asdict(then), asdict(now)))
