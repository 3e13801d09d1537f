"""What a failure asks of whoever meets it.

MillraceError
├── PermanentError   doing it again cannot help: the message goes to the dead letters, the stream goes on
└── TransientError   doing it again later may help: the reader waits and tries again, nothing is dead-lettered

Anything else is a bug or a broken deployment and stops the service loudly.
"""


class MillraceError(Exception):
    """The root of the errors that Millrace raises on purpose."""


class PermanentError(MillraceError):
    """This input can never be handled. The text says what is wrong, where, and what to do."""


class TransientError(MillraceError):
    """Something needed is away for now (broker, database, object store, a pipeline not yet heard of)."""
