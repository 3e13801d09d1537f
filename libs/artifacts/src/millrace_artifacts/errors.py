"""What can go wrong with objects and artifacts, by what it asks of the caller.

PermanentError
├── ArtifactError
│   ├── UnreadableArtifactError   not an artifact, or not one of this format
│   ├── InvalidSignatureError     columns, vocabularies and classes that do not fit together
│   ├── UntrustedArtifactError    nobody trusted has signed it, or for something else
│   ├── WrongColumnsError         rows that do not have the signature's columns
│   └── ExamplesDifferError       the model does not answer its own examples as it did when it was written
├── KeyFileError                  a file that should hold a key, and holds none that may be used
├── DigestMismatchError           the object is not the one that was announced
├── ObjectConflictError           another object has this key already
└── ForeignUriError               the URI or key is not one of this store
TransientError
├── StoreUnavailableError         the store is away, or refuses access for now
└── ObjectMissingError            the store answers, but has no such object (yet)
"""

from millrace_kernel.errors import PermanentError, TransientError


class ArtifactError(PermanentError):
    """Something is wrong with an artifact or with what it is asked to score."""


class UnreadableArtifactError(ArtifactError):
    """These bytes are not an artifact that this version can read."""


class UntrustedArtifactError(ArtifactError):
    """No trusted key has signed this artifact for this pipeline and run."""


class KeyFileError(PermanentError):
    """A file that should hold a key holds none, or others may read or change it."""


class InvalidSignatureError(ArtifactError):
    """A signature whose columns, vocabularies and classes do not fit together."""


class WrongColumnsError(ArtifactError):
    """Rows that do not have the columns of the model's signature."""


class ExamplesDifferError(ArtifactError):
    """The model answers its own examples differently than when it was written."""


class DigestMismatchError(PermanentError):
    """The object's content is not what its digest says."""


class ObjectConflictError(PermanentError):
    """The key holds other content already, and objects never change."""


class ForeignUriError(PermanentError):
    """The URI is not of this store, or the key is not one that a store takes."""


class StoreUnavailableError(TransientError):
    """The object store does not answer, or does not let us in."""


class ObjectMissingError(TransientError):
    """The store answers but has no such object.

    Transient, because an object is written before the event that names it: that it is missing means a store mounted
    wrongly, a replica behind, or an object retired since. None of them makes the message bad. A reader that replays
    old history and may meet retired objects catches this class by name.
    """
