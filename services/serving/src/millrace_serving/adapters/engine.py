"""Artifacts into memory: signature and digest, the artifact's own checks, and a first answer before anybody waits for one."""

import numpy as np
from typing_extensions import override

from millrace_artifacts.artifact import Runtime, read_artifact
from millrace_artifacts.errors import ObjectMissingError
from millrace_artifacts.scorer import Scorer, load_scorer
from millrace_artifacts.seal import Seal, Statement, Vault
from millrace_artifacts.trial import try_artifact
from millrace_kernel.errors import MillraceError, PermanentError
from millrace_kernel.pipeline import LabelKind
from millrace_serving.application.ports import Engine, LoadedModel
from millrace_serving.domain.answers import Scores, answers
from millrace_serving.domain.champions import Champion
from millrace_serving.domain.columns import (
    MISSING_CATEGORY,
    MISSING_NUMBER,
    Columns,
    Rows,
    Signature,
)

_PLATFORMS = {Runtime.ONNX: "onnxruntime_onnx", Runtime.NATIVE: "xgboost_ubj"}


class ArtifactModel(LoadedModel):
    """A scorer under serving's own words."""

    def __init__(self, scorer: Scorer, platform: str) -> None:
        self._scorer = scorer
        self._platform = platform
        given = scorer.signature
        # a binary model's classes are 0 and 1, which no answer names
        classes = given.classes if given.label_kind is LabelKind.MULTICLASS else ()
        self._signature = Signature(
            Columns(given.numbers, given.categories), given.label_kind, classes
        )

    @property
    @override
    def signature(self) -> Signature:
        return self._signature

    @property
    @override
    def platform(self) -> str:
        return self._platform

    @override
    def score(self, rows: Rows) -> Scores:
        scores = self._scorer.score(rows.numbers, rows.categories)
        return Scores(scores.values, scores.probabilities)


class ArtifactEngine(Engine):
    """Loads artifacts that a trusted key has signed for the champion's pipeline; nothing else is even fetched."""

    def __init__(self, vault: Vault) -> None:
        self._vault = vault

    @override
    def load(self, champion: Champion) -> LoadedModel:
        try:
            content = self._vault.open(champion.artifact_uri, *_promised(champion))
        except ObjectMissingError as error:
            # it was written before the promotion was announced: waiting would only hold up the other pipelines
            raise PermanentError(f"{error}; is OBJECT_STORE_URL the registry's?") from error
        try:
            return _loaded(content, champion)
        except MillraceError:
            raise
        except Exception as error:  # whatever a model library raises
            raise PermanentError(
                f"{champion.artifact_uri} doesn't load: {error!r}; train again"
            ) from error


def _promised(champion: Champion) -> tuple[Statement, Seal]:
    """What must have been signed, and the signature that was announced with it."""
    statement = Statement(
        champion.pipeline, champion.pipeline_version, champion.run_id, champion.artifact_sha256
    )
    return statement, Seal(champion.signing_key_id, champion.artifact_signature)


def _loaded(content: bytes, champion: Champion) -> ArtifactModel:
    artifact = read_artifact(content)
    if artifact.signature.pipeline != champion.pipeline:
        raise PermanentError(
            f"{champion.artifact_uri} is a model of pipeline {artifact.signature.pipeline}, not of {champion.pipeline}"
        )
    if artifact.model.runtime is Runtime.NATIVE:
        try_artifact(content)  # what could end a process ends that one
    model = ArtifactModel(load_scorer(artifact), _PLATFORMS[artifact.model.runtime])
    _warm_up(model)
    return model


def _warm_up(model: ArtifactModel) -> None:
    """Answer a vector in which everything is missing: what a library prepares at its first call is ready then."""
    columns = model.signature.columns
    numbers = np.full((1, len(columns.numbers)), MISSING_NUMBER)
    categories = [tuple(MISSING_CATEGORY for _ in columns.categories)]
    answers(
        model.signature.kind,
        model.signature.classes,
        model.score(Rows(columns, numbers, categories)),
    )
