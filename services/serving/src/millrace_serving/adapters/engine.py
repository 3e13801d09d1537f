"""Artifacts into memory: signature and digest, the artifact's own checks, and a first answer before anybody waits for one."""

import numpy as np
from typing_extensions import override

from millrace_artifacts.artifact import Artifact, Runtime, read_artifact
from millrace_artifacts.errors import ObjectMissingError
from millrace_artifacts.scorer import Scorer, load_scorer
from millrace_artifacts.seal import Seal, Statement, Vault
from millrace_artifacts.single_row import RowScorer
from millrace_artifacts.trial import try_artifact
from millrace_kernel.errors import MillraceError, PermanentError
from millrace_serving.adapters.tried import Tried
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

# What a loaded model takes, in bytes: so much, and so much for each byte of its file; measured for 20 to 200 trees of XGBoost
# (ONNX) and 1 to 400 (native). ONNX Runtime keeps the file's lists beside the trees that it makes of them (see docs/decisions/0013).
_MEMORY = {Runtime.ONNX: (160_000, 6.5), Runtime.NATIVE: (10_000, 1.5)}

_PLATFORMS = {Runtime.ONNX: "onnxruntime_onnx", Runtime.NATIVE: "xgboost_ubj"}


class ArtifactModel(LoadedModel):
    """A scorer under serving's own words."""

    def __init__(self, scorer: Scorer, platform: str, memory: int) -> None:
        self._scorer = scorer
        self._platform = platform
        self._memory = memory
        given = scorer.signature
        # a binary model's classes are 0 and 1, which no answer names
        classes = given.classes if given.label_kind.is_text else ()
        self._signature = Signature(
            Columns(given.numbers, given.categories, frozenset(text.name for text in given.texts)),
            given.label_kind,
            classes,
            given.quantiles,
            given.interval,
        )

    @property
    @override
    def signature(self) -> Signature:
        return self._signature

    @property
    @override
    def platform(self) -> str:
        return self._platform

    @property
    @override
    def memory(self) -> int:
        return self._memory

    @override
    def score(self, rows: Rows) -> Scores:
        scores = self._scorer.score(rows.numbers, rows.categories)
        return Scores(scores.values, scores.probabilities, scores.quantiles, scores.interval)

    def for_rows(self) -> RowScorer | None:
        """What the hot path answers single rows with; None: it has nothing faster than `score`."""
        return self._scorer.for_rows()


class ArtifactEngine(Engine):
    """Loads artifacts that a trusted key has signed for the champion's pipeline; nothing else is even fetched."""

    def __init__(self, vault: Vault, tried: Tried) -> None:
        """`tried`: what need not be tried in a process of its own again."""
        self._vault = vault
        self._tried = tried

    @override
    def load(self, champion: Champion) -> LoadedModel:
        try:
            content = self._vault.open(champion.artifact_uri, *_promised(champion))
        except ObjectMissingError as error:
            # it was written before the promotion was announced: waiting would only hold up the other pipelines
            raise PermanentError(f"{error}; is OBJECT_STORE_URL the registry's?") from error
        try:
            return self._loaded(content, champion)
        except MillraceError:
            raise
        except Exception as error:  # whatever a model library raises
            raise PermanentError(
                f"{champion.artifact_uri} doesn't load: {error!r}; train again"
            ) from error

    def _loaded(self, content: bytes, champion: Champion) -> ArtifactModel:
        artifact = read_artifact(content)
        if artifact.signature.pipeline != champion.pipeline:
            raise PermanentError(
                f"{champion.artifact_uri} is a model of pipeline {artifact.signature.pipeline}, not of {champion.pipeline}"
            )
        runtime = artifact.model.runtime
        if runtime is Runtime.NATIVE and champion.artifact_sha256 not in self._tried:
            try_artifact(content)  # what could end a process ends that one
            self._tried.add(champion.artifact_sha256)
        model = ArtifactModel(load_scorer(artifact), _PLATFORMS[runtime], _memory_of(artifact))
        _warm_up(model)
        return model


def _promised(champion: Champion) -> tuple[Statement, Seal]:
    """What must have been signed, and the signature that was announced with it."""
    statement = Statement(
        champion.pipeline, champion.pipeline_version, champion.run_id, champion.artifact_sha256
    )
    return statement, Seal(champion.signing_key_id, champion.artifact_signature)


def _memory_of(artifact: Artifact) -> int:
    model = artifact.model
    native = model.native.content if model.native else b""
    content = (model.onnx or b"") if model.runtime is Runtime.ONNX else native
    fixed, each = _MEMORY[model.runtime]
    # a sentence encoder is kept open as another ONNX model; versions that share one count it each
    beside, each_beside = _MEMORY[Runtime.ONNX]
    encoder = 0.0 if model.encoder is None else beside + each_beside * len(model.encoder)
    return round(fixed + each * len(content) + encoder)


def _warm_up(model: ArtifactModel) -> None:
    """Answer a vector in which everything is missing: what a library prepares at its first call is ready then.

    Raises PermanentError for a model that answers it more or less than once.
    """
    columns = model.signature.columns
    numbers = np.full((1, len(columns.numbers)), MISSING_NUMBER)
    categories = [tuple(MISSING_CATEGORY for _ in columns.categories)]
    found = answers(
        model.signature.kind,
        model.signature.classes,
        model.score(Rows(columns, numbers, categories)),
    )
    if len(found) != 1:
        raise PermanentError(f"the model gives {len(found)} answers to one row; train again")
