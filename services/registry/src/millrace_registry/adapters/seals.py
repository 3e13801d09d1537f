"""`Seals` by the trainers' public keys."""

from typing_extensions import override

from millrace_artifacts.errors import UntrustedArtifactError
from millrace_artifacts.keys import TrustedKeys
from millrace_artifacts.seal import Seal, Statement, check_seal
from millrace_registry.application.ports import Seals
from millrace_registry.domain.events import TrainingCompleted


class SignedSeals(Seals):
    """Looks at the signature only: the artifact itself is never fetched here, let alone opened."""

    def __init__(self, keys: TrustedKeys) -> None:
        self._keys = keys

    @override
    def problem(self, training: TrainingCompleted) -> str:
        statement = Statement(
            training.pipeline, training.pipeline_version, training.run_id, training.artifact_sha256
        )
        seal = Seal(training.signing_key_id, training.artifact_signature)
        try:
            check_seal(statement, seal, self._keys)
        except UntrustedArtifactError as error:
            return str(error)
        return ""
