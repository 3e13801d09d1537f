"""Who made an artifact: the trainer's Ed25519 signature, checked before anything in the artifact is looked at.

A digest says that the bytes are the announced ones; a seal says that a trainer whom we trust announced them. What is
signed names the pipeline and the run as well, so that a sealed model of one pipeline can't be passed off as another's.
"""

from dataclasses import dataclass

import msgspec
from cryptography.exceptions import InvalidSignature

from millrace_artifacts.errors import UntrustedArtifactError
from millrace_artifacts.keys import SigningKey, TrustedKeys
from millrace_artifacts.store import ObjectStore

_PURPOSE = b"millrace artifact seal 1\n"  # a signature made for anything else is worth nothing here


@dataclass(frozen=True, slots=True)
class Statement:
    """What a trainer vouches for: that this run, following this version of the pipeline's file, made this artifact.

    `artifact_sha256` is hexadecimal.
    """

    pipeline: str
    pipeline_version: int
    run_id: str
    artifact_sha256: str

    def encoded(self) -> bytes:
        """The bytes that are signed: no two statements have the same."""
        return _PURPOSE + msgspec.json.encode(
            (self.pipeline, self.pipeline_version, self.run_id, self.artifact_sha256)
        )


@dataclass(frozen=True, slots=True)
class Seal:
    """A statement's signature, and which key made it (`keys.key_id_of`). Both are empty where nobody has signed."""

    key_id: str
    signature: bytes


def sealed(statement: Statement, key: SigningKey) -> Seal:
    """The trainer's seal. Ed25519 is deterministic: the same statement and key give the same seal."""
    return Seal(key.key_id, key.sign(statement.encoded()))


def check_seal(statement: Statement, seal: Seal, keys: TrustedKeys) -> None:
    """Return when a trusted key has signed exactly this statement. Raises UntrustedArtifactError."""
    what = f"the model that run {statement.run_id} made for {statement.pipeline}"
    if not seal.signature or not seal.key_id:
        raise UntrustedArtifactError(
            f"{what} is not signed; it was made before models were signed, or not by training: retrain"
        )
    key = keys.find(seal.key_id)
    if key is None:
        raise UntrustedArtifactError(
            f"{what} is signed with key {seal.key_id}, which is not trusted here: {keys.in_words()}; "
            "put the trainer's public key there (MILLRACE_TRUSTED_KEYS), or retrain with a trusted one"
        )
    try:
        key.verify(seal.signature, statement.encoded())
    except InvalidSignature:
        raise UntrustedArtifactError(
            f"{what} has a signature that is not key {seal.key_id}'s for it: "
            f"pipeline, version of its file, run or digest was changed after signing; retrain, and find out who did"
        ) from None


@dataclass(frozen=True, slots=True)
class Vault:
    """The object store's artifacts, handed out only under a trusted seal: everybody who loads a model gets it here."""

    store: ObjectStore
    keys: TrustedKeys

    def open(self, uri: str, statement: Statement, seal: Seal) -> bytes:
        """The artifact's bytes, unread so far: signed by a trusted key, and the very ones that were signed.

        Raises UntrustedArtifactError before the store is asked, then what `ObjectStore.get` raises.
        """
        check_seal(statement, seal, self.keys)
        return self.store.get(uri, statement.artifact_sha256)
