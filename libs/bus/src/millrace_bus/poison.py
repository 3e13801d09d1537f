"""A message that spoils the transaction in which it is handled: how it is told from a database that is away."""

from sqlalchemy.exc import DataError

from millrace_kernel.errors import PermanentError

# a text with a NUL or too long for its column, a number out of range: no second try helps
REFUSED = (DataError, OverflowError)


class PoisonError(Exception):
    """Takes a PermanentError out of a transaction that must be rolled back and run again without its message."""

    def __init__(self, offset: int, reason: PermanentError) -> None:
        super().__init__(str(reason))
        self.offset = offset
        self.reason = reason


def first_line(error: Exception) -> str:
    """What the driver said, without the statement and all its values."""
    said = str(getattr(error, "orig", None) or error)
    return said.partition("\n")[0]
