"""Ed25519 keys as PEM files: the one that signs, and those that are trusted.

A local stack makes its own pair at first start, `<home>/keys/signing.pem` and `<home>/keys/trusted/<key id>.pem`.
Nothing here puts a private key into a log, a message or a representation.
"""

import contextlib
import hashlib
import os
import stat
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_pem_private_key,
    load_pem_public_key,
)
from typing_extensions import override

from millrace_artifacts.errors import KeyFileError

SIGNING_KEY, TRUSTED_FOLDER = "signing.pem", "trusted"
_LARGEST_FILE = 16 * 1024  # bytes; an Ed25519 key takes about 120
_KEY_ID_BYTES = 8
_UNREADABLE = (OSError, ValueError, TypeError, UnsupportedAlgorithm)


def key_id_of(key: Ed25519PublicKey) -> str:
    """The first 8 bytes of the SHA-256 of the raw public key, hexadecimal."""
    raw = key.public_bytes(Encoding.Raw, PublicFormat.Raw)
    return hashlib.sha256(raw).hexdigest()[: 2 * _KEY_ID_BYTES]


class SigningKey:
    """A private key. It signs, and never shows itself."""

    def __init__(self, key: Ed25519PrivateKey) -> None:
        self._key = key
        self.key_id = key_id_of(key.public_key())

    @classmethod
    def made(cls) -> "SigningKey":
        """A new one, which is nowhere yet."""
        return cls(Ed25519PrivateKey.generate())

    @classmethod
    def read(cls, path: Path) -> "SigningKey":
        """From an unencrypted PKCS 8 file in PEM, which others may neither read nor change.

        Raises KeyFileError. That the group may read it is allowed: orchestrators mount secrets so.
        """
        try:
            _refuse_others(path, stat.S_IRWXO | stat.S_IWGRP)
            key = load_pem_private_key(_small(path), password=None)
        except _UNREADABLE as error:
            raise KeyFileError(f"the signing key {path} can't be read: {_reason(error)}") from None
        if not isinstance(key, Ed25519PrivateKey):
            raise KeyFileError(f"the signing key {path} is not an Ed25519 key; {_HOW}")
        return cls(key)

    def sign(self, content: bytes) -> bytes:
        return self._key.sign(content)

    @property
    def public_pem(self) -> bytes:
        return self._key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)

    def _private_pem(self) -> bytes:
        return self._key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())

    @override
    def __repr__(self) -> str:
        return f"SigningKey({self.key_id})"


def local_key(folder: Path) -> SigningKey:
    """The key of a local stack; made, with its public half beside it, when the folder has none.

    Whoever comes second, at the same moment too, gets the first one's key. Raises KeyFileError.
    """
    path = folder / SIGNING_KEY
    try:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        if not path.exists():
            _write_once(path, SigningKey.made()._private_pem(), 0o600)  # noqa: SLF001  our own
        key = SigningKey.read(path)
        trusted = folder / TRUSTED_FOLDER / f"{key.key_id}.pem"
        trusted.parent.mkdir(exist_ok=True, mode=0o755)
        if not trusted.exists():
            _write_once(trusted, key.public_pem, 0o644)
    except OSError as error:
        raise KeyFileError(f"no key can be kept in {folder}: {error}") from error
    return key


class TrustedKeys:
    """The public keys in some files and folders (`*.pem` there).

    They are read again whenever one is looked for: a key that is added or taken away counts at once, without a restart.
    """

    def __init__(self, paths: Sequence[Path]) -> None:
        self._paths = tuple(paths)

    def find(self, key_id: str) -> Ed25519PublicKey | None:
        return self._read()[0].get(key_id)

    def problems(self) -> list[str]:
        """What should be a trusted key and is none, in words."""
        return self._read()[1]

    def in_words(self) -> str:
        keys, problems = self._read()
        where = ", ".join(map(str, self._paths)) or "nowhere"
        found = f"{where} holds {', '.join(sorted(keys)) or 'no key'}"
        return "; ".join([found, *problems])

    def _read(self) -> tuple[dict[str, Ed25519PublicKey], list[str]]:
        keys: dict[str, Ed25519PublicKey] = {}
        problems: list[str] = []
        for path in self._files():
            try:
                _refuse_others(path.parent, stat.S_IWOTH, sticky=True)
                _refuse_others(path, stat.S_IWOTH)
                key = load_pem_public_key(_small(path))
                if not isinstance(key, Ed25519PublicKey):
                    problems.append(f"{path} is not an Ed25519 public key")
                else:
                    keys[key_id_of(key)] = key
            except _UNREADABLE as error:
                problems.append(f"{path} can't be read as a public key: {_reason(error)}")
        return keys, problems

    def _files(self) -> Iterator[Path]:
        for path in self._paths:
            yield from sorted(path.glob("*.pem")) if path.is_dir() else [path]


_HOW = "make one with `openssl genpkey -algorithm ed25519 -out signing.pem`"


def _small(path: Path) -> bytes:
    """A file's content; nobody makes us read a disk for a key."""
    with path.open("rb") as file:
        content = file.read(_LARGEST_FILE + 1)
    if len(content) > _LARGEST_FILE:
        raise ValueError("it is too large for a key")
    return content


def _refuse_others(path: Path, forbidden: int, *, sticky: bool = False) -> None:
    """`sticky`: in a folder such as /tmp others may write, but not change what is ours."""
    mode = path.stat().st_mode
    if mode & forbidden and not (sticky and mode & stat.S_ISVTX):
        raise ValueError(
            f"others may read or change {path} (mode {stat.S_IMODE(mode):o}); "
            f"`chmod {'600' if forbidden & stat.S_IROTH else 'go-w'} {path}`"
        )


def _write_once(path: Path, content: bytes, mode: int) -> None:
    """All of it under its name, or nothing; what is there already stays."""
    descriptor, name = tempfile.mkstemp(dir=path.parent, prefix=".")  # mode 600
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.chmod(name, mode)  # noqa: PTH101
        with contextlib.suppress(FileExistsError):
            os.link(name, path)
    finally:
        os.unlink(name)  # noqa: PTH108


def _reason(error: Exception) -> str:
    """Only words of ours and of the system: a parser's might quote what it read."""
    if isinstance(error, OSError):
        return error.strerror or type(error).__name__
    text = str(error)
    return (
        text if text.startswith(("others may", "it is too")) else f"it is not a key in PEM; {_HOW}"
    )
